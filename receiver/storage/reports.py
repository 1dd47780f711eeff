"""The `reports` table as a queue: what is stored at the push moment, and what the reading moment claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, func, literal_column, select, update

from receiver.storage.tables import connections, reports, uplinks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection


class NewReport(NamedTuple):
    """A verified push, ready to be stored. Times are aware; ids are 16 bytes; `query` is without the Token.

    A tuple, because one is made at every push, and a frozen dataclass costs six times as much to make.
    """

    connection_id: int
    tunnel_key_id: int
    kind: str
    content_type: str
    dev_eui: str | None
    received_at: datetime
    sent_at: datetime
    delivery_id: bytes
    frame_id: bytes | None
    query: str
    body: bytes

    def __repr__(self) -> str:
        return f"NewReport({self.kind}, {self.dev_eui}, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class UnreadReport:
    """A stored report that waits to be read, with what its connection says of payloads."""

    id: int
    connection_id: int | None
    tunnel_key_id: int | None
    kind: str
    received_at: datetime
    sent_at: datetime
    body: bytes
    payloads: str  # clear | encrypted | auto
    app_s_keys: str  # wrapped | clear


@dataclass(frozen=True, slots=True)
class ReadingOutcome:
    """What became of one report: its new state, the note to keep, and the device it is of."""

    report_id: int
    state: str
    note: str | None
    dev_eui: str | None


# As literals, and not as parameters: only so do both databases see that the partial indexes serve.
UNREAD: ColumnElement[str] = literal_column("'unread'")
WAITING_FOR_KEY: ColumnElement[str] = literal_column("'waiting_for_key'")

_UNREAD = (
    select(
        reports.c.id,
        reports.c.connection_id,
        reports.c.tunnel_key_id,
        reports.c.kind,
        reports.c.received_at,
        reports.c.sent_at,
        reports.c.body,
        connections.c.payloads,
        connections.c.app_s_keys,
    )
    .select_from(reports.outerjoin(connections, connections.c.id == reports.c.connection_id))
    .where(reports.c.state == UNREAD)
    .order_by(reports.c.id)
)


def list_unread_reports(connection: Connection, limit: int) -> list[UnreadReport]:
    """Give up to `limit` unread reports, oldest first."""
    return [
        UnreadReport(
            id=row.id,
            connection_id=row.connection_id,
            tunnel_key_id=row.tunnel_key_id,
            kind=row.kind,
            received_at=row.received_at,
            sent_at=row.sent_at,
            body=bytes(row.body),
            payloads=row.payloads or "auto",  # of a removed connection
            app_s_keys=row.app_s_keys or "wrapped",
        )
        for row in connection.execute(_UNREAD.limit(limit))
    ]


def claim_unread_reports(connection: Connection, report_ids: Sequence[int]) -> dict[int, int | None]:
    """Give which of the reports are unread still, with their connections, which may have been removed meanwhile.

    Every other reader waits until this transaction ends.
    """
    lock_reading(connection)
    unread = select(reports.c.id, reports.c.connection_id).where(
        reports.c.id.in_(report_ids), reports.c.state == UNREAD
    )
    return {row.id: row.connection_id for row in connection.execute(unread)}


READING_LOCK = 0x52656164696E67
"""`Reading` in ASCII: the number of the advisory lock, the same in every process."""


def lock_reading(connection: Connection) -> None:
    """Let no other transaction read reports or change session keys until this one ends.

    A join and the uplinks after it may stand in two batches, and the second must see the key that the first
    one brought; likewise a key that a person imports. SQLite's write transaction is that lock already;
    PostgreSQL is asked for one.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(READING_LOCK)))


def lock_reports(connection: Connection, report_ids: Iterable[int]) -> None:
    """Lock reports that are about to be written, by id, as the inbox does: no two writers wait in a circle."""
    ids = sorted(set(report_ids))
    connection.execute(select(reports.c.id).where(reports.c.id.in_(ids)).order_by(reports.c.id).with_for_update())


_SETTLE = (
    update(reports)
    .where(reports.c.id == bindparam("report_id"))
    .values(
        state=bindparam("new_state"),
        note=bindparam("new_note"),
        dev_eui=func.coalesce(bindparam("new_dev_eui"), reports.c.dev_eui),
    )
)


def settle_reports(connection: Connection, outcomes: Sequence[ReadingOutcome]) -> None:
    """Write the states that reading gave its reports."""
    if outcomes:
        connection.execute(
            _SETTLE,
            [
                {
                    "report_id": outcome.report_id,
                    "new_state": outcome.state,
                    "new_note": outcome.note,
                    "new_dev_eui": outcome.dev_eui,
                }
                for outcome in outcomes
            ],
        )


def wake_reports_of_device(connection: Connection, dev_eui: str) -> int:
    """Make a device's reports that wait for a key unread again; give how many."""
    statement = (
        update(reports).where(reports.c.state == WAITING_FOR_KEY, reports.c.dev_eui == dev_eui).values(state="unread")
    )
    return connection.execute(statement).rowcount


def wake_reports_of_sessions(
    connection: Connection, session_ids: Sequence[int], payload_states: Sequence[str] = ("clear",)
) -> int:
    """Make the reports of these sessions' uplinks unread again, where their payloads were read so; give how many."""
    if not session_ids:
        return 0
    read_in_them = select(uplinks.c.report_id).where(
        uplinks.c.session_id.in_(session_ids), uplinks.c.payload_state.in_(payload_states)
    )
    statement = update(reports).where(reports.c.id.in_(read_in_them), reports.c.state == "read").values(state="unread")
    return connection.execute(statement).rowcount
