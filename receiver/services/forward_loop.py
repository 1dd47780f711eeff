"""Delivers for one forwarder: reads events, sends them on, and commits how far it has come.

At least once, and in order in each lane: an event is passed only by a commit after it was taken, or after it was put
into the retries. A crash between sending and that commit sends again what was not committed: up to `WINDOW` events.
Nothing is sent within a transaction.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.services.event_contents import load_contents
from receiver.services.forward_backoff import TargetHealth
from receiver.services.forward_plan import DeliveryPlan
from receiver.services.forward_targets import Outcome, Verdict
from receiver.storage import forwarder_progress as stored
from receiver.storage.engine import read, write
from receiver.storage.events import list_events, newest_event_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from receiver.services.event_contents import EventFilter
    from receiver.services.forward_plan import Delivery
    from receiver.services.forward_targets import Target
    from receiver.storage.forwarder_progress import Progress
    from receiver.storage.forwarders import StoredForwarder

WINDOW = 256
"""New events in memory that are not settled: enough that many devices go side by side, and a few MB at most."""

MOST_WAITING = 10_000
"""Events in the retries of a forwarder, replays aside: with more, nothing new is read until some have gone."""

MOST_DEAD_LETTERS = 10_000
"""Dead letters that are kept of a forwarder, the newest."""

LANE_ROWS = 50
"""Of a lane that is tried again, what is loaded at a time."""

COMMIT_EVERY_S = 0.5
"""At most two commits a second for each forwarder: on SQLite they share the one write lock with the pushes."""

LOOK_WAITING_S = 0.5
LOOK_IDLE_S = 2.0
"""How often the retries are asked for what is due: where something waits, and where only a replay could come."""

FINISH_WITHIN_S = 3.0
"""For what is under way at a stop; what is not answered by then is sent again by the next run."""

MOST_BETWEEN_TRIES_S = 10.0
"""The longest pause between two tries while the database is away."""

CONNECTIONS = 2
"""To the database at a time, for all forwarders of a process together."""

_log = get_logger(__name__)


class ForwarderDatabase:
    """The database, for short transactions of a few forwarders at a time: the others wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._room = threading.BoundedSemaphore(CONNECTIONS)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection inside one read transaction."""
        with self._room, read(self._engine) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection inside one transaction."""
        with self._room, write(self._engine) as connection:
            yield connection


