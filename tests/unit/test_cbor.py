"""CBOR as far as SenML needs it: the RFC's examples, what is refused, and any bytes at all.

The examples are those of RFC 8949 appendix A; the floats among them are read by `struct` as a second opinion.
"""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.kpn_things.cbor import MAX_BYTES, MAX_DEPTH, CborError, parse_cbor


@pytest.mark.parametrize(
    ("body_hex", "value"),
    [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("1903e8", 1000),
        ("1a000f4240", 1000000),
        ("1b000000e8d4a51000", 1000000000000),
        ("1bffffffffffffffff", 18446744073709551615),
        ("20", -1),
        ("3863", -100),
        ("3bffffffffffffffff", -18446744073709551616),
        ("f90000", 0.0),
        ("f93e00", 1.5),
        ("f97bff", 65504.0),
        ("f9c400", -4.0),
        ("fb3ff199999999999a", 1.1),
        ("fbc010666666666666", -4.1),
        ("fa47c35000", 100000.0),
        ("fa7f7fffff", 3.4028234663852886e38),
        ("fb7e37e43c8800759c", 1.0e300),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("40", b""),
        ("4401020304", bytes([1, 2, 3, 4])),
        ("60", ""),
        ("6449455446", "IETF"),
        ("62c3bc", "ü"),
        ("64f0908591", "\U00010151"),
        ("80", []),
        ("83010203", [1, 2, 3]),
        ("8301820203820405", [1, [2, 3], [4, 5]]),
        ("a0", {}),
        ("a201020304", {1: 2, 3: 4}),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("9fff", []),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("83018202039f0405ff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}),
        ("c48221196ab3", 273.15),
    ],
)
def test_the_examples_of_the_rfc_are_read(body_hex, value):
    parsed = parse_cbor(bytes.fromhex(body_hex))

    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("body_hex", "form"),
    [("f90001", ">e"), ("f90400", ">e"), ("fa41be147b", ">f"), ("fa00000001", ">f"), ("fa3dcccccd", ">f")],
)
def test_a_short_float_is_the_shortest_decimal_of_the_same_bits(body_hex, form):
    body = bytes.fromhex(body_hex)
    (exact,) = struct.unpack(form, body[1:])

    parsed = parse_cbor(body)

    assert struct.pack(form, parsed) == body[1:]
    assert len(repr(parsed)) <= len(repr(exact))


def test_a_sensor_that_sends_32_bits_is_read_as_it_measured():
    assert parse_cbor(b"\xfa" + struct.pack(">f", 23.76)) == 23.76
    assert parse_cbor(b"\xfa" + struct.pack(">f", 1_686_429_184.0)) == 1_686_429_184.0


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_32_bit_float_keeps_its_bits(number):
    body = struct.pack(">f", number)

    assert struct.pack(">f", parse_cbor(b"\xfa" + body)) == body


@pytest.mark.parametrize(
    ("body_hex", "told"),
    [
        ("", "offset 0 1 bytes are expected, 0 left"),
        ("19ff", "offset 1 2 bytes are expected, 1 left"),
        ("6261", "offset 1 2 bytes are expected"),
        ("0000", "offset 1, 1 bytes follow"),
        ("1c", "reserved form 28"),
        ("62fffe", "not UTF-8"),
        ("5f42010243030405ff", "indefinite length"),
        ("7f657374726561646d696e67ff", "indefinite length"),
        ("c249010000000000000000", "tag 2"),
        ("c074323031332d30332d32315432303a30343a30305a", "tag 0"),
        ("d9d9f780", "tag 55799"),
        ("f7", "simple value 23"),
        ("f8ff", "simple value 24"),
        ("ff", "simple value 31"),
        ("f97e00", "not finite"),
        ("fa7f800000", "not finite"),
        ("c482190190190190", "not finite"),
        ("c48219ffff01", "exponent 65535"),
        ("c48101", "two whole numbers"),
        ("c482f501", "two whole numbers"),
        ("a201020103", "stands twice"),
        ("a18001", "deeper"),
        ("a1f501", "neither a whole number nor text"),
        ("9a00ffffff00", "more than bytes are left"),
        ("9f01", "1 bytes are expected"),
    ],
)
def test_what_is_refused_names_its_offset(body_hex, told):
    with pytest.raises(CborError, match=told):
        parse_cbor(bytes.fromhex(body_hex))


def test_depth_and_size_are_bounded():
    assert parse_cbor(b"\x81" * MAX_DEPTH + b"\x01")
    with pytest.raises(CborError, match="deeper"):
        parse_cbor(b"\x81" * (MAX_DEPTH + 1) + b"\x01")
    with pytest.raises(CborError, match="65,536"):
        parse_cbor(b"\x80" * (MAX_BYTES + 1))


@given(st.binary(max_size=60) | st.lists(st.sampled_from([*range(256)]), max_size=12).map(bytes))
@example(bytes.fromhex("c4823b0000000000000000"))
def test_any_bytes_are_read_or_refused(body):
    try:
        value = parse_cbor(body)
    except CborError:
        return
    assert not isinstance(value, float) or math.isfinite(value)
