"""Telemetry as one row for each device and time of an uplink, with a column for each measurement.

Columns: dev_eui, device (its name), at, uplink_id, and then the measurements by name, from all series that the wanted
devices have. One whose name has several units has `name [unit]` for each. Rows come device by device, of each in the
order of time; what a device did not measure then is null. Where a column needs one kind for all of it (`typed`), it has
numbers, or true and false, or texts; if a measurement changes its kind, or devices differ in it, texts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING

from receiver.errors import ExportError
from receiver.services.export_table import CELLS, Column, ExportTable, Kind, gather
from receiver.storage.export_values import PAGE_ROWS, SeriesPages, count_kinds, list_names
from receiver.storage.series_values import lorawan_series
from receiver.storage.telemetry_queries import value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from receiver.services.export_selection import Selection
    from receiver.storage.export_reader import ExportReader
    from receiver.storage.export_values import ExportedDevice, ExportedValue
    from receiver.storage.series_values import Series

MOST_MEASUREMENTS = 1000
"""Columns that one table may have: tables of more are read by few programs, and a chunk of rows must fit the memory."""

_LEAST_PAGE_ROWS = 50

_HEAD = (
    *(Column("dev_eui", Kind.TEXT), Column("device", Kind.TEXT)),
    *(Column("at", Kind.TIME), Column("uplink_id", Kind.WHOLE)),
)

Measurement = tuple[str, str | None]
"""A name and its unit."""


def wide_table(reader: ExportReader, selection: Selection, *, typed: bool) -> ExportTable:
    """Give the table; with `typed` each of its columns has values of one kind.

    Raises:
        ExportError: there are more measurements than a table may have columns.
    """
    measurements = _measurements(reader, selection)
    kinds = _kinds(reader, selection) if typed else {}
    unknown = Kind.NUMBER if typed else Kind.ANY
    names = name_columns(measurements)
    columns = (*_HEAD, *(Column(names[one], kinds.get(one, unknown)) for one in measurements))
    places = {one: place for place, one in enumerate(measurements)}
    texts = {one for one, kind in kinds.items() if kind is Kind.TEXT}
    return ExportTable(columns, gather(_parts(reader, selection, places, texts), len(columns)))


def name_columns(measurements: Sequence[Measurement]) -> dict[Measurement, str]:
    """Give each measurement a name of its own: its name, with the unit where that has several or is taken."""
    several = Counter(name for name, _ in measurements)
    taken = {column.name for column in _HEAD}
    names = {}
    for name, unit in measurements:
        with_unit = f"{name} [{unit or ''}]"
        column = with_unit if (several[name] > 1 and unit) or name in taken else name
        number = 2
        while column in taken:
            column, number = f"{with_unit} {number}", number + 1
        taken.add(column)
        names[name, unit] = column
    return names


def _measurements(reader: ExportReader, selection: Selection) -> list[Measurement]:
    most = MOST_MEASUREMENTS + 1
    found: list[Measurement] = [(one.name, one.unit) for one in lorawan_series("", selection.lorawan_names)]
    if not selection.no_codecs:
        found += list_names(reader, dev_euis=selection.dev_euis, names=selection.codec_names, most=most)
    if len(found) > MOST_MEASUREMENTS:
        raise ExportError(
            f"There are more than {MOST_MEASUREMENTS} measurements, too many for a column each: choose some with --name"
            " or --device, or take --shape long."
        )
    return sorted(set(found), key=lambda one: (one[0], one[1] or ""))


def _kinds(reader: ExportReader, selection: Selection) -> dict[Measurement, Kind]:
    """Give the kind of each measurement that has values in the range."""
    found: dict[Measurement, set[Kind]] = {}
    for device in selection.devices(reader):
        for one in selection.series_of(reader, device.dev_eui):
            counts = count_kinds(reader, one, selection.narrowing)
            kinds = zip((Kind.NUMBER, Kind.FLAG, Kind.TEXT), counts, strict=True)
            found.setdefault((one.name, one.unit), set()).update(kind for kind, count in kinds if count)
    return {one: kinds.pop() if len(kinds) == 1 else Kind.TEXT for one, kinds in found.items() if kinds}


def _parts(
    reader: ExportReader, selection: Selection, places: dict[Measurement, int], texts: set[Measurement]
) -> Iterator[Sequence[Sequence[object]]]:
    for device in selection.devices(reader):
        # One that appeared since the columns were chosen has none.
        series = [one for one in selection.series_of(reader, device.dev_eui) if (one.name, one.unit) in places]
        of_columns = [places[one.name, one.unit] for one in series]
        as_texts = [(one.name, one.unit) in texts for one in series]
        for part in _merge(reader, selection, series):
            yield _columns(device, part, of_columns, as_texts, len(places))


def _merge(
    reader: ExportReader, selection: Selection, series: Sequence[Series]
) -> Iterator[list[Sequence[ExportedValue]]]:
    """Give the values of some series together, slice by slice of time: of each series those in the slice.

    A slice goes up to where the first of the pages that were read ends.
    """
    rows = max(_LEAST_PAGE_ROWS, min(PAGE_ROWS, CELLS // max(1, len(series))))
    pages = [SeriesPages(reader, one, selection.narrowing, rows) for one in series]
    waiting: list[list[ExportedValue]] = [[] for _ in series]
    while True:
        for place, page in enumerate(pages):
            while not waiting[place] and not page.is_done:
                waiting[place] = page.fetch()
        if not any(waiting):
            return
        ends = [values[-1][:2] for values, page in zip(waiting, pages, strict=True) if not page.is_done]
        end = min(ends, default=None)
        part: list[Sequence[ExportedValue]] = []
        for place, values in enumerate(waiting):
            count = len(values) if end is None else bisect_right(values, end, key=_key)
            part.append(values[:count])
            waiting[place] = values[count:]
        yield part


def _key(value: ExportedValue) -> tuple[str, int]:
    return value[0], value[1]


def _columns(
    device: ExportedDevice,
    part: Sequence[Sequence[ExportedValue]],
    of_columns: Sequence[int],
    as_texts: Sequence[bool],
    measurements: int,
) -> list[list[object]]:
    keys_of = [[row[:2] for row in values] for values in part]
    keys = _in_order([keys for keys in keys_of if keys])
    rows = len(keys)
    row_of = dict(zip(keys, range(rows), strict=True))
    columns: list[list[object]] = [[None] * rows for _ in range(measurements)]
    for values, own_keys, of_column, as_text in zip(part, keys_of, of_columns, as_texts, strict=True):
        cells: list[object]
        if as_text:
            cells = [repr(value) if text is None else text for _, _, value, text in values]
        else:
            cells = [value if text is None else value_of(value, text) for _, _, value, text in values]
        if own_keys == keys:
            columns[of_column] = cells
        else:
            column = columns[of_column]
            for key, cell in zip(own_keys, cells, strict=True):
                column[row_of[key]] = cell
    at: list[object] = [key[0] for key in keys]
    uplink_ids: list[object] = [key[1] if key[1] >= 0 else None for key in keys]
    return [[device.dev_eui] * rows, [device.name] * rows, at, uplink_ids, *columns]


def _in_order(keys_of: Sequence[list[tuple[str, int]]]) -> list[tuple[str, int]]:
    """Give the keys of several series together; mostly they are the same, since an uplink has all measurements."""
    first = keys_of[0] if keys_of else []
    if all(keys == first for keys in keys_of):
        return first
    return sorted(set().union(*keys_of))
