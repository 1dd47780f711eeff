"""`GET /api/v1/stream`: what happens, as it happens."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from receiver.errors import IdentifierError
from receiver.lorawan.identifiers import parse_device
from receiver.services.event_contents import EventFilter
from receiver.storage.connections import list_connection_names
from receiver.storage.engine import read
from receiver.storage.events import EventKind, newest_event_id
from receiver.web.answers import StreamedEvent
from receiver.web.event_stream import MEDIA_TYPE, EventStream
from receiver.web.operations import CONNECTION, DEVICE, ID_MAX, MAX_NAME, Answer, Operation, Parameter, whole_number
from receiver.web.parameters import Parameters
from receiver.web.problems import wrong_parameter

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from starlette.responses import Response

    from receiver.web.event_room import EventRoom
    from receiver.web.operations import Call

MOST_VALUES = 100
"""Of a filter: each event is held against them for each reader."""

_KINDS = tuple(kind.value for kind in EventKind)
_TYPE = Parameter(
    "type",
    "Only events of this type; may be given several times.",
    {"type": "string", "enum": list(_KINDS)},
    is_repeatable=True,
    most=MOST_VALUES,
)
_DEVICE = Parameter(
    "device",
    "Only events of the device with this DevEUI, in either case; may be given several times.",
    DEVICE.schema,
    is_repeatable=True,
    most=MOST_VALUES,
)
_CONNECTION = Parameter(
    "connection",
    "Only events by the connection of this name; may be given several times.",
    CONNECTION.schema,
    is_repeatable=True,
    most=MOST_VALUES,
)
_PORT = Parameter(
    "port",
    "Only events of uplinks with this FPort; may be given several times.",
    {"type": "integer", "minimum": 0, "maximum": 255},
    is_repeatable=True,
    most=MOST_VALUES,
)
_SINCE_ID = whole_number(
    "since_id",
    "Go on behind the event with this id. The header Last-Event-ID, which browsers send when they come back, wins;"
    " without both the stream begins with what happens from now on.",
    0,
    ID_MAX,
)
_ALL = (_TYPE, _DEVICE, _CONNECTION, _PORT, _SINCE_ID)

_ANSWER = Answer(
    "Server-sent events: of each its id, its type (`uplink`, `telemetry`, `rejection`, `downlink`, `alarm`) as the"
    " event's name, and a JSON object with `id`, `type`, `timestamp` and `data`. An event `gap` says from which to"
    " which id events were deleted before they could be told.",
    {MEDIA_TYPE: StreamedEvent},
    headers={"Cache-Control": "`no-store`."},
)


class Events:
    """The operation on events. It blocks for a look at the database only; the stream is run by the event loop."""

    def __init__(self, engine: Engine, room: EventRoom) -> None:
        self._engine = engine
        self._room = room
        about = "Follow what happens as server-sent events, from now on or from an earlier event on."
        problems = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
        self.stream = Operation("read", self._stream, about, _ALL, "streamEvents", (_ANSWER,), problems=problems)

    def _stream(self, call: Call) -> Response:
        given = Parameters(call.parameters, _ALL)
        kinds = [EventKind(_one_of_kinds(text)) for text in given.texts("type", MOST_VALUES) or ()]
        dev_euis = [_dev_eui(text) for text in given.texts("device", MOST_VALUES) or ()]
        names = given.texts("connection", MOST_VALUES, MAX_NAME) or ()
        ports = [_port(text) for text in given.texts("port", MOST_VALUES) or ()]
        since_id = given.number("since_id", 0, ID_MAX)
        last_id = _last_event_id(call.last_event_id)
        with read(self._engine) as tx:
            _check_names(tx, names)
            newest = newest_event_id(tx)
        after_id = since_id if last_id is None else last_id
        if after_id is not None and after_id > newest:
            name = "since_id" if last_id is None else "Last-Event-ID"
            raise wrong_parameter(
                name,
                f"{name} is {after_id}, and the newest event has the id {newest}: this is of another database. It must"
                " be the id of an event of this one, or be left out.",
            )
        wanted = EventFilter(frozenset(kinds), frozenset(dev_euis), frozenset(names), frozenset(ports))
        return EventStream(self._room, call.key.name, wanted, newest if after_id is None else after_id)


def _one_of_kinds(text: str) -> str:
    if text not in _KINDS:
        raise wrong_parameter("type", f"type is {text[:40]!r}; it must be one of {', '.join(_KINDS)}.")
    return text


def _dev_eui(text: str) -> str:
    try:
        return str(parse_device(text))
    except IdentifierError as exc:
        raise wrong_parameter("device", str(exc)) from exc


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255):
        raise wrong_parameter("port", f"port is {text[:40]!r}; it must be a whole number from 0 to 255.")
    return int(text)


def _last_event_id(text: str) -> int | None:
    """Read the header; one that is empty is as good as none."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= ID_MAX):
        raise wrong_parameter(
            "Last-Event-ID", f"Last-Event-ID is {text[:40]!r}; it must be the id of an event, a whole number."
        )
    return int(text)


def _check_names(tx: Connection, names: list[str] | tuple[()]) -> None:
    there_are = set(list_connection_names(tx).values()) if names else set()
    for name in names:
        if name not in there_are:
            raise wrong_parameter("connection", f"There is no connection {name[:40]!r}; it must be the name of one.")
