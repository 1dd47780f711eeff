"""Cursors: where a page ended, as a text that callers pass on and need not understand."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING

from receiver.web.operations import ID_MAX
from receiver.web.problems import wrong_parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERSION = 1  # of what a position holds: a cursor of another one is refused, and the caller begins anew
_MAX_TEXT = 512


def write_cursor(kind: str, position: Sequence[datetime | int | str]) -> str:
    """Give the cursor of a position in the list `kind`."""
    parts = [part.isoformat() if isinstance(part, datetime) else part for part in position]
    text = json.dumps([_VERSION, kind, *parts], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str, kind: str, types: Sequence[type]) -> tuple[datetime | int | str, ...]:
    """Give the position that `write_cursor` was given, whose parts have these types.

    Raises:
        ProblemError: 400, it is no cursor of this list.
    """
    try:
        found = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError) as exc:
        raise _foreign() from exc
    if not isinstance(found, list) or found[:2] != [_VERSION, kind] or len(found) != 2 + len(types):
        raise _foreign()
    return tuple(_part(value, wanted) for value, wanted in zip(found[2:], types, strict=True))


def _part(value: object, wanted: type) -> datetime | int | str:
    if wanted is int and type(value) is int and -1 - ID_MAX <= value <= ID_MAX:
        return value
    if isinstance(value, str) and len(value) <= _MAX_TEXT and "\0" not in value:
        try:
            value.encode()
            if wanted is str:
                return value
            if wanted is datetime and (at := datetime.fromisoformat(value)).tzinfo is not None:
                return at
        except ValueError:
            pass
    raise _foreign()


def _foreign() -> Exception:
    return wrong_parameter("cursor", "cursor is not from this list; give the next_cursor of its last page, or none.")
