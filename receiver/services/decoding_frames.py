"""What one codec makes of frames: decodings, and the measurements in them. Writes nothing.

A codec is somebody else's program. Nothing that it gives is trusted: whatever goes wrong with one frame is written
down with that frame.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from receiver.codecs.cayenne_lpp import UNITS as CAYENNE_LPP_UNITS
from receiver.codecs.measurements import Measured, measure, measure_normalized, measure_points
from receiver.codecs.running import decode_uplinks
from receiver.codecs.thingsml import senml_measurements
from receiver.codecs.values import Codec, Decoding, Payload, Signature
from receiver.logs import get_logger
from receiver.storage.telemetry import NewDecoding, NewValue, SeriesKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from receiver.codecs.engine import CodecEngine
    from receiver.codecs.values import Json, Measurement
    from receiver.storage.codecs import StoredCodec
    from receiver.storage.telemetry import ValueRow
    from receiver.storage.undecoded import UndecodedUplink

_log = get_logger(__name__)


RawKey: TypeAlias = "tuple[str, str, str]"
"""What a `SeriesKey` holds, as the codec named it: see `storable_key`. No class: one is made of each measurement."""


class DecodedFrame(NamedTuple):
    """An uplink with what the codec of `version_id` made of it."""

    uplink: UndecodedUplink
    version_id: int
    decoding: Decoding
    measured: Measured

    def __repr__(self) -> str:
        return f"DecodedFrame({self.uplink.id}, {self.decoding!r})"


def decode_frames(
    codec_engine: CodecEngine,
    codec: Codec,
    version_id: int,
    uplinks: Sequence[UndecodedUplink],
    at_texts: Mapping[int, str],
) -> list[DecodedFrame]:
    """Decode uplinks, in their order. `at_texts` gives the time as the network wrote it, by report id.

    Raises:
        CodecEngineUnavailableError: JavaScript cannot be run here at all.
    """
    payloads = [
        Payload(uplink.frm_payload or b"", uplink.f_port or 0, uplink.at, at_texts.get(uplink.report_id or 0))
        for uplink in uplinks
    ]
    decodings = decode_uplinks(codec_engine, codec, payloads)
    return [
        DecodedFrame(uplink, version_id, *_measured(codec, decoding, uplink.at))
        for uplink, decoding in zip(uplinks, decodings, strict=True)
    ]


def _measured(codec: Codec, decoding: Decoding, at: datetime) -> tuple[Decoding, Measured]:
    if decoding.failed:
        return decoding, Measured([], ())
    try:
        return decoding, _measure(codec, decoding, at)
    except Exception as exc:  # noqa: BLE001 - one frame must not hold up the others
        _log.error("decoded_object_not_measured", error=type(exc).__name__)
        reason = f"What the codec gave could not be measured ({type(exc).__name__})."
        return Decoding(None, decoding.warnings, (reason,)), Measured([], ())


def _measure(codec: Codec, decoding: Decoding, at: datetime) -> Measured:
    if codec.signature is Signature.SENML:
        return senml_measurements(decoding.data, at)
    if codec.signature is Signature.CAYENNE_LPP:
        return measure(decoding.data, at, CAYENNE_LPP_UNITS)
    if decoding.points:
        return measure_points(decoding.points, at, codec.units)
    # What is normalized has names and units that are the same for all makes, but is seldom all that there is.
    measured = measure(decoding.data, at, codec.units)
    if decoding.normalized is None:
        return measured
    normalized = measure_normalized(decoding.normalized, at)
    names = {one.name for one in normalized.measurements}
    others = [one for one in measured.measurements if one.name not in names]
    return Measured([*normalized.measurements, *others], (*normalized.warnings, *measured.warnings))


def decoding_row(frame: DecodedFrame, now: datetime) -> NewDecoding:
    """Give the row of a frame. Its JSON is ASCII: no database text holds NUL or half a surrogate pair."""
    decoding, measured = frame.decoding, frame.measured
    times = [one.at for one in measured.measurements] or [frame.uplink.at]
    return NewDecoding(
        frame.uplink.id,
        frame.version_id,
        "failed" if decoding.failed else "decoded",
        None if decoding.failed else as_json(decoding.data),
        _sentences((*decoding.warnings, *measured.warnings)),
        _sentences(decoding.errors),
        min(times),
        max(times),
        now,
    )


def series_key(frame: DecodedFrame, measurement: Measurement) -> RawKey:
    """Give the series that a measurement of the frame belongs to, as the codec named it: see `storable_key`."""
    return frame.uplink.dev_eui, measurement.name, measurement.unit or ""


def series_keys(frame: DecodedFrame) -> list[RawKey]:
    """Give the series that the frame's measurements belong to, in their order."""
    dev_eui = frame.uplink.dev_eui
    return [(dev_eui, name, unit or "") for name, _, _, unit in frame.measured.measurements]


def storable_key(key: RawKey) -> SeriesKey:
    """Give the key as a database can hold it."""
    dev_eui, name, unit = key
    return SeriesKey(dev_eui, storable(name), storable(unit))


def value_row(frame: DecodedFrame, series_id: int, measurement: Measurement) -> NewValue:
    """Give the row of one measurement."""
    return NewValue(series_id, measurement.at, frame.uplink.id, *number_and_text(measurement.value), frame.version_id)


def value_rows(frame: DecodedFrame, series_ids: Sequence[int]) -> list[ValueRow]:
    """Give the rows of a frame's measurements, whose series are these, in their order."""
    uplink_id, version_id = frame.uplink.id, frame.version_id
    return [
        (series_id, at, uplink_id, *number_and_text(value), version_id)
        for series_id, (_, at, value, _) in zip(series_ids, frame.measured.measurements, strict=True)
    ]


def number_and_text(value: float | bool | str) -> tuple[float | None, str | None]:
    """Give a value as the two columns hold it. True and false are 1 and 0 with the word beside them."""
    if type(value) is float:
        return value, None
    if isinstance(value, str):
        return None, storable(value)
    if isinstance(value, bool):
        return float(value), "true" if value else "false"
    return float(value), None


def storable(text: str) -> str:
    """Replace what JSON can spell and no database text can hold: NUL and half surrogate pairs."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def codec_of(stored: StoredCodec) -> Codec:
    """Give what can be run of a stored codec."""
    return Codec(Signature(stored.signature), stored.script, json.loads(stored.units))


def as_json(value: Json) -> str:
    """Give compact JSON in ASCII, which every database text can hold."""
    try:
        text = _encode(value)
    except UnicodeEncodeError:  # half a surrogate pair
        return _ENCODER.encode(value)
    return text.decode() if text.isascii() else _ENCODER.encode(value)


_encode = msgspec.json.Encoder().encode  # a tenth of what `json` takes, but it writes other characters as they are
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def _sentences(sentences: Sequence[str]) -> str | None:
    return as_json(list(sentences)) if sentences else None
