"""Opens the database and gives transactions: what `write` has left without an error is on the disk.

SQLite and PostgreSQL behave alike here: a read sees one snapshot, a write is one transaction, and a database
that is away, locked or full is always a `StorageUnavailableError`. Engines may be used from several threads.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url, select
from sqlalchemy.dialects import postgresql, sqlite

from receiver.errors import SettingsError, StorageUnavailableError
from receiver.storage.tables import revisions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import PoolProxiedConnection, Table
    from sqlalchemy.engine.interfaces import Dialect

BUSY_TIMEOUT_S = 10  # far longer than any commit of ours, shorter than the network's wait for an answer
CONNECT_TIMEOUT_S = 10
POOL_TIMEOUT_S = 10

_TCP = {"tcp_user_timeout": 10_000, "keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}
"""Without these a statement on a connection that was cut waits for the kernel to give up: a quarter of an hour on
Linux, two hours if nothing was under way. The first is in ms. They do not act on Unix sockets, which cannot be cut."""

_READ_ONLY_SQL_TRANSACTION = "25006"  # a PostgreSQL standby answers so after a failover; PostgreSQL appendix A
_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def open_engine(url: str) -> Engine:
    """Give the engine for `url`: `sqlite:///path` or `postgresql+psycopg://…`. Nothing is connected yet.

    A SQLite file is made at the first connection, readable by its owner only and in WAL mode; each commit is
    fsynced (`synchronous=FULL`), foreign keys are held, and a lock is waited for during 10 s. PostgreSQL
    connections speak UTC and are tried before each use. Parameters of statements stay out of error messages.

    Raises:
        SettingsError: another kind of database, or SQLite without a file.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise SettingsError("RECEIVER_DATABASE_URL is not a database URL.") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _open_sqlite(parsed)
    if backend == "postgresql":
        return _open_postgresql(parsed)
    raise SettingsError(f"RECEIVER_DATABASE_URL names {backend}: only sqlite and postgresql are known here.")


def sqlite_path(engine: Engine) -> Path | None:
    """Give the file of a SQLite database, there or not yet; None for PostgreSQL."""
    return Path(str(engine.url.database)) if engine.dialect.name == "sqlite" else None


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """Give a connection inside one transaction, committed at the end and rolled back on any exception.

    On SQLite it begins IMMEDIATE: it waits for its turn at the start, and cannot fail for a lock later.

    Raises:
        StorageUnavailableError: the database is away, locked, full or read-only.
    """
    with translated(), engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection = connection.execution_options(sqlite_begin="BEGIN IMMEDIATE")  # noqa: PLW2901 - itself
        with connection.begin():
            yield connection


@contextmanager
def driver_cursor(engine: Engine) -> Iterator[Any]:
    """Give a cursor of the database's driver outside any transaction: each statement commits when it returns.

    For the one path where SQLAlchemy's part of a transaction costs as much as the statement.

    Raises:
        StorageUnavailableError: the database is away, locked, full or read-only.
        DBAPIError: another fault of the driver, as SQLAlchemy would have raised it, without the parameters.
    """
    driver = engine.dialect.loaded_dbapi
    with translated():
        connection = _raw_connection(engine)
        is_postgresql = engine.dialect.name == "postgresql"
        try:
            if is_postgresql:  # SQLite's connections commit by themselves unless told to begin
                connection.driver_connection.autocommit = True  # type: ignore[union-attr]
            cursor = connection.cursor()
            try:
                yield cursor
            except KeyboardInterrupt:  # amid a statement: it can be neither reset nor used again
                connection.invalidate()
                raise
            finally:
                if connection.is_valid:
                    cursor.close()
                if is_postgresql and connection.is_valid:
                    connection.driver_connection.autocommit = False  # type: ignore[union-attr]
        except driver.Error as error:
            gone = engine.dialect.is_disconnect(error, connection.driver_connection, None)
            if gone:
                connection.invalidate(error)
            raise exc.DBAPIError.instance(
                "", None, error, driver.Error, hide_parameters=True, connection_invalidated=gone, dialect=engine.dialect
            ) from error
        finally:
            connection.close()


def open_detached(engine: Engine) -> Any:  # noqa: ANN401 - the driver's connection, which SQLAlchemy hides
    """Give a connection of the driver that no pool knows of, set up as the pool's; the caller closes it.

    Raises:
        StorageUnavailableError: the database is away.
        DBAPIError: another fault of the driver, without the parameters.
    """
    with translated():
        connection = _raw_connection(engine)
        driver_connection = connection.driver_connection
        connection.detach()
        return driver_connection


def _raw_connection(engine: Engine) -> PoolProxiedConnection:
    """Give a connection of the pool, or raise as `engine.connect()` would: the pool gives the driver's own errors."""
    driver = engine.dialect.loaded_dbapi
    try:
        return engine.raw_connection()
    except driver.Error as error:
        raise exc.DBAPIError.instance(
            "", None, error, driver.Error, hide_parameters=True, dialect=engine.dialect
        ) from error


