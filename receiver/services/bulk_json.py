"""The objects of a JSON text, each with the line on which it begins. Pure.

Python's own parser says where a text ends to be JSON, but not where a value began; so the outermost list is
walked here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\r\n]*")


class NotJsonError(Exception):
    """The text is not a list of objects, nor object after object. `line` is where, `said` is what."""

    def __init__(self, line: int, said: str) -> None:
        super().__init__()
        self.line = line
        self.said = said


class _Members(list[tuple[str, object]]):
    """The members of an object in their order; a name may stand twice."""


def read_objects(text: str) -> Iterator[tuple[int, list[tuple[str, object]]]]:
    """Give line and members of each object: of a JSON list, or of objects one after another (NDJSON).

    Raises:
        NotJsonError: it is something else.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_Members)
    at = _skip(text, 0)
    is_list = text[at : at + 1] == "["
    at = _skip(text, at + 1) if is_list else at
    line, counted_to = 1, 0
    is_first = True
    while at < len(text) and not (is_list and text[at] == "]"):
        if is_list and not is_first:
            if text[at] != ",":
                raise NotJsonError(_line(text, at), "It is not JSON: there must be a comma between two devices.")
            at = _skip(text, at + 1)
        is_first = False
        line += text.count("\n", counted_to, at)
        counted_to = at
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as exc:
            raise NotJsonError(exc.lineno, f"It is not JSON: {exc.msg} (column {exc.colno}).") from exc
        except (ValueError, RecursionError) as exc:  # a number of thousands of digits; thousands of brackets
            raise NotJsonError(line, "It is not JSON that can be read: a value is far too long or deep.") from exc
        if not isinstance(value, _Members):
            raise NotJsonError(line, "Each device must be an object in braces.")
        yield line, value
        at = _skip(text, at)
    if is_list and at >= len(text):
        raise NotJsonError(_line(text, len(text)), "It is not JSON: the list is never closed.")
    if is_list and _skip(text, at + 1) != len(text):
        raise NotJsonError(_line(text, at), "It is not JSON: there is more behind the list.")


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
