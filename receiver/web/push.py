"""`POST /push/{connection}`: the bytes of a push, within bounds of size and time, to `services.ingest`.

A bare ASGI endpoint: on this path every microsecond counts, and a framework's request object costs as much
as the hash. The answers are those of the README's table; the four refusals of 401 are one and the same.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

from receiver.errors import PushRejected, Reason, StorageUnavailableError
from receiver.logs import get_logger
from receiver.storage.inbox_rows import Outcome
from receiver.web.plain_answer import PlainAnswer
from receiver.web.plain_request import PREFIX
from receiver.web.protocol import BODY_IS_LATE, CAME_BEFORE_LOSS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from receiver.services.ingest import Ingest

RETRY_AFTER_S = 5
"""With a 503. The network is not known to retry; a proxy or a second URL may."""

LINGER_S = 5.0
LINGER_MAX_BYTES = 16 * 1024 * 1024
"""How long, and of how much, the rest of a too large body is read and thrown away after its answer. Closing at
once would reset the connection, and a sender that writes all before it reads would never see the answer."""

_ANSWERS: Mapping[object, bytes] = {Outcome.STORED: b"stored\n", Outcome.DUPLICATE: b"duplicate\n"}

_UNAVAILABLE = b"This push was not stored. Send it again later.\n"

_SHORT_ANSWERS = {outcome: PlainAnswer(b"200 OK", b"", body) for outcome, body in _ANSWERS.items()}
_SHORT_STORED = _SHORT_ANSWERS[Outcome.STORED]
_SHORT_UNAVAILABLE = PlainAnswer(b"503 Service Unavailable", b"retry-after: %d\r\n" % RETRY_AFTER_S, _UNAVAILABLE)

_PLAIN = (b"content-type", b"text/plain; charset=utf-8")

_log = get_logger(__name__)


class PushEndpoint:
    """Answers every push, whatever it holds: 200, 400, 401, 405, 413 or 503, and never with a traceback."""

    def __init__(self, ingest: Ingest, body_max_bytes: int, body_timeout_s: float) -> None:
        self._ingest = ingest
        self._max_bytes = body_max_bytes
        self.body_timeout_s = body_timeout_s

    def take(self, name: str, query: bytes, body: bytes, done: Callable[[PlainAnswer], None]) -> bool:
        """Take up a push that is in order, or give False: it is for `__call__`, whatever it is.

        After the commit, or at once where there is no room to wait for it, `done` gets the answer. Never raises.
        """
        if len(body) > self._max_bytes:
            return False
        try:
            self._ingest.take_at_once(name, query, body, lambda answer: done(_short_answer(answer)))
        except StorageUnavailableError:
            done(_SHORT_UNAVAILABLE)
        except Exception:  # noqa: BLE001 - a refusal or a fault: told, kept and answered in `__call__`
            return False
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one push."""
        if scope["method"] != "POST":
            await _answer(send, 405, b"Reports are pushed here with POST.\n", (b"allow", b"POST"))
            return
        name: str = scope["path"][len(PREFIX) :]
        query: bytes = scope["query_string"]
        body = bytearray()
        try:
            await self._read_body(scope, receive, body)
            outcome = await self._ingest.take(name, query, bytes(body), scope["headers"])
        except PushRejected as exc:
            await self._refuse(exc, scope, name, query, bytes(body), receive, send)
        except StorageUnavailableError:
            await _answer(send, 503, _UNAVAILABLE, (b"retry-after", b"%d" % RETRY_AFTER_S))
        except Exception as exc:  # noqa: BLE001 - whatever a push holds, its sender gets an answer
            _log.error("push_failed", connection=ascii(name[:64]), error=type(exc).__name__)
            await _answer(send, 503, b"This push could not be stored.\n", (b"retry-after", b"%d" % RETRY_AFTER_S))
        else:
            await _answer(send, 200, _ANSWERS[outcome])

    async def refuse_head(self, raw_url: bytes, headers: list[tuple[bytes, bytes]], size_bytes: int) -> None:
        """Keep a push whose head came so slowly that it was cut off; of its URL, what had come."""
        path, _, query = raw_url.partition(b"?")
        name = unquote(path.decode("latin-1")).removeprefix(PREFIX)
        detail = f"The head of the request did not arrive in time: {size_bytes} bytes of it came."
        await self._ingest.refuse(PushRejected(Reason.HEAD_INCOMPLETE, detail), name, query, b"", headers)

    async def _refuse(
        self,
        exc: PushRejected,
        scope: Scope,
        name: str,
        query: bytes,
        body: bytes,
        receive: Receive,
        send: Send,
    ) -> None:
        reason = exc.reason
        if reason in {Reason.TOO_LARGE, Reason.BODY_INCOMPLETE}:  # these never came as far as the ingest
            kept = b"" if reason is Reason.TOO_LARGE else body
            await self._ingest.refuse(exc, name, query, kept, scope["headers"])
        if reason.status == 401:
            await _answer(send, 401, b"This push is not accepted.\n")
        elif reason in {Reason.TOO_LARGE, Reason.BODY_INCOMPLETE}:
            more = partial(_linger, receive) if reason is Reason.TOO_LARGE else None
            await _answer(send, reason.status, f"{exc.detail}\n".encode(), (b"connection", b"close"), before_end=more)
        else:
            await _answer(send, reason.status, f"{exc.detail}\n".encode())

    async def _read_body(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        """Fill `body`, as much of it as came, which a rejection keeps.

        Raises:
            PushRejected: `TOO_LARGE` or `BODY_INCOMPLETE`.
        """
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        if declared is not None and declared.isdigit() and int(declared[:20]) > self._max_bytes:
            raise PushRejected(
                Reason.TOO_LARGE,
                f"The body is declared with {int(declared[:20])} bytes; at most {self._max_bytes} are taken.",
            )
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                body += scope["state"].get(CAME_BEFORE_LOSS, b"")
                raise PushRejected(
                    Reason.BODY_INCOMPLETE, f"The sender closed the connection after {_how_much(body, declared)}."
                )
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                raise PushRejected(
                    Reason.TOO_LARGE,
                    f"The body has more than {self._max_bytes} bytes, which is the most that is taken.",
                )
            if not message.get("more_body", False):
                break
        if BODY_IS_LATE in scope["state"]:  # a time-out of our own would cost each push a timer
            raise PushRejected(
                Reason.BODY_INCOMPLETE,
                f"The body did not arrive within {self.body_timeout_s:g} s: {_how_much(body, declared)} came.",
            )


def _short_answer(answer: object) -> PlainAnswer:
    if answer is Outcome.STORED:  # which nearly all are; to look it up by its hash takes longer
        return _SHORT_STORED
    return _SHORT_ANSWERS.get(answer, _SHORT_UNAVAILABLE)


def _how_much(body: bytearray, declared: bytes | None) -> str:
    return f"{len(body)} bytes of {declared.decode('latin-1')[:20] if declared else 'an unsaid number'}"


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    *headers: tuple[bytes, bytes],
    before_end: Callable[[], Awaitable[None]] | None = None,
) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [_PLAIN, length, *headers]})
    if before_end is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await before_end()
        body = b""
    await send({"type": "http.response.body", "body": body})


async def _linger(receive: Receive) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            thrown_away = 0
            more = True
            while more and thrown_away < LINGER_MAX_BYTES:
                message = await receive()
                thrown_away += len(message.get("body", b""))
                more = message.get("more_body", False)
