"""Sessions and their sealed AppSKeys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.storage import pg_arrays
from receiver.storage.batch_statements import BatchStatement, as_utc, insert_statement, select_by, time_writer
from receiver.storage.columns import sqlite_time
from receiver.storage.tables import session_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

NEWEST_SESSIONS = 32
"""Per device, how many sessions a batch looks at. A frame of an older one is given to the oldest of these."""


@dataclass(slots=True)
class SessionRow:
    """A session with what is stored of its key. `sealed_app_s_key` is opened by the keyring only."""

    id: int
    dev_eui: str
    dev_addr: str | None
    began_by: str
    started_at: datetime
    last_at: datetime | None
    last_f_cnt_up: int | None
    key_source: str | None = None
    wrapped_field: str | None = None
    as_transport_key_id: int | None = None
    sealed_app_s_key: bytes | None = None


_SESSION = (
    "session.id, session.dev_eui, session.dev_addr, session.began_by, session.started_at, session.last_at,"
    " session.last_f_cnt_up, key.source, key.wrapped_field, key.as_transport_key_id, key.sealed_app_s_key"
)

_NEWEST_SQLITE = (
    f"SELECT {_SESSION} FROM json_each(?) AS device"  # noqa: S608 - constants only
    " CROSS JOIN sessions AS session ON session.id IN"
    f" (SELECT id FROM sessions WHERE dev_eui = device.value ORDER BY id DESC LIMIT {NEWEST_SESSIONS})"
    " LEFT JOIN session_keys AS key ON key.session_id = session.id ORDER BY session.id DESC"
)
_NEWEST_POSTGRESQL = (
    f"SELECT {_SESSION} FROM unnest(%b) AS device (dev_eui) CROSS JOIN LATERAL"  # noqa: S608 - constants only
    f" (SELECT * FROM sessions WHERE dev_eui = device.dev_eui ORDER BY id DESC LIMIT {NEWEST_SESSIONS}) AS session"
    " LEFT JOIN session_keys AS key ON key.session_id = session.id ORDER BY session.id DESC"
)


def list_newest_sessions(connection: Connection, dev_euis: Iterable[str]) -> dict[str, list[SessionRow]]:
    """Give the sessions of each device, newest first, at most `NEWEST_SESSIONS` each."""
    found: dict[str, list[SessionRow]] = {}
    rows = select_by(connection, _NEWEST_SQLITE, _NEWEST_POSTGRESQL, sorted(set(dev_euis)), pg_arrays.texts)
    for row_id, dev_eui, dev_addr, began_by, started_at, last_at, last_f_cnt_up, source, field, key_id, sealed in rows:
        session = SessionRow(
            row_id,
            dev_eui,
            dev_addr,
            began_by,
            as_utc(started_at),
            None if last_at is None else as_utc(last_at),
            last_f_cnt_up,
            source,
            field,
            key_id,
            None if sealed is None else bytes(sealed),
        )
        if dev_eui in found:
            found[dev_eui].append(session)
        else:
            found[dev_eui] = [session]
    return found


_BEGIN_SQLITE = "INSERT INTO sessions (dev_eui, dev_addr, began_by, started_at) VALUES (?, ?, ?, ?) RETURNING id"
_BEGIN_POSTGRESQL = _BEGIN_SQLITE.replace("?", "%s")


def insert_session(
    connection: Connection, dev_eui: str, dev_addr: str | None, began_by: str, started_at: datetime
) -> SessionRow:
    """Insert a session that has no key yet, and give it."""
    if connection.dialect.name == "sqlite":
        values = (dev_eui, dev_addr, began_by, sqlite_time(started_at))
        row_id = connection.exec_driver_sql(_BEGIN_SQLITE, values).scalar_one()
    else:
        row_id = connection.exec_driver_sql(_BEGIN_POSTGRESQL, (dev_eui, dev_addr, began_by, started_at)).scalar_one()
    return SessionRow(row_id, dev_eui, dev_addr, began_by, started_at, None, None)


_UPDATE = BatchStatement(
    "UPDATE sessions SET began_by = ?, started_at = ?, last_at = ?, last_f_cnt_up = ? WHERE id = ?",
    "UPDATE sessions SET began_by = new.began_by, started_at = new.started_at, last_at = new.last_at,"
    " last_f_cnt_up = new.last_f_cnt_up"
    " FROM unnest(%b, %b, %b, %b, %b) AS new (began_by, started_at, last_at, last_f_cnt_up, id)"
    " WHERE sessions.id = new.id",
    (pg_arrays.texts, pg_arrays.timestamptzs, pg_arrays.timestamptzs, pg_arrays.int8s, pg_arrays.int8s),
)


def update_sessions(connection: Connection, rows: Sequence[SessionRow]) -> None:
    """Write what changed in the sessions themselves; their keys are written by `put_session_keys`."""
    time = time_writer(connection)
    _UPDATE.run(
        connection,
        [
            (
                row.began_by,
                time(row.started_at),
                None if row.last_at is None else time(row.last_at),
                row.last_f_cnt_up,
                row.id,
            )
            for row in rows
        ],
    )


_KEY_VALUES = ("source", "wrapped_field", "as_transport_key_id", "sealed_app_s_key", "set_at")

_PUT_KEYS = insert_statement(
    session_keys,
    ("session_id", *_KEY_VALUES),
    f"ON CONFLICT (session_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _KEY_VALUES)}",
)


def put_session_keys(connection: Connection, rows: Sequence[SessionRow], set_at: datetime) -> None:
    """Insert or replace the stored keys of different sessions, as the rows have them."""
    at = time_writer(connection)(set_at)
    _PUT_KEYS.run(
        connection,
        [
            (row.id, row.key_source, row.wrapped_field, row.as_transport_key_id, row.sealed_app_s_key, at)
            for row in rows
        ],
    )
