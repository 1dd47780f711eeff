"""The statements behind the inbox: insert a batch of reports and say, row by row, which were new.

Both go past SQLAlchemy to the driver, and both insert a batch with as few statements as there can be: each
one lets go of the interpreter's lock, and has to wait for the event loop to let go of it in turn. A statement
outside a transaction is one, and is committed when it returns. SQLite takes rows of values, PostgreSQL an
array for each column.
"""

from __future__ import annotations

import sqlite3
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from receiver.storage import pg_arrays
from receiver.storage.columns import sqlite_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.storage.reports import NewReport


class Outcome(Enum):
    """What a push brought. Both are answered 200."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # the same delivery, or the same frame, was stored before


_COLUMNS = (
    "connection_id, tunnel_key_id, kind, content_type, dev_eui, received_at, sent_at,"
    " delivery_id, frame_id, query, body"
)

_ANY_SIZE = 64
_LARGE_SIZES = (512, 256, 128, 64) if sqlite3.sqlite_version_info >= (3, 32) else (64,)
"""Of 11 parameters each: SQLite before 3.32 takes 999 in one statement, newer ones 32,766."""

# Ids are given in the order of arrival, in which reports are read. The rows go in in one order everywhere, so
# that two receivers that take the same copies wait for and not on each other; copies of a frame come by
# deliveries of their own, so the frame's id goes first.
_INSERT_ARRAYS = (
    f"INSERT INTO reports (id, {_COLUMNS}, deliveries, state)"  # noqa: S608 - constants only
    f" SELECT id, {_COLUMNS}, 1, 'unread' FROM (SELECT nextval('reports_id_seq') AS id, new.* FROM"
    f" unnest({{}}) AS new ({_COLUMNS})) AS arrived"
    " ORDER BY coalesce(frame_id, delivery_id), id"
    " ON CONFLICT DO NOTHING RETURNING delivery_id"
)

_PACK: tuple[Callable[[Sequence[Any]], pg_arrays.PgArray], ...] = (
    pg_arrays.int8s,
    pg_arrays.int8s,
    pg_arrays.texts,
    pg_arrays.texts,
    pg_arrays.texts,
    pg_arrays.timestamptzs,
    pg_arrays.timestamptzs,
    pg_arrays.byteas,
    pg_arrays.byteas,
    pg_arrays.texts,
    pg_arrays.byteas,
)
"""How each column of a `NewReport`, in its order, is packed for PostgreSQL."""

_POSTGRESQL_INSERT = _INSERT_ARRAYS.format(", ".join(["%b"] * len(_PACK)))

PREPARED_INSERT = _INSERT_ARRAYS.format(", ".join(f"${number}" for number in range(1, len(_PACK) + 1)))
"""For libpq itself: what `pack_reports` gives, in this order. Of the new ones the delivery's id is returned."""

# Of a copy that reading knew again, the report that brought its frame first: there all deliveries are counted.
_KNOWN = (
    "SELECT coalesce((SELECT report_id FROM deliveries WHERE deliveries.delivery_id = reports.delivery_id), id)"
    " FROM reports WHERE delivery_id = {p} OR frame_id = {p} ORDER BY id LIMIT 1"
)

# The same delivery may come again and again within its window; it is one row that counts.
_DELIVERY = (
    "INSERT INTO deliveries (report_id, connection_id, tunnel_key_id, delivery_id, first_received_at,"
    " last_received_at, times, query)"
    " VALUES ({p}, {p}, {p}, {p}, {p}, {p}, 1, {p})"
    " ON CONFLICT (delivery_id) DO UPDATE SET times = deliveries.times + 1,"
    " last_received_at = excluded.last_received_at"
)

_COUNT = "UPDATE reports SET deliveries = deliveries + 1 WHERE id = {p}"


def insert_new_reports(cursor: Any, dialect_name: str, new_reports: Sequence[NewReport]) -> list[bool]:  # noqa: ANN401
    """Insert the reports that are new with one statement; say of each whether it was.

    Of copies in one batch the first is new. At most `batch_size` of them can be given.
    """
    if dialect_name == "sqlite":
        return _insert_sqlite(cursor, new_reports)
    return _insert_postgresql(cursor, new_reports)


