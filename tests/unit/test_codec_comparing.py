"""What a codec gave against what its example says."""

from __future__ import annotations

import pytest

from receiver.codecs.comparing import MAX_DIFFERENCES, DifferenceKind, differences, judge
from receiver.codecs.values import Decoding, Encoding, Example, Operation


def sentences(expected, got, path="data"):
    return [difference.sentence for difference in differences(expected, got, path)]


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (12, 12.0),
        (31.4, 31.400000000000002),
        (0, 5.6e-17),
        (0.0, -0.0),
        ({"a": 1, "b": [1, {"c": None}]}, {"b": [1, {"c": None}], "a": 1}),
        ("XXXX-XX-XXTXX:XX:XX.XXXZ", "2024-05-01T10:00:00.000Z"),
        (10**400, 10**400),
        (float("inf"), float("inf")),
        (None, None),
    ],
    ids=repr,
)
def test_what_is_the_same_to_a_person_is_equal(expected, got):
    assert differences(expected, got) == []


@pytest.mark.parametrize(
    ("expected", "got", "told"),
    [
        ({"t": 31.4}, {"t": 31.3}, "data.t: expected 31.4, got 31.3"),
        ({"t": 1}, {"t": True}, "data.t: expected 1, got true"),
        ({"t": False}, {"t": 0}, "data.t: expected false, got 0"),
        ({"t": 1}, {"t": "1"}, 'data.t: expected 1, got "1"'),
        ({"t": 1.0}, {"t": 1.00000001}, "data.t: expected 1.0, got 1.00000001"),
        ({"t": 10**400}, {"t": 1.0}, f"data.t: expected 1{'0' * 78}…, got 1.0"),
        ({"t": 1}, {}, "data.t: expected 1, but it is missing"),
        ({}, {"t": 1}, "data.t: not expected, got 1"),
        ({"t": None}, {}, "data.t: expected null, but it is missing"),
        ({}, {"t": None}, "data.t: expected to be missing, got null"),
        ({"t": 1}, {"t": None}, "data.t: expected 1, got null"),
        ([1, 2], [1, 3], "data[1]: expected 2, got 3"),
        ([1, 2], [1], "data[1]: expected 2, but it is missing"),
        ([1], [1, 2], "data[1]: not expected, got 2"),
        ({"a b": [{"x": 1}]}, {"a b": [{"x": 2}]}, 'data["a b"][0].x: expected 1, got 2'),
        ({"t": []}, {"t": {}}, "data.t: expected [], got {}"),
        (
            "2024-05-01T12:00:00.000+02:00",
            "2024-05-01T10:00:00.000Z",
            'data: expected "2024-05-01T12:00:00.000+02:00", got "2024-05-01T10:00:00.000Z"',
        ),
        (
            "XXXX-XX-XXTXX:XX:XX.XXXZ",
            "yesterday",
            'data: expected "XXXX-XX-XXTXX:XX:XX.XXXZ", got "yesterday"',
        ),
    ],
)
def test_each_difference_is_one_sentence(expected, got, told):
    assert sentences(expected, got) == [told]


def test_null_and_missing_are_a_kind_of_their_own():
    assert [difference.kind for difference in differences({"a": None}, {"b": None})] == [DifferenceKind.NULL] * 2


def test_without_a_path_the_members_name_stands_alone():
    assert sentences({"t": 1}, {"t": 2}, path="") == ["t: expected 1, got 2"]


@pytest.mark.parametrize("got", [[], list(range(1, 1001)), {"a": 1}], ids=["missing", "other", "type"])
def test_no_more_differences_are_given_than_a_person_reads(got):
    assert len(differences([0] * 1000, got)) <= MAX_DIFFERENCES


def test_bottomless_values_are_a_difference_and_no_failure():
    deep: list = []
    for _ in range(5000):
        deep = [deep]

    assert len(differences(deep, deep)) == 1


def example(operation=Operation.DECODE_UPLINK, **members):
    given = {"f_port": 1, "frm_payload": b"\x01", "at_text": None, "data": {"t": 1}, "warnings": None, "errors": None}
    return Example(operation=operation, description="", **{**given, **members})


def verdict(wanted, outcome):
    return [difference.sentence for difference in judge(wanted, outcome)]


def test_an_example_that_is_met_has_no_differences():
    assert judge(example(warnings=(), errors=()), Decoding({"t": 1.0})) == []


def test_what_the_example_does_not_say_is_not_compared():
    assert judge(example(), Decoding({"t": 1}, warnings=("low",), normalized={"x": 1}, points={"t": 1})) == []


@pytest.mark.parametrize("errors", [None, ()])
def test_an_error_that_nobody_expected_is_told_and_the_data_is_not(errors):
    assert verdict(example(errors=errors), Decoding(None, errors=("short",))) == [
        'errors[0]: not expected, got "short"'
    ]


def test_an_error_that_did_not_come_is_missing():
    wanted = example(data=None, errors=("short",))

    assert verdict(wanted, Decoding({"t": 1})) == ['errors[0]: expected "short", but it is missing']


@pytest.mark.parametrize("got", ["short", "Error: short", "Uncaught RangeError: short"])
def test_an_error_may_have_its_kind_in_front(got):
    assert judge(example(data=None, errors=("short",)), Decoding(None, errors=(got,))) == []


def test_another_error_is_a_difference():
    wanted = example(data=None, errors=("short",))

    assert verdict(wanted, Decoding(None, errors=("long",))) == ['errors[0]: expected "short", got "long"']


def test_warnings_are_compared_where_the_example_names_them():
    assert verdict(example(warnings=("low",)), Decoding({"t": 1})) == ['warnings[0]: expected "low", but it is missing']


@pytest.mark.parametrize("got", [{"air": 1}, [{"air": 1}]], ids=["object", "list"])
def test_one_normalized_object_is_a_list_of_one(got):
    assert judge(example(normalized=[{"air": 1}]), Decoding({"t": 1}, normalized=got)) == []


def test_normalized_output_is_compared():
    wanted = example(normalized=[{"air": 1}])

    assert verdict(wanted, Decoding({"t": 1}, normalized=[{"air": 2}])) == [
        "normalizedOutput[0].air: expected 1, got 2"
    ]


def test_a_frame_is_told_in_hexadecimal():
    wanted = example(Operation.ENCODE_DOWNLINK, frm_payload=b"\x00\x0a", f_port=2)

    assert verdict(wanted, Encoding(b"\x00\x0b", 3)) == [
        'bytes: expected "000a", got "000b"',
        "fPort: expected 2, got 3",
    ]


def test_an_encoding_without_a_port_is_compared_by_its_bytes():
    assert judge(example(Operation.ENCODE_DOWNLINK, f_port=None), Encoding(b"\x01", 9)) == []


def test_an_encoding_that_shall_fail_has_no_frame_to_compare():
    wanted = example(Operation.ENCODE_DOWNLINK, frm_payload=None, f_port=None, errors=("bad",))

    assert judge(wanted, Encoding(b"", None, errors=("bad",))) == []


@pytest.mark.parametrize(
    ("operation", "outcome"), [(Operation.DECODE_UPLINK, Encoding(b"", 1)), (Operation.ENCODE_DOWNLINK, Decoding(None))]
)
def test_an_outcome_of_the_other_kind_is_a_mistake_of_the_caller(operation, outcome):
    with pytest.raises(TypeError, match="is not judged by"):
        judge(example(operation), outcome)
