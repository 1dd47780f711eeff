"""SQL that writes what codecs made of uplinks: a decoding for each, and its measurements in their series."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sqlalchemy import delete, select

from receiver.storage import pg_arrays
from receiver.storage.batch_statements import as_utc, insert_statement, select_by, time_writer
from receiver.storage.telemetry_tables import decodings, series, telemetry_values, undecoded

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection


class NewDecoding(NamedTuple):
    """A row of `decodings`, whose columns have these names. `codec_version_id` None: the network decoded it."""

    uplink_id: int
    codec_version_id: int | None
    state: str
    decoded: str | None
    warnings: str | None
    errors: str | None
    first_at: datetime
    last_at: datetime
    decoded_at: datetime

    def __repr__(self) -> str:
        return f"NewDecoding(uplink_id={self.uplink_id}, {self.state})"


class SeriesKey(NamedTuple):
    """What makes a series; `unit` is empty where none is known."""

    dev_eui: str
    name: str
    unit: str


ValueRow: TypeAlias = "tuple[int, datetime, int, float | None, str | None, int | None]"
"""What a `NewValue` holds."""


class NewValue(NamedTuple):
    """A row of `telemetry_values`, whose columns have these names. `codec_version_id` None: the network decoded it."""

    series_id: int
    at: datetime
    uplink_id: int
    value: float | None
    text: str | None
    codec_version_id: int | None

    def __repr__(self) -> str:
        return f"NewValue(series_id={self.series_id}, uplink_id={self.uplink_id})"


_INSERT_DECODINGS = insert_statement(
    decodings,
    NewDecoding._fields,
    "ON CONFLICT (uplink_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in NewDecoding._fields if name != "uplink_id"),
)
_INSERT_SERIES = insert_statement(series, SeriesKey._fields, "ON CONFLICT DO NOTHING")
_NUMBER = ("series_id", "at", "uplink_id", "value", "codec_version_id")
_INSERT_NUMBERS = insert_statement(telemetry_values, _NUMBER, "ON CONFLICT DO NOTHING")
_INSERT_WORDS = insert_statement(telemetry_values, (*_NUMBER, "text"), "ON CONFLICT DO NOTHING")

# CROSS JOIN: SQLite then keeps to this order, a search in the index for each series.
_SERIES_SQLITE = (
    "SELECT series.id, series.dev_eui, series.name, series.unit FROM json_each(?) AS wanted CROSS JOIN series"
    " ON series.dev_eui = json_extract(wanted.value, '$[0]') AND series.name = json_extract(wanted.value, '$[1]')"
    " AND series.unit = json_extract(wanted.value, '$[2]')"
)
_SERIES_POSTGRESQL = (
    "SELECT series.id, series.dev_eui, series.name, series.unit FROM unnest(%b, %b, %b) AS wanted (dev_eui, name, unit)"
    " JOIN series ON series.dev_eui = wanted.dev_eui AND series.name = wanted.name AND series.unit = wanted.unit"
)


def ensure_series(connection: Connection, keys: Collection[SeriesKey]) -> dict[SeriesKey, int]:
    """Give the ids of these series; those that are not there yet are made."""
    known = _find_series(connection, keys)
    missing = sorted(key for key in keys if key not in known)
    if missing:
        _INSERT_SERIES.run(connection, missing)
        known |= _find_series(connection, missing)
    return known


def _find_series(connection: Connection, keys: Collection[SeriesKey]) -> dict[SeriesKey, int]:
    pack = (pg_arrays.texts,) * 3
    rows = select_by(connection, _SERIES_SQLITE, _SERIES_POSTGRESQL, [tuple(key) for key in keys], *pack)
    return {SeriesKey(*row[1:]): row[0] for row in rows}


def write_decodings(connection: Connection, rows: Sequence[NewDecoding]) -> None:
    """Write what became of uplinks, in place of what an earlier codec made of them."""
    time = time_writer(connection)
    _INSERT_DECODINGS.run(
        connection, [(*row[:6], time(row.first_at), time(row.last_at), time(row.decoded_at)) for row in rows]
    )


def insert_values(connection: Connection, rows: Sequence[ValueRow]) -> None:
    """Write measurements. One that stands already, of the same series, time and uplink, stays."""
    time = time_writer(connection)
    times = {at: time(at) for at in {row[1] for row in rows}}  # those of a frame are the same
    numbers, words = [], []
    for series_id, at, uplink_id, value, text, version_id in rows:
        if text is None:  # most have none, and the drivers take long for a NULL
            numbers.append((series_id, times[at], uplink_id, value, version_id))
        else:
            words.append((series_id, times[at], uplink_id, value, version_id, text))
    _INSERT_NUMBERS.run(connection, numbers)
    _INSERT_WORDS.run(connection, words)


_EARLIER = (
    "SELECT decodings.uplink_id, decodings.first_at, decodings.last_at, uplinks.dev_eui"
    " FROM decodings JOIN uplinks ON uplinks.id = decodings.uplink_id WHERE decodings.uplink_id"
)
_EARLIER_SQLITE = f"{_EARLIER} IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants only
_EARLIER_POSTGRESQL = f"{_EARLIER} = ANY(%b)"


def delete_values_of(connection: Connection, uplink_ids: Collection[int]) -> int:
    """Delete the measurements that earlier codecs made of these uplinks; give how many."""
    earlier = select_by(connection, _EARLIER_SQLITE, _EARLIER_POSTGRESQL, list(uplink_ids), pg_arrays.int8s)
    deleted = 0
    for uplink_id, first_at, last_at, dev_eui in earlier:  # few: only where somebody asks is one decoded again
        of_device = select(series.c.id).where(series.c.dev_eui == dev_eui)
        deleted += connection.execute(
            delete(telemetry_values).where(
                telemetry_values.c.series_id.in_(of_device),
                telemetry_values.c.at.between(as_utc(first_at), as_utc(last_at)),
                telemetry_values.c.uplink_id == uplink_id,
                telemetry_values.c.codec_version_id.is_not(None),  # what the network decoded is no codec's to replace
            )
        ).rowcount
    return deleted


def forget_decodings(connection: Connection, uplink_ids: Collection[int]) -> None:
    """Delete what codecs made of uplinks whose payload turned out to be encrypted: it never was a measurement."""
    if not uplink_ids:
        return
    delete_values_of(connection, uplink_ids)
    connection.execute(delete(decodings).where(decodings.c.uplink_id.in_(uplink_ids)))
    connection.execute(delete(undecoded).where(undecoded.c.uplink_id.in_(uplink_ids)))
