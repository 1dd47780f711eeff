"""Gathers named values into measurements, within bounds: what nests becomes dotted names. Pure.

A value is a number, `true` or `false`, or text; `null` and what is empty are no value. Names join with dots, arrays
count from 0: `wind.0.speed`. Where two values of one time have one name, the first stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING

from receiver.codecs.values import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from receiver.codecs.values import Json

MAX_MEASUREMENTS = 500
"""Of one frame, whose payload is 242 bytes at most: two of each byte, and a row each in the database."""

MAX_NAME = 120
"""Characters of a name; what is longer is cut. Eight levels of readable words stay below."""

MAX_TEXT = 1_000
"""Characters of a text; what is longer is cut, the decoded object has it whole."""

MAX_DEPTH = 16
"""What lies deeper is left out: readable names have three or four levels, and the walk must end before the stack."""

ONLY_NAME = "value"
"""The name of a value that has none: of a codec that gives a bare number."""

_EXACT = 2**53  # whole numbers up to here are doubles, which is what databases and charts keep
_CHANNEL_OR_INDEX = re.compile(r"_\d+(?=\.|\Z)|(?:\A|\.)\d+(?=\.|\Z)", re.ASCII)
_TOLD = 3  # names in a warning


@dataclass(slots=True)
class _Note:
    """How many values something was done to, and the first of their names."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        more = self.count - len(self.names)
        return ", ".join(self.names) + (f" and {more:,} more" if more else "")


class Rows:
    """Measurements of one frame, and what had to be done to values to keep them.

    `units` gives units by name; a name that is not in it is looked up without channel and index: `gps_3.latitude` as
    `gps.latitude`, `wind.0.speed` as `wind.speed`.
    """

    __slots__ = ("_names", "_notes", "_units", "measurements")

    def __init__(self, units: Mapping[str, str]) -> None:
        self.measurements: list[Measurement] = []
        self._units = units
        self._names: dict[datetime, set[str]] = {}
        self._notes: dict[str, _Note] = {}

    def take(self, value: Json, name: str, at: datetime, unit: str | None = None) -> None:
        """Take what `value` is or holds, named `name` or beginning so; of a bare value, `unit` goes before `units`."""
        if isinstance(value, (dict, list)):
            self._walk(value, f"{name}." if name else "", at, MAX_DEPTH)
        elif value is not None:
            self._add(value, name, at, self._names_of(at), unit)

    def note(self, sentence: str, name: str) -> None:
        """Note for a warning what was done to a value; equal sentences become one, with the first names."""
        note = self._notes.get(sentence)
        if note is None:
            note = self._notes[sentence] = _Note()
        note.count += 1
        if note.count <= _TOLD:
            note.names.append(name[:MAX_NAME])

    def warnings(self) -> tuple[str, ...]:
        """Say what was cut, changed and left out."""
        return tuple(f"{sentence}: {note}." for sentence, note in self._notes.items())

    def _names_of(self, at: datetime) -> set[str]:
        names = self._names.get(at)
        if names is None:
            names = self._names[at] = set()
        return names

    def _walk(self, container: dict[str, Json] | list[Json], prefix: str, at: datetime, room: int) -> None:
        names = self._names_of(at)
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, (dict, list)):
                if room > 1:
                    self._walk(value, f"{prefix}{key}.", at, room - 1)
                else:
                    self.note(f"Left out, as they lie deeper than {MAX_DEPTH} levels", f"{prefix}{key}")
            elif value is not None:
                self._add(value, f"{prefix}{key}", at, names, None)

    def _add(self, value: float | bool | str, name: str, at: datetime, names: set[str], unit: str | None) -> None:
        if len(self.measurements) >= MAX_MEASUREMENTS:
            self.note(f"Left out, as a frame gives at most {MAX_MEASUREMENTS} measurements", name)
            return
        if len(name) > MAX_NAME or not name.isprintable() or not name:
            name = self._clean_name(name)
        if isinstance(value, str):
            value = self._clean_text(value, name)
        elif not isfinite(value) if type(value) is float else not -_EXACT <= value <= _EXACT:
            number = _as_double(value)
            if number is None:
                self.note("Left out, as they are no number that can be kept", name)
                return
            value = number
        if name in names:
            self.note("Left out, as another value has this name already", name)
            return
        names.add(name)
        if unit is None and self._units:
            unit = self._units.get(name) or self._units.get(_bare_name(name))
        self.measurements.append(Measurement(name, at, value, unit))

    def _clean_name(self, name: str) -> str:
        """Make a name of what is none: what cannot be printed goes, what is too long is cut."""
        cleaned = "".join(character for character in name if character.isprintable()) or ONLY_NAME
        if name and cleaned != name:
            self.note("Characters that cannot be printed were left out of the names", cleaned[:MAX_NAME])
        if len(cleaned) > MAX_NAME:
            self.note(f"Cut to {MAX_NAME} characters were the names", cleaned[:MAX_NAME])
        return cleaned[:MAX_NAME]

    def _clean_text(self, text: str, name: str) -> str:
        if len(text) > MAX_TEXT:
            self.note(f"Cut to {MAX_TEXT:,} characters were the texts of", name)
            text = text[:MAX_TEXT]
        if text.isascii() and "\0" not in text:
            return text
        # What JavaScript allows and no database takes: NUL, and one half of a character of two.
        return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _as_double(number: float) -> float | None:
    """Give a large whole number as the double next to it; None where there is none, or no number."""
    try:
        double = float(number)
    except OverflowError:
        return None
    return double if isfinite(double) else None


@lru_cache(maxsize=4_096)  # the names of a fleet are few, and come with every frame
def _bare_name(name: str) -> str:
    """Give the name without channels and indexes."""
    return _CHANNEL_OR_INDEX.sub("", name).removeprefix(".")
