"""Resident memory of `serve` and of the worker while many pushes come: it must level off and stay flat.

    python -m tests.soak.memory [--seed N] [--for S] [--database sqlite|postgresql] [--pushes N] [--devices N]

`--pushes 1000000 --for 3600` is the real one. Ends after `--pushes`, or after `--for` seconds of pushing.
"""

from __future__ import annotations

import asyncio
import sys
from random import Random
from typing import TYPE_CHECKING

import uvloop

from tests.acceptance.running_receiver import CHILD, utc_now
from tests.soak.ledger import Counts, Ledger, compare, wait_until_settled
from tests.soak.pushes import Frames
from tests.soak.running import conclude, databases, free_port, machine, note_log, parse_options, place, resident_mb
from tests.soak.traffic import Traffic

if TYPE_CHECKING:
    from tests.acceptance.running_receiver import Served
    from tests.soak.running import Place

CONNECTIONS = 64
SAMPLES = 20
SETTLE_S = 1800.0


class Memory:
    """One memory run."""

    def __init__(self, here: Place, *, seed: int, pushes: int, devices: int) -> None:
        self._here = here
        self._seed = seed
        self._pushes = pushes
        self._frames = Frames(seed, devices, utc_now())
        self._ledger = Ledger()
        self._port = free_port()
        self.samples: list[tuple[int, float, float]] = []

    async def run(self, for_s: float) -> Counts:
        """Push, and take a sample now and then; compare at the end."""
        served = self._here.installation.start("--plain-http", "--port", str(self._port))
        try:
            await asyncio.to_thread(served.wait_until_ready)
            self._sample(served)
            traffic = Traffic(
                self._frames,
                self._ledger,
                Random(self._seed),
                [self._port],
                connections=CONNECTIONS,
                keep_alive=True,
                again=0.01,
                limit=self._pushes,
            )
            traffic.start()
            loop = asyncio.get_running_loop()
            ends_at = loop.time() + for_s
            while loop.time() < ends_at and len(self._ledger.attempts) < self._pushes:
                await asyncio.sleep(0.2)
                if len(self._ledger.attempts) >= self.samples[-1][0] + self._pushes / SAMPLES:
                    self._sample(served)
            await traffic.finish(60)
            self._sample(served)
            engine = self._here.installation.engine
            await asyncio.to_thread(wait_until_settled, engine, self._ledger, SETTLE_S)
            self._sample(served)
            return await asyncio.to_thread(compare, engine, self._frames, self._ledger)
        finally:
            served.kill_all()

    def _sample(self, served: Served) -> None:
        worker = sum(resident_mb(child) for child in served.children(CHILD))
        self.samples.append((len(self._ledger.attempts), resident_mb(served.process), worker))

    def table(self) -> str:
        """Give the samples, a line each; the last one is after all was read."""
        rows = [
            f"  {pushes:>9} pushes: serve {serve:6.1f} MB, worker {worker:6.1f} MB"
            for pushes, serve, worker in self.samples
        ]
        return "\n".join(rows)


def main() -> None:
    """Run on the databases that were asked for."""
    options = parse_options(
        __doc__,
        30,
        pushes={"type": int, "default": 30_000, "help": "frames to push at most"},
        devices={"type": int, "default": 1000, "help": "that send by turns"},
    )
    results = {}
    for database in databases(options):
        with place(database) as here:
            run = Memory(here, seed=options.seed, pushes=options.pushes, devices=options.devices)
            counts = uvloop.run(run.run(options.for_s))
            note_log(counts, here.installation)
        heading = f"memory, {database}, seed {options.seed}, {machine()}"
        results[f"{heading}\n{run.table()}"] = counts
        sys.stdout.flush()
    conclude(results)


if __name__ == "__main__":
    main()
