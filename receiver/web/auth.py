"""Calls of the API: who calls, whether they may, and on a thread, so that no push waits for them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request

from receiver.errors import ConflictError, NotFoundError, StorageUnavailableError
from receiver.logs import get_logger
from receiver.services.api_keys import find_live_api_key
from receiver.web.operations import Call, Operation
from receiver.web.problems import ProblemError, forbidden, problem, unauthorised, unavailable
from receiver.web.streams import Stream, StreamRoom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy import Engine
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

__all__ = ["CALLS_AT_ONCE", "ApiGate", "Call", "Endpoint", "Operation"]

CALLS_AT_ONCE = 4
"""Each has a thread and a connection to the database; beyond this a call is told to come again. The pool's other
connections are for pushes, which are what this process is for."""

_SCHEME = "bearer"
_MAX_HEADER = 256  # a key and the scheme have 75 characters

_log = get_logger(__name__)


class ApiGate:
    """Authenticates and runs the calls of one process."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock
        self._free = threading.BoundedSemaphore(CALLS_AT_ONCE)
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="api")
        self._streams = StreamRoom()

    async def handle(self, request: Request, operation: Operation) -> Response:
        """Answer a call. Whatever happens, there is an answer, and it holds nothing that a stranger may not know.

        A place is taken until the answer is there; of a long one until its first chunk is.
        """
        scheme, _, text = request.headers.get("authorization", "")[:_MAX_HEADER].partition(" ")
        if scheme.lower() != _SCHEME or not text.strip():
            return unauthorised()
        if not self._free.acquire(blocking=False):
            return unavailable(f"{CALLS_AT_ONCE} calls are under way; come again in a moment.")
        path, parameters = dict(request.path_params), request.query_params.multi_items()
        accept = request.headers.get("accept", "")[:_MAX_HEADER]
        running = self._threads.submit(self._run, operation, text.strip(), path, parameters, accept)
        running.add_done_callback(lambda _: self._free.release())
        answer = await asyncio.wrap_future(running)
        return answer.enter(self._streams) if isinstance(answer, Stream) else answer

    def _run(
        self, operation: Operation, text: str, path: Mapping[str, str], parameters: list[tuple[str, str]], accept: str
    ) -> Response:
        try:
            key = find_live_api_key(self._engine, self._clock(), text)
            if key is None:
                return unauthorised()
            if not key.allows(operation.scope):
                return forbidden(operation.scope)
            return operation.run(Call(key, path, parameters, accept))
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
