"""Tells what server processes left to be told, so that it has its place among the events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.storage.engine import read, write
from receiver.storage.events import has_untold, tell_rejections
from receiver.storage.reports import lock_reading

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

REJECTIONS_AT_ONCE = 500
"""Of one transaction: a few milliseconds."""


def tell_refused_pushes(engine: Engine, now: datetime) -> int:
    """Tell the oldest of the rejections that nobody told yet; give how many were taken up.

    Raises:
        StorageUnavailableError: the database is away; nothing was told.
    """
    with read(engine) as connection:
        if not has_untold(connection):
            return 0
    with write(engine) as connection:
        lock_reading(connection)
        return tell_rejections(connection, now, REJECTIONS_AT_ONCE)
