"""Uplinks, their receptions, and what else a report leaves behind: locations and notifications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, tuple_, update

from receiver.storage.engine import dialect_insert
from receiver.storage.tables import deliveries, locations, notifications, receptions, reports, uplinks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_PARAMETER_ROOM = 400
"""Pairs in one IN list: SQLite of before 3.32 takes 999 parameters a statement."""


@dataclass(frozen=True, slots=True)
class KnownUplink:
    """An uplink that stands already: what tells a copy of a frame from a conflict."""

    id: int
    report_id: int | None
    session_id: int | None
    f_cnt_up: int | None
    frame_check: str | None
    at: datetime


_KNOWN = (
    uplinks.c.id,
    uplinks.c.report_id,
    uplinks.c.session_id,
    uplinks.c.f_cnt_up,
    uplinks.c.frame_check,
    uplinks.c.at,
)


def find_uplinks_of_reports(connection: Connection, report_ids: Sequence[int]) -> dict[int, KnownUplink]:
    """Give the uplinks that were made from these reports before, by report id."""
    rows = connection.execute(select(*_KNOWN).where(uplinks.c.report_id.in_(report_ids)))
    return {row.report_id: KnownUplink(*row) for row in rows}


def find_uplinks_of_frames(connection: Connection, frames: Sequence[tuple[int, int]]) -> list[KnownUplink]:
    """Give the uplinks that stand under any of these (session id, FCntUp)."""
    found: list[KnownUplink] = []
    for start in range(0, len(frames), _PARAMETER_ROOM):
        pairs = frames[start : start + _PARAMETER_ROOM]
        rows = connection.execute(select(*_KNOWN).where(tuple_(uplinks.c.session_id, uplinks.c.f_cnt_up).in_(pairs)))
        found.extend(KnownUplink(*row) for row in rows)
    return found


def insert_uplinks(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Insert uplinks; give their ids in the same order."""
    if not rows:
        return []
    statement = insert(uplinks).returning(uplinks.c.id, sort_by_parameter_order=True)
    return list(connection.execute(statement, rows).scalars())


_PAYLOAD = (
    update(uplinks)
    .where(uplinks.c.id == bindparam("uplink_id"))
    .values(
        payload_state=bindparam("new_state"),
        frm_payload=bindparam("new_payload"),
        session_id=bindparam("new_session_id"),
    )
)


def update_payloads(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write what reading again found: `uplink_id`, `new_state`, `new_payload`, `new_session_id`."""
    if rows:
        connection.execute(_PAYLOAD, rows)


def mark_conflicting(connection: Connection, uplink_ids: Sequence[int]) -> None:
    """Flag uplinks whose counter another frame of the same session has too."""
    if uplink_ids:
        connection.execute(update(uplinks).where(uplinks.c.id.in_(uplink_ids)).values(conflicting=True))


def insert_receptions(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert one row per gateway and uplink."""
    if rows:
        connection.execute(insert(receptions), rows)


def insert_locations(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert fixes that are not known yet: one row per device and time of the fix."""
    if rows:
        statement = dialect_insert(locations, connection)
        connection.execute(statement.on_conflict_do_nothing(index_elements=["dev_eui", "at"]), rows)


def insert_notifications(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert notifications that are not known yet: one row per device, type and time."""
    if rows:
        statement = dialect_insert(notifications, connection)
        connection.execute(statement.on_conflict_do_nothing(index_elements=["dev_eui", "type", "at"]), rows)


def note_copy(connection: Connection, first_report_id: int, copy_report_id: int) -> None:
    """Count a report that turned out to be another delivery of a frame, on the report that brought it first."""
    copy = select(
        bindparam("first", first_report_id),
        reports.c.connection_id,
        reports.c.tunnel_key_id,
        reports.c.delivery_id,
        reports.c.received_at,
        reports.c.received_at,
        1,
        reports.c.query,
    ).where(reports.c.id == copy_report_id)
    columns = [
        "report_id",
        "connection_id",
        "tunnel_key_id",
        "delivery_id",
        "first_received_at",
        "last_received_at",
        "times",
        "query",
    ]
    statement = dialect_insert(deliveries, connection).from_select(columns, copy)
    added = connection.execute(statement.on_conflict_do_nothing(index_elements=["delivery_id"])).rowcount
    if added:
        connection.execute(
            update(reports).where(reports.c.id == first_report_id).values(deliveries=reports.c.deliveries + 1)
        )
