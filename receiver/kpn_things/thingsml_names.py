"""ThingsML's table of names: in place of a name a record may have a number, which tells the unit too. Pure.

The number stands under `i_` in JSON and 23 in CBOR, or is taken where a number stands as the name.
Source: KPN, thingsml-c-library (src/cbor/cbor.h, src/senml/senml_enums.h) for the label in CBOR and the table;
techfab-iot/thingsml (thingsml.go), which agrees with both, for the label in JSON and the units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import SenmlError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.kpn_things.senml import RawRecord

INDEX_LABEL = "i_"
"""In JSON, and for what is read of CBOR."""

NAMES: dict[int, tuple[str, str | None]] = {
    -24: ("temperature", "Cel"),
    -23: ("humidity", "%RH"),
    -22: ("latitude", "lat"),
    -21: ("longitude", "lon"),
    -20: ("altitude", "m"),
    -19: ("power", "W"),
    -18: ("pressure", "Pa"),
    -17: ("angle", "rad"),
    -16: ("length", "m"),
    -15: ("breadth", "m"),
    -14: ("height", "m"),
    -13: ("weight", "kg"),
    -12: ("thickness", "m"),
    -11: ("distance", "m"),
    -10: ("area", "m2"),
    -9: ("volume", "m3"),
    -8: ("velocity", "m/s"),
    -7: ("electricCurrent", "A"),
    -6: ("electricPotential", "V"),
    -5: ("electricResistance", "Ohm"),
    -4: ("illuminance", "lx"),
    -3: ("accelerationX", "m/s2"),
    -2: ("accelerationY", "m/s2"),
    -1: ("accelerationZ", "m/s2"),
    0: ("heading", "rad"),
    1: ("COConcentration", "ppm"),
    2: ("CO2Concentration", "ppm"),
    3: ("sound", "dB"),
    4: ("frequency", "Hz"),
    5: ("batteryLevel", "%EL"),
    6: ("batteryVoltage", "V"),
    7: ("radius", "m"),
    8: ("batteryLevelLow", "/"),
    9: ("compassX", "T"),
    10: ("compassY", "T"),
    11: ("compassZ", "T"),
    12: ("readSwitch", "/"),
    13: ("presence", None),
    14: ("counter", None),
}
"""By index: the name, and the unit where the pack gives none."""


def name_all(records: Sequence[RawRecord]) -> list[RawRecord]:
    """Put names for indexes, and their units where neither the record nor a base unit gives one.

    Raises:
        SenmlError: an index is not in the table, or stands beside a name.
    """
    named: list[RawRecord] = []
    has_base_unit = False
    for number, record in enumerate(records, 1):
        has_base_unit = bool(record.get("bu", has_base_unit))
        label = INDEX_LABEL if INDEX_LABEL in record else "n"
        index = record.get(label)
        if label == "n" and (not isinstance(index, int) or isinstance(index, bool)):
            named.append(record)
            continue
        if not isinstance(index, int) or isinstance(index, bool) or index not in NAMES:
            raise SenmlError(f"Record {number}: {label} is no index of ThingsML's table of names, -24 to 14.")
        if label == INDEX_LABEL and "n" in record:
            raise SenmlError(f"Record {number}: {INDEX_LABEL} stands beside n; a record has one name.")
        name, unit = NAMES[index]
        full = {key: value for key, value in record.items() if key != INDEX_LABEL} | {"n": name}
        if unit is not None and not has_base_unit:
            full.setdefault("u", unit)
        named.append(full)
    return named
