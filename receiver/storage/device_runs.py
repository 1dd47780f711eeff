"""SQL for runs over many devices at a network: what is to be done with each, and what became of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

import sqlalchemy as sa

from receiver.storage.device_run_tables import device_run_rows, device_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

State = Literal["running", "stopped", "done"]


class Outcome(StrEnum):
    """What became of a row.

    planned → sending → created | updated | moved | deleted | failed        sending → planned   not sent after all
    planned → same | absent | differs | unknown
    """

    PLANNED = "planned"
    """Nothing was asked of the network."""
    SENDING = "sending"
    """It may have been asked: whoever goes on looks first."""
    CREATED = "created"
    UPDATED = "updated"
    MOVED = "moved"
    DELETED = "deleted"
    SAME = "same"
    """The network had it so already."""
    ABSENT = "absent"
    """It was to be deleted, and was not there."""
    DIFFERS = "differs"
    """It was to be created, and is there otherwise."""
    UNKNOWN = "unknown"
    """It was to be changed, and is not there."""
    FAILED = "failed"
    """The network refused it."""


OPEN = (Outcome.PLANNED, Outcome.SENDING)
"""Rows that are still to be done."""

BAD = (Outcome.DIFFERS, Outcome.UNKNOWN, Outcome.FAILED)
"""Rows that did not come to what was asked for."""

_PAGE_ROWS = 1000
_LINES = "at_line"


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to begin."""

    account: str
    surface: str
    action: str
    options: Mapping[str, str]
    file_name: str
    file_sha256: str


