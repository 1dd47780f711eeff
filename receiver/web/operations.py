"""The operations of the API, their parameters and answers as values: what is checked is what is told of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.responses import Response

    from receiver.services.api_keys import ApiKey


class Call(NamedTuple):
    """An authenticated call: its path and query parameters, the key it came with, and some of its headers.

    `body` is the JSON that it brought, of the operation's type; None where the operation has none.
    """

    key: ApiKey
    path: Mapping[str, str]
    parameters: list[tuple[str, str]]
    accept: str = ""
    body: Any = None
    last_event_id: str = ""
    idempotency_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query or the path: its JSON Schema, and a sentence about it.

    One that is repeatable may stand up to `most` times, each time with a value of the schema.
    """

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    is_repeatable: bool = False
    most: int = 50


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered when all is well: the type of the content by its media type, and what other headers say.

    The type of JSON is a dataclass (or a union of some) whose fields are its members; of server-sent events that of
    one event; of all else it is `str`.
    """

    about: str
    content: Mapping[str, Any] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


class Operation(NamedTuple):
    """What a method of a route does, blocking, the scope it asks for, and what is told of it.

    `id` is the name that clients made from the description call it by: it never changes. `path` has a parameter for
    each name in the route's path. `body` is the type of the JSON that a call brings, and that it is checked against
    before `run`: a Struct that forbids unknown members, so that a slip is told. None: its body is not looked at.
    `told_body` is what is told of that JSON, where `run` checks it further than `body` does. `headers` are told of.
    `problems` are the statuses of problem documents besides those that any call may get.
    """

    scope: str
    run: Callable[[Call], Response]
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    id: str = ""
    answers: tuple[Answer, ...] = ()
    path: tuple[Parameter, ...] = ()
    body: type | None = None
    problems: tuple[HTTPStatus, ...] = ()
    told_body: type | None = None
    headers: tuple[Parameter, ...] = ()


def json_answer(about: str, row: type, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """Give the answer that is one object."""
    return Answer(about, {"application/json": row}, status)


def whole_number(name: str, about: str, minimum: int, maximum: int) -> Parameter:
    """Give a parameter that is a whole number."""
    return Parameter(name, about, {"type": "integer", "minimum": minimum, "maximum": maximum})


def one_of(name: str, about: str, *choices: str) -> Parameter:
    """Give a parameter that is one of some words."""
    return Parameter(name, about, {"type": "string", "enum": list(choices)})


def text_of(name: str, about: str, maximum: int, example: str | None = None) -> Parameter:
    """Give a parameter that is a text of 1 to `maximum` characters."""
    examples = {} if example is None else {"examples": [example]}
    return Parameter(name, about, {"type": "string", "minLength": 1, "maxLength": maximum, **examples})


_MOMENT = {"type": "string", "format": "date-time", "examples": ["2026-11-01T00:00:00+01:00"]}
_UUID = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_DEVICE = f"^(?:[-: ]*(?:[0-9A-Fa-f][-: ]*){{16}}|DVNUUID:{_UUID}|IMEI:[0-9]{{14,16}})$"
_DEV_EUI = {"type": "string", "pattern": _DEVICE, "examples": ["0059AC0000000001"]}

ID_MAX = 2**63 - 1
MAX_NAME = 128
"""Characters of a connection's name, at most 63, and of whatever else somebody may call for one."""

SINCE = Parameter("since", "From this moment on, ISO 8601 in any zone; without an offset it is UTC.", _MOMENT)
UNTIL = Parameter("until", "Before this moment.", _MOMENT)
DEVICE = Parameter("device", "Of the device with this DevEUI, in either case.", _DEV_EUI)
CONNECTION = text_of("connection", "By the connection of this name.", MAX_NAME, "meters")
PORT = whole_number("port", "On this FPort.", 0, 255)
NAME = Parameter(
    "name",
    "Only measurements of this name; may be given several times.",
    {"type": "string", "minLength": 1, "maxLength": 256, "examples": ["temperature"]},
    is_repeatable=True,
)
ORDER = one_of("order", "The newest first, unless `oldest` is asked for.", "newest", "oldest")
MAX_CURSOR = 4096
"""A position has at most three texts or numbers."""
CURSOR = text_of("cursor", "The `next_cursor` of the page before.", MAX_CURSOR)
FORMAT = one_of("format", "Instead of the header Accept.", "json", "csv", "ndjson")

PATH_DEV_EUI = Parameter("dev_eui", "The DevEUI, in either case.", _DEV_EUI)


def path_id(of: str) -> tuple[Parameter]:
    """Give the parameter of a path that ends with the id of something."""
    schema = {"type": "integer", "minimum": 0, "maximum": ID_MAX, "examples": [17]}
    return (Parameter("id", f"The id of {of}.", schema),)


def page_of(maximum: int, default: int, also: str = "") -> tuple[Parameter, Parameter, Parameter]:
    """Give the parameters that every list has. `also` is told of the limit besides."""
    about = f"How many; {default} in JSON, and all in CSV and NDJSON, unless given. {also}".rstrip()
    return whole_number("limit", about, 1, maximum), CURSOR, FORMAT
