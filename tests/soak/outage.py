"""The database goes away and comes back while pushes flow: all are answered 200, and drained once.

    python -m tests.soak.outage [--seed N] [--for S] [--database sqlite|postgresql] [--rate R]

PostgreSQL is stopped, or frozen with SIGSTOP, by turns; SQLite's write lock is held by another process's connection
for longer than the receiver waits. In the middle of the last outage all of the receiver is killed and started again:
what it had spooled must outlive that, and it must start with the database away.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from tests.acceptance.running_receiver import utc_now
from tests.soak.ledger import Counts, Ledger, compare, wait_until_settled
from tests.soak.pushes import Frames
from tests.soak.running import DEVICES, conclude, databases, free_port, machine, note_log, parse_options, place
from tests.soak.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.running_receiver import Served
    from tests.soak.running import Place

CONNECTIONS = 32
SETTLE_S = 120.0


class LockedSqlite:
    """Takes SQLite's write lock from a connection of its own and keeps it until told."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def away(self) -> None:
        self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=30, check_same_thread=False)
        self._connection.execute("BEGIN IMMEDIATE")

    def back(self) -> None:
        assert self._connection is not None
        self._connection.execute("ROLLBACK")
        self._connection.close()


@dataclass(frozen=True)
class Way:
    """A way of a database to go away and come back; and whether the receiver is killed while it is away."""

    name: str
    away: Callable[[], None]
    back: Callable[[], None]
    kill_meanwhile: bool = False


class Outage:
    """One outage run."""

    def __init__(self, here: Place, *, seed: int, rate: float) -> None:
        self._here = here
        self._random = Random(seed)
        self._frames = Frames(seed, DEVICES, utc_now())
        self._ledger = Ledger()
        self._port = free_port()
        self._rate = rate
        self._slowest_s = 0.0
        self.notes: list[str] = []

    async def run(self, for_s: float) -> Counts:
        served = await self._start()
        try:
            traffic = Traffic(
                self._frames,
                self._ledger,
                self._random,
                [self._port],
                connections=CONNECTIONS,
                rate=self._rate,
                again=0.1,
                on_answer=self._note,
            )
            traffic.start()
            ways = self._ways()
            part_s = for_s / len(ways) / 3
            for way in ways:
                await asyncio.sleep(part_s)
                served = await self._outage(way, part_s, served)
            await asyncio.sleep(part_s)
            await traffic.finish(60)
            await asyncio.to_thread(wait_until_settled, self._here.installation.engine, self._ledger, SETTLE_S)
            return await asyncio.to_thread(compare, self._here.installation.engine, self._frames, self._ledger)
        finally:
            served.kill_all()

    async def _outage(self, way: Way, part_s: float, served: Served) -> Served:
        before, refused = len(self._ledger.acknowledged()), self._ledger.refused.total()
        self._slowest_s = 0.0
        await asyncio.to_thread(way.away)
        await asyncio.sleep(part_s)
        if way.kill_meanwhile:
            await asyncio.to_thread(served.kill_all)
            served = await self._start()
            await asyncio.sleep(part_s)
        answered = len(self._ledger.acknowledged()) - before
        refused = self._ledger.refused.total() - refused
        what = f"{way.name}, killed meanwhile" if way.kill_meanwhile else way.name
        self.notes.append(
            f"{what}: {answered} frames answered 200 in it, {refused} refusals, slowest answer {self._slowest_s:.1f} s"
        )
        await asyncio.to_thread(way.back)
        return served

    async def _start(self) -> Served:
        """Start; while the database is away, being ready is taking pushes."""
        served = self._here.installation.start("--plain-http", "--port", str(self._port))
        try:
            await asyncio.to_thread(served.wait_until_ready)
        except AssertionError:  # its log is the message
            served.kill_all()
            raise
        return served

    def _note(self, _status: int, latency: float) -> None:
        self._slowest_s = max(self._slowest_s, latency)

    def _ways(self) -> list[Way]:
        postgresql = self._here.postgresql
        if postgresql is None:
            locked = LockedSqlite(str(self._here.installation.engine.url.database))
            once = Way("write lock held", locked.away, locked.back)
            return [once, once, replace(once, kill_meanwhile=True)]
        stopped = Way("stopped", postgresql.stop, postgresql.start)
        frozen = Way("frozen", postgresql.freeze, postgresql.thaw)
        return [stopped, frozen, replace(stopped, kill_meanwhile=True)]


def main() -> None:
    """Run on the databases that were asked for."""
    options = parse_options(__doc__, 45, rate={"type": float, "default": 100, "help": "frames a second"})
    results = {}
    for database in databases(options):
        began = time.monotonic()
        with place(database) as here:
            outage = Outage(here, seed=options.seed, rate=options.rate)
            counts = asyncio.run(outage.run(options.for_s))
            note_log(counts, here.installation)
        heading = f"outage, {database}, seed {options.seed}, {machine()}, {time.monotonic() - began:.0f} s"
        results["\n".join([heading, *(f"  {note}" for note in outage.notes)])] = counts
        sys.stdout.flush()
    conclude(results)


if __name__ == "__main__":
    main()
