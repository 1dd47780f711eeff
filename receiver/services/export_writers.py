"""Writes chunks of columns as CSV (RFC 4180, UTF-8, with a head) or as NDJSON. Parquet: see `export_parquet`.

Times have six decimals and stand in the zone that is asked for with their offset; in UTC with `Z`. In CSV null is
empty, true and false are these words, and a text that a spreadsheet would run has an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import msgspec

from receiver.services.csv_cells import guard_cell
from receiver.services.export_table import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO
    from zoneinfo import ZoneInfo

    from receiver.services.export_table import Chunk, Column


class ExportWriter(Protocol):
    """Takes chunks, all of the same columns, and `close` after the last one. Times are text in UTC."""

    def write(self, chunk: Chunk) -> None:
        """Write the rows of a chunk."""

    def close(self) -> None:
        """Write what stands at the end. The file stays open."""


class CsvWriter:
    """Writes CSV; the head comes with the first chunk."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column], zone: ZoneInfo | None) -> None:
        self._file = file
        self._head: list[str] | None = [guard_cell(column.name) for column in columns]
        self._cells = [_cells_of(column.kind, zone) for column in columns]

    def write(self, chunk: Chunk) -> None:
        """Write the rows of a chunk."""
        text = io.StringIO()
        writer = csv.writer(text)  # its default dialect is RFC 4180: CRLF, quotes where they are needed
        if self._head is not None:
            writer.writerow(self._head)
            self._head = None
        columns = [values if cells is None else cells(values) for cells, values in zip(self._cells, chunk, strict=True)]
        writer.writerows(zip(*columns, strict=True))
        self._file.write(text.getvalue().encode())

    def close(self) -> None:
        """Nothing stands at the end."""


class NdjsonWriter:
    """Writes a JSON object a line, each with all columns."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column], zone: ZoneInfo | None) -> None:
        self._file = file
        self._names = [column.name for column in columns]
        self._times = [place for place, column in enumerate(columns) if column.kind is Kind.TIME]
        self._zone = zone
        self._encoder = msgspec.json.Encoder()

    def write(self, chunk: Chunk) -> None:
        """Write the rows of a chunk."""
        if self._zone is not None:
            for place in self._times:
                chunk[place] = _local(chunk[place], self._zone)
        names = self._names
        rows = [dict(zip(names, row, strict=True)) for row in zip(*chunk, strict=True)]
        self._file.write(self._encoder.encode_lines(rows))

    def close(self) -> None:
        """Nothing stands at the end."""


def _cells_of(kind: Kind, zone: ZoneInfo | None) -> Callable[[list[object]], list[object]] | None:
    """Give what makes cells of a column's values; None: they are cells."""
    match kind:
        case Kind.TIME:
            return None if zone is None else lambda values: _local(values, zone)
        case Kind.TEXT:
            return lambda values: [guard_cell(value) if value else value for value in values]  # type: ignore[arg-type]
        case Kind.FLAG | Kind.ANY:
            return lambda values: [value if type(value) is float else _cell(value) for value in values]
    return None


def _cell(value: object) -> object:
    if value is True or value is False:
        return "true" if value else "false"
    return guard_cell(value) if isinstance(value, str) else value


def _local(values: list[object], zone: ZoneInfo) -> list[object]:
    return [local_time(str(value), zone) for value in values]


def local_time(at: str, zone: ZoneInfo) -> str:
    """Give a time of storage as the clocks of a zone show it, with its offset.

    One so near to year 1 or 9999 that the zone's has no year of four digits stays as it is.
    """
    try:
        return datetime.fromisoformat(at).astimezone(zone).isoformat(timespec="microseconds")
    except OverflowError:
        return at


def other_than_utc(zone: ZoneInfo) -> ZoneInfo | None:
    """Give the zone, or None where its clocks always show UTC under that very name."""
    return None if zone.key in {"UTC", str(UTC)} else zone
