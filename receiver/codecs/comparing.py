"""Compares what a codec gave with what its example says, and tells each difference in one sentence.

Numbers are equal within the noise of floating point, whole or not (12 and 12.0). Texts are equal letter by letter,
dates as well; the order of an object's members is nothing. A member that is null and one that is missing are two
things, for JSON as for who reads it, and the sentence says which of both it is.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from receiver.codecs.values import Decoding, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.codecs.values import Encoding, Example, Json

MAX_DIFFERENCES = 50
"""As many as a person reads; the first ones tell what is wrong."""

RELATIVE_TOLERANCE = 1e-9
"""A double has 1e-16; a codec that adds and divides a hundred times stays far below this, and no sensor is as exact."""

ABSOLUTE_TOLERANCE = 1e-12
"""For an expected zero, to which nothing is near relatively: 0.1 + 0.2 − 0.3 is 5.6e-17."""

MAX_DEPTH = 100
_MAX_TOLD = 80

_ANY_DATE = "XXXX-XX-XXTXX:XX:XX.XXXZ"
"""What Actility's examples expect where a codec gives the time of its own run."""
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z", re.ASCII)
_PLAIN_MEMBER = re.compile(r"[A-Za-z_$][\w$]*\Z", re.ASCII)


class DifferenceKind(StrEnum):
    """How two values differ."""

    VALUE = "value"
    """Both are there and are not equal."""
    MISSING = "missing"
    """It is expected and was not given."""
    UNEXPECTED = "unexpected"
    """It was given and is not expected."""
    NULL = "null"
    """One is null, the other is missing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a codec gave something else than its example says."""

    path: str
    """Such as `data.values[2].temperature`."""
    expected: Json = field(repr=False)
    """None also where nothing was expected."""
    got: Json = field(repr=False)
    """None also where nothing was given."""
    kind: DifferenceKind = DifferenceKind.VALUE
    null_is_expected: bool = False
    """Of kind NULL: whether null was expected and nothing given; else it is the other way round."""

    @property
    def sentence(self) -> str:
        """Say it, such as `data.temperature: expected 31.4, got 31.3`. It holds clear payload: for who tests only."""
        if self.kind is DifferenceKind.MISSING:
            return f"{self.path}: expected {tell_json(self.expected)}, but it is missing"
        if self.kind is DifferenceKind.UNEXPECTED:
            return f"{self.path}: not expected, got {tell_json(self.got)}"
        if self.kind is DifferenceKind.NULL:
            said = "expected null, but it is missing" if self.null_is_expected else "expected to be missing, got null"
            return f"{self.path}: {said}"
        return f"{self.path}: expected {tell_json(self.expected)}, got {tell_json(self.got)}"

    def __str__(self) -> str:
        return self.sentence


def differences(expected: Json, got: Json, path: str = "") -> list[Difference]:
    """Give where `got` is not as `expected`, in the order of `expected`, at most `MAX_DIFFERENCES`."""
    found: list[Difference] = []
    _compare(expected, got, path, found, 0)
    return found


def judge(example: Example, outcome: Decoding | Encoding) -> list[Difference]:
    """Give where the outcome is not as the example says; an empty list: it is met.

    What the example does not speak of is not compared. Its errors and warnings are compared where it names them; no
    errors named means that there shall be none. Where both failed, there is no object to compare.

    Raises:
        TypeError: the outcome is of the other kind than the example.
    """
    encodes = example.operation is Operation.ENCODE_DOWNLINK
    if encodes == isinstance(outcome, Decoding):
        raise TypeError(f"an example of {example.operation} is not judged by a {type(outcome).__name__}")
    found = _judge_errors(example.errors or (), outcome.errors)
    if not found and not outcome.errors:
        found += _judge_object(example, outcome) if isinstance(outcome, Decoding) else _judge_frame(example, outcome)
    if example.warnings is not None:
        found += differences(list(example.warnings), list(outcome.warnings), "warnings")
    return found[:MAX_DIFFERENCES]


