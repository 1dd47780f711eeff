"""Reads what KPN Things pushes: the frame, the position and the decoded values in one message. Pure.

A message is a SenML pack of one device, in the layout of before 13 December 2022 (base values in a record of their own)
or of after it; it is resolved by the RFC's rules, so it does not matter which. What the records mean is told by their
names alone: a message may hold a frame (raw, raw v2, LoRa extended of both versions), a position that the network
computed, values that a decoder at KPN Things made, or all of them.

Reading never fails for one odd record: it is left out, and its name stands in the notes; the body stays stored.
Source: docs.kpnthings.com, Destinations, HTTPS; decoders Raw, Raw v2, LoRa extended; Geolocation; RFC 8428.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import ReportUnreadableError, SenmlError
from receiver.kpn_things.mending import as_number, mend, resolve_each
from receiver.kpn_things.senml import read_json
from receiver.lorawan.frame_counter import F_CNT_MAX, F_PORT_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from receiver.kpn_things.senml import SenmlRecord

UUID_PREFIX = "DVNUUID:"
IMEI_PREFIX = "IMEI:"
"""What the name of a device begins with that is not named by its DevEUI."""

_UNKNOWN = 9999
"""What KPN Things writes for an accuracy that it does not know."""

_FRAME = frozenset(
    {
        *("payload", "port", "FCntUp", "FCntDn", "LrrRSSI", "LrrSNR", "LrrESP", "DevLrrCnt", "SpFact"),
        *("SubBand", "Channel", "ADRbit", "timeOrigin", "TIME_ORIGIN"),
    }
)
"""Names of a frame and of its reception."""

_POSITION = frozenset({"locOrigin", "locMethod", "locAccuracy", "locPrecision", "locTime"})
"""Names that make latitude and longitude those of a position that the network computed."""

_COORDINATES = frozenset({"latitude", "longitude", "altitude", "radius"})
"""Beside one of `_POSITION` they are part of it; else they are values that the device measured."""

_ALGORITHMS = {"tdoa": "tdoa", "rssi": "rssi"}

_DEVICE = re.compile(
    r"urn:dev:([A-Za-z]+):([^:/_]*)[:/_](.*)\Z", re.DOTALL
)  # Source: RFC 9039; here it ends in a colon
_DEV_EUI = re.compile(r"[0-9A-Fa-f]{16}\Z")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")
_IMEI = re.compile(r"[0-9]{14,16}\Z", re.ASCII)  # 15 digits; 14 without the check digit, 16 with the software's version

_MILLISECONDS_FROM = 100_000_000_000
"""As seconds this is the year 5138, as milliseconds 1973: a time that is greater is in milliseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_PAYLOAD_DIGITS = 512  # 242 bytes are the most that a LoRaWAN frame has; this is no less than that
_MAX_TEXT = 20  # of SubBand and Channel: `G1`, `LC3`
_MAX_TOLD = 5


class ThingsFix(NamedTuple):
    """A position that the network computed. `at` is the fix's own time (locTime), None when not given."""

    latitude: float
    longitude: float
    at: datetime | None
    altitude_m: float | None
    radius_m: float | None
    algorithm: str | None


class ThingsValue(NamedTuple):
    """A value that a decoder at KPN Things made; numbers are numbers, however they were written."""

    name: str
    at: datetime
    value: float | bool | str
    unit: str | None

    def __repr__(self) -> str:
        return f"ThingsValue({self.name!r})"


class ThingsMessage(NamedTuple):
    """What a message says. `device` is a DevEUI in upper case, or `DVNUUID:` or `IMEI:` and what KPN Things names it.

    `mark` tells a message that comes again: the frame's time where it has a counter, else a digest of the device's
    name, time, payload and port, or of the values where there is no payload.
    """

    device: str
    at: datetime
    payload: bytes | None
    f_port: int | None
    f_cnt_up: int | None
    f_cnt_down: int | None
    rssi_dbm: float | None
    snr_db: float | None
    esp_dbm: float | None
    gateway_count: int | None
    spreading_factor: int | None
    sub_band: str | None
    channel: str | None
    adr: bool
    fix: ThingsFix | None
    values: tuple[ThingsValue, ...]
    mark: str
    notes: str | None

    @property
    def is_uplink(self) -> bool:
        """Whether the device itself is heard in it, and not only where the network takes it to be."""
        return self.payload is not None or self.f_cnt_up is not None or bool(self.values)

    def __repr__(self) -> str:
        return f"ThingsMessage({self.device}, f_cnt_up={self.f_cnt_up}, {len(self.values)} values)"


