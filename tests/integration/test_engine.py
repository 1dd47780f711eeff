"""Transactions on both databases, and what happens when a database is away, locked or full."""

from __future__ import annotations

import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, exc, func, insert, select, text

from receiver.errors import SettingsError, StorageUnavailableError
from receiver.storage import engine as engines
from receiver.storage.engine import bump_revision, dialect_insert, get_revision, open_engine, read, write
from receiver.storage.tables import connections, revisions, tunnel_keys

ABSENT_POSTGRESQL = "postgresql+psycopg://receiver:hush@127.0.0.1:1/receiver"  # port 1: nobody listens there


@pytest.fixture
def file_engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'receiver.db'}")
    yield engine
    engine.dispose()


def count(engine: Engine) -> int:
    with read(engine) as connection:
        return connection.scalar(select(func.count()).select_from(revisions))


def test_a_write_is_seen_by_the_next_read(engine):
    with write(engine) as connection:
        connection.execute(insert(revisions).values(name="a", value=1))

    assert count(engine) == 1


def test_an_exception_leaves_nothing_of_a_write(engine):
    with suppress(ZeroDivisionError), write(engine) as connection:
        connection.execute(insert(revisions).values(name="a", value=1))
        _ = 1 / 0

    assert count(engine) == 0


def test_a_read_keeps_nothing_that_was_written_in_it(engine):
    with suppress(StorageUnavailableError), read(engine) as connection:  # PostgreSQL says that it is read-only
        connection.execute(insert(revisions).values(name="a", value=1))

    assert count(engine) == 0


def test_a_read_sees_one_snapshot_while_another_writes(engine):
    with read(engine) as connection:
        before = get_revision(connection, "connections")
        with write(engine) as other:
            bump_revision(other, "connections")
        after = get_revision(connection, "connections")

    assert (before, after) == (0, 0)


def test_a_revision_grows_by_one_with_each_bump(engine):
    with write(engine) as connection:
        bump_revision(connection, "connections")
        bump_revision(connection, "connections")
        bump_revision(connection, "others")

    with read(engine) as connection:
        assert get_revision(connection, "connections") == 2


def test_bumps_from_many_threads_are_all_counted(engine):
    def bump(_: int) -> None:
        with write(engine) as connection:
            bump_revision(connection, "connections")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bump, range(40)))

    with read(engine) as connection:
        assert get_revision(connection, "connections") == 40


def test_an_insert_of_the_dialect_can_leave_out_what_is_there(engine):
    with write(engine) as connection:
        for _ in range(2):
            statement = dialect_insert(revisions, engine).values(name="a", value=7)
            connection.execute(statement.on_conflict_do_nothing())

    assert count(engine) == 1


def test_a_row_that_points_nowhere_is_refused(engine, now):
    with pytest.raises(exc.IntegrityError), write(engine) as connection:
        connection.execute(insert(tunnel_keys).values(connection_id=99, key_id="k1", sealed_key=b"x", created_at=now))


def test_a_wrong_statement_is_our_mistake_and_not_an_absent_database(engine):
    with pytest.raises(exc.IntegrityError), write(engine) as connection:
        connection.execute(insert(revisions).values(name=None, value=1))


def test_values_of_a_statement_stay_out_of_its_error(engine, now):
    with pytest.raises(exc.IntegrityError) as caught, write(engine) as connection:
        connection.execute(insert(tunnel_keys).values(connection_id=1, sealed_key=b"hush", created_at=now))

    assert "[SQL parameters hidden" in str(caught.value)


def test_a_time_is_read_back_as_it_was_written(engine, now):
    row = {"name": "c", "platform": "thingpark", "as_id": "", "max_deviation_s": 60, "payloads": "auto"}
    with write(engine) as connection:
        connection.execute(insert(connections).values(**row, app_s_keys="wrapped", created_at=now))

    with read(engine) as connection:
        assert connection.scalar(select(connections.c.created_at)) == now


def test_an_absent_postgresql_is_storage_that_is_unavailable():
    engine = open_engine(ABSENT_POSTGRESQL)

    with pytest.raises(StorageUnavailableError) as caught, read(engine):
        pass

    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_postgresql_speaks_utc(make_postgresql):
    engine = open_engine(make_postgresql("template0"))
    try:
        with read(engine) as connection:
            assert connection.scalar(text("SHOW TimeZone")) == "UTC"
    finally:
        engine.dispose()


def test_a_postgresql_connection_that_was_cut_is_replaced(make_postgresql):
    engine = open_engine(make_postgresql("template0"))
    try:
        with read(engine) as connection:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
        other = open_engine(engine.url.render_as_string(hide_password=False))
        with read(other) as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        other.dispose()

        with read(engine) as connection:
            assert connection.scalar(text("SELECT pg_backend_pid()")) != pid
    finally:
        engine.dispose()


def test_a_postgresql_connection_cut_in_a_write_is_storage_that_is_unavailable(make_postgresql):
    engine = open_engine(make_postgresql("template0"))
    try:
        with pytest.raises(StorageUnavailableError), write(engine) as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    finally:
        engine.dispose()


def test_the_sqlite_file_and_its_directory_are_for_their_owner_only(file_engine):
    with write(file_engine) as connection:
        connection.execute(text("CREATE TABLE t (x)"))

    path = engines.sqlite_path(file_engine)
    files = [path, *path.parent.glob("receiver.db-*")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_opening_an_engine_makes_no_file(file_engine):
    assert not engines.sqlite_path(file_engine).exists()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 10_000)],
)
def test_sqlite_commits_to_the_disk_holds_foreign_keys_and_waits_for_locks(file_engine, pragma, value):
    with read(file_engine) as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_a_sqlite_write_begins_immediate_and_a_read_does_not(file_engine):
    begun = []
    event.listen(file_engine, "before_cursor_execute", lambda _c, _u, statement, *_: begun.append(statement))

    with write(file_engine):
        pass
    with read(file_engine) as connection:
        connection.exec_driver_sql("SELECT 1")

    assert begun == ["BEGIN IMMEDIATE", "BEGIN", "SELECT 1"]


