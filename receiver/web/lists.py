"""Lists as callers want them: JSON page by page, CSV (RFC 4180) and NDJSON also as a whole.

A cell of CSV that is text and begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe before it:
a spreadsheet would run it as a formula, and what stands in it came from a network. Numbers never get one. JSON and
NDJSON have every text as it is.
"""

from __future__ import annotations

import csv
import io
from dataclasses import fields, make_dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
from starlette.responses import Response

from receiver.services.csv_cells import guard_cell
from receiver.web.operations import MAX_CURSOR, Answer
from receiver.web.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from receiver.web.operations import Call
    from receiver.web.parameters import Parameters

MEDIA_TYPES = {"json": "application/json", "csv": "text/csv", "ndjson": "application/x-ndjson"}
STREAMED_ROWS = 1000
"""What is read at once of a list that is given whole: some hundred kilobytes."""

_HEADERS = {"Cache-Control": "no-store", "Vary": "Accept"}

Row = TypeVar("Row")


class Page(NamedTuple):
    """Rows, each of the same dataclass, and the cursor of the next page; None: these were the last."""

    rows: Sequence[Any]
    next_cursor: str | None


class Listing(NamedTuple):
    """What a list is called in JSON, what its rows are, and how many of them a page has."""

    member: str
    row: type
    default: int = 100
    maximum: int = 1000

    @property
    def page(self) -> type:
        """The type of one page in JSON."""
        return _page_type(self.member, self.row)


@cache
def _page_type(member: str, row: type) -> type:
    members = [(member, list[row]), ("next_cursor", str | None)]  # type: ignore[valid-type]
    page = make_dataclass(f"{row.__name__.removesuffix('View')}Page", members, frozen=True)
    page.__doc__ = "One page of a list. `next_cursor` goes into `cursor` for the next one; null: this is the last."
    return page


def listed(*listings: Listing) -> tuple[Answer]:
    """Give what an operation answers that is a list, of one kind or another."""
    page: Any = listings[0].page
    for listing in listings[1:]:
        page |= listing.page
    content = {"application/json": page, "text/csv": str, "application/x-ndjson": str}
    about = (
        "A page in JSON. In CSV and NDJSON the same objects, a line for each, without an envelope: all of them, or with"
        " `limit` a page."
    )
    headers = {"Next-Cursor": "In CSV and NDJSON, with `limit`: what goes into `cursor` for the next page, if any."}
    return (Answer(about, content, headers=headers),)


def answer_list(call: Call, given: Parameters, listing: Listing, fetch: Callable[[str | None, int], Page]) -> Response:
    """Answer with a page, or in CSV and NDJSON, unless `limit` is given, with that and all behind it.

    `fetch` gives the page behind a cursor (None: the first) with so many rows; each time with a connection to the
    database of its own, so that a slow caller holds none.
    """
    form = given.choice("format", tuple(MEDIA_TYPES)) or choose_format(call.accept)
    limit = given.number("limit", 1, listing.maximum)
    page = fetch(given.text("cursor", MAX_CURSOR), limit or (listing.default if form == "json" else STREAMED_ROWS))
    headers = dict(_HEADERS)
    if form == "json":
        content = {listing.member: page.rows, "next_cursor": page.next_cursor}
        return Response(msgspec.json.encode(content), 200, headers, MEDIA_TYPES["json"])
    write = _write_ndjson
    media_type = MEDIA_TYPES[form]
    if form == "csv":
        columns = tuple(field.name for field in fields(listing.row))
        media_type += "; charset=utf-8; header=present"
        headers["Content-Disposition"] = f'attachment; filename="{listing.member}.csv"'
        head = ",".join(columns).encode() + b"\r\n"

        def write(rows: Sequence[Any]) -> bytes:
            return _write_csv(rows, columns)

    else:
        head = b""
    first = head + write(page.rows)
    if page.next_cursor is None:
        return Response(first, 200, headers, media_type)
    if limit is not None:  # there is no envelope to hold it
        headers["Next-Cursor"] = page.next_cursor
        return Response(first, 200, headers, media_type)
    return Stream(first, _pages(fetch, page.next_cursor, write), headers, media_type)


def choose_format(accept: str) -> str:
    """Give the format that an Accept header wants most (RFC 9110 section 12.5.1); JSON where it names none of them."""
    by_type = {media_type: form for form, media_type in MEDIA_TYPES.items()}
    best, best_weight = "json", 0.0
    for part in accept.split(","):
        name, *options = (piece.strip() for piece in part.split(";"))
        form = by_type.get(name.lower())
        weight = next((option[2:] for option in options if option[:2].lower() == "q="), "1")
        try:
            value = float(weight)
        except ValueError:
            continue
        if form is not None and best_weight < value <= 1:
            best, best_weight = form, value
    return best


def _pages(
    fetch: Callable[[str | None, int], Page], cursor: str | None, write: Callable[[Sequence[Any]], bytes]
) -> Iterator[bytes]:
    while cursor is not None:
        page = fetch(cursor, STREAMED_ROWS)
        cursor = page.next_cursor
        yield write(page.rows)


def _write_ndjson(rows: Sequence[Any]) -> bytes:
    return msgspec.json.Encoder().encode_lines(rows)


def _write_csv(rows: Sequence[Any], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)  # its default dialect is RFC 4180: CRLF, quotes where they are needed
    for row in rows:
        writer.writerow([_cell(getattr(row, column)) for column in columns])
    return text.getvalue().encode()


def _cell(value: object) -> object:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return guard_cell(value)
        case datetime():
            text = value.isoformat()
            return text.removesuffix("+00:00") + "Z" if value.tzinfo is UTC else text
    return value
