"""History decoded again, in steps that leave the database to the pushes, and that a later process can go on with.

Afterwards a frame stands as if this codec had decoded it when it came: its measurements are those that the codec makes
now, and none where it refuses the frame. The payload stays, so another redecoding brings back what one took away. A
frame that no codec is for is left as it is: taking back an assignment deletes nothing, and neither does this.

Each step is read, decoded outside any transaction, and written with the run's new position in one short transaction.
So a run that is killed loses and repeats nothing that can be seen. What a running worker decodes meanwhile is met too:
both write with `lock_reading`, each replacing what it finds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

from receiver.errors import ConflictError, NotFoundError
from receiver.lorawan.identifiers import parse_device, shorten
from receiver.services.decoding_frames import decode_frames, decoding_row
from receiver.services.redecoding_codecs import FrameCodecs, choose_codec, runnable
from receiver.services.redecoding_differences import RedecodingCounts, compare
from receiver.storage import redecoding as stored
from receiver.storage.codecs import get_codec_version
from receiver.storage.connections import find_connection
from receiver.storage.engine import read, write
from receiver.storage.redecoding import BEGINNING, ChosenFrames, Position
from receiver.storage.redecoding_runs import advance_run, find_unfinished_run, finish_run, insert_run
from receiver.storage.reports import lock_reading
from receiver.storage.telemetry import ensure_series, write_decodings
from receiver.storage.undecoded import dequeue_undecoded, is_as_read, lock_frames
from receiver.storage.uplink_queries import newest_uplink_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from receiver.codecs.engine import CodecEngine
    from receiver.codecs.values import Codec
    from receiver.services.codecs import Scope
    from receiver.services.decoding_frames import DecodedFrame
    from receiver.services.redecoding_differences import Comparison, Difference
    from receiver.storage.undecoded import UndecodedUplink

STEP_FRAMES = 200
"""As many as the decoder takes: SQLite's only write lock is held for some 10 ms."""

SAMPLES = 20
"""Differences that a step gives for people: a screenful."""

_REMOVED = "The codec of this redecoding was removed. Begin another one."


@dataclass(frozen=True, slots=True)
class RedecodingStep:
    """One step: what it changed, or would have, and up to which moment all frames are done."""

    counts: RedecodingCounts
    samples: list[Difference]
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Redecoding:
    """A redecoding that can be walked: recorded under `run_id`, or None for a dry run."""

    run_id: int | None
    frames: ChosenFrames
    told: str
    """The frames in words."""
    chosen: tuple[int, Codec] | None
    """The version that decodes all of them; None: each frame's codec is the one that is assigned to it."""
    after: Position = BEGINNING
    counts: RedecodingCounts = field(default_factory=RedecodingCounts)
    """Of what is done already."""


def begin_redecoding(
    engine: Engine,
    codec_engine: CodecEngine,
    now: datetime,
    scope: Scope,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    codec_name: str | None = None,
    dry_run: bool = False,
) -> Redecoding:
    """Begin to decode the frames of `scope` again that stand now; an empty scope is all of them.

    With `codec_name`, which may be `NAME@VERSION`, all of them by that codec; else each by the one assigned to it.

    Raises:
        NotFoundError: there is no such codec or connection.
        IdentifierError: the DevEUI is none.
        ConflictError: the codec cannot decode.
    """
    with read(engine) as connection:
        frames = ChosenFrames(
            None if scope.dev_eui is None else parse_device(scope.dev_eui),
            scope.driver,
            scope.model,
            _connection_id(connection, scope.connection),
            scope.f_port,
            since,
            until,
            newest_uplink_id(connection),
        )
    chosen = None if codec_name is None else choose_codec(engine, codec_engine, now, codec_name, dry_run=dry_run)
    told = _told(scope, since, until)
    if dry_run:
        return Redecoding(None, frames, told, chosen)
    with write(engine) as connection:
        run = insert_run(connection, frames, told, chosen and chosen[0], now)
    return Redecoding(run.id, frames, told, chosen)


def resume_redecoding(engine: Engine, codec_engine: CodecEngine) -> Redecoding:
    """Give the newest redecoding that was begun and not finished, with its own frames and codec.

    Raises:
        NotFoundError: there is none, or its codec was removed meanwhile.
        ConflictError: its codec cannot decode.
    """
    with read(engine) as connection:
        run = find_unfinished_run(connection)
        if run is None:
            raise NotFoundError("There is no redecoding to go on with: each one that was begun has finished.")
        chosen = None
        if run.codec_version_id is not None:
            row = get_codec_version(connection, run.codec_version_id)
            if row is None:
                raise NotFoundError(_REMOVED)
            chosen = run.codec_version_id, runnable(codec_engine, row)
    return Redecoding(run.id, run.frames, run.told, chosen, run.after, RedecodingCounts(**run.counts))


def redecode(
    engine: Engine,
    codec_engine: CodecEngine,
    run: Redecoding,
    clock: Callable[[], datetime],
    *,
    step_frames: int = STEP_FRAMES,
) -> Iterator[RedecodingStep]:
    """Walk through the frames of a run from where it stands; after each step, give what it changed, or would have.

    Whoever iterates paces it: nothing is locked between two steps, and what was given is done for good.

    Raises:
        StorageUnavailableError: the database is away.
        CodecEngineUnavailableError: JavaScript cannot be run here at all.
        ConflictError: an assigned codec cannot decode, or another process goes on with this run.
        NotFoundError: the codec of the run was removed.
    """
    walk = _Walk(engine, codec_engine, run, clock, step_frames)
    is_last = False
    while not is_last:
        with read(engine) as connection:
            end = stored.find_stretch_end(connection, run.frames, walk.after)
        is_done = False
        while not is_done:
            step, is_done = walk.step(end)
            yield step
        is_last = end is None


