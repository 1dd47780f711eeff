"""Reads the time that a device or codec gives to a value, where it can be one. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receiver.codecs.values import Json

OLDEST = timedelta(days=3653)
"""Before the frame: ten years, the life of a battery. A clock that was not set stands at 1970, 1980 or 2000."""

NEWEST = timedelta(days=1)
"""After the frame: what a wrong time zone or a clock that runs ahead can make."""

_LONGEST_TEXT = 40  # `2026-11-20T12:00:00.000000000+00:00` has 35 characters


def is_plausible(own: datetime, at: datetime) -> bool:
    """Say whether a value of the frame of `at` can be from `own`; both have a zone."""
    return -OLDEST <= own - at <= NEWEST


def read_own_time(value: Json, at: datetime) -> datetime | None:
    """Give the UTC time that `value` names, or None where it names none, or none that is plausible for a frame of `at`.

    It is ISO 8601 text with a zone, or the seconds or milliseconds since 1970 as a number.
    """
    if isinstance(value, str):
        own = _read_text(value)
        return own if own is not None and is_plausible(own, at) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for per_second in (1, 1000):  # both cannot be plausible: they lie decades apart
            own = _read_seconds(value, per_second)
            if own is not None and is_plausible(own, at):
                return own
    return None


def _read_text(text: str) -> datetime | None:
    if len(text) > _LONGEST_TEXT:
        return None
    try:
        own = datetime.fromisoformat(text)
        return None if own.tzinfo is None else own.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _read_seconds(number: float, per_second: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(number / per_second, UTC)
    except (ValueError, OverflowError, OSError):  # OSError: what the C library of the machine cannot hold
        return None
