"""Clear payloads become telemetry: after an uplink was read, and outside any transaction that pushes wait for.

Each uplink is decoded by the codec that is assigned to it, if there is one. *Unreadable and undecodable are different
things:* a decode that fails leaves the uplink as it is, with a decoding that says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.codecs.values import Signature
from receiver.services.codec_choice import CodecChoice
from receiver.services.decoding_frames import (
    codec_of,
    decode_frames,
    decoding_row,
    series_keys,
    storable_key,
    value_rows,
)
from receiver.storage.codecs import REVISION, get_codec_version, list_assignments
from receiver.storage.engine import get_revision, read, write
from receiver.storage.events import EventKind, NewEvent, tell
from receiver.storage.redecoding import SERIES_REVISION
from receiver.storage.reports import lock_reading, read_bodies
from receiver.storage.telemetry import delete_values_of, ensure_series, insert_values, write_decodings
from receiver.storage.undecoded import (
    dequeue_undecoded,
    enqueue_undecoded,
    is_as_read,
    list_undecoded,
    lock_frames,
)
from receiver.thingpark.reports import read_time_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from receiver.codecs.engine import CodecEngine
    from receiver.codecs.values import Codec
    from receiver.services.decoding_frames import DecodedFrame, RawKey
    from receiver.storage.undecoded import UndecodedUplink

MOST_SERIES_REMEMBERED = 50_000
"""Their ids are looked up once: a few thousand devices with a dozen measurements each, some megabytes."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Codecs and assignments as they stood at one revision."""

    revision: int
    choice: CodecChoice
    codecs: dict[int, Codec | None] = field(default_factory=dict)

    def codec(self, connection: Connection, version_id: int) -> Codec | None:
        if version_id not in self.codecs:
            stored = get_codec_version(connection, version_id)
            self.codecs[version_id] = None if stored is None else codec_of(stored)
        return self.codecs[version_id]


class Decoder:
    """Decodes what waits in the queue. One thread uses it."""

    def __init__(self, engine: Engine, codec_engine: CodecEngine) -> None:
        self._engine = engine
        self._codec_engine = codec_engine
        self._known: _Known | None = None
        self._series: dict[RawKey, int] = {}
        self._series_revision: int | None = None

    def decode_batch(self, now: datetime, limit: int) -> int:
        """Decode up to `limit` uplinks, the oldest first; give how many were taken from the queue.

        Those that no codec is assigned to are taken out as they are.

        Raises:
            StorageUnavailableError: the database is away; nothing of the batch was written.
            CodecEngineUnavailableError: JavaScript cannot be run here at all; nothing of the batch was written.
        """
        with read(self._engine) as connection:
            waiting = list_undecoded(connection, limit)
            if not waiting:
                return 0
            work = self._sort_by_codec(connection, waiting)
        frames = [
            frame
            for version_id, (codec, uplinks, at_texts) in work.items()
            for frame in decode_frames(self._codec_engine, codec, version_id, uplinks, at_texts)
        ]
        with write(self._engine) as connection:
            lock_reading(connection)
            self._forget_deleted_series(connection)
            mine = dequeue_undecoded(connection, [uplink.id for uplink in waiting])
            there = lock_frames(connection, sorted(mine))
            settled = {uplink.id for uplink in waiting if is_as_read(uplink, there)}
            enqueue_undecoded(connection, sorted(there.keys() - settled))  # its payload is another now: its key came
            found = self._write(connection, now, [frame for frame in frames if frame.uplink.id in settled])
        self._remember(found)  # only now do they stand in the database for good
        return len(waiting)

    def _sort_by_codec(
        self, connection: Connection, waiting: Sequence[UndecodedUplink]
    ) -> dict[int, tuple[Codec, list[UndecodedUplink], Mapping[int, str]]]:
        revision = get_revision(connection, REVISION)
        if self._known is None or self._known.revision != revision:
            self._known = _Known(revision, CodecChoice(list_assignments(connection)))
        by_version: dict[int, list[UndecodedUplink]] = {}
        for uplink in waiting:
            is_decodable = uplink.f_port and uplink.frm_payload is not None
            version_id = self._known.choice.version_for(uplink) if is_decodable else None
            if version_id is not None:
                by_version.setdefault(version_id, []).append(uplink)
        work = {}
        for version_id, uplinks in by_version.items():
            codec = self._known.codec(connection, version_id)
            if codec is not None:  # else it was removed just now
                work[version_id] = codec, uplinks, read_at_texts(connection, codec, uplinks)
        return work

    def _write(self, connection: Connection, now: datetime, frames: Sequence[DecodedFrame]) -> Mapping[RawKey, int]:
        """Write what frames gave; give the series that were not remembered."""
        known = self._series
        keyed = [series_keys(frame) for frame in frames]
        found = find_series_ids(connection, {key for of_frame in keyed for key in of_frame if key not in known})
        series_ids = [[known.get(key) or found[key] for key in of_frame] for of_frame in keyed]
        write_frames(connection, now, frames, series_ids)
        uplinks = [frame.uplink for frame in frames]
        tell(
            connection, now, [NewEvent(EventKind.TELEMETRY, one.id, one.dev_eui, one.connection_id) for one in uplinks]
        )
        return found

    def _forget_deleted_series(self, connection: Connection) -> None:
        """Forget what is remembered of series if any were deleted since; the lock on reading keeps the others there."""
        revision = get_revision(connection, SERIES_REVISION)
        if revision != self._series_revision:
            self._series.clear()
            self._series_revision = revision

    def _remember(self, found: Mapping[RawKey, int]) -> None:
        if len(self._series) + len(found) > MOST_SERIES_REMEMBERED:
            self._series.clear()
        self._series.update(found)


def find_series_ids(connection: Connection, keys: Collection[RawKey]) -> dict[RawKey, int]:
    """Give the ids of series by the keys that frames have; those that are not there yet are made."""
    storable = {key: storable_key(key) for key in keys}
    ids = ensure_series(connection, set(storable.values()))
    return {key: ids[stored] for key, stored in storable.items()}


def write_frames(
    connection: Connection, now: datetime, frames: Sequence[DecodedFrame], series_ids: Sequence[Sequence[int]]
) -> None:
    """Write decodings and measurements, in place of what earlier ones left, within the caller's transaction.

    `series_ids` has the series of each frame's measurements, in their order.
    """
    delete_values_of(connection, [frame.uplink.id for frame in frames])
    write_decodings(connection, [decoding_row(frame, now) for frame in frames])
    insert_values(
        connection,
        [row for frame, of_frame in zip(frames, series_ids, strict=True) for row in value_rows(frame, of_frame)],
    )


def read_at_texts(connection: Connection, codec: Codec, uplinks: Sequence[UndecodedUplink]) -> Mapping[int, str]:
    """Give the Time of the uplinks' reports as the network wrote it, by report id, for codecs that are given the text.

    Where the report was deleted, they are given the time in UTC.
    """
    if codec.signature is not Signature.THINGPARK_X:
        return {}
    ids = [uplink.report_id for uplink in uplinks if uplink.report_id is not None]
    texts = {report_id: read_time_text(body) for report_id, body in read_bodies(connection, ids)}
    return {report_id: text for report_id, text in texts.items() if text is not None}