def tell_json(value: Json) -> str:
    """Write a value as JSON, cut to a length that fits a line."""
    told = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()  # half a pair has no UTF-8
    return told if len(told) <= _MAX_TOLD else f"{told[: _MAX_TOLD - 1]}…"


def _judge_object(example: Example, outcome: Decoding) -> list[Difference]:
    found = differences(example.data, outcome.data, "data")
    if example.normalized is not None:
        found += differences(_listed(example.normalized), _listed(outcome.normalized), "normalizedOutput")
    return found


def _judge_frame(example: Example, outcome: Encoding) -> list[Difference]:
    found: list[Difference] = []
    if example.frm_payload is not None and example.frm_payload != outcome.frm_payload:
        found.append(Difference("bytes", example.frm_payload.hex(), outcome.frm_payload.hex()))
    if example.f_port is not None:
        found += differences(example.f_port, outcome.f_port, "fPort")
    return found


def _judge_errors(expected: Sequence[str], got: Sequence[str]) -> list[Difference]:
    if len(expected) == len(got) and all(map(_is_error, expected, got)):
        return []
    return differences(list(expected), list(got), "errors")


def _is_error(expected: str, got: str) -> bool:
    # What runs a codec may put the kind in front of what was thrown: `RangeError: too short`.
    return got == expected or got.endswith(f": {expected}")


def _listed(value: Json) -> Json:
    # One object is a list of one: what `normalizeUplink` gives may be either, and examples write a list.
    return [value] if isinstance(value, dict) else value


def _compare(expected: Json, got: Json, path: str, found: list[Difference], depth: int) -> None:
    if len(found) >= MAX_DIFFERENCES:
        return
    if depth > MAX_DEPTH:
        found.append(Difference(path, "at most 100 levels", "more"))
    elif isinstance(expected, dict) and isinstance(got, dict):
        _compare_members(expected, got, path, found, depth)
    elif isinstance(expected, list) and isinstance(got, list):
        _compare_items(expected, got, path, found, depth)
    elif not _equal(expected, got):
        found.append(Difference(path, expected, got))


def _compare_members(
    expected: dict[str, Json], got: dict[str, Json], path: str, found: list[Difference], depth: int
) -> None:
    for name, value in expected.items():
        inner = _member(path, name)
        if name in got:
            _compare(value, got[name], inner, found, depth + 1)
        elif len(found) < MAX_DIFFERENCES:
            found.append(_missing(inner, value))
    for name, value in got.items():
        if name not in expected and len(found) < MAX_DIFFERENCES:
            found.append(_unexpected(_member(path, name), value))


def _compare_items(expected: list[Json], got: list[Json], path: str, found: list[Difference], depth: int) -> None:
    for index in range(max(len(expected), len(got))):
        if len(found) >= MAX_DIFFERENCES:
            return
        inner = f"{path}[{index}]"
        if index >= len(got):
            found.append(_missing(inner, expected[index]))
        elif index >= len(expected):
            found.append(_unexpected(inner, got[index]))
        else:
            _compare(expected[index], got[index], inner, found, depth + 1)


def _missing(path: str, expected: Json) -> Difference:
    if expected is None:
        return Difference(path, None, None, DifferenceKind.NULL, null_is_expected=True)
    return Difference(path, expected, None, DifferenceKind.MISSING)


def _unexpected(path: str, got: Json) -> Difference:
    return Difference(path, None, got, DifferenceKind.NULL if got is None else DifferenceKind.UNEXPECTED)


def _member(path: str, name: str) -> str:
    if not _PLAIN_MEMBER.match(name):
        return f"{path}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{path}.{name}" if path else name


def _equal(expected: Json, got: Json) -> bool:
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got  # true is not 1
    if isinstance(expected, int | float) and isinstance(got, int | float):
        return _close(expected, got)
    if expected == _ANY_DATE and isinstance(got, str):
        return got == expected or _DATE.match(got) is not None
    return type(expected) is type(got) and expected == got


def _close(expected: float, got: float) -> bool:
    try:
        return math.isclose(expected, got, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
    except OverflowError:  # a whole number beyond all doubles
        return expected == got
