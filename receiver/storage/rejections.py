"""Refused pushes, kept within bounds: what a stranger can make grow has an end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from receiver.storage.tables import rejections

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection


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
    """Insert refused pushes within the caller's transaction."""
    connection.execute(
        insert(rejections),
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
