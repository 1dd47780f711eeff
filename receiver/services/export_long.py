"""Telemetry as one row for each measurement: device by device, of each its series by name and unit, of each its values.

Columns: dev_eui, device (its name), at, name, value, text, unit, uplink_id. As in the view `telemetry`, `value` has
numbers, of true and false 1 and 0, and `text` has texts and the words `true` and `false`. Where a value may be of any
kind, as in NDJSON, `value` has it as it is and there is no `text`, as in the API. `unit` and `uplink_id` may be null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.services.export_table import Column, ExportTable, Kind, gather
from receiver.storage.export_values import SeriesPages
from receiver.storage.telemetry_queries import value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from receiver.services.export_selection import Selection
    from receiver.storage.export_reader import ExportReader
    from receiver.storage.export_values import ExportedDevice
    from receiver.storage.series_values import Series

_HEAD = (
    *(Column("dev_eui", Kind.TEXT), Column("device", Kind.TEXT)),
    *(Column("at", Kind.TIME), Column("name", Kind.TEXT)),
)
_TAIL = (Column("unit", Kind.TEXT), Column("uplink_id", Kind.WHOLE))


def long_table(reader: ExportReader, selection: Selection, *, one_value: bool) -> ExportTable:
    """Give the table; with `one_value` its values are as they are, else in `value` and `text`."""
    values = (Column("value", Kind.ANY),) if one_value else (Column("value", Kind.NUMBER), Column("text", Kind.TEXT))
    columns = (*_HEAD, *values, *_TAIL)
    return ExportTable(columns, gather(_parts(reader, selection, one_value=one_value), len(columns)))


def _parts(reader: ExportReader, selection: Selection, *, one_value: bool) -> Iterator[Sequence[Sequence[object]]]:
    for device in selection.devices(reader):
        for one in selection.series_of(reader, device.dev_eui):
            yield from _of_series(reader, selection, device, one, one_value=one_value)


def _of_series(
    reader: ExportReader, selection: Selection, device: ExportedDevice, one: Series, *, one_value: bool
) -> Iterator[Sequence[Sequence[object]]]:
    pages = SeriesPages(reader, one, selection.narrowing)
    while not pages.is_done:
        page = pages.fetch()
        if not page:
            continue
        at, ties, values, texts = zip(*page, strict=True)
        rows = len(page)
        kept: tuple[Sequence[object], ...] = (values, texts)
        if one_value:
            kept = (values if texts.count(None) == rows else list(map(value_of, values, texts)),)
        uplink_ids = ties if ties[0] >= 0 else [None] * rows
        yield [device.dev_eui] * rows, [device.name] * rows, at, [one.name] * rows, *kept, [one.unit] * rows, uplink_ids
