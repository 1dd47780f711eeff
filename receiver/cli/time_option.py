"""Moments on the command line: `2026-11-20`, `2026-11-20T08:00:00+01:00`, or `2h` for two hours ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

import typer

_AGO = re.compile(r"(\d{1,6})(s|m|min|h|d|w)\Z", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_moment(text: str, now: datetime, zone: tzinfo = UTC) -> datetime:
    """Give the time in UTC that `text` names: ISO 8601 (without an offset: in `zone`), or a span before `now`.

    Raises:
        typer.BadParameter: it is neither.
    """
    ago = _AGO.match(text.strip())
    try:
        if ago:
            return now - timedelta(seconds=int(ago[1]) * _UNITS_S[ago[2]])
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise typer.BadParameter(
            f"{text[:40]!r} is not a moment: give ISO 8601 like 2026-11-20T08:00:00Z, or a span like 90s, 15m, 2h, 7d."
        ) from exc


def parse_optional_moment(text: str | None, now: datetime, zone: tzinfo = UTC) -> datetime | None:
    """Give what `parse_moment` gives, or None for None."""
    return None if text is None else parse_moment(text, now, zone)
