"""Refused pushes, kept within bounds: what a stranger can make grow has an end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, or_, select, update

from receiver.errors import NotFoundError
from receiver.storage.events import leave_untold
from receiver.storage.tables import connections, rejections

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select


PRUNE_EVERY = 100
"""The most rejections written between two looks at their bounds: a look reads all rows of a connection."""


@dataclass(frozen=True, slots=True)
class NewRejection:
    """A push that was not taken, as it arrived. `connection_id` None: nobody knows the connection."""

    connection_id: int | None
    path_name: str
    received_at: datetime
    reason: str
    detail: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def size_bytes(self) -> int:
        """What it counts against the bounds."""
        return len(self.body) + len(self.query) + sum(len(name) + len(value) for name, value in self.headers) + 200

    def __repr__(self) -> str:
        return f"NewRejection({self.path_name!r}, {self.reason})"


@dataclass(frozen=True, slots=True)
class RejectionLimits:
    """Bounds per connection, and of the ring for connections that nobody knows."""

    max_rows: int
    max_bytes: int
    unknown_max_rows: int
    unknown_max_bytes: int = 8 * 1024 * 1024

    def of(self, connection_id: int | None) -> tuple[int, int]:
        """Give the most rows and bytes that may stand for one connection (None: for unknown ones)."""
        if connection_id is None:
            return self.unknown_max_rows, self.unknown_max_bytes
        return self.max_rows, self.max_bytes

    def room(self, connection_id: int | None) -> tuple[int, int]:
        """Give the rows and bytes that may come between two looks; pruning leaves room for them."""
        max_rows, max_bytes = self.of(connection_id)
        return max(1, min(PRUNE_EVERY, max_rows // 10)), max_bytes // 10


def insert_rejections(connection: Connection, new_rejections: Sequence[NewRejection]) -> None:
    """Insert refused pushes within the caller's transaction, for a worker to tell."""
    ids = connection.scalars(
        insert(rejections).returning(rejections.c.id),
        [
            {
                "connection_id": rejection.connection_id,
                "path_name": rejection.path_name,
                "received_at": rejection.received_at,
                "reason": rejection.reason,
                "detail": rejection.detail,
                "query": rejection.query,
                "headers": json.dumps(rejection.headers),
                "body": rejection.body,
                "size_bytes": rejection.size_bytes,
            }
            for rejection in new_rejections
        ],
    )
    leave_untold(connection, ids.all())


def prune_rejections(connection: Connection, connection_id: int | None, limits: RejectionLimits) -> int:
    """Delete the oldest rejections of one connection (None: of unknown ones); give how many.

    What stays is within the bounds by as much as may come until the next look.
    """
    max_rows, max_bytes = limits.of(connection_id)
    room_rows, room_bytes = limits.room(connection_id)
    max_rows, max_bytes = max_rows - room_rows + 1, max_bytes - room_bytes
    mine: ColumnElement[bool] = rejections.c.connection_id == connection_id  # `IS NULL` for None
    # Newest first, how many rows and bytes stand up to and with each row; the first over a bound marks the cut.
    order = rejections.c.id.desc()
    running = (
        select(
            rejections.c.id,
            func.row_number().over(order_by=order).label("rank"),
            func.sum(rejections.c.size_bytes).over(order_by=order).label("bytes"),
        )
        .where(mine)
        .subquery()
    )
    cut = connection.execute(
        select(func.max(running.c.id)).where((running.c.rank > max_rows) | (running.c.bytes > max_bytes))
    ).scalar()
    if cut is None:
        return 0
    return connection.execute(delete(rejections).where(mine, rejections.c.id <= cut)).rowcount