class Forwarding:
    """Delivers for one forwarder, in one thread."""

    def __init__(
        self,
        database: ForwarderDatabase,
        forwarder: StoredForwarder,
        wanted: EventFilter,
        target: Target,
        *,
        holder: str,
        clock: Callable[[], datetime],
        chance: Callable[[], float],
        may_send: Callable[[], bool] = lambda: True,
        commit_every_s: float = COMMIT_EVERY_S,
    ) -> None:
        """Send nothing yet. `holder` has the forwarder's lease, and `may_send` says whether that still holds."""
        self._database = database
        self._forwarder = forwarder
        self._wanted = wanted
        self._target = target
        self._holder = holder
        self._clock = clock
        self._chance = chance
        self._may_send = may_send
        self._commit_every_s = commit_every_s
        self._health = TargetHealth(forwarder.away_since)
        self._outcomes: queue.SimpleQueue[tuple[Delivery, Outcome]] = queue.SimpleQueue()
        self._signal = threading.Event()
        self._plan: DeliveryPlan | None = None
        self._uncommitted: Progress | None = None
        self._may_have_new = True
        self._waiting = 0
        self._committed_at = self._looked_at = 0.0
        self._is_gone = False
        self.is_over = False
        """Somebody else delivers now, or the target is gone."""

    def wake(self) -> None:
        """Say that there are new events, or that it is to stop. From any thread."""
        self._may_have_new = True
        self._signal.set()

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set or it is over; then commit what was taken and close the target."""
        pause_s = 0.0
        try:
            while not stop.is_set() and not self.is_over:
                try:
                    self.step()
                    pause_s = 0.0
                except StorageUnavailableError as exc:
                    pause_s = min(max(pause_s * 2, 0.5), MOST_BETWEEN_TRIES_S)
                    _log.warning("forwarder_waits_for_database", forwarder=self._forwarder.name, error=str(exc))
                    stop.wait(pause_s)
                    continue
                self.wait(self._idle_s())
            self._finish()
        finally:
            self._target.close()

    def wait(self, timeout_s: float) -> None:
        """Wait until something has happened."""
        self._signal.wait(timeout_s)
        self._signal.clear()

    def step(self) -> None:
        """Do all that can be done now, without waiting for the target.

        Raises:
            StorageUnavailableError: the database is away; nothing is lost, and the next step goes on.
        """
        plan = self._begin()
        self._settle(plan)
        self._commit(plan, at_once=False)
        if self.is_over:
            return
        self._target.look()
        self._read(plan)
        self._look_for_retries(plan)
        self._send(plan)

    def _begin(self) -> DeliveryPlan:
        if self._plan is None:
            with self._database.read() as connection:
                lanes = stored.list_waiting_lanes(connection, self._forwarder.id)
                self._waiting = stored.count_waiting(connection, self._forwarder.id)
            give_up_after = timedelta(seconds=self._forwarder.give_up_after_s)
            self._plan = DeliveryPlan(self._forwarder.position, lanes, give_up_after)
            self._plan.note_target(self._forwarder.away_since)
        return self._plan

    def _settle(self, plan: DeliveryPlan) -> None:
        while not self._outcomes.empty():
            delivery, outcome = self._outcomes.get()
            was_away = self._health.away_since is not None
            self._settle_one(plan, delivery, outcome, self._clock())
            plan.note_target(self._health.away_since)
            if was_away != (self._health.away_since is not None):
                event = "forwarder_target_is_back" if was_away else "forwarder_target_is_away"
                _log.warning(event, forwarder=self._forwarder.name, answer=outcome.sentence)

    def _settle_one(self, plan: DeliveryPlan, delivery: Delivery, outcome: Outcome, now: datetime) -> None:
        if outcome.verdict is Verdict.TAKEN:
            self._health.note_success()
            plan.note_delivered(delivery, now)
            return
        plan.note_error(outcome.sentence, now)
        if outcome.verdict is Verdict.GONE:
            plan.note_gone(outcome.sentence)
            self._is_gone = True
            plan.put_back(delivery)
            _log.warning("forwarder_disabled", forwarder=self._forwarder.name, answer=outcome.sentence)
        elif outcome.verdict is Verdict.AWAY:
            self._health.note_away(now, self._chance(), outcome.asked_s)
            plan.put_back(delivery)
        elif self._health.note_failure(
            delivery.lane, now, self._chance(), first_try=delivery.is_first_try, asked_s=outcome.asked_s
        ):
            plan.put_back(delivery)
        elif plan.note_failed(delivery, now, self._chance(), outcome.sentence, outcome.asked_s):
            _log.warning("forwarder_gave_up", forwarder=self._forwarder.name, event_id=delivery.event_id)

    def _commit(self, plan: DeliveryPlan, *, at_once: bool) -> None:
        if self._uncommitted is None:
            is_due = at_once or self._is_gone or time.monotonic() - self._committed_at >= self._commit_every_s
            if not plan.has_progress or not is_due:
                return
            self._uncommitted = plan.take_progress()
        progress = self._uncommitted
        with self._database.write() as connection:
            alive = stored.commit_progress(
                connection, self._forwarder.id, self._holder, self._clock(), progress, MOST_DEAD_LETTERS
            )
            if alive is not None and progress.lanes:
                self._waiting = stored.count_waiting(connection, self._forwarder.id)
        self._uncommitted = None
        self._committed_at = time.monotonic()
        if alive is None:
            self.is_over = True
            _log.info("forwarder_taken_over", forwarder=self._forwarder.name)
            return
        plan.note_committed(progress, alive)
        if progress.lanes:
            self._looked_at = 0.0  # the next of a lane may be due
        self.is_over = progress.gone_because is not None

    def _read(self, plan: DeliveryPlan) -> None:
        if not self._may_have_new or plan.open_count > WINDOW // 2 or self._waiting >= MOST_WAITING:
            return
        if plan.has_new_retries:  # first they are committed, and counted
            return
        self._may_have_new = False
        limit = WINDOW - plan.open_count
        with self._database.read() as connection:
            newest = newest_event_id(connection)
            kinds = self._wanted.kinds or None
            found = list_events(connection, plan.read_id, limit, up_to_id=newest, kinds=kinds)
            contents = load_contents(connection, found)
        is_all = len(found) < limit
        plan.add_new(filter(self._wanted.wants, contents), newest if is_all else found[-1].id)
        if not is_all:
            self.wake()

    def _look_for_retries(self, plan: DeliveryPlan) -> None:
        every_s = LOOK_WAITING_S if self._waiting else LOOK_IDLE_S
        if plan.has_new_retries or time.monotonic() - self._looked_at < every_s:
            return
        self._looked_at = time.monotonic()
        with self._database.read() as connection:
            forwarder_id, busy = self._forwarder.id, plan.lanes_in_memory
            lanes = stored.list_due_lanes(connection, forwarder_id, self._clock(), busy, self._target.at_once)
            rows = {lane: stored.list_lane(connection, forwarder_id, lane, LANE_ROWS) for lane in lanes}
            ids = [retry.event_id for retries in rows.values() for retry in retries]
            contents = load_contents(connection, stored.list_events_by_id(connection, ids)) if ids else []
        by_id = {content.event.id: content for content in contents}
        for lane, retries in rows.items():
            plan.add_retries(lane, retries, by_id)

    def _send(self, plan: DeliveryPlan) -> None:
        if self._is_gone or not self._may_send():
            return
        room = self._target.at_once - plan.under_way_count
        if self._health.away_since is not None:
            room = 1 if self._health.may_try(self._clock()) and not plan.under_way_count else 0
        for delivery in plan.take(room):
            self._target.start(delivery, self._done)

    def _done(self, delivery: Delivery, outcome: Outcome) -> None:
        self._outcomes.put((delivery, outcome))
        self._signal.set()

    def _idle_s(self) -> float:
        plan = self._begin()
        if plan.has_progress:
            return max(0.01, self._commit_every_s - (time.monotonic() - self._committed_at))
        return LOOK_WAITING_S if self._waiting or self._health.away_since or plan.under_way_count else LOOK_IDLE_S

    def _finish(self) -> None:
        if self._plan is None or self.is_over:
            return
        deadline = time.monotonic() + FINISH_WITHIN_S
        while self._plan.under_way_count and time.monotonic() < deadline:
            self.wait(deadline - time.monotonic())
            self._settle(self._plan)
        try:
            self._settle(self._plan)
            self._commit(self._plan, at_once=True)
            self._commit(self._plan, at_once=True)  # what came after a commit that had failed
        except StorageUnavailableError as exc:
            _log.warning("forwarder_not_committed", forwarder=self._forwarder.name, error=str(exc))
