"""Telemetry: values over time, figures in buckets of local time, and the newest value of each measurement."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfoNotFoundError

from receiver.services.bucket_pages import BucketView, list_buckets
from receiver.services.buckets import SIZES, parse_buckets
from receiver.storage.engine import read
from receiver.storage.series_values import LORAWAN_NAMES, LORAWAN_PREFIX, lorawan_series
from receiver.storage.telemetry_queries import (
    TelemetryCursor,
    TelemetryValue,
    list_latest,
    list_series,
    list_values,
)
from receiver.storage.uplink_pages import UplinkFilter, ValuePlace, list_values_by_uplink
from receiver.web.api_uplinks import connection_of
from receiver.web.cursors import read_cursor, write_cursor
from receiver.web.lists import Listing, Page, answer_list, listed
from receiver.web.operations import (
    CONNECTION,
    DEVICE,
    NAME,
    ORDER,
    PORT,
    SINCE,
    UNTIL,
    Operation,
    Parameter,
    page_of,
    text_of,
)
from receiver.web.parameters import Parameters
from receiver.web.problems import wrong_parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine
    from starlette.responses import Response

    from receiver.services.buckets import Buckets
    from receiver.storage.series_values import Series
    from receiver.web.operations import Call

MOST_NAMES = 50
MOST_SERIES_IN_BUCKETS = 10
"""A year of a series that is measured every ten minutes takes the database some 100 ms; ten of them a second."""

_VALUES = Listing("telemetry", TelemetryValue)
_BUCKETS = Listing("buckets", BucketView, 1000, 10_000)
_SIZES = (
    *("(?:[1-6]|10|12|15|20|30|60)m", "(?:[1-4]|6|8|12|24)h"),
    *("(?:[1-9]|[1-9][0-9]|[12][0-9][0-9]|3[0-5][0-9]|36[0-6])d", "(?:[1-9]|[1-4][0-9]|5[0-2])w"),
)
_BUCKET = Parameter(
    "bucket",
    f"Figures of each span instead of values: {SIZES}. With `device`.",
    {"type": "string", "pattern": f"^(?:{'|'.join(_SIZES)})$", "examples": ["1d"]},
)
_TZ = text_of("tz", "The zone whose clock the buckets follow, UTC unless given.", 128, "Europe/Amsterdam")
_PAGE = page_of(_BUCKETS.maximum, _VALUES.default, f"Of values at most {_VALUES.maximum}.")
_LIST = (DEVICE, NAME, CONNECTION, PORT, SINCE, UNTIL, ORDER, _BUCKET, _TZ, *_PAGE)
_LATEST = (DEVICE, NAME, *page_of(_VALUES.maximum, _VALUES.default))


class Telemetry:
    """The operations on telemetry. Each blocks, and runs on a thread of the gate."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        about = "Values over time, newest first; with `bucket` their minimum, maximum, mean, count, first and last."
        self.list = Operation("read", self._list, about, _LIST, "listTelemetry", listed(_VALUES, _BUCKETS))
        about = "The newest value of each measurement."
        self.latest = Operation("read", self._latest, about, _LATEST, "listLatestTelemetry", listed(_VALUES))

    def _list(self, call: Call) -> Response:
        given = Parameters(call.parameters, _LIST)
        names = _names(given)
        if given.text("bucket") is not None:
            return self._answer_buckets(call, given, names)
        if given.text("tz") is not None:
            raise wrong_parameter("tz", "tz is for buckets; give bucket too, like bucket=1h.")
        if given.dev_eui("device") is None or _is_of_uplinks(given):
            return self._answer_by_uplink(call, given, names)
        oldest_first = _oldest_first(given)
        kind = "values-oldest" if oldest_first else "values"
        get = partial(list_values, since=given.time("since"), until=given.time("until"), oldest_first=oldest_first)
        wanted = self._series(given, names)

        def fetch(cursor: str | None, limit: int) -> Page:
            before = None
            if cursor is not None:
                before = TelemetryCursor(*read_cursor(cursor, kind, (datetime, int, int)))  # type: ignore[arg-type]
            with read(self._engine) as tx:
                rows, following = get(tx, wanted, limit=limit, before=before)
            return Page(rows, None if following is None else write_cursor(kind, following))

        return answer_list(call, given, _VALUES, fetch)

    def _answer_by_uplink(self, call: Call, given: Parameters, names: Sequence[str] | None) -> Response:
        """Walk through the uplinks: of all devices, or where a connection or an FPort narrows them, of one."""
        if names is not None and (of_lorawan := [name for name in names if name.startswith(LORAWAN_PREFIX)]):
            raise wrong_parameter(
                "name", f"{of_lorawan[0][:40]} is told of one device; give device, without connection and port."
            )
        wanted = UplinkFilter(
            dev_eui=given.dev_eui("device"),
            connection_id=connection_of(self._engine, given),
            f_port=given.number("port", 0, 255),
            since=given.time("since"),
            until=given.time("until"),
            oldest_first=_oldest_first(given),
        )
        kind = "all-values-oldest" if wanted.oldest_first else "all-values"

        def fetch(cursor: str | None, limit: int) -> Page:
            after = None
            if cursor is not None:
                after = ValuePlace(*read_cursor(cursor, kind, (datetime, int, int)))  # type: ignore[arg-type]
            with read(self._engine) as tx:
                rows, following = list_values_by_uplink(tx, wanted, limit=limit, names=names, after=after)
            return Page(rows, None if following is None else write_cursor(kind, following))

        return answer_list(call, given, _VALUES, fetch)

    def _answer_buckets(self, call: Call, given: Parameters, names: Sequence[str] | None) -> Response:
        if given.dev_eui("device") is None:
            raise wrong_parameter("device", "bucket is for one device; give device, its DevEUI.")
        if _is_of_uplinks(given):
            parameter = "port" if given.text("connection") is None else "connection"
            raise wrong_parameter(parameter, f"{parameter} narrows values and not buckets; give bucket without it.")
        buckets = _buckets(given)
        wanted = self._series(given, names)
        if len(wanted) > MOST_SERIES_IN_BUCKETS:
            raise wrong_parameter(
                "name",
                f"These are {len(wanted)} measurements; give name, up to {MOST_SERIES_IN_BUCKETS} times.",
            )
        since, until = given.time("since"), given.time("until")
        oldest_first = _oldest_first(given)
        kind = "buckets-oldest" if oldest_first else "buckets"

        def fetch(cursor: str | None, limit: int) -> Page:
            low, high = since, until
            if cursor is not None:
                (place,) = read_cursor(cursor, kind, (datetime,))
                low, high = (place, until) if oldest_first else (since, place)  # type: ignore[assignment]
            if not wanted:
                return Page([], None)
            with read(self._engine) as tx:
                rows, following = list_buckets(
                    tx, wanted, buckets, limit=limit, since=low, until=high, oldest_first=oldest_first
                )
            return Page(rows, None if following is None else write_cursor(kind, (following,)))

        return answer_list(call, given, _BUCKETS, fetch)

    def _latest(self, call: Call) -> Response:
        given = Parameters(call.parameters, _LATEST)
        names, dev_eui = _names(given), given.dev_eui("device")
        of_lorawan = [name for name in names or () if name.startswith(LORAWAN_PREFIX)]
        if of_lorawan and dev_eui is None:
            raise wrong_parameter("name", f"{of_lorawan[0]} is told of one device; give device too.")

        def fetch(cursor: str | None, limit: int) -> Page:
            after = ("", "", "") if cursor is None else read_cursor(cursor, "latest", (str, str, str))
            with read(self._engine) as tx:
                if of_lorawan:
                    rows = [row for row in _list_latest_of_one(tx, str(dev_eui), names or ()) if _place(row) > after]
                else:
                    rows = list_latest(tx, dev_eui=dev_eui, names=names, after=after, limit=limit + 1)  # type: ignore[arg-type]
            more = len(rows) > limit
            last = rows[:limit][-1] if more else None
            return Page(rows[:limit], None if last is None else write_cursor("latest", _place(last)))

        return answer_list(call, given, _VALUES, fetch)

    def _series(self, given: Parameters, names: Sequence[str] | None) -> list[Series]:
        dev_eui = str(given.dev_eui("device"))
        with read(self._engine) as tx:
            stored = list_series(tx, dev_eui, names)
        return stored + lorawan_series(dev_eui, names or ())


