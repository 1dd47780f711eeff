"""Resolves SenML packs: base values added, times absolute, every record complete in itself. Pure.

A pack is resolved by the RFC's rules and never by position: the base values hold from their record on until they are
replaced, and may stand in a record of their own, as in what KPN Things sent before 13 December 2022.
Source: RFC 8428 sections 4 to 6; RFC 9100 for the version with secondary units.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from receiver.errors import SenmlError
from receiver.kpn_things.cbor import CborError, parse_cbor

if TYPE_CHECKING:
    from collections.abc import Sequence

RawRecord: TypeAlias = "dict[str, Any]"
"""A record as it came, by the labels of JSON. The values are not judged yet."""

MAX_RECORDS = 1_000
"""A frame of KPN Things has about fifteen; a gateway that gathers has some hundreds."""

RELATIVE_BELOW = 2**28
"""Seconds: a time below this is relative to now, one from here on counts from 1970. Source: RFC 8428 section 4.5.3."""

CBOR_LABELS = {
    -6: "bs", -5: "bv", -4: "bu", -3: "bt", -2: "bn", -1: "bver",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
"""Source: RFC 8428 section 6."""

_LABELS = frozenset(CBOR_LABELS.values())
_VALUES = ("v", "vs", "vb", "vd")
_VERSION = 10  # Source: RFC 8428 section 4.1, which is also that of a pack without `bver`
_VERSION_SECONDARY_UNITS = 26  # Source: RFC 9100 section 4, feature code 4: 10 + 2**4; only names of units are added
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*\Z", re.ASCII)
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*={0,2}\Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SenmlRecord:
    """One resolved record: exactly one of `number`, `text`, `boolean` and `data` is given, or only `sum`."""

    name: str
    """With the base name: `urn:dev:DEVEUI:0059AC00001B3461:temperature`."""
    at: datetime
    """UTC."""
    unit: str | None = None
    number: float | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)
    boolean: bool | None = field(default=None, repr=False)
    data: bytes | None = field(default=None, repr=False)
    sum: float | None = field(default=None, repr=False)
    """The integral of the value over time, in its unit times seconds."""
    update_time: float | None = None
    """Seconds within which the sensor will tell again."""


def parse_senml_json(body: bytes, now: datetime) -> list[SenmlRecord]:
    """Give the resolved records of a pack in JSON; relative times are relative to `now`.

    Raises:
        SenmlError: it is no SenML pack, or of a version or with a label that must be known and is not.
    """
    return resolve(read_json(body), now)


def parse_senml_cbor(body: bytes, now: datetime) -> list[SenmlRecord]:
    """Give the resolved records of a pack in CBOR; relative times are relative to `now`.

    Raises:
        SenmlError: it is no SenML pack, or of a version or with a label that must be known and is not.
    """
    return resolve(read_cbor(body), now)


def read_json(body: bytes) -> list[RawRecord]:
    """Give the records as they came.

    Raises:
        SenmlError: it is not JSON, or not a list of 1 to `MAX_RECORDS` objects.
    """
    try:
        pack = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as exc:
        raise SenmlError(f"The pack is not JSON: {exc}.") from exc
    return _records(pack)


def read_cbor(body: bytes, labels: dict[int, str] = CBOR_LABELS) -> list[RawRecord]:
    """Give the records as they came, by the labels of JSON; a numbered label that is not among `labels` is left out.

    Raises:
        SenmlError: it is not CBOR, or not an array of 1 to `MAX_RECORDS` maps.
    """
    try:
        pack = parse_cbor(body)
    except CborError as exc:
        raise SenmlError(f"The pack is not CBOR that can be read: {exc}.") from exc
    records = []
    for number, members in enumerate(_records(pack), 1):
        record: RawRecord = {}
        for key, value in members.items():
            label = labels.get(key) if isinstance(key, int) else key
            if label in record:
                raise SenmlError(f"Record {number}: the label {label} stands twice.")
            if label is not None:
                record[label] = value
        records.append(record)
    return records


def resolve(records: Sequence[RawRecord], now: datetime) -> list[SenmlRecord]:
    """Give the resolved records, in their order; those that only set base values are no records of their own.

    Raises:
        SenmlError: a record breaks a rule of RFC 8428.
    """
    bases = _Bases()
    resolved = []
    for number, record in enumerate(records, 1):
        raw = _Raw(record, number)
        bases.follow(raw)
        values = [label for label in _VALUES if label in record]
        if not values and "s" not in record and "n" not in record:
            if "u" in record or "t" in record or "ut" in record:
                raise raw.error("v", "is missing")
            continue
        if len(values) > 1:
            raise raw.error(values[1], f"stands beside {values[0]}; a record has one value")
        resolved.append(_resolve_one(raw, bases, now))
    return resolved


def _resolve_one(raw: _Raw, bases: _Bases, now: datetime) -> SenmlRecord:
    name = bases.name + (raw.text("n") or "")
    if not _NAME.match(name):
        raise raw.error(
            "n", f"gives the name {name[:80]!r}; it begins with a letter or digit and has - : . / _ besides"
        )
    number, total = raw.number("v"), raw.number("s")
    text, boolean, data = raw.text("vs"), raw.boolean("vb"), raw.data("vd")
    if number is not None and bases.value is not None:
        number = raw.finite("v", _add(bases.value, number))
    if all(value is None for value in (number, text, boolean, data, total)):
        if bases.value is None:
            raise raw.error("v", "is missing, as is every other value")
        number = bases.value  # the missing one of the two counts as zero
    if bases.sum is not None:
        total = raw.finite("s", _add(bases.sum, total or 0.0))
    unit = raw.text("u") if "u" in raw.record else bases.unit
    return SenmlRecord(
        name=name,
        at=_time(raw, bases.time + (raw.number("t") or 0.0), now),
        unit=unit or None,
        number=number,
        text=text,
        boolean=boolean,
        data=data,
        sum=total,
        update_time=raw.number("ut"),
    )


def _time(raw: _Raw, seconds: float, now: datetime) -> datetime:
    try:
        if seconds < RELATIVE_BELOW:
            return now.astimezone(UTC) + timedelta(seconds=seconds)
        return _EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError) as exc:
        raise raw.error("t", f"gives a time that no calendar has: {seconds} s") from exc


def _add(base: float, value: float) -> float:
    """Add as one would on paper: 21.3 and 0.1 are 21.4, not 21.400000000000002."""
    return float(Decimal(repr(base)) + Decimal(repr(value))) if base and value else base + value


def _records(pack: object) -> list[Any]:
    if not isinstance(pack, list) or not pack:
        raise SenmlError("The pack is not a list of records.")
    if len(pack) > MAX_RECORDS:
        raise SenmlError(f"The pack has {len(pack):,} records, more than {MAX_RECORDS:,}.")
    for number, record in enumerate(pack, 1):
        if not isinstance(record, dict):
            raise SenmlError(f"Record {number} is not an object with labels.")
    return pack


class _Raw:
    """One record as it came, whose values are taken by label and kind."""

    __slots__ = ("_number", "record")

    def __init__(self, record: RawRecord, number: int) -> None:
        self.record = record
        self._number = number
        for label in record:
            if label not in _LABELS and label.endswith("_"):
                raise self.error(label[:40], "must be understood and is not known")

    def error(self, label: str, what: str) -> SenmlError:
        return SenmlError(f"Record {self._number}: {label} {what}.")

    def number(self, label: str) -> float | None:
        value = self.record.get(label)
        if value is None and label not in self.record:
            return None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self.error(label, "is not a number")
        try:
            return self.finite(label, float(value))
        except OverflowError as exc:
            raise self.error(label, "is not a number that a double can hold") from exc

    def finite(self, label: str, number: float) -> float:
        if not math.isfinite(number):
            raise self.error(label, "is not a number that a double can hold")
        return number

    def text(self, label: str) -> str | None:
        value = self.record.get(label)
        if value is None and label not in self.record:
            return None
        if not isinstance(value, str):
            raise self.error(label, "is not text")
        return value

    def boolean(self, label: str) -> bool | None:
        value = self.record.get(label)
        if value is None and label not in self.record:
            return None
        if not isinstance(value, bool):
            raise self.error(label, "is neither true nor false")
        return value

    def data(self, label: str) -> bytes | None:
        """Give bytes, which are base64url in JSON and bytes in CBOR."""
        value = self.record.get(label)
        if isinstance(value, bytes) or (value is None and label not in self.record):
            return value
        if isinstance(value, str) and _BASE64URL.match(value):
            bare = value.rstrip("=")
            try:
                return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
            except binascii.Error as exc:
                raise self.error(label, "is not base64url") from exc
        raise self.error(label, "is not base64url")


@dataclass(slots=True)
class _Bases:
    """The base values that hold now."""

    name: str = ""
    time: float = 0.0
    unit: str | None = None
    value: float | None = None
    sum: float | None = None

    def follow(self, raw: _Raw) -> None:
        """Replace those that this record names."""
        version = raw.number("bver")
        if version is not None and version > _VERSION and version != _VERSION_SECONDARY_UNITS:
            raise raw.error("bver", f"is {version:g}; SenML is read up to version {_VERSION}")
        if "bn" in raw.record:
            self.name = raw.text("bn") or ""
        if "bt" in raw.record:
            self.time = raw.number("bt") or 0.0
        if "bu" in raw.record:
            self.unit = raw.text("bu")
        if "bv" in raw.record:
            self.value = raw.number("bv")
        if "bs" in raw.record:
            self.sum = raw.number("bs")
