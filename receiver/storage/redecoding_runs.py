"""SQL for the runs of a redecoding: one row each, with the position that all before it has been decoded up to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from receiver.storage.redecoding import BEGINNING, ChosenFrames, Position
from receiver.storage.telemetry_tables import redecodings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

FINISHED_KEPT = 20
"""Runs that are told of after their end: enough to see what was done lately."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run that goes on: which frames, with which codec, and how far it came. `counts` is of all before `after`."""

    id: int
    frames: ChosenFrames
    told: str
    """The frames in words."""
    codec_version_id: int | None
    """None: each frame's codec is the one that is assigned to it."""
    after: Position
    counts: dict[str, int]


def insert_run(
    connection: Connection, frames: ChosenFrames, told: str, codec_version_id: int | None, now: datetime
) -> StoredRun:
    """Record a run that begins."""
    chosen = {**asdict(frames), "told": told}
    since, until, last_id = chosen.pop("since"), chosen.pop("until"), chosen.pop("last_id")
    statement = insert(redecodings).values(
        filter=json.dumps(chosen),
        codec_version_id=codec_version_id,
        since=since,
        until=until,
        last_id=last_id,
        after_id=BEGINNING.id,
        counts="{}",
        started_at=now,
        updated_at=now,
    )
    run_id: int = connection.execute(statement.returning(redecodings.c.id)).scalar_one()
    return StoredRun(run_id, frames, told, codec_version_id, BEGINNING, {})


def find_unfinished_run(connection: Connection) -> StoredRun | None:
    """Give the newest run that has not finished, or None."""
    statement = select(redecodings).where(redecodings.c.finished_at.is_(None)).order_by(redecodings.c.id.desc())
    row: Row[Any] | None = connection.execute(statement.limit(1)).one_or_none()
    if row is None:
        return None
    chosen = json.loads(row.filter)
    told = chosen.pop("told")
    frames = ChosenFrames(**chosen, since=row.since, until=row.until, last_id=row.last_id)
    after = Position(row.after_at, row.after_id)
    return StoredRun(row.id, frames, told, row.codec_version_id, after, json.loads(row.counts))


def advance_run(
    connection: Connection, run_id: int, before: Position, after: Position, counts: Mapping[str, int], now: datetime
) -> bool:
    """Write how far a run came; False if it does not stand where it was left: another process goes on with it."""
    statement = (
        update(redecodings)
        .where(
            redecodings.c.id == run_id,
            redecodings.c.after_id == before.id,  # no frame is met twice, so its id alone is a position
            redecodings.c.finished_at.is_(None),
        )
        .values(after_at=after.at, after_id=after.id, counts=json.dumps(dict(counts)), updated_at=now)
    )
    return connection.execute(statement).rowcount == 1


def finish_run(connection: Connection, run_id: int, now: datetime) -> None:
    """Mark a run as finished; of those that are, the newest FINISHED_KEPT stay."""
    connection.execute(update(redecodings).where(redecodings.c.id == run_id).values(finished_at=now))
    finished = select(redecodings.c.id).where(redecodings.c.finished_at.is_not(None))
    kept = finished.order_by(redecodings.c.id.desc()).limit(FINISHED_KEPT)
    connection.execute(delete(redecodings).where(redecodings.c.finished_at.is_not(None), redecodings.c.id.not_in(kept)))