def read_message(body: bytes, received_at: datetime) -> ThingsMessage:
    """Read the body of a push; a time in it that is relative is so to `received_at`.

    Raises:
        ReportUnreadableError: it is no SenML pack, or names no device that can be known again.
    """
    left_out: list[str] = []
    try:
        raw = mend(read_json(body), left_out)
        resolved = resolve_each(raw, received_at, left_out)
    except SenmlError as exc:
        raise ReportUnreadableError(f"It is not SenML that can be read: {exc}") from exc
    if not resolved:
        raise ReportUnreadableError("There is no value in it: its records only set base values.")
    device = ""
    records: dict[str, SenmlRecord] = {}
    others = 0
    mine: list[tuple[str, SenmlRecord]] = []
    for record in resolved:
        of, name = _split_name(record.name)
        if not device:
            device = of
        if of != device:
            others += 1
            continue
        mine.append((name, record))
        records.setdefault(name, record)
    fields = _Fields(records, left_out)
    has_position = not _POSITION.isdisjoint(records)
    about = _FRAME | _POSITION | (_COORDINATES if has_position else frozenset())
    values = tuple(_value(name, record) for name, record in mine if name not in about and _has_value(record, name))
    payload = fields.payload("payload")
    at = (records.get("payload") or mine[0][1]).at
    f_cnt_up = fields.integer("FCntUp", 0, F_CNT_MAX)
    f_port = fields.integer("port", 0, F_PORT_MAX)
    return ThingsMessage(
        device=device,
        at=at,
        payload=payload,
        f_port=f_port,
        f_cnt_up=f_cnt_up,
        f_cnt_down=fields.integer("FCntDn", 0, F_CNT_MAX),
        rssi_dbm=fields.number("LrrRSSI"),
        snr_db=fields.number("LrrSNR"),
        esp_dbm=fields.number("LrrESP"),
        gateway_count=fields.integer("DevLrrCnt", 0, 10_000),
        spreading_factor=fields.integer("SpFact", 5, 12),
        sub_band=fields.text("SubBand"),
        channel=fields.text("Channel"),
        adr=fields.number("ADRbit") not in {None, 0.0},
        fix=_fix(fields) if has_position else None,
        values=values,
        mark=_mark(device, at, payload, f_port, f_cnt_up, values),
        notes=_notes(left_out, others),
    )


def _split_name(full: str) -> tuple[str, str]:
    """Give the device and what its record is called.

    Raises:
        ReportUnreadableError: it names no device.
    """
    match = _DEVICE.match(full)
    if match is None:
        raise ReportUnreadableError(f"The name {full[:80]!r} has no urn:dev: of a device in it.")
    scheme, name, rest = match.groups()
    scheme = scheme.upper()
    if scheme == "DEVEUI" and _DEV_EUI.match(name):
        return name.upper(), rest
    if scheme == "DVNUUID" and _UUID.match(name):
        return UUID_PREFIX + name.lower(), rest
    if scheme == "IMEI" and _IMEI.match(name):
        return IMEI_PREFIX + name, rest
    form = {"DEVEUI": "16 hexadecimal digits", "DVNUUID": "a UUID", "IMEI": "15 digits"}.get(scheme)
    if form is not None:
        raise ReportUnreadableError(f"The base name has the {scheme} {name[:40]!r}, which is not {form}.")
    raise ReportUnreadableError(
        f"The base name is of the kind {scheme[:40]!r}; devices are known here by DEVEUI, DVNUUID or IMEI."
    )


