"""HTTP/1.1 as uvicorn speaks it, with an end to what slow or endless requests can hold, and a short way for pushes.

uvicorn bounds neither the time nor the size of a request's head; a client that sends a byte a second, or
nothing, would keep its connection and its memory. The bounds of a body's size are in `web.push`.

A push whose bytes are whole and plain (`web.plain_request`) is offered to the application as a plain call, before
uvicorn's parser sees it; one whose body came apart from its head, when it is whole. If the application takes it up,
there is no task, no message and no event for it: only the answer, when the commit is done. All that is out of the
ordinary, every refusal and every fault, goes the way of ASGI as if it had not been offered.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from receiver.web.plain_answer import PlainAnswer, build_response
from receiver.web.plain_request import PREFIX, parse_plain_push

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEAD_TIMEOUT_S = 10.0
"""From the connection, or from the first byte after an answer, to the end of the head."""

HEAD_MAX_BYTES = 32 * 1024
"""A push's head has about 600 bytes; proxies usually allow 8 KiB a header."""

BODY_TIMEOUT_S = "body_timeout_s"
"""The name in the lifespan's state under which the application says how long a body may take to arrive."""

BODY_IS_LATE = "body_is_late"
"""The name in a request's state that tells the application that its body was cut off for being late."""

TAKE_PUSH = "take_push"
"""The name in the lifespan's state of the short way: `take_push(name, query, body, done)` says whether it takes a push
up. If so it calls `done` once, then or later, with a `PlainAnswer`."""

CAME_BEFORE_LOSS = "came_before_loss"
"""The name in a request's state of what had come of a body when its sender closed the connection."""

MAX_HELD_BYTES = 32 * 1024
"""A body is waited for up to this size before the application is called; the event loop's own limit is twice that."""

REFUSE_HEAD = "refuse_head"
"""The name in the lifespan's state under which the application takes up a head that came too slowly:
`await refuse_head(raw URL as far as it came, headers as far as they came, bytes)`."""


CUT_OFF = "cut_off"
"""The name in a request's state of what closes its connection at once, with all that was not sent yet: who takes
nothing would hold that, and a place, for as long as it likes."""

END_ANSWER = "end_answer"
"""The name in a request's state under which the application leaves what ends an answer that has no end of its own: it
is called when the server is told to stop."""


class _Dropped(list[tuple[bytes, bytes]]):
    """A list that stays empty."""

    def append(self, item: tuple[bytes, bytes]) -> None:
        """Drop it."""


