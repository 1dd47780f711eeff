"""Events: that an uplink was read, decoded, a push refused, a downlink sent … each told once, in one order for all.

Who follows them keeps the id of the last one seen, and misses none: ids are given within `lock_reading`, which is held
until the transaction ends, so an id never becomes visible behind a greater one. A rejection is written without that
lock, since no push may wait for a reader; it is left in `untold_rejections`, and the worker tells it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, func, select

from receiver.storage.batch_statements import insert_statement, time_writer
from receiver.storage.event_tables import events, untold_rejections
from receiver.storage.tables import rejections

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

CHANNEL = "receiver_events"
"""Of PostgreSQL's NOTIFY: each transaction that told something rings once."""

MOST_UNTOLD = 20_000
"""Rejections that wait for a worker, as twice as many as are kept of a connection: more have no subject any more."""

MOST_REJECTIONS = 20_000
"""Events of rejections that are kept, whatever their age."""


class EventKind(StrEnum):
    """What an event is about; `subject_id` is the id of that."""

    UPLINK = "uplink"
    """An uplink was read; once more if its payload waited for a key and could be decrypted later."""
    TELEMETRY = "telemetry"
    """A codec looked at an uplink. Decoding history again tells nothing."""
    REJECTION = "rejection"
    """A push was refused."""
    DOWNLINK = "downlink"
    """A downlink came into another state."""
    ALARM = "alarm"
    """A network raised an alarm of a device, or one became graver or lost its acknowledgement."""


class NewEvent(NamedTuple):
    """What is to be told."""

    kind: EventKind
    subject_id: int
    dev_eui: str | None
    connection_id: int | None


class Event(NamedTuple):
    """What was told, and its place in the order."""

    id: int
    kind: EventKind
    subject_id: int
    dev_eui: str | None
    connection_id: int | None
    told_at: datetime


_INSERT = insert_statement(events, ("kind", "subject_id", "dev_eui", "connection_id", "told_at"))
_LEAVE = insert_statement(untold_rejections, ("rejection_id",), "ON CONFLICT DO NOTHING")


def tell(connection: Connection, now: datetime, new: Sequence[NewEvent]) -> None:
    """Append events in this order and ring. The caller holds `lock_reading`, and has written what they are about."""
    if not new:
        return
    at = time_writer(connection)(now)
    _INSERT.run(connection, [(*one, at) for one in new])
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(CHANNEL, "")))


def leave_untold(connection: Connection, rejection_ids: Sequence[int]) -> None:
    """Leave rejections to be told by a worker, within the caller's transaction and without any lock.

    While `MOST_UNTOLD` wait already, because no worker runs, nothing is left.
    """
    oldest = connection.scalar(select(func.min(untold_rejections.c.rejection_id)))
    if rejection_ids and (oldest is None or max(rejection_ids) - oldest < MOST_UNTOLD):
        _LEAVE.run(connection, [(rejection_id,) for rejection_id in rejection_ids])


def has_untold(connection: Connection) -> bool:
    """Say whether there is a rejection that a worker has to tell."""
    return connection.scalar(select(untold_rejections.c.rejection_id).limit(1)) is not None


def tell_rejections(connection: Connection, now: datetime, limit: int) -> int:
    """Tell up to `limit` of the rejections that were left, the oldest first; give how many were taken.

    The caller holds `lock_reading`. One that was deleted meanwhile is passed over, and of rejections only the newest
    `MOST_REJECTIONS` events stay: a stranger can make them.
    """
    oldest = select(untold_rejections.c.rejection_id).order_by(untold_rejections.c.rejection_id).limit(limit)
    taken = delete(untold_rejections).where(untold_rejections.c.rejection_id.in_(oldest.scalar_subquery()))
    ids = connection.execute(taken.returning(untold_rejections.c.rejection_id)).scalars().all()
    if not ids:
        return 0
    still = (
        select(rejections.c.id, rejections.c.connection_id).where(rejections.c.id.in_(ids)).order_by(rejections.c.id)
    )
    tell(connection, now, [NewEvent(EventKind.REJECTION, row.id, None, row[1]) for row in connection.execute(still)])
    of_rejections = events.c.kind == EventKind.REJECTION.value
    newest = select(events.c.id).where(of_rejections).order_by(events.c.id.desc())
    cut = newest.offset(MOST_REJECTIONS).limit(1).scalar_subquery()
    connection.execute(delete(events).where(of_rejections, events.c.id <= cut))
    return len(ids)


def newest_event_id(connection: Connection) -> int:
    """Give the id of the newest event; 0 if there never was one."""
    return connection.scalar(select(func.max(events.c.id))) or 0


def oldest_event_id(connection: Connection) -> int | None:
    """Give the id of the oldest event that is kept; None if there is none."""
    oldest: int | None = connection.scalar(select(func.min(events.c.id)))
    return oldest


def list_events(
    connection: Connection,
    after_id: int,
    limit: int,
    *,
    up_to_id: int | None = None,
    kinds: Collection[EventKind] | None = None,
    dev_euis: Collection[str] | None = None,
    connection_ids: Collection[int] | None = None,
) -> list[Event]:
    """Give up to `limit` events behind `after_id`, oldest first; of these kinds, devices and connections only.

    What filters leave is looked for among all that follow: `up_to_id` bounds how far.
    """
    statement = select(events).where(events.c.id > after_id).order_by(events.c.id).limit(limit)
    if up_to_id is not None:
        statement = statement.where(events.c.id <= up_to_id)
    if kinds is not None:
        statement = statement.where(events.c.kind.in_(sorted(kinds)))
    if dev_euis is not None:
        statement = statement.where(events.c.dev_eui.in_(sorted(dev_euis)))
    if connection_ids is not None:
        statement = statement.where(events.c.connection_id.in_(sorted(connection_ids)))
    return [Event(row.id, EventKind(row.kind), *row[2:]) for row in connection.execute(statement)]


def find_event_id_at(connection: Connection, at: datetime) -> int:
    """Give the id behind which stands all that is kept of what was told at `at` or later.

    It is looked for by halves, as ids and times grow together: an index on the time would cost every uplink its pages.
    """
    newest = newest_event_id(connection)
    least, most = (oldest_event_id(connection) or newest + 1), newest + 1
    while least < most:
        middle = (least + most) // 2
        row = connection.execute(
            select(events.c.id, events.c.told_at).where(events.c.id >= middle).order_by(events.c.id).limit(1)
        ).one()
        if row.told_at >= at:
            most = middle
        else:
            least = row.id + 1
    return least - 1
