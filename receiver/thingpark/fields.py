"""Reads named values out of a report's members, one tolerant conversion for each kind of value.

A value that is not of its kind becomes None, and its name is noted: reading a report never fails for one
odd field. Numbers may be numbers or strings, whatever the content type says; a number comes as it was spelled
(from `body.parse_body`) or as a number (from `typed_body.parse_typed_body`), and is read alike.
Source: ThingPark LRC–AS tunnel interface, reports; untyped JSON of 2019 mixed both.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from receiver.errors import IdentifierError
from receiver.lorawan.identifiers import parse_dev_addr
from receiver.thingpark.signed_query import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.lorawan.identifiers import DevAddr
    from receiver.thingpark.body import Value

MAX_TEXT = 256
"""Texts taken into columns are cut here; the whole stands in the body."""

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # older than any LoRaWAN frame: a clock that was not set
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)  # what is later would stand above all true times for ever

_MAX_SPELLED = 10**64
"""A whole number from here on is spelled in more digits than `body.MAX_NUMBER_DIGITS`."""

_EPOCH_MS = re.compile(r"\d{12,14}\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z", re.ASCII)


class SpellingNeededError(Exception):
    """A value can only be read as it was spelled, and the body was read as numbers. It never leaves `thingpark`."""


@dataclass(slots=True)
class Notes:
    """The names of fields whose values could not be read, in the order they were met."""

    fields: list[str] = field(default_factory=list)

    def sentence(self) -> str | None:
        """Say which fields were not readable, or None."""
        if not self.fields:
            return None
        return f"Not readable, kept in the body only: {', '.join(dict.fromkeys(self.fields))[:400]}."


class Fields:
    """The values of one object of a report. Empty text is absent, as is null."""

    __slots__ = ("_members", "notes")

    def __init__(self, members: Mapping[str, Value], notes: Notes) -> None:
        self._members = members
        self.notes = notes

    def value(self, name: str) -> Value:
        """Give the value as it is."""
        return self._members.get(name)

    def text(self, name: str) -> str | None:
        """Give a text, cut to `MAX_TEXT` characters. A number is the text that it was spelled as."""
        value = self._members.get(name)
        if type(value) is str:
            return value[:MAX_TEXT] or None
        if value is None:
            return None
        if type(value) is int:
            return str(value)[:MAX_TEXT]  # which has one spelling in JSON
        if type(value) is float:
            raise SpellingNeededError
        self.notes.fields.append(name)
        return None

    def integer(self, name: str, minimum: int, maximum: int) -> int | None:
        """Give a whole number in a range; `7.0` counts as 7: typed JSON prints some whole numbers as floats."""
        value = self._members.get(name)
        if type(value) is int and minimum <= value <= maximum:
            return value
        number = self.number(name)
        if number is None:
            return None
        if number != int(number) or not minimum <= number <= maximum:
            self.notes.fields.append(name)
            return None
        return int(number)

    def number(self, name: str) -> float | None:
        """Give a finite number."""
        value = self._members.get(name)
        if type(value) is float:
            return value
        if value is None or value == "":
            return None
        if isinstance(value, str) and len(value) <= 64 and _NUMBER.match(value):
            number = float(value)
            if math.isfinite(number):
                return number
        elif type(value) is int:
            if not -_MAX_SPELLED < value < _MAX_SPELLED:
                raise SpellingNeededError
            return float(value)
        self.notes.fields.append(name)
        return None

    def flag(self, name: str) -> bool | None:
        """Give a flag, spelled 1 or 0, or true or false."""
        value = self._members.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, (str, int)):
            if value in {"1", "true", True}:
                return True
            if value in {"0", "false", False}:
                return False
        self.notes.fields.append(name)
        return None

    def time(self, name: str) -> datetime | None:
        """Give a time in UTC, spelled as ISO 8601 or as milliseconds since 1970."""
        text = self.text(name)
        if text is None:
            return None
        at = parse_time(text)
        if at is None and _EPOCH_MS.match(text):  # KPN's developer portal of 2016
            at = datetime.fromtimestamp(int(text) / 1000, UTC)
        if at is None or not _EARLIEST <= at < _LATEST:
            self.notes.fields.append(name)
            return None
        return at

    def dev_addr(self) -> DevAddr | None:
        """Give the DevAddr of the report."""
        text = self.text("DevAddr")
        if text is None:
            return None
        try:
            return parse_dev_addr(text)
        except IdentifierError:
            self.notes.fields.append("DevAddr")
            return None
