"""The inbox on PostgreSQL: in busy times batches go to the database from the event loop, over `pg_lanes`.

The writer's thread begins, and stays for all that is rare: quiet times, rejections, further deliveries, rows that the
database refuses, a database that comes back. Once it has stored a batch of many it opens the lanes, and the reports go
there until a while passes without any. What a lane loses is lost as in the writer's thread: it goes to the spool.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.storage.inbox import Inbox
from receiver.storage.inbox_batch import Batch
from receiver.storage.inbox_room import take_reports
from receiver.storage.inbox_rows import Outcome, batch_size
from receiver.storage.pg_lanes import PgLanes, connect_lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from receiver.storage.rejections import RejectionLimits
    from receiver.storage.spool import Spool

BUSY_FROM = 8
"""Reports in one batch of the writer that say so many come that two batches under way are worth their connections."""

IDLE_S = 5.0
"""After so long without a batch the lanes are closed. What stands between us and the database may forget a connection
that is idle for minutes; the writer tries one that was idle, the lanes do not."""

REST_S = 10.0
"""After a statement that was refused, or a connection that could not be made, the writer goes on alone for so long."""

END_LOOK_S = 0.005

_log = get_logger(__name__)


class PgInbox(Inbox):
    """An `Inbox` with a further way to PostgreSQL."""

    def __init__(
        self,
        engine: Engine,
        rejection_limits: RejectionLimits,
        spool: Spool | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Take the arguments of `Inbox`."""
        super().__init__(engine, rejection_limits, spool, **options)
        self._engine = engine
        self._handed: deque[Batch] = deque()  # what a lane leaves to the writer, before all others
        self._lanes = PgLanes(
            self._take_for_lane, self._count_waiting, self._finish_lane, self._hand_to_writer, self._lose_lanes
        )
        self._rest_until = 0.0
        self._is_entering = False

    @property
    def uses_lanes(self) -> bool:
        """Whether reports go over the lanes now."""
        return self._taker_wake is self._lanes.wake

    # --- the writer's thread

    def _pick_for_writer(self) -> Batch | None:
        if not self._handed:
            return super()._pick_for_writer()
        self._wake.wake()  # for what waits behind it
        return self._handed.popleft()

    def _after_batch(self, size: int) -> None:
        """Open the lanes, or go back to them, where many come."""
        is_asked = size >= BUSY_FROM and not (self.uses_lanes or self.is_spooling or self._stopping)
        if not is_asked or self._is_entering or self._rests():
            return
        self._is_entering = True
        threading.Thread(target=self._open_lanes, name="inbox-lanes", daemon=True).start()

    def _open_lanes(self) -> None:
        """Connect, if there is need to, in a thread that may hang with it."""
        connections: list[Any] = []
        try:
            if not self._lanes.are_open:
                connections = connect_lanes(self._engine)
        except Exception as exc:  # noqa: BLE001 - the writer goes on without
            self._rest_until = time.monotonic() + REST_S
            reason = str(exc) if isinstance(exc, StorageUnavailableError) else type(exc).__name__
            _log.warning("lanes_not_opened", error=reason)
        assert self._loop is not None  # noqa: S101
        try:
            self._loop.call_soon_threadsafe(self._enter_lanes, connections)
        except RuntimeError:  # the loop has ended meanwhile
            _close_all(connections)

    def _rests(self) -> bool:
        return time.monotonic() < self._rest_until

    # --- the event loop

    def _enter_lanes(self, connections: list[Any]) -> None:
        with self._taking:
            if self._stopping or self._lanes.are_open or not connections:
                _close_all(connections)
            else:
                assert self._loop is not None  # noqa: S101
                self._lanes.open(self._loop, connections)
            if self._taker_wake is self._wake and self._lanes.are_open and not (self._stopping or self._rests()):
                self._taker_wake = self._lanes.wake
            self._is_entering = False
        if self._reports and not self._taker_wake.is_set():
            self._taker_wake.set()

    def _leave_lanes(self) -> None:
        """Let the writer take what comes from now on; `_taking` is held."""
        if self.uses_lanes:
            self._taker_wake = self._wake
            self._wake.wake()

    def _take_for_lane(self) -> Batch | None:
        with self._taking:
            if not self._reports or not self.uses_lanes:
                return None
            return Batch(take_reports(self._reports, batch_size(len(self._reports)), self._room))

    def _finish_lane(self, batch: Batch, are_new: Sequence[bool]) -> None:
        """Answer those that are new; the writer counts the others before they are answered."""
        if False not in are_new:
            self._answer(batch, [Outcome.STORED] * len(batch.items))
            return
        both = list(zip(batch.items, batch.waiters, are_new, strict=True))
        new = Batch((item, done) for item, done, is_new in both if is_new)
        self._answer(new, [Outcome.STORED] * len(new.items))
        self._hand(Batch(((item, done) for item, done, is_new in both if not is_new), are_copies=True))

    def _hand_to_writer(self, batch: Batch) -> None:
        """Leave a batch that was refused to the writer, which finds out whose fault it is."""
        self._rest_until = time.monotonic() + REST_S
        with self._taking:
            self._leave_lanes()
        self._hand(Batch(zip(batch.items, batch.waiters, strict=True)))

    def _hand(self, batch: Batch) -> None:
        with self._taking:
            self._handed.append(batch)
        self._wake.wake()

    def _lose_lanes(self, under_way: list[Batch], reason: str) -> None:
        self._writer.distrust_connection()
        with self._taking:
            self._leave_lanes()
            for batch in under_way:
                self._give_up(batch, reason)

    def _give_up_stalled(self, late: float) -> None:
        super()._give_up_stalled(late)
        if self.writer_is_stuck:
            while self._handed:
                self._give_up(self._handed.popleft(), "The database does not answer.")
        if self._lanes.has_stalled(late):
            self._leave_lanes()
            for batch in self._lanes.close():
                self._give_up(batch, f"The database has not answered for {self._stall_s:g} s.")
        elif self._lanes.are_open and not self._lanes.are_busy and self._lanes.idle_s > IDLE_S:
            self._leave_lanes()
            self._lanes.close()

    async def _before_end(self) -> None:
        with self._taking:
            self._leave_lanes()
        until = time.monotonic() + self._stall_s  # what is under way counts as stalled after that
        while (self._lanes.are_busy or self._is_entering) and time.monotonic() < until + END_LOOK_S:  # noqa: ASYNC110
            await asyncio.sleep(END_LOOK_S)
        with self._taking:
            for batch in self._lanes.close():
                self._give_up(batch, "The database has not answered until the end.")


def _close_all(connections: list[Any]) -> None:
    for connection in connections:
        connection.close()
