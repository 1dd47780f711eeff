"""Traffic of devices as the networks count it: spans over time, and their sums in buckets of local time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfoNotFoundError

from receiver.services.traffic import BUCKET_SIZES, TrafficBucketView, list_traffic_buckets, parse_traffic_buckets
from receiver.storage.engine import read
from receiver.storage.traffic import TrafficFilter, TrafficPlace, TrafficView, list_traffic
from receiver.web.api_alarms import ACCOUNT
from receiver.web.cursors import read_cursor, write_cursor
from receiver.web.lists import Listing, Page, answer_list, listed
from receiver.web.operations import DEVICE, ORDER, SINCE, UNTIL, Operation, Parameter, page_of, text_of, whole_number
from receiver.web.parameters import Parameters
from receiver.web.problems import wrong_parameter

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from starlette.responses import Response

    from receiver.services.buckets import Buckets
    from receiver.web.operations import Call

PATH = "/api/v1/traffic"

LONGEST_STEP_S = 366 * 86_400

_SPANS = Listing("traffic", TrafficView)
_BUCKETS = Listing("buckets", TrafficBucketView)
_PATTERNS = (
    "(?:[1-4]|6|8|12|24)h",
    *("(?:[1-9]|[1-9][0-9]|[12][0-9][0-9]|3[0-5][0-9]|36[0-6])d", "(?:[1-9]|[1-4][0-9]|5[0-2])w"),
)
_BUCKET = Parameter(
    "bucket",
    f"Sums and means of each bucket instead of spans: {BUCKET_SIZES}. With `device`.",
    {"type": "string", "pattern": f"^(?:{'|'.join(_PATTERNS)})$", "examples": ["1d"]},
)
_TZ = text_of("tz", "The zone whose clock the buckets follow, UTC unless given.", 128, "Europe/Amsterdam")
_STEP = whole_number("step", "Only spans of so many seconds; 3600 are polled.", 1, LONGEST_STEP_S)
_LIST = (DEVICE, ACCOUNT, _STEP, SINCE, UNTIL, ORDER, _BUCKET, _TZ, *page_of(_SPANS.maximum, _SPANS.default))


class Traffic:
    """The operation on traffic. It blocks, and runs on a thread of the gate."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        about = "What the networks counted of devices, hour by hour, newest first; with `bucket` its sums and means."
        self.list = Operation("read", self._list, about, _LIST, "listTraffic", listed(_SPANS, _BUCKETS))

    def _list(self, call: Call) -> Response:
        given = Parameters(call.parameters, _LIST)
        wanted = TrafficFilter(
            dev_eui=given.dev_eui("device"),
            account=given.text("account"),
            step_s=given.number("step", 1, LONGEST_STEP_S),
            since=given.time("since"),
            until=given.time("until"),
            oldest_first=given.choice("order", ("newest", "oldest")) == "oldest",
        )
        if given.text("bucket") is not None:
            return self._answer_buckets(call, given, wanted)
        if given.text("tz") is not None:
            raise wrong_parameter("tz", "tz is for buckets; give bucket too, like bucket=1d.")
        kind = "traffic-oldest" if wanted.oldest_first else "traffic"

        def fetch(cursor: str | None, limit: int) -> Page:
            after = None
            if cursor is not None:
                after = TrafficPlace(*read_cursor(cursor, kind, (datetime, int)))  # type: ignore[arg-type]
            with read(self._engine) as tx:
                rows, following = list_traffic(tx, wanted, limit=limit, after=after)
            return Page(rows, None if following is None else write_cursor(kind, following))

        return answer_list(call, given, _SPANS, fetch)

    def _answer_buckets(self, call: Call, given: Parameters, wanted: TrafficFilter) -> Response:
        if wanted.dev_eui is None:
            raise wrong_parameter("device", "bucket is for one device; give device, its DevEUI.")
        buckets = _buckets(given)
        kind = "traffic-buckets-oldest" if wanted.oldest_first else "traffic-buckets"

        def fetch(cursor: str | None, limit: int) -> Page:
            narrowed = wanted
            if cursor is not None:
                (place,) = read_cursor(cursor, kind, (datetime,))
                name = "since" if wanted.oldest_first else "until"
                narrowed = replace(wanted, **{name: place})  # type: ignore[arg-type]
            with read(self._engine) as tx:
                rows, following = list_traffic_buckets(tx, narrowed, buckets, limit=limit)
            return Page(rows, None if following is None else write_cursor(kind, (following,)))

        return answer_list(call, given, _BUCKETS, fetch)


def traffic_operations(traffic: Traffic) -> dict[str, dict[str, Operation]]:
    """Give the operations by path and method."""
    return {PATH: {"GET": traffic.list}}


def _buckets(given: Parameters) -> Buckets:
    size, zone = given.text("bucket") or "", given.text("tz") or "UTC"
    try:
        return parse_traffic_buckets(size, zone.replace(" ", "+"))  # Etc/GMT+1, its plus not encoded
    except ZoneInfoNotFoundError as exc:
        raise wrong_parameter("tz", f"There is no zone {zone[:40]!r}; give one like Europe/Amsterdam or UTC.") from exc
    except ValueError as exc:
        raise wrong_parameter("bucket", f"bucket is {size[:40]!r}; it must be {BUCKET_SIZES}.") from exc
