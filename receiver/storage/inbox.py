"""The way to the disk for pushes: a writer's thread, one transaction for all that wait, and a spool behind it.

*Acknowledged means committed.* `put` returns after the commit that holds the report. Batches size themselves: while one
transaction is on its way to the disk, the next pushes gather. Only where few wait, and others are likely to come within
milliseconds, is that waited for (`gathering`).

A batch that the database does not take, or has not answered for `STALL_S`, is committed to the spool instead, by a
thread that never touches the database, and so is all that comes until the spool is drained: order of arrival stays.
The waiters of a batch are answered once, by whoever claims it first.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.storage.gathering import ENOUGH, WriterWake
from receiver.storage.inbox_batch import Answer, Batch, Done, is_away, join_unless_stuck, settle
from receiver.storage.inbox_rejections import WaitingRejections
from receiver.storage.inbox_room import Room, take_reports
from receiver.storage.inbox_rows import Outcome, batch_size
from receiver.storage.inbox_spool import HOLD_S, SPOOL_BATCH, SpoolThread
from receiver.storage.inbox_writer import InboxWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from receiver.storage.gathering import Wake
    from receiver.storage.rejections import NewRejection, RejectionLimits
    from receiver.storage.reports import NewReport
    from receiver.storage.spool import Spool

STALL_S = 3.0
"""A commit that takes longer is no longer waited for: the network gives up on a push after some ten seconds, and the
spool needs its time as well."""

WATCH_SHARE = 0.08
"""How often the age of what is under way is looked at, as a share of STALL_S: four times a second."""

_log = get_logger(__name__)


class Inbox:
    """Takes reports and rejections from one event loop and commits them from threads of its own.

    Use it as `inbox.start()` … `await inbox.put(report)` … `await inbox.stop()`, all on the same loop. Without a spool
    what the database does not take is refused. The counters grow while the process lives.
    """

    def __init__(
        self,
        engine: Engine,
        rejection_limits: RejectionLimits,
        spool: Spool | None = None,
        *,
        database_is_away: bool = False,
        stall_s: float = STALL_S,
    ) -> None:
        """With `database_is_away` it begins with the spool."""
        self._writer = InboxWriter(engine, rejection_limits)
        self._spool = None if spool is None else SpoolThread(spool, self._take_for_spool, self._finish_spool)
        self._stall_s = stall_s
        self._reports: deque[tuple[NewReport, Done]] = deque()
        self._refused = WaitingRejections()
        self._left_over: deque[tuple[NewReport, Done]] = deque()  # what the database did not take, before all others
        self._wake = WriterWake(self._count_waiting)
        self._taker_wake: Wake = self._wake  # of whoever takes reports now
        self._taking = threading.Lock()  # held to take and to claim batches, and to change ways: moments all
        self._in_writer: Batch | None = None
        self._in_spool: Batch | None = None
        self.writer_is_stuck = False
        """Whether the database has not answered a batch for too long, and the writer still waits for it."""
        self._hold_until = 0.0
        self._stopping = self._writer_ends = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._room = Room()
        self.is_spooling = database_is_away and spool is not None
        """Whether pushes go to the spool now."""
        self.database_is_away = self.is_spooling
        """Whether the database was away when it was last asked for something."""
        self.last_spooled_id = 0
        """The place of the last report that this process has put into the spool."""
        self.refused_for_room = self.spooled = self.drained = self.rejections_dropped = 0

    @property
    def is_full(self) -> bool:
        """Whether a push would be refused for want of room, or because neither disk takes it. Costs a microsecond."""
        return (
            self._room.is_full
            or self._stopping
            or (self._spool is not None and (self._spool.is_stuck or self._spool.refusals.were_just_now()))
        )

    @property
    def refused_lately(self) -> bool:
        """Whether neither disk took the last push that was tried, in the last half minute: for those who watch."""
        return self._spool is not None and (self._spool.is_stuck or self._spool.refusals.were_lately())

    def start(self) -> None:
        """Start the threads. Call it on the event loop that will `put`."""
        self._loop = asyncio.get_running_loop()
        self._wake.start(self._loop)
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        if self._spool is not None:
            self.last_spooled_id = self._spool.start()
            if self.last_spooled_id or self.is_spooling:  # what an earlier run left goes first
                self.is_spooling = True
                self._taker_wake = self._spool.wake
        self._thread.start()
        self._look_for_stalls()

    async def stop(self) -> None:
        """Commit all that waits, then end. What is stuck in a dead connection is not waited for much longer."""
        self._stopping = True
        await self._before_end()
        self._writer_ends = True
        self._wake.wake()
        if self._thread is not None:
            await join_unless_stuck(self._thread, lambda: self.writer_is_stuck, self._stall_s)
        if self._spool is not None:  # what the writer leaves it is in its queue now
            await self._spool.end(self._stall_s)
        if self._watch is not None:
            self._watch.cancel()

    async def put(self, report: NewReport) -> Outcome:
        """Store a report; return after its commit, saying whether it was new.

        Raises:
            StorageUnavailableError: no disk took it, or too many wait already.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.put_at_once(report, partial(settle, future))
        return await future

    def put_at_once(self, report: NewReport, done: Done) -> None:
        """Store a report; after the commit that holds it `done` gets the outcome, on the event loop.

        Of a report in the spool nobody knows yet whether it is new: it is STORED. If no disk took it, `done` gets the
        error.

        Raises:
            StorageUnavailableError: too many wait already.
        """
        if self.is_full:
            self.refused_for_room += 1
            raise StorageUnavailableError(f"{self._room.reports} pushes wait to be stored; no more are taken now.")
        self.put_where_there_is_room(report, done)

    def put_where_there_is_room(self, report: NewReport, done: Done) -> None:
        """Store a report as `put_at_once` does, for a caller that has just seen that `is_full` is false."""
        self._room.add(report)
        self._reports.append((report, done))
        if not self._taker_wake.is_set():
            self._taker_wake.set()

    async def put_rejection(self, rejection: NewRejection) -> None:
        """Store a refused push; return after its commit.

        It is counted and dropped when too many wait, and while the database is away: strangers fill no spool.

        Raises:
            StorageUnavailableError: the database did not take it.
        """
        if self.database_is_away or self.writer_is_stuck or self._stopping or not self._refused.has_room_for(rejection):
            self.rejections_dropped += 1
            return
        try:
            await self._refused.put(rejection, self._wake.wake)
        except StorageUnavailableError:
            self.rejections_dropped += 1
            raise

    # --- for an inbox that knows a further way to the database

    async def _before_end(self) -> None:
        """Finish what is under way on it; nothing more is put, and the threads are still there."""

    def _after_batch(self, size: int) -> None:
        """Learn how many reports the writer has stored together; from its thread."""

    def _count_waiting(self) -> int:
        return len(self._reports)

    # --- for the drain, from its own thread

    def hold(self) -> bool:
        """Keep new pushes in memory for up to HOLD_S; say whether the spool is at rest already."""
        with self._taking:
            if not self._hold_until:
                self._hold_until = time.monotonic() + HOLD_S
            return self._in_spool is None and not self._left_over

    def let_go(self) -> None:
        """End what `hold` began."""
        self._hold_until = 0.0
        self._wake_spool()

    def end_spooling(self) -> bool:
        """Go back to the database, for a caller that holds and has drained all; say whether it was done."""
        with self._taking:
            is_at_rest = self._in_spool is None and not self._left_over and not self.writer_is_stuck
            if not is_at_rest or time.monotonic() >= self._hold_until:
                return False
            self._writer.distrust_connection()
            self.is_spooling = self.database_is_away = False
            self._hold_until = 0.0
            self._taker_wake = self._wake
            if self._spool is not None:
                self._spool.refusals.at = None
        self._wake.wake()
        _log.info("spooling_ended", spooled=self.spooled, drained=self.drained)
        return True

    # --- on the event loop

    def _look_for_stalls(self) -> None:
        assert self._loop is not None, "start() comes first"  # noqa: S101
        with self._taking:
            self._give_up_stalled(time.monotonic() - self._stall_s)
        self._watch = self._loop.call_later(self._stall_s * WATCH_SHARE, self._look_for_stalls)

    def _give_up_stalled(self, late: float) -> None:
        """Give what a disk has not answered for too long to the other one, or refuse it; `_taking` is held."""
        if self._in_writer is not None and self._in_writer.began_at < late and not self.writer_is_stuck:
            self.writer_is_stuck = True
            self._give_up(self._in_writer, f"The database has not answered for {self._stall_s:g} s.")
        spool = self._spool
        if spool is not None and self._in_spool is not None and self._in_spool.began_at < late and not spool.is_stuck:
            spool.is_stuck = True
            self._give_up(self._in_spool, f"The spool has not answered for {self._stall_s:g} s.")
        if self.writer_is_stuck:
            self._fail_all(self._refused.take_all())
        if self.writer_is_stuck if spool is None else spool.is_stuck:
            for queue in (self._left_over, self._reports):
                self._fail_all(Batch(queue.popleft() for _ in range(len(queue))))

    def _fail_all(self, batch: Batch) -> None:
        """Answer those who would wait for a thread that is stuck; `_taking` is held."""
        self._post(batch, [StorageUnavailableError("No disk answers now.")] * len(batch.items))

    def _give_up(self, batch: Batch, reason: str) -> None:
        """Take a batch away from a thread that is stuck with it; `_taking` is held."""
        batch.claimed = True
        error = StorageUnavailableError(reason)
        if batch is not self._in_spool and self._spool is not None:
            self._begin_spooling(reason)
            self._hand_over(batch, [error] * len(batch.items))
        else:
            _log.error("pushes_not_stored", count=len(batch.items), error=reason)
            self._post(batch, [error] * len(batch.items))

    def _answer(self, batch: Batch, answers: Sequence[Answer]) -> None:
        for item, done, answer in zip(batch.items, batch.waiters, answers, strict=True):
            if isinstance(item, tuple):  # a report: rejections are not, and count their own room
                self._room.remove(item)
                if type(answer) is not Outcome:
                    self.refused_for_room += is_away(answer)
            try:
                done(answer)
            except Exception as exc:  # noqa: BLE001 - one client's connection must not keep the others waiting
                _log.error("answer_failed", error=type(exc).__name__)

    # --- from any thread

    def _post(self, batch: Batch, answers: Sequence[Answer]) -> None:
        assert self._loop is not None  # noqa: S101
        if batch.items:
            self._loop.call_soon_threadsafe(self._answer, batch, answers)

    def _begin_spooling(self, reason: str) -> None:
        self.database_is_away = True
        assert self._spool is not None  # noqa: S101
        self._taker_wake = self._spool.wake
        if not self.is_spooling:
            self.is_spooling = True
            _log.warning("spooling_began", reason=reason)

    def _wake_spool(self) -> None:
        if self._spool is not None:
            self._spool.wake.set()

    def _hand_over(self, batch: Batch, answers: Sequence[Answer]) -> None:
        """Answer what is answered; leave to the spool the reports that the database did not take. `_taking` is held."""
        left, rest, answered = batch.split(answers)
        # Of several writers the one with the older batch may be the last to give up.
        self._left_over = deque(sorted([*self._left_over, *left], key=lambda waiting: waiting[0].received_at))
        self._post(rest, answered)
        self._wake_spool()

    # --- the writer's thread

    def _run(self) -> None:
        while True:
            self._wake.wait()
            ending = self._writer_ends  # asked before the queues: what was put before `stop` is seen below
            while (batch := self._take_for_writer()) is not None:
                answers = self._store(batch)
                self._finish(batch, answers)
                if isinstance(batch.items[0], tuple) and answers[0] is Outcome.STORED:
                    self._after_batch(len(answers))
                if not (ending or self._refused or len(self._reports) >= ENOUGH):
                    break  # the few that have come meanwhile are gathered
            if ending:
                self._writer.close()
                return

    def _store(self, batch: Batch) -> list[Answer]:
        if not isinstance(batch.items[0], tuple):
            return self._writer.keep_rejections(batch.items)  # type: ignore[arg-type]
        store = self._writer.count_copies if batch.are_copies else self._writer.store_reports
        return store(batch.items, partial(getattr, batch, "claimed"))  # type: ignore[arg-type]

    def _take_for_writer(self) -> Batch | None:
        with self._taking:
            self._in_writer = self._pick_for_writer()
            return self._in_writer

    def _pick_for_writer(self) -> Batch | None:
        """Give reports, or where none wait rejections; `_taking` is held."""
        if self._reports and self.is_spooling:
            self._wake_spool()
        elif self._reports and self._taker_wake is self._wake:
            batch = Batch(take_reports(self._reports, batch_size(len(self._reports)), self._room))
            if self._reports:
                self._wake.wake()
            return batch
        if self._refused:
            return self._refused.take_all()
        return None

    def _finish(self, batch: Batch, answers: list[Answer]) -> None:
        with self._taking:
            self._in_writer = None
            self.writer_is_stuck = False
            if batch.claimed:  # it took too long, and is in other hands
                return
            batch.claimed = True
            reason = next((str(answer) for answer in answers if is_away(answer)), None)
            if reason is not None and self._spool is not None:
                self._begin_spooling(reason)
                self._hand_over(batch, answers)
                return
            if reason is not None:
                _log.warning("inbox_unavailable", waiting=len(batch.items), error=reason)
            self._post(batch, answers)

    # --- the spool's thread

    def _take_for_spool(self) -> Batch | None:
        with self._taking:
            if not self.is_spooling:
                if self._reports:
                    self._wake.wake()
                return None
            is_ending = self._spool is not None and self._spool.is_ending
            if time.monotonic() < self._hold_until and not is_ending:
                return None
            self._hold_until = 0.0
            queue = self._left_over or self._reports
            if not queue:
                return None
            self._in_spool = Batch(take_reports(queue, min(len(queue), SPOOL_BATCH), self._room))
            return self._in_spool

    def _finish_spool(self, batch: Batch, answers: list[Answer], last_id: int) -> None:
        with self._taking:
            self._in_spool = None
            if self._spool is not None:
                self._spool.is_stuck = False
            self.spooled += answers.count(Outcome.STORED)
            self.last_spooled_id = last_id or self.last_spooled_id
            if not batch.claimed:
                batch.claimed = True
                self._post(batch, answers)


def make_inbox(engine: Engine, rejection_limits: RejectionLimits, spool: Spool | None = None, **options: Any) -> Inbox:  # noqa: ANN401
    """Give the inbox for a database of this kind; the arguments are those of `Inbox`."""
    if engine.dialect.name == "sqlite":
        return Inbox(engine, rejection_limits, spool, **options)
    from receiver.storage.pg_inbox import PgInbox  # which loads psycopg

    return PgInbox(engine, rejection_limits, spool, **options)
