"""Those who follow the events through one process: how many there may be, and what they share.

They share the tail that reads new events once for all, and a thread on which those who are behind read theirs; both
are apart from the places of calls and from the exports. While nobody follows, nothing runs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.services.api_keys import list_api_keys
from receiver.services.event_pages import EventPage, read_event_page
from receiver.services.event_tail import EventTail
from receiver.web.problems import RETRY_AFTER_S, too_many, unavailable

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from starlette.responses import Response

    from receiver.services.event_contents import EventFilter

MOST_READERS = 64
"""Of one process. Each holds some hundred kilobytes at most, and each event is sent that often, beside the pushes."""

MOST_READERS_OF_KEY = 16
"""So that one program that opens streams and forgets them leaves room for the others."""

CHUNK_BYTES = 64 * 1024
"""Sent at once: as much as a connection takes before it makes its sender wait."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """What a stream waits for, and how long."""

    heartbeat_s: float = 15.0
    """Proxies cut what is silent for 30 or 60 s; the dead are noticed by what cannot be sent to them."""
    send_timeout_s: float = 20.0
    """So long a reader may take for what a connection holds: slower ones come back, and read from the database."""
    look_again_s: float = 0.5
    """Between two looks of a reader into the database that found nothing, or found it away."""
    key_check_s: float = 20.0
    """How often it is looked whose key was revoked."""


class Reader(Protocol):
    """One who follows."""

    @property
    def key_name(self) -> str:
        """The name of the API key that it came with."""

    def wake(self) -> None:
        """Tell it that there may be more to take."""

    def end(self) -> None:
        """Tell it to end at once."""


class EventRoom:
    """The readers of one process. All is called on the event loop."""

    def __init__(
        self,
        engine: Engine,
        timing: StreamTiming | None = None,
        *,
        most_readers: int = MOST_READERS,
        most_readers_of_key: int = MOST_READERS_OF_KEY,
    ) -> None:
        self.timing = timing or StreamTiming()
        self._engine = engine
        self._most_readers = most_readers
        self._most_readers_of_key = most_readers_of_key
        self._readers: set[Reader] = set()
        self._of_key: Counter[str] = Counter()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="event-stream")
        self._tail: EventTail | None = None
        self._watch: asyncio.Task[None] | None = None

    def enter(self, reader: Reader) -> Response | None:
        """Take a reader in, who leaves by `leave`; or give the answer to one too many."""
        if len(self._readers) >= self._most_readers:
            return unavailable(f"{self._most_readers} streams are open; come again later.")
        if self._of_key[reader.key_name] >= self._most_readers_of_key:
            detail = f"This API key has {self._most_readers_of_key} streams open."
            return too_many(detail, RETRY_AFTER_S, "streams-per-key")
        self._readers.add(reader)
        self._of_key[reader.key_name] += 1
        if self._tail is None:
            loop = asyncio.get_running_loop()
            self._tail = EventTail(self._engine, lambda: self._wake_from_thread(loop))
            self._tail.start()
            self._watch = loop.create_task(self._end_revoked())
        return None

    def leave(self, reader: Reader) -> None:
        """Let a reader go; what they share ends with the last one."""
        self._readers.discard(reader)
        self._of_key -= Counter([reader.key_name])
        if not self._readers and self._tail is not None and self._watch is not None:
            self._tail.close()
            self._watch.cancel()
            self._tail = self._watch = None

    def take(self, after_id: int, wanted: EventFilter) -> EventPage | None:
        """Give what is behind `after_id` if it is in memory; else None."""
        return None if self._tail is None else self._tail.take(after_id, wanted, CHUNK_BYTES)

    def read_page(self, after_id: int, wanted: EventFilter) -> asyncio.Future[EventPage]:
        """Read what is behind `after_id` from the database, when it is this reader's turn."""
        return asyncio.wrap_future(self._threads.submit(read_event_page, self._engine, after_id, wanted))

    def _wake_from_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for reader in self._readers:
            reader.wake()

    async def _end_revoked(self) -> None:
        """End streams whose key was revoked; while the database is away nobody can know."""
        while True:
            await asyncio.sleep(self.timing.key_check_s)
            try:
                keys = await asyncio.wrap_future(self._threads.submit(list_api_keys, self._engine))
            except StorageUnavailableError:
                continue
            except Exception as exc:  # noqa: BLE001 - the next look may succeed
                _log.error("api_keys_of_streams_not_checked", error=type(exc).__name__)
                continue
            live = {key.name for key in keys if key.revoked_at is None}
            for reader in [reader for reader in self._readers if reader.key_name not in live]:
                _log.info("event_stream_ended", reason="its API key was revoked", key=reader.key_name)
                reader.end()
