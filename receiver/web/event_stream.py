"""One stream of events, as the HTML standard has server-sent events (section 9.2): `text/event-stream`.

Each event brings its id; a block of an id alone tells nothing, and yet is where a reader goes on that comes back. So a
stream begins with its place, and a heartbeat brings the place if what was told meanwhile was not wanted.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.responses import Response

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.web.protocol import CUT_OFF, END_ANSWER
from receiver.web.streams import wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from receiver.services.event_contents import EventContent, EventFilter
    from receiver.services.event_pages import EventPage
    from receiver.web.event_room import EventRoom

MEDIA_TYPE = "text/event-stream"

COME_BACK_AFTER_MS = 2000
"""What a browser waits before it comes back: as long as a restart takes."""

END_WITHIN_S = 1.0
"""For the end of an answer; who does not take it is cut off."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would gather what is small
}

_log = get_logger(__name__)


class EventStream(Response):
    """The events behind `position` that are wanted, until the reader goes, is too slow, or is told to end."""

    def __init__(self, room: EventRoom, key_name: str, wanted: EventFilter, position: int) -> None:
        super().__init__(None, 200, _HEADERS)
        del self.headers["content-length"]
        self.headers["content-type"] = MEDIA_TYPE  # always UTF-8, and without saying so
        self.key_name = key_name
        self._room = room
        self._wanted = wanted
        self._position = position  # all up to this id was told, or was not wanted
        self._told_id = position
        self._woken = asyncio.Event()
        self._ended = False
        self._is_sending = False
        self._cut_off: Callable[[], None] | None = None
        self._reading: asyncio.Future[EventPage] | None = None
        self._look_at = 0.0
        self._is_away = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events for as long as it lasts."""
        refused = self._room.enter(self)
        if refused is not None:
            await refused(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state[END_ANSWER] = self.end
        self._cut_off = state.get(CUT_OFF)
        gone = asyncio.ensure_future(wait_until_gone(receive))
        gone.add_done_callback(lambda _: self.end())
        try:
            await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._follow(send)
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False}, END_WITHIN_S)
        except TimeoutError:
            _log.warning("event_stream_too_slow", key=self.key_name)
            await self._drop(gone)
        except Exception as exc:  # noqa: BLE001 - the reader comes back, and there is never a traceback
            _log.error("event_stream_failed", error=type(exc).__name__)
            await self._drop(gone)
        finally:
            self._room.leave(self)
            gone.cancel()
            if self._reading is not None:
                self._reading.cancel()

    def wake(self) -> None:
        """There may be more."""
        self._woken.set()

    def end(self) -> None:
        """End at once, also if the reader takes nothing."""
        self._ended = True
        self._woken.set()
        if self._is_sending and self._cut_off is not None:
            self._cut_off()

    async def _follow(self, send: Send) -> None:
        timing, clock = self._room.timing, asyncio.get_running_loop().time
        await self._send_text(send, b"retry: %d\nid: %d\n\n" % (COME_BACK_AFTER_MS, self._position))
        beat_at = clock() + timing.heartbeat_s
        while not self._ended:
            self._woken.clear()
            text = self._next(clock())
            if not text and clock() >= beat_at:
                text = self._heartbeat()
            if text:
                await self._send_text(send, text)
                beat_at = clock() + timing.heartbeat_s
                continue
            wake_at = min(beat_at, self._look_at) if self._look_at > clock() else beat_at
            with suppress(TimeoutError):
                async with asyncio.timeout_at(wake_at):
                    await self._woken.wait()

    def _next(self, now: float) -> bytes:
        """Give what can be told now; from memory, or of what was read from the database, and else have it read."""
        page = self._take_what_was_read(now)
        if page is not None and (page.contents or page.gap):
            return self._write(page)
        if self._reading is not None:
            return b""
        page = self._room.take(self._position, self._wanted)
        if page is not None:
            return self._write(page)
        if now >= self._look_at:
            self._reading = self._room.read_page(self._position, self._wanted)
            self._reading.add_done_callback(lambda _: self.wake())
        return b""

    def _take_what_was_read(self, now: float) -> EventPage | None:
        if self._reading is None or not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        try:
            page = reading.result()
        except StorageUnavailableError as exc:
            if not self._is_away:
                _log.warning("event_stream_without_database", error=str(exc))
            self._is_away = True
            self._look_at = now + self._room.timing.look_again_s
            return None
        self._is_away = False
        self._position = page.position
        if page.is_last:  # the rest comes from memory, as soon as that goes so far back
            self._look_at = now + self._room.timing.look_again_s
        return page

    def _write(self, page: EventPage) -> bytes:
        texts = []
        if page.gap is not None:
            self._told_id = page.gap[1]
            texts.append(b'id: %d\nevent: gap\ndata: {"type":"gap","from":%d,"to":%d}\n\n' % (self._told_id, *page.gap))
        if page.contents:
            self._told_id = page.contents[-1].event.id
            texts += [_write_event(content) for content in page.contents]
        self._position = page.position
        return b"".join(texts)

    def _heartbeat(self) -> bytes:
        if self._position == self._told_id:
            return b":\n\n"
        self._told_id = self._position
        return b":\nid: %d\n\n" % self._position

    async def _send_text(self, send: Send, text: bytes) -> None:
        await self._send(send, {"type": "http.response.body", "body": text, "more_body": True})

    async def _send(self, send: Send, message: dict[str, object], within_s: float | None = None) -> None:
        self._is_sending = True
        try:
            async with asyncio.timeout(within_s or self._room.timing.send_timeout_s):
                await send(message)
        finally:
            self._is_sending = False

    async def _drop(self, gone: asyncio.Future[None]) -> None:
        """Close the connection with what it still holds: it would wait for the reader for as long as that lives."""
        if self._cut_off is not None:
            self._cut_off()
            await asyncio.wait({gone}, timeout=END_WITHIN_S)


def _write_event(content: EventContent) -> bytes:
    event = content.event
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.kind.value.encode(), content.body)
