"""SQL for decoding history again: which frames, what stands of them, and what takes its place.

Frames are walked by time and id. No statement looks at more than STRETCH_ROWS frames, however few of them are meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ColumnElement, delete, exists, or_, select

from receiver.storage import pg_arrays
from receiver.storage.batch_statements import BatchStatement, as_utc, insert_statement, select_by, time_writer
from receiver.storage.engine import bump_revision
from receiver.storage.tables import devices, uplinks
from receiver.storage.telemetry import NewValue
from receiver.storage.telemetry_tables import codec_versions, series, telemetry_values
from receiver.storage.undecoded import UndecodedUplink

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

STRETCH_ROWS = 5_000
"""Frames between two positions, whether they are meant or not: some 10 ms of reading on either database."""

SERIES_REVISION = "series"
"""Bumped when series are deleted, so that who remembers the ids of series forgets them."""


@dataclass(frozen=True, slots=True)
class ChosenFrames:
    """Which frames: those that match all that is not None, of time `since` on and before `until`.

    What came after the uplink `last_id` is not among them, so that a walk ends while frames go on to come.
    """

    dev_eui: str | None
    driver: str | None
    model: str | None
    connection_id: int | None
    f_port: int | None
    since: datetime | None
    until: datetime | None
    last_id: int


class Position(NamedTuple):
    """A frame in the order of the walk; `at` is None before the first one."""

    at: datetime | None
    id: int


BEGINNING = Position(None, 0)


class StandingValue(NamedTuple):
    """A row of `telemetry_values` with its series' name and unit."""

    series_id: int
    at: datetime
    uplink_id: int
    value: float | None
    text: str | None
    codec_version_id: int | None
    name: str
    unit: str

    def __repr__(self) -> str:
        return f"StandingValue(series_id={self.series_id}, uplink_id={self.uplink_id})"


