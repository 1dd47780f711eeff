"""The bell: it wakes who follows the events as soon as something was told, and outlives the database's absence."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import text

from receiver.storage.engine import open_engine, read
from receiver.storage.event_listener import LOOK_S, POLL_S, EventBell
from tests.integration.stream_use import tell_of, until

LONG_S = 60.0


@pytest.fixture
def bell(engine):
    bell = EventBell(engine)
    yield bell
    bell.close()


class Waiting:
    """A wait under way in a thread."""

    def __init__(self, bell, after_id, timeout_s=LONG_S):
        self.newest = None
        self._thread = threading.Thread(target=self._wait, args=(bell, after_id, timeout_s), daemon=True)
        self._thread.start()

    def _wait(self, bell, after_id, timeout_s):
        self.newest = bell.wait(after_id, timeout_s)

    def result(self, within_s=20):
        self._thread.join(within_s)
        assert not self._thread.is_alive(), "it still waits"
        return self.newest


def listeners(engine):
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%events%'"
    with read(engine) as connection:
        return connection.scalar(text(f"{query} AND pid <> pg_backend_pid()"))


only_postgresql = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


def test_what_was_told_already_is_given_at_once(engine, bell):
    tell_of(engine, [1, 2, 3])

    assert bell.wait(2, LONG_S) == 3


def test_without_news_the_newest_is_given_in_the_end(engine, bell):
    assert bell.wait(0, 0) == 0
    tell_of(engine, [1])

    assert bell.wait(1, 0.2) == 1
    assert bell.wait(7, 0) == 1


def test_it_wakes_as_soon_as_something_is_told(engine, bell):
    tell_of(engine, [1])
    assert bell.wait(0, LONG_S) == 1
    took = []
    for number in range(1, 6):
        waiting = Waiting(bell, number)
        began = time.monotonic()
        tell_of(engine, [1])
        assert waiting.result() == number + 1
        took.append(time.monotonic() - began)

    assert sorted(took)[2] < min(LOOK_S / 2, POLL_S * 4)


def test_what_others_tell_is_heard_by_every_bell(engine, database_url):
    other = open_engine(database_url)
    bells = [EventBell(engine) for _ in range(3)]
    waits = [Waiting(bell, 0) for bell in bells]

    tell_of(other, [1])

    assert [waiting.result() for waiting in waits] == [1, 1, 1]
    for bell in bells:
        bell.close()
    other.dispose()


def test_while_the_database_is_away_it_gives_what_it_was_asked_with(engine, bell, database_is_away):
    tell_of(engine, [1])
    assert bell.wait(0, LONG_S) == 1
    with database_is_away():
        assert bell.wait(1, 0.3) == 1
        assert bell.wait(-1, 0) == -1


def test_it_goes_on_when_the_database_is_back(engine, bell, database_is_away):
    assert bell.wait(-1, LONG_S) == 0
    with database_is_away():
        waiting = Waiting(bell, 0)
        until(lambda: bell._pause_s)
    tell_of(engine, [1])

    assert waiting.result() == 1
    again = Waiting(bell, 1)
    tell_of(engine, [1])
    assert again.result() == 2


@only_postgresql
def test_a_connection_that_is_cut_is_replaced(engine, bell):
    assert bell.wait(-1, LONG_S) == 0
    waiting = Waiting(bell, 0)
    with engine.connect() as connection:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        connection.execute(text(f"{ended} AND pid <> pg_backend_pid()"))
    tell_of(engine, [1])

    assert waiting.result() == 1


def test_closing_ends_a_wait_under_way_and_all_that_follow(engine, bell):
    waiting = Waiting(bell, 5)

    bell.close()

    assert waiting.result(5) == 5
    assert bell.wait(7, LONG_S) == 7
    bell.close()


@only_postgresql
@pytest.mark.parametrize("way", ["idle", "waiting"])
def test_a_closed_bell_leaves_no_connection(engine, way):
    bell = EventBell(engine)
    bell.wait(-1, 0)
    waiting = Waiting(bell, 0) if way == "waiting" else None
    assert listeners(engine) == 1

    bell.close()

    until(lambda: listeners(engine) == 0)
    assert waiting is None or waiting.result() == 0
