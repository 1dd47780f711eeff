"""Pages of a simulated ThingPark's lists: by number, or by cursor where sorted by what tells entries apart.

Sources: Device Manager contract 7.3, `pageIndex`, `pageSize`, `pageAfter`; the tutorial of docs.thingpark.com.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

from receiver.simulator.management_thingpark_book import ThingParkRefusalError, write_cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from receiver.simulator.management_thingpark_book import Json, ThingParkRules

T = TypeVar("T")


class Query:
    """The parameters of a request, each of which may come several times."""

    def __init__(self, text: str) -> None:
        self.pairs = parse_qsl(text, keep_blank_values=True)

    def one(self, name: str) -> str | None:
        """Give the first value of a parameter."""
        return next((value for found, value in self.pairs if found == name), None)

    def all(self, name: str) -> list[str]:
        """Give all values of a parameter."""
        return [value for found, value in self.pairs if found == name]

    def number(self, name: str, least: int, usual: int) -> int:
        """Give a whole number, or refuse it."""
        text = self.one(name)
        if text is None:
            return usual
        if not (text.isascii() and text.isdigit() and int(text[:9]) >= least):
            raise ThingParkRefusalError(f"Invalid query parameter {name}")
        return int(text[:9])

    @property
    def is_forced(self) -> bool:
        """Say whether an update is to be done whatever version is there."""
        return self.one("force") == "true"


def page_by_number(query: Query, rules: ThingParkRules, entries: Sequence[T]) -> tuple[Sequence[T], bool]:
    """Give the entries of the page that is asked for by `pageIndex`, and whether there are more."""
    index = query.number("pageIndex", 1, 1)
    if index > rules.largest_page_index:
        raise ThingParkRefusalError("The page index is above the limit", 409)
    size = min(max(query.number("pageSize", 0, rules.page_size), rules.page_size), rules.largest_page_size)
    first = (index - 1) * size
    return entries[first : first + size], len(entries) > first + size


def list_page(
    query: Query, rules: ThingParkRules, entries: Sequence[T], show: Callable[[T], Json], *, counted: bool = False
) -> Json:
    """Give a list's page by number, as an answer."""
    page, more = page_by_number(query, rules, entries)
    count: Json = {"count": len(entries)} if counted else {}
    return {"briefs": [show(one) for one in page], "more": more, **count}


def cursor_page(
    query: Query,
    rules: ThingParkRules,
    entries: Sequence[T],
    show: Callable[[T], Json],
    key: str,
    of: Callable[[T], str],
) -> Json:
    """Give a list's page: by cursor where it is sorted by `key`, else by number."""
    by, _, order = (query.one("sort") or "").partition(",")
    after = query.one("pageAfter")
    if by != key:
        if after is not None:
            raise ThingParkRefusalError(f"pageAfter is only supported if sort by {key} is used")
        return list_page(query, rules, entries, show, counted=True)
    in_order = sorted(entries, key=of, reverse=order == "desc")
    count: Json = {"count": len(in_order)}
    if after is not None:
        last = _read_cursor(after, key)
        in_order = [one for one in in_order if (of(one) < last if order == "desc" else of(one) > last)]
        count = {"count": None}
    page, more = page_by_number(query, rules, in_order)
    answer: Json = {"briefs": [show(one) for one in page], "more": more, **count}
    if more:
        answer["cursors"] = {"last": write_cursor({key: of(page[-1])})}
    return answer


def _read_cursor(cursor: str, key: str) -> str:
    try:
        return str(json.loads(base64.b64decode(cursor, validate=True))[key])
    except (ValueError, KeyError, TypeError) as exc:
        raise ThingParkRefusalError("Invalid query parameter pageAfter") from exc
