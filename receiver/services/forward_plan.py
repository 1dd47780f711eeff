"""What a forwarder may send next, and how far it has come: each lane in order, lanes side by side. Pure.

A lane is what must stay in order: a device, or a connection's rejections. One event of a lane is under way at a time.
When one fails, it and all behind it in its lane go to the retries, and the other lanes go on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from receiver.services.forward_backoff import backoff_s, is_to_give_up
from receiver.storage.forwarder_progress import Progress, Retry

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from receiver.services.event_contents import EventContent
    from receiver.storage.events import Event


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way; `retry` is its row, if it stands in the retries."""

    lane: str
    content: EventContent
    retry: Retry | None = None

    @property
    def event_id(self) -> int:
        """The id of the event."""
        return self.content.event.id

    @property
    def is_first_try(self) -> bool:
        """Say whether it was never tried."""
        return self.retry is None or self.retry.attempts == 0


def lane_of(event: Event) -> str:
    """Give the lane of an event: its device's, else its connection's."""
    if event.dev_eui is not None:
        return f"device/{event.dev_eui}"
    return f"connection/{event.connection_id}" if event.connection_id is not None else "others"


class DeliveryPlan:
    """What is in memory of one forwarder. Whoever uses it commits `take_progress()` before it asks for another."""

    def __init__(self, position: int, waiting_lanes: Iterable[str], give_up_after: timedelta) -> None:
        self.read_id = position
        self._give_up_after = give_up_after
        self._waiting_lanes = set(waiting_lanes)
        self._open: dict[int, None] = {}  # new events that are not settled, in order
        self._queues: dict[str, deque[Delivery]] = {}
        self._ready: deque[str] = deque()
        self._under_way: dict[str, Delivery] = {}
        self._progress = Progress(position)
        self._has_progress = False

    @property
    def position(self) -> int:
        """The last event before which nothing is unsettled."""
        return next(iter(self._open)) - 1 if self._open else self.read_id

    @property
    def open_count(self) -> int:
        """How many new events are not settled."""
        return len(self._open)

    @property
    def under_way_count(self) -> int:
        """How many are being sent."""
        return len(self._under_way)

    @property
    def lanes_in_memory(self) -> set[str]:
        """Lanes that have something to send here."""
        return set(self._queues)

    @property
    def has_progress(self) -> bool:
        """Say whether there is something to commit."""
        return self._has_progress or self.position != self._progress.position

    @property
    def has_new_retries(self) -> bool:
        """Say whether there is something to commit that the retries wait for."""
        return bool(self._progress.lanes)

    @property
    def is_ready(self) -> bool:
        """Say whether a lane could send."""
        return bool(self._ready)

    def add_new(self, contents: Iterable[EventContent], read_id: int) -> None:
        """Take up what was read up to `read_id`; what was passed over is settled."""
        for content in contents:
            lane = lane_of(content.event)
            if lane in self._waiting_lanes:
                self._retry_later(Delivery(lane, content))
            else:
                self._open[content.event.id] = None
                self._enqueue(Delivery(lane, content))
        self.read_id = max(self.read_id, read_id)

    def add_retries(self, lane: str, retries: list[Retry], contents: dict[int, EventContent]) -> None:
        """Take up the first of a lane of the retries; what there is nothing to tell of any more has ended."""
        if lane in self._queues:
            return
        for retry in retries:
            content = contents.get(retry.event_id)
            if content is None:
                self._end_retry(retry)
            else:
                self._enqueue(Delivery(lane, content, retry))

    def take(self, room: int) -> list[Delivery]:
        """Give what may be sent now, up to `room`, of each lane the first; it is under way from now on."""
        taken: list[Delivery] = []
        while self._ready and len(taken) < room:
            lane = self._ready.popleft()
            delivery = self._queues[lane][0]
            self._under_way[lane] = delivery
            taken.append(delivery)
        return taken

    def note_delivered(self, delivery: Delivery, now: datetime) -> None:
        """It was taken: the next one of its lane may go."""
        self._settle_first(delivery)
        if delivery.retry is not None:
            self._end_retry(delivery.retry)
        self._progress.delivered += 1
        self._progress.delivered_at = now
        self._has_progress = True

    def put_back(self, delivery: Delivery) -> None:
        """It was not taken, and that was not its fault: it stays the first of its lane, behind the other lanes."""
        del self._under_way[delivery.lane]
        self._ready.append(delivery.lane)

    def note_failed(
        self, delivery: Delivery, now: datetime, chance: float, error: str, asked_s: float | None = None
    ) -> bool:
        """It was not taken: it is tried again later, or is a dead letter now; say whether that.

        All behind it in its lane wait in the retries.
        """
        del self._under_way[delivery.lane]
        queue = self._queues.pop(delivery.lane)
        before = delivery.retry
        attempts = 1 if before is None else before.attempts + 1
        first_failed_at = (before.first_failed_at if before is not None else None) or now
        is_dead = is_to_give_up(attempts, first_failed_at, now, self._give_up_after)
        pause = timedelta(seconds=max(backoff_s(attempts, chance), asked_s or 0.0))
        event = delivery.content.event
        retry = Retry(
            event.id,
            delivery.lane,
            event.kind.value,
            event.dev_eui,
            attempts,
            first_failed_at,
            None if is_dead else now + pause,
            error,
            now if is_dead else None,
        )
        self._progress.lanes.add(delivery.lane)
        self._has_progress = True
        if before is None:
            self._waiting_lanes.add(delivery.lane)
            self._progress.new_retries.append(retry)
            self._open.pop(event.id, None)
            for behind in list(queue)[1:]:
                self._open.pop(behind.event_id, None)
                self._retry_later(behind)
        else:
            self._progress.changed_retries.append(retry)
        return is_dead

    def note_error(self, error: str, now: datetime) -> None:
        """Keep the newest reason why something was not taken."""
        self._progress.error, self._progress.error_at = error, now
        self._has_progress = True

    def note_target(self, away_since: datetime | None) -> None:
        """Keep since when the target is away."""
        if self._progress.away_since != away_since:
            self._progress.away_since = away_since
            self._has_progress = True

    def note_gone(self, because: str) -> None:
        """The target wants nothing any more."""
        self._progress.gone_because = because
        self._has_progress = True

    def take_progress(self) -> Progress:
        """Give what is to be committed; what happens from now on is the next one."""
        progress, self._has_progress = self._progress, False
        progress.position = self.position
        self._progress = Progress(progress.position, away_since=progress.away_since)
        return progress

    def note_committed(self, progress: Progress, alive_lanes: set[str]) -> None:
        """What was taken is committed; of its lanes only `alive_lanes` still have something in the retries."""
        self._waiting_lanes -= progress.lanes - alive_lanes

    def _retry_later(self, delivery: Delivery) -> None:
        event = delivery.content.event
        behind = Retry(event.id, delivery.lane, event.kind.value, event.dev_eui, 0, None, None, None, None)
        self._progress.new_retries.append(behind)
        self._progress.lanes.add(delivery.lane)
        self._has_progress = True

    def _end_retry(self, retry: Retry) -> None:
        self._progress.ended_retries.append(retry.event_id)
        self._progress.lanes.add(retry.lane)
        self._has_progress = True

    def _enqueue(self, delivery: Delivery) -> None:
        queue = self._queues.get(delivery.lane)
        if queue is None:
            self._queues[delivery.lane] = deque([delivery])
            self._ready.append(delivery.lane)
        else:
            queue.append(delivery)

    def _settle_first(self, delivery: Delivery) -> None:
        del self._under_way[delivery.lane]
        self._open.pop(delivery.event_id, None)
        queue = self._queues[delivery.lane]
        queue.popleft()
        if queue:
            self._ready.append(delivery.lane)
        else:
            del self._queues[delivery.lane]