def batch_size(waiting: int) -> int:
    """Give how many of the waiting reports to take: all, or where many wait one of few sizes.

    SQLite's driver keeps 128 statements prepared; each size is another one.
    """
    if waiting <= _ANY_SIZE:
        return waiting
    return next(size for size in _LARGE_SIZES if size <= waiting)


def note_deliveries(connection: Connection, copies: Sequence[NewReport]) -> None:
    """Note further deliveries of reports that are known, within the caller's transaction."""
    is_sqlite = connection.dialect.name == "sqlite"
    driver = connection.dialect.loaded_dbapi
    cursor = connection.connection.cursor()
    try:
        _note_deliveries(cursor, copies, "?" if is_sqlite else "%s", sqlite_time if is_sqlite else _as_it_is)
    except driver.Error as exc:
        raise DBAPIError.instance(
            "INSERT INTO deliveries", None, exc, driver.Error, hide_parameters=True, dialect=connection.dialect
        ) from exc
    finally:
        cursor.close()


def _as_it_is(at: datetime) -> datetime:
    return at


def _insert_sqlite(cursor: Any, new_reports: Sequence[NewReport]) -> list[bool]:  # noqa: ANN401 - a driver's cursor
    values: list[object] = []
    for report in new_reports:
        values += (
            report.connection_id,
            report.tunnel_key_id,
            report.kind,
            report.content_type,
            report.dev_eui,
            sqlite_time(report.received_at),
            sqlite_time(report.sent_at),
            report.delivery_id,
            report.frame_id,
            report.query,
            report.body,
        )
    cursor.execute(_sqlite_insert(len(new_reports)), values)
    count = cursor.rowcount
    if count == len(new_reports):
        return [True] * count
    # One statement gives its rows ids one after the other, and nobody else inserts meanwhile.
    last = cursor.lastrowid
    new = "SELECT delivery_id FROM reports WHERE id > ? AND id <= ?"
    inserted = {row[0] for row in cursor.execute(new, (last - count, last))} if count else set()
    return first_of_each(new_reports, inserted)


@cache
def _sqlite_insert(rows: int) -> str:
    row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 'unread')"
    return (
        f"INSERT INTO reports ({_COLUMNS}, deliveries, state)"  # noqa: S608 - constants only
        f" VALUES {', '.join([row] * rows)} ON CONFLICT DO NOTHING"
    )


def pack_reports(new_reports: Sequence[NewReport]) -> list[pg_arrays.PgArray]:
    """Give the parameters of PostgreSQL's statement: an array for each column.

    Raises:
        UnicodeEncodeError, struct.error, TypeError: a value that no array can hold.
    """
    columns = zip(*new_reports, strict=True) if new_reports else [()] * len(_PACK)
    return [pack(column) for pack, column in zip(_PACK, columns, strict=True)]


def first_of_each(new_reports: Sequence[NewReport], inserted: set[bytes]) -> list[bool]:
    """Say of each report whether it was inserted: of two of one delivery, the first."""
    stored = []
    for report in new_reports:
        stored.append(report.delivery_id in inserted)
        inserted.discard(report.delivery_id)
    return stored


def _insert_postgresql(cursor: Any, new_reports: Sequence[NewReport]) -> list[bool]:  # noqa: ANN401
    pg_arrays.register(cursor)
    cursor.execute(_POSTGRESQL_INSERT, pack_reports(new_reports))
    return first_of_each(new_reports, {bytes(row[0]) for row in cursor.fetchall()})


def _note_deliveries(
    cursor: Any,  # noqa: ANN401
    new_reports: Sequence[NewReport],
    placeholder: str,
    time: Callable[[datetime], object],
) -> None:
    copies: list[tuple[int, NewReport]] = []
    for report in new_reports:
        cursor.execute(_KNOWN.format(p=placeholder), (report.delivery_id, report.frame_id))
        known = cursor.fetchone()
        if known is not None:
            copies.append((known[0], report))
    copies.sort(key=lambda copy: copy[0])  # rows are locked by id everywhere: no two writers wait in a circle
    for report_id, report in copies:
        received_at = time(report.received_at)
        cursor.execute(_COUNT.format(p=placeholder), (report_id,))
        cursor.execute(
            _DELIVERY.format(p=placeholder),
            (
                report_id,
                report.connection_id,
                report.tunnel_key_id,
                report.delivery_id,
                received_at,
                received_at,
                report.query,
            ),
        )
