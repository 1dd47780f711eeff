"""Statements for a batch of rows, past SQLAlchemy's work on each row: a tuple is a row as the driver takes it.

SQLite runs a statement once for each row; PostgreSQL gets one statement with an array for each column. They go
through `exec_driver_sql`, so that transactions and errors stay SQLAlchemy's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Float, Integer, LargeBinary, Text

from receiver.storage import pg_arrays
from receiver.storage.columns import UtcTime, sqlite_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, CursorResult, Table
    from sqlalchemy.types import TypeEngine


@dataclass(frozen=True, slots=True)
class BatchStatement:
    """One change to many rows: for SQLite with `?` for each value, for PostgreSQL with `%b` for each column."""

    sqlite: str
    postgresql: str
    pack: tuple[Callable[[Sequence[Any]], pg_arrays.PgArray], ...]

    def run(self, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Run it for the rows, within the caller's transaction. Times are as `time_writer` makes them."""
        if not rows:
            return
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(self.sqlite, rows)
        else:
            columns = zip(*rows, strict=True)
            arrays = tuple(pack(column) for pack, column in zip(self.pack, columns, strict=True))
            run_with_arrays(connection, self.postgresql, arrays)


_PACK: dict[type[TypeEngine[Any]], Callable[[Sequence[Any]], pg_arrays.PgArray]] = {
    BigInteger: pg_arrays.int8s,
    Integer: pg_arrays.int8s,
    Float: pg_arrays.float8s,
    Boolean: pg_arrays.bools,
    Text: pg_arrays.texts,
    LargeBinary: pg_arrays.byteas,
    UtcTime: pg_arrays.timestamptzs,
}


def insert_statement(table: Table, columns: Sequence[str], conflict: str = "") -> BatchStatement:
    """Give the INSERT of rows of these columns; `conflict` is its ON CONFLICT clause. All of them are constants."""
    into = f"INSERT INTO {table.name} ({', '.join(columns)})"
    return BatchStatement(
        f"{into} VALUES ({', '.join('?' * len(columns))}) {conflict}",
        f"{into} SELECT * FROM unnest({', '.join(['%b'] * len(columns))}) {conflict}",  # noqa: S608
        tuple(_PACK[type(table.c[column].type)] for column in columns),
    )


_as_json = msgspec.json.Encoder().encode


def select_by(
    connection: Connection,
    sqlite: str,
    postgresql: str,
    keys: Sequence[Any],
    *pack: Callable[[Sequence[Any]], pg_arrays.PgArray],
) -> Sequence[Any]:
    """Give the rows that a query finds by many keys, each a value or a tuple, as the driver gives them.

    The keys are one JSON array on SQLite (for `json_each(?)`) and an array for each column on PostgreSQL.
    """
    if not keys:
        return []
    if connection.dialect.name == "sqlite":
        return connection.exec_driver_sql(sqlite, (_as_json(keys).decode(),)).all()
    columns = zip(*keys, strict=True) if isinstance(keys[0], tuple) else [keys]
    arrays = tuple(packed(column) for packed, column in zip(pack, columns, strict=True))
    return run_with_arrays(connection, postgresql, arrays).all()


_TAKES_ARRAYS = "takes_arrays"


def run_with_arrays(connection: Connection, statement: str, arrays: tuple[pg_arrays.PgArray, ...]) -> CursorResult[Any]:
    """Run a statement of PostgreSQL with a packed array for each `%b`."""
    if _TAKES_ARRAYS not in connection.info:  # which lives as long as the driver's connection
        pg_arrays.register(connection.connection.driver_connection)
        connection.info[_TAKES_ARRAYS] = True
    return connection.exec_driver_sql(statement, arrays)


def as_utc(value: Any) -> datetime:  # noqa: ANN401 - what the drivers give
    """Give the time that a driver gave, in UTC: text on SQLite, aware on PostgreSQL."""
    return datetime.fromisoformat(value) if type(value) is str else value.astimezone(UTC)


def time_writer(connection: Connection) -> Callable[[datetime], object]:
    """Give what makes of a time the value that the database's driver takes."""
    return _sqlite_time if connection.dialect.name == "sqlite" else _as_it_is


_sqlite_time = lru_cache(maxsize=2_048)(sqlite_time)  # a batch writes each of its times in several tables


def _as_it_is(at: datetime) -> datetime:
    return at
