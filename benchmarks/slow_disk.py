"""Pushes on a disk whose every commit takes 10 ms, beside one commit for each push on the same disk.

    python -m benchmarks.slow_disk [--seconds 5] [--rounds 3]

One connection that waits for each answer makes one commit a push; 64 share them. On SQLite the commit is slowed by
`benchmarks.slow_serve`, on PostgreSQL by its own `commit_delay`.
"""

from __future__ import annotations

import argparse
import secrets

from sqlalchemy import create_engine, text

from benchmarks.rig import Result, fresh_database, load, postgresql, print_table, receiver
from benchmarks.slow_serve import COMMIT_S

ONE = "one commit for each push"


def main() -> None:
    """Measure and print a table for each database."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    key = secrets.token_hex(16)
    tables: dict[str, dict[str, list[Result]]] = {"SQLite FULL": {}, "PostgreSQL": {}}
    with postgresql() as database:
        _slow_down(database.get_uri())
        for _ in range(options.rounds):
            for name, connections in ((ONE, 1), ("64 connections", 64), ("256 connections", 256)):
                with receiver(key, module="benchmarks.slow_serve") as server:
                    tables["SQLite FULL"].setdefault(name, []).append(load(server, key, options.seconds, connections))
                with receiver(key, fresh_database(database.get_uri())) as server:
                    tables["PostgreSQL"].setdefault(name, []).append(load(server, key, options.seconds, connections))
    for name, rows in tables.items():
        print(f"**{name}, each commit {COMMIT_S * 1000:.0f} ms longer**\n")
        print_table(rows, ONE, ONE)


def _slow_down(url: str) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER SYSTEM SET commit_delay = {COMMIT_S * 1_000_000:.0f}"))
        connection.execute(text("ALTER SYSTEM SET commit_siblings = 0"))  # also where nobody else commits
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


if __name__ == "__main__":
    main()
