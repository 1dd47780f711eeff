"""What the JavaScript of a codec answered, made into values; believes nothing. Pure."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from receiver.codecs.values import Decoding, Encoding, Json, Operation

DEPTH_MAX = 64
"""How deep objects and lists may stand in each other: databases and JSON readers have bounds of their own."""

FRM_PAYLOAD_MAX_BYTES = 242
"""The largest payload of any region and data rate. Source: LoRaWAN Regional Parameters RP002-1.0.4."""

F_PORT_MAX = 255
"""FPort is one byte. Source: LoRaWAN L2 1.0.4, 4.3.2."""

_LARGEST_INTEGER = 2**63  # integers beyond go on as doubles, which in JavaScript they are

# An escape that JSON.stringify writes for half of a pair of UTF-16, which is no character; it writes whole pairs plain.
_HALF_PAIR = re.compile(rb"(\\\\)|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19  # in these; a search for a class of characters would take as long as decoding
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


class Answer(msgspec.Struct):
    """One line of the process."""

    data: Any = None
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    normalized: Any = None
    points: dict[str, Any] | None = None
    console: tuple[str, ...] = ()
    bytes: Any = None
    fPort: Any = None  # noqa: N815 - its name in TS013
    operations: tuple[Operation, ...] = ()


_decoder = msgspec.json.Decoder(Answer)


def read_answer(line: bytes) -> Answer:
    """Give what a line says; what it should not say is an error of the call."""
    if b"\\u" in line:
        line = _HALF_PAIR.sub(lambda found: found[1] or b"\\ufffd", line)
    if line.count(b"[") + line.count(b"{") > DEPTH_MAX and _depth(line) > DEPTH_MAX:
        return failure(f"The result is nested deeper than {DEPTH_MAX} levels")
    try:
        answer = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return failure("The result is not of its form")
    if _LONG_NUMBER in line.translate(_DIGITS_AS_ZEROS):
        answer.data, answer.normalized = _with_doubles(answer.data), _with_doubles(answer.normalized)
        answer.points = None if answer.points is None else {n: _with_doubles(p) for n, p in answer.points.items()}
    return answer


def failure(sentence: str) -> Answer:
    """Give the answer of a call that made nothing, for this reason."""
    return Answer(errors=(sentence,))


def to_decoding(answer: Answer) -> Decoding:
    """Give a decoding; one without data and without a reason never leaves the process."""
    if answer.errors:
        return Decoding(None, answer.warnings, answer.errors, console=answer.console)
    return Decoding(
        answer.data, answer.warnings, normalized=answer.normalized, points=answer.points, console=answer.console
    )


def to_encoding(answer: Answer, f_port: int | None) -> Encoding:
    """Give an encoding: of `f_port` where the codec names none."""
    if answer.errors:
        return Encoding(b"", None, answer.warnings, answer.errors, answer.console)
    frm_payload = _to_bytes(answer.bytes)
    f_port = f_port if answer.fPort is None else answer.fPort
    sentence = frm_payload if isinstance(frm_payload, str) else _find_fault(frm_payload, f_port)
    if sentence is not None or isinstance(frm_payload, str):
        return Encoding(b"", None, answer.warnings, (sentence or "",), answer.console)
    return Encoding(frm_payload, f_port, answer.warnings, (), answer.console)


def _find_fault(frm_payload: bytes, f_port: object) -> str | None:
    if len(frm_payload) > FRM_PAYLOAD_MAX_BYTES:
        return f"encodeDownlink gave {len(frm_payload)} bytes; a frame takes {FRM_PAYLOAD_MAX_BYTES} at most"
    if f_port is None or (type(f_port) is int and 0 <= f_port <= F_PORT_MAX):
        return None
    return "encodeDownlink gave an fPort that is not an integer from 0 to 255"


def _to_bytes(given: Json) -> bytes | str:
    """Give the bytes, or the sentence that says why they are none. Negative ones are two's complement."""
    if isinstance(given, str):
        try:
            return bytes.fromhex(given)
        except ValueError:
            return "encodeDownlink gave a text as bytes that is not hexadecimal"
    if not isinstance(given, list):
        return "encodeDownlink gave bytes that are not a list"
    octets = bytearray()
    for position, value in enumerate(given):
        if type(value) is not int or not -128 <= value <= 255:
            return f"encodeDownlink gave bytes of which number {position + 1} is not an integer from 0 to 255"
        octets.append(value & 0xFF)
    return bytes(octets)


def _depth(line: bytes) -> int:
    depth = deepest = 0
    for found in _BRACKETS.finditer(line):
        bracket = found[0]
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in b"]}":
            depth -= 1
    return deepest


def _with_doubles(value: Json) -> Json:
    if isinstance(value, int) and not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        return float(value) if abs(value) < 10**300 else math.copysign(1e300, value)
    if isinstance(value, list):
        return [_with_doubles(element) for element in value]
    if isinstance(value, dict):
        return {name: _with_doubles(element) for name, element in value.items()}
    return value