def test_a_sqlite_write_waits_for_the_one_before_it(file_engine):
    with write(file_engine) as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    began = threading.Event()
    order = []

    def second() -> None:
        began.set()
        with write(file_engine) as connection:
            connection.execute(text("INSERT INTO t VALUES (2)"))
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with write(file_engine) as connection:
            future = pool.submit(second)
            began.wait()
            connection.execute(text("INSERT INTO t VALUES (1)"))
            order.append("first")
        future.result()

    assert order == ["first", "second"]


def test_a_sqlite_lock_that_stays_is_storage_that_is_unavailable(file_engine):
    with read(file_engine):
        pass
    event.listen(file_engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=1"))
    file_engine.dispose()

    with write(file_engine), pytest.raises(StorageUnavailableError, match="locked"), write(file_engine):
        pass


def test_a_write_is_possible_again_after_a_lock(file_engine):
    event.listen(file_engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=1"))
    with write(file_engine), pytest.raises(StorageUnavailableError), write(file_engine):
        pass

    with write(file_engine) as connection:
        connection.execute(text("CREATE TABLE t (x)"))


def test_a_full_sqlite_database_is_storage_that_is_unavailable(file_engine):
    with write(file_engine) as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    event.listen(file_engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=3"))
    file_engine.dispose()

    with pytest.raises(StorageUnavailableError, match="full"), write(file_engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (zeroblob(100000))"))


def test_a_file_that_is_no_database_is_storage_that_is_unavailable(tmp_path):
    path = tmp_path / "receiver.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    engine = open_engine(f"sqlite:///{path}")

    with pytest.raises(StorageUnavailableError, match="not a database"), read(engine) as connection:
        connection.exec_driver_sql("SELECT * FROM sqlite_master")


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    engine = open_engine(f"sqlite:///{tmp_path / 'file' / 'receiver.db'}")

    with pytest.raises(StorageUnavailableError, match=r"file/receiver\.db cannot be made"), read(engine):
        pass


def test_many_that_make_the_sqlite_file_at_once_end_with_one(tmp_path):
    url = f"sqlite:///{tmp_path / 'receiver.db'}"
    start = threading.Barrier(8)

    def make(number: int) -> str:
        engine = open_engine(url)
        start.wait()
        with write(engine) as connection:
            connection.execute(text(f"CREATE TABLE t{number} (x)"))
        engine.dispose()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(8)))

    engine = open_engine(url)
    with read(engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 8
    engine.dispose()
    assert [file.name for file in tmp_path.iterdir()] == ["receiver.db"]


def test_a_copy_outside_wal_mode_is_brought_back_to_it(tmp_path):
    path = tmp_path / "receiver.db"
    with sqlite3.connect(path) as plain:
        plain.execute("CREATE TABLE t (x)")
    plain.close()
    engine = open_engine(f"sqlite:///{path}")

    engines.ensure_wal(engine)

    with read(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_sqlite_without_a_file_is_refused(url):
    with pytest.raises(SettingsError, match="must name a file"):
        open_engine(url)


def test_another_kind_of_database_is_refused():
    with pytest.raises(SettingsError, match="names mysql"):
        open_engine("mysql://root:hush@localhost/receiver")


def test_text_that_is_no_url_is_refused_without_showing_it():
    with pytest.raises(SettingsError) as caught:
        open_engine("hush")

    assert "hush" not in str(caught.value)


def test_the_path_of_a_sqlite_engine_is_its_file():
    assert engines.sqlite_path(open_engine("sqlite:////var/lib/x.db")) == Path("/var/lib/x.db")


def test_a_postgresql_engine_has_no_path():
    assert engines.sqlite_path(open_engine(ABSENT_POSTGRESQL)) is None


def test_a_connection_that_was_read_with_may_write_again(engine):
    assert count(engine) == 0

    with write(engine) as connection:
        connection.execute(insert(revisions).values(name="a", value=1))

    assert count(engine) == 1


def test_a_ping_returns_while_the_database_answers(engine):
    engines.ping(engine)


def test_a_ping_of_an_absent_database_says_that_it_is_unavailable():
    with pytest.raises(StorageUnavailableError):
        engines.ping(open_engine(ABSENT_POSTGRESQL))


@pytest.mark.parametrize(("query", "timeout"), [("", "10"), ("?connect_timeout=3", "3")])
def test_the_time_to_connect_is_bounded_unless_the_url_bounds_it(query, timeout):
    given = {}
    engine = open_engine(f"postgresql+psycopg://receiver@127.0.0.1:1/receiver{query}")
    event.listen(engine, "do_connect", lambda _dialect, _record, _args, parameters: given.update(parameters))

    with pytest.raises(StorageUnavailableError):
        engines.ping(engine)

    assert str(given["connect_timeout"]) == timeout


def test_options_of_a_postgresql_url_are_kept_beside_ours(make_postgresql):
    url = make_postgresql("template0") + "&options=-c%20statement_timeout%3D1234"
    engine = open_engine(url)

    with read(engine) as connection:
        found = connection.execute(
            text("SELECT current_setting('statement_timeout'), current_setting('TimeZone')")
        ).one()

    assert tuple(found) == ("1234ms", "UTC")
    engine.dispose()
