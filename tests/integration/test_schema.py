"""Upgrades on both databases: as a whole or not at all, once, never of what is not known, and never without a copy."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, select, text

from receiver.errors import SchemaError, StorageUnavailableError
from receiver.storage import schema
from receiver.storage.columns import metadata, sqlite_time
from receiver.storage.engine import bump_revision, get_revision, open_engine, read, write
from receiver.storage.tables import rejections, uplink_gaps

if TYPE_CHECKING:
    from pathlib import Path

NEWEST = max(path.name[:4] for path in (schema.migrations_directory() / "versions").glob("*.py"))

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"


def upgrade():
    {body}
"""


def with_next(directory: Path, body: str) -> Path:
    """Give a copy of the migrations with one more, whose `upgrade` is `body`."""
    migrations = directory / "migrations"
    shutil.copytree(schema.migrations_directory(), migrations, ignore=shutil.ignore_patterns("__pycache__"))
    (migrations / "versions" / "9999_next.py").write_text(NEXT.format(body=body, newest=NEWEST))
    return migrations


@pytest.fixture
def next_migrations(tmp_path):
    return with_next(tmp_path, 'op.add_column("revisions", sa.Column("note", sa.Text()))')


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path):
    path = tmp_path / "receiver.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


def test_the_migrated_schema_is_the_tables(engine):
    with read(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def constraint_names(engine: Engine) -> dict[str, set[str]]:
    found = inspect(engine)
    names = {}
    for table in found.get_table_names():
        if table == "alembic_version":
            continue
        each = [*found.get_foreign_keys(table), *found.get_unique_constraints(table), *found.get_indexes(table)]
        names[table] = {str(one["name"]) for one in [found.get_pk_constraint(table), *each]}
    return names


def ways_of_foreign_keys(engine: Engine) -> set[tuple[str, str, str]]:
    found = inspect(engine)
    return {
        (table, str(key["name"]), str(key["options"].get("ondelete")))
        for table in found.get_table_names()
        for key in found.get_foreign_keys(table)
    }


def test_the_migrated_constraints_have_the_names_of_the_tables(engine, empty_database_url):
    other = open_engine(empty_database_url.replace("receiver.db", "made.db"))
    with write(other) as connection:
        metadata.create_all(connection)

    assert constraint_names(engine) == constraint_names(other)
    assert ways_of_foreign_keys(engine) == ways_of_foreign_keys(other)
    other.dispose()


def index_definitions(engine: Engine) -> set[str]:
    query = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }[engine.dialect.name]
    with read(engine) as connection:
        return {sql for sql in connection.scalars(text(query)) if "alembic_version" not in sql}


def test_the_migrated_indexes_are_those_of_the_tables_with_their_conditions(engine, empty_database_url):
    other = open_engine(empty_database_url.replace("receiver.db", "made.db"))
    with write(other) as connection:
        metadata.create_all(connection)

    assert index_definitions(engine) == index_definitions(other)
    other.dispose()


def test_a_migrated_row_id_of_sqlite_is_the_row_id(sqlite_url):
    engine = open_engine(sqlite_url)
    with write(engine) as connection:
        connection.execute(text("INSERT INTO sessions (dev_eui, began_by, started_at) VALUES ('A', 'join', 'x')"))

    with read(engine) as connection:
        assert connection.execute(text("SELECT id = rowid FROM sessions")).scalar() == 1
    engine.dispose()


def test_an_empty_database_is_upgraded(empty_database_url, now):
    result = schema.upgrade(empty_database_url, now)

    assert (result.before, result.after, result.backup) == (None, NEWEST, None)


def test_an_upgraded_database_is_current(engine):
    assert schema.check(engine) == schema.SchemaStatus(NEWEST, NEWEST, "current")
    schema.require_current(engine)


def test_a_second_upgrade_does_nothing(database_url, now, tmp_path):
    before = sorted(tmp_path.iterdir())

    result = schema.upgrade(database_url, now)

    assert (result.before, result.after, result.backup) == (NEWEST, NEWEST, None)
    assert sorted(tmp_path.iterdir()) == before


def test_an_empty_database_is_told_from_an_older_one(empty_database_url):
    engine = open_engine(empty_database_url)

    assert schema.check(engine).state == "empty"
    with pytest.raises(SchemaError, match=r"no tables of the receiver yet.*run `receiver db upgrade`"):
        schema.require_current(engine)
    engine.dispose()


