"""Examples of codecs, of every form in use."""

from __future__ import annotations

import pytest

from receiver.codecs.examples import MAX_EXAMPLE_BYTES, MAX_EXAMPLES, parse_bytes, read_codec_definition, read_examples
from receiver.codecs.values import Example, Operation

UPLINK = {
    "type": "uplink",
    "description": "warm",
    "input": {"bytes": [1, 2], "fPort": 3, "recvTime": "2024-05-01T10:00:00+02:00"},
    "output": {"data": {"t": 1.5}, "warnings": [], "errors": []},
}
ENCODE = {
    "type": "downlink-encode",
    "description": "set",
    "input": {"data": {"interval": 5}},
    "output": {"bytes": [5], "fPort": 2},
}


def changed(example, part, **members):
    return {**example, part: {**example[part], **members}}


def only(listed, **options):
    read = read_examples(listed, "examples.json", **options)
    assert read.warnings == ()
    [example] = read.examples
    return example


def test_an_uplink_is_read():
    assert only([UPLINK]) == Example(
        operation=Operation.DECODE_UPLINK,
        description="warm",
        f_port=3,
        frm_payload=b"\x01\x02",
        at_text="2024-05-01T10:00:00+02:00",
        data={"t": 1.5},
        warnings=(),
        errors=(),
    )


def test_a_downlink_that_is_encoded_has_its_frame_in_the_output():
    assert only([ENCODE]) == Example(
        operation=Operation.ENCODE_DOWNLINK,
        description="set",
        f_port=2,
        frm_payload=b"\x05",
        at_text=None,
        data={"interval": 5},
        warnings=None,
        errors=None,
    )


def test_the_older_drivers_call_the_object_a_message():
    assert only([{**ENCODE, "input": {"message": {"interval": 6}}}]).data == {"interval": 6}


def test_a_downlink_is_decoded_where_its_type_says_so():
    assert only([{**UPLINK, "type": "downlink-decode"}]).operation is Operation.DECODE_DOWNLINK


@pytest.mark.parametrize(
    ("example", "operation"), [(UPLINK, Operation.DECODE_UPLINK), (ENCODE, Operation.ENCODE_DOWNLINK)]
)
def test_an_example_without_a_type_shows_what_it_is(example, operation):
    assert only([{name: value for name, value in example.items() if name != "type"}]).operation is operation


def test_an_encoding_that_shall_fail_needs_no_bytes():
    example = only([{**ENCODE, "output": {"errors": ["too long"]}}])

    assert (example.frm_payload, example.errors) == (None, ("too long",))


@pytest.mark.parametrize(
    ("given", "errors"), [([], ()), (None, ()), ("bad", ("bad",)), (["a", 2], ("a", "2"))], ids=str
)
def test_errors_may_be_a_list_or_one_text_or_null(given, errors):
    assert only([changed(UPLINK, "output", errors=given)]).errors == errors


@pytest.mark.parametrize(
    ("given", "frame"),
    [
        ([0, 255, -1, -128], b"\x00\xff\xff\x80"),
        ([12.0], b"\x0c"),
        ("0aFF", b"\x0a\xff"),
        ("0x0A 0xff", b"\x0a\xff"),
        ("0a-ff:01", b"\x0a\xff\x01"),
        ("", b""),
        ([], b""),
    ],
    ids=str,
)
def test_bytes_are_numbers_or_hexadecimal(given, frame):
    assert parse_bytes(given) == frame


