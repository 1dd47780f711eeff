"""The spool: where pushes are committed while the database does not take them, until they are drained into it.

A SQLite file of its own, `synchronous=FULL`, readable by its owner only. What `append` has returned is on the disk,
in order of arrival, and leaves it only by `remove`, after the database's commit. Several processes share the file.
It is bounded in bytes and in the age of its oldest report, and when it is full it takes nothing more: what was
acknowledged is never thrown away to make room.
"""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from receiver.errors import StorageUnavailableError
from receiver.storage.columns import sqlite_time
from receiver.storage.engine import make_sqlite_file
from receiver.storage.reports import NewReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DEFAULT_MAX_BYTES = 1024 * 1024 * 1024
"""About half a million pushes of 1.4 kB: a day at six a second."""

DEFAULT_MAX_AGE = timedelta(days=7)
"""A week: a weekend, and the days that it may take to restore a database."""

ROW_BYTES = 400
"""What a report counts beside its body and query: its other columns, and SQLite's part of a row, rounded up."""

STEP_MAX_BYTES = 8 * 1024 * 1024
"""The most that one `first` brings into memory, but for its first report."""

BUSY_TIMEOUT_S = 2.0
"""Other servers of this machine commit to the same file, each within milliseconds."""

SHRINK_ABOVE_BYTES = 8 * 1024 * 1024
"""An empty spool whose file is larger gives the disk back."""

_VERSION = 1
_COLUMNS = ", ".join(NewReport._fields)
_SCHEMA = f"""
CREATE TABLE spooled (id INTEGER PRIMARY KEY AUTOINCREMENT, size_bytes INTEGER NOT NULL, {_COLUMNS});
CREATE TABLE set_aside (id INTEGER PRIMARY KEY, size_bytes INTEGER NOT NULL, {_COLUMNS},
    reason TEXT NOT NULL, set_aside_at TEXT NOT NULL);
CREATE TABLE state (spool_id TEXT NOT NULL, reports INTEGER NOT NULL, set_aside INTEGER NOT NULL,
    bytes INTEGER NOT NULL, max_bytes INTEGER NOT NULL, max_age_s REAL NOT NULL);
"""
_INSERT = f"INSERT INTO spooled (size_bytes, {_COLUMNS}) VALUES ({', '.join('?' * (len(NewReport._fields) + 1))})"  # noqa: S608
_FIRST = f"SELECT id, size_bytes, {_COLUMNS} FROM spooled ORDER BY id LIMIT ?"  # noqa: S608 - constants only
_OLDEST = "SELECT received_at FROM spooled ORDER BY id LIMIT 1"


@dataclass(frozen=True, slots=True)
class SpoolState:
    """How a spool is: reports that wait to be drained, those set aside, the bytes of both, and its bounds."""

    rows: int
    bytes: int
    oldest_at: datetime | None
    max_bytes: int
    max_age_s: float
    set_aside: int = 0
    set_aside_reason: str | None = None
    """Why the last one was set aside."""

    def oldest_s(self, now: datetime) -> float:
        """Give the age of the oldest report that waits, in seconds; 0 if none does."""
        return 0.0 if self.oldest_at is None else max(0.0, (now - self.oldest_at).total_seconds())

    def is_full(self, now: datetime) -> bool:
        """Say whether it takes nothing more, for its bytes or its age. What the disk has left is not asked."""
        return self.bytes >= self.max_bytes or self.oldest_s(now) > self.max_age_s


class SpooledReport(NamedTuple):
    """A report with its place in the order of arrival."""

    id: int
    report: NewReport


