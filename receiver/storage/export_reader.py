"""Reads what is exported, page by page, as the database's driver gives it: no transaction is longer than a page.

Times are text as SQLite stores them, on both databases: ISO 8601 in UTC, six decimals, `Z`. What comes or goes while
an export runs may be in it or not; what was there before and stays is in it, once.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from receiver.storage.columns import sqlite_time
from receiver.storage.engine import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

FIRST, LAST = "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"
"""Before and behind all times that are stored."""

BEFORE_ALL_IDS = -(2**62)

_TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


class Place(NamedTuple):
    """A place in the order of time; `tie` orders rows of one time."""

    at: str
    tie: int


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Which rows count. `since` is the first moment that does, `until` the first that does not; None: no bound."""

    since: datetime | None = None
    until: datetime | None = None
    connection_id: int | None = None
    f_port: int | None = None

    @property
    def is_by_uplink(self) -> bool:
        """Whether the uplink behind a row decides."""
        return self.connection_id is not None or self.f_port is not None

    @property
    def range(self) -> tuple[str, str]:
        """`since` and `until` as text."""
        return (
            FIRST if self.since is None else sqlite_time(self.since),
            LAST if self.until is None else sqlite_time(self.until),
        )

    @property
    def wanted_columns(self) -> list[tuple[str, int]]:
        """The columns of `uplinks` that must have a value, and which."""
        both = (("connection_id", self.connection_id), ("f_port", self.f_port))
        return [(name, value) for name, value in both if value is not None]


class ExportReader:
    """A connection that runs one statement after the other, each a transaction of its own."""

    def __init__(self, cursor: Any, dialect: str) -> None:  # noqa: ANN401 - the driver's cursor
        self._cursor = cursor
        self._is_postgresql = dialect == "postgresql"
        self.moment = "?::timestamptz" if self._is_postgresql else "?"
        """The placeholder of a time."""

    def fetch(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Give the rows of a SELECT with `?` for each parameter."""
        if self._is_postgresql:
            statement = statement.replace("?", "%s")
        return self._cursor.execute(statement, parameters).fetchall()  # type: ignore[no-any-return]

    def time(self, column: str) -> str:
        """Give the expression of a column's time as text."""
        return _TIME.format(column) if self._is_postgresql else column

    def hex(self, column: str) -> str:
        """Give the expression of a column's bytes as lower-case hex."""
        return f"encode({column}, 'hex')" if self._is_postgresql else f"lower(hex({column}))"


@contextmanager
def open_reader(engine: Engine) -> Iterator[ExportReader]:
    """Give a reader, for one thread.

    Raises:
        StorageUnavailableError: the database is away or locked.
    """
    with driver_cursor(engine) as cursor:
        yield ExportReader(cursor, engine.dialect.name)


def marks(values: Sequence[object]) -> str:
    """Give `?, ?, …`: a placeholder for each value."""
    return ", ".join("?" * len(values))
