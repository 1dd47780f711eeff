"""Many more pushes than can be committed: the excess is told so at once, memory stays bounded, the rest goes on.

    python -m tests.soak.overload [--seed N] [--for S] [--database sqlite|postgresql] [--connections N] [--with-worker]

Four phases of equal length: some connections (the peak) and many thousands; then both again while the database can
commit only a small part of the time: SQLite's write lock is held, PostgreSQL is frozen, four fifths of it. Rates are
given beside the receiver's own CPU time, since the load and others may use the same machine.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import uvloop

from tests.acceptance.running_receiver import utc_now
from tests.soak.ledger import Counts, Ledger, compare, wait_until_settled
from tests.soak.outage import LockedSqlite
from tests.soak.pushes import Frames
from tests.soak.running import conclude, databases, free_port, machine, note_log, parse_options, place, resident_mb
from tests.soak.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.running_receiver import Served
    from tests.soak.running import Place

PEAK_CONNECTIONS = 256
AWAY_S, BACK_S = 0.8, 0.2
DEVICES = 1000
CONNECTED_A_SECOND = 3000
FILES = 32_768
SETTLE_S = 300.0


@dataclass
class Phase:
    """What one phase came to, from when its connections are open: latencies in seconds by status, 0 for no answer."""

    name: str
    seconds: float
    cpu_s: float = 0.0
    latencies: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    most_mb: float = 0.0

    def note(self, status: int, latency: float) -> None:
        self.latencies[status].append(latency)

    @property
    def per_second(self) -> float:
        return len(self.latencies[200]) / self.seconds

    def line(self, peak: float) -> str:
        """Give a line for people; `peak` is what the same database did with few connections."""
        rate = f"{self.per_second:.0f} answered 200 a second ({self.per_second / peak:.2f} of its peak)"
        parts = [f"{self.name}: {rate}", f"{len(self.latencies[200]) / (self.cpu_s or 1):.0f} a CPU second of serve"]
        for status, values in sorted(self.latencies.items()):
            if values:
                in_order = sorted(values)
                p50, p99 = in_order[len(values) // 2], in_order[int(len(values) * 0.99)]
                name = status or "no answer"
                parts.append(f"{name}: {len(values)}, p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms")
        return "; ".join([*parts, f"serve {self.most_mb:.0f} MB"])


class Overload:
    """One overload run."""

    def __init__(self, here: Place, *, seed: int, connections: int, with_worker: bool) -> None:
        self._here = here
        self._seed = seed
        self._connections = connections
        self._with_worker = with_worker
        self._frames = Frames(seed, DEVICES, utc_now())
        self._ledger = Ledger()
        self._port = free_port()
        self.phases: list[Phase] = []

    async def run(self, for_s: float) -> Counts:
        """Do the phases; compare at the end."""
        options = [] if self._with_worker else ["--without-worker"]
        served = self._here.installation.start("--plain-http", "--port", str(self._port), *options)
        try:
            await asyncio.to_thread(served.wait_until_ready)
            each = for_s / 4
            numbers = (PEAK_CONNECTIONS, self._connections)
            for connections in numbers:
                await self._phase(served, f"{connections} connections", each, connections)
            away, back = self._impediment()
            slow = asyncio.create_task(_duty(away, back))
            try:
                for connections in numbers:
                    name = f"{connections} connections, database away {AWAY_S / (AWAY_S + BACK_S):.0%} of the time"
                    await self._phase(served, name, each, connections)
            finally:
                slow.cancel()
                await asyncio.gather(slow, return_exceptions=True)
            engine = self._here.installation.engine
            if self._with_worker:
                await asyncio.to_thread(wait_until_settled, engine, self._ledger, SETTLE_S)
            judge = partial(compare, engine, self._frames, self._ledger, was_read=self._with_worker)
            return await asyncio.to_thread(judge)
        finally:
            served.kill_all()

    async def _phase(self, served: Served, name: str, seconds: float, connections: int) -> None:
        phase = Phase(name, seconds)
        traffic = Traffic(
            self._frames,
            self._ledger,
            Random(self._seed),
            [self._port],
            connections=connections,
            keep_alive=True,
            insist=False,
            on_answer=phase.note,
        )
        traffic.start()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(connections / CONNECTED_A_SECOND)
        phase.latencies.clear()
        began, cpu_began = loop.time(), _cpu_s(served)
        while loop.time() < began + seconds:
            await asyncio.sleep(0.2)
            phase.most_mb = max(phase.most_mb, resident_mb(served.process))
        phase.seconds, phase.cpu_s = loop.time() - began, _cpu_s(served) - cpu_began
        measured = {status: values[:] for status, values in phase.latencies.items()}
        await traffic.finish(30)
        phase.latencies = defaultdict(list, measured)
        self.phases.append(phase)

    def _impediment(self) -> tuple[Callable[[], None], Callable[[], None]]:
        postgresql = self._here.postgresql
        if postgresql is not None:
            return postgresql.freeze, postgresql.thaw
        locked = LockedSqlite(str(self._here.installation.engine.url.database))
        return locked.away, locked.back


def _cpu_s(served: Served) -> float:
    times = served.process.cpu_times()
    return float(times.user + times.system)


async def _duty(away: Callable[[], None], back: Callable[[], None]) -> None:
    while True:
        await asyncio.to_thread(away)
        try:
            await asyncio.sleep(AWAY_S)
        finally:
            await asyncio.shield(asyncio.to_thread(back))
        await asyncio.sleep(BACK_S)


def main() -> None:
    """Run on the databases that were asked for."""
    options = parse_options(
        __doc__,
        30,
        connections={"type": int, "default": 6000, "help": "of the overload"},
        **{"with-worker": {"action": "store_true", "help": "read meanwhile, and wait until all is read"}},
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))  # for the receiver too, which inherits it
    results = {}
    for database in databases(options):
        with place(database) as here:
            run = Overload(here, seed=options.seed, connections=options.connections, with_worker=options.with_worker)
            counts = uvloop.run(run.run(options.for_s))
            note_log(counts, here.installation)
        heading = f"overload, {database}, seed {options.seed}, {machine()}"
        peaks = [run.phases[index // 2 * 2].per_second or 1.0 for index in range(len(run.phases))]
        lines = [f"  {phase.line(peak)}" for phase, peak in zip(run.phases, peaks, strict=True)]
        results["\n".join([heading, *lines])] = counts
        sys.stdout.flush()
    conclude(results)


if __name__ == "__main__":
    main()
