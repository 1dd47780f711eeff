"""SQL for the queue of downlinks: which is next of each device, and which have waited long enough.

The next of a device is the one whose outcome is unknown; else the one that was tried already; else, of those that are
due, the one of the greatest priority that came first. While one of a device is being sent there is no next. Who claims
holds `lock_reading`, and the rows are locked besides: no two workers ever take the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, bindparam, exists, literal_column, not_, or_, select, update

from receiver.storage.downlink_events import DownlinkState
from receiver.storage.downlink_tables import downlinks

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import BindParameter, ColumnElement, Connection, Select


WAITS_FOR_KEY = "no-key"
"""The cause of a queued one whose payload cannot be encrypted yet: it is looked at again later, and keeps its place."""


class OpenDownlink(NamedTuple):
    """A downlink that is to be sent; as stored. `payload` is clear, `frm_payload` as it goes over the air."""

    id: int
    dev_eui: str
    connection_id: int | None
    f_port: int | None
    payload: bytes | None
    confirmed: bool
    flush: bool
    expires_at: datetime | None
    state: str
    attempts: int
    correlation_id: str
    frm_payload: bytes | None
    f_cnt_down: int | None
    session_id: int | None
    cause: str | None

    def __repr__(self) -> str:
        return f"OpenDownlink({self.id}, {self.dev_eui}, {self.state})"


_COLUMNS = tuple(downlinks.c[name] for name in OpenDownlink._fields)

_ahead = downlinks.alias("ahead")

# Literals, and not parameters: only so do both databases see that the partial index serves.
_IS_OPEN = _ahead.c.state.in_([literal_column(f"'{state}'") for state in ("queued", "sending", "unknown")])


def _is(state: DownlinkState) -> ColumnElement[bool]:
    return downlinks.c.state == literal_column(f"'{state.value}'")


def _was(state: DownlinkState) -> ColumnElement[bool]:
    return _ahead.c.state == literal_column(f"'{state.value}'")


def _select_heads() -> Select[tuple[object, ...]]:
    """Select what is next of each device and due at `now`, those of the connections `without` left out."""
    now: BindParameter[datetime] = bindparam("now", type_=downlinks.c.due_at.type)
    is_due = and_(
        or_(_is(DownlinkState.QUEUED), _is(DownlinkState.UNKNOWN)),
        downlinks.c.due_at <= now,
        or_(downlinks.c.expires_at.is_(None), downlinks.c.expires_at > now),
        or_(
            downlinks.c.connection_id.is_(None), downlinks.c.connection_id.not_in(bindparam("without", expanding=True))
        ),
    )
    came_first = or_(
        _ahead.c.priority > downlinks.c.priority,
        and_(_ahead.c.priority == downlinks.c.priority, _ahead.c.id < downlinks.c.id),
    )
    is_queued = _is(DownlinkState.QUEUED)
    was_tried = and_(_was(DownlinkState.QUEUED), _ahead.c.attempts > 0)
    had_its_time = or_(_ahead.c.due_at <= now, _ahead.c.cause == literal_column(f"'{WAITS_FOR_KEY}'"))
    is_ahead = or_(
        _was(DownlinkState.SENDING),
        and_(_was(DownlinkState.UNKNOWN), or_(is_queued, _ahead.c.id < downlinks.c.id)),
        and_(was_tried, is_queued, or_(downlinks.c.attempts == 0, came_first)),
        and_(_was(DownlinkState.QUEUED), is_queued, downlinks.c.attempts == 0, had_its_time, came_first),
    )
    blocked = exists().where(_ahead.c.dev_eui == downlinks.c.dev_eui, _ahead.c.id != downlinks.c.id, _IS_OPEN, is_ahead)
    return select(*_COLUMNS).where(is_due, not_(blocked)).limit(bindparam("limit"))


_HEADS = _select_heads()
_LOCKED_HEADS = _HEADS.order_by(downlinks.c.due_at, downlinks.c.id).with_for_update(skip_locked=True, of=downlinks)


def has_head(connection: Connection, now: datetime, without: Collection[int]) -> bool:
    """Say whether one could be claimed now."""
    return connection.execute(_HEADS, {"now": now, "without": list(without), "limit": 1}).first() is not None


def lock_heads(connection: Connection, now: datetime, limit: int, without: Collection[int]) -> list[OpenDownlink]:
    """Give up to `limit` that can be sent now, at most one of a device, those due longest first, and lock them.

    SQLite's write transaction has locked them already. What another transaction has locked is passed over.
    """
    values = {"now": now, "without": list(without), "limit": limit}
    return [_open(row) for row in connection.execute(_LOCKED_HEADS, values)]


def find_under_way(connection: Connection, downlink_ids: Sequence[int]) -> dict[int, tuple[OpenDownlink, str | None]]:
    """Give these downlinks, locked, by id, each with who sends it; one that was deleted is missing."""
    statement = select(*_COLUMNS, downlinks.c.lease).where(downlinks.c.id.in_(sorted(downlink_ids)))
    rows = connection.execute(statement.order_by(downlinks.c.id).with_for_update())
    return {row.id: (_open(row[:-1]), row.lease) for row in rows}


def _open(row: Sequence[object]) -> OpenDownlink:
    found = OpenDownlink(*row)  # type: ignore[arg-type]
    return found._replace(
        payload=None if found.payload is None else bytes(found.payload),
        frm_payload=None if found.frm_payload is None else bytes(found.frm_payload),
    )


def postpone(connection: Connection, downlink_id: int, due_at: datetime) -> None:
    """Look at a downlink again later; its state and the reason stay, so nothing is told."""
    connection.execute(update(downlinks).where(downlinks.c.id == downlink_id).values(due_at=due_at))


def list_lost(connection: Connection, now: datetime, limit: int) -> list[tuple[int, int]]:
    """Give those whose sender has not told in time what came of it: their ids and attempts."""
    statement = select(downlinks.c.id, downlinks.c.attempts).where(
        _is(DownlinkState.SENDING), downlinks.c.lease_until <= now
    )
    return [(row.id, row.attempts) for row in connection.execute(statement.order_by(downlinks.c.id).limit(limit))]


def list_past_window(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Give the ids of those that the network took, and of which no report came in time."""
    statement = select(downlinks.c.id).where(_is(DownlinkState.ACCEPTED), downlinks.c.due_at <= now)
    return list(connection.scalars(statement.order_by(downlinks.c.due_at).limit(limit)))


def list_unknown_expired(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Give the ids of those whose time is over while it is not known whether the network took them."""
    statement = select(downlinks.c.id).where(_is(DownlinkState.UNKNOWN), downlinks.c.expires_at <= now)
    return list(connection.scalars(statement.order_by(downlinks.c.id).limit(limit)))
