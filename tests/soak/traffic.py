"""The network's side of a run: many connections at once, each push remembered with its answer.

What gets no answer is sent again, as the network does to its next URL: the same delivery or another one of the frame.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from random import Random

    from tests.soak.ledger import Ledger
    from tests.soak.pushes import Frames

ANSWER_WITHIN_S = 15.0
RETRY_AFTER_S = 0.05


@dataclass(slots=True)
class Pending:
    """A push on its way: a frame, which delivery of it, and its bytes."""

    number: int
    delivery: int
    request: bytes
    is_again: bool = False
    due_at: float = 0.0


class Link(asyncio.Protocol):
    """One HTTP connection, with one request under way at most."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self.is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; give status and body of the answer. Raises ConnectionError if it does not come whole."""
        if self.is_closed or self._transport is None:
            raise ConnectionError
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lower = head.lower()
        start = lower.index(b"content-length:") + 15
        end = lower.find(b"\r\n", start)
        if len(rest) < int(lower[start : end if end >= 0 else None]):
            return
        self._buffer = b""
        self.is_closed = b"\r\nconnection: close" in lower
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), rest))

    def connection_lost(self, _exc: Exception | None) -> None:
        self.is_closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError())

    def close(self) -> None:
        self.is_closed = True
        if self._transport is not None:
            self._transport.abort()


class Traffic:
    """Sends frames at `rate` a second (None: as fast as answers come) over so many connections until `finish`.

    Args:
        ports: on 127.0.0.1; a push that is sent again goes to the next one.
        keep_alive: else a connection for each push, as the network does.
        again: the share of answered frames that are sent once more, though that is not needed.
        insist: what was not answered 200 is sent again, until it is or `finish` has waited long enough.
    """

    def __init__(
        self,
        frames: Frames,
        ledger: Ledger,
        random: Random,
        ports: list[int],
        *,
        connections: int,
        rate: float | None = None,
        keep_alive: bool = False,
        again: float = 0.0,
        insist: bool = True,
        context: ssl.SSLContext | None = None,
        limit: int | None = None,
        on_answer: Callable[[int, float], None] | None = None,
    ) -> None:
        self.ports = ports
        self._frames = frames
        self._ledger = ledger
        self._random = random
        self._connections = connections
        self._rate = rate
        self._keep_alive = keep_alive
        self._again = again
        self._insist = insist
        self._context = context
        self._limit = limit
        self._on_answer = on_answer
        self._retries: deque[Pending] = deque()
        self._under_way = 0
        self._next_at = 0.0
        self._stopping = False
        self._deadline = float("inf")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to send, on the running loop."""
        self._next_at = time.monotonic()
        self._tasks = [asyncio.create_task(self._send()) for _ in range(self._connections)]

    async def finish(self, within_s: float = 30.0) -> None:
        """Send no further frame; wait for the answers that are due, and for those that are insisted on."""
        self._stopping = True
        self._deadline = time.monotonic() + within_s
        await asyncio.gather(*self._tasks)

    async def wait(self) -> None:
        """Wait until the `limit` is reached and answered."""
        await asyncio.gather(*self._tasks)

    def _take(self, now: float) -> Pending | None:
        if self._retries and self._retries[0].due_at <= now:
            return self._retries.popleft()
        if self._stopping or (self._limit is not None and len(self._ledger.attempts) >= self._limit):
            return None
        number = self._ledger.new_frame()
        return Pending(number, 1, self._frames.request(number, 1, datetime.now(UTC)))

    async def _send(self) -> None:
        link: Link | None = None
        while True:
            now = time.monotonic()
            if now > self._deadline:
                break
            if self._rate is not None and not self._stopping:
                self._next_at = max(self._next_at, now - 0.2) + 1 / self._rate
                await asyncio.sleep(self._next_at - now)
            push = self._take(time.monotonic())
            if push is None:
                is_over = self._stopping or (self._limit is not None and len(self._ledger.attempts) >= self._limit)
                if is_over and not self._retries and not self._under_way:
                    break
                await asyncio.sleep(0.01)
                continue
            self._under_way += 1
            try:
                link = await self._deliver(push, link)
            finally:
                self._under_way -= 1
        if link is not None:
            link.close()

    async def _deliver(self, push: Pending, link: Link | None) -> Link | None:
        port = self.ports[(push.delivery + self._ledger.attempts[push.number]) % len(self.ports)]
        self._ledger.sent(push.number)
        started = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if link is None or link.is_closed:
                    link = await self._connect(port)
                status, body = await link.ask(push.request)
        except (OSError, TimeoutError):
            self._ledger.unanswered += 1
            self._on_answer and self._on_answer(0, time.monotonic() - started)
            if link is not None:
                link.close()
            if self._insist:
                self._send_again(push)
            return None
        self._ledger.answered(push.number, status, body)
        self._on_answer and self._on_answer(status, time.monotonic() - started)
        if status != 200:
            if self._insist:
                self._send_again(push)
        elif not push.is_again and self._random.random() < self._again:
            self._send_again(push, is_again=True)
        if not self._keep_alive or link.is_closed:
            link.close()
            return None
        return link

    def _send_again(self, push: Pending, *, is_again: bool = False) -> None:
        """Send the very same delivery again, or another one of the same frame, a moment later."""
        if self._random.random() < 0.5:
            push.delivery += 1
            push.request = self._frames.request(push.number, push.delivery, datetime.now(UTC))
        push.is_again = push.is_again or is_again
        push.due_at = time.monotonic() + RETRY_AFTER_S
        self._retries.append(push)

    async def _connect(self, port: int) -> Link:
        host = "127.0.0.1" if self._context is not None else None
        _, link = await asyncio.get_running_loop().create_connection(
            Link, "127.0.0.1", port, ssl=self._context, server_hostname=host
        )
        return link