class _Walk:
    """Where a run stands, and what it knows of codecs."""

    def __init__(
        self,
        engine: Engine,
        codec_engine: CodecEngine,
        run: Redecoding,
        clock: Callable[[], datetime],
        step_frames: int,
    ) -> None:
        self._engine = engine
        self._codec_engine = codec_engine
        self._codecs = FrameCodecs(codec_engine, run.chosen)
        self._run = run
        self._clock = clock
        self._step_frames = step_frames
        self._counts = run.counts
        self.after = run.after

    def step(self, end: Position | None) -> tuple[RedecodingStep, bool]:
        """Do the next frames of the stretch up to `end`, the last one if that is None; say whether it is done."""
        with read(self._engine) as connection:
            uplinks = stored.list_chosen_frames(connection, self._run.frames, self.after, end, self._step_frames)
            work = self._codecs.sort(connection, uplinks)
        decoded = {
            frame.uplink.id: frame
            for version_id, (codec, theirs, at_texts) in work.items()
            for frame in decode_frames(self._codec_engine, codec, version_id, theirs, at_texts)
        }
        if self._run.run_id is None:
            with read(self._engine) as connection:
                comparison = _compare(connection, list(decoded.values()))
            counts = comparison.counts + RedecodingCounts(left=len(uplinks) - len(decoded))
            after, is_done = self._look_ahead(uplinks, uplinks, end)
        else:
            with write(self._engine) as connection:
                lock_reading(connection)
                settled, frames = self._still_so(connection, uplinks, decoded)
                comparison = _compare(connection, frames)
                counts = comparison.counts + RedecodingCounts(left=sum(one.id not in decoded for one in settled))
                after, is_done = self._look_ahead(uplinks, settled, end)
                now = self._clock()
                _write(connection, now, frames, comparison)
                total = asdict(self._counts + counts)
                if not advance_run(connection, self._run.run_id, self.after, after, total, now):
                    raise ConflictError("Another process goes on with this redecoding: it is left to that one.")
                if is_done and end is None:
                    finish_run(connection, self._run.run_id, now)
        self._counts, self.after = self._counts + counts, after  # only now does it stand in the database for good
        return RedecodingStep(counts, comparison.samples, after.at), is_done

    def _still_so(
        self, connection: Connection, uplinks: Sequence[UndecodedUplink], decoded: Mapping[int, DecodedFrame]
    ) -> tuple[list[UndecodedUplink], list[DecodedFrame]]:
        """Give the frames up to the first one that is not as it was read, and what of them is to be written.

        A frame that was deleted meanwhile is passed over. One whose payload is another now (its key came), or whose
        codec was removed, ends the step: the next one begins with it.
        """
        there = lock_frames(connection, [uplink.id for uplink in uplinks])
        versions = stored.lock_codec_versions(connection, {frame.version_id for frame in decoded.values()})
        if self._run.chosen is not None and decoded and not versions:
            raise NotFoundError(_REMOVED)
        settled: list[UndecodedUplink] = []
        for uplink in uplinks:
            frame = decoded.get(uplink.id)
            if frame is not None and uplink.id in there and not self._stands(frame, there, versions):
                break
            settled.append(uplink)
        return settled, [decoded[one.id] for one in settled if one.id in decoded and one.id in there]

    @staticmethod
    def _stands(
        frame: DecodedFrame, there: Mapping[int, tuple[bytes | None, int | None]], versions: Collection[int]
    ) -> bool:
        return is_as_read(frame.uplink, there) and frame.version_id in versions

    def _look_ahead(
        self, uplinks: Sequence[UndecodedUplink], settled: Sequence[UndecodedUplink], end: Position | None
    ) -> tuple[Position, bool]:
        """Give the position after a step, and whether its stretch is done."""
        last = Position(settled[-1].at, settled[-1].id) if settled else self.after
        is_done = len(settled) == len(uplinks) < self._step_frames
        return (end or last, True) if is_done else (last, False)


def _compare(connection: Connection, frames: Sequence[DecodedFrame]) -> Comparison:
    standing = stored.list_standing_values(connection, [frame.uplink.id for frame in frames])
    return compare(frames, standing, SAMPLES)


def _write(connection: Connection, now: datetime, frames: Sequence[DecodedFrame], comparison: Comparison) -> None:
    write_decodings(connection, [decoding_row(frame, now) for frame in frames])
    series_ids = ensure_series(connection, {key for key, _ in comparison.put})
    stored.put_values(connection, [new._replace(series_id=series_ids[key]) for key, new in comparison.put])
    stored.delete_values(connection, comparison.gone)
    dequeue_undecoded(connection, [frame.uplink.id for frame in frames])  # else the decoder would take it back again


def _connection_id(connection: Connection, name: str | None) -> int | None:
    if name is None:
        return None
    found = find_connection(connection, name)
    if found is None:
        raise NotFoundError(f"There is no connection named {shorten(name)}.")
    return found.id


def _told(scope: Scope, since: datetime | None, until: datetime | None) -> str:
    moments = [
        f"{word} {at.astimezone(UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')}"
        for word, at in (("since", since), ("until", until))
        if at is not None
    ]
    return ", ".join(filter(None, [str(scope), *moments])) or "all frames"
