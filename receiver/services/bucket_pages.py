"""Telemetry in buckets of local time: minimum, maximum, mean, count, first and last, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from receiver.services.buckets import FIRST, LAST, Partial, merge_partials
from receiver.storage.telemetry_buckets import find_end, list_steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.services.buckets import Buckets
    from receiver.storage.series_values import Series


_INSTANT = timedelta(microseconds=1)  # the least that two stored times differ by


@dataclass(frozen=True, slots=True)
class BucketView:
    """The numbers of a series in one bucket, true and false as 1 and 0. `start` is on the clock of the zone."""

    dev_eui: str
    start: datetime
    name: str
    unit: str | None
    count: int
    min: float
    max: float
    mean: float
    first: float
    last: float

    def __repr__(self) -> str:
        return f"BucketView({self.dev_eui}, {self.name}, {self.start})"


def list_buckets(
    connection: Connection,
    wanted: Sequence[Series],
    buckets: Buckets,
    *,
    limit: int,
    since: datetime | None = None,
    until: datetime | None = None,
    oldest_first: bool = False,
) -> tuple[list[BucketView], datetime | None]:
    """Give up to `limit` buckets that hold a number, but at least one of each series; newest first unless told.

    The second value is None if that was all, else where the next page goes on: its `since` for the oldest first,
    its `until` for the newest first. Where the range begins or ends amid a bucket, that one holds what is in the range.
    """
    low, high = max(since or FIRST, FIRST), min(until or LAST, LAST)
    begin = _find_end(connection, wanted, low, high, oldest=oldest_first)
    if begin is None:
        return [], None
    window = _window(buckets, begin, max(1, limit // len(wanted)), low, high, oldest_first=oldest_first)
    rows: list[BucketView] = []
    kept = end = window[1] if oldest_first else window[0]
    found = _collect(connection, wanted, buckets, *window)
    for start in sorted(found, reverse=not oldest_first):
        if rows and len(rows) + len(found[start]) > limit:
            end = start if oldest_first else kept
            break
        rows += found[start]
        kept = start
    rest = (end, high) if oldest_first else (low, end)
    more = _find_end(connection, wanted, *rest, oldest=oldest_first)
    return rows, None if more is None else end


def _window(
    buckets: Buckets, begin: datetime, number: int, low: datetime, high: datetime, *, oldest_first: bool
) -> tuple[datetime, datetime]:
    """Give the range of about `number` whole buckets that begins, or for the newest first ends, with `begin`."""
    span = min(number, (LAST - FIRST) // buckets.size + 1) * buckets.size
    if not oldest_first:
        return max(low, buckets.start(buckets.of(begin - span + buckets.size))), min(high, begin + _INSTANT)
    end = buckets.start(buckets.of(begin + span))
    while end <= begin:  # a day of 25 hours is longer than a day
        span += buckets.size
        end = buckets.start(buckets.of(begin + span))
    return max(low, begin), min(high, end)


def _collect(
    connection: Connection, wanted: Sequence[Series], buckets: Buckets, low: datetime, high: datetime
) -> dict[datetime, list[BucketView]]:
    step_s = buckets.step_s(low, high)
    found: dict[datetime, list[BucketView]] = {}
    for one in wanted:
        steps = list_steps(connection, one, step_s=step_s, since=low, until=high)
        for bucket, sums in merge_partials((Partial(*step) for step in steps), buckets).items():
            start = buckets.start(bucket)
            found.setdefault(start, []).append(
                BucketView(
                    one.dev_eui,
                    start.astimezone(buckets.zone),
                    one.name,
                    one.unit,
                    sums.numbers,
                    sums.minimum,
                    sums.maximum,
                    sums.total / sums.numbers,
                    sums.first,
                    sums.last,
                )
            )
    return found


def _find_end(
    connection: Connection, wanted: Sequence[Series], low: datetime, high: datetime, *, oldest: bool
) -> datetime | None:
    ends = [find_end(connection, one, since=low, until=high, oldest=oldest) for one in wanted]
    known = [end for end in ends if end is not None]
    return (min if oldest else max)(known, default=None)
