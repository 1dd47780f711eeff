"""The decoder's queue: uplinks with a clear payload that nobody looked at yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, select

from receiver.storage.batch_statements import insert_statement
from receiver.storage.tables import devices, uplinks
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
    .select_from(
        undecoded.join(uplinks, uplinks.c.id == undecoded.c.uplink_id).outerjoin(
            devices, devices.c.dev_eui == uplinks.c.dev_eui
        )
    )
    .order_by(undecoded.c.uplink_id)
)


def enqueue_undecoded(connection: Connection, uplink_ids: Sequence[int]) -> None:
    """Put uplinks into the queue; those that are in it stay."""
    _INSERT.run(connection, [(uplink_id,) for uplink_id in uplink_ids])


def list_undecoded(connection: Connection, limit: int) -> list[UndecodedUplink]:
    """Give up to `limit` uplinks of the queue, the oldest first."""
    return [UndecodedUplink(*row) for row in connection.execute(_LIST.limit(limit))]


def dequeue_undecoded(connection: Connection, uplink_ids: Sequence[int]) -> set[int]:
    """Take uplinks out of the queue; give those that were in it: another decoder may have been quicker."""
    if not uplink_ids:
        return set()
    statement = delete(undecoded).where(undecoded.c.uplink_id.in_(uplink_ids)).returning(undecoded.c.uplink_id)
    return set(connection.execute(statement).scalars())


def lock_frames(connection: Connection, uplink_ids: Sequence[int]) -> dict[int, tuple[bytes | None, int | None]]:
    """Give payload and FPort of those that are still there, by id; they cannot be deleted before the transaction ends.

    SQLite's write transaction is that lock already. A payload that is not clear any more is None.
    """
    statement = (
        select(uplinks.c.id, uplinks.c.frm_payload, uplinks.c.f_port)
        .where(uplinks.c.id.in_(uplink_ids))
        .order_by(uplinks.c.id)
        .with_for_update(read=True, key_share=True)
    )
    return {
        row.id: (None if row.frm_payload is None else bytes(row.frm_payload), row.f_port)
        for row in connection.execute(statement)
    }


def is_as_read(uplink: UndecodedUplink, there: Mapping[int, tuple[bytes | None, int | None]]) -> bool:
    """Say whether a frame still stands as it was read, by what `lock_frames` gave."""
    payload = None if uplink.frm_payload is None else bytes(uplink.frm_payload)
    return there.get(uplink.id) == (payload, uplink.f_port)
