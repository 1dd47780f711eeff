"""A JSON object of a management API's answer, read leniently: what is missing or of another type is None.

The contracts leave much open, and their own examples differ from them: numbers stand as strings, times in
milliseconds, seconds or ISO 8601. So one odd member must not cost the whole answer.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_NUMBER = 40  # characters of a number that stands as text
_SECONDS_BELOW = 1e11
"""A time below this is in seconds: in milliseconds it would be in 1973, before there was any such network."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_S = 253_402_300_799  # the last second of the year 9999


@final
class Members:
    """The members of one JSON object. `as_dict` is the object as it came."""

    __slots__ = ("as_dict",)

    def __init__(self, members: Mapping[str, object] | None = None) -> None:
        self.as_dict = dict(members or {})

    def __repr__(self) -> str:
        return f"Members({', '.join(self.as_dict)})"

    def __contains__(self, name: str) -> bool:
        return name in self.as_dict

    def text(self, name: str) -> str | None:
        """Give a text; a number is given as text; an empty one stays empty."""
        value = self.as_dict.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        return None

    def integer(self, name: str) -> int | None:
        """Give a whole number, which may stand as text or as a float without a fraction."""
        value = self.number(name)
        return int(value) if value is not None and value == int(value) else None

    def number(self, name: str) -> float | None:
        """Give a finite number, which may stand as text."""
        value = self.as_dict.get(name)
        if isinstance(value, bool):
            return None
        if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
            try:
                value = float(value)
            except ValueError:
                return None
        if not isinstance(value, (int, float)):
            return None
        return value if abs(value) < 1e300 else None  # false for what is not a number, too

    def flag(self, name: str) -> bool | None:
        """Give a boolean, which may stand as the text `true` or `false`."""
        value = self.as_dict.get(name)
        if isinstance(value, str):
            return {"true": True, "false": False}.get(value.lower())
        return value if isinstance(value, bool) else None

    def time(self, name: str) -> datetime | None:
        """Give a time in UTC: from milliseconds or seconds since 1970, or ISO 8601, where no zone means UTC."""
        number = self.number(name)
        if number is not None:
            seconds = number if abs(number) < _SECONDS_BELOW else number / 1000
            return _EPOCH + timedelta(seconds=seconds) if 0 <= seconds <= _LATEST_S else None
        value = self.as_dict.get(name)
        if not isinstance(value, str) or len(value) > _LONGEST_NUMBER:
            return None
        try:
            found = datetime.fromisoformat(value)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    def object(self, name: str) -> Members:
        """Give an object; an empty one where there is none."""
        value = self.as_dict.get(name)
        return Members(value) if isinstance(value, dict) else Members()

    def objects(self, name: str) -> tuple[Members, ...]:
        """Give the objects in a list; nothing where there is no list."""
        return objects_in(self.as_dict.get(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """Give the texts in a list; nothing where there is no list."""
        value = self.as_dict.get(name)
        return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def objects_in(value: object) -> tuple[Members, ...]:
    """Give the objects in a JSON list; nothing where `value` is no list."""
    return tuple(Members(one) for one in value if isinstance(one, dict)) if isinstance(value, list) else ()
