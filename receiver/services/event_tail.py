"""The newest events, read and rendered once for all who follow them live.

A thread reads what is told as soon as it is told and keeps the newest in memory; who follows has a place in the order
and asks for what stands behind it, from any thread, at once. Who is further behind reads pages of its own
(`event_pages`) until it is near again: nobody waits for anybody, and what is kept here is bounded whatever readers do.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.services.event_pages import EVERYTHING, EventPage, read_event_page
from receiver.storage.event_listener import EventBell

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from receiver.services.event_contents import EventContent, EventFilter

KEPT_EVENTS = 2000
KEPT_BYTES = 4 * 1024 * 1024
"""What is kept for those who are a little behind: seconds of a busy receiver. At most one event is larger."""

TOLD_EVERY_S = 0.05
"""At most twenty times a second is anybody woken, for all that came meanwhile: pushes share the processor."""

WAIT_S = 30.0
"""The thread looks up from waiting this often; the bell itself asks the database more often."""

PAUSE_S = 1.0
"""After a failure, until the next try."""

_log = get_logger(__name__)


class EventTail:
    """The newest events of a database, from the moment of its start on."""

    def __init__(
        self,
        engine: Engine,
        on_news: Callable[[], None],
        *,
        kept_events: int = KEPT_EVENTS,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        """Do nothing yet; `on_news` is called from its thread when there may be more to take, and must not block."""
        self._engine = engine
        self._on_news = on_news
        self._kept_events = kept_events
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._kept: deque[EventContent] = deque()
        self._bytes = 0
        self._begins = 0  # all that was told behind this id, and has something to tell, is kept …
        self._position: int | None = None  # … up to this one; None: not known yet
        self._stop = threading.Event()
        self._bell = EventBell(engine)

    def start(self) -> None:
        """Begin to read, in a thread that does not keep the process alive."""
        threading.Thread(target=self._run, name="event-tail", daemon=True).start()

    def close(self) -> None:
        """Stop reading; does not wait for it, since the database may hang."""
        self._stop.set()
        self._bell.close()

    def take(self, after_id: int, wanted: EventFilter, most_bytes: int) -> EventPage | None:
        """Give what stands behind `after_id`, as much as `most_bytes` or one event; None if that is not kept here."""
        with self._lock:
            if self._position is None or after_id < self._begins:
                return None
            if after_id >= self._position:
                return EventPage([], after_id, is_last=True)
            position = self._position
            behind: list[EventContent] = []
            for content in reversed(self._kept):  # nearly all readers are near its end
                if content.event.id <= after_id:
                    break
                behind.append(content)
        taken: list[EventContent] = []
        size = 0
        for content in reversed(behind):
            if not wanted.wants(content):
                continue
            size += len(content.body)
            if taken and size > most_bytes:
                return EventPage(taken, taken[-1].event.id, is_last=False)
            taken.append(content)
        return EventPage(taken, position, is_last=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                has_more = self._read()
            except StorageUnavailableError as exc:
                _log.warning("event_tail_without_database", error=str(exc))
                self._stop.wait(PAUSE_S)
            except Exception as exc:  # noqa: BLE001 - streams go on when whatever it was is over
                _log.error("event_tail_failed", error=type(exc).__name__)
                self._stop.wait(PAUSE_S)
            else:
                self._stop.wait(0 if has_more else TOLD_EVERY_S)

    def _read(self) -> bool:
        """Wait for news and take them in; say whether there is more already."""
        if self._position is None:
            newest = self._bell.wait(-1, WAIT_S)
            if newest >= 0:  # else the database is away, or this was closed
                self._begins = self._position = newest
                self._on_news()
            return False
        if self._bell.wait(self._position, WAIT_S) <= self._position:
            return False
        page = read_event_page(self._engine, self._position, EVERYTHING)
        with self._lock:
            if page.gap:  # deleted before it could be read here; the pages tell it to each reader
                self._kept.clear()
                self._bytes, self._begins = 0, page.gap[1]
            self._kept.extend(page.contents)
            self._bytes += sum(len(content.body) for content in page.contents)
            self._position = page.position
            while len(self._kept) > self._kept_events or (self._bytes > self._kept_bytes and len(self._kept) > 1):
                oldest = self._kept.popleft()
                self._bytes -= len(oldest.body)
                self._begins = oldest.event.id
        self._on_news()
        return not page.is_last
