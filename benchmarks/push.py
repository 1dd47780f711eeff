"""Pushes per second that are acknowledged after their commit, beside a bare Starlette and a bare ASGI echo.

    python -m benchmarks.push [--seconds 5] [--rounds 3] [--sqlite-only] [--two-workers]

One server process, 64 keep-alive connections, 1.4 kB bodies, full verification and deduplication; SQLite with
`synchronous=FULL`, and a PostgreSQL of its own. Each round measures all of them one after the other, so that what
counts is a ratio inside one run. The worker that reads reports is not running: it is another process, and this
machine has few cores.
"""

from __future__ import annotations

import argparse
import secrets
from contextlib import ExitStack

from benchmarks.rig import Result, echo, fresh_database, load, postgresql, print_table, receiver

STARLETTE = "Starlette echo"


def main() -> None:
    """Measure, print, and say the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sqlite-only", action="store_true")
    parser.add_argument("--two-workers", action="store_true", help="also two server processes; it wants more cores")
    options = parser.parse_args()
    key = secrets.token_hex(16)
    rows: dict[str, list[Result]] = {}
    with ExitStack() as stack:
        database = None if options.sqlite_only else stack.enter_context(postgresql())
        for _ in range(options.rounds):
            for name, kind in ((STARLETTE, "starlette"), ("bare ASGI echo", "asgi")):
                with echo(kind) as server:
                    rows.setdefault(name, []).append(load(server, key, options.seconds))
            with receiver(key) as server:
                rows.setdefault("receiver, SQLite FULL", []).append(_all_taken(load(server, key, options.seconds)))
            for workers in (1, 2) if options.two_workers else (1,):
                if database is None:
                    break
                name = f"receiver, PostgreSQL{', two workers' if workers == 2 else ''}"
                with receiver(key, fresh_database(database.get_uri()), workers=workers) as server:
                    rows.setdefault(name, []).append(_all_taken(load(server, key, options.seconds)))
    print_table(rows, STARLETTE, STARLETTE)


def _all_taken(result: Result) -> Result:
    assert set(result["statuses"]) == {"200"}, result
    return result


if __name__ == "__main__":
    main()