@contextmanager
def cursor_within(connection: Connection) -> Iterator[Any]:
    """Give a cursor of the database's driver within the transaction of `connection`.

    Raises:
        DBAPIError: a fault of the driver, as SQLAlchemy would have raised it, without the parameters.
    """
    driver = connection.dialect.loaded_dbapi
    cursor = connection.connection.cursor()
    try:
        yield cursor
    except driver.Error as error:
        raise exc.DBAPIError.instance(
            "", None, error, driver.Error, hide_parameters=True, dialect=connection.dialect
        ) from error
    finally:
        cursor.close()


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """Give a connection inside one read transaction: all its statements see the same snapshot.

    Whatever is written in it is refused (PostgreSQL) or rolled back (SQLite).

    Raises:
        StorageUnavailableError: the database is away or locked.
    """
    with translated(), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(**_SNAPSHOT)  # noqa: PLW2901 - itself
        yield connection


def ping(engine: Engine) -> None:
    """Return if the database answers.

    Raises:
        StorageUnavailableError: it does not.
    """
    with read(engine) as connection:
        connection.execute(select(1))


def ensure_wal(engine: Engine) -> None:
    """Leave a SQLite file in WAL mode, which a copy made by `VACUUM INTO` or another program may have lost.

    The mode is a property of the file, so this is done once at a start and not for each connection.

    Raises:
        StorageUnavailableError: another process uses the file outside WAL mode.
    """
    with translated(), engine.connect() as connection:
        plain = connection.execution_options(sqlite_begin=None)  # the mode cannot change in a transaction
        plain.exec_driver_sql("PRAGMA journal_mode=WAL")


def dialect_insert(table: Table, connection: Connection | Engine) -> postgresql.Insert | sqlite.Insert:
    """Give an INSERT into `table` that has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def bump_revision(connection: Connection, name: str) -> None:
    """Add one to the revision `name`, so that other processes see that what they hold in memory is old."""
    insert = dialect_insert(revisions, connection).values(name=name, value=1)
    connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"value": revisions.c.value + 1}))


def get_revision(connection: Connection, name: str) -> int:
    """Give the revision `name`; 0 if it was never bumped."""
    return connection.scalar(select(revisions.c.value).where(revisions.c.name == name)) or 0


@contextmanager
def translated() -> Iterator[None]:
    """Let what is done with a connection in the block raise StorageUnavailableError where the database is away."""
    try:
        yield
    except exc.TimeoutError as error:
        raise StorageUnavailableError(
            f"All connections to the database were busy for {POOL_TIMEOUT_S} s; try again."
        ) from error
    except exc.DBAPIError as error:
        if not _is_unavailable(error):
            raise
        reason = (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0].rstrip(".")
        raise StorageUnavailableError(f"The database did not take it: {reason}.") from error


def _is_unavailable(error: exc.DBAPIError) -> bool:
    """Tell a database that is away, locked, full, damaged or read-only from a statement that is wrong."""
    if error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError):
        return True
    damaged = type(error) is exc.DatabaseError  # SQLite: "file is not a database", "disk image is malformed"
    return damaged or getattr(error.orig, "sqlstate", None) == _READ_ONLY_SQL_TRANSACTION


def _open_sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise SettingsError(
            "RECEIVER_DATABASE_URL must name a file, as in sqlite:////var/lib/receiver/receiver.db:"
            " what is acknowledged must outlive the process."
        )
    engine = create_engine(
        url,
        connect_args={
            "timeout": BUSY_TIMEOUT_S,
            "check_same_thread": False,
        },  # the pool hands them to any thread
        pool_timeout=POOL_TIMEOUT_S,
        hide_parameters=True,
    )
    event.listen(engine, "do_connect", _make_sqlite_file)
    event.listen(engine, "connect", _prepare_sqlite_connection)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_postgresql(url: URL) -> Engine:
    options = f"{url.query.get('options', '')} -c timezone=UTC".strip()
    url = url.set(drivername="postgresql+psycopg").difference_update_query(["options"])
    connect_args: dict[str, Any] = {"options": options}
    ours = {"connect_timeout": CONNECT_TIMEOUT_S, **_TCP}
    connect_args |= {name: value for name, value in ours.items() if name not in url.query}
    return create_engine(
        url, connect_args=connect_args, pool_pre_ping=True, pool_timeout=POOL_TIMEOUT_S, hide_parameters=True
    )


def _make_sqlite_file(_dialect: Dialect, _record: Any, args: list[Any], _parameters: dict[str, Any]) -> None:  # noqa: ANN401 - SQLAlchemy's signature
    make_sqlite_file(Path(args[0]))


def make_sqlite_file(path: Path) -> None:
    """Make an empty SQLite file in WAL mode, readable by its owner only, unless there is one.

    It is made whole or not at all, so that nobody ever sees it outside WAL mode or open to all.

    Raises:
        StorageUnavailableError: it cannot be made.
    """
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            with closing(sqlite3.connect(draft)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            os.link(draft, path)
            _sync_directory(path.parent)
        except FileExistsError:  # another process was first
            pass
        finally:
            draft.unlink()
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageUnavailableError(f"The database {path} cannot be made: {reason}.") from error


def _sync_directory(path: Path) -> None:
    """Bring a new name to the disk: what is acknowledged must not be in a file that a power cut unmakes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prepare_sqlite_connection(connection: sqlite3.Connection, _record: object) -> None:
    # Left alone, the driver begins transactions by itself, late and never IMMEDIATE; `_begin_sqlite` does it.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")  # in WAL mode, NORMAL would lose commits at a power cut
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get("sqlite_begin", "BEGIN")
    if begin is not None:
        connection.exec_driver_sql(begin)
