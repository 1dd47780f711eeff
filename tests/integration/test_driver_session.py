"""A connection that is kept between statements: each is committed, and a fault costs one statement and not the next."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from receiver.errors import StorageUnavailableError
from receiver.storage.driver_session import KEPT_S, DriverSession
from receiver.storage.engine import read

INSERT = "INSERT INTO revisions (name, value) VALUES ('{}', 1)"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def session(engine, clock):
    session = DriverSession(engine, clock)
    yield session
    session.close()


def names(engine) -> set[str]:
    with read(engine) as connection:
        return set(connection.scalars(text("SELECT name FROM revisions")))


def test_each_statement_is_committed_when_it_returns(engine, session):
    for name in ("one", "two"):
        with session.cursor() as cursor:
            cursor.execute(INSERT.format(name))
        assert name in names(engine)


def test_one_connection_is_kept_while_it_is_used(engine, session, clock):
    for _ in range(5):
        clock.now += KEPT_S * 0.9
        with session.cursor() as cursor:
            cursor.execute("SELECT 1").fetchall()

    assert engine.pool.checkedout() == 1
    assert engine.pool.checkedin() == 0


def test_after_a_pause_a_connection_that_died_meanwhile_is_not_used(engine, session, clock):
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no server that could end a connection")
    with session.cursor() as cursor:
        cursor.execute("SELECT 1").fetchall()
        end(cursor, engine)
    clock.now += KEPT_S * 1.1

    with session.cursor() as cursor:
        cursor.execute(INSERT.format("later"))
    assert "later" in names(engine)


def test_a_connection_that_is_distrusted_is_tried_before_its_next_use(engine, session):
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no server that could end a connection")
    with session.cursor() as cursor:
        cursor.execute("SELECT 1").fetchall()
        end(cursor, engine)
    session.distrust()

    with session.cursor() as cursor:
        cursor.execute(INSERT.format("later"))
    assert "later" in names(engine)


def end(cursor, engine) -> None:
    """Let PostgreSQL end the session's connection, from another one."""
    process_id = cursor.connection.info.backend_pid
    with read(engine) as connection:
        connection.execute(text("SELECT pg_terminate_backend(:id)"), {"id": process_id})


def test_a_connection_that_dies_under_a_statement_is_a_database_that_is_away(engine, session):
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no server that could end a connection")
    with session.cursor() as cursor:
        cursor.execute("SELECT 1").fetchall()
        end(cursor, engine)

    with pytest.raises(StorageUnavailableError), session.cursor() as cursor:
        cursor.execute(INSERT.format("lost"))
    with session.cursor() as cursor:
        cursor.execute(INSERT.format("next"))
    assert names(engine) & {"lost", "next"} == {"next"}


def test_a_statement_that_is_refused_does_not_harm_the_next(engine, session):
    with session.cursor() as cursor:
        cursor.execute(INSERT.format("once"))

    with pytest.raises(DBAPIError), session.cursor() as cursor:
        cursor.execute(INSERT.format("once"))
    with session.cursor() as cursor:
        cursor.execute(INSERT.format("twice"))
    assert {"once", "twice"} <= names(engine)


def test_it_gives_its_connection_back(engine, session):
    with session.cursor() as cursor:
        cursor.execute("SELECT 1").fetchall()

    session.close()

    assert engine.pool.checkedout() == 0
