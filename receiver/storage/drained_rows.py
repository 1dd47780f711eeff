"""The statements behind the drain: spooled reports into the database, each once, in order.

*Nothing is stored or counted twice.* How far a spool is drained stands in `revisions` under the spool's own name, and
is written in the same transaction as the reports: whoever comes again after a crash, or at the same time, sees it.
A push whose commit was answered too late, or never, stands in the database and in the spool; it is known again by its
delivery and the microsecond of its arrival, and is not a further delivery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

from receiver.storage.engine import cursor_within, dialect_insert
from receiver.storage.inbox_rows import batch_size, insert_new_reports, note_deliveries
from receiver.storage.tables import connections, deliveries, reports, revisions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from receiver.storage.reports import NewReport
    from receiver.storage.spool import SpooledReport


def store_spooled(connection: Connection, spool_id: str, rows: Sequence[SpooledReport]) -> None:
    """Store reports of a spool within the caller's transaction; what it drained before is not counted again.

    It is not left out: were the spool restored from a copy, new reports would stand at places drained long ago.
    A report whose connection was removed meanwhile is stored without it, as if it had been stored before that.
    """
    name = f"spool:{spool_id}"
    drained = _lock_drained(connection, name)
    known = set(connection.scalars(select(connections.c.id)))
    new_reports = [
        row.report if row.report.connection_id in known else row.report._replace(connection_id=None)  # type: ignore[arg-type]
        for row in rows
    ]
    are_new = _insert(connection, new_reports)
    copies = [
        report
        for row, report, is_new in zip(rows, new_reports, are_new, strict=True)
        if not is_new and row.id > drained
    ]
    if copies:
        _note_once(connection, copies)
    if rows[-1].id > drained:
        connection.execute(update(revisions).where(revisions.c.name == name).values(value=rows[-1].id))


def check_writable(connection: Connection, spool_id: str) -> None:
    """Write, within the caller's transaction, what stands there: a locked or full database takes reads all the same."""
    _lock_drained(connection, f"spool:{spool_id}")


def _lock_drained(connection: Connection, name: str) -> int:
    """Give the place up to which this spool is drained; any other drain of it waits for the end of the transaction."""
    insert = dialect_insert(revisions, connection).values(name=name, value=0)
    stays = insert.on_conflict_do_update(index_elements=["name"], set_={"value": revisions.c.value})
    return int(connection.execute(stays.returning(revisions.c.value)).scalar_one())


def _insert(connection: Connection, new_reports: Sequence[NewReport]) -> list[bool]:
    """Insert those that are new; say of each whether it was."""
    are_new: list[bool] = []
    with cursor_within(connection) as cursor:
        start = 0
        while start < len(new_reports):
            batch = new_reports[start : start + batch_size(len(new_reports) - start)]
            start += len(batch)
            are_new += insert_new_reports(cursor, connection.dialect.name, batch)
    return are_new


def _note_once(connection: Connection, copies: Sequence[NewReport]) -> None:
    """Count further deliveries, but for those pushes that are in the database already."""
    ids = {_find_report_id(connection, copy) for copy in copies} - {None}
    # Whoever counts one of them at this moment is waited for; by id, as everywhere.
    lock = select(reports.c.delivery_id, reports.c.received_at).where(reports.c.id.in_(ids)).order_by(reports.c.id)
    stored = {(bytes(row.delivery_id), row.received_at) for row in connection.execute(lock.with_for_update())}
    counted = select(deliveries.c.delivery_id, deliveries.c.first_received_at, deliveries.c.last_received_at).where(
        deliveries.c.delivery_id.in_([copy.delivery_id for copy in copies])
    )
    for row in connection.execute(counted):
        stored |= {(bytes(row.delivery_id), at) for at in (row.first_received_at, row.last_received_at)}
    note_deliveries(connection, [copy for copy in copies if (copy.delivery_id, copy.received_at) not in stored])


def _find_report_id(connection: Connection, report: NewReport) -> int | None:
    same = reports.c.delivery_id == report.delivery_id
    if report.frame_id is not None:
        same = or_(same, reports.c.frame_id == report.frame_id)
    return connection.scalar(select(reports.c.id).where(same).order_by(reports.c.id).limit(1))
