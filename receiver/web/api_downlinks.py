"""Downlinks: put in with scope `downlink`, listed and shown with `read`, taken back with `downlink`.

A call that puts one in may have a header `Idempotency-Key`: the same call again with it changes nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from receiver.errors import CodecEngineUnavailableError, IdentifierError
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.services.downlink_checks import (
    REFERENCE_MAX,
    DownlinkRefusedError,
    DownlinkWish,
    parse_payload,
    parse_when,
)
from receiver.services.downlink_encoding import ObjectEncoder
from receiver.services.downlink_views import DownlinkDetails, get_downlink, list_downlinks
from receiver.services.downlinks import CORRELATION_BITS, cancel, enqueue
from receiver.storage.downlink_events import DownlinkState
from receiver.storage.downlinks import DownlinkFilter, DownlinkView
from receiver.web.cursors import read_cursor, write_cursor
from receiver.web.lists import Listing, Page, answer_list, listed
from receiver.web.operations import (
    CONNECTION,
    DEVICE,
    SINCE,
    UNTIL,
    Answer,
    Operation,
    Parameter,
    json_answer,
    one_of,
    page_of,
    path_id,
    text_of,
)
from receiver.web.parameters import Parameters
from receiver.web.problems import ProblemError, unavailable, wrong_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.web.operations import Call

PATH = "/api/v1/downlinks"
PATH_OF_ONE = "/api/v1/downlinks/{id}"
IDEMPOTENCY_KEY = "Idempotency-Key"

_LISTING = Listing("downlinks", DownlinkView)
_STATES = [state.value for state in DownlinkState]
_ID = path_id("the downlink")
_LIST = (
    *(SINCE, UNTIL, DEVICE, CONNECTION, one_of("state", "In this state now.", *_STATES)),
    text_of("reference", "With this reference of the caller's.", REFERENCE_MAX),
    *page_of(_LISTING.maximum, _LISTING.default),
)
_KEY = Parameter(
    IDEMPOTENCY_KEY,
    "The same call again with the same key sends nothing more.",
    {"type": "string", "pattern": f"^[!-~]([ -~]{{0,{REFERENCE_MAX - 2}}}[!-~])?$", "examples": ["order-17"]},
)

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, repr=False)
class DownlinkBody:
    """A downlink to be sent: `payload_hex`, `payload_base64` or an `object` for the device's codec; one of them.

    Without any, `flush` only empties the network's queue. `f_port` is 1 to 223, and may be left to the codec of an
    object. `connection` carries it; else the one by which the device was heard last. `not_before` and `expires_at` are
    times in ISO 8601 or spans from now (`90s`, `10m`, `2h`, `7d`). Of one device's downlinks the one of greater
    `priority` goes first (-100 to 100; 0). `flush` empties the network's queue for the device first; `replace` cancels
    what is queued for it here. A member that is null counts as left out.
    """

    dev_eui: str
    f_port: int | UnsetType | None = UNSET
    payload_hex: str | UnsetType | None = UNSET
    payload_base64: str | UnsetType | None = UNSET
    object: dict[str, Any] | UnsetType | None = UNSET
    connection: str | UnsetType | None = UNSET
    confirmed: bool | UnsetType | None = UNSET
    flush: bool | UnsetType | None = UNSET
    replace: bool | UnsetType | None = UNSET
    priority: int | UnsetType | None = UNSET
    not_before: str | UnsetType | None = UNSET
    expires_at: str | UnsetType | None = UNSET
    reference: str | UnsetType | None = UNSET


_MEMBERS = [field.name for field in fields(DownlinkBody)]


class Downlinks:
    """The operations on downlinks. Each blocks, and runs on a thread of the gate."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime],
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._random_bits = random_bits
        self._encoder = ObjectEncoder()
        about = "Downlinks, newest first."
        self.list = Operation("read", self._list, about, _LIST, "listDownlinks", listed(_LISTING))
        about = "One downlink with every step, and the requests that were sent."
        answers = (json_answer("The downlink.", DownlinkDetails),)
        self.show = Operation("read", self._show, about, (), "getDownlink", answers, _ID)
        about = "Take a queued downlink back, before it is sent."
        answers = (json_answer("The downlink, which is cancelled.", DownlinkDetails),)
        conflict = (HTTPStatus.CONFLICT,)
        self.cancel = Operation("downlink", self._cancel, about, (), "cancelDownlink", answers, _ID, problems=conflict)
        content = {"application/json": DownlinkDetails}
        place = {"Location": "Where it is shown."}
        queued = (
            Answer("It is queued.", content, HTTPStatus.ACCEPTED, place),
            Answer("It was put in before with this Idempotency-Key.", content, HTTPStatus.OK, place),
        )
        self.create = Operation(
            "downlink",
            self._create,
            "Queue a downlink.",
            (),
            "createDownlink",
            queued,
            body=dict[str, Any],
            problems=conflict,
            told_body=DownlinkBody,
            headers=(_KEY,),
        )

    def _create(self, call: Call) -> Response:
        Parameters(call.parameters, ())
        keys = call.idempotency_keys
        if len(keys) > 1:
            raise wrong_parameter(IDEMPOTENCY_KEY, f"{IDEMPOTENCY_KEY} stands twice; give it once.")
        try:
            done = enqueue(
                self._engine,
                self._encoder,
                self._clock(),
                self._random_bits(CORRELATION_BITS),
                read_wish(call.body),
                creator=f"api-key {call.key.name}",
                idempotency_key=keys[0] if keys else None,
            )
        except DownlinkRefusedError as exc:
            status = HTTPStatus.CONFLICT if exc.by_state else HTTPStatus.BAD_REQUEST
            raise ProblemError(status, str(exc), parameter=exc.field) from exc
        except CodecEngineUnavailableError as exc:
            return unavailable(str(exc))
        status = HTTPStatus.ACCEPTED if done.is_new else HTTPStatus.OK
        return _answer(done.downlink, status, f"{PATH}/{done.downlink.id}")

    def _list(self, call: Call) -> Response:
        given = Parameters(call.parameters, _LIST)
        state = given.choice("state", _STATES)
        wanted = DownlinkFilter(
            dev_eui=given.dev_eui("device"),
            state=None if state is None else DownlinkState(state),
            connection=given.text("connection"),
            reference=given.text("reference", REFERENCE_MAX),
            since=given.time("since"),
            until=given.time("until"),
        )

        def fetch(cursor: str | None, limit: int) -> Page:
            before_id = None if cursor is None else read_cursor(cursor, _LISTING.member, (int,))[0]
            rows = list_downlinks(self._engine, wanted, limit=limit + 1, before_id=before_id)  # type: ignore[arg-type]
            more = len(rows) > limit
            return Page(rows[:limit], write_cursor(_LISTING.member, (rows[limit - 1].id,)) if more else None)

        return answer_list(call, given, _LISTING, fetch)

    def _show(self, call: Call) -> Response:
        Parameters(call.parameters, ())
        return _answer(get_downlink(self._engine, _id(call)))

    def _cancel(self, call: Call) -> Response:
        """Cancel one; 409 if it is not queued any more."""
        Parameters(call.parameters, ())
        return _answer(cancel(self._engine, self._clock(), _id(call), by=f"api-key {call.key.name}"))