class Spool:
    """The spool in the file at `path`, made with the first use of it. One thread uses an object at a time.

    Every method raises StorageUnavailableError if the file cannot be read or written; nothing was changed then.
    """

    def __init__(
        self, path: Path, max_bytes: int = DEFAULT_MAX_BYTES, max_age_s: float = DEFAULT_MAX_AGE.total_seconds()
    ) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._opened: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def open(self) -> int:
        """Make the file if need be; give the place of its last report, 0 if it is empty."""
        with self._use() as connection:
            row = connection.execute("SELECT max(id) FROM spooled").fetchone()
        return row[0] or 0

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._opened is not None:
            with suppress(sqlite3.Error):
                self._opened.close()
        self._opened = None

    def get_id(self) -> str:
        """Give the name of this spool, which no other one has."""
        with self._use() as connection:
            return str(connection.execute("SELECT spool_id FROM state").fetchone()[0])

    def append(self, reports: Sequence[NewReport]) -> tuple[int, int]:
        """Commit as many of the reports, from the first on, as there is room for; give how many and the last's place.

        Raises:
            StorageUnavailableError: there is room for none, the oldest one is too old, or the disk does not take them.
        """
        with self._write() as connection:
            held, max_bytes, max_age_s = connection.execute("SELECT bytes, max_bytes, max_age_s FROM state").fetchone()
            self._check_age(connection, reports[-1].received_at, max_age_s)
            rows, size_bytes = [], 0
            for report in reports:
                row_bytes = len(report.body) + len(report.query) + ROW_BYTES
                if held + size_bytes + row_bytes > max_bytes:
                    break
                size_bytes += row_bytes
                received_at, sent_at = sqlite_time(report.received_at), sqlite_time(report.sent_at)
                rows.append((row_bytes, *report._replace(received_at=received_at, sent_at=sent_at)))  # type: ignore[arg-type]
            if not rows:
                raise StorageUnavailableError(
                    f"The spool is full: it holds {held} of {max_bytes} bytes (RECEIVER_SPOOL_MAX_BYTES)."
                )
            connection.executemany(_INSERT, rows)
            connection.execute("UPDATE state SET reports = reports + ?, bytes = bytes + ?", (len(rows), size_bytes))
            last_id = connection.execute("SELECT max(id) FROM spooled").fetchone()[0]
        return len(rows), last_id

    def first(self, limit: int) -> list[SpooledReport]:
        """Give up to `limit` reports, the first to have come first, of up to 8 MiB together."""
        found: list[SpooledReport] = []
        with self._use() as connection, closing(connection.execute(_FIRST, (limit,))) as cursor:
            size_bytes = 0
            for row_id, row_bytes, *values in cursor:
                size_bytes += row_bytes
                if found and size_bytes > STEP_MAX_BYTES:
                    break
                report = NewReport(*values)
                times = {
                    name: datetime.fromisoformat(str(getattr(report, name))) for name in ("received_at", "sent_at")
                }
                found.append(SpooledReport(row_id, report._replace(**times)))  # type: ignore[arg-type]
        return found

    def first_id(self) -> int | None:
        """Give the place of the first report, None if it is empty."""
        with self._use() as connection:
            row = connection.execute("SELECT min(id) FROM spooled").fetchone()
        return None if row[0] is None else int(row[0])

    def remove(self, last_id: int) -> None:
        """Remove all reports up to that place. They must be committed elsewhere."""
        with self._write() as connection:
            rows, size_bytes = connection.execute(
                "SELECT count(*), coalesce(sum(size_bytes), 0) FROM spooled WHERE id <= ?", (last_id,)
            ).fetchone()
            connection.execute("DELETE FROM spooled WHERE id <= ?", (last_id,))
            connection.execute("UPDATE state SET reports = reports - ?, bytes = bytes - ?", (rows, size_bytes))

    def set_aside(self, report_id: int, reason: str, at: datetime) -> None:
        """Keep a report, with the reason, where it is in nobody's way."""
        with self._write() as connection:
            moved = connection.execute(
                f"INSERT INTO set_aside SELECT id, size_bytes, {_COLUMNS}, ?, ? FROM spooled WHERE id = ?",  # noqa: S608
                (reason, sqlite_time(at), report_id),
            ).rowcount
            connection.execute("DELETE FROM spooled WHERE id = ?", (report_id,))
            connection.execute("UPDATE state SET reports = reports - ?, set_aside = set_aside + ?", (moved, moved))

    def bring_back(self) -> int:
        """Put what was set aside behind all that wait, to be tried once more; say how many they were."""
        with self._write() as connection:
            moved = connection.execute(
                f"INSERT INTO spooled (size_bytes, {_COLUMNS})"  # noqa: S608 - constants only
                f" SELECT size_bytes, {_COLUMNS} FROM set_aside ORDER BY id"
            ).rowcount
            connection.execute("DELETE FROM set_aside")
            connection.execute("UPDATE state SET reports = reports + ?, set_aside = set_aside - ?", (moved, moved))
        return moved

    def shrink(self) -> None:
        """Give the disk back what an empty spool's file holds of it."""
        if self.path.stat().st_size <= SHRINK_ABOVE_BYTES:
            return
        with self._use() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @staticmethod
    def _check_age(connection: sqlite3.Connection, now: datetime, max_age_s: float) -> None:
        oldest = connection.execute(_OLDEST).fetchone()
        if oldest is not None and (now - datetime.fromisoformat(oldest[0])).total_seconds() > max_age_s:
            raise StorageUnavailableError(
                f"The spool's oldest report came at {oldest[0]}, more than {max_age_s:.0f} s ago"
                " (RECEIVER_SPOOL_MAX_AGE_S): it takes no more until the database has taken what it holds."
            )

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        """Give the open file; after a fault, or when another file stands in its place, it is opened anew."""
        try:
            if self._opened is None or self._file != _identity(self.path):
                self._reopen()
            assert self._opened is not None  # noqa: S101 - `_reopen` has set it
            yield self._opened
        except (sqlite3.Error, OSError) as exc:
            self.close()
            reason = getattr(exc, "strerror", None) or str(exc)
            raise StorageUnavailableError(f"The spool {self.path} cannot be used: {reason}.") from exc

    def _reopen(self) -> None:
        self.close()
        make_sqlite_file(self.path)
        connection = sqlite3.connect(self.path, BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._opened, self._file = connection, _identity(self.path)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StorageUnavailableError(
                f"The spool {self.path} was made by a newer version: start that one until it is drained."
            )
        if version == 0:
            for statement in _SCHEMA.strip().rstrip(";").split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO state VALUES (?, 0, 0, 0, 0, 0)", (secrets.token_hex(8),))
            connection.execute(f"PRAGMA user_version={_VERSION}")
        bounds = self._max_bytes, self._max_age_s
        if connection.execute("SELECT max_bytes, max_age_s FROM state").fetchone() != bounds:
            connection.execute("UPDATE state SET max_bytes = ?, max_age_s = ?", bounds)
        connection.execute("COMMIT")


def read_spool_state(path: Path) -> SpoolState:
    """Give the state of the spool in that file, also while others use it. One that is not there yet is empty.

    Raises:
        StorageUnavailableError: the file cannot be read.
    """
    if not path.exists():
        return SpoolState(0, 0, None, DEFAULT_MAX_BYTES, DEFAULT_MAX_AGE.total_seconds())
    try:
        address = f"file:{quote(str(path))}?mode=ro"
        with closing(sqlite3.connect(address, BUSY_TIMEOUT_S, isolation_level=None, uri=True)) as connection:
            connection.execute("BEGIN")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # another process makes it right now
                return SpoolState(0, 0, None, DEFAULT_MAX_BYTES, DEFAULT_MAX_AGE.total_seconds())
            rows, set_aside, size_bytes, max_bytes, max_age_s = connection.execute(
                "SELECT reports, set_aside, bytes, max_bytes, max_age_s FROM state"
            ).fetchone()
            oldest = connection.execute(_OLDEST).fetchone()
            reason = connection.execute("SELECT reason FROM set_aside ORDER BY id DESC LIMIT 1").fetchone()
    except sqlite3.Error as exc:
        raise StorageUnavailableError(f"The spool {path} cannot be read: {exc}.") from exc
    oldest_at = datetime.fromisoformat(oldest[0]).astimezone(UTC) if oldest else None
    return SpoolState(rows, size_bytes, oldest_at, max_bytes, max_age_s, set_aside, reason[0] if reason else None)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
