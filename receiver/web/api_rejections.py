"""Refused pushes, listed, explained and replayed. What they held is given to scope `admin` only."""

from __future__ import annotations

import base64
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from receiver.errors import Reason
from receiver.services.explaining import explain_rejection
from receiver.services.rejections import RejectionFilter, RejectionView, get_rejection, list_rejections
from receiver.services.replay import ReplayOptions, ReplayOutcome, ReplayResult, replay_by_ids
from receiver.web.answers import ExplanationView, PushView, RejectionDetails
from receiver.web.cursors import read_cursor, write_cursor
from receiver.web.lists import Listing, Page, answer_list, listed
from receiver.web.operations import (
    CONNECTION,
    MAX_NAME,
    SINCE,
    UNTIL,
    Operation,
    json_answer,
    one_of,
    page_of,
    path_id,
    text_of,
    whole_number,
)
from receiver.web.parameters import Parameters
from receiver.web.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.services.rejections import ShownRejection
    from receiver.web.operations import Call

_MAX_DEVIATION_S = 10 * 366 * 86_400  # ten years: a clock that begins at 1970 or 2000 is farther off, and is no clock

_LISTING = Listing("rejections", RejectionView)
_REASONS = [reason.value for reason in Reason]
_AS = text_of("as", "As if it had come by the connection of this name.", MAX_NAME)
_ID = path_id("the rejection")
_LIST = (
    *(SINCE, UNTIL, CONNECTION, one_of("reason", "Refused for this reason.", *_REASONS)),
    *page_of(_LISTING.maximum, _LISTING.default),
)
_SHOW = (_AS,)
_REPLAY = (
    one_of("dry_run", "Only say what would be.", "true", "false"),
    _AS,
    whole_number("max_deviation_s", "How far Time may be from the arrival.", 1, _MAX_DEVIATION_S),
    one_of("with_retired_keys", "Retired tunnel keys count too.", "true", "false"),
    one_of("repair_query", "Mend a query that a proxy changed.", "true", "false"),
)


class Rejections:
    """The operations on refused pushes. Each blocks, and runs on a thread of the gate."""

    def __init__(self, engine: Engine, keyring: Keyring, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._keyring = keyring
        self._clock = clock
        self.list = Operation(
            "read", self._list, "Refused pushes, newest first.", _LIST, "listRejections", listed(_LISTING)
        )
        about = "One refused push with its explanation."
        answers = (json_answer("The rejection; to scope `admin` with what the push held.", RejectionDetails),)
        self.show = Operation("read", self._show, about, _SHOW, "getRejection", answers, _ID)
        about = "Store a refused push that is in order now."
        answers = (json_answer("It is stored, was before, or with `dry_run` would be.", ReplayResult),)
        self.replay = Operation(
            "admin", self._replay, about, _REPLAY, "replayRejection", answers, _ID, problems=(HTTPStatus.CONFLICT,)
        )

    def _list(self, call: Call) -> Response:
        given = Parameters(call.parameters, _LIST)
        wanted = RejectionFilter(
            since=given.time("since"),
            until=given.time("until"),
            reason=given.choice("reason", _REASONS),
            connection=given.text("connection"),
        )

        def fetch(cursor: str | None, limit: int) -> Page:
            before_id = None if cursor is None else read_cursor(cursor, _LISTING.member, (int,))[0]
            rows = list_rejections(self._engine, wanted, limit=limit + 1, before_id=before_id)  # type: ignore[arg-type]
            more = len(rows) > limit
            return Page(rows[:limit], write_cursor(_LISTING.member, (rows[limit - 1].id,)) if more else None)

        return answer_list(call, given, _LISTING, fetch)

    def _show(self, call: Call) -> Response:
        given = Parameters(call.parameters, _SHOW)
        rejection_id = _id(call)
        found = explain_rejection(self._engine, self._keyring, rejection_id, as_name=given.text("as"))
        explanation = ExplanationView(
            found.connection, found.is_in_order_now, found.verdict, found.checks, found.findings, found.note
        )
        push = _push(get_rejection(self._engine, rejection_id)) if call.key.allows("admin") else msgspec.UNSET
        return _answer(RejectionDetails(**asdict(found.rejection), explanation=explanation, push=push))

    def _replay(self, call: Call) -> Response:
        """Replay one; 409 if it is not in order."""
        given = Parameters(call.parameters, _REPLAY)
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
        return _answer(result)


def _answer(content: RejectionDetails | ReplayResult) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _id(call: Call) -> int:
    text = call.path["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"{text[:40]!r} is no id of a rejection; an id is a whole number.")
    return int(text)


def _push(rejection: ShownRejection) -> PushView:
    """Give what a push held; its body as text where it is text."""
    try:
        return PushView(rejection.query, rejection.headers, body=rejection.body.decode())
    except UnicodeDecodeError:
        encoded = base64.b64encode(rejection.body).decode()
        return PushView(rejection.query, rejection.headers, body_base64=encoded)
