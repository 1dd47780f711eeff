"""Where the values of a series stand: those that codecs made in one table, those of LoRaWAN itself in columns.

The series of LoRaWAN have names that begin with `lorawan.` and are the same as in the view `lorawan_telemetry`. They
have no rows in `series`; their ids are below zero and never change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Double, Text, cast, func, literal_column, null

from receiver.storage.tables import notifications, uplinks
from receiver.storage.telemetry_tables import telemetry_values

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from sqlalchemy import ColumnElement

LORAWAN_PREFIX = "lorawan."


class Series(NamedTuple):
    """One name of one device, in one unit."""

    id: int
    dev_eui: str
    name: str
    unit: str | None


class Source(NamedTuple):
    """Where a series' values are read from; `tie` orders those of one time, `where` narrows to the series."""

    at: ColumnElement[Any]
    tie: ColumnElement[Any]
    uplink_id: ColumnElement[Any]
    value: ColumnElement[Any]
    text: ColumnElement[Any]
    where: tuple[ColumnElement[bool], ...]


OF_UPLINKS = {
    "lorawan.rssi_dbm": ("rssi_dbm", "dBm"),
    "lorawan.snr_db": ("snr_db", "dB"),
    "lorawan.esp_dbm": ("esp_dbm", "dBm"),
    "lorawan.spreading_factor": ("spreading_factor", None),
    "lorawan.gateway_count": ("gateway_count", None),
    "lorawan.frequency_mhz": ("frequency_mhz", "MHz"),
    "lorawan.tx_power_dbm": ("tx_power_dbm", "dBm"),
}
"""The column of `uplinks` that a series is made of, and its unit."""

_OF_STATUS = {"lorawan.battery_percent": "%", "lorawan.margin_db": "dB"}

LORAWAN_NAMES = (*OF_UPLINKS, *_OF_STATUS)
"""A series' id is -1 less its place in here: append only."""


def lorawan_series(dev_eui: str, names: Collection[str]) -> list[Series]:
    """Give the series of LoRaWAN itself that have these names."""
    units = {name: unit for name, (_, unit) in OF_UPLINKS.items()} | _OF_STATUS
    return [Series(-1 - place, dev_eui, name, units[name]) for place, name in enumerate(LORAWAN_NAMES) if name in names]


def source_of(one: Series) -> Source:
    """Give where the values of a series stand, each time under a name of its own, so that two can be in a statement."""
    if one.id >= 0:
        values = telemetry_values.alias().c
        return Source(
            values.at, values.uplink_id, values.uplink_id, values.value, values.text, (values.series_id == one.id,)
        )
    if one.name in OF_UPLINKS:
        frames = uplinks.alias().c
        column = frames[OF_UPLINKS[one.name][0]]
        where: tuple[ColumnElement[bool], ...] = (frames.dev_eui == one.dev_eui, column.is_not(None))
        return Source(frames.at, frames.id, frames.id, cast(column, Double), cast(null(), Text), where)
    status = notifications.alias().c
    if one.name == "lorawan.margin_db":
        value, known = cast(status.margin_db, Double), status.margin_db.is_not(None)
    else:  # LoRaWAN L2 1.0.4 section 5.5: 0 is mains power and 255 not measurable; 1 to 254 of 254
        value = cast(func.round(status.battery_level * literal_column("1000.0") / 254) / 10, Double)
        known = status.battery_level.between(1, 254)
    where = (status.dev_eui == one.dev_eui, known)
    return Source(status.at, status.id, null(), value, cast(null(), Text), where)
