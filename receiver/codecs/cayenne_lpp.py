"""Decodes Cayenne LPP, a payload of channels with typed values: the built-in codec `cayenne-lpp`. Pure.

Each value is a byte of channel, a byte of type, and bytes of value, big-endian. The FPort is not looked at: devices use
any. Downlinks are not encoded.
Source: myDevices, Cayenne docs, LoRa, Cayenne Low Power Payload (types of 2016); ElectronicCats/CayenneLPP,
src/CayenneLPP.h, for the others, which are the IPSO objects less 3200; RAKwireless, wisblock_cayenne.h, for 137.
Second opinion on sizes and signs: the table of pycayennelpp. Names: as The Things Stack gives them, and so the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.codecs.values import Decoding

if TYPE_CHECKING:
    from receiver.codecs.values import Json, Payload


@dataclass(frozen=True, slots=True)
class _Part:
    """One number of a type: the steps it is counted in are `1 / per_unit`."""

    length: int
    per_unit: int = 1
    signed: bool = False
    unit: str | None = None
    name: str = ""
    """The member's, where the type has several numbers."""


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    parts: tuple[_Part, ...]

    @property
    def length(self) -> int:
        return sum(part.length for part in self.parts)


def _one(name: str, length: int, per_unit: int = 1, *, signed: bool = False, unit: str | None = None) -> _Type:
    return _Type(name, (_Part(length, per_unit, signed, unit),))


def _axes(name: str, per_unit: int, unit: str) -> _Type:
    return _Type(name, tuple(_Part(2, per_unit, signed=True, unit=unit, name=axis) for axis in "xyz"))


def _gps(length: int, per_degree: int) -> _Type:
    return _Type(
        "gps",
        (
            _Part(length, per_degree, signed=True, unit="lat", name="latitude"),
            _Part(length, per_degree, signed=True, unit="lon", name="longitude"),
            _Part(3, 100, signed=True, unit="m", name="altitude"),
        ),
    )


_TYPES = {
    0: _one("digital_in", 1),
    1: _one("digital_out", 1),
    2: _one("analog_in", 2, 100, signed=True),
    3: _one("analog_out", 2, 100, signed=True),
    100: _one("generic", 4),
    101: _one("luminosity", 2, unit="lx"),
    102: _one("presence", 1),
    103: _one("temperature", 2, 10, signed=True, unit="Cel"),
    104: _one("relative_humidity", 1, 2, unit="%RH"),
    113: _axes("accelerometer", 1000, "G"),
    115: _one("barometric_pressure", 2, 10, unit="hPa"),
    116: _one("voltage", 2, 100, unit="V"),
    117: _one("current", 2, 1000, unit="A"),
    118: _one("frequency", 4, unit="Hz"),
    120: _one("percentage", 1, unit="%"),
    121: _one("altitude", 2, signed=True, unit="m"),
    125: _one("concentration", 2, unit="ppm"),
    128: _one("power", 2, unit="W"),
    130: _one("distance", 4, 1000, unit="m"),
    131: _one("energy", 4, 1000, unit="kWh"),
    132: _one("direction", 2, unit="deg"),
    133: _one("unixtime", 4, unit="s"),
    134: _axes("gyrometer", 100, "deg/s"),
    135: _Type("colour", tuple(_Part(1, name=name) for name in ("r", "g", "b"))),
    136: _gps(3, 10_000),
    137: _gps(4, 1_000_000),
    142: _one("switch", 1),
}

UNITS = {
    f"{kind.name}.{part.name}" if part.name else kind.name: part.unit
    for kind in _TYPES.values()
    for part in kind.parts
    if part.unit is not None
}
"""By name without channel: `temperature`, `gps.latitude`. `G` is the standard gravity; the rest is spelled as SenML."""


def decode_cayenne_lpp(payload: Payload) -> Decoding:
    """Decode a payload into an object by name and channel: `{"temperature_3": 27.2, "gps_1": {"latitude": 42.3519}}`.

    A type that is not known, or a value cut short, fails the whole payload, and the error names its offset: how long
    an unknown value is cannot be known, and what seemed to be read before it is most often chance, in the payload of a
    device that does not send Cayenne LPP at all. Where a channel and type stand twice, the first value stands.
    """
    body = payload.frm_payload
    if not body:
        return _fail("The payload is empty.")
    data: dict[str, Json] = {}
    warnings: list[str] = []
    offset = 0
    while offset < len(body):
        if offset + 1 == len(body):
            return _fail(f"At offset {offset} a channel stands without a type, after {len(data)} values.")
        channel, number = body[offset], body[offset + 1]
        kind = _TYPES.get(number)
        if kind is None:
            return _fail(f"At offset {offset + 1} the type {number} is not known, after {len(data)} values.")
        start, offset = offset + 2, offset + 2 + kind.length
        if offset > len(body):
            return _fail(f"At offset {start} a value of type {number} has {len(body) - start} of {kind.length} bytes.")
        name = f"{kind.name}_{channel}"
        if name in data:
            warnings.append(f"At offset {start} {name} stands once more; the first value was kept.")
        else:
            data[name] = _read(kind, body[start:offset])
    return Decoding(data, tuple(warnings))


def _read(kind: _Type, body: bytes) -> Json:
    members: dict[str, Json] = {}
    offset = 0
    for part in kind.parts:
        number = int.from_bytes(body[offset : offset + part.length], "big", signed=part.signed)
        members[part.name] = number if part.per_unit == 1 else number / part.per_unit  # divided: 27.2 stays 27.2
        offset += part.length
    return members.get("", members)


def _fail(sentence: str) -> Decoding:
    return Decoding(None, errors=(sentence,))
