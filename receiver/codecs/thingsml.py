"""Decodes SenML and ThingsML payloads, in JSON or CBOR, and makes measurements of them: the built-in codec `senml`.

ThingsML is SenML in which the name may be a number out of a table, which tells the unit too. The number stands under
`i_` in JSON and 23 in CBOR, or is taken where a number stands as the name.
Source: KPN, thingsml-c-library (src/cbor/cbor.h, src/senml/senml_enums.h) for the label in CBOR and the table;
techfab-iot/thingsml (thingsml.go), which agrees with both, for the label in JSON and the units; RFC 8428.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from receiver.codecs.measurements import Measured
from receiver.codecs.own_time import is_plausible
from receiver.codecs.rows import Rows
from receiver.codecs.values import Decoding
from receiver.errors import SenmlError
from receiver.kpn_things.senml import CBOR_LABELS, read_cbor, read_json, resolve
from receiver.kpn_things.thingsml_names import INDEX_LABEL, name_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.codecs.values import Json, Payload
    from receiver.kpn_things.senml import SenmlRecord

CBOR_THINGSML_LABELS = CBOR_LABELS | {23: INDEX_LABEL, -16: "bs"}
"""23 is the index; KPN's library writes the base sum as -16, where RFC 8428 has -6."""

_CBOR_ARRAYS = range(0x80, 0xA0)  # the first byte of a pack in CBOR; one in JSON begins with `[`, 0x5B, or a space
_DEVICE = re.compile(r"urn:dev:[A-Za-z]+:[^:/_]+[:/_]")  # Source: RFC 9039; KPN Things ends it with a colon
_NO_TIME = "Kept with the frame's time, as their own is not plausible"


def parse_thingsml(body: bytes, now: datetime) -> list[SenmlRecord]:
    """Give the resolved records of a pack, SenML or ThingsML, JSON or CBOR, with full names.

    Raises:
        SenmlError: it is no such pack, or an index is not in the table.
    """
    in_cbor = body[:1] != b"" and body[0] in _CBOR_ARRAYS
    records = read_cbor(body, CBOR_THINGSML_LABELS) if in_cbor else read_json(body)
    return resolve(name_all(records), now)


def decode_senml(payload: Payload) -> Decoding:
    """Decode a payload into its resolved records, as objects with the labels of SenML.

    `n` is the full name, `t` the seconds since 1970, `u` the unit where there is one; the value is one of `v`, `vs`,
    `vb` and `vd` (base64url), besides `s` and `ut` where given. Relative times are relative to the frame's.
    """
    if not payload.frm_payload:
        return Decoding(None, errors=("The payload is empty.",))
    try:
        records = parse_thingsml(payload.frm_payload, payload.at)
    except SenmlError as error:
        return Decoding(None, errors=(str(error),))
    return Decoding([_to_json(record) for record in records])


def senml_measurements(data: Json, at: datetime) -> Measured:
    """Give the measurements in what `decode_senml` gave as data, each with its own time and unit.

    The urn of the device is left out of the names where all have the same one. A sum is a measurement of its own,
    `name.sum`; bytes are base64url text. A time that is not plausible for a frame of `at` gives way to `at`.
    """
    rows = Rows({})
    records = [record for record in data if isinstance(record, dict)] if isinstance(data, list) else []
    names = [str(record.get("n", "")) for record in records]
    skip = _same_device(names)
    for record, name in zip(records, names, strict=True):
        short = name[skip:] or name
        own = _time_of(record.get("t"), at)
        if own is None:
            rows.note(_NO_TIME, short)
        unit = record.get("u")
        for label in ("v", "vs", "vb", "vd"):
            if label in record:
                rows.take(record[label], short, own or at, unit if isinstance(unit, str) else None)
        if "s" in record:
            rows.take(record["s"], f"{short}.sum", own or at)
    return Measured(rows.measurements, rows.warnings())


def _to_json(record: SenmlRecord) -> Json:
    members: dict[str, Json] = {"n": record.name, "t": record.at.timestamp()}
    if record.unit is not None:
        members["u"] = record.unit
    if record.number is not None:
        members["v"] = record.number
    elif record.text is not None:
        members["vs"] = record.text
    elif record.boolean is not None:
        members["vb"] = record.boolean
    elif record.data is not None:
        members["vd"] = base64.urlsafe_b64encode(record.data).rstrip(b"=").decode()
    if record.sum is not None:
        members["s"] = record.sum
    if record.update_time is not None:
        members["ut"] = record.update_time
    return members


def _same_device(names: Sequence[str]) -> int:
    """Give the length of the device's urn with which all names begin, or 0."""
    match = _DEVICE.match(names[0]) if names else None
    return match.end() if match and all(name.startswith(match.group()) for name in names) else 0


def _time_of(seconds: Json, at: datetime) -> datetime | None:
    if not isinstance(seconds, (int, float)):
        return None
    try:
        own = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return own if is_plausible(own, at) else None
