"""Brings a database to the newest schema, and says in one sentence what to do where it may not.

An upgrade is one transaction: it happens as a whole or not at all, and only once however many processes
ask for it. A SQLite database that holds data is copied first.

Alembic is loaded only where there is something to upgrade: its 10 MB would stay in every server process.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import event, inspect, text

from receiver.errors import SchemaError, StorageUnavailableError
from receiver.storage import alarm_tables as _alarm_tables  # noqa: F401
from receiver.storage import device_run_tables as _device_run_tables  # noqa: F401
from receiver.storage import downlink_tables as _downlink_tables  # noqa: F401 - it adds its tables to the metadata, as others do
from receiver.storage import engine as engines
from receiver.storage import event_tables as _event_tables  # noqa: F401
from receiver.storage import forwarder_tables as _forwarder_tables  # noqa: F401
from receiver.storage import platform_tables as _platform_tables  # noqa: F401
from receiver.storage import provisioning_tables as _provisioning_tables  # noqa: F401
from receiver.storage import tables as _tables  # noqa: F401
from receiver.storage import telemetry_tables as _telemetry_tables  # noqa: F401
from receiver.storage import things_tables as _things_tables  # noqa: F401
from receiver.storage.columns import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

State = Literal["current", "empty", "older", "unknown"]

_UPGRADE_WAIT_S = 600  # for another process's upgrade, which copies the whole database first
_ADVISORY_LOCK = 0x7265636569766572  # "receiver" in ASCII: one number for all, unlikely elsewhere


@dataclass(frozen=True)
class SchemaStatus:
    """Where a database stands: its revision (None without one), this version's newest, and the judgement."""

    current: str | None
    newest: str
    state: State


@dataclass(frozen=True)
class UpgradeResult:
    """What an upgrade did: the revision before (None: empty) and after, and the copy that was made first."""

    before: str | None
    after: str
    backup: Path | None


