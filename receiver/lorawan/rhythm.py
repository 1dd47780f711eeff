"""How often a device or connection is heard, and when it has been silent for longer than its habit. Pure.

The habit is the ninth decile of the last intervals: nine of ten were not longer. So a device that sends in bursts has
the interval between its bursts, one that loses every fifth frame has the longer ones, and one outage in the past does
not count. (The median would be seconds for the first, and cry at the second.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

NEWEST_TIMES = 21
"""Times looked at, which make up to 20 intervals: enough for a ninth decile, few enough to follow a new habit."""

LEAST_INTERVALS = 4
"""With fewer, there is no habit to speak of."""

FACTOR = 3.0
"""How many intervals must pass: a device that is well heard loses two frames in a row now and then, seldom three."""

LEAST_ROOM = timedelta(minutes=10)
"""Beyond the interval itself: what retries, queues in the network and clocks may add for one that sends often."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """A habit: `median_s` and `usual_s` (nine of ten are not longer) of the last intervals, in seconds."""

    median_s: float
    usual_s: float

    def allowed_s(self, factor: float = FACTOR) -> float:
        """Give for how many seconds it may be silent: `factor` times what is usual, 10 minutes beyond it at least."""
        return max(factor * self.usual_s, self.usual_s + LEAST_ROOM.total_seconds())


def find_rhythm(times: Iterable[datetime]) -> Rhythm | None:
    """Give the rhythm of the newest of these times, in any order; None where they are too few.

    Equal times are one: copies of a frame are no interval.
    """
    newest = sorted(set(times))[-NEWEST_TIMES:]
    intervals = sorted((later - earlier).total_seconds() for earlier, later in pairwise(newest))
    if len(intervals) < LEAST_INTERVALS:
        return None
    middle = len(intervals) // 2
    median_s = intervals[middle] if len(intervals) % 2 else (intervals[middle - 1] + intervals[middle]) / 2
    return Rhythm(median_s, intervals[math.ceil(0.9 * len(intervals)) - 1])
