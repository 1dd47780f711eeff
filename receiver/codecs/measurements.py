"""Makes rows of what a codec gave: an object, points of an Actility driver, or normalized data. Pure.

Values may bring their own time; it is taken where it is plausible for the frame (`own_time`), and the frame's else.
Source: LoRa Alliance TS013-1.0.0 for `data`; the drivers of ThingPark X for points (`record`, `records`, `eventTime`);
The Things Network's device repository, lib/payload.json, for normalized data and its units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from receiver.codecs.own_time import read_own_time
from receiver.codecs.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from receiver.codecs.values import Json, Measurement

TIME_KEYS = ("time", "timestamp", "at", "measuredAt")
"""Where codecs that give a list put the time of each element; the first that holds a plausible time counts."""

NORMALIZED_UNITS = {
    "battery": "V",
    "soil.depth": "cm",
    "soil.moisture": "%",
    "soil.temperature": "Cel",
    "soil.ec": "dS/m",
    "soil.pH": "pH",
    "soil.n": "ppm",
    "soil.p": "ppm",
    "soil.k": "ppm",
    "air.temperature": "Cel",
    "air.relativeHumidity": "%RH",
    "air.pressure": "hPa",
    "air.co2": "ppm",
    "air.lightIntensity": "lx",
    "wind.speed": "m/s",
    "wind.direction": "deg",
    "water.temperature.min": "Cel",
    "water.temperature.max": "Cel",
    "water.temperature.avg": "Cel",
    "water.temperature.current": "Cel",
    "metering.water.total": "l",
    "action.motion.count": "count",
    "position.latitude": "lat",
    "position.longitude": "lon",
}
"""Spelled as SenML does (RFC 8428 section 12.1, RFC 8798). Source: lib/payload.json, the descriptions."""

_NO_TIME = "Kept with the frame's time, as their own is no plausible time with a zone"


class Measured(NamedTuple):
    """The measurements of one decoded frame, in the codec's order, and sentences on what was cut or left out."""

    measurements: list[Measurement]
    warnings: tuple[str, ...] = ()


def measure(data: Json, at: datetime, units: Mapping[str, str]) -> Measured:
    """Give the measurements in a decoded object.

    A list of objects that all have a plausible time of their own (`TIME_KEYS`) gives each element's values with that
    time, by their names without the index, where the times differ. Every other list counts its elements.
    """
    rows = Rows(units)
    timed = _elements_with_time(data, at)
    if timed is None:
        rows.take(data, "", at)
    else:
        _take_each(rows, "", *timed)
    return Measured(rows.measurements, rows.warnings())


def measure_normalized(normalized: Json, at: datetime, units: Mapping[str, str] = NORMALIZED_UNITS) -> Measured:
    """Give the measurements in what `normalizeUplink` made: an object or a list of them, each with a `time` or without.

    Elements of different times have plain names. Where two have one time, as the depths of a soil probe do, the names
    begin with the index: `0.soil.moisture`.
    """
    rows = Rows(units)
    elements = normalized if isinstance(normalized, list) else [normalized]
    bare: list[Json] = []
    times: list[datetime] = []
    for element in elements:
        own = None
        if isinstance(element, dict) and "time" in element:
            own = read_own_time(element["time"], at)
            if own is None:
                rows.note(_NO_TIME, "time")
            bare.append({key: value for key, value in element.items() if key != "time"})
        else:
            bare.append(element)
        times.append(own or at)
    _take_each(rows, "", bare, times)
    return Measured(rows.measurements, rows.warnings())


def measure_points(points: Mapping[str, Json], at: datetime, units: Mapping[str, str]) -> Measured:
    """Give the measurements in what `extractPoints` gave.

    A point is a bare value, `{record}`, `{value}` or `{records}` with an `eventTime` or without, or a list of such; its
    `unitId` goes before `units`. What a point holds that is none of these is named by its keys.
    """
    rows = Rows(units)
    for name, point in points.items():
        _take_point(rows, name, point, at)
    return Measured(rows.measurements, rows.warnings())


def _take_point(rows: Rows, name: str, point: Json, at: datetime) -> None:
    unit = None
    records: Json = point
    if isinstance(point, dict):
        unit_id = point.get("unitId")
        unit = unit_id if isinstance(unit_id, str) and unit_id else None
        records = point.get("records", {key: value for key, value in point.items() if key != "unitId"})
    if not isinstance(records, list):
        records = [records]
    elif not any(isinstance(record, dict) and _value_key(record) for record in records):
        rows.take(records, name, at)  # such as [latitude, longitude]
        return
    values: list[Json] = []
    times: list[datetime] = []
    for record in records:
        key = _value_key(record) if isinstance(record, dict) else None
        if not isinstance(record, dict) or key is None:
            values.append(record)
            times.append(at)
            continue
        own = read_own_time(record["eventTime"], at) if "eventTime" in record else None
        if own is None and record.get("eventTime") is not None:
            rows.note(_NO_TIME, name)
        values.append(record[key])
        times.append(own or at)
    _take_each(rows, name, values, times, unit)


def _value_key(record: Mapping[str, Json]) -> str | None:
    return "value" if "value" in record else "record" if "record" in record else None


def _take_each(
    rows: Rows, name: str, values: Sequence[Json], times: Sequence[datetime], unit: str | None = None
) -> None:
    """Take values that have a time each, by `name` where the times differ, by it and their index where they do not."""
    plain = len(set(times)) == len(times)
    prefix = f"{name}." if name else ""
    for index, (value, own) in enumerate(zip(values, times, strict=True)):
        rows.take(value, name if plain else f"{prefix}{index}", own, unit)


def _elements_with_time(data: Json, at: datetime) -> tuple[list[Json], list[datetime]] | None:
    """Give the elements without their times, and the times; None where one has none."""
    if not isinstance(data, list) or not data:
        return None
    bare: list[Json] = []
    times: list[datetime] = []
    for element in data:
        timed = _own_time_of(element, TIME_KEYS, at)
        if timed is None or not isinstance(element, dict):
            return None
        time_key, own = timed
        bare.append({key: value for key, value in element.items() if key != time_key})
        times.append(own)
    return bare, times


def _own_time_of(element: Json, keys: Iterable[str], at: datetime) -> tuple[str, datetime] | None:
    if not isinstance(element, dict):
        return None
    for key in keys:
        own = read_own_time(element[key], at) if key in element else None
        if own is not None:
            return key, own
    return None
