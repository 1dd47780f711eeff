"""Connections to PostgreSQL that the event loop itself drives, for batches of reports in busy times.

A thread that waits for PostgreSQL has to wait for the interpreter's lock as well, and one statement under way leaves
the processor idle while the disk syncs. Two statements, sent and received where the pushes are verified, need neither
wait. A lane has one batch under way at most; each batch is one prepared statement, committed when it is answered.

psycopg's connection opens, closes and configures the session as everywhere; in between its `pq` layer is libpq's own
asynchronous interface. Source: PostgreSQL, libpq, asynchronous command processing; psycopg, `pq` module.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from psycopg import Error
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, Format

from receiver.errors import StorageUnavailableError
from receiver.storage.engine import open_detached
from receiver.storage.gathering import Gathering
from receiver.storage.inbox_rows import PREPARED_INSERT, first_of_each, pack_reports

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from psycopg.pq.abc import PGconn, PGresult
    from sqlalchemy import Engine

    from receiver.storage.inbox_batch import Batch
    from receiver.storage.reports import NewReport

LANES = 2
"""One computes while the other one's commit is on its way to the disk. A third brought nothing more."""

_NAME = b"receiver_insert"


class _Lane:
    """One connection and what is under way on it."""

    __slots__ = ("batch", "connection", "descriptor", "pgconn", "result")

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - psycopg's connection, which SQLAlchemy hides
        self.connection = connection
        self.pgconn = connection.pgconn
        # One of our own: libpq closes its socket by itself when it sees that the other side is gone, and another thread
        # may get the same number for something else before the loop is told.
        self.descriptor = os.dup(self.pgconn.socket)
        self.batch: Batch | None = None
        self.result: PGresult | None = None


class PgLanes:
    """Takes batches whenever a lane is free. All of it is for one event loop, but for `connect_lanes`.

    `take` gives the next batch of reports or None, `waiting` says how many wait. Of each batch one of three is told:
    `finished`, with one flag for each report that says whether it was new; `refused`, when the database refused the
    statement, so that nothing of it is stored; or `lost`, when nobody knows whether it is. A lost connection closes
    all lanes.
    """

    def __init__(
        self,
        take: Callable[[], Batch | None],
        waiting: Callable[[], int],
        finished: Callable[[Batch, Sequence[bool]], None],
        refused: Callable[[Batch], None],
        lost: Callable[[list[Batch], str], None],
    ) -> None:
        self._take, self._waiting = take, waiting
        self._finished, self._refused, self._lost = finished, refused, lost
        self._lanes: list[_Lane] = []
        self._free: list[_Lane] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.wake = Gathering(waiting, self._has_none_free, self._send_all)
        """For whoever puts a report into the queue."""
        self._used_at = 0.0

    @property
    def are_open(self) -> bool:
        """Whether there is a connection."""
        return bool(self._lanes)

    @property
    def are_busy(self) -> bool:
        """Whether a batch is under way."""
        return len(self._free) < len(self._lanes)

    @property
    def idle_s(self) -> float:
        """Seconds since a batch was last sent."""
        return time.monotonic() - self._used_at

    def open(self, loop: asyncio.AbstractEventLoop, connections: Sequence[Any]) -> None:
        """Use connections that `connect_lanes` gave."""
        self._loop, self._used_at = loop, time.monotonic()
        self.wake.start(loop)
        for connection in connections:
            lane = _Lane(connection)
            self._lanes.append(lane)
            self._free.append(lane)
            loop.add_reader(lane.descriptor, self._read, lane)

    def close(self) -> list[Batch]:
        """Close all connections; give what was under way on them, oldest first, which may yet be committed."""
        lanes, self._lanes, self._free = self._lanes, [], []
        self.wake.stop()
        assert self._loop is not None or not lanes  # noqa: S101
        for lane in lanes:
            self._loop.remove_reader(lane.descriptor)  # type: ignore[union-attr]
            self._loop.remove_writer(lane.descriptor)  # type: ignore[union-attr]
            os.close(lane.descriptor)
            lane.connection.close()
        return sorted((lane.batch for lane in lanes if lane.batch is not None), key=lambda batch: batch.began_at)

    def has_stalled(self, before: float) -> bool:
        """Say whether a batch is under way since before then, on the monotonic clock."""
        return any(lane.batch is not None and lane.batch.began_at < before for lane in self._lanes)

    # --- a batch

    def _has_none_free(self) -> bool:
        return not self._free

    def _send_all(self) -> None:
        while self._free and (batch := self._take()) is not None:
            self._send(self._free.pop(), batch)

    def _send(self, lane: _Lane, batch: Batch) -> None:
        lane.batch = batch
        self._used_at = batch.began_at
        try:
            reports: Sequence[NewReport] = batch.items  # type: ignore[assignment]
            arrays = [array.data for array in pack_reports(reports)]
        except Exception:  # noqa: BLE001 - a value that no array can hold: the writer finds out whose it is
            lane.batch = None
            self._free.append(lane)
            self._refused(batch)
            return
        try:
            lane.pgconn.send_query_prepared(_NAME, arrays, [Format.BINARY] * len(arrays), Format.BINARY)
            if lane.pgconn.flush():  # the socket takes no more for now
                self._loop.add_writer(lane.descriptor, self._write, lane)  # type: ignore[union-attr]
        except Error as exc:
            self._lose(exc)

    def _write(self, lane: _Lane) -> None:
        try:
            if not lane.pgconn.flush():
                self._loop.remove_writer(lane.descriptor)  # type: ignore[union-attr]
        except Error as exc:
            self._lose(exc)

    def _read(self, lane: _Lane) -> None:
        """Take what came; once an answer is whole, tell it, and go on with the next batch."""
        try:
            lane.pgconn.consume_input()
            while not lane.pgconn.is_busy():
                result = lane.pgconn.get_result()
                if result is None:
                    self._conclude(lane)
                    return
                lane.result = result
        except Error as exc:
            self._lose(exc)

    def _conclude(self, lane: _Lane) -> None:
        batch, result = lane.batch, lane.result
        if batch is None or result is None:  # a word of the server that nobody asked for
            return
        if result.status != ExecStatus.TUPLES_OK and _is_fatal(lane.pgconn, result):
            self._lose(f"PostgreSQL ended the connection with {_sqlstate(result)}.")
            return
        lane.batch = lane.result = None
        self._free.append(lane)
        if result.status == ExecStatus.TUPLES_OK:
            self._finished(batch, _read_are_new(batch, result))
        else:
            self._refused(batch)
        if self._waiting() and not self.wake.is_set():
            self.wake.set()

    def _lose(self, why: Exception | str) -> None:
        self._lost(self.close(), why if isinstance(why, str) else f"A connection broke with {type(why).__name__}.")


