"""Deletes measurements that are older than an operator keeps them, some hundred in a transaction.

They are kept by series and time, so each series is looked at by itself, from its oldest value on: no index is needed
for it, and where nothing is old one look says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, func, select, tuple_

from receiver.storage.telemetry_tables import series, telemetry_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

SERIES_A_LOOK = 100
ROWS_A_STEP = 500
"""Of one transaction: few enough that it holds SQLite's only write lock for some 10 ms."""


class OldValues(NamedTuple):
    """What a look at some series found: how many values may go, up to which of each, and where to look next."""

    rows: int
    up_to: Mapping[int, tuple[datetime, int]]
    """By series: time and uplink of the last one that may go in this step."""
    next_after_id: int
    is_last: bool


def find_old_values(connection: Connection, before: datetime, after_id: int) -> OldValues:
    """Look at series behind `after_id` for values of before `before`: a step's worth of them. Locks nothing."""
    ids = _list_series(connection, after_id)
    rows = 0
    up_to: dict[int, tuple[datetime, int]] = {}
    values = telemetry_values.c
    for series_id in ids:
        room = ROWS_A_STEP - rows
        found = connection.execute(
            select(values.at, values.uplink_id)
            .where(values.series_id == series_id, values.at < before)
            .order_by(values.at, values.uplink_id)
            .limit(room)
        ).all()
        rows += len(found)
        if found:
            up_to[series_id] = found[-1].at, found[-1].uplink_id
        if len(found) == room:  # there may be more of this one
            return OldValues(rows, up_to, series_id - 1, is_last=False)
    return OldValues(rows, up_to, ids[-1] if ids else after_id, is_last=len(ids) < SERIES_A_LOOK)


def count_old_values(connection: Connection, before: datetime, after_id: int) -> OldValues:
    """Count all values of before `before` in some series behind `after_id`."""
    ids = _list_series(connection, after_id)
    old = telemetry_values.c.series_id.in_(ids) & (telemetry_values.c.at < before)
    rows = connection.scalar(select(func.count()).where(old)) if ids else 0
    return OldValues(rows or 0, {}, ids[-1] if ids else after_id, is_last=len(ids) < SERIES_A_LOOK)


def delete_old_values(connection: Connection, up_to: Mapping[int, tuple[datetime, int]]) -> int:
    """Delete the values of these series up to the named ones; give how many there were."""
    values = telemetry_values.c
    return sum(
        connection.execute(
            delete(telemetry_values).where(
                values.series_id == series_id, values.at <= at, tuple_(values.at, values.uplink_id) <= (at, uplink_id)
            )
        ).rowcount
        for series_id, (at, uplink_id) in up_to.items()
    )


def _list_series(connection: Connection, after_id: int) -> Sequence[int]:
    statement = select(series.c.id).where(series.c.id > after_id).order_by(series.c.id).limit(SERIES_A_LOOK)
    return connection.execute(statement).scalars().all()
