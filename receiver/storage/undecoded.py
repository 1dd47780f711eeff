"""The decoder's queue: uplinks with a clear payload that nobody looked at yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from receiver.storage import pg_arrays
from receiver.storage.batch_statements import as_utc, insert_statement, select_by
from receiver.storage.telemetry_tables import undecoded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection


class UndecodedUplink(NamedTuple):
    """An uplink with what decides on its codec."""

    id: int
    report_id: int | None
    dev_eui: str
    at: datetime
    f_port: int | None
    frm_payload: bytes | None
    connection_id: int | None
    model: str | None
    driver: str | None

    def __repr__(self) -> str:
        return f"UndecodedUplink({self.id}, {self.dev_eui})"


_INSERT = insert_statement(undecoded, ("uplink_id",), "ON CONFLICT DO NOTHING")

_LIST = (
    "SELECT uplinks.id, uplinks.report_id, uplinks.dev_eui, uplinks.at, uplinks.f_port, uplinks.frm_payload,"
    " uplinks.connection_id, devices.model, devices.driver"
    " FROM undecoded JOIN uplinks ON uplinks.id = undecoded.uplink_id"
    " LEFT JOIN devices ON devices.dev_eui = uplinks.dev_eui ORDER BY undecoded.uplink_id LIMIT "
)

_TAKE_SQLITE = "DELETE FROM undecoded WHERE uplink_id IN (SELECT value FROM json_each(?)) RETURNING uplink_id"
_TAKE_POSTGRESQL = "DELETE FROM undecoded WHERE uplink_id = ANY(%b) RETURNING uplink_id"

_FRAMES_SQLITE = "SELECT id, frm_payload, f_port FROM uplinks WHERE id IN (SELECT value FROM json_each(?))"
_FRAMES_POSTGRESQL = "SELECT id, frm_payload, f_port FROM uplinks WHERE id = ANY(%b) ORDER BY id FOR KEY SHARE"


def enqueue_undecoded(connection: Connection, uplink_ids: Sequence[int]) -> None:
    """Put uplinks into the queue; those that are in it stay."""
    _INSERT.run(connection, [(uplink_id,) for uplink_id in uplink_ids])


def list_undecoded(connection: Connection, limit: int) -> list[UndecodedUplink]:
    """Give up to `limit` uplinks of the queue, the oldest first."""
    return [
        UndecodedUplink(row_id, report_id, dev_eui, as_utc(at), *others)
        for row_id, report_id, dev_eui, at, *others in connection.exec_driver_sql(f"{_LIST}{int(limit)}").all()
    ]


def dequeue_undecoded(connection: Connection, uplink_ids: Sequence[int]) -> set[int]:
    """Take uplinks out of the queue; give those that were in it: another decoder may have been quicker."""
    return {row[0] for row in select_by(connection, _TAKE_SQLITE, _TAKE_POSTGRESQL, uplink_ids, pg_arrays.int8s)}


def lock_frames(connection: Connection, uplink_ids: Sequence[int]) -> dict[int, tuple[bytes | None, int | None]]:
    """Give payload and FPort of those that are still there, by id; they cannot be deleted before the transaction ends.

    SQLite's write transaction is that lock already. A payload that is not clear any more is None.
    """
    rows = select_by(connection, _FRAMES_SQLITE, _FRAMES_POSTGRESQL, uplink_ids, pg_arrays.int8s)
    return {row_id: (None if payload is None else bytes(payload), f_port) for row_id, payload, f_port in rows}


def is_as_read(uplink: UndecodedUplink, there: Mapping[int, tuple[bytes | None, int | None]]) -> bool:
    """Say whether a frame still stands as it was read, by what `lock_frames` gave."""
    payload = None if uplink.frm_payload is None else bytes(uplink.frm_payload)
    return there.get(uplink.id) == (payload, uplink.f_port)
