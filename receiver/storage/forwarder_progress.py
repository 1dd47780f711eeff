"""SQL for delivering: how far a forwarder has come, what it tries again, and its dead letters.

*Lanes.* What must stay in order shares a lane: the events of a device, a connection's rejections. As long as a lane has
a row here that is not a dead letter, what is new in it goes behind that. Replayed events have lanes of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, exists, func, literal, select, update

from receiver.storage.batch_statements import insert_statement, time_writer
from receiver.storage.event_tables import events
from receiver.storage.events import Event, EventKind
from receiver.storage.forwarder_tables import forwarder_retries, forwarders

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

REPLAY = "replay/"
"""What the lane of a replayed event begins with: it does not stand in the way of what is new."""

_retries = forwarder_retries.c
_IDS_AT_ONCE = 500
"""Of one statement: SQLite takes 32,766 parameters (sqlite.org/limits), and a plan of many takes long to make."""


class Retry(NamedTuple):
    """A row of `forwarder_retries`: what is tried again, what waits behind it (never tried), or a dead letter."""

    event_id: int
    lane: str
    kind: str
    dev_eui: str | None
    attempts: int
    first_failed_at: datetime | None
    next_at: datetime | None
    error: str | None
    dead_at: datetime | None


@dataclass(slots=True)
class Progress:
    """What has happened since the last commit; each event is in at most one of these."""

    position: int
    delivered: int = 0
    delivered_at: datetime | None = None
    error: str | None = None
    error_at: datetime | None = None
    away_since: datetime | None = None
    gone_because: str | None = None
    """The target wants nothing any more: the forwarder is paused."""
    new_retries: list[Retry] = field(default_factory=list)
    changed_retries: list[Retry] = field(default_factory=list)
    ended_retries: list[int] = field(default_factory=list)
    lanes: set[str] = field(default_factory=set)
    """Lanes of these retries."""


def commit_progress(
    connection: Connection, forwarder_id: int, holder: str, now: datetime, progress: Progress, most_dead: int
) -> set[str] | None:
    """Write what has happened; give which of its lanes still have something to try. None: another process delivers now.

    The next one of a lane becomes due when the one before it was delivered or given up. Of dead letters the newest
    `most_dead` stay.
    """
    values: dict[str, Any] = {"position": progress.position, "away_since": progress.away_since}
    if progress.delivered:
        values |= {
            "delivered": forwarders.c.delivered + progress.delivered,
            "last_delivered_at": progress.delivered_at,
        }
    if progress.error is not None:
        values |= {"last_error": progress.error, "last_error_at": progress.error_at}
    if progress.gone_because is not None:
        values |= {
            "paused_at": now,
            "paused_because": progress.gone_because,
            "version": forwarders.c.version + 1,
        }
    is_mine = (forwarders.c.id == forwarder_id) & (forwarders.c.lease_holder == holder)
    if connection.execute(update(forwarders).where(is_mine).values(**values)).rowcount == 0:
        return None
    if progress.new_retries:
        _INSERT.run(connection, _rows(connection, forwarder_id, progress.new_retries))
    for ids in _portions(progress.ended_retries):
        connection.execute(
            delete(forwarder_retries).where(_retries.forwarder_id == forwarder_id, _retries.event_id.in_(ids))
        )
    for retry in progress.changed_retries:
        changed = {
            name: getattr(retry, name) for name in ("attempts", "first_failed_at", "next_at", "error", "dead_at")
        }
        statement = update(forwarder_retries).values(**changed)
        connection.execute(statement.where(_retries.forwarder_id == forwarder_id, _retries.event_id == retry.event_id))
    if any(retry.dead_at is not None for retry in progress.changed_retries):
        _bound_dead_letters(connection, forwarder_id, most_dead)
    if not progress.lanes:
        return set()
    _wake_first_of_lanes(connection, forwarder_id, now, progress.lanes)
    return _alive_lanes(connection, forwarder_id, progress.lanes)


def list_waiting_lanes(connection: Connection, forwarder_id: int) -> set[str]:
    """Give all lanes that have something to try, without those of replays."""
    alive = select(_retries.lane).where(_retries.forwarder_id == forwarder_id, _retries.dead_at.is_(None)).distinct()
    return {lane for lane in connection.scalars(alive) if not lane.startswith(REPLAY)}


def count_waiting(connection: Connection, forwarder_id: int) -> int:
    """Count what is tried again and waits behind that, without replays."""
    alive = (_retries.forwarder_id == forwarder_id) & _retries.dead_at.is_(None) & _retries.lane.notlike(f"{REPLAY}%")
    return connection.scalar(select(func.count()).select_from(forwarder_retries).where(alive)) or 0


def list_due_lanes(
    connection: Connection, forwarder_id: int, now: datetime, but_not: Collection[str], limit: int
) -> list[str]:
    """Give up to `limit` lanes whose first may be tried again, longest due first; none of those in `but_not`."""
    statement = (
        select(_retries.lane, func.min(_retries.next_at))
        .where(_retries.forwarder_id == forwarder_id, _retries.next_at <= now)
        .group_by(_retries.lane)
        .order_by(func.min(_retries.next_at))
        .limit(limit + len(but_not))
    )
    return [row.lane for row in connection.execute(statement) if row.lane not in but_not][:limit]


def list_lane(connection: Connection, forwarder_id: int, lane: str, limit: int) -> list[Retry]:
    """Give the first `limit` of a lane that are no dead letters, in order."""
    alive = (_retries.forwarder_id == forwarder_id) & (_retries.lane == lane) & _retries.dead_at.is_(None)
    statement = _select_retries().where(alive).order_by(_retries.event_id).limit(limit)
    return [Retry(*row) for row in connection.execute(statement)]


def list_dead_letters(connection: Connection, forwarder_id: int, after_id: int, limit: int) -> list[Retry]:
    """Give up to `limit` dead letters behind event `after_id`, oldest event first."""
    dead = (_retries.forwarder_id == forwarder_id) & _retries.dead_at.is_not(None) & (_retries.event_id > after_id)
    return [
        Retry(*row)
        for row in connection.execute(_select_retries().where(dead).order_by(_retries.event_id).limit(limit))
    ]


def delete_old_dead_letters(connection: Connection, before: datetime) -> int:
    """Delete dead letters of any forwarder that were given up before that; give how many."""
    return connection.execute(delete(forwarder_retries).where(_retries.dead_at < before)).rowcount


def list_events_by_id(connection: Connection, event_ids: Sequence[int]) -> list[Event]:
    """Give the events of these ids that are still kept, in order."""
    found: list[Event] = []
    for ids in _portions(sorted(event_ids)):
        rows = connection.execute(select(events).where(events.c.id.in_(ids)).order_by(events.c.id))
        found += [Event(row.id, EventKind(row.kind), *row[2:]) for row in rows]
    return found


def revive_dead_letters(
    connection: Connection, forwarder_id: int, now: datetime, event_ids: Sequence[int] | None
) -> int:
    """Have dead letters tried again, these or all, each device's in order; give how many."""
    count = 0
    for ids in [None] if event_ids is None else _portions(event_ids):
        dead = (_retries.forwarder_id == forwarder_id) & _retries.dead_at.is_not(None)
        if ids is not None:
            dead &= _retries.event_id.in_(ids)
        lane = func.replace(literal(REPLAY) + _retries.lane, REPLAY + REPLAY, REPLAY)
        values = {"lane": lane, "attempts": 0, "first_failed_at": None, "next_at": None, "dead_at": None}
        count += connection.execute(update(forwarder_retries).where(dead).values(**values)).rowcount
    _wake_first_of_lanes(connection, forwarder_id, now, None)
    return count


