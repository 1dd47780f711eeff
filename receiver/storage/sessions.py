"""Sessions and their sealed AppSKeys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, insert, select, update

from receiver.storage.engine import dialect_insert
from receiver.storage.tables import session_keys, sessions

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


def list_newest_sessions(connection: Connection, dev_euis: Iterable[str]) -> dict[str, list[SessionRow]]:
    """Give the sessions of each device, newest first, at most `NEWEST_SESSIONS` each."""
    ranked = (
        select(
            sessions,
            session_keys.c.source.label("key_source"),
            session_keys.c.wrapped_field,
            session_keys.c.as_transport_key_id,
            session_keys.c.sealed_app_s_key,
            func.row_number().over(partition_by=sessions.c.dev_eui, order_by=sessions.c.id.desc()).label("rank"),
        )
        .select_from(sessions.outerjoin(session_keys, session_keys.c.session_id == sessions.c.id))
        .where(sessions.c.dev_eui.in_(list(dev_euis)))
        .subquery()
    )
    found: dict[str, list[SessionRow]] = {}
    newest = select(ranked).where(ranked.c.rank <= NEWEST_SESSIONS).order_by(ranked.c.id.desc())
    for row in connection.execute(newest):
        sealed = row.sealed_app_s_key
        found.setdefault(row.dev_eui, []).append(
            SessionRow(
                row.id,
                row.dev_eui,
                row.dev_addr,
                row.began_by,
                row.started_at,
                row.last_at,
                row.last_f_cnt_up,
                row.key_source,
                row.wrapped_field,
                row.as_transport_key_id,
                bytes(sealed) if sealed is not None else None,
            )
        )
    return found


def insert_session(
    connection: Connection, dev_eui: str, dev_addr: str | None, began_by: str, started_at: datetime
) -> SessionRow:
    """Insert a session that has no key yet, and give it."""
    row_id = connection.execute(
        insert(sessions)
        .values(dev_eui=dev_eui, dev_addr=dev_addr, began_by=began_by, started_at=started_at)
        .returning(sessions.c.id)
    ).scalar_one()
    return SessionRow(row_id, dev_eui, dev_addr, began_by, started_at, None, None)


_UPDATE = (
    update(sessions)
    .where(sessions.c.id == bindparam("session_id"))
    .values(
        began_by=bindparam("new_began_by"),
        started_at=bindparam("new_started_at"),
        last_at=bindparam("new_last_at"),
        last_f_cnt_up=bindparam("new_last_f_cnt_up"),
    )
)


def update_sessions(connection: Connection, rows: Sequence[SessionRow]) -> None:
    """Write what changed in the sessions themselves; their keys are written by `put_session_key`."""
    if rows:
        connection.execute(
            _UPDATE,
            [
                {
                    "session_id": row.id,
                    "new_began_by": row.began_by,
                    "new_started_at": row.started_at,
                    "new_last_at": row.last_at,
                    "new_last_f_cnt_up": row.last_f_cnt_up,
                }
                for row in rows
            ],
        )


def put_session_key(connection: Connection, row: SessionRow, set_at: datetime) -> None:
    """Insert or replace the stored key of a session, as the row has it."""
    values = {
        "source": row.key_source,
        "wrapped_field": row.wrapped_field,
        "as_transport_key_id": row.as_transport_key_id,
        "sealed_app_s_key": row.sealed_app_s_key,
        "set_at": set_at,
    }
    statement = dialect_insert(session_keys, connection).values(session_id=row.id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["session_id"], set_=values))
