"""The SenML bodies that KPN Things pushes, by the decoder that a device has there, in both layouts.

Before 13 December 2022 the base values stood in a record of their own and numbers were spelled as they were; since
then they stand in the first record that has a value, and every number is spelled as Java spells a double.

Source: docs.kpnthings.com, decoders of LoRa devices; bodies of KPN Things that receivers have published, 2020 to 2025.
"""

from __future__ import annotations

import json
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from receiver.simulator.radio import ComputedFix, Reception

Record: TypeAlias = "dict[str, str | float | int]"

UNKNOWN_PERCENT = 9999
"""What locAccuracy and locPrecision say when it is not known."""


class Layout(StrEnum):
    """How records are written."""

    MERGED = "merged"
    """The base values in the first record with a value; `1.76675482E9`, `3.0`."""
    SEPARATE = "separate"
    """The base values in a record of their own; whole numbers without a point."""


def raw(payload: bytes, f_port: int, *, time_origin: bool) -> list[Record]:
    """Give what the decoder "raw" tells of a frame; with `time_origin`, what "raw v2" does."""
    records: list[Record] = [{"n": "payload", "vs": payload.hex()}, {"n": "port", "v": f_port}]
    return [*records, {"n": "timeOrigin", "vs": "NETWORK"}] if time_origin else records


def extended(
    payload: bytes, f_port: int, f_cnt_up: int, f_cnt_down: int, reception: Reception, *, time_origin: bool
) -> list[Record]:
    """Give what the decoder "LoRa extended" tells of a frame; with `time_origin`, what its v2 does."""
    best = reception.heard[0]
    numbers: tuple[tuple[str, float], ...] = (
        ("port", f_port),
        ("FCntUp", f_cnt_up),
        ("FCntDn", f_cnt_down),
        ("LrrRSSI", best.rssi_dbm),
        ("LrrSNR", best.snr_db),
        ("LrrESP", round(best.esp_dbm, 6)),
        ("DevLrrCnt", len(reception.heard)),
        ("SpFact", reception.spreading_factor),
    )
    records: list[Record] = [{"n": "payload", "vs": payload.hex()}]
    records += [{"n": name, "v": value} for name, value in numbers]
    records += [{"n": "SubBand", "vs": reception.sub_band}, {"n": "Channel", "vs": reception.channel}]
    records.append({"n": "ADRbit", "v": 1})
    return [*records, {"n": "timeOrigin", "vs": "NETWORK"}] if time_origin else records


def location(fix: ComputedFix) -> list[Record]:
    """Give a position that the network computed: a message of its own."""
    return [
        {"n": "locOrigin", "vs": "KPNLORA"},
        {"n": "latitude", "u": "lat", "v": round(fix.latitude, 6)},
        {"n": "longitude", "u": "lon", "v": round(fix.longitude, 6)},
        {"n": "radius", "u": "m", "v": round(fix.radius_m, 6)},
        {"n": "locMethod", "vs": "TDOA"},
        {"n": "locAccuracy", "u": "%", "v": UNKNOWN_PERCENT},
        {"n": "locPrecision", "u": "%", "v": UNKNOWN_PERCENT},
        {"n": "locTime", "u": "s", "v": round(fix.at.timestamp(), 3)},
    ]


def decoded(temperature_celsius: float, battery_percent: float) -> list[Record]:
    """Give what a decoder of a device's own tells; some spell numbers as texts."""
    return [
        {"n": "temperature", "u": "Cel", "v": temperature_celsius},
        {"n": "battery", "u": "%", "vs": f"{battery_percent:.1f}"},
    ]


def write_pack(base_name: str, at: datetime, records: Sequence[Record], layout: Layout) -> bytes:
    """Give the body: UTF-8, no white space, records in the order given."""
    base: Record = {"bn": base_name, "bt": round(at.timestamp(), 3)}
    if layout is Layout.SEPARATE:
        base["bt"] = int(at.timestamp())
        pack = [base, *records]
    else:
        pack = [{**base, **records[0]}, *records[1:]]
    return ("[" + ",".join(_write(record, layout) for record in pack) + "]").encode()


def spell_double(value: float) -> str:
    """Spell a number as Java does: 3.0, 52.266785, 1.76675482E9."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(float(value))
    mantissa, _, exponent = f"{Decimal(repr(value)).normalize():E}".partition("E")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}E{int(exponent)}"


def _write(record: Record, layout: Layout) -> str:
    def text(value: str | float) -> str:
        if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
        return spell_double(value) if layout is Layout.MERGED else repr(value)

    return "{" + ",".join(f"{json.dumps(label)}:{text(value)}" for label, value in record.items()) + "}"
