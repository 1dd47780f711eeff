"""Uplinks by the network's time, page by page, and the measurements that stand behind each.

A page costs the same wherever it is, and however few uplinks a filter leaves: at most so many are looked at for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Lateral, or_, select, true

from receiver.storage.tables import connections, uplinks
from receiver.storage.telemetry_queries import TelemetryValue, value_of
from receiver.storage.telemetry_tables import decodings, series, telemetry_values
from receiver.storage.uplink_queries import fetch_views, select_views

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, FromClause, Select

    from receiver.storage.uplink_queries import UplinkView

MOST_EXAMINED = 10_000
"""How many uplinks one page looks at when a filter has no index: some 20 ms."""

_FRAMES = 200  # of so many uplinks the measurements are read at once


class FramePlace(NamedTuple):
    """A place in the order of uplinks; what is behind it is older, or with the oldest first newer."""

    at: datetime
    id: int


class ValuePlace(NamedTuple):
    """A place among the measurements of uplinks: behind the first `taken` ones of this uplink."""

    at: datetime
    id: int
    taken: int


@dataclass(frozen=True, slots=True)
class UplinkFilter:
    """Which uplinks are wanted; None: all. `since` is the first moment that counts, `until` the first that does not."""

    dev_eui: str | None = None
    connection_id: int | None = None
    f_port: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    oldest_first: bool = False

    def in_order(self, *columns: Any, after: FramePlace | None) -> Select[Any]:  # noqa: ANN401 - columns
        """Give the SELECT over uplinks of a device and a time, in order, from behind `after` on."""
        frames = uplinks.c
        statement = select(*columns)
        if self.oldest_first:
            statement = statement.order_by(frames.at, frames.id)
        else:
            statement = statement.order_by(frames.at.desc(), frames.id.desc())
        if self.dev_eui is not None:
            statement = statement.where(frames.dev_eui == self.dev_eui)
        if self.since is not None:
            statement = statement.where(frames.at >= self.since)
        if self.until is not None:
            statement = statement.where(frames.at < self.until)
        if after is not None:  # in two parts, so that the index on the time serves
            if self.oldest_first:
                behind = frames.at >= after.at, or_(frames.at > after.at, frames.id > after.id)
            else:
                behind = frames.at <= after.at, or_(frames.at < after.at, frames.id < after.id)
            statement = statement.where(*behind)
        return statement


def find_connection_id(connection: Connection, name: str) -> int | None:
    """Give the id of a connection; None: there is none of that name."""
    found: int | None = connection.scalar(select(connections.c.id).where(connections.c.name == name))
    return found


def list_uplink_page(
    connection: Connection, wanted: UplinkFilter, *, limit: int, after: FramePlace | None = None
) -> tuple[list[UplinkView], FramePlace | None]:
    """Give up to `limit` uplinks, newest first unless told, and where the next page goes on; None: that was all.

    A page may have fewer, or none, and yet another one follow: when its share of uplinks was looked at.
    """
    frames = uplinks.c
    examined = wanted.in_order(frames.id, frames.at, frames.connection_id, frames.f_port, after=after)
    filters = _filters(wanted)
    if not filters:
        ids = examined.limit(limit + 1)
    else:
        share = examined.limit(MOST_EXAMINED).subquery()
        order = (share.c.at, share.c.id) if wanted.oldest_first else (share.c.at.desc(), share.c.id.desc())
        ids = select(share).where(*(share.c[name] == value for name, value in filters)).order_by(*order)
        ids = ids.limit(limit + 1)
    found = [FramePlace(row.at, row.id) for row in connection.execute(ids)]
    views = fetch_views(connection, select_views().where(frames.id.in_([place.id for place in found[:limit]])))
    by_id = {view.id: view for view in views}
    rows = [by_id[place.id] for place in found[:limit]]
    if len(found) > limit:
        return rows, found[limit - 1]
    end = connection.execute(examined.offset(MOST_EXAMINED - 1).limit(1)).one_or_none() if filters else None
    return rows, None if end is None else FramePlace(end.at, end.id)


def _filters(wanted: UplinkFilter) -> list[tuple[str, int]]:
    """Give the filters that no index serves."""
    both = (("connection_id", wanted.connection_id), ("f_port", wanted.f_port))
    return [(name, value) for name, value in both if value is not None]


def list_values_by_uplink(
    connection: Connection,
    wanted: UplinkFilter,
    *,
    limit: int,
    names: Sequence[str] | None = None,
    after: ValuePlace | None = None,
) -> tuple[list[TelemetryValue], ValuePlace | None]:
    """Give up to `limit` measurements of all devices: of one uplink after the other, of each by name, unit and time.

    The second value is where the next page goes on; None: that was all. A page may have fewer, or none, and yet
    another one follow.
    """
    rows: list[TelemetryValue] = []
    place, skip = (None, 0) if after is None else (after, after.taken)
    frames = _list_frames(connection, wanted, None if place is None else FramePlace(place.at, place.id), with_it=True)
    examined = 0
    while frames:
        values = list_values_of(connection, [frame.id for frame in frames if _counts(frame, wanted)], names)
        for frame in frames:
            of_frame = values.get(frame.id, [])
            begin = skip if place is not None and frame.id == place.id else 0
            room = limit - len(rows)
            rows += of_frame[begin : begin + room]
            if len(of_frame) - begin > room:
                return rows, ValuePlace(frame.at, frame.id, begin + room)
        examined += len(frames)
        last = FramePlace(frames[-1].at, frames[-1].id)
        if len(frames) < _FRAMES:
            return rows, None
        if examined >= MOST_EXAMINED or len(rows) == limit:
            return rows, ValuePlace(*last, len(values.get(last.id, [])))
        frames = _list_frames(connection, wanted, last, with_it=False)
    return rows, None


def _list_frames(
    connection: Connection, wanted: UplinkFilter, after: FramePlace | None, *, with_it: bool
) -> Sequence[Any]:
    columns = (uplinks.c.id, uplinks.c.at, uplinks.c.connection_id, uplinks.c.f_port)
    if after is not None and with_it:
        after = after._replace(id=after.id - 1 if wanted.oldest_first else after.id + 1)
    return connection.execute(wanted.in_order(*columns, after=after).limit(_FRAMES)).all()


def _counts(frame: Any, wanted: UplinkFilter) -> bool:  # noqa: ANN401 - a row
    return all(getattr(frame, name) == value for name, value in _filters(wanted))


def list_values_of(
    connection: Connection, uplink_ids: Sequence[int], names: Sequence[str] | None = None
) -> dict[int, list[TelemetryValue]]:
    """Give the measurements of some uplinks: those of the device's series between the decoding's first and last."""
    values = _values_of_frame(connection)
    statement = (
        select(
            *(series.c.dev_eui, series.c.name, series.c.unit),
            *(values.c.at, values.c.uplink_id, values.c.value, values.c.text),
        )
        .select_from(
            uplinks.join(decodings, decodings.c.uplink_id == uplinks.c.id)
            .join(series, series.c.dev_eui == uplinks.c.dev_eui)
            .join(values, true() if isinstance(values, Lateral) else _is_of_frame())
        )
        .where(uplinks.c.id.in_(uplink_ids))
        .order_by(values.c.uplink_id, series.c.name, series.c.unit, values.c.at)
    )
    if names is not None:
        statement = statement.where(series.c.name.in_(names))
    found: dict[int, list[TelemetryValue]] = {}
    for row in connection.execute(statement):
        value = TelemetryValue(
            row.dev_eui, row.at, row.name, value_of(row.value, row.text), row.unit or None, row.uplink_id
        )
        found.setdefault(row.uplink_id, []).append(value)
    return found


def _values_of_frame(connection: Connection) -> FromClause:
    """Give the values of one series and one frame, as something to join.

    On PostgreSQL as a subquery that it may not take apart: else it looks for a series and an uplink first, and for the
    time between them afterwards, which reads the whole series. With the time it is one look at the key.
    """
    if connection.dialect.name != "postgresql":
        return telemetry_values
    values = telemetry_values.c
    wanted = select(values.at, values.uplink_id, values.value, values.text).where(_is_of_frame())
    return wanted.offset(0).lateral()


def _is_of_frame() -> ColumnElement[bool]:
    values = telemetry_values.c
    return (
        (values.series_id == series.c.id)
        & values.at.between(decodings.c.first_at, decodings.c.last_at)
        & (values.uplink_id == uplinks.c.id)
    )