_DROPPED = _Dropped()


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request head is too slow (408) or too large (431), and cuts off late bodies.

    A body that is whole by the time its head is read, as nearly all are, costs no timer.
    """

    head_timeout_s = HEAD_TIMEOUT_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's signature, passed on
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._heads = 0
        self._in_head = True
        self._in_message = False  # the parser is somewhere between the first and the last byte of a request
        self._held: tuple[RequestResponseCycle, ASGI3Application] | None = None
        self._take_push = self.app_state.get(TAKE_PUSH)
        self._awaits_answer = False
        self._keeps_alive = True
        self._came_early = b""
        self._answered_at = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_too_slow)

    def data_received(self, data: bytes) -> None:
        """Offer a whole, plain push to the application; give everything else to the parser."""
        if self._awaits_answer:  # the next request does not wait for this one's answer; it shall
            self._came_early += data
            self.flow.pause_reading()
        elif self._is_inside_a_request() or not self._take_plain(data):
            self._parse(data)

    def _is_inside_a_request(self) -> bool:
        return self._in_message or (self.cycle is not None and not self.cycle.response_complete)

    def _parse(self, data: bytes) -> None:
        """Feed the parser; count the bytes for as long as the head has not ended."""
        was_in_head, heads = self._in_head, self._heads
        if was_in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_too_slow)
        super().data_received(data)
        # All of `data` is head only if no head ended in it: what closes a request is the end of its body.
        if was_in_head and heads == self._heads:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
                self._close_with(b"431 Request Header Fields Too Large")
        if self._held is not None and not self._is_worth_holding(self._held[0]):
            self._release()
        if not self._in_head and self._body_timer is None:
            timeout_s = self.app_state.get(BODY_TIMEOUT_S)
            if timeout_s is not None:
                self._body_timer = self.loop.call_later(timeout_s, self._body_too_slow, self.cycle)

    def on_message_begin(self) -> None:
        """Note that the parser is inside a request."""
        self._in_message = True
        super().on_message_begin()
        self.scope["state"][CUT_OFF] = self.transport.abort

    def on_headers_complete(self) -> None:
        """Stop the clock. What comes as a header from now on is a trailer, which has no bound, and is dropped."""
        self._in_head = False
        self._heads += 1
        self._head_bytes = 0
        self._stop_head_timer()
        super().on_headers_complete()
        self.headers = _DROPPED

    def on_message_complete(self) -> None:
        """The next byte begins another head."""
        self._in_head = True
        self._in_message = False
        self._stop_body_timer()
        super().on_message_complete()
        if self._held is not None:
            cycle, app = self._held
            self._held = None
            name, query = cycle.scope["path"][len(PREFIX) :], cycle.scope["query_string"]
            if not self._take_push(name, query, bytes(cycle.body), partial(self._answer, cycle)):  # type: ignore[misc]
                super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Close a connection that was answered before its request ended: nobody waits for the rest of it."""
        if not self.pipeline and self.cycle is not None and self.cycle.more_body:
            self.transport.close()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no timer behind, and no circle: over TLS a connection holds a quarter of a megabyte until collected."""
        self._stop_head_timer()
        self._stop_body_timer()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._held is not None:
            cycle = self._held[0]
            cycle.scope["state"][CAME_BEFORE_LOSS] = bytes(cycle.body)
            self._release()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self.scope is not None:
            self.scope["state"].pop(CUT_OFF, None)
        self.cycle = self.scope = None  # type: ignore[assignment]
        self.pipeline.clear()

    def shutdown(self) -> None:
        """Close after the answer that is awaited, or now."""
        if self._awaits_answer:
            self._keeps_alive = False
            return
        super().shutdown()
        end_answer = None if self.cycle is None else self.cycle.scope["state"].get(END_ANSWER)
        if end_answer is not None:
            end_answer()

    # --- the short way of a push whose bytes are whole and plain

    def _take_plain(self, data: bytes) -> bool:
        push = parse_plain_push(data) if self._take_push is not None else None
        if push is None:
            return False
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        self._awaits_answer = True
        self._keeps_alive = push.keep_alive
        if self._take_push(push.name, push.query, push.body, self._answer_plain):  # type: ignore[misc]
            return True
        self._awaits_answer = False
        return False

    def _answer_plain(self, answer: PlainAnswer) -> None:
        self._awaits_answer = False
        if self.transport.is_closing():
            return
        self.transport.write(build_response(self.server_state.default_headers, answer, keep_alive=self._keeps_alive))
        self.server_state.total_requests += 1
        if not self._keeps_alive:
            self.transport.close()
            return
        self._answered_at = self.loop.time()
        if self._idle_timer is None:  # one for the connection: setting one at each answer would cost as much as it
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)
        if self._came_early:
            data, self._came_early = self._came_early, b""
            self.flow.resume_reading()
            self.data_received(data)

    def _close_if_idle(self) -> None:
        self._idle_timer = None
        if self._awaits_answer:
            left_s = float(self.timeout_keep_alive)
        elif self._in_message or self._head_timer is not None or self.timeout_keep_alive_task is not None:
            return  # a request that the parser has, or had, brought its own clock
        else:
            left_s = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._idle_timer = self.loop.call_later(left_s, self._close_if_idle)
        else:
            self.transport.close()

    # --- the short way of a push whose body came after its head

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Hold a push until its body is there; start everything else."""
        if (
            cycle.more_body
            and cycle is self.cycle
            and not cycle.waiting_for_100_continue
            and cycle.scope["method"] == "POST"
            and self._take_push is not None
            and cycle.scope["path"].startswith(PREFIX)
        ):
            self._held = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    @staticmethod
    def _is_worth_holding(cycle: RequestResponseCycle) -> bool:
        declared = next((value for name, value in cycle.scope["headers"] if name == b"content-length"), b"")
        return declared.isdigit() and len(declared) < 6 and int(declared) <= MAX_HELD_BYTES

    def _release(self) -> None:
        if self._held is not None:
            cycle, app = self._held
            self._held = None
            super()._start_asgi_task(cycle, app)

    def _answer(self, cycle: RequestResponseCycle, answer: PlainAnswer) -> None:
        """Answer as `RequestResponseCycle.send` would."""
        cycle.response_started = cycle.response_complete = True
        if cycle.disconnected:
            return
        self.transport.write(build_response(self.server_state.default_headers, answer, keep_alive=cycle.keep_alive))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    # --- clocks

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _body_too_slow(self, cycle: RequestResponseCycle) -> None:
        """Give the application what has come as if it were all, and say so."""
        self._release()
        cycle.scope["state"][BODY_IS_LATE] = True
        cycle.more_body = False
        cycle.message_event.set()

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        refuse = self.app_state.get(REFUSE_HEAD)
        if refuse is not None and self._head_bytes:  # a client that sent nothing at all leaves nothing to keep
            headers = list(self.headers or ())
            task = self.loop.create_task(refuse(getattr(self, "url", b""), headers, self._head_bytes))
            self.tasks.add(task)  # which a server that stops waits for
            task.add_done_callback(self.tasks.discard)
        self._close_with(b"408 Request Timeout")

    def _close_with(self, status: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:  # nobody else is answering on this connection
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
