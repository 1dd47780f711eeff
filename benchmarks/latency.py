"""From push to readable row: how long after it was sent a push stands in `uplinks`, with the worker beside the server.

    python -m benchmarks.latency [--rate 500] [--seconds 10]

The pushes come at a steady rate, whether the last one was answered or not; `uplinks` is looked at every 5 ms through
a connection of its own. On SQLite and on a PostgreSQL of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import threading
import time
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, select

from benchmarks.load import make_requests
from benchmarks.rig import fresh_database, postgresql, receiver
from receiver.storage.tables import uplinks

if TYPE_CHECKING:
    from benchmarks.rig import Server

CONNECTIONS = 16
LOOK_EVERY_S = 0.005
GRACE_S = 10.0


def main() -> None:
    """Measure on both databases and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    key = secrets.token_hex(16)
    print("| | sent | readable | p50 ms | p95 ms | p99 ms | longest ms |\n|---|---|---|---|---|---|---|")
    with receiver(key, with_worker=True) as server:
        url = f"sqlite:///{server.environment['RECEIVER_DATA_DIR']}/receiver.db"
        _measure("SQLite FULL", server, url, key, options.rate, options.seconds)
    with postgresql() as database:
        url = fresh_database(database.get_uri())
        with receiver(key, url, with_worker=True) as server:
            _measure("PostgreSQL", server, url, key, options.rate, options.seconds)


def _measure(name: str, server: Server, url: str, key: str, rate: int, seconds: float) -> None:
    count = int(rate * seconds)
    requests = make_requests(count, key, time.time_ns() % 10**12)
    numbers = {_frame(number): number for number in range(count)}
    readable: dict[int, float] = {}
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(url, numbers, readable, ended))
    watch.start()
    sent = asyncio.run(_send(server.port, requests, rate))
    deadline = time.monotonic() + GRACE_S
    while len(readable) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    ended.set()
    watch.join()
    waits = sorted((readable[number] - sent[number]) * 1000 for number in readable) or [0.0]
    quantiles = [waits[min(len(waits) - 1, int(len(waits) * q))] for q in (0.5, 0.95, 0.99)]
    figures = " | ".join(f"{value:.0f}" for value in (*quantiles, waits[-1]))
    print(f"| {name} | {count} | {len(readable)} | {figures} |")


def _frame(number: int) -> tuple[str, int]:
    """Tell which device and counter `make_requests` gave that request."""
    return f"{number % 1000:06X}", number // 1000


def _watch(url: str, numbers: dict[tuple[str, int], int], readable: dict[int, float], ended: threading.Event) -> None:
    engine = create_engine(url)
    last = 0
    while not ended.wait(LOOK_EVERY_S):
        query = select(uplinks.c.id, uplinks.c.dev_eui, uplinks.c.f_cnt_up).where(uplinks.c.id > last)
        with engine.connect() as connection:
            rows = connection.execute(query.order_by(uplinks.c.id)).all()
        now = time.perf_counter()
        for row in rows:
            last = row.id
            readable[numbers[row.dev_eui[-6:], row.f_cnt_up]] = now
    engine.dispose()


async def _send(port: int, requests: list[bytes], rate: int) -> list[float]:
    """Send at a steady rate over a few connections; give when each push was sent."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    readers = [asyncio.create_task(_read(reader)) for reader, _ in opened]
    sent: list[float] = []
    began = time.perf_counter()
    for number, request in enumerate(requests):
        pause = began + number / rate - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        sent.append(time.perf_counter())
        opened[number % CONNECTIONS][1].write(request)
    await asyncio.sleep(1)
    for _, writer in opened:
        writer.close()
    await asyncio.gather(*readers)
    return sent


async def _read(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


if __name__ == "__main__":
    main()
