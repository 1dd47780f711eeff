"""The database of a running receiver goes away and comes back: everything that was answered 200 is there, once."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import sqlite3
from contextlib import closing

import httpx
import psutil
import pytest
from sqlalchemy import NullPool, create_engine

from receiver.simulator.network import SimulatedNetwork
from receiver.storage import schema
from receiver.storage.engine import sqlite_path
from receiver.storage.spool import read_spool_state
from tests.acceptance.running_receiver import AS_ID, CHILD, KEY, Installation, utc_now, wait_until
from tests.soak.running import OwnPostgresql

only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


NAME = "field"


@pytest.fixture(scope="module")
def postgresql():
    server = OwnPostgresql()
    yield server
    server.close()


_numbers = itertools.count(1)


@pytest.fixture
def on_postgresql(postgresql, tmp_path):
    """An installation on a PostgreSQL server that can be stopped and frozen, in a database of its own."""
    name = f"outage_{next(_numbers)}"
    server = create_engine(postgresql.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    url = server.url.set(database=name).render_as_string(hide_password=False)
    schema.upgrade(url, utc_now())
    installation = Installation(tmp_path, url)
    installation.add_connection(NAME)
    yield installation
    installation.engine.dispose()


_seeds = itertools.count(1)


def some_uplinks(count):
    network = SimulatedNetwork(key=KEY, as_id=AS_ID, clock=utc_now, seed=next(_seeds))
    device = network.add_device()
    return [network.uplink(device) for _ in range(count)]


def spooled(installation):
    return read_spool_state(installation.directory / "data" / "spool.db").rows


def readiness(served):
    with httpx.Client(verify=served.context() or True, trust_env=False, timeout=3) as client:
        answer = client.get(f"{served.origin}/readyz")
    return answer.status_code, answer.json()["status"]


def stored_once(installation, pushes):
    payloads = installation.payloads()
    return all((push.dev_eui, push.f_cnt_up) in payloads for push in pushes)


def must_be_stored_once(installation, pushes):
    """Hold that each push is one uplink, that no delivery was counted twice, and that nothing else is stored."""
    wait_until(lambda: stored_once(installation, pushes))
    with closing(installation.engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SELECT count(*), max(deliveries) FROM reports")
        assert cursor.fetchone() == (len(pushes), 1)


def test_a_postgresql_that_is_stopped_and_started_again_costs_no_push(on_postgresql, postgresql):
    pushes = some_uplinks(30)
    with on_postgresql.serve() as served:
        assert set(served.push(NAME, pushes[:10])) == {200}
        postgresql.stop()
        try:
            assert set(served.push(NAME, pushes[10:20])) == {200}
            assert spooled(on_postgresql) == 10
            assert readiness(served) == (200, "degraded")
        finally:
            postgresql.start()
        assert set(served.push(NAME, pushes[20:])) == {200}
        must_be_stored_once(on_postgresql, pushes)
        wait_until(lambda: readiness(served) == (200, "ready"))
    assert spooled(on_postgresql) == 0


def test_a_postgresql_that_hangs_costs_no_push_and_readyz_answers(on_postgresql, postgresql):
    pushes = some_uplinks(20)
    with on_postgresql.serve() as served:
        postgresql.freeze()
        try:
            threads = [len(psutil.Process(served.process.pid).threads())]
            assert set(served.push(NAME, pushes)) == {200}
            for _ in range(8):
                assert readiness(served) == (200, "degraded")
                threads.append(len(psutil.Process(served.process.pid).threads()))
            assert max(threads) <= threads[1] + 2  # eight questions leave no eight threads behind
        finally:
            postgresql.thaw()
        must_be_stored_once(on_postgresql, pushes)


def test_a_receiver_that_hangs_with_its_database_can_be_stopped_and_loses_nothing(on_postgresql, postgresql):
    pushes = some_uplinks(10)
    with on_postgresql.serve("--without-worker") as served:
        postgresql.freeze()
        try:
            assert set(served.push(NAME, pushes)) == {200}
            served.stop()
        finally:
            postgresql.thaw()
    with on_postgresql.serve():
        must_be_stored_once(on_postgresql, pushes)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_receiver_starts_while_its_postgresql_is_away_and_drains_when_that_is_back(
    on_postgresql, postgresql, workers
):
    pushes = some_uplinks(10)
    with on_postgresql.serve():
        pass
    postgresql.stop()
    try:
        with on_postgresql.serve("--workers", workers) as served:
            assert set(served.push(NAME, pushes)) == {200}
            assert spooled(on_postgresql) == 10
            postgresql.start()
            must_be_stored_once(on_postgresql, pushes)
    finally:
        postgresql.start()


def test_a_receiver_that_never_saw_its_postgresql_answers_503_and_says_why_until_it_is_there(on_postgresql, postgresql):
    pushes = some_uplinks(3)
    postgresql.stop()
    try:
        served = on_postgresql.start()
        try:
            wait_until(lambda: "connections_unknown" in served.log.read_text())
            served.port = wait_until(served._find_port)
            assert served.push(NAME, pushes[:1]) == [503]
            assert readiness(served) == (503, "unready")
            postgresql.start()
            wait_until(lambda: readiness(served) == (200, "ready"))
            assert set(served.push(NAME, pushes)) == {200}
            must_be_stored_once(on_postgresql, pushes)
            served.stop()
        finally:
            served.kill()
    finally:
        postgresql.start()
    assert "There is no copy of the connections yet" in served.log.read_text()


def test_a_receiver_keeps_spooling_while_its_postgresql_comes_back_with_an_older_schema(on_postgresql, postgresql):
    pushes = some_uplinks(3)
    with on_postgresql.serve():
        pass
    with on_postgresql.engine.begin() as connection:
        newest = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    postgresql.stop()
    try:
        with on_postgresql.serve() as served:
            postgresql.start()
            assert set(served.push(NAME, pushes)) == {200}
            wait_until(lambda: "receiver db upgrade" in served.log.read_text())
            assert on_postgresql.count_reports() == 0
            with on_postgresql.engine.begin() as connection:
                connection.exec_driver_sql("UPDATE alembic_version SET version_num = %s", (newest,))
            must_be_stored_once(on_postgresql, pushes)
    finally:
        postgresql.start()


def test_what_a_killed_receiver_had_in_its_spool_is_drained_by_the_next_one_once(on_postgresql, postgresql):
    pushes = some_uplinks(10)
    with on_postgresql.serve() as served:
        postgresql.stop()
        try:
            assert set(served.push(NAME, pushes)) == {200}
            served.kill_its_first_process()
        finally:
            postgresql.start()
    with on_postgresql.serve():
        must_be_stored_once(on_postgresql, pushes)


# --- SQLite


@only_sqlite
def test_a_database_that_another_program_locks_costs_no_push(installation):
    installation.add_connection(NAME)
    pushes = some_uplinks(10)
    with installation.serve() as served:
        with closing(sqlite3.connect(sqlite_path(installation.engine), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert set(served.push(NAME, pushes)) == {200}
            assert spooled(installation) == 10
        must_be_stored_once(installation, pushes)


@only_sqlite
def test_a_disk_that_is_full_is_told_with_503_and_survived(installation):
    """A bound on the size of its files stands for the disk: the database's and the spool's alike."""
    installation.add_connection(NAME)
    pushes = some_uplinks(40)
    with installation.serve("--workers", "1", "--without-worker") as served:
        assert served.push(NAME, pushes[:1]) == [200]
        before = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
        full = served.push(NAME, pushes[1:10], at_once=1)
        assert set(full) == {503}
        wait_until(lambda: readiness(served) == (503, "unready"))
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, before)
        wait_until(lambda: readiness(served) == (200, "ready"))
        assert set(served.push(NAME, pushes[10:])) == {200}
        assert installation.count_reports() == 31


@only_sqlite
def test_a_server_of_several_that_is_killed_leaves_its_spool_to_the_others(installation):
    installation.add_connection(NAME)
    pushes = some_uplinks(20)
    with installation.serve("--workers", "2", "--without-worker") as served:
        with closing(sqlite3.connect(sqlite_path(installation.engine), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert set(served.push(NAME, pushes)) == {200}
            for child in served.children(CHILD):
                os.kill(child.pid, signal.SIGKILL)
        wait_until(lambda: installation.count_reports() == 20)
        wait_until(lambda: spooled(installation) == 0)