@dataclass(frozen=True, slots=True)
class Run:
    """One row of `device_runs`, and how many of its rows came to what."""

    id: int
    account: str
    surface: str
    action: str
    options: Mapping[str, str]
    file_name: str
    file_sha256: str
    state: State
    stop_reason: str | None
    owner: str
    began_at: datetime
    beat_at: datetime
    ended_at: datetime | None
    outcomes: Mapping[str, int]

    @property
    def open_rows(self) -> int:
        """How many rows are still to be done."""
        return sum(self.outcomes.get(one.value, 0) for one in OPEN)

    @property
    def bad_rows(self) -> int:
        """How many rows did not come to what was asked for."""
        return sum(self.outcomes.get(one.value, 0) for one in BAD)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One row of `device_run_rows`."""

    line: int
    dev_eui: str
    outcome: Outcome
    ref: str | None
    error: str | None
    at: datetime


class Settled(NamedTuple):
    """What a row came to."""

    line: int
    outcome: Outcome
    ref: str | None = None
    error: str | None = None


def insert_run(tx: sa.Connection, run: NewRun, owner: str, now: datetime) -> int:
    """Insert a run in state `running`, and give its id."""
    insert = sa.insert(device_runs).values(
        account=run.account,
        surface=run.surface,
        action=run.action,
        options=json.dumps(dict(run.options)),
        file_name=run.file_name,
        file_sha256=run.file_sha256,
        state="running",
        owner=owner,
        began_at=now,
        beat_at=now,
    )
    found: int = tx.execute(insert.returning(device_runs.c.id)).scalar_one()
    return found


def insert_rows(tx: sa.Connection, run_id: int, devices: Iterable[tuple[int, str]], now: datetime) -> None:
    """Insert rows in outcome `planned`: the line and DevEUI of each."""
    rows = [
        {"run_id": run_id, "line": line, "dev_eui": dev_eui, "outcome": Outcome.PLANNED.value, "at": now}
        for line, dev_eui in devices
    ]
    if rows:
        tx.execute(sa.insert(device_run_rows), rows)


def settle_rows(tx: sa.Connection, run_id: int, settled: Sequence[Settled], now: datetime) -> None:
    """Write what rows came to."""
    if not settled:
        return
    own = (device_run_rows.c.run_id == run_id, device_run_rows.c.line == sa.bindparam(_LINES))
    values: dict[str, object] = {name: sa.bindparam(f"new_{name}") for name in ("outcome", "ref", "error")}
    tx.execute(
        sa.update(device_run_rows).where(*own).values({**values, "at": now}),
        [
            {_LINES: one.line, "new_outcome": one.outcome.value, "new_ref": one.ref, "new_error": one.error}
            for one in settled
        ],
    )


def reopen_failed_rows(tx: sa.Connection, run_id: int, now: datetime) -> int:
    """Make rows that did not come to what was asked for `planned` again, and give how many."""
    rows = (device_run_rows.c.run_id == run_id, device_run_rows.c.outcome.in_([one.value for one in BAD]))
    values = {"outcome": Outcome.PLANNED.value, "ref": None, "error": None, "at": now}
    return tx.execute(sa.update(device_run_rows).where(*rows).values(values)).rowcount


def beat(tx: sa.Connection, run_id: int, owner: str, now: datetime) -> bool:
    """Write that the owner is at work; False: another one is by now."""
    own = (device_runs.c.id == run_id, device_runs.c.owner == owner)
    return tx.execute(sa.update(device_runs).where(*own).values(beat_at=now)).rowcount == 1


def take_over(tx: sa.Connection, run_id: int, before: str, owner: str, now: datetime) -> bool:
    """Make another one the owner of a run, which is `running` then; False: someone else was faster."""
    own = (device_runs.c.id == run_id, device_runs.c.owner == before)
    values = {"owner": owner, "state": "running", "stop_reason": None, "beat_at": now, "ended_at": None}
    return tx.execute(sa.update(device_runs).where(*own).values(values)).rowcount == 1


def end_run(tx: sa.Connection, run_id: int, owner: str, state: State, reason: str | None, now: datetime) -> None:
    """Write that the owner ended, and why where it is not done."""
    own = (device_runs.c.id == run_id, device_runs.c.owner == owner)
    values = {"state": state, "stop_reason": reason, "beat_at": now, "ended_at": now}
    tx.execute(sa.update(device_runs).where(*own).values(values))


def find_run(tx: sa.Connection, run_id: int) -> Run | None:
    """Give a run, or None."""
    row = tx.execute(sa.select(device_runs).where(device_runs.c.id == run_id)).one_or_none()
    return None if row is None else _read(row, _count(tx, [run_id]).get(run_id, {}))


def list_runs(tx: sa.Connection, limit: int) -> list[Run]:
    """Give the newest runs, newest first."""
    rows = tx.execute(sa.select(device_runs).order_by(device_runs.c.id.desc()).limit(limit)).all()
    counts = _count(tx, [row.id for row in rows])
    return [_read(row, counts.get(row.id, {})) for row in rows]


def iterate_rows(tx: sa.Connection, run_id: int, outcomes: Sequence[Outcome] = ()) -> Iterator[RunRow]:
    """Give the rows of a run by line, or those with one of these outcomes."""
    after = 0
    query = sa.select(device_run_rows).where(device_run_rows.c.run_id == run_id).order_by(device_run_rows.c.line)
    if outcomes:
        query = query.where(device_run_rows.c.outcome.in_([one.value for one in outcomes]))
    while True:
        page = tx.execute(query.where(device_run_rows.c.line > after).limit(_PAGE_ROWS)).all()
        for row in page:
            yield RunRow(row.line, row.dev_eui, Outcome(row.outcome), row.ref, row.error, row.at)
        if len(page) < _PAGE_ROWS:
            return
        after = page[-1].line


def _count(tx: sa.Connection, run_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    if run_ids:
        columns = (device_run_rows.c.run_id, device_run_rows.c.outcome)
        query = sa.select(*columns, sa.func.count()).where(device_run_rows.c.run_id.in_(run_ids)).group_by(*columns)
        for run_id, outcome, number in tx.execute(query):
            found.setdefault(run_id, {})[outcome] = number
    return found


def _read(row: sa.Row[tuple[object, ...]], outcomes: Mapping[str, int]) -> Run:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return Run(**{**values, "options": json.loads(str(values["options"])), "outcomes": outcomes})
