"""Sums over the values of a series, step by step in UTC; what local buckets are put together from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, literal, select

from receiver.storage.columns import UtcTime
from receiver.storage.series_values import source_of

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement, Connection

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

    The first and the last value of a step are looked up by their times: the key finds each at once, also where
    several uplinks have the same time.
    """
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
    statement = select(
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
    return [StepRow(*row) for row in connection.execute(statement)]


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