class _Fields:
    """The records of a message by name, each taken as the kind it must be; what is not goes to the notes."""

    def __init__(self, records: dict[str, SenmlRecord], left_out: list[str]) -> None:
        self._records = records
        self._left_out = left_out

    def number(self, name: str) -> float | None:
        record = self._records.get(name)
        if record is None:
            return None
        number = record.number if record.text is None else as_number(record.text)
        if number is None and record.boolean is not None:
            number = float(record.boolean)
        if number is None:
            self._odd(name)
        return number

    def integer(self, name: str, least: int, most: int) -> int | None:
        number = self.number(name)
        if number is None:
            return None
        if number.is_integer() and least <= number <= most:
            return int(number)
        self._odd(name)
        return None

    def text(self, name: str) -> str | None:
        record = self._records.get(name)
        if record is None:
            return None
        text = record.text if record.number is None else f"{record.number:g}"
        if text is None or len(text) > _MAX_TEXT or not text.isprintable():
            self._odd(name)
            return None
        return text or None

    def payload(self, name: str) -> bytes | None:
        record = self._records.get(name)
        if record is None:
            return None
        if record.data is not None:
            return record.data
        if record.text is not None and len(record.text) <= _MAX_PAYLOAD_DIGITS:
            with suppress(ValueError):
                return bytes.fromhex(record.text)
        self._odd(name)
        return None

    def time(self, name: str) -> datetime | None:
        number = self.number(name)
        if number is None:
            return None
        if number > 0:
            with suppress(OverflowError, ValueError):
                return _EPOCH + timedelta(seconds=number / 1000 if number >= _MILLISECONDS_FROM else number)
        self._odd(name)
        return None

    def limited(self, name: str, limit: Callable[[float], bool]) -> float | None:
        number = self.number(name)
        if number is None:
            return None
        if limit(number):
            return number
        self._odd(name)
        return None

    def _odd(self, name: str) -> None:
        if name not in self._left_out:
            self._left_out.append(name)


def _fix(fields: _Fields) -> ThingsFix | None:
    latitude = fields.limited("latitude", lambda degrees: abs(degrees) <= 90)
    longitude = fields.limited("longitude", lambda degrees: abs(degrees) <= 180)
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None
    radius = fields.number("radius")
    return ThingsFix(
        latitude,
        longitude,
        fields.time("locTime"),
        fields.number("altitude"),
        None if radius in {_UNKNOWN, None} or radius < 0 else radius,
        _ALGORITHMS.get((fields.text("locMethod") or "").lower()),
    )


def _has_value(record: SenmlRecord, name: str) -> bool:
    return bool(name) and any(value is not None for value in (record.number, record.text, record.boolean, record.data))


def _value(name: str, record: SenmlRecord) -> ThingsValue:
    value: float | bool | str
    if record.number is not None:
        value = record.number
    elif record.boolean is not None:
        value = record.boolean
    elif record.data is not None:
        value = record.data.hex()
    else:
        value = record.text or ""
        number = as_number(value) if record.unit is not None else None  # "32.0" of `%`; without a unit it may be a name
        value = value if number is None else number
    return ThingsValue(name, record.at, value, record.unit)


def _mark(
    device: str,
    at: datetime,
    payload: bytes | None,
    f_port: int | None,
    f_cnt_up: int | None,
    values: Sequence[ThingsValue],
) -> str:
    if f_cnt_up is not None:
        return f"{(at - _EPOCH) // timedelta(milliseconds=1)}"
    content: list[object] = [device, at.isoformat(), "" if payload is None else payload.hex(), f_port]
    if payload is None:
        content += [tuple(value) for value in values]
    return hashlib.sha256(repr(content).encode("utf-8", "backslashreplace")).hexdigest()[:24]


def _notes(left_out: Sequence[str], others: int) -> str | None:
    sentences = []
    if left_out:
        told = ", ".join(ascii(name)[1:-1] for name in left_out[:_MAX_TOLD])
        more = f" and {len(left_out) - _MAX_TOLD} more" if len(left_out) > _MAX_TOLD else ""
        sentences.append(f"Could not be read: {told}{more}.")
    if others:
        sentences.append(f"Left out: {others} records of another device than the first.")
    return " ".join(sentences) or None
