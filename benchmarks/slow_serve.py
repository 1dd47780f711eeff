"""`python -m benchmarks.slow_serve serve …` is `receiver serve …` on a slow disk: each commit takes COMMIT_S longer.

That is on SQLite. The pause is where a statement that commits begins, without the interpreter's lock, as a slow
disk would make it.
"""

from __future__ import annotations

import sqlite3
import sys
import time

from sqlalchemy import event
from sqlalchemy.pool import Pool

from receiver.cli.main import main

COMMIT_S = 0.010


def _slow_down(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.set_trace_callback(_pause)


def _pause(statement: str) -> None:
    if statement.startswith(("INSERT INTO reports", "COMMIT")):
        time.sleep(COMMIT_S)


if __name__ == "__main__":
    event.listen(Pool, "connect", _slow_down)
    sys.exit(main())
