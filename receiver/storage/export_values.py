"""The measurements that are exported: devices, their series, and the values of a series from its oldest on.

A series is a range of an index, and a page of it costs the same wherever it is. What narrows by the uplink behind a
value looks that one up, for each value of the page; values whose uplink was pruned are then left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from receiver.storage.export_reader import BEFORE_ALL_IDS, Place, marks
from receiver.storage.series_values import OF_UPLINKS, Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from receiver.storage.export_reader import ExportReader, Narrowing

PAGE_ROWS = 10_000
"""Values read at once: some 20 ms of the database, and few megabytes."""

_DEVICES = 500


class ExportedDevice(NamedTuple):
    """A device and its name, if it has one."""

    dev_eui: str
    name: str | None


class ExportedValue(NamedTuple):
    """A value at a time. `tie` is its uplink's id, or below zero that of the notification that told it."""

    at: str
    tie: int
    value: float | None
    text: str | None


class Counts(NamedTuple):
    """How many values of a series are of a kind."""

    numbers: int
    flags: int
    texts: int


def list_exported_devices(reader: ExportReader, dev_euis: Sequence[str] = ()) -> Iterator[ExportedDevice]:
    """Give the devices that are known or have measurements, by DevEUI; of these only, where they are given."""
    after = ""
    of_these = f" AND dev_eui IN ({marks(dev_euis)})" if dev_euis else ""
    parts = " UNION ".join(
        f"SELECT dev_eui FROM (SELECT DISTINCT dev_eui FROM {table} WHERE dev_eui > ?{of_these}"  # noqa: S608
        f" ORDER BY dev_eui LIMIT {_DEVICES}) AS of_{table}"
        for table in ("devices", "series")
    )
    statement = (
        f"SELECT known.dev_eui, devices.name FROM ({parts}) AS known"  # noqa: S608
        f" LEFT JOIN devices ON devices.dev_eui = known.dev_eui ORDER BY known.dev_eui LIMIT {_DEVICES}"
    )
    while page := reader.fetch(statement, (after, *dev_euis) * 2):
        for row in page:
            yield ExportedDevice(*row)
        after = page[-1][0]


def list_exported_series(reader: ExportReader, dev_eui: str, names: Sequence[str] = ()) -> list[Series]:
    """Give the series of a device that codecs made, by name and unit; of these names only, where they are given."""
    statement = "SELECT id, name, unit FROM series WHERE dev_eui = ?"
    if names:
        statement += f" AND name IN ({marks(names)})"
    rows = reader.fetch(statement, (dev_eui, *names))
    return [Series(row[0], dev_eui, row[1], row[2] or None) for row in sorted(rows, key=lambda row: row[1:])]


def list_names(
    reader: ExportReader, *, dev_euis: Sequence[str] = (), names: Sequence[str] = (), most: int
) -> list[tuple[str, str | None]]:
    """Give up to `most` pairs of a name and a unit that series of these devices have, in order; empty: of all."""
    where = [f"{column} IN ({marks(of)})" for column, of in (("dev_eui", dev_euis), ("name", names)) if of]
    narrowed = f" WHERE {' AND '.join(where)}" if where else ""
    statement = f"SELECT DISTINCT name, unit FROM series{narrowed} LIMIT {most}"  # noqa: S608 - names of our own
    return [(name, unit or None) for name, unit in sorted(reader.fetch(statement, (*dev_euis, *names)))]


def count_kinds(reader: ExportReader, one: Series, narrowing: Narrowing) -> Counts:
    """Count the values of a series in a range of time by kind, whatever else narrows."""
    statement = (
        "SELECT count(*), count(value), count(text) FROM telemetry_values"  # noqa: S608 - placeholders
        f" WHERE series_id = ? AND at >= {reader.moment} AND at < {reader.moment}"
    )
    if one.id < 0:  # of LoRaWAN itself: all numbers
        return Counts(1, 0, 0)
    [(rows, values, texts)] = reader.fetch(statement, (one.id, *narrowing.range))
    return Counts(numbers=rows - texts, flags=values + texts - rows, texts=rows - values)


class SeriesPages:
    """The values of one series in a range of time, oldest first; each `fetch` gives the next page."""

    def __init__(self, reader: ExportReader, one: Series, narrowing: Narrowing, rows: int = PAGE_ROWS) -> None:
        self._reader = reader
        self._rows = rows
        since, self._until = narrowing.range
        self._place = Place(since, BEFORE_ALL_IDS)
        self.is_done = one.id < 0 and one.name not in OF_UPLINKS and narrowing.is_by_uplink
        """Whether the last page was fetched. No uplink brought what LoRaWAN tells of a device's status."""
        self._statement, self._first, self._matching = _statement(reader, one, narrowing, rows)

    def fetch(self) -> list[ExportedValue]:
        """Give the next page; it may be empty and yet not the last one, when a filter leaves none of it."""
        parameters = (*self._matching, *self._first, self._place.at, self._until, *self._place)
        page = self._reader.fetch(self._statement, parameters)
        self.is_done = len(page) < self._rows
        if page:
            self._place = Place(*page[-1][:2])
        if self._matching:
            page = [row for row in page if row[4]]
        return [row[:4] for row in page] if self._matching else page  # type: ignore[misc,return-value]


def _statement(
    reader: ExportReader, one: Series, narrowing: Narrowing, rows: int
) -> tuple[str, tuple[object, ...], tuple[object, ...]]:
    """Give the SELECT of a page, the parameters that name the series, and those that the uplink must match."""
    wanted = narrowing.wanted_columns
    match, matching = "", tuple(value for _, value in wanted)
    text, first = "NULL", (one.dev_eui,)
    if one.id >= 0:
        source, tie, value, text = "telemetry_values AS v WHERE v.series_id = ?", "v.uplink_id", "v.value", "v.text"
        first = (one.id,)  # type: ignore[assignment]
        if wanted:
            is_wanted = " AND ".join(f"frame.{name} = ?" for name, _ in wanted)
            match = f", EXISTS (SELECT 1 FROM uplinks AS frame WHERE frame.id = v.uplink_id AND {is_wanted})"  # noqa: S608
    elif one.name in OF_UPLINKS:
        column = OF_UPLINKS[one.name][0]
        source, tie = f"uplinks AS v WHERE v.dev_eui = ? AND v.{column} IS NOT NULL", "v.id"
        value = f"CAST(v.{column} AS DOUBLE PRECISION)"
        if wanted:
            match = ", " + " AND ".join(f"v.{name} = ?" for name, _ in wanted)
    else:  # the same as in `series_values`
        tie, matching = "-v.id", ()
        if one.name == "lorawan.margin_db":
            value, known = "CAST(v.margin_db AS DOUBLE PRECISION)", "v.margin_db IS NOT NULL"
        else:
            value = "CAST(round(v.battery_level * 1000.0 / 254) / 10 AS DOUBLE PRECISION)"
            known = "v.battery_level BETWEEN 1 AND 254"
        source = f"notifications AS v WHERE v.dev_eui = ? AND {known}"
    moment = reader.moment
    statement = (
        f"SELECT {reader.time('v.at')}, {tie}, {value}, {text}{match} FROM {source}"  # noqa: S608 - names of our own
        f" AND v.at >= {moment} AND v.at < {moment} AND (v.at, {tie}) > ({moment}, ?)"
        f" ORDER BY v.at, {tie} LIMIT {rows}"
    )
    return statement, first, matching
