"""Prunes what is older than an operator keeps it, in steps that leave the database to the pushes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.storage.engine import read, write
from receiver.storage.retention import KEPT, delete_old_rows, find_old_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime, timedelta

    from sqlalchemy import Engine

NOUNS = tuple(KEPT)
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
    An uplink goes with its receptions, a report with its deliveries; an uplink stays when its report goes.

    Raises:
        StorageUnavailableError: the database is away; what was given before is done.
    """
    for noun in NOUNS:
        if noun not in ages:
            continue
        before, after_id, is_last = now - ages[noun], 0, False
        while not is_last:
            with read(engine) as connection:
                found = find_old_rows(connection, noun, before, after_id)
            after_id, is_last = found.next_after_id, found.is_last
            rows = len(found.ids)
            if found.ids and not dry_run:
                with write(engine) as connection:
                    rows = delete_old_rows(connection, noun, before, found.ids)
            yield PruneStep(noun, rows)
