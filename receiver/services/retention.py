"""Prunes what is older than an operator keeps it, in steps that leave the database to the pushes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from receiver.services.connections import LONGEST_MAX_DEVIATION_S
from receiver.storage.alarms import count_old_alarms, delete_old_alarms
from receiver.storage.engine import read, write
from receiver.storage.retention import KEPT, delete_old_rows, find_old_rows
from receiver.storage.telemetry_retention import count_old_values, delete_old_values, find_old_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import Engine

REPORTS_LEAST_AGE = timedelta(seconds=2 * LONGEST_MAX_DEVIATION_S)
"""A push is taken while its Time is at most a max deviation behind or ahead. So the same push can be taken from one max
deviation before its Time until one after it, and for so long its report must be there to know it by."""

TELEMETRY = "telemetry"

ALARMS = "alarms"
ALARMS_AT_ONCE = 500
"""Of one transaction, as of other small rows."""

NOUNS = (*KEPT, TELEMETRY, ALARMS)
"""What can be given an age: reports, uplinks, …"""


@dataclass(frozen=True, slots=True)
class PruneStep:
    """One small transaction: how many rows of which table it deleted, or would have."""

    noun: str
    rows: int


def prune(
    engine: Engine, now: datetime, ages: Mapping[str, timedelta], *, dry_run: bool = False
) -> Iterator[PruneStep]:
    """Walk once through the tables that have an age and delete what is older; after each step, give what it did.

    Whoever iterates paces it: nothing is locked between two steps. With `dry_run` nothing is deleted.
    An uplink goes with its receptions and its decoding, a report with its deliveries; an uplink stays when its report
    goes, and measurements stay when their uplink does. Of alarms those go that are cleared and no network lists any
    more. No report goes before REPORTS_LEAST_AGE, whatever its age.

    Raises:
        StorageUnavailableError: the database is away; what was given before is done.
    """
    for noun in NOUNS:
        if noun not in ages:
            continue
        if noun == TELEMETRY:
            yield from _prune_telemetry(engine, now - ages[noun], dry_run=dry_run)
            continue
        if noun == ALARMS:
            yield from _prune_alarms(engine, now - ages[noun], dry_run=dry_run)
            continue
        age = max(ages[noun], REPORTS_LEAST_AGE) if noun == "reports" else ages[noun]
        before, after_id, is_last = now - age, 0, False
        while not is_last:
            with read(engine) as connection:
                found = find_old_rows(connection, noun, before, after_id)
            after_id, is_last = found.next_after_id, found.is_last
            rows = len(found.ids)
            if found.ids and not dry_run:
                with write(engine) as connection:
                    rows = delete_old_rows(connection, noun, before, found.ids)
            yield PruneStep(noun, rows)


def _prune_telemetry(engine: Engine, before: datetime, *, dry_run: bool) -> Iterator[PruneStep]:
    look = count_old_values if dry_run else find_old_values
    after_id, is_last = 0, False
    while not is_last:
        with read(engine) as connection:
            found = look(connection, before, after_id)
        after_id, is_last = found.next_after_id, found.is_last
        rows = found.rows
        if found.up_to:
            with write(engine) as connection:
                rows = delete_old_values(connection, found.up_to)
        yield PruneStep(TELEMETRY, rows)


def _prune_alarms(engine: Engine, before: datetime, *, dry_run: bool) -> Iterator[PruneStep]:
    if dry_run:
        with read(engine) as connection:
            rows = count_old_alarms(connection, before)
        yield PruneStep(ALARMS, rows)
        return
    rows = ALARMS_AT_ONCE
    while rows == ALARMS_AT_ONCE:
        with read(engine) as connection:  # most walks find none, and none takes the write lock for that
            is_any = count_old_alarms(connection, before) > 0
        if not is_any:
            return
        with write(engine) as connection:
            rows = delete_old_alarms(connection, before, ALARMS_AT_ONCE)
        yield PruneStep(ALARMS, rows)
