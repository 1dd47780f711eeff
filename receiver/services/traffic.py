"""Traffic over time: spans as the networks count them, and their sums in buckets of local time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from receiver.services.buckets import parse_buckets
from receiver.storage.traffic import list_traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.services.buckets import Bucket, Buckets
    from receiver.storage.traffic import TrafficFilter, TrafficPlace, TrafficView

BUCKET_SIZES = "1 to 24 hours that divide a day evenly (1h, 6h), 1d to 366d, 1w to 52w"
"""An hour is the span that the networks count in."""

_PAGE = 2000


@dataclass(frozen=True, slots=True)
class TrafficBucketView:
    """The traffic of a device in one bucket, which begins at `start` on the clock of the zone.

    `spans` is how many spans of the network's are in it: those in which nothing happened are not kept, so it says
    nothing of gaps. Counts and sizes are sums; PER, RSSI (dBm), SNR (dB) and ESP (dBm) are means, by uplinks.
    """

    dev_eui: str
    start: datetime
    spans: int
    up_count: int
    up_size_bytes: int
    up_late_count: int
    up_lost_count: int
    up_join_count: int
    down_count: int
    down_size_bytes: int
    down_failed_count: int
    flow_count: int
    flow_up_bytes: int
    flow_down_bytes: int
    mean_per: float | None
    rssi_dbm: float | None
    snr_db: float | None
    esp_dbm: float | None


_SUMS = (
    *("up_count", "up_size_bytes", "up_late_count", "up_lost_count", "up_join_count", "down_count"),
    *("down_size_bytes", "down_failed_count", "flow_count", "flow_up_bytes", "flow_down_bytes"),
)
_MEANS = ("mean_per", "rssi_dbm", "snr_db", "esp_dbm")


def parse_traffic_buckets(size: str, zone: str) -> Buckets:
    """Give the buckets of a size and a zone of the IANA database.

    Raises:
        ValueError: there are none of that size; what there is stands in `BUCKET_SIZES`.
        ZoneInfoNotFoundError: there is no such zone.
    """
    if size.endswith("m"):
        raise ValueError(size)
    return parse_buckets(size, zone)


def list_traffic_buckets(
    connection: Connection, wanted: TrafficFilter, buckets: Buckets, *, limit: int
) -> tuple[list[TrafficBucketView], datetime | None]:
    """Give up to `limit` buckets of one device in which the network counted anything, in the filter's order.

    A span belongs to the bucket that it begins in. The second value is where the next page goes on: its `since` for
    the oldest first, its `until` else; None: that was all.
    """
    rows: list[TrafficBucketView] = []
    bucket: Bucket | None = None
    spans: list[TrafficView] = []
    for span in _walk(connection, wanted):
        found = buckets.of(span.at)
        if found != bucket and bucket is not None:
            rows.append(_sum(buckets, bucket, spans))
            if len(rows) == limit:
                edge = buckets.start(found if wanted.oldest_first else bucket)
                return rows, edge
            spans = []
        bucket = found
        spans.append(span)
    if bucket is not None:
        rows.append(_sum(buckets, bucket, spans))
    return rows, None


def _walk(connection: Connection, wanted: TrafficFilter) -> Iterator[TrafficView]:
    after: TrafficPlace | None = None
    while True:
        page, after = list_traffic(connection, wanted, limit=_PAGE, after=after)
        yield from page
        if after is None:
            return


def _sum(buckets: Buckets, bucket: Bucket, spans: list[TrafficView]) -> TrafficBucketView:
    sums: dict[str, Any] = {name: sum(getattr(span, name) or 0 for span in spans) for name in _SUMS}
    means: dict[str, Any] = {name: _mean(spans, name) for name in _MEANS}
    start = buckets.start(bucket).astimezone(buckets.zone)
    return TrafficBucketView(spans[0].dev_eui, start, len(spans), **sums, **means)


def _mean(spans: list[TrafficView], name: str) -> float | None:
    """Give the mean by uplinks; of spans that have none, each counts as one."""
    known = [(getattr(span, name), span.up_count or 1) for span in spans if getattr(span, name) is not None]
    weight = sum(number for _, number in known)
    return sum(value * number for value, number in known) / weight if known else None