@pytest.mark.parametrize(
    "given",
    [[256], [-129], [1.5], [True], ["01"], [1e999], "abc", "xy", None, 7, [0] * (MAX_EXAMPLE_BYTES + 1), "00" * 9999],
    ids=repr,
)
def test_what_is_not_bytes_is_refused(given):
    with pytest.raises(ValueError, match="has "):
        parse_bytes(given)


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ("text", "is not an object"),
        (changed(UPLINK, "input", bytes="xy"), "(warm) has bytes that are not hexadecimal"),
        (changed(UPLINK, "input", fPort=256), "has the fPort 256"),
        (changed(UPLINK, "input", fPort=1.5), "has the fPort 1.5"),
        (changed(UPLINK, "input", fPort=1e999), "has the fPort Infinity"),
        ({**UPLINK, "type": "sidelink"}, 'is of the unknown type "sidelink"'),
        ({**UPLINK, "output": {}}, "says neither which data nor which errors"),
        ({**UPLINK, "output": [1]}, "has an input or an output that is not an object"),
        ({**ENCODE, "input": {}}, "has no data to encode"),
        ({"type": "uplink", "data": {}}, "has no bytes"),
        ({"type": "uplink", "bytes": "00"}, "has neither data nor an error"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_odd_example_is_left_out_and_named_and_the_others_stay(odd, told):
    read = read_examples([ENCODE, odd, UPLINK], "examples.json")

    assert [example.description for example in read.examples] == ["set", "warm"]
    [warning] = read.warnings
    assert warning.startswith("examples.json: example 2")
    assert told in warning


def test_no_more_examples_are_kept_than_the_bound_and_it_is_said():
    read = read_examples([UPLINK] * (MAX_EXAMPLES + 1), "examples.json")

    assert len(read.examples) == MAX_EXAMPLES
    assert read.warnings == (f"examples.json: only the first {MAX_EXAMPLES} of {MAX_EXAMPLES + 1} examples are kept.",)


def test_a_file_that_holds_no_list_gives_a_warning():
    assert read_examples("text", "e.json").warnings == ("e.json: it is not a list of examples.",)


OLDER = {"type": "uplink", "bytes": "0102", "fPort": 3, "time": "2024-05-01T10:00:00Z", "data": {"t": 1.5}}


def test_the_older_form_has_everything_beside_its_type():
    example = only([OLDER])

    assert (example.frm_payload, example.f_port, example.at_text) == (b"\x01\x02", 3, "2024-05-01T10:00:00Z")
    assert (example.data, example.errors) == ({"t": 1.5}, None)


def test_an_older_downlink_goes_both_ways():
    read = read_examples([{**OLDER, "type": "downlink"}], "e")

    assert [example.operation for example in read.examples] == [Operation.DECODE_DOWNLINK, Operation.ENCODE_DOWNLINK]


def test_an_older_downlink_goes_only_the_ways_that_the_codec_has():
    example = only([{**OLDER, "type": "downlink"}], supported={Operation.ENCODE_DOWNLINK})

    assert example.operation is Operation.ENCODE_DOWNLINK


@pytest.mark.parametrize(
    ("item", "operation"),
    [
        ({"type": "uplink", "bytes": "00", "fPort": 1, "error": "short"}, Operation.DECODE_UPLINK),
        ({"type": "downlink", "bytes": "00", "fPort": 1, "error": "short"}, Operation.DECODE_DOWNLINK),
        ({"type": "downlink", "data": {}, "fPort": 1, "error": "short"}, Operation.ENCODE_DOWNLINK),
    ],
)
def test_an_older_error_is_one_text(item, operation):
    example = only([item])

    assert (example.operation, example.errors) == (operation, ("short",))


def test_the_section_of_a_codec_definition_counts_and_not_the_type():
    read = read_codec_definition({"downlinkDecoder": {"examples": [{**UPLINK, "type": "downlink-encode"}]}}, "c.yaml")

    assert read.examples[0].operation is Operation.DECODE_DOWNLINK


def test_a_codec_definition_gives_the_examples_of_all_its_sections():
    definition = {
        "uplinkDecoder": {"fileName": "a.js", "examples": [UPLINK]},
        "downlinkEncoder": {"fileName": "a.js", "examples": [ENCODE, 1]},
        "downlinkDecoder": {"fileName": "a.js"},
    }

    read = read_codec_definition(definition, "c.yaml")

    assert [example.description for example in read.examples] == ["warm", "set"]
    assert read.warnings == ("c.yaml, downlinkEncoder: example 2 is not an object; it was left out.",)


def test_normalized_output_is_what_stands_in_its_data():
    example = only([{**UPLINK, "normalizedOutput": {"data": [{"air": {"temperature": 1.5}}]}}])

    assert example.normalized == [{"air": {"temperature": 1.5}}]


def test_a_description_is_one_line_that_moves_no_cursor():
    assert only([{**UPLINK, "description": "a\n b\x1b[2Jc"}]).description == "a b[2Jc"