def find_stretch_end(connection: Connection, frames: ChosenFrames, after: Position) -> Position | None:
    """Give where the next STRETCH_ROWS frames behind `after` end; None: fewer are left."""
    statement = (
        select(uplinks.c.at, uplinks.c.id)
        .where(*_between(frames, after, None))
        .order_by(uplinks.c.at, uplinks.c.id)
        .offset(STRETCH_ROWS - 1)
        .limit(1)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else Position(row.at, row.id)


def list_chosen_frames(
    connection: Connection, frames: ChosenFrames, after: Position, end: Position | None, limit: int
) -> list[UndecodedUplink]:
    """Give up to `limit` of the chosen frames behind `after` and up to `end` that have a clear payload, in order."""
    meant = {
        uplinks.c.connection_id: frames.connection_id,
        uplinks.c.f_port: frames.f_port,
        devices.c.model: frames.model,
        devices.c.driver: frames.driver,
    }
    statement = (
        select(
            uplinks.c.id,
            uplinks.c.report_id,
            uplinks.c.dev_eui,
            uplinks.c.at,
            uplinks.c.f_port,
            uplinks.c.frm_payload,
            uplinks.c.connection_id,
            devices.c.model,
            devices.c.driver,
        )
        .select_from(uplinks.outerjoin(devices, devices.c.dev_eui == uplinks.c.dev_eui))
        .where(
            *_between(frames, after, end),
            *_IS_CLEAR,
            *(column == value for column, value in meant.items() if value is not None),
        )
        .order_by(uplinks.c.at, uplinks.c.id)
        .limit(limit)
    )
    return [UndecodedUplink(*row) for row in connection.execute(statement)]


_IS_CLEAR = (
    uplinks.c.payload_state.in_(["clear", "decrypted"]),
    uplinks.c.f_port >= 1,
    uplinks.c.frm_payload.is_not(None),
)


def _between(frames: ChosenFrames, after: Position, end: Position | None) -> list[ColumnElement[bool]]:
    at, row_id = uplinks.c.at, uplinks.c.id + 0  # a sum is in no index: no plan may walk the ids and sort by time
    conditions: list[ColumnElement[bool]] = [row_id <= frames.last_id]
    if frames.dev_eui is not None:
        conditions.append(uplinks.c.dev_eui == frames.dev_eui)
    if after.at is not None:
        conditions += [at >= after.at, or_(at > after.at, row_id > after.id)]
    elif frames.since is not None:
        conditions.append(at >= frames.since)
    if end is not None:
        conditions += [at <= end.at, or_(at < end.at, row_id <= end.id)]
    elif frames.until is not None:
        conditions.append(at < frames.until)
    return conditions


def lock_codec_versions(connection: Connection, version_ids: Collection[int]) -> set[int]:
    """Give which of the versions are still there; they cannot be removed before the transaction ends."""
    statement = (
        select(codec_versions.c.id)
        .where(codec_versions.c.id.in_(version_ids))
        .order_by(codec_versions.c.id)
        .with_for_update(read=True, key_share=True)
    )
    return set(connection.execute(statement).scalars())


_STANDING = (
    "SELECT telemetry_values.series_id, telemetry_values.at, telemetry_values.uplink_id, telemetry_values.value,"
    " telemetry_values.text, telemetry_values.codec_version_id, series.name, series.unit FROM "
)
_OF_DECODING = (
    "telemetry_values.series_id = series.id AND telemetry_values.uplink_id = decodings.uplink_id"
    " AND telemetry_values.at BETWEEN decodings.first_at AND decodings.last_at"
    " AND telemetry_values.codec_version_id IS NOT NULL"  # what the network decoded is no codec's to replace
)
# CROSS JOIN: SQLite then keeps to this order, searches in indexes for each frame.
_STANDING_SQLITE = (
    f"{_STANDING} json_each(?) AS wanted CROSS JOIN decodings ON decodings.uplink_id = wanted.value"
    " CROSS JOIN uplinks ON uplinks.id = decodings.uplink_id CROSS JOIN series ON series.dev_eui = uplinks.dev_eui"
    f" CROSS JOIN telemetry_values ON {_OF_DECODING}"
)
_STANDING_POSTGRESQL = (
    f"{_STANDING} decodings JOIN uplinks ON uplinks.id = decodings.uplink_id"
    f" JOIN series ON series.dev_eui = uplinks.dev_eui JOIN telemetry_values ON {_OF_DECODING}"
    " WHERE decodings.uplink_id = ANY(%b)"
)


def list_standing_values(connection: Connection, uplink_ids: Sequence[int]) -> list[StandingValue]:
    """Give the measurements that earlier decodings of these uplinks left."""
    rows = select_by(connection, _STANDING_SQLITE, _STANDING_POSTGRESQL, uplink_ids, pg_arrays.int8s)
    return [StandingValue(row[0], as_utc(row[1]), *row[2:]) for row in rows]


_DELETE_VALUES = BatchStatement(
    "DELETE FROM telemetry_values WHERE series_id = ? AND at = ? AND uplink_id = ?",
    "DELETE FROM telemetry_values USING unnest(%b, %b, %b) AS gone (series_id, at, uplink_id)"
    " WHERE telemetry_values.series_id = gone.series_id AND telemetry_values.at = gone.at"
    " AND telemetry_values.uplink_id = gone.uplink_id",
    (pg_arrays.int8s, pg_arrays.timestamptzs, pg_arrays.int8s),
)
_PUT_VALUES = insert_statement(
    telemetry_values,
    NewValue._fields,
    "ON CONFLICT (series_id, at, uplink_id) DO UPDATE SET value = excluded.value, text = excluded.text,"
    " codec_version_id = excluded.codec_version_id",
)


def delete_values(connection: Connection, gone: Sequence[StandingValue]) -> None:
    """Delete these measurements, and the series that hold none any more.

    Only with `lock_reading`: a decoder that remembers a series asks for SERIES_REVISION under the same lock before it
    writes into it.
    """
    time = time_writer(connection)
    _DELETE_VALUES.run(connection, [(row.series_id, time(row.at), row.uplink_id) for row in gone])
    emptied = {row.series_id for row in gone}
    if not emptied:
        return
    holds_any = exists().where(telemetry_values.c.series_id == series.c.id)
    if connection.execute(delete(series).where(series.c.id.in_(emptied), ~holds_any)).rowcount:
        bump_revision(connection, SERIES_REVISION)


def put_values(connection: Connection, rows: Sequence[NewValue]) -> None:
    """Write measurements, each in place of the one of the same series, time and uplink. No two are of the same."""
    time = time_writer(connection)
    _PUT_VALUES.run(connection, [(row[0], time(row[1]), *row[2:]) for row in rows])
