"""What is exported, whatever becomes of it: columns with their kinds, and rows in chunks of columns.

A chunk is a list of columns of the same length, so that a writer works on thousands of values at once. How many rows
one has depends on the number of columns: the memory of an export is that of a few chunks, however long it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CELLS = 200_000
"""Of a chunk: some ten megabytes as Python holds them."""

_LEAST_ROWS, _MOST_ROWS = 100, 20_000


class Form(StrEnum):
    """What an export is written as."""

    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


class Shape(StrEnum):
    """What a row of telemetry is: a measurement, or all of a device's at one time."""

    LONG = "long"
    WIDE = "wide"


class Kind(StrEnum):
    """What stands in a column, besides null."""

    TEXT = "text"
    TIME = "time"  # as storage gives it: ISO 8601 in UTC, six decimals, `Z`
    NUMBER = "number"
    WHOLE = "whole number"
    FLAG = "true or false"
    ANY = "number, true or false, or text"


class Column(NamedTuple):
    """One column of an export."""

    name: str
    kind: Kind


Chunk = list[list[object]]


@dataclass(frozen=True, slots=True)
class ExportTable:
    """Columns, and the rows as chunks of them."""

    columns: tuple[Column, ...]
    chunks: Iterator[Chunk]


def rows_of_chunk(columns: int) -> int:
    """Give how many rows a chunk of so many columns has, about."""
    return min(_MOST_ROWS, max(_LEAST_ROWS, CELLS // columns))


def gather(parts: Iterable[Sequence[Sequence[object]]], columns: int) -> Iterator[Chunk]:
    """Give the parts, each a sequence of columns, put together into chunks."""
    enough = rows_of_chunk(columns)
    chunk: Chunk = [[] for _ in range(columns)]
    for part in parts:
        for whole, piece in zip(chunk, part, strict=True):
            whole.extend(piece)
        if len(chunk[0]) >= enough:
            yield chunk
            chunk = [[] for _ in range(columns)]
    if chunk[0]:
        yield chunk
