"""Waits until something was told: woken by PostgreSQL's NOTIFY, or by looking often into SQLite."""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy.exc import DBAPIError

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.storage.engine import open_detached, read
from receiver.storage.events import CHANNEL, newest_event_id

if TYPE_CHECKING:
    from sqlalchemy import Engine

POLL_S = 0.15
"""How often SQLite is asked, which rings for nobody: a look at the end of one index, and soon enough for an eye."""

LOOK_S = 2.0
"""How often PostgreSQL is asked though it did not ring: a proxy between may swallow it, and a connection may be cut."""

FIRST_PAUSE_S = 0.1
MOST_PAUSE_S = 2.0
"""Between two tries while the database is away; each is twice as long as the one before."""

_NEWEST = "SELECT max(id) FROM events"

_log = get_logger(__name__)


class EventBell:
    """Tells who follows the events, from a plain thread, when there are newer ones than it knows.

    One thread uses it, and another one may close it. On PostgreSQL it has a connection of its own, from the first wait
    until it is closed, beside those of the pool. Any number of bells may hang at one database, in any number of
    processes.
    """

    def __init__(self, engine: Engine, poll_s: float = POLL_S) -> None:
        """Connect to nothing yet; `poll_s` is for SQLite."""
        self._engine = engine
        self._listens = engine.dialect.name == "postgresql"
        self._look_s = LOOK_S if self._listens else poll_s
        self._connection: Any = None
        self._has_rung = False
        self._pause_s = 0.0
        self._in_use = threading.Lock()
        self._closed = threading.Event()
        self._closing, self._close_signal = socket.socketpair()

    def wait(self, after_id: int, timeout_s: float) -> int:
        """Give the id of the newest event: as soon as it is greater than `after_id`, else after `timeout_s`.

        With a `timeout_s` of 0 it looks once. While the database is away it goes on trying, and gives `after_id` if
        that lasts for the whole time; it raises nothing then. Once closed it gives `after_id` at once. A database that
        hangs lets it hang as well, which `close` does not wait for: let its thread be a daemon.
        """
        try:
            with self._in_use:
                return self._wait(after_id, time.monotonic() + timeout_s)
        finally:
            self._let_go_if_closed()

    def close(self) -> None:
        """End a wait under way, from any thread, and let go of the connection."""
        self._closed.set()
        self._close_signal.close()  # whoever sleeps sees the end of the other half
        self._let_go_if_closed()

    def _wait(self, after_id: int, deadline: float) -> int:
        while not self._closed.is_set():
            newest = self._find_newest()
            if newest is not None and newest > after_id:
                return newest
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return after_id if newest is None else newest
            self._sleep(min(left_s, self._pause_s or self._look_s))
        return after_id

    def _find_newest(self) -> int | None:
        """Look; None: the database is away."""
        self._has_rung = False
        try:
            newest = self._ask_listening() if self._listens else self._ask()
        except (StorageUnavailableError, DBAPIError, psycopg.Error, OSError) as exc:
            if not self._pause_s:  # once in an outage
                reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
                _log.warning("events_not_followed", error=reason)
            self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), MOST_PAUSE_S)
            self._let_go()
            return None
        self._pause_s = 0.0
        return newest

    def _ask(self) -> int:
        with read(self._engine) as connection:
            return newest_event_id(connection)

    def _ask_listening(self) -> int:
        if self._connection is None:
            connection = open_detached(self._engine)
            self._connection = connection
            connection.autocommit = True
            connection.add_notify_handler(self._note_ring)
            connection.execute(f"LISTEN {CHANNEL}")  # before the look, so that nothing falls between them
        newest = self._connection.execute(_NEWEST).fetchone()[0]
        while self._connection.pgconn.notifies() is not None:  # what came with the answer, and will wake no socket
            self._has_rung = True
        return newest or 0

    def _note_ring(self, _notification: object) -> None:
        self._has_rung = True

    def _sleep(self, for_s: float) -> None:
        if self._has_rung and not self._pause_s:
            return
        sockets = [self._closing]
        if self._connection is not None:
            sockets.append(self._connection)
        watch = select.poll()  # not select(), which knows the first 1,024 files only
        for one in sockets:
            watch.register(one, select.POLLIN)
        watch.poll(for_s * 1000)

    def _let_go_if_closed(self) -> None:
        if self._closed.is_set() and self._in_use.acquire(blocking=False):  # else the wait under way does it at its end
            try:
                self._let_go()
                self._closing.close()
            finally:
                self._in_use.release()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
