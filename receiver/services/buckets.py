"""Buckets of local time: which one a moment is in, when it begins, and how partial sums in UTC become its figures.

A bucket is named by the clock on the wall. Buckets of more than an hour hold all moments whose wall clock shows a time
in them: a day has 23, 24 or 25 hours. Buckets of up to an hour are told apart by their offset from UTC as well, so the
hour that autumn gives twice is two. Minutes and hours are counted from midnight, weeks from Monday; several days
from 1970-01-01, several weeks from Monday 1970-01-05.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import gcd
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime(2200, 1, 1, tzinfo=UTC)
"""What lies outside these is in no bucket: a LoRaWAN device that says so has no clock."""

SIZES = "1 to 60 minutes or 1 to 24 hours that divide an hour or a day evenly (15m, 1h), 1d to 366d, 1w to 52w"

_SIZE = re.compile(r"([1-9][0-9]{0,2})([mhdw])\Z", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*\Z", re.ASCII)
_DAY_S = 86_400
_UNIT_S = {"m": 60, "h": 3600, "d": _DAY_S, "w": 7 * _DAY_S}
_MOST = {"d": 366, "w": 52}
_HOUR = timedelta(hours=1)
_SAMPLE = timedelta(days=7)  # the shortest time between two changes of a clock was Morocco's Ramadan, a month


class Bucket(NamedTuple):
    """One bucket: its beginning as the wall clock would show it; of those up to an hour also their offset."""

    label: datetime
    offset: timedelta | None


@dataclass(frozen=True, slots=True)
class Buckets:
    """All buckets of one size (`number` of unit `m`, `h`, `d` or `w`) in one zone."""

    number: int
    unit: str
    zone: ZoneInfo

    @property
    def size(self) -> timedelta:
        """How long one is while the clock does not change."""
        return timedelta(seconds=self.number * _UNIT_S[self.unit])

    def of(self, at: datetime) -> Bucket:
        """Give the bucket that `at` is in."""
        local = at.astimezone(self.zone)
        wall = local.replace(tzinfo=None, fold=0)
        if self.unit in "mh":
            minutes = self.number * _UNIT_S[self.unit] // 60
            since_midnight = wall.hour * 60 + wall.minute
            begins = since_midnight - since_midnight % minutes
            label = wall.replace(hour=begins // 60, minute=begins % 60, second=0, microsecond=0)
            return Bucket(label, local.utcoffset() if self.size <= _HOUR else None)
        days = self.number * (7 if self.unit == "w" else 1)
        epoch = date(1970, 1, 5 if self.unit == "w" else 1).toordinal()
        ordinal = wall.toordinal()
        return Bucket(datetime.combine(date.fromordinal(ordinal - (ordinal - epoch) % days), time()), None)

    def start(self, bucket: Bucket) -> datetime:
        """Give the first moment of a bucket that holds any, in UTC.

        It is the label's own, or where the wall clock never shows that, the moment at which it jumps over it.
        """
        around = bucket.label.replace(tzinfo=UTC)  # offsets lie between -12 and +14 h
        if bucket.offset is not None and self._offset(around - bucket.offset) == bucket.offset:
            return around - bucket.offset
        offsets = {self._offset(around - timedelta(hours=15)), self._offset(around + timedelta(hours=13))}
        wanted = sorted(offsets if bucket.offset is None else {bucket.offset}, reverse=True)
        for offset in wanted:  # the greatest offset is the earliest moment
            if self._offset(around - offset) == offset:
                return around - offset
        began = around - wanted[0]  # the jump is behind this, and from it on the clock has this offset
        span = self.size if bucket.offset is not None else wanted[0] - wanted[-1]
        return self._change(began, began + span)

    def step_s(self, first: datetime, last: datetime) -> int:
        """Give the greatest span in seconds, at most a day, whose multiples since 1970 in UTC divide every bucket.

        So each span lies in one bucket, for all moments between `first` and `last`.
        """
        step = gcd(_DAY_S, self.number * _UNIT_S[self.unit])
        at = first - timedelta(days=1)
        before = self._offset(at)
        step = gcd(step, _seconds(before))
        while at <= last:
            following = at + _SAMPLE
            after = self._offset(following)
            if after != before:
                change = self._change(at, following)
                step = gcd(step, _seconds(after), _seconds(change - FIRST))
            at, before = following, after
        return step

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self.zone).utcoffset() or timedelta()

    def _change(self, before: datetime, after: datetime) -> datetime:
        """Give the second at which the clock takes on the offset that it has at `after`."""
        offset = self._offset(after)
        least, most = 0, _seconds(after - before)
        while least < most:
            middle = (least + most) // 2
            if self._offset(before + timedelta(seconds=middle)) == offset:
                most = middle
            else:
                least = middle + 1
        return before + timedelta(seconds=least)


class Partial(NamedTuple):
    """What the values of a series within one step come to: `numbers` is how many, `first_at` the time of the first."""

    first_at: datetime
    numbers: int
    minimum: float
    maximum: float
    total: float
    first: float
    last: float


def parse_buckets(size: str, zone: str) -> Buckets:
    """Give the buckets that `15m`, `1h`, `1d`, `2w` … means in a zone of the IANA database.

    Raises:
        ValueError: there are no buckets of that size; what there is stands in `SIZES`.
        ZoneInfoNotFoundError: there is no such zone.
    """
    found = _SIZE.match(size)
    if found is None:
        raise ValueError(size)
    number, unit = int(found[1]), found[2]
    whole = {"m": 60, "h": 24}.get(unit)
    if number > _MOST[unit] if whole is None else whole % number != 0:
        raise ValueError(size)
    return Buckets(number, unit, find_zone(zone))


def find_zone(name: str) -> ZoneInfo:
    """Give a zone of the IANA database.

    Raises:
        ZoneInfoNotFoundError: there is none of that name.
    """
    if len(name) > 64 or not _ZONE.match(name):
        raise ZoneInfoNotFoundError(name[:64])
    try:
        return ZoneInfo(name)
    except (ValueError, OSError) as exc:  # a folder of the database, or a file of it that is no zone
        raise ZoneInfoNotFoundError(name) from exc


def merge_partials(partials: Iterable[Partial], buckets: Buckets) -> dict[Bucket, Partial]:
    """Give the figures of each bucket, out of those of steps that came in the order of time."""
    merged: dict[Bucket, Partial] = {}
    for partial in partials:
        bucket = buckets.of(partial.first_at)
        known = merged.get(bucket)
        if known is None:
            merged[bucket] = partial
        else:
            merged[bucket] = Partial(
                known.first_at,
                known.numbers + partial.numbers,
                min(known.minimum, partial.minimum),
                max(known.maximum, partial.maximum),
                known.total + partial.total,
                known.first,
                partial.last,
            )
    return merged


def _seconds(span: timedelta) -> int:
    return round(span.total_seconds())