def migrations_directory() -> Path:
    """Give the directory of the migrations: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def check(engine: Engine, migrations: Path | None = None) -> SchemaStatus:
    """Judge the schema of the database. Changes nothing; a SQLite file that is not there is `empty`.

    Raises:
        StorageUnavailableError: the database does not answer.
    """
    revisions = _revisions(migrations)
    path = engines.sqlite_path(engine)
    if path is not None and not path.exists():
        return SchemaStatus(None, revisions[-1], "empty")
    with engines.read(engine) as connection:
        return _judge(connection, revisions)


def require_current(engine: Engine, migrations: Path | None = None) -> None:
    """Return if the schema is the one this version works with.

    Raises:
        SchemaError: it is not; the sentence says what to do.
        StorageUnavailableError: the database does not answer.
    """
    _refuse_all_but_current(check(engine, migrations))


def explain(status: SchemaStatus) -> str | None:
    """Give the sentence that says what is wrong with this schema and what to do; None if it is current."""
    match status.state:
        case "current":
            return None
        case "empty":
            return (
                f"The database has no tables of the receiver yet (schema {status.newest} is needed):"
                " run `receiver db upgrade`."
            )
        case "older":
            return (
                f"The database has schema {status.current}, and this version needs {status.newest}:"
                " make a backup, then run `receiver db upgrade`."
            )
        case "unknown" if status.current is None:
            return (
                "The database holds tables with the receiver's names but no schema number: it was not made by"
                " the receiver. Give an empty database with RECEIVER_DATABASE_URL or RECEIVER_DATA_DIR."
            )
        case "unknown":
            return (
                f"The database has schema {status.current}, which this version (newest {status.newest}) does"
                " not know: a newer version wrote it. Install that version, or restore the backup."
            )


def prepare_schema(url: str, now: datetime, migrations: Path | None = None) -> UpgradeResult:
    """Make the database ready for a start: SQLite is upgraded, PostgreSQL must be current already.

    PostgreSQL is left to its operator, because processes of the older version may still be running on it.

    Raises:
        SchemaError: the schema is unknown or newer, or PostgreSQL is empty or older.
        StorageUnavailableError: the database does not answer.
    """
    engine = engines.open_engine(url)
    try:
        status = check(engine, migrations)
        if engines.sqlite_path(engine) is None:
            _refuse_all_but_current(status)
        if status.state != "current":
            return upgrade(url, now, migrations)
        if engines.sqlite_path(engine) is not None:
            engines.ensure_wal(engine)
        return UpgradeResult(status.current, status.newest, None)
    finally:
        engine.dispose()


def upgrade(url: str, now: datetime, migrations: Path | None = None) -> UpgradeResult:
    """Bring the database to the newest schema. A SQLite database that is older is copied first.

    The copy stands beside it as `<file>.before-<new schema>-<UTC time of now>`. A second process that asks at
    the same time waits, and finds nothing left to do.

    Raises:
        SchemaError: the schema is unknown or newer; nothing was changed.
        StorageUnavailableError: the database or its copy cannot be written; nothing was changed.
    """
    engine = engines.open_engine(url)
    if engines.sqlite_path(engine) is not None:
        event.listen(engine, "connect", _prepare_sqlite_upgrade)
    try:
        _refuse_unknown(check(engine, migrations))
        if engines.sqlite_path(engine) is not None:
            engines.ensure_wal(engine)
        with engines.write(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _ADVISORY_LOCK})
            return _upgrade_in_transaction(connection, migrations, now)
    finally:
        engine.dispose()


def _upgrade_in_transaction(connection: Connection, migrations: Path | None, now: datetime) -> UpgradeResult:
    from alembic.command import upgrade as run_migrations
    from alembic.config import Config

    # Judged again: another process may have upgraded while this one waited.
    status = _judge(connection, _revisions(migrations))
    _refuse_unknown(status)
    if status.state == "current":
        return UpgradeResult(status.current, status.newest, None)
    path = engines.sqlite_path(connection.engine)
    backup = _back_up(path, status.newest, now) if path is not None and status.state == "older" else None
    config = Config()
    config.set_main_option("script_location", str(migrations or migrations_directory()).replace("%", "%%"))
    config.attributes["connection"] = connection
    run_migrations(config, "head")
    if path is not None:
        _check_foreign_keys(connection)
    return UpgradeResult(status.current, status.newest, backup)


def _refuse_all_but_current(status: SchemaStatus) -> None:
    problem = explain(status)
    if problem is not None:
        raise SchemaError(problem)


def _refuse_unknown(status: SchemaStatus) -> None:
    if status.state == "unknown":
        raise SchemaError(explain(status))


def _revisions(migrations: Path | None) -> list[str]:
    """Give all schema numbers, oldest first: they stand at the beginning of the migrations' file names."""
    directory = migrations or migrations_directory()
    found = sorted(path.name[:4] for path in (directory / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))
    if not found:
        raise SchemaError(f"There are no migrations in {directory}: the receiver is not installed completely.")
    return found


def _judge(connection: Connection, revisions: list[str]) -> SchemaStatus:
    newest = revisions[-1]
    tables = set(inspect(connection).get_table_names())
    numbered = "alembic_version" in tables
    heads = sorted(connection.scalars(text("SELECT version_num FROM alembic_version"))) if numbered else []
    if not heads:
        return SchemaStatus(None, newest, "unknown" if tables & set(metadata.tables) else "empty")
    current = ", ".join(heads)
    if current not in revisions:
        return SchemaStatus(current, newest, "unknown")
    return SchemaStatus(current, newest, "current" if current == newest else "older")


def _prepare_sqlite_upgrade(connection: sqlite3.Connection, _record: object) -> None:
    # A migration may build a table anew; with foreign keys held, dropping the old one empties others.
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute(f"PRAGMA busy_timeout={_UPGRADE_WAIT_S * 1000}")


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise SchemaError(
            f"The upgrade was undone: it would have left rows of {broken[0]} that point at missing rows of"
            f" {broken[2]}. This is a fault of the migration; the database is as it was."
        )


def _back_up(path: Path, newest: str, now: datetime) -> Path:
    """Copy the committed state of the database at `path`; the copy gets its name only once it is whole."""
    backup = path.with_name(f"{path.name}.before-{newest}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    draft = backup.with_name(f"{backup.name}.partial")
    try:
        draft.unlink(missing_ok=True)  # of an attempt that was killed; the upgrade's lock keeps others away
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(draft)) as target:
            source.backup(target)
        draft.rename(backup)
    except (OSError, sqlite3.Error) as error:
        draft.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageUnavailableError(
            f"The copy {backup} that is made before an upgrade cannot be written ({reason});"
            " the database was not changed."
        ) from error
    return backup
