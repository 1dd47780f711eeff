"""What strangers can make grow has an end, also while the database is away."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from functools import partial

import httpx
import pytest
from sqlalchemy import func, select

from receiver.storage.engine import read, sqlite_path
from receiver.storage.tables import rejections
from tests.integration.push_server import DEV_EUI, serving, signed_query, uplink

ROWS, UNKNOWN_ROWS, MAX_BYTES = 20, 10, 50_000


@pytest.fixture
def server(database_url, tmp_path):
    bounds = {
        "rejections_max_rows": ROWS,
        "unknown_rejections_max_rows": UNKNOWN_ROWS,
        "rejections_max_bytes": MAX_BYTES,
    }
    with serving(database_url, tmp_path, options={"busy_timeout_ms": 50}, **bounds) as running:
        yield running


def kept(server, path_name):
    """Give how many rejections of one name are kept, and their bytes."""
    with read(server.engine) as connection:
        statement = select(func.count(), func.coalesce(func.sum(rejections.c.size_bytes), 0))
        return tuple(connection.execute(statement.where(rejections.c.path_name == path_name)).one())


def test_the_rejections_of_a_connection_never_exceed_their_rows(server):
    counts = []
    for _ in range(2 * ROWS):
        server.push(b"hello")
        counts.append(kept(server, "field")[0])

    assert max(counts) == ROWS


def test_the_rejections_of_unknown_connections_never_exceed_their_rows(server):
    counts = []
    for _ in range(2 * UNKNOWN_ROWS):
        server.push(uplink(), path="/push/nobody")
        counts.append(kept(server, "nobody")[0])

    assert max(counts) == UNKNOWN_ROWS


def test_the_names_of_unknown_connections_share_one_ring(server):
    for number in range(2 * UNKNOWN_ROWS):
        server.push(uplink(), path=f"/push/nobody-{number}")
    with read(server.engine) as connection:
        names = connection.execute(select(rejections.c.path_name).order_by(rejections.c.id)).scalars().all()

    assert names == [f"nobody-{number}" for number in range(UNKNOWN_ROWS, 2 * UNKNOWN_ROWS)]


def test_the_rejections_of_a_connection_never_exceed_their_bytes(server):
    sizes = []
    for _ in range(12):
        server.push(b"x" * 8000)
        sizes.append(kept(server, "field")[1])

    assert 30_000 < max(sizes) <= MAX_BYTES


def test_strangers_do_not_push_out_the_rejections_of_a_connection(server):
    server.push(b"hello")
    for _ in range(3 * UNKNOWN_ROWS):
        server.push(b"hello", path="/push/nobody")

    assert kept(server, "field")[0] == 1


# --- the database away


@pytest.fixture
def database_goes_away(server, request):
    """Give a context manager: within it the database of the running server takes nothing."""
    path = sqlite_path(server.engine)
    return partial(_locked, path) if path else request.getfixturevalue("database_is_away")


@contextmanager
def _locked(path):
    """Let another program write without an end; a deleted file would not do, as an open one stays usable."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def test_a_refused_push_is_answered_as_ever_while_the_database_is_away(server, database_goes_away):
    before = server.push(uplink(), path="/push/nobody")
    with database_goes_away():
        during = [server.push(uplink(), path="/push/nobody"), server.push(uplink(), signed_query(DEV_EUI))]

    assert {answer.raw for answer in during} == {before.raw}


def test_the_process_is_alive_while_the_database_is_away(server, database_goes_away):
    with database_goes_away():
        assert httpx.get(f"http://127.0.0.1:{server.port}/healthz").status_code == 200