@dataclass(frozen=True, slots=True)
class RejectionFilter:
    """Which rejections are meant; None: any. `until` itself is not in it.

    `connection` is a connection's name, or the name in the path where nobody knew the connection.
    """

    since: datetime | None = None
    until: datetime | None = None
    reason: str | None = None
    connection: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Give what a row must meet; the table `connections` is joined to it."""
        conditions: list[ColumnElement[bool]] = []
        if self.since is not None:
            conditions.append(rejections.c.received_at >= self.since)
        if self.until is not None:
            conditions.append(rejections.c.received_at < self.until)
        if self.reason is not None:
            conditions.append(rejections.c.reason == self.reason)
        if self.connection is not None:
            unknown = rejections.c.connection_id.is_(None) & (rejections.c.path_name == self.connection)
            conditions.append(or_(connections.c.name == self.connection, unknown))
        return conditions


@dataclass(frozen=True, slots=True)
class RejectionView:
    """What may be told of a refused push without showing what it held. `connection` None: nobody knew it."""

    id: int
    received_at: datetime
    connection: str | None
    path_name: str
    reason: str
    detail: str
    size_bytes: int
    replayed_at: datetime | None
    replayed_report_id: int | None


@dataclass(frozen=True, slots=True, repr=False)
class StoredRejection:
    """A refused push as it was kept. `query` has the Token in it, and `body` may have a clear payload."""

    view: RejectionView
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"StoredRejection({self.view.id}, {self.view.reason})"


_VIEW = (
    rejections.c.id,
    rejections.c.received_at,
    connections.c.name.label("connection"),
    rejections.c.path_name,
    rejections.c.reason,
    rejections.c.detail,
    rejections.c.size_bytes,
    rejections.c.replayed_at,
    rejections.c.replayed_report_id,
)


def list_rejections(
    connection: Connection, wanted: RejectionFilter, *, limit: int, before_id: int | None = None
) -> list[RejectionView]:
    """Give rejections, newest first, at most `limit`; `before_id`: only older ones than this, the next page."""
    query = _select(*_VIEW).where(*wanted.conditions()).order_by(rejections.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(rejections.c.id < before_id)
    return [RejectionView(*row) for row in connection.execute(query)]


def list_rejections_by_id(connection: Connection, ids: Sequence[int]) -> list[RejectionView]:
    """Give the rejections of these ids that are there."""
    if not ids:
        return []
    return [RejectionView(*row) for row in connection.execute(_select(*_VIEW).where(rejections.c.id.in_(ids)))]


def list_rejection_ids(connection: Connection, wanted: RejectionFilter, *, after_id: int, limit: int) -> list[int]:
    """Give the ids of rejections in order of arrival, from after `after_id` on."""
    conditions = [*wanted.conditions(), rejections.c.id > after_id]
    query = _select(rejections.c.id).where(*conditions).order_by(rejections.c.id).limit(limit)
    return list(connection.scalars(query))


def newest_rejection_id(connection: Connection) -> int:
    """Give the id of the newest rejection; 0 if there is none."""
    return connection.scalar(select(func.max(rejections.c.id))) or 0


def get_rejection(connection: Connection, rejection_id: int) -> StoredRejection:
    """Give one rejection, whole.

    Raises:
        NotFoundError: there is none of that id, or it was pruned.
    """
    whole = (rejections.c.query, rejections.c.headers, rejections.c.body)
    # An id of more than 63 bits is in no table, and in no parameter of a statement either.
    row = (
        connection.execute(_select(*_VIEW, *whole).where(rejections.c.id == rejection_id)).one_or_none()
        if rejection_id < 2**63
        else None
    )
    if row is None:
        raise NotFoundError(
            f"There is no rejection {rejection_id}; the oldest are deleted once there are more than is kept."
        )
    query, headers, body = row[-3:]
    kept = tuple((name, value) for name, value in json.loads(headers))
    return StoredRejection(RejectionView(*row[:-3]), query, kept, bytes(body))


def mark_replayed(connection: Connection, rejection_id: int, replayed_at: datetime) -> bool:
    """Mark a rejection as replayed unless it is; say whether this did it. Another that tries waits for the end."""
    mine = (rejections.c.id == rejection_id) & rejections.c.replayed_at.is_(None)
    return connection.execute(update(rejections).where(mine).values(replayed_at=replayed_at)).rowcount == 1


def set_replayed_report(connection: Connection, rejection_id: int, report_id: int | None) -> None:
    """Note which report a replayed rejection has become."""
    connection.execute(update(rejections).where(rejections.c.id == rejection_id).values(replayed_report_id=report_id))


def _select(*columns: ColumnElement[Any]) -> Select[Any]:
    joined = rejections.outerjoin(connections, connections.c.id == rejections.c.connection_id)
    return select(*columns).select_from(joined)
