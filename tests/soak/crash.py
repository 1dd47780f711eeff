"""`kill -9` at moments that a seed decides, under load: what was answered 200 is there once, and is read.

    python -m tests.soak.crash [--seed N] [--for S] [--database sqlite|postgresql] [--rate R] [--plain-http]

Killed are, by turns of the seed: all processes at once, `receiver serve` (its first process), one of its servers,
the worker. A push that got no answer is sent again, as the network does to its next URL.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING

import psutil

from tests.acceptance.running_receiver import CHILD, utc_now
from tests.soak.ledger import Counts, Ledger, compare, wait_until_settled
from tests.soak.pushes import Frames
from tests.soak.running import DEVICES, conclude, databases, free_port, machine, note_log, parse_options, place
from tests.soak.traffic import Traffic

if TYPE_CHECKING:
    from tests.acceptance.running_receiver import Installation, Served

VICTIMS = ("all", "serve", "server", "worker")
CONNECTIONS = 16
MOST_ANSWERS_BETWEEN_KILLS = 150
START_WITHIN_S = 60.0


class Run:
    """One crash run over an installation."""

    def __init__(self, installation: Installation, *, seed: int, rate: float, plain_http: bool) -> None:
        self._installation = installation
        self._random = Random(seed)  # of the schedule alone, so that the same seed gives the same one
        self._servers = cycle((2, 1, 2))
        self._seed = seed
        self._port = free_port()
        self._plain_http = plain_http
        self._frames = Frames(seed, DEVICES, utc_now())
        self._ledger = Ledger()
        self._rate = rate
        self._served: Served | None = None
        self._answers = 0
        self.kills: Counter[str] = Counter()

    async def run(self, *, kills: int | None, for_s: float, settle_s: float) -> Counts:
        """Push and kill, `kills` times or for so long; give what it came to once all is read."""
        try:
            await self._start()
            assert self._served is not None
            traffic = Traffic(
                self._frames,
                self._ledger,
                Random(self._seed + 1),
                [self._port],
                connections=CONNECTIONS,
                rate=self._rate,
                again=0.1,
                context=self._served.context(),
                on_answer=self._count,
            )
            traffic.start()
            ends_at = time.monotonic() + for_s
            victims = self._schedule()
            while time.monotonic() < ends_at and (kills is None or self.kills.total() < kills):
                await self._some_answers(ends_at)
                await self._kill(next(victims))
            await traffic.finish(30)
            await asyncio.to_thread(wait_until_settled, self._installation.engine, self._ledger, settle_s)
            return await asyncio.to_thread(compare, self._installation.engine, self._frames, self._ledger)
        finally:
            if self._served is not None:
                self._served.kill_all()

    def _count(self, status: int, _latency: float) -> None:
        self._answers += status == 200

    def _schedule(self):
        """Give victims for ever: all kinds in an order that is drawn, then all again."""
        while True:
            yield from self._random.sample(VICTIMS, len(VICTIMS))

    async def _some_answers(self, ends_at: float) -> None:
        until = self._answers + self._random.randint(1, MOST_ANSWERS_BETWEEN_KILLS)
        while self._answers < until and time.monotonic() < ends_at:  # noqa: ASYNC110 - a moment in the load, no event
            await asyncio.sleep(0.001)
        await asyncio.sleep(self._random.random() * 0.05)

    async def _start(self) -> None:
        """Start it at the port of before, as soon as that is free: children of a killed one finish first."""
        options = ["--port", str(self._port), "--workers", str(next(self._servers))]
        if self._plain_http:
            options.append("--plain-http")
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            served = self._installation.start(*options)
            try:
                await asyncio.to_thread(served.wait_until_ready)
            except AssertionError:  # its log is the message
                served.kill_all()
                if time.monotonic() > deadline or "cannot be listened on" not in served.log.read_text():
                    raise
            else:
                self._served = served
                return

    async def _kill(self, victim: str) -> None:
        assert self._served is not None
        if victim in {"server", "worker"}:
            children = self._served.children(CHILD)
            chosen = [child for child in children if _listens(child) == (victim == "server")]
            if chosen:
                self._random.choice(chosen).kill()
                self.kills[victim] += 1
                return
            victim = "serve"  # one server only is the first process
        if victim == "all":
            await asyncio.to_thread(self._served.kill_all)
        else:
            await asyncio.to_thread(self._served.kill_its_first_process)
        self.kills[victim] += 1
        await self._start()


def _listens(process: psutil.Process) -> bool:
    try:
        return any(each.status == psutil.CONN_LISTEN for each in process.net_connections(kind="tcp"))
    except psutil.Error:
        return False


def crash(
    installation: Installation,
    *,
    seed: int,
    kills: int | None,
    for_s: float,
    rate: float = 200,
    plain_http: bool = False,
    settle_s: float = 120,
) -> tuple[Counts, Counter[str]]:
    """Do one run; give what it came to, and how often each victim was killed."""
    run = Run(installation, seed=seed, rate=rate, plain_http=plain_http)
    counts = asyncio.run(run.run(kills=kills, for_s=for_s, settle_s=settle_s))
    return counts, run.kills


def main() -> None:
    """Run on the databases that were asked for."""
    options = parse_options(
        __doc__,
        30,
        rate={"type": float, "default": 200, "help": "frames a second"},
        **{"plain-http": {"action": "store_true", "help": "without TLS"}},
    )
    results = {}
    for database in databases(options):
        with place(database) as here:
            counts, kills = crash(
                here.installation,
                seed=options.seed,
                kills=None,
                for_s=options.for_s,
                rate=options.rate,
                plain_http=options.plain_http,
            )
            note_log(counts, here.installation, kills=True)
        killed = ", ".join(f"{victim} {count}" for victim, count in sorted(kills.items()))
        results[f"crash, {database}, seed {options.seed}, {machine()}; killed: {killed}"] = counts
    conclude(results)


if __name__ == "__main__":
    main()