def downlink_operations(downlinks: Downlinks) -> dict[str, dict[str, Operation]]:
    """Give the operations by path and method."""
    return {
        PATH: {"GET": downlinks.list, "POST": downlinks.create},
        PATH_OF_ONE: {"GET": downlinks.show, "DELETE": downlinks.cancel},
    }


def read_wish(body: Mapping[str, Any]) -> DownlinkWish:
    """Give what the JSON of a call asks for.

    Raises:
        ProblemError: 400, a member is unknown, missing or of another type.
        DownlinkRefusedError: a member is not of its form.
    """
    for name in body:
        if name not in _MEMBERS:
            raise wrong_parameter(name[:40], f"{name[:40]!r} is no member here; there are {', '.join(_MEMBERS)}.")
    dev_eui = _member(body, "dev_eui", str, "a text")
    if dev_eui is None:
        raise wrong_parameter("dev_eui", "dev_eui is missing; give the DevEUI, 16 hexadecimal digits.")
    try:
        parsed = parse_dev_eui(dev_eui)
    except IdentifierError as exc:
        raise wrong_parameter("dev_eui", str(exc)) from exc
    payload_hex, payload_base64 = (_member(body, name, str, "a text") for name in ("payload_hex", "payload_base64"))
    not_before, expires_at = (_member(body, name, str, "a text") for name in ("not_before", "expires_at"))
    return DownlinkWish(
        dev_eui=parsed,
        f_port=_member(body, "f_port", int, "a whole number"),
        payload=parse_payload(payload_hex, payload_base64),
        object=_member(body, "object", dict, "an object"),
        connection=_member(body, "connection", str, "a text"),
        confirmed=_member(body, "confirmed", bool, "true or false") or False,
        flush=_member(body, "flush", bool, "true or false") or False,
        replace=_member(body, "replace", bool, "true or false") or False,
        priority=_member(body, "priority", int, "a whole number") or 0,
        not_before=None if not_before is None else parse_when("not_before", not_before),
        expires_at=None if expires_at is None else parse_when("expires_at", expires_at),
        reference=_member(body, "reference", str, "a text"),
    )


def _member(body: Mapping[str, Any], name: str, kind: type[Value], told: str) -> Value | None:
    value: Value | None = body.get(name)
    if value is not None and type(value) is not kind:  # true is no whole number here
        raise wrong_parameter(name, f"{name} must be {told}.")
    return value


def _answer(content: DownlinkDetails, status: HTTPStatus = HTTPStatus.OK, location: str | None = None) -> Response:
    headers = {} if location is None else {"Location": location}
    return Response(msgspec.json.encode(content), int(status), headers, "application/json")


def _id(call: Call) -> int:
    text = call.path["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"{text[:40]!r} is no id of a downlink; an id is a whole number.")
    return int(text)
