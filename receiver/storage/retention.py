"""Deletes rows that are older than an operator keeps them, a few in each transaction.

Ids are given in the order of arrival, so each table is walked by its id from the oldest row on, and the walk
ends where nothing old stands any more: no index on time is needed, and none costs a push its pages. What is
out of order (a report that waited in the spool has an id that is younger than itself) is met by a later walk.

Never deleted: a report that is unread, what waits for a key, the newest event, and one that a forwarder
has not passed yet or may have to send again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, select, true

from receiver.storage.alarm_tables import traffic
from receiver.storage.event_tables import events
from receiver.storage.forwarder_tables import forwarder_retries, forwarders
from receiver.storage.reports import lock_reading
from receiver.storage.tables import locations, notifications, rejections, reports, uplinks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Table


@dataclass(frozen=True, slots=True)
class _Kept:
    """A table that is pruned: by which time, what may go, and how many rows in one transaction."""

    table: Table
    at: ColumnElement[Any]
    may_go: ColumnElement[bool]
    rows: int


_NEWEST_EVENT = select(func.max(events.c.id)).correlate(None).scalar_subquery()
# The newest stays however old: its id says how far the events have come, to who resumes after a quiet month.

_IS_FORWARDED = and_(
    ~select(forwarders.c.id).where(forwarders.c.holds_events, forwarders.c.position < events.c.id).exists(),
    ~select(forwarder_retries.c.event_id).where(forwarder_retries.c.event_id == events.c.id).exists(),
)

# Rows of one transaction: few enough that it holds SQLite's only write lock for some 10 ms. An uplink takes a
# reception per gateway with it; a report, its deliveries, and it changes the rows that were read from it.
KEPT: dict[str, _Kept] = {
    "reports": _Kept(reports, reports.c.received_at, reports.c.state.in_(["read", "unreadable"]), 200),
    "uplinks": _Kept(uplinks, uplinks.c.received_at, uplinks.c.payload_state != "waiting_for_key", 100),
    "locations": _Kept(locations, locations.c.at, true(), 500),
    "notifications": _Kept(notifications, notifications.c.at, true(), 500),
    "rejections": _Kept(rejections, rejections.c.received_at, true(), 500),
    "traffic": _Kept(traffic, traffic.c.at, true(), 500),
    "events": _Kept(events, events.c.told_at, and_(events.c.id < _NEWEST_EVENT, _IS_FORWARDED), 1000),
}
"""By the noun of the setting `RECEIVER_<NOUN>_KEEP_DAYS`, in the order of a walk."""


@dataclass(frozen=True, slots=True)
class OldRows:
    """What a look at the next rows found: those that may go, where to look next, and whether older ones may follow."""

    ids: list[int]
    next_after_id: int
    is_last: bool


def find_old_rows(connection: Connection, noun: str, before: datetime, after_id: int) -> OldRows:
    """Look at the next rows behind `after_id` for such as are of before `before` and may go. Locks nothing."""
    kept = KEPT[noun]
    old = kept.at < before
    statement = (
        select(kept.table.c.id, old.label("is_old"), and_(old, kept.may_go).label("goes"))
        .where(kept.table.c.id > after_id)
        .order_by(kept.table.c.id)
        .limit(kept.rows)
    )
    rows = connection.execute(statement).all()
    if not rows:
        return OldRows([], after_id, is_last=True)
    return OldRows([row.id for row in rows if row.goes], rows[-1].id, is_last=not any(row.is_old for row in rows))


def delete_old_rows(connection: Connection, noun: str, before: datetime, ids: Sequence[int]) -> int:
    """Delete those of `ids` that still may go, with what is nothing without them; give how many.

    On PostgreSQL no reader reads meanwhile, and a row that another transaction writes to is left to a later walk.
    """
    kept = KEPT[noun]
    if noun in {"reports", "uplinks"}:
        lock_reading(connection)
    still = (
        select(kept.table.c.id)
        .where(kept.table.c.id.in_(ids), kept.at < before, kept.may_go)
        .order_by(kept.table.c.id)
        .with_for_update(skip_locked=True)
    )
    mine = connection.execute(still).scalars().all()
    return connection.execute(delete(kept.table).where(kept.table.c.id.in_(mine))).rowcount if mine else 0
