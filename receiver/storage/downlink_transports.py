"""SQL for how the downlinks of each connection go: the form of Time, and whether they are held or paused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from receiver.storage.downlink_tables import downlink_transports
from receiver.storage.engine import dialect_insert

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

TIME_WITH_OFFSET = "offset"
TIME_BARE = "bare"


class Passage(NamedTuple):
    """Whether downlinks of a connection go. Held: a person must mend something. Paused: the network is away or busy.

    Until `next_try_at` none is sent, and then one, to see. A connection that was never in trouble has no row.
    """

    held_since: datetime | None = None
    held_cause: str | None = None
    held_detail: str | None = None
    next_try_at: datetime | None = None
    failures: int = 0

    @property
    def is_free(self) -> bool:
        """Whether all may go."""
        return self.held_since is None and self.failures == 0


FREE = Passage()


def list_passages(connection: Connection) -> dict[int, Passage]:
    """Give the passages of all connections that have one, by the connection's id."""
    table = downlink_transports.c
    rows = connection.execute(
        select(
            table.connection_id,
            table.held_since,
            table.held_cause,
            table.held_detail,
            table.next_try_at,
            table.failures,
        )
    )
    return {row[0]: Passage(*row[1:]) for row in rows}


def put_passage(connection: Connection, connection_id: int, passage: Passage) -> None:
    """Write a connection's passage; its form of Time stays."""
    values = passage._asdict()
    insert = dialect_insert(downlink_transports, connection).values(
        connection_id=connection_id, time_form=TIME_WITH_OFFSET, **values
    )
    connection.execute(insert.on_conflict_do_update(index_elements=["connection_id"], set_=values))


def put_time_form(connection: Connection, connection_id: int, time_form: str) -> None:
    """Write how Time is spelled for a connection; its passage stays."""
    insert = dialect_insert(downlink_transports, connection).values(
        connection_id=connection_id, time_form=time_form, **FREE._asdict()
    )
    connection.execute(insert.on_conflict_do_update(index_elements=["connection_id"], set_={"time_form": time_form}))


def list_time_forms(connection: Connection) -> dict[int, str]:
    """Give how Time is spelled for each connection that has a row here: `offset` or `bare`."""
    rows = connection.execute(select(downlink_transports.c.connection_id, downlink_transports.c.time_form))
    return {row.connection_id: row.time_form for row in rows}
