"""`/api/v1`: refused pushes, listed, explained and replayed, for callers with an API key.

What pushes held (queries, headers and bodies, and so clear payloads) is given to scope `admin` only.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from receiver.errors import Reason
from receiver.services.explaining import explain_rejection
from receiver.services.rejections import RejectionFilter, get_rejection, list_rejections
from receiver.services.replay import ReplayOptions, ReplayOutcome, replay_by_ids
from receiver.web.auth import ApiGate, Call, Endpoint, Operation
from receiver.web.parameters import Parameters
from receiver.web.problems import ProblemError, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from receiver.keyring import Keyring
    from receiver.services.rejections import ShownRejection

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
_MAX_ID = 2**63 - 1
_MAX_DEVIATION_S = 10 * 366 * 86_400  # ten years: a clock that begins at 1970 or 2000 is farther off, and is no clock


class _Answer(JSONResponse):
    """JSON with times as ISO 8601 and `Z`."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - Starlette's signature
        return json.dumps(content, default=_jsonable).encode()


def api_routes(engine: Engine, keyring: Keyring, clock: Callable[[], datetime]) -> list[Route]:
    """Give the routes of the API; the last one answers 404 to whatever else stands under `/api`."""
    gate = ApiGate(engine, clock)
    rejections = _Rejections(engine, keyring, clock)
    return [
        Route("/api/v1/rejections", Endpoint(gate, {"GET": Operation("read", rejections.list)})),
        Route("/api/v1/rejections/{id}", Endpoint(gate, {"GET": Operation("read", rejections.show)})),
        Route("/api/v1/rejections/{id}/replay", Endpoint(gate, {"POST": Operation("admin", rejections.replay)})),
        Route("/api/{rest:path}", _NotFound()),
    ]


class _NotFound:
    """Answers every method; a plain function would be for GET only."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = problem(HTTPStatus.NOT_FOUND, "There is no such route; the README lists those there are.")
        await answer(scope, receive, send)


class _Rejections:
    """The operations on refused pushes. Each blocks, and runs on a thread of the gate."""

    def __init__(self, engine: Engine, keyring: Keyring, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._keyring = keyring
        self._clock = clock

    def list(self, call: Call) -> Response:
        """Give a page, newest first; `next_cursor` is None on the last one."""
        given = Parameters(call.parameters, ("since", "until", "reason", "connection", "limit", "cursor"))
        wanted = RejectionFilter(
            since=given.time("since"),
            until=given.time("until"),
            reason=given.choice("reason", [reason.value for reason in Reason]),
            connection=given.text("connection"),
        )
        limit = given.number("limit", 1, MAX_LIMIT) or DEFAULT_LIMIT
        before_id = given.number("cursor", 1, _MAX_ID)
        rows = list_rejections(self._engine, wanted, limit=limit + 1, before_id=before_id)
        page = rows[:limit]
        cursor = str(page[-1].id) if len(rows) > limit else None
        return _Answer({"rejections": [asdict(row) for row in page], "next_cursor": cursor})

    def show(self, call: Call) -> Response:
        """Give one with its explanation; to scope admin also what the push held."""
        given = Parameters(call.parameters, ("as",))
        rejection_id = _id(call)
        explanation = asdict(explain_rejection(self._engine, self._keyring, rejection_id, as_name=given.text("as")))
        answer: dict[str, Any] = {**explanation.pop("rejection"), "explanation": explanation}
        if call.key.allows("admin"):
            answer["push"] = _push(get_rejection(self._engine, rejection_id))
        return _Answer(answer)

    def replay(self, call: Call) -> Response:
        """Replay one; 409 if it is not in order."""
        names = ("dry_run", "as", "max_deviation_s", "with_retired_keys", "repair_query")
        given = Parameters(call.parameters, names)
        options = ReplayOptions(
            dry_run=given.flag("dry_run"),
            as_name=given.text("as"),
            max_deviation_s=given.number("max_deviation_s", 1, _MAX_DEVIATION_S),
            with_retired_keys=given.flag("with_retired_keys"),
            repair_query=given.flag("repair_query"),
        )
        (result,) = replay_by_ids(self._engine, self._keyring, self._clock(), [_id(call)], options)
        if result.outcome in {ReplayOutcome.REFUSED, ReplayOutcome.NOT_KEPT}:
            raise ProblemError(HTTPStatus.CONFLICT, result.sentence, outcome=result.outcome.value)
        return _Answer(asdict(result))


def _id(call: Call) -> int:
    text = call.path["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"{text[:40]!r} is no id of a rejection; an id is a whole number.")
    return int(text)


def _push(rejection: ShownRejection) -> dict[str, Any]:
    """Give what a push held; its body as text where it is text."""
    try:
        body = {"body": rejection.body.decode()}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(rejection.body).decode()}
    return {"query": rejection.query, "headers": rejection.headers, **body}


def _jsonable(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no form in JSON here.")
