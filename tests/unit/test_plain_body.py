"""The quick way to a body's signed values says what the strict way says, for any bytes at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import PushRejected
from receiver.thingpark.body import parse_body
from receiver.thingpark.plain_body import _TAKEN_OUT, MAX_PLAIN_BYTES, MAX_SHAPES, _shapes, _Signed, parse_signed_body
from tests.unit.json_texts import json_object, json_values

UPLINK = (
    '{"DevEUI_uplink": {"Time": "2026-11-21T08:30:00.000+01:00","DevEUI": "0059AC0000000001","FPort": 2,"FCntUp": 7,'
    '"payload_hex": "0a1b","mic_hex": "5c00ad47","LrrRSSI": -110.000000,'
    '"Lrrs": {"Lrr": [{"Lrrid": "FF01045A","Chain": 0},{"Lrrid": "FF0101C2","Chain": 0}]},"CustomerID": "100006211",'
    '"CustomerData": {"name": "Zähler 📡"},"DevAddr": "14C4CC04"}}'
)

NAMES = st.sampled_from(["DevEUI", "FPort", "FCntUp", "payload_hex", "Late", "Lrr", "x"])
LEAVES = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["true", "null", "-0", "1e1", "01", "NaN", '""', '"17"', '"a b"', '"\\u0041"', '"é"', '"a" ']),
)

VALUES = json_values(NAMES, LEAVES)


def signed_values(parse, raw):
    try:
        body = parse(raw)
    except PushRejected as exc:
        return exc.reason
    values = {name: body.members[name] for name in _Signed.__annotations__ if body.members.get(name) is not None}
    return body.kind, body.content_type, values


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.booleans())
def test_it_agrees_with_the_strict_way_on_anyjson_object(pairs, has_spaces):
    text = json_object([("DevEUI_uplink", json_object(pairs))])
    raw = (text.replace(":", " : ") if has_spaces else text).encode()
    strict = signed_values(parse_body, raw)

    quick = signed_values(parse_signed_body, raw)

    if isinstance(strict, tuple):  # the one spelling of a whole number that is another's, and that nobody sends
        strict = (*strict[:2], {name: "0" if value == "-0" else value for name, value in strict[2].items()})
    assert quick == strict or quick == signed_values(parse_body, raw)


@given(st.data())
def test_it_agrees_with_the_strict_way_on_a_real_body_with_a_byte_changed(data):
    raw = bytearray(UPLINK.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    changed = bytes(raw)

    assert signed_values(parse_signed_body, changed) == signed_values(parse_body, changed)


@pytest.mark.parametrize("name", ["FPort", "Late", "DevEUI", "Lrrid"])
def test_a_name_that_stands_twice_is_refused_at_any_depth(name):
    for body in (
        f'{{"DevEUI_uplink":{{"DevEUI":"0059AC0000000001","{name}":1,"{name}":1}}}}',
        f'{{"DevEUI_uplink":{{"DevEUI":"0059AC0000000001","Lrrs":{{"Lrr":[{{"{name}":1,"{name}":2}}]}}}}}}',
    ):
        with pytest.raises(PushRejected, match="stands twice"):
            parse_signed_body(body.encode())


def test_an_envelope_that_stands_twice_is_refused():
    twice = '{"DevEUI_uplink":{"DevEUI":"0059AC0000000001"},"DevEUI_uplink":{"DevEUI":"0059AC0000000001"}}'

    with pytest.raises(PushRejected, match="stands twice"):
        parse_signed_body(twice.encode())


@given(st.data())
def test_it_agrees_with_the_strict_way_on_bodies_of_a_shape_it_knows(data):
    parse_signed_body(UPLINK.encode())
    left_out = [at for at, character in enumerate(UPLINK.encode()) if character in _TAKEN_OUT]
    raw = bytearray(UPLINK.encode())
    for at in data.draw(st.lists(st.sampled_from(left_out), min_size=1, max_size=8)):
        raw[at] = data.draw(st.sampled_from(_TAKEN_OUT))

    assert signed_values(parse_signed_body, bytes(raw)) == signed_values(parse_body, bytes(raw))


@pytest.mark.parametrize("place", ["{%s}", '{"DevEUI":"0059AC0000000001","Lrrs":{"Lrr":[%s]}}'])
def test_a_name_that_stands_twice_in_a_body_of_a_shape_that_was_taken_before_is_refused(place):
    members = '"x1":1,"x2":2,"y":3'
    report = place % (f"{{{members}}}" if "Lrr" in place else members)
    once = f'{{"DevEUI_uplink":{report}}}'
    for _ in range(2):
        parse_signed_body(once.encode())

    with pytest.raises(PushRejected, match="stands twice"):
        parse_signed_body(once.replace("x2", "x1").encode())


def test_the_shapes_that_are_remembered_are_bounded():
    for number in range(MAX_SHAPES + 10):
        letters = "".join(chr(ord("g") + int(digit)) for digit in str(number))
        parse_signed_body(UPLINK.replace("Zähler", letters).encode())

    assert len(_shapes) == MAX_SHAPES


def test_numbers_are_spelled_as_they_were():
    assert parse_signed_body(UPLINK.encode()).members["FCntUp"] == "7"


def test_a_float_for_a_counter_keeps_its_spelling():
    raw = UPLINK.replace('"FCntUp": 7', '"FCntUp": 7.0').encode()

    assert parse_signed_body(raw).members["FCntUp"] == "7.0"


def test_a_large_body_goes_the_strict_way():
    raw = json.dumps({"DevEUI_uplink": {"DevEUI": "0059AC0000000001", "x": [1] * MAX_PLAIN_BYTES}}).encode()

    assert signed_values(parse_signed_body, raw) == signed_values(parse_body, raw)


@pytest.mark.shared
def test_it_agrees_with_the_strict_way_on_all_real_bodies(shared):
    bodies = [path.read_bytes() for path in (shared / "examples" / "reports").iterdir() if path.name != "index.json"]

    assert len(bodies) >= 80
    for raw in bodies:
        assert signed_values(parse_signed_body, raw) == signed_values(parse_body, raw)
