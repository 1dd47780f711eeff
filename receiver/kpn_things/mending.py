"""Resolves packs that keep the rules of SenML for the most part: what breaks one is mended or left out. Pure.

Decoders at KPN Things are written by anybody, and their slips shall cost a record and not the message.
Source: RFC 8428 sections 4 and 5, for what is kept to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from receiver.errors import SenmlError
from receiver.kpn_things.senml import resolve
from receiver.kpn_things.thingsml_names import name_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from receiver.kpn_things.senml import RawRecord, SenmlRecord

_VALUES = ("v", "vs", "vb", "vd", "s")
_BASES = frozenset({"bn", "bt", "bu", "bv", "bs", "bver"})
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9\-:./_]")  # Source: RFC 8428 section 4.5.1
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?\Z", re.ASCII)


def resolve_each(raw: Sequence[RawRecord], received_at: datetime, left_out: list[str]) -> list[SenmlRecord]:
    """Resolve the records; if one breaks a rule, those that break none.

    Raises:
        SenmlError: all of them do; why the first does.
    """
    try:
        return resolve(name_all(raw), received_at)
    except SenmlError:
        pass
    bases: RawRecord = {}  # a record with all base values in it is resolved by itself as in its pack
    resolved: list[SenmlRecord] = []
    first: SenmlError | None = None
    for record in raw:
        bases |= {label: value for label, value in record.items() if label in _BASES}
        try:
            resolved += resolve(name_all([bases | record]), received_at)
        except SenmlError as exc:
            first = first or exc
            left_out.append(str(record.get("n", "?"))[:40])
    if not resolved and first is not None:
        raise first
    return resolved


def mend(raw: Sequence[RawRecord], left_out: list[str]) -> list[RawRecord]:
    """Give the records as SenML has them, where it is plain what is meant; those with no value at all are left out.

    A number may stand as text under `v`, and a boolean or `null` in the place of a value. In the name that a decoder
    gave, what no name may have becomes `_`.
    """
    mended = []
    for record in raw:
        one: RawRecord = {label: value for label, value in record.items() if value is not None}
        name = one.get("n")
        if isinstance(name, str):
            one["n"] = _NOT_IN_NAMES.sub("_", name)
        value = one.get("v")
        if isinstance(value, bool):
            one["vb"] = one.pop("v")
        elif isinstance(value, str):
            number = as_number(value)
            one["v" if number is not None else "vs"] = one.pop("v") if number is None else number
        if "n" in one and not one.keys() & {"v", "vs", "vb", "vd", "s"} and any(label in record for label in _VALUES):
            left_out.append(str(one["n"])[:40])
            del one["n"]
            one = {label: value for label, value in one.items() if label.startswith("b")}
        if one:
            mended.append(one)
    return mended


def as_number(text: str) -> float | None:
    """Give the number that a text is, or None: a decimal with or without exponent, that a double can hold."""
    if not _NUMBER.match(text.strip()):
        return None
    number = float(text)
    return number if abs(number) != float("inf") else None
