"""What people ask of reports: which came, newest first, and what became of each. What they hold is not in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from receiver.storage.tables import connections, reports

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

MOST_EXAMINED = 10_000
"""How many reports one page looks at when a filter leaves few: some 20 ms. No index is for these filters: each would
cost every push a page of it."""

REPORT_STATES = ("unread", "read", "waiting_for_key", "unreadable")


@dataclass(frozen=True, slots=True)
class ReportView:
    """A push as it was taken, without what it held. `note`: why it is unreadable, or what of it could not be read."""

    id: int
    received_at: datetime
    sent_at: datetime
    connection: str | None
    kind: str
    content_type: str
    dev_eui: str | None
    deliveries: int
    state: str
    note: str | None


@dataclass(frozen=True, slots=True)
class ReportFilter:
    """Which reports are wanted; None: all."""

    dev_eui: str | None = None
    connection_id: int | None = None
    kind: str | None = None
    state: str | None = None


_VIEW: tuple[ColumnElement[Any], ...] = (
    *(reports.c.id, reports.c.received_at, reports.c.sent_at, connections.c.name.label("connection")),
    *(reports.c.kind, reports.c.content_type, reports.c.dev_eui, reports.c.deliveries, reports.c.state),
    reports.c.note,
)


def list_report_views(
    connection: Connection,
    wanted: ReportFilter,
    *,
    limit: int,
    before_id: int | None = None,
    most_examined: int = MOST_EXAMINED,
) -> tuple[list[ReportView], int | None]:
    """Give up to `limit` reports, the newest first, and the id that the next page is before; None: that was all.

    A page may have fewer, or none, and yet another one follow: when its share of reports was looked at.
    """
    columns = (reports.c.id, reports.c.dev_eui, reports.c.connection_id, reports.c.kind, reports.c.state)
    examined = select(*columns).order_by(reports.c.id.desc())
    if before_id is not None:
        examined = examined.where(reports.c.id < before_id)
    share = examined.limit(most_examined).subquery()
    filters = {name: value for name in _FILTERS if (value := getattr(wanted, name)) is not None}
    ids = select(share.c.id).where(*(share.c[name] == value for name, value in filters.items()))
    found = list(connection.scalars(ids.order_by(share.c.id.desc()).limit(limit + 1)))
    views = connection.execute(
        select(*_VIEW)
        .select_from(reports.outerjoin(connections, connections.c.id == reports.c.connection_id))
        .where(reports.c.id.in_(found[:limit]))
        .order_by(reports.c.id.desc())
    )
    rows = [ReportView(*row) for row in views]
    if len(found) > limit:
        return rows, found[limit - 1]
    last = connection.execute(examined.offset(most_examined - 1).limit(1)).first() if filters else None
    return rows, None if last is None else last.id


_FILTERS = ("dev_eui", "connection_id", "kind", "state")
