"""Calls of the API: who calls, whether they may, how often, and on a thread, so that no push waits for them."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from receiver.errors import ConflictError, NotFoundError, StorageUnavailableError
from receiver.logs import get_logger
from receiver.services.api_keys import find_live_api_key
from receiver.web.bodies import read_body
from receiver.web.operations import Call, Operation
from receiver.web.problems import ProblemError, forbidden, problem, too_many, unauthorised, unavailable
from receiver.web.rate_limit import CALLS_PER_SECOND, CallLimit, FailureLimit, whole_seconds
from receiver.web.streams import Stream, StreamRoom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy import Engine
    from starlette.types import Receive, Scope, Send

    from receiver.services.api_keys import ApiKey

__all__ = ["CALLS_AT_ONCE", "ApiGate", "Call", "Endpoint", "Operation"]

CALLS_AT_ONCE = 4
"""Each has a thread and a connection to the database; beyond this a call is told to come again. The pool's other
connections are for pushes, which are what this process is for."""

_SCHEME = "bearer"
_MAX_HEADER = 256  # a key and the scheme have 75 characters

_log = get_logger(__name__)

Answered = TypeVar("Answered")


class _Credentials(NamedTuple):
    """What a caller showed: the text of a key, the digest that it is counted by, and the address it came from."""

    text: str
    digest: bytes
    address: str


class ApiGate:
    """Authenticates and runs the calls of one process."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime],
        calls_per_second: float = CALLS_PER_SECOND,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let each key make `calls_per_second` (0: any number); `monotonic` is the clock of the limits."""
        self._engine = engine
        self._clock = clock
        self._calls = CallLimit(calls_per_second)
        self._failures = FailureLimit()
        self._monotonic = monotonic
        self._free = threading.BoundedSemaphore(CALLS_AT_ONCE)
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="api")
        self._streams = StreamRoom()

    async def authenticate(self, request: Request, scope: str) -> ApiKey | Response:
        """Give the key that a request comes with, if it is good for `scope` and not beyond its limit; else the answer.

        It counts as a call. What follows is the caller's, on the event loop, and takes no place.
        """
        shown = self._look(request)
        return shown if isinstance(shown, Response) else await self._on_thread(lambda: self._identify(shown, scope))

    async def handle(self, request: Request, operation: Operation) -> Response:
        """Answer a call. Whatever happens, there is an answer, and it holds nothing that a stranger may not know.

        A place is taken until the answer is there; of a long one until its first chunk is.
        """
        path, parameters = dict(request.path_params), request.query_params.multi_items()
        accept, last_event_id = (request.headers.get(name, "")[:_MAX_HEADER] for name in ("accept", "last-event-id"))
        keys = tuple(one[:_MAX_HEADER] for one in request.headers.getlist("idempotency-key")[:2])
        shown, body, known = self._look(request), None, None
        if isinstance(shown, Response):
            return shown
        if operation.body is not None:  # nobody's is taken in before it is known whose it is
            known = await self._on_thread(lambda: self._identify(shown, operation.scope))
            if isinstance(known, Response):
                return known
            try:
                body = await read_body(request, operation.body)
            except ProblemError as exc:
                return problem(exc.status, exc.detail)

        def run() -> Response:
            found = known or self._identify(shown, operation.scope)
            if isinstance(found, Response):
                return found
            return operation.run(Call(found, path, parameters, accept, body, last_event_id, keys))

        answer = await self._on_thread(run)
        return answer.enter(self._streams) if isinstance(answer, Stream) else answer

    def _look(self, request: Request) -> _Credentials | Response:
        """Give what a caller shows, or the answer if that is nothing, or beyond a limit already."""
        scheme, _, text = request.headers.get("authorization", "")[:_MAX_HEADER].partition(" ")
        text = text.strip()
        if scheme.lower() != _SCHEME or not text:
            return unauthorised()
        address = request.client.host if request.client is not None else ""
        shown = _Credentials(text, hashlib.sha256(text.encode()).digest(), address)
        return self._refuse(shown) or shown

    async def _on_thread(self, run: Callable[[], Answered]) -> Answered | Response:
        """Give what `run` gives, which blocks, if there is a place for it."""
        if not self._free.acquire(blocking=False):
            return unavailable(f"{CALLS_AT_ONCE} calls are under way; come again in a moment.")
        running = self._threads.submit(_answered, run)
        running.add_done_callback(lambda _: self._free.release())
        return await asyncio.wrap_future(running)

    def _refuse(self, shown: _Credentials) -> Response | None:
        """Answer without a look at the database where a limit is reached, or give None.

        A key that was let in before is let in also from an address that others guess from: behind a proxy all callers
        have one address.
        """
        now = self._monotonic()
        if self._calls.knows(shown.digest):
            return self._too_often(self._calls.wait_s(shown.digest, now))
        wait_s = self._failures.wait_s(shown.address, now)
        if not wait_s:
            return None
        detail = f"{self._failures.most} wrong API keys came from this address within a minute."
        return too_many(detail, whole_seconds(wait_s), "failures-per-address")

    def _too_often(self, wait_s: float) -> Response | None:
        if not wait_s:
            return None
        detail = f"The limit of an API key is {self._calls.calls_per_second:g} calls a second."
        return too_many(detail, whole_seconds(wait_s), "calls-per-key")

    def _identify(self, shown: _Credentials, scope: str) -> ApiKey | Response:
        key = find_live_api_key(self._engine, self._clock(), shown.text)
        if key is None:
            self._calls.forget(shown.digest)
            self._failures.note(shown.address, self._monotonic())
            return unauthorised()
        if (refused := self._too_often(self._calls.take(shown.digest, self._monotonic()))) is not None:
            return refused
        return key if key.allows(scope) else forbidden(scope)


def _answered(run: Callable[[], Answered]) -> Answered | Response:
    """Give what `run` gives, or the answer that tells of the error."""
    try:
        return run()
    except ProblemError as exc:
        return problem(exc.status, exc.detail, None, **exc.members)
    except NotFoundError as exc:
        return problem(HTTPStatus.NOT_FOUND, str(exc))
    except ConflictError as exc:
        return problem(HTTPStatus.CONFLICT, str(exc))
    except StorageUnavailableError as exc:
        _log.warning("api_call_without_database", error=str(exc))
        return unavailable("The database is away; come again later.")
    except Exception as exc:  # noqa: BLE001 - a caller gets an answer, and never a traceback
        _log.error("api_call_failed", error=type(exc).__name__)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "This call failed; the receiver's log says why.")


class Endpoint:
    """One route as ASGI: an operation for each method. Other methods are answered 405."""

    def __init__(self, gate: ApiGate, operations: Mapping[str, Operation]) -> None:
        self._gate = gate
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        request = Request(scope, receive)
        operation = self._operations.get(request.method)
        if operation is None:
            allowed = ", ".join(self._operations)
            detail = f"{request.method[:16]} is not possible here; {allowed} is."
            response = problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, {"Allow": allowed})
        else:
            response = await self._gate.handle(request, operation)
        await response(scope, receive, send)