def insert_replays(connection: Connection, forwarder_id: int, now: datetime, replayed: Sequence[Retry]) -> int:
    """Have these events sent again, each lane in order; give how many. What waits already is left as it is."""
    before = connection.scalar(_count_alive(forwarder_id)) or 0
    _INSERT.run(connection, _rows(connection, forwarder_id, replayed))
    _wake_first_of_lanes(connection, forwarder_id, now, None)
    return (connection.scalar(_count_alive(forwarder_id)) or 0) - before


_NAMES = ("forwarder_id", *Retry._fields)
_INSERT = insert_statement(forwarder_retries, _NAMES, "ON CONFLICT DO NOTHING")


def _select_retries() -> Any:  # noqa: ANN401 - a statement of many columns
    return select(*(_retries[name] for name in Retry._fields))


def _rows(connection: Connection, forwarder_id: int, retries: Sequence[Retry]) -> list[tuple[object, ...]]:
    write = time_writer(connection)

    def at(time: datetime | None) -> object:
        return None if time is None else write(time)

    return [
        (
            *(forwarder_id, each.event_id, each.lane, each.kind, each.dev_eui, each.attempts),
            *(at(each.first_failed_at), at(each.next_at), each.error, at(each.dead_at)),
        )
        for each in retries
    ]


def _portions(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]


def _count_alive(forwarder_id: int) -> Any:  # noqa: ANN401 - a statement
    alive = (_retries.forwarder_id == forwarder_id) & _retries.dead_at.is_(None)
    return select(func.count()).select_from(forwarder_retries).where(alive)


def _alive_lanes(connection: Connection, forwarder_id: int, lanes: Collection[str]) -> set[str]:
    alive = (_retries.forwarder_id == forwarder_id) & _retries.dead_at.is_(None) & _retries.lane.in_(sorted(lanes))
    return set(connection.scalars(select(_retries.lane).where(alive).distinct()))


def _wake_first_of_lanes(
    connection: Connection, forwarder_id: int, now: datetime, lanes: Collection[str] | None
) -> None:
    """Make the first of each lane due, if it was not tried yet: of these lanes, or of those of replays."""
    before = forwarder_retries.alias("before")
    alive = (_retries.forwarder_id == forwarder_id) & _retries.dead_at.is_(None) & _retries.next_at.is_(None)
    alive &= _retries.lane.like(f"{REPLAY}%") if lanes is None else _retries.lane.in_(sorted(lanes))
    is_first = ~exists(
        select(literal(1))
        .where(
            before.c.forwarder_id == forwarder_id,
            before.c.lane == _retries.lane,
            before.c.dead_at.is_(None),
            before.c.event_id < _retries.event_id,
        )
        .correlate(forwarder_retries)
    )
    connection.execute(update(forwarder_retries).where(alive, is_first).values(next_at=now))


def _bound_dead_letters(connection: Connection, forwarder_id: int, most_dead: int) -> None:
    dead = (_retries.forwarder_id == forwarder_id) & _retries.dead_at.is_not(None)
    newest = select(_retries.event_id).where(dead).order_by(_retries.event_id.desc())
    cut = newest.offset(most_dead).limit(1).scalar_subquery()
    connection.execute(delete(forwarder_retries).where(dead, _retries.event_id <= cut))