def test_every_migration_takes_up_the_data_of_the_one_before(empty_database_url, now, tmp_path):
    upgrade_to(empty_database_url, now, tmp_path, "0001")
    engine = open_engine(empty_database_url)
    values = {"at": now if engine.dialect.name == "postgresql" else sqlite_time(now), "bytes": b"kept"}
    with write(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO rejections (path_name, received_at, reason, detail, query, headers, body, size_bytes)"
                " VALUES ('field', :at, 'token-mismatch', '', '', '[]', :bytes, 4)"
            ),
            values,
        )

    result = schema.upgrade(empty_database_url, now)

    assert (result.before, result.after) == ("0001", NEWEST)
    with read(engine) as connection:
        row = connection.execute(select(rejections)).one()
        assert (bytes(row.body), row.received_at, row.replayed_at, row.replayed_report_id) == (b"kept", now, None, None)
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
    engine.dispose()


def upgrade_to(url, now, directory, revision):
    """Bring a database to an older schema: with a copy of the migrations that ends there."""
    migrations = directory / f"to-{revision}"
    shutil.copytree(schema.migrations_directory(), migrations, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (migrations / "versions").glob("*.py"):
        if path.name[:4] > revision:
            path.unlink()
    schema.upgrade(url, now, migrations)


def test_the_view_of_gaps_has_the_columns_that_are_asked_of_it(engine):
    assert [column["name"] for column in inspect(engine).get_columns("uplink_gaps")] == list(uplink_gaps.c.keys())


def test_a_check_makes_no_sqlite_file(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'receiver.db'}")

    schema.check(engine)

    assert list(tmp_path.iterdir()) == []


def test_a_check_leaves_the_tables_of_others_alone(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    engine = open_engine(f"sqlite:///{path}")

    schema.check(engine)
    engine.dispose()

    assert path.read_bytes() == before


def test_an_older_database_is_named_with_both_schemas(engine, next_migrations):
    assert schema.check(engine, next_migrations).state == "older"
    with pytest.raises(SchemaError, match=rf"has schema {NEWEST}, and this version needs 9999.*`receiver db upgrade`"):
        schema.require_current(engine, next_migrations)


def test_an_older_database_is_upgraded(database_url, now, next_migrations):
    result = schema.upgrade(database_url, now, next_migrations)

    assert (result.before, result.after) == (NEWEST, "9999")
    engine = open_engine(database_url)
    assert "note" in {column["name"] for column in inspect(engine).get_columns("revisions")}
    engine.dispose()


def test_the_copy_made_before_an_upgrade_opens_and_holds_the_old_data(sqlite_url, now, next_migrations):
    engine = open_engine(sqlite_url)
    with write(engine) as connection:  # the row still stands in the WAL, which a plain copy of the file would miss
        bump_revision(connection, "connections")

    backup = schema.upgrade(sqlite_url, now, next_migrations).backup

    assert backup.name == "receiver.db.before-9999-20261120T120000Z"
    old = open_engine(f"sqlite:///{backup}")
    schema.require_current(old)
    with read(old) as connection:
        assert get_revision(connection, "connections") == 1
    old.dispose()
    engine.dispose()


def test_the_copy_is_for_its_owner_only(sqlite_url, now, next_migrations):
    backup = schema.upgrade(sqlite_url, now, next_migrations).backup

    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_a_copy_that_cannot_be_written_stops_the_upgrade(sqlite_url, now, next_migrations, tmp_path):
    (tmp_path / "receiver.db.before-9999-20261120T120000Z").mkdir()

    with pytest.raises(StorageUnavailableError, match="the database was not changed"):
        schema.upgrade(sqlite_url, now, next_migrations)

    engine = open_engine(sqlite_url)
    assert schema.check(engine).state == "current"
    engine.dispose()


def test_a_postgresql_database_is_upgraded_without_a_copy(make_postgresql, postgresql_template, now, next_migrations):
    url = make_postgresql(postgresql_template)

    assert schema.upgrade(url, now, next_migrations).backup is None


def test_a_migration_that_fails_leaves_the_database_as_it_was(database_url, now, tmp_path):
    migrations = with_next(tmp_path, 'op.execute("CREATE TABLE half (x INTEGER)"); raise ZeroDivisionError')

    with pytest.raises(ZeroDivisionError):
        schema.upgrade(database_url, now, migrations)

    engine = open_engine(database_url)
    assert schema.check(engine).state == "current"
    assert not inspect(engine).has_table("half")
    engine.dispose()


def test_a_migration_may_build_a_sqlite_table_anew_without_losing_what_points_at_it(sqlite_url, now, tmp_path):
    engine = open_engine(sqlite_url)
    with write(engine) as connection:
        connection.execute(
            text("INSERT INTO connections VALUES (1, 'c', 'thingpark', '', 60, 'auto', 'wrapped', NULL, 'x');")
        )
        connection.execute(text("INSERT INTO tunnel_keys VALUES (1, 1, 'k1', x'00', 'x', NULL, NULL)"))
    body = """
    with op.batch_alter_table("connections", recreate="always") as batch:
        batch.add_column(sa.Column("note", sa.Text()))"""

    schema.upgrade(sqlite_url, now, with_next(tmp_path, body))

    with read(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM tunnel_keys")) == 1
    engine.dispose()


def test_a_migration_that_leaves_rows_pointing_nowhere_is_undone(sqlite_url, now, tmp_path):
    body = "op.execute(\"INSERT INTO tunnel_keys VALUES (1, 99, 'k1', x'00', 'x', NULL, NULL)\")"

    with pytest.raises(SchemaError, match=r"undone.*rows of tunnel_keys.*of connections"):
        schema.upgrade(sqlite_url, now, with_next(tmp_path, body))

    engine = open_engine(sqlite_url)
    assert schema.check(engine).state == "current"
    engine.dispose()


@pytest.mark.parametrize("act", [schema.upgrade, schema.prepare_schema])
def test_a_newer_database_is_refused(database_url, now, next_migrations, act):
    schema.upgrade(database_url, now, next_migrations)

    with pytest.raises(SchemaError, match=rf"schema 9999, which this version \(newest {NEWEST}\) does not know"):
        act(database_url, now)


@pytest.mark.parametrize("act", [schema.upgrade, schema.prepare_schema])
def test_tables_with_our_names_and_no_schema_number_are_refused(empty_database_url, now, act):
    engine = open_engine(empty_database_url)
    with write(engine) as connection:
        connection.execute(text("CREATE TABLE devices (x INTEGER)"))

    with pytest.raises(SchemaError, match="was not made by the receiver"):
        act(empty_database_url, now)
    engine.dispose()


def test_a_start_upgrades_an_empty_sqlite_database(tmp_path, now):
    result = schema.prepare_schema(f"sqlite:///{tmp_path / 'data' / 'receiver.db'}", now)

    assert (result.before, result.after) == (None, NEWEST)


def test_a_start_upgrades_an_older_sqlite_database_after_a_copy(sqlite_url, now, next_migrations):
    result = schema.prepare_schema(sqlite_url, now, next_migrations)

    assert result.after == "9999"
    assert result.backup.exists()


def test_a_start_leaves_a_current_database_alone(database_url, now):
    assert schema.prepare_schema(database_url, now) == schema.UpgradeResult(NEWEST, NEWEST, None)


def test_a_start_brings_a_sqlite_copy_back_to_wal_mode(sqlite_url, now, tmp_path):
    path = tmp_path / "restored.db"
    with sqlite3.connect(tmp_path / "receiver.db") as source:
        source.execute(f"VACUUM INTO '{path}'")
    source.close()

    schema.prepare_schema(f"sqlite:///{path}", now)

    engine = open_engine(f"sqlite:///{path}")
    with read(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


def test_a_start_refuses_an_empty_postgresql_database_and_names_the_command(make_postgresql, now):
    url = make_postgresql("template0")

    with pytest.raises(SchemaError, match="receiver db upgrade"):
        schema.prepare_schema(url, now)

    engine = open_engine(url)
    assert schema.check(engine).state == "empty"
    engine.dispose()


def test_a_start_refuses_an_older_postgresql_database(make_postgresql, postgresql_template, now, next_migrations):
    with pytest.raises(SchemaError, match="receiver db upgrade"):
        schema.prepare_schema(make_postgresql(postgresql_template), now, next_migrations)


UPGRADE = """
import sys
from typing import TYPE_CHECKING
from datetime import UTC, datetime
from receiver.storage import schema
print("ready", flush=True)
sys.stdin.readline()
print(schema.upgrade(sys.argv[1], datetime.now(UTC)).before)
"""


def test_processes_that_upgrade_at_once_do_it_once(empty_database_url):
    command = [sys.executable, "-c", UPGRADE, empty_database_url]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        process.stdout.readline()

    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()

    assert sorted(process.communicate()[0].strip() for process in processes) == [NEWEST, NEWEST, "None"]
    engine = open_engine(empty_database_url)
    schema.require_current(engine)
    engine.dispose()


def test_the_names_of_the_migrations_are_their_numbers_in_order():
    script = ScriptDirectory(str(schema.migrations_directory()))
    in_order = [revision.revision for revision in script.walk_revisions()][::-1]

    assert sorted(path.name[:4] for path in (schema.migrations_directory() / "versions").glob("*.py")) == in_order
