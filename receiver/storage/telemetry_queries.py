"""What people ask of telemetry: the values of series over time, newest first by cursor, and the latest of each.

A page costs the same wherever it is: each series is read from its own place in the index on, never further than a page.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import exists, lateral, or_, select, true, tuple_

from receiver.storage.series_values import Series, source_of
from receiver.storage.telemetry_tables import series, telemetry_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class TelemetryValue:
    """One measurement. Its value is a number, true or false, or text, as the codec gave it."""

    dev_eui: str
    at: datetime
    name: str
    value: float | bool | str
    unit: str | None
    uplink_id: int | None
    """None for what LoRaWAN itself tells of a device's status: no stored uplink brought it."""

    def __repr__(self) -> str:
        return f"TelemetryValue({self.dev_eui}, {self.name})"


class TelemetryCursor(NamedTuple):
    """Where a page ended: the next one holds what is older (or newer), or as old and behind it in the order of series.

    `tie` is the id of the uplink, or of the notification that told a status.
    """

    at: datetime
    series_id: int
    tie: int


class _Row(NamedTuple):
    at: datetime
    series_id: int
    tie: int
    uplink_id: int | None
    value: float | None
    text: str | None


def list_series(connection: Connection, dev_eui: str, names: Sequence[str] | None = None) -> list[Series]:
    """Give the series of a device by name; of these names only, where they are given."""
    statement = select(series).where(series.c.dev_eui == dev_eui).order_by(series.c.name, series.c.unit)
    if names is not None:
        statement = statement.where(series.c.name.in_(names))
    return [Series(row.id, row.dev_eui, row.name, row.unit or None) for row in connection.execute(statement)]


def list_values(
    connection: Connection,
    wanted: Sequence[Series],
    *,
    limit: int,
    since: datetime | None = None,
    until: datetime | None = None,
    before: TelemetryCursor | None = None,
    oldest_first: bool = False,
) -> tuple[list[TelemetryValue], TelemetryCursor | None]:
    """Give up to `limit` values of some series, newest first, and the cursor of the next page; None: that was all.

    `since` is the first moment that counts, `until` the first that counts no more. With `oldest_first` the order is
    the other way round, and `before` is where the page before it ended all the same.
    """
    pages = [_page(connection, one, limit + 1, since, until, before, oldest_first=oldest_first) for one in wanted]
    in_order = heapq.merge(*pages, key=lambda row: row[:3], reverse=not oldest_first)
    rows = [row for row, _ in zip(in_order, range(limit + 1), strict=False)]
    by_id = {one.id: one for one in wanted}
    page = rows[:limit]
    cursor = TelemetryCursor(*page[-1][:3]) if len(rows) > limit else None
    return [_value(by_id[row.series_id], row) for row in page], cursor


def _page(
    connection: Connection,
    one: Series,
    limit: int,
    since: datetime | None,
    until: datetime | None,
    before: TelemetryCursor | None,
    *,
    oldest_first: bool = False,
) -> list[_Row]:
    values = source_of(one)
    order = (values.at, values.tie) if oldest_first else (values.at.desc(), values.tie.desc())
    statement = (
        select(values.at, values.tie, values.uplink_id, values.value, values.text)
        .where(*values.where)
        .order_by(*order)
        .limit(limit)
    )
    if since is not None:
        statement = statement.where(values.at >= since)
    if until is not None:
        statement = statement.where(values.at < until)
    if before is not None:  # the order is by time, then series, then tie, all upwards or all downwards
        beyond, behind = (
            (values.at > before.at, values.tie > before.tie)
            if oldest_first
            else (values.at < before.at, values.tie < before.tie)
        )
        up_to = values.at >= before.at if oldest_first else values.at <= before.at
        if one.id == before.series_id:
            statement = statement.where(up_to, or_(beyond, behind))
        elif (one.id > before.series_id) is oldest_first:
            statement = statement.where(up_to)
        else:
            statement = statement.where(beyond)
    return [_Row(row[0], one.id, *row[1:]) for row in connection.execute(statement)]


def list_latest(
    connection: Connection,
    *,
    dev_eui: str | None = None,
    names: Sequence[str] | None = None,
    after: tuple[str, str, str] = ("", "", ""),
    limit: int,
) -> list[TelemetryValue]:
    """Give the newest value of each series, by device, name and unit, of those behind `after`; of one device or all.

    Of these names only, where they are given. Fewer than `limit` means that there are no more.
    """
    newest = lateral(
        select(telemetry_values.c.at, telemetry_values.c.uplink_id, telemetry_values.c.value, telemetry_values.c.text)
        .where(telemetry_values.c.series_id == series.c.id)
        .order_by(telemetry_values.c.at.desc(), telemetry_values.c.uplink_id.desc())
        .limit(1)
    )
    of = [tuple_(series.c.dev_eui, series.c.name, series.c.unit) > after]
    if dev_eui is not None:
        of.append(series.c.dev_eui == dev_eui)
    if names is not None:
        of.append(series.c.name.in_(names))
    if connection.dialect.name == "postgresql":
        statement = (
            select(series, newest).select_from(series.join(newest, true())).where(*of).order_by(*_BY_NAME).limit(limit)
        )
        rows: Iterable[Any] = connection.execute(statement)
        return [_latest(row) for row in rows]
    of.append(exists().where(telemetry_values.c.series_id == series.c.id))
    return list(_latest_one_by_one(connection, select(series).where(*of).order_by(*_BY_NAME).limit(limit)))


_BY_NAME = (series.c.dev_eui, series.c.name, series.c.unit)


def _latest_one_by_one(connection: Connection, wanted: Any) -> Iterator[TelemetryValue]:  # noqa: ANN401
    """SQLite has no LATERAL; in the same process a statement for each costs no more."""
    for one in connection.execute(wanted).all():
        found = Series(one.id, one.dev_eui, one.name, one.unit or None)
        for row in _page(connection, found, 1, None, None, None):
            yield _value(found, row)


def _latest(row: Any) -> TelemetryValue:  # noqa: ANN401 - a row of the join above
    found = Series(row.id, row.dev_eui, row.name, row.unit or None)
    return _value(found, _Row(row.at, row.id, row.uplink_id, row.uplink_id, row.value, row.text))


def _value(of: Series, row: _Row) -> TelemetryValue:
    return TelemetryValue(of.dev_eui, row.at, of.name, value_of(row.value, row.text), of.unit, row.uplink_id)


def value_of(value: float | None, text: str | None) -> float | bool | str:
    """Give a measurement's value out of the two columns that hold it."""
    if value is None:
        return text or ""
    return value if text is None else text == "true"
