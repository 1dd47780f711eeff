"""Long answers, chunk by chunk, at the caller's pace: between two chunks one holds no thread and no connection.

All streams of a process make their chunks on one thread, in turn, beside the four places of calls: an export makes no
call wait, and pushes least of all. A stream whose caller is gone ends at the next chunk; one whose caller does not
read, or that lasts too long, is cut off, which the caller sees: the end of the answer is missing.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.responses import Response

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.web.problems import unavailable
from receiver.web.protocol import CUT_OFF

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.types import Receive, Scope, Send

STREAMS_AT_ONCE = 8
"""Each holds a page in memory. Beyond this a call is told to come again."""

CHUNK_TIMEOUT_S = 60.0
"""So long a caller may take for a chunk of some hundred kilobytes: slower lines are no lines for exports."""

STREAM_TIMEOUT_S = 3600.0
"""So long the whole may take; some tens of millions of rows. A key that is revoked meanwhile ends no stream earlier."""

_log = get_logger(__name__)


class StreamRoom:
    """The streams of one process."""

    def __init__(self, chunk_timeout_s: float = CHUNK_TIMEOUT_S, stream_timeout_s: float = STREAM_TIMEOUT_S) -> None:
        self.chunk_timeout_s = chunk_timeout_s
        self.stream_timeout_s = stream_timeout_s
        self.threads = ThreadPoolExecutor(1, thread_name_prefix="api-stream")
        self.open = 0


class Stream(Response):
    """An answer whose `first` chunk is there, and whose others `rest` makes one by one, blocking."""

    def __init__(self, first: bytes, rest: Iterator[bytes], headers: Mapping[str, str], media_type: str) -> None:
        super().__init__(None, 200, headers, media_type)
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._room: StreamRoom | None = None

    def enter(self, room: StreamRoom) -> Response:
        """Give the stream, to be run in `room`; or if that is full, the answer that says so."""
        if room.open >= STREAMS_AT_ONCE:
            return unavailable(f"{STREAMS_AT_ONCE} exports are under way; come again in a moment.")
        self._room = room
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all, or as much as goes."""
        room = self._room or StreamRoom()
        gone = asyncio.ensure_future(wait_until_gone(receive))
        room.open += 1
        try:
            async with asyncio.timeout(room.stream_timeout_s):
                await self._send(room, send, gone)
        except TimeoutError:
            _log.warning("api_stream_too_slow")
            cut_off = scope.get("state", {}).get(CUT_OFF)
            if cut_off is not None:  # else the connection waits for its caller with what it still holds
                cut_off()
        except StorageUnavailableError as exc:
            _log.warning("api_stream_without_database", error=str(exc))
        except Exception as exc:  # noqa: BLE001 - the caller sees that the end is missing, and never a traceback
            _log.error("api_stream_failed", error=type(exc).__name__)
        finally:
            room.open -= 1
            gone.cancel()

    async def _send(self, room: StreamRoom, send: Send, gone: asyncio.Future[None]) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        chunk: bytes | None = self._first
        while chunk is not None:
            async with asyncio.timeout(room.chunk_timeout_s):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if gone.done():
                return
            chunk = await asyncio.wrap_future(room.threads.submit(next, self._rest, None))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def wait_until_gone(receive: Receive) -> None:
    """Return when the caller has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
