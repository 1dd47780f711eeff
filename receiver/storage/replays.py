"""Stores a refused push that turned out to be in order: once, by the statements that every push goes through."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.exc import DBAPIError

from receiver.storage.inbox_rows import Outcome, insert_new_reports, note_deliveries
from receiver.storage.rejections import mark_replayed, set_replayed_report
from receiver.storage.tables import reports

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.storage.reports import NewReport


class Replayed(NamedTuple):
    """What a replay brought: a new report, or a further delivery of one that was there."""

    outcome: Outcome
    report_id: int | None


def store_replayed(connection: Connection, rejection_id: int, report: NewReport, now: datetime) -> Replayed | None:
    """Store the report of a rejection and mark that as replayed, within the caller's transaction.

    None: it was replayed before, and nothing is done. Of two at once the second waits for the first.
    """
    if not mark_replayed(connection, rejection_id, now):
        return None
    driver = connection.dialect.loaded_dbapi
    cursor = connection.connection.cursor()
    try:
        (is_new,) = insert_new_reports(cursor, connection.dialect.name, [report])
    except driver.Error as exc:
        raise DBAPIError.instance(
            "INSERT INTO reports", None, exc, driver.Error, hide_parameters=True, dialect=connection.dialect
        ) from exc
    finally:
        cursor.close()
    if not is_new:
        note_deliveries(connection, [report])
    report_id = find_report_id(connection, report)
    set_replayed_report(connection, rejection_id, report_id)
    return Replayed(Outcome.STORED if is_new else Outcome.DUPLICATE, report_id)


def find_report_id(connection: Connection, report: NewReport) -> int | None:
    """Give the stored report of the same delivery or the same frame, or None."""
    same = reports.c.delivery_id == report.delivery_id
    if report.frame_id is not None:
        same = or_(same, reports.c.frame_id == report.frame_id)
    return connection.scalar(select(reports.c.id).where(same).order_by(reports.c.id).limit(1))
