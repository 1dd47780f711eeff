"""Sums over the values of a series, step by step in UTC; what local buckets are put together from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from receiver.storage.columns import UtcTime
from receiver.storage.series_values import source_of

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement, Connection, Select

    from receiver.storage.series_values import Series

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StepRow(NamedTuple):
    """The values of a series within one step; those that are no number or boolean do not count."""

    first_at: datetime
    numbers: int
    minimum: float
    maximum: float
    total: float
    first: float
    last: float


def list_steps(connection: Connection, one: Series, *, step_s: int, since: datetime, until: datetime) -> list[StepRow]:
    """Give the steps of a series that hold a value, in the order of time: multiples of `step_s` seconds since 1970.

    Of several values of one time, those of lower ids go before the others.
    """
    is_postgresql = connection.dialect.name == "postgresql"
    statement = (_steps_by_sorting if is_postgresql else _steps_by_looking)(connection, one, step_s, since, until)
    return [StepRow(*row) for row in connection.execute(statement)]


def _steps_by_sorting(
    connection: Connection, one: Series, step_s: int, since: datetime, until: datetime
) -> Select[Any]:
    """Take the first and the last value of a step from all of them, sorted: each row is read once.

    Two looks at the key for each step, as on SQLite, take as long again as all the rest, and longer the more levels
    the index has.
    """
    values = source_of(one)
    sorted_values = func.array_agg(aggregate_order_by(values.value, values.at, values.tie))
    first_at, numbers = func.min(values.at).label("first_at"), func.count(values.value)
    return (
        select(
            first_at,
            numbers,
            func.min(values.value),
            func.max(values.value),
            func.sum(values.value),
            sorted_values[1],
            sorted_values[numbers],
        )
        .where(*values.where, values.value.is_not(None), values.at >= since, values.at < until)
        .group_by(_step(connection, values.at, step_s))
        .order_by(first_at)
    )


def _steps_by_looking(
    connection: Connection, one: Series, step_s: int, since: datetime, until: datetime
) -> Select[Any]:
    """Look the first and the last value of a step up by their times: the key of SQLite's table finds each at once."""
    values = source_of(one)
    steps = (
        select(
            func.min(values.at).label("first_at"),
            func.max(values.at).label("last_at"),
            func.count(values.value).label("numbers"),
            func.min(values.value).label("minimum"),
            func.max(values.value).label("maximum"),
            func.sum(values.value).label("total"),
        )
        .where(*values.where, values.value.is_not(None), values.at >= since, values.at < until)
        .group_by(_step(connection, values.at, step_s))
        .subquery()
    )
    first, last = source_of(one), source_of(one)
    return select(
        steps.c.first_at,
        steps.c.numbers,
        steps.c.minimum,
        steps.c.maximum,
        steps.c.total,
        select(first.value)
        .where(*first.where, first.at == steps.c.first_at, first.value.is_not(None))
        .order_by(first.tie)
        .limit(1)
        .scalar_subquery(),
        select(last.value)
        .where(*last.where, last.at == steps.c.last_at, last.value.is_not(None))
        .order_by(last.tie.desc())
        .limit(1)
        .scalar_subquery(),
    ).order_by(steps.c.first_at)


def find_end(connection: Connection, one: Series, *, since: datetime, until: datetime, oldest: bool) -> datetime | None:
    """Give the time of the oldest or newest number of a series from `since` to before `until`; None: there is none."""
    values = source_of(one)
    order = (values.at, values.tie) if oldest else (values.at.desc(), values.tie.desc())
    statement = (
        select(values.at)
        .where(*values.where, values.value.is_not(None), values.at >= since, values.at < until)
        .order_by(*order)
        .limit(1)
    )
    found: datetime | None = connection.scalar(statement)
    return found


def _step(connection: Connection, at: ColumnElement[Any], step_s: int) -> ColumnElement[Any]:
    if connection.dialect.name == "postgresql":
        return func.date_bin(timedelta(seconds=step_s), at, literal(_EPOCH, UtcTime))
    return func.unixepoch(at).op("/")(step_s)  # of whole numbers: a whole number
