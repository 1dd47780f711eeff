"""The `reports` table as a queue: what is stored at the push moment, and what the reading moment claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, literal_column, select, update

from receiver.storage import pg_arrays
from receiver.storage.batch_statements import BatchStatement, as_utc, run_with_arrays, select_by
from receiver.storage.tables import reports, uplinks

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


class UnreadReport(NamedTuple):
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


class ReadingOutcome(NamedTuple):
    """What became of one report: its new state, the note to keep, and the device it is of."""

    report_id: int
    state: str
    note: str | None
    dev_eui: str | None


# A literal, and not a parameter: only so do both databases see that the partial index serves.
WAITING_FOR_KEY: ColumnElement[str] = literal_column("'waiting_for_key'")

# `unread` is spelled out in these, and no parameter: only so do both databases see that the partial index serves.
_UNREAD = (
    "SELECT reports.id, reports.connection_id, reports.tunnel_key_id, reports.kind, reports.received_at,"
    " reports.sent_at, reports.body, connections.payloads, connections.app_s_keys"
    " FROM reports LEFT JOIN connections ON connections.id = reports.connection_id"
    " WHERE reports.state = 'unread' ORDER BY reports.id LIMIT "
)

_CLAIM_SQLITE = (
    "SELECT id, connection_id FROM reports WHERE id IN (SELECT value FROM json_each(?)) AND state = 'unread'"
)
_CLAIM_POSTGRESQL = "SELECT id, connection_id FROM reports WHERE id = ANY(%b) AND state = 'unread'"


def list_unread_reports(connection: Connection, limit: int) -> list[UnreadReport]:
    """Give up to `limit` unread reports, oldest first."""
    return [
        UnreadReport(
            report_id,
            connection_id,
            tunnel_key_id,
            kind,
            as_utc(received_at),
            as_utc(sent_at),
            bytes(body),
            payloads or "auto",  # of a removed connection
            app_s_keys or "wrapped",
        )
        for (
            report_id,
            connection_id,
            tunnel_key_id,
            kind,
            received_at,
            sent_at,
            body,
            payloads,
            app_s_keys,
        ) in connection.exec_driver_sql(f"{_UNREAD}{int(limit)}").all()
    ]


def read_bodies(connection: Connection, report_ids: Sequence[int]) -> list[tuple[int, bytes]]:
    """Give the bodies of these reports, those that are still there, with their ids."""
    rows = connection.execute(select(reports.c.id, reports.c.body).where(reports.c.id.in_(report_ids)))
    return [(row.id, bytes(row.body)) for row in rows]


def claim_unread_reports(connection: Connection, report_ids: Sequence[int]) -> dict[int, int | None]:
    """Give which of the reports are unread still, with their connections, which may have been removed meanwhile.

    Every other reader waits until this transaction ends.
    """
    lock_reading(connection)
    unread = select_by(connection, _CLAIM_SQLITE, _CLAIM_POSTGRESQL, report_ids, pg_arrays.int8s)
    return {row[0]: row[1] for row in unread}


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


_LOCK = "SELECT id FROM reports WHERE id = ANY(%b) ORDER BY id FOR UPDATE"


def lock_reports(connection: Connection, report_ids: Iterable[int]) -> None:
    """Lock reports that are about to be written, by id, as the inbox does: no two writers wait in a circle.

    SQLite's write transaction has locked them already.
    """
    if connection.dialect.name == "postgresql":
        run_with_arrays(connection, _LOCK, (pg_arrays.int8s(sorted(set(report_ids))),))


_SETTLE = BatchStatement(
    "UPDATE reports SET state = ?, note = ?, dev_eui = coalesce(?, dev_eui) WHERE id = ?",
    "UPDATE reports SET state = new.state, note = new.note, dev_eui = coalesce(new.dev_eui, reports.dev_eui)"
    " FROM unnest(%b, %b, %b, %b) AS new (state, note, dev_eui, id) WHERE reports.id = new.id",
    (pg_arrays.texts, pg_arrays.texts, pg_arrays.texts, pg_arrays.int8s),
)


def settle_reports(connection: Connection, outcomes: Sequence[ReadingOutcome]) -> None:
    """Write the states that reading gave its reports."""
    _SETTLE.run(connection, [(each.state, each.note, each.dev_eui, each.report_id) for each in outcomes])


def wake_reports_of_device(connection: Connection, dev_eui: str) -> int:
    """Make a device's reports that wait for a key unread again; give how many."""
    statement = (
        update(reports).where(reports.c.state == WAITING_FOR_KEY, reports.c.dev_eui == dev_eui).values(state="unread")
    )
    return connection.execute(statement).rowcount


_WAKE_SQLITE = (
    "UPDATE reports SET state = 'unread'"
    " WHERE state = 'waiting_for_key' AND dev_eui IN (SELECT value FROM json_each(?)) RETURNING id"
)
_WAKE_POSTGRESQL = (
    "UPDATE reports SET state = 'unread' WHERE state = 'waiting_for_key' AND dev_eui = ANY(%b) RETURNING id"
)


def wake_reports_of_devices(connection: Connection, dev_euis: Sequence[str]) -> None:
    """Make the reports of these devices that wait for a key unread again."""
    select_by(connection, _WAKE_SQLITE, _WAKE_POSTGRESQL, dev_euis, pg_arrays.texts)


def wake_reports_with_note(connection: Connection, beginning: str) -> int:
    """Make reports that wait for a key unread again where their note begins so; give how many."""
    statement = update(reports).where(
        reports.c.state == WAITING_FOR_KEY, reports.c.note.startswith(beginning, autoescape=True)
    )
    return connection.execute(statement.values(state="unread")).rowcount


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
