"""When to try again, and whether it is the event or the target that fails. Pure: times and chance are arguments."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

BASE_S = 5.0
LONGEST_S = 3600.0
"""Between two tries of one event: 5 s after the first, as in the example schedule of Standard Webhooks, then twice as
long each time up to an hour; less a part, up to half, that chance takes off, so that not all come at once."""

LONGEST_AWAY_S = 300.0
"""Between two looks at a target that takes nothing at all: its return is noticed within five minutes."""

LONGEST_ASKED_S = 3600.0
"""However long a target asks for with `Retry-After`."""

AWAY_LANES = 3
"""So many devices in a row whose events fail at their first try, and none that succeeds between: it is the target."""

LEAST_TRIES = 5
"""Before an event is given up, however long ago the first one was: an outage on this side is no try."""


def backoff_s(failures: int, chance: float, longest_s: float = LONGEST_S) -> float:
    """Give the pause after so many failures in a row (1 or more); `chance` is from 0 to 1."""
    whole = min(longest_s, BASE_S * 2.0 ** min(failures - 1, 30))
    return whole * (0.5 + chance / 2)


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Give the seconds that a header `Retry-After` asks for, at most `LONGEST_ASKED_S`; None if it says nothing.

    Source: RFC 9110 section 10.2.3: a number of seconds, or a date.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_ASKED_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_ASKED_S) if math.isfinite(seconds) else None


def is_to_give_up(attempts: int, first_failed_at: datetime, now: datetime, give_up_after: timedelta) -> bool:
    """Say whether an event that failed `attempts` times by now has had its chance."""
    return attempts >= LEAST_TRIES and now - first_failed_at >= give_up_after


class TargetHealth:
    """Tells a target that takes nothing from events that it does not take. Away: one is tried at a time."""

    def __init__(self, away_since: datetime | None = None) -> None:
        """Begin as an earlier run ended."""
        self.away_since = away_since
        self._until: datetime | None = None
        self._failures = 0
        self._failed_in_a_row: set[str] = set()

    def may_try(self, now: datetime) -> bool:
        """Say whether something may be sent now."""
        return self._until is None or now >= self._until

    @property
    def until(self) -> datetime | None:
        """When an absent target is tried next."""
        return self._until

    def note_success(self) -> None:
        """Something was taken: the target is there."""
        self.away_since, self._until, self._failures = None, None, 0
        self._failed_in_a_row.clear()

    def note_failure(self, lane: str, now: datetime, chance: float, *, first_try: bool, asked_s: float | None) -> bool:
        """Note an event that was not taken; say whether the target as a whole is held to be away.

        Only first tries count: that an event fails again says nothing new of the target.
        """
        if first_try:
            self._failed_in_a_row.add(lane)
        if self.away_since is None and len(self._failed_in_a_row) < AWAY_LANES:
            return False
        self.note_away(now, chance, asked_s)
        return True

    def note_away(self, now: datetime, chance: float, asked_s: float | None) -> None:
        """Note that nothing can be sent now: the target is not reached, or asks for a pause."""
        if self.may_try(now):  # else it was under way when the pause began, and says nothing new
            self._failures += 1
        self.away_since = self.away_since or now
        pause_s = max(backoff_s(self._failures, chance, LONGEST_AWAY_S), asked_s or 0.0)
        until = now + timedelta(seconds=pause_s)
        self._until = until if self._until is None else max(until, self._until)