def _list_latest_of_one(connection: Connection, dev_eui: str, names: Sequence[str]) -> list[TelemetryValue]:
    """Give the newest values of these names, few, with those of LoRaWAN itself among them."""
    rows = list_latest(connection, dev_eui=dev_eui, names=names, limit=_VALUES.maximum)
    for one in lorawan_series(dev_eui, names):
        rows += list_values(connection, [one], limit=1)[0]
    return sorted(rows, key=_place)


def _place(row: TelemetryValue) -> tuple[str, str, str]:
    return row.dev_eui, row.name, row.unit or ""


def _names(given: Parameters) -> list[str] | None:
    names = given.texts("name", MOST_NAMES)
    for name in names or ():
        if name.startswith(LORAWAN_PREFIX) and name not in LORAWAN_NAMES:
            raise wrong_parameter("name", f"There is no {name[:40]!r}; there are {', '.join(LORAWAN_NAMES)}.")
    return names


def _oldest_first(given: Parameters) -> bool:
    return given.choice("order", ("newest", "oldest")) == "oldest"


def _is_of_uplinks(given: Parameters) -> bool:
    """Say whether what is asked for stands with the uplinks, and not with the values."""
    return given.text("connection") is not None or given.text("port") is not None


def _buckets(given: Parameters) -> Buckets:
    size, zone = given.text("bucket") or "", given.text("tz") or "UTC"
    try:
        return parse_buckets(size, zone.replace(" ", "+"))  # Etc/GMT+1, its plus not encoded
    except ZoneInfoNotFoundError as exc:
        raise wrong_parameter("tz", f"There is no zone {zone[:40]!r}; give one like Europe/Amsterdam or UTC.") from exc
    except ValueError as exc:
        raise wrong_parameter("bucket", f"bucket is {size[:40]!r}; it must be {SIZES}.") from exc