def connect_lanes(engine: Engine) -> list[Any]:
    """Give connections of their own, outside the engine's pool, with the statement prepared; blocks.

    Raises:
        StorageUnavailableError: the database is away, or does not take the statement.
    """
    connections: list[Any] = []
    try:
        for _ in range(LANES):
            connection = open_detached(engine)
            connections.append(connection)
            _prepare(connection.pgconn)
    except BaseException as exc:
        for connection in connections:
            connection.close()
        if isinstance(exc, Error):
            raise StorageUnavailableError(f"PostgreSQL broke the connection with {type(exc).__name__}.") from None
        raise
    return connections


def _prepare(pgconn: PGconn) -> None:
    pgconn.nonblocking = 1
    result = pgconn.prepare(_NAME, PREPARED_INSERT.encode(), [array.oid for array in pack_reports([])])
    if result.status != ExecStatus.COMMAND_OK:
        raise StorageUnavailableError(f"PostgreSQL refused to prepare a statement: {_sqlstate(result)}.")


def _read_are_new(batch: Batch, result: PGresult) -> Sequence[bool]:
    if result.ntuples == len(batch.items):
        return [True] * len(batch.items)
    inserted = {result.get_value(row, 0) for row in range(result.ntuples)}
    return first_of_each(batch.items, inserted)  # type: ignore[arg-type]


def _is_fatal(pgconn: PGconn, result: PGresult) -> bool:
    """Say whether the connection is gone with this error, so that there is no telling what it has done."""
    severity = result.error_field(DiagnosticField.SEVERITY_NONLOCALIZED)
    return pgconn.status != ConnStatus.OK or severity in (b"FATAL", b"PANIC")


def _sqlstate(result: PGresult) -> str:
    return (result.error_field(DiagnosticField.SQLSTATE) or b"no code").decode("ascii", "replace")
