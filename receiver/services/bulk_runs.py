"""Runs over many devices: begun, gone on with by one process at a time, looked at. What is sent is in `bulk_work`."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from receiver.errors import ConflictError, NotFoundError
from receiver.services.bulk_columns import Action
from receiver.services.bulk_file import FileRules, Problem, read_file
from receiver.storage import device_runs as stored
from receiver.storage.device_runs import OPEN, NewRun, Outcome, Run, RunRow
from receiver.storage.engine import read, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from receiver.services.bulk_file import DeviceRow

BEAT_S = 10.0
"""How often who works on a run gives a sign."""

GONE_AFTER = timedelta(seconds=60)
"""Whoever gave no sign for so long is taken for gone: six signs. On the same machine it is looked whether it runs."""

SHOWN_RUNS = 100
"""Runs in a list, the newest."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a run: until another process takes it over."""

    run_id: int
    owner: str


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that goes on: its rows that are still to be done, and the lines of those that may have been sent."""

    run: Run
    rows: tuple[DeviceRow, ...] = field(repr=False)
    doubtful: frozenset[int]


class BadFileError(ConflictError):
    """A file of devices with problems, all of them in `problems`."""

    code = "bad-file"

    def __init__(self, problems: Sequence[Problem]) -> None:
        number = len(problems)
        super().__init__(f"The file has {number:,} problem{'' if number == 1 else 's'}; nothing was sent.")
        self.problems = tuple(problems)


def read_rows(content: bytes, rules: FileRules) -> tuple[DeviceRow, ...]:
    """Give the rows of a file.

    Raises:
        BadFileError: it has problems; all of them are in it.
    """
    found = read_file(content, rules)
    if found.problems:
        raise BadFileError(found.problems)
    return found.rows


def hash_file(content: bytes) -> str:
    """Give the SHA-256 of a file, by which it is known again. Its keys are random, so the hash does not tell them."""
    return hashlib.sha256(content).hexdigest()


def begin_run(engine: sa.Engine, run: NewRun, rows: Sequence[DeviceRow], now: datetime) -> Lease:
    """Store a run with all its rows, nothing of them sent yet, and give the right to work on it."""
    owner = _new_owner()
    with write(engine) as tx:
        run_id = stored.insert_run(tx, run, owner, now)
        stored.insert_rows(tx, run_id, ((row.line, row.dev_eui) for row in rows), now)
    return Lease(run_id, owner)


def open_run(engine: sa.Engine, run_id: int, content: bytes, *, failed_too: bool = False) -> OpenRun:
    """Give what is left of a run, from the file that it was begun with. Nothing is changed.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it is another file, or nothing of the run is left.
        BadFileError: as `read_rows`.
    """
    with read(engine) as tx:
        run = _get(tx, run_id)
        outcomes = (*OPEN, *(stored.BAD if failed_too else ()))
        left = {row.line: row for row in stored.iterate_rows(tx, run_id, outcomes)}
    if hash_file(content) != run.file_sha256:
        raise ConflictError(
            f"This is not the file that run {run_id} was begun with ({run.file_name}), or it was changed since. Give"
            " that file, or begin another run: it leaves out what is done."
        )
    if not left:
        raise ConflictError(f"Nothing of run {run_id} is left to be done.{_failed_hint(run)}")
    rows = read_rows(content, FileRules(run.surface, Action(run.action), run.options))
    doubtful = frozenset(line for line, row in left.items() if row.outcome is Outcome.SENDING)
    return OpenRun(run, tuple(row for row in rows if row.line in left), doubtful)


def require_idle(run: Run, now: datetime) -> None:
    """Return if nobody works on a run.

    Raises:
        ConflictError: someone does.
    """
    if run.state == "running" and _is_at_work(run, now):
        host, pid, _token = run.owner.rsplit(":", 2)
        raise ConflictError(
            f"Process {pid} on {host} works on run {run.id}, and gave a sign at {run.beat_at:%H:%M:%SZ}. If it does not"
            f" run any more, try again in {GONE_AFTER.seconds} s."
        )


def take_run(engine: sa.Engine, run: Run, now: datetime, *, failed_too: bool = False) -> Lease:
    """Take over a run from whoever had it when it was read.

    Raises:
        ConflictError: someone works on it, or has just taken it over.
    """
    require_idle(run, now)
    owner = _new_owner()
    with write(engine) as tx:
        if not stored.take_over(tx, run.id, run.owner, owner, now):
            raise ConflictError(f"Someone else has just taken over run {run.id}.")
        if failed_too:
            stored.reopen_failed_rows(tx, run.id, now)
    return Lease(run.id, owner)


def list_runs(engine: sa.Engine) -> list[Run]:
    """Give the newest runs, newest first."""
    with read(engine) as tx:
        return stored.list_runs(tx, SHOWN_RUNS)


def get_run(engine: sa.Engine, run_id: int) -> Run:
    """Give a run.

    Raises:
        NotFoundError: there is none of that number.
    """
    with read(engine) as tx:
        return _get(tx, run_id)


def iterate_run_rows(engine: sa.Engine, run_id: int, outcomes: Sequence[Outcome] = ()) -> Iterator[RunRow]:
    """Give the rows of a run by line, or those with one of these outcomes."""
    with read(engine) as tx:
        yield from stored.iterate_rows(tx, run_id, outcomes)


def _get(tx: sa.Connection, run_id: int) -> Run:
    run = stored.find_run(tx, run_id)
    if run is None:
        raise NotFoundError(f"There is no run {run_id}: `receiver bulk list` shows those there are.")
    return run


def _failed_hint(run: Run) -> str:
    bad = sum(run.outcomes.get(one.value, 0) for one in stored.BAD)
    return f" `--failed` tries its {bad:,} failed rows again." if bad else ""


def _new_owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def _is_at_work(run: Run, now: datetime) -> bool:
    host, pid, _token = run.owner.rsplit(":", 2)
    if now - run.beat_at > GONE_AFTER:
        return False
    return host != socket.gethostname() or _runs(int(pid))


def _runs(pid: int) -> bool:
    if pid == os.getpid():
        return False  # this process works on one run at a time, so it is one that it gave up
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True
