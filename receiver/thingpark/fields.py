"""Reads named values out of a report's members, one tolerant conversion for each kind of value.

A value that is not of its kind becomes None, and its name is noted: reading a report never fails for one
odd field. Numbers may be numbers or strings, whatever the content type says.
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

_EPOCH_MS = re.compile(r"\d{12,14}\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z", re.ASCII)


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
        """Give a text, cut to `MAX_TEXT` characters."""
        value = self._members.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            return value[:MAX_TEXT]
        self.notes.fields.append(name)
        return None

    def integer(self, name: str, minimum: int, maximum: int) -> int | None:
        """Give a whole number in a range; `7.0` counts as 7: typed JSON prints some whole numbers as floats."""
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
        if value is None or value == "":
            return None
        if isinstance(value, str) and len(value) <= 64 and _NUMBER.match(value):
            number = float(value)
            if math.isfinite(number):
                return number
        self.notes.fields.append(name)
        return None

    def flag(self, name: str) -> bool | None:
        """Give a flag, spelled 1 or 0, or true or false."""
        value = self._members.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, (str, bool)):
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
