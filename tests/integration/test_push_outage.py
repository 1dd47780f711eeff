"""Pushes over HTTP while the database is away, hangs or is locked; and what `/readyz` says of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager

import httpx
import pytest

from receiver.storage.engine import sqlite_path
from tests.acceptance.running_receiver import wait_until
from tests.integration.push_server import serving, signed_query, uplink

READY = {"status": "ready", "database": "available", "spool": {"reports": 0, "bytes": 0, "oldest_s": 0}}


@contextmanager
def locked(path):
    """Let another program write without an end; a deleted file would not do, as an open one stays usable."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.fixture
def database_goes_away(engine, request):
    """Give a context manager: within it the database of a running server takes nothing."""
    path = sqlite_path(engine)
    if path is None:
        return request.getfixturevalue("database_is_away")
    return lambda: locked(path)


@pytest.fixture
def serve(database_url, tmp_path):
    def serve(**settings):
        return serving(database_url, tmp_path, options={"busy_timeout_ms": 200}, data_dir=tmp_path / "data", **settings)

    return serve


def readiness(server):
    answer = httpx.get(f"http://127.0.0.1:{server.port}/readyz", timeout=5)
    return answer.status_code, answer.json()


def test_a_ready_receiver_says_so_and_nothing_else(serve):
    with serve() as server:
        assert readiness(server) == (200, READY)


def test_a_push_while_the_database_is_away_is_taken_and_stands_in_it_when_it_is_back(serve, database_goes_away):
    with serve() as server:
        with database_goes_away():
            answer = server.push(uplink())
            status, during = readiness(server)
        assert (answer.status, answer.body) == (200, b"stored\n")
        assert (status, during["status"], during["database"]) == (200, "degraded", "unavailable")
        assert during["spool"]["reports"] == 1
        assert during["spool"]["bytes"] > len(uplink())
        wait_until(server.last_report)
        wait_until(lambda: readiness(server) == (200, READY))


def test_a_second_delivery_after_an_outage_is_a_duplicate(serve, database_goes_away):
    query = signed_query()
    with serve() as server:
        with database_goes_away():
            server.push(uplink(), query)
        wait_until(lambda: readiness(server) == (200, READY))
        assert server.push(uplink(), query).body == b"duplicate\n"


def test_a_push_that_neither_the_database_nor_the_spool_takes_is_answered_503_at_once(serve, database_goes_away):
    with serve(spool_max_bytes=100) as server:
        with database_goes_away():
            first = server.push(uplink())
            second = server.push(uplink())
            status, during = readiness(server)
        assert (first.status, second.status) == (503, 503)
        assert int(second.headers["retry-after"]) > 0
        assert (status, during["status"]) == (503, "unready")
        wait_until(lambda: readiness(server) == (200, READY))
        assert server.push(uplink()).status == 200
