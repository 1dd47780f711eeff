"""Arrays as PostgreSQL takes them in binary, for statements that bring a whole batch as one array per column.

psycopg turns a list into an array one element at a time in Python, 4 µs each; packed here, an element takes a
tenth of that. Each function gives a parameter for a `%b` placeholder; None among the values is NULL. `register`
tells a cursor of them.
Source: PostgreSQL, `array_send` and the `…send` functions of the element types; type numbers from `pg_type.dat`.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_INT8, _FLOAT8, _BOOL, _TEXT, _BYTEA, _TIMESTAMPTZ = 20, 701, 16, 25, 17, 1184

_ARRAY_OF = {_INT8: 1016, _FLOAT8: 1022, _BOOL: 1000, _TEXT: 1009, _BYTEA: 1001, _TIMESTAMPTZ: 1185}

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # of a timestamptz, which counts microseconds

_head = struct.Struct(">iiIii").pack  # dimensions, whether there are NULLs, element type, length, first index
_length = struct.Struct(">i").pack
_NULL = _length(-1)


class PgArray:
    """A packed array. It stands where its `%b` placeholder does, and shows nothing of what it holds."""

    __slots__ = ("data",)
    oid = 0

    def __init__(self, data: bytes) -> None:
        self.data = data


_CLASS: Mapping[int, type[PgArray]] = {
    element: type("PgArray", (PgArray,), {"__slots__": (), "oid": oid}) for element, oid in _ARRAY_OF.items()
}


def register(cursor: Any) -> None:  # noqa: ANN401 - psycopg's cursor or connection, which SQLAlchemy hides
    """Make a psycopg cursor, or a connection and the cursors that it gives from now on, take these arrays."""
    adapters = cursor.adapters
    for array, dumper in _dumpers():
        adapters.register_dumper(array, dumper)


@cache
def _dumpers() -> list[tuple[type[PgArray], Any]]:
    """Make psycopg's part of it, which a receiver on SQLite need not load."""
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    def dump(_self: Any, array: PgArray) -> bytes:  # noqa: ANN401
        return array.data

    return [
        (array, type("PgArrayDumper", (Dumper,), {"format": Format.BINARY, "oid": array.oid, "dump": dump}))
        for array in _CLASS.values()
    ]


def int8s(values: Sequence[int | None]) -> PgArray:
    """Give a `bigint[]`."""
    return _fixed(_INT8, "q", 8, values)


def float8s(values: Sequence[float | None]) -> PgArray:
    """Give a `double precision[]`."""
    return _fixed(_FLOAT8, "d", 8, values)


def bools(values: Sequence[bool | None]) -> PgArray:
    """Give a `boolean[]`."""
    return _fixed(_BOOL, "?", 1, values)


def timestamptzs(values: Sequence[datetime | None]) -> PgArray:
    """Give a `timestamptz[]` of aware times; a naive one raises TypeError."""
    microseconds = {at: None if at is None else _microseconds(at) for at in set(values)}  # few, where rows are many
    return _fixed(_TIMESTAMPTZ, "q", 8, [microseconds[at] for at in values])


def texts(values: Sequence[str | None]) -> PgArray:
    """Give a `text[]`. A value with half a surrogate pair raises UnicodeEncodeError."""
    return _variable(_TEXT, [None if text is None else text.encode() for text in values])


def byteas(values: Sequence[bytes | None]) -> PgArray:
    """Give a `bytea[]`."""
    return _variable(_BYTEA, values)


def _microseconds(at: datetime) -> int:
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _fixed(element: int, code: str, size: int, values: Sequence[Any]) -> PgArray:
    count = len(values)
    if None not in values:
        with_lengths = [size] * (2 * count)
        with_lengths[1::2] = values
        return _whole(element, struct.pack(f">{('i' + code) * count}", *with_lengths), count, has_nulls=False)
    pack: Callable[..., bytes] = struct.Struct(f">i{code}").pack
    return _whole(
        element, b"".join([_NULL if value is None else pack(size, value) for value in values]), count, has_nulls=True
    )


def _variable(element: int, values: Sequence[bytes | None]) -> PgArray:
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts.append(_length(len(value)))
            parts.append(value)
    return _whole(element, b"".join(parts), len(values), has_nulls=None in values)


def _whole(element: int, elements: bytes, count: int, *, has_nulls: bool) -> PgArray:
    dimensions = 1 if count else 0
    head = _head(dimensions, has_nulls, element, count, 1) if count else struct.pack(">iiI", 0, 0, element)
    return _CLASS[element](head + elements)
