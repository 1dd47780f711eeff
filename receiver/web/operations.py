"""The operations of the API and their parameters as values: what is checked is what is told of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.responses import Response

    from receiver.services.api_keys import ApiKey


class Call(NamedTuple):
    """An authenticated call: its path and query parameters, the key it came with, and its Accept header."""

    key: ApiKey
    path: Mapping[str, str]
    parameters: list[tuple[str, str]]
    accept: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter: its JSON Schema, and a sentence about it."""

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    is_repeatable: bool = False


class Operation(NamedTuple):
    """What a method of a route does, blocking, the scope it asks for, and what is told of it.

    A list gives objects of the dataclass `row` under the name `member`; its CSV has the same columns.
    """

    scope: str
    run: Callable[[Call], Response]
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    member: str | None = None
    row: type | None = None


def whole_number(name: str, about: str, minimum: int, maximum: int) -> Parameter:
    """Give a parameter that is a whole number."""
    return Parameter(name, about, {"type": "integer", "minimum": minimum, "maximum": maximum})


def one_of(name: str, about: str, *choices: str) -> Parameter:
    """Give a parameter that is one of some words."""
    return Parameter(name, about, {"type": "string", "enum": list(choices)})


_MOMENT = {"type": "string", "format": "date-time"}

SINCE = Parameter("since", "From this moment on, ISO 8601 in any zone; without an offset it is UTC.", _MOMENT)
UNTIL = Parameter("until", "Before this moment.", _MOMENT)
DEVICE = Parameter("device", "Of the device with this DevEUI, in either case.")
CONNECTION = Parameter("connection", "By the connection of this name.")
NAME = Parameter("name", "Only measurements of this name; may be given several times.", is_repeatable=True)
ORDER = one_of("order", "The newest first, unless `oldest` is asked for.", "newest", "oldest")
CURSOR = Parameter("cursor", "The `next_cursor` of the page before.")
FORMAT = one_of("format", "Instead of the header Accept.", "json", "csv", "ndjson")
ID_MAX = 2**63 - 1


def page_of(maximum: int, default: int) -> tuple[Parameter, Parameter, Parameter]:
    """Give the parameters that every list has."""
    about = f"How many; {default} in JSON, and all in CSV and NDJSON, unless given."
    return whole_number("limit", about, 1, maximum), CURSOR, FORMAT
