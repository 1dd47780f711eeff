"""The way into the database for pushes: one writer per process, one transaction for all that wait.

*Acknowledged means committed.* `put` returns after the commit that holds the report. Batches size
themselves: while one transaction is on its way to the disk, the next pushes gather; nothing lingers.
A batch that the database refuses for one row's sake is tried row by row, so that the row harms nobody else.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.storage.engine import driver_cursor, write
from receiver.storage.inbox_rows import Outcome, batch_size, insert_new_reports, note_deliveries
from receiver.storage.rejections import (
    PRUNE_EVERY,
    NewRejection,
    RejectionLimits,
    insert_rejections,
    prune_rejections,
)
from receiver.storage.reports import NewReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

MAX_WAITING_REPORTS = 4096
"""Bodies of up to 256 KiB wait in memory; beyond this a push is told at once that we cannot take it."""

MAX_WAITING_REJECTIONS = 512
"""Refused pushes come from anybody; beyond this they are counted and no longer kept."""

DEADLOCK_TRIES = 3
"""PostgreSQL ends one of two transactions that wait for each other; that one only has to come again."""

_DEADLOCK_DETECTED = "40P01"  # PostgreSQL appendix A, error codes

_NEVER_LOOKED = (PRUNE_EVERY, 0)
"""What stands there from an earlier run is not known: the first rejection of a connection brings a look."""

Answer: TypeAlias = "Outcome | StorageUnavailableError"
Done: TypeAlias = "Callable[[Answer], None]"

Item = TypeVar("Item", NewReport, NewRejection)

_log = get_logger(__name__)


@dataclass(slots=True)
class _Waiting:
    item: NewReport | NewRejection
    done: Done


class Inbox:
    """Takes reports and rejections from one event loop and commits them from one thread.

    Use it as `inbox.start()` … `await inbox.put(report)` … `await inbox.stop()`, all on the same loop.
    """

    def __init__(self, engine: Engine, rejection_limits: RejectionLimits) -> None:
        self._engine = engine
        self._limits = rejection_limits
        self._waiting: deque[_Waiting] = deque()
        self._waiting_rejections = 0
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unpruned: dict[int | None, tuple[int, int]] = {}  # rows and bytes since the last look
        self.rejections_dropped = 0

    def start(self) -> None:
        """Start the writer. Call it on the event loop that will `put`."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Commit all that waits, then end the writer."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def put(self, report: NewReport) -> Outcome:
        """Store a report; return after its commit, saying whether it was new.

        Raises:
            StorageUnavailableError: the database did not take it, or too many wait already.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.put_at_once(report, partial(_settle, future))
        return await future

    def put_at_once(self, report: NewReport, done: Done) -> None:
        """Store a report; after the commit that holds it `done` gets the outcome, on the event loop.

        If the database did not take it, `done` gets the error.

        Raises:
            StorageUnavailableError: too many wait already.
        """
        if len(self._waiting) >= MAX_WAITING_REPORTS or self._stopping:
            raise StorageUnavailableError(f"{len(self._waiting)} pushes wait to be stored; no more are taken now.")
        self._enqueue(report, done)

    async def put_rejection(self, rejection: NewRejection) -> None:
        """Store a refused push; return after its commit. When too many wait, it is counted and dropped.

        Raises:
            StorageUnavailableError: the database did not take it.
        """
        if self._waiting_rejections >= MAX_WAITING_REJECTIONS or self._stopping:
            self.rejections_dropped += 1
            return
        self._waiting_rejections += 1
        try:
            future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            self._enqueue(rejection, partial(_settle, future))
            await future
        finally:
            self._waiting_rejections -= 1

    def _enqueue(self, item: NewReport | NewRejection, done: Done) -> None:
        assert self._loop is not None, "start() comes first"  # noqa: S101
        self._waiting.append(_Waiting(item, done))
        if not self._wake.is_set():
            self._wake.set()

    # --- the writer's thread

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            stopping = self._stopping  # asked before the queue: what was put before `stop` is seen below
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(batch_size(len(self._waiting)))]
                answers = self._commit(batch)
                assert self._loop is not None  # noqa: S101
                self._loop.call_soon_threadsafe(_answer, batch, answers)
            if stopping:
                return

    def _commit(self, batch: list[_Waiting]) -> list[Answer]:
        """Store a batch; give an answer for each of it, in order."""
        are_reports = [isinstance(waiting.item, NewReport) for waiting in batch]
        of_reports = iter(
            self._store([waiting.item for waiting in batch if isinstance(waiting.item, NewReport)], self._insert)
        )
        of_rejections = iter(
            self._store([waiting.item for waiting in batch if isinstance(waiting.item, NewRejection)], self._keep)
        )
        return [next(of_reports) if is_report else next(of_rejections) for is_report in are_reports]

    def _store(
        self, items: list[Item], write_all: Callable[[list[Item]], list[Outcome]], tries: int = DEADLOCK_TRIES
    ) -> list[Answer]:
        """Write all items together, or, where the database refuses one of them, one by one."""
        if not items:
            return []
        try:
            return list(write_all(items))
        except StorageUnavailableError as exc:
            if tries > 1 and _was_deadlock(exc):
                return self._store(items, write_all, tries - 1)
            _log.warning("inbox_unavailable", waiting=len(items), error=str(exc))
            return [exc] * len(items)
        except Exception as exc:  # noqa: BLE001 - whatever one row does, the writer must go on
            if len(items) == 1:
                _log.error("inbox_row_refused", error=_describe(exc))
                return [StorageUnavailableError("The database refused to store this push.")]
            return [answer for item in items for answer in self._store([item], write_all)]

    def _insert(self, new_reports: list[NewReport]) -> list[Outcome]:
        """Insert and commit with one statement, so that the interpreter's lock changes hands but once."""
        with driver_cursor(self._engine) as cursor:
            are_new = insert_new_reports(cursor, self._engine.dialect.name, new_reports)
        copies = [report for report, is_new in zip(new_reports, are_new, strict=True) if not is_new]
        if copies:
            self._note(copies)
        return [Outcome.STORED if is_new else Outcome.DUPLICATE for is_new in are_new]

    def _note(self, copies: list[NewReport], tries: int = DEADLOCK_TRIES) -> None:
        """Count further deliveries. What they bring is stored already, so that a fault here refuses no push."""
        try:
            with write(self._engine) as connection:
                note_deliveries(connection, copies)
        except Exception as exc:  # noqa: BLE001 - the push is in the database; only its count is not
            if tries > 1 and _was_deadlock(exc):
                self._note(copies, tries - 1)
            else:
                _log.warning("deliveries_not_counted", count=len(copies), error=_describe(exc))

    def _keep(self, refused: list[NewRejection]) -> list[Outcome]:
        with write(self._engine) as connection:
            insert_rejections(connection, refused)
            self._prune(connection, refused)
        return [Outcome.STORED] * len(refused)

    def _prune(self, connection: Connection, refused: list[NewRejection]) -> None:
        """Look at the bounds of each connection before more has come than the last look left room for."""
        for rejection in refused:
            rows, size_bytes = self._unpruned.get(rejection.connection_id, _NEVER_LOOKED)
            self._unpruned[rejection.connection_id] = rows + 1, size_bytes + rejection.size_bytes
        for owner in {rejection.connection_id for rejection in refused}:
            (rows, size_bytes), (room_rows, room_bytes) = self._unpruned[owner], self._limits.room(owner)
            if rows >= room_rows or size_bytes > room_bytes:
                prune_rejections(connection, owner, self._limits)
                self._unpruned[owner] = 0, 0


def _answer(batch: list[_Waiting], answers: list[Answer]) -> None:
    for waiting, answer in zip(batch, answers, strict=True):
        try:
            waiting.done(answer)
        except Exception as exc:  # noqa: BLE001 - one client's connection must not keep the others waiting
            _log.error("answer_failed", error=type(exc).__name__)


def _settle(future: asyncio.Future[Outcome], answer: Answer) -> None:
    if future.done():  # the client went away; what it sent is stored all the same
        return
    if isinstance(answer, Outcome):
        future.set_result(answer)
    else:
        future.set_exception(answer)


def _was_deadlock(exc: Exception) -> bool:
    return getattr(getattr(exc.__cause__, "orig", None), "sqlstate", None) == _DEADLOCK_DETECTED


def _describe(exc: Exception) -> str:
    """Name the fault without the parameters, which hold bodies."""
    origin = getattr(exc, "orig", None)
    return f"{type(origin or exc).__name__}" if isinstance(exc, SQLAlchemyError) else type(exc).__name__
