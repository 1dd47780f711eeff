"""Many more pushes than can be committed: the excess is told so at once, memory stays bounded, the rest goes on.

    python -m tests.soak.overload [--seed N] [--for S] [--database sqlite|postgresql] [--connections N]
                                  [--with-worker] [--tls]

Four phases of equal length: some connections (the peak) and many thousands; then both again while the database can
commit only a small part of the time: SQLite's write lock is held, PostgreSQL is frozen, four fifths of it. The two of a
pair take turns, since a machine's speed changes within minutes. Rates are given beside the receiver's own CPU time,
since the load and others may use the same machine.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
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
    import ssl
    from collections.abc import Callable

    from tests.acceptance.running_receiver import Served
    from tests.soak.running import Place

PEAK_CONNECTIONS = 256
AWAY_S, BACK_S = 0.8, 0.2
DEVICES = 1000
CONNECTED_A_SECOND = 3000
FILES = 32_768
SETTLE_S = 300.0
TURN_S = 4.0
"""About how long each of a pair is measured at a time."""


@dataclass
class Phase:
    """What one phase came to, from when its connections are open: latencies in seconds by status, 0 for no answer."""

    name: str
    connections: int
    seconds: float = 0.0
    cpu_s: float = 0.0
    own_cpu_s: float = 0.0
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
        used = f"serve {self.cpu_s / self.seconds:.2f} of a core, the load {self.own_cpu_s / self.seconds:.2f}"
        parts = [
            f"{self.name}: {rate}",
            f"{len(self.latencies[200]) / (self.cpu_s or 1):.0f} a CPU second of serve",
            used,
        ]
        for status, values in sorted(self.latencies.items()):
            if values:
                in_order = sorted(values)
                p50, p99 = in_order[len(values) // 2], in_order[int(len(values) * 0.99)]
                name = status or "no answer"
                parts.append(f"{name}: {len(values)}, p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms")
        return "; ".join([*parts, f"serve {self.most_mb:.0f} MB"])


class Overload:
    """One overload run."""

    def __init__(self, here: Place, *, seed: int, connections: int, with_worker: bool, tls: bool) -> None:
        self._here = here
        self._seed = seed
        self._connections = connections
        self._with_worker = with_worker
        self._tls = tls
        self._context: ssl.SSLContext | None = None
        self._frames = Frames(seed, DEVICES, utc_now())
        self._ledger = Ledger()
        self._port = free_port()
        self.phases: list[Phase] = []

    async def run(self, for_s: float) -> Counts:
        """Do the phases; compare at the end."""
        options = [] if self._with_worker else ["--without-worker"]
        if not self._tls:
            options.append("--plain-http")
        served = self._here.installation.start("--port", str(self._port), *options)
        self._context = served.context() if self._tls else None
        try:
            await asyncio.to_thread(served.wait_until_ready)
            await self._pair(served, "", for_s / 2)
            away, back = self._impediment()
            over = asyncio.Event()
            slow = asyncio.create_task(_duty(away, back, over))
            try:
                await self._pair(served, f", database away {AWAY_S / (AWAY_S + BACK_S):.0%} of the time", for_s / 2)
            finally:
                over.set()
                await slow
            engine = self._here.installation.engine
            if self._with_worker:
                await asyncio.to_thread(wait_until_settled, engine, self._ledger, SETTLE_S)
            judge = partial(compare, engine, self._frames, self._ledger, was_read=self._with_worker)
            return await asyncio.to_thread(judge)
        finally:
            served.kill_all()

    async def _pair(self, served: Served, condition: str, seconds: float) -> None:
        numbers = (PEAK_CONNECTIONS, self._connections)
        pair = [Phase(f"{connections} connections{condition}", connections) for connections in numbers]
        self.phases += pair
        turns = max(1, round(seconds / 2 / TURN_S))
        for _ in range(turns):
            for phase in pair:
                await self._turn(served, phase, seconds / 2 / turns)

    async def _turn(self, served: Served, phase: Phase, seconds: float) -> None:
        answers = Phase(phase.name, phase.connections)
        traffic = Traffic(
            self._frames,
            self._ledger,
            Random(self._seed),
            [self._port],
            connections=phase.connections,
            keep_alive=not self._tls,
            insist=False,
            context=self._context,
            on_answer=answers.note,
        )
        traffic.start()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(phase.connections / CONNECTED_A_SECOND)
        answers.latencies.clear()
        began, cpu_began, own_began = loop.time(), _cpu_s(served), time.process_time()
        while loop.time() < began + seconds:
            await asyncio.sleep(0.2)
            phase.most_mb = max(phase.most_mb, resident_mb(served.process))
        phase.seconds += loop.time() - began
        phase.cpu_s += _cpu_s(served) - cpu_began
        phase.own_cpu_s += time.process_time() - own_began
        for status, values in answers.latencies.items():
            phase.latencies[status] += values
        await traffic.finish(30)

    def _impediment(self) -> tuple[Callable[[], None], Callable[[], None]]:
        postgresql = self._here.postgresql
        if postgresql is not None:
            return postgresql.freeze, postgresql.thaw
        locked = LockedSqlite(str(self._here.installation.engine.url.database))
        return locked.away, locked.back


def _cpu_s(served: Served) -> float:
    times = served.process.cpu_times()
    return float(times.user + times.system)


async def _duty(away: Callable[[], None], back: Callable[[], None], over: asyncio.Event) -> None:
    """Take the database away again and again; it is back when this ends."""
    while not over.is_set():
        await asyncio.to_thread(away)
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(back)
        await asyncio.sleep(BACK_S)


def main() -> None:
    """Run on the databases that were asked for."""
    options = parse_options(
        __doc__,
        30,
        connections={"type": int, "default": 6000, "help": "of the overload"},
        **{"with-worker": {"action": "store_true", "help": "read meanwhile, and wait until all is read"}},
        tls={"action": "store_true", "help": "a new TLS connection for each push"},
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))  # for the receiver too, which inherits it
    results = {}
    for database in databases(options):
        with place(database) as here:
            run = Overload(
                here,
                seed=options.seed,
                connections=options.connections,
                with_worker=options.with_worker,
                tls=options.tls,
            )
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
