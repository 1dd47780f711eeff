"""How long a thousand downlinks to a thousand devices take, each answer 50 ms away.

    python -m benchmarks.downlinks [--downlinks 1000] [--delay-ms 50] [--connections 1] [--database sqlite postgresql]

The network is a process of its own on loopback that waits that long and accepts. What is timed begins with the first
look into the queue and ends when the last answer is in the database. A connection has a bounded number under way, so
that there is a least time, which is printed beside: with one connection, downlinks × delay / that number.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select

from benchmarks.reading import on_postgresql
from receiver.http_client import HttpBounds, HttpClient
from receiver.keyring import KEK_BYTES, Keyring
from receiver.services.connections import add_connection
from receiver.services.downlink_dispatch import UNDER_WAY, UNDER_WAY_OF_EACH, run_dispatcher
from receiver.storage import schema
from receiver.storage.downlink_events import DownlinkState
from receiver.storage.downlink_tables import downlinks
from receiver.storage.engine import open_engine, read, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection as Pipe

    from sqlalchemy import Engine

TUNNEL_KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
LOOK_S = 0.02
AT_MOST_S = 600.0


def main() -> None:
    """Run it for each database and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--downlinks", type=int, default=1000)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--server", help="URL of a PostgreSQL server; else one is started")
    options = parser.parse_args()
    for database in options.database:

        def measure(url: str, database: str = database) -> None:
            print(f"{database}: {_measure(url, options)}")

        if database == "postgresql":
            on_postgresql(options.server, measure)
        else:
            with tempfile.TemporaryDirectory(prefix="receiver-downlinks-") as directory:
                measure(f"sqlite:///{Path(directory) / 'receiver.db'}")


def _measure(url: str, options: argparse.Namespace) -> str:
    at_once = min(UNDER_WAY, options.connections * UNDER_WAY_OF_EACH)
    least_s = options.downlinks * options.delay_ms / 1000 / at_once
    with _network(options.delay_ms / 1000) as port:
        schema.upgrade(url, datetime.now(UTC))
        engine = open_engine(url)
        keyring = Keyring(bytes(KEK_BYTES))
        _put_in(engine, keyring, port, options.downlinks, options.connections)
        seconds = _dispatch(engine, keyring, options.downlinks)
        engine.dispose()
    return f"{options.downlinks} downlinks in {seconds:.1f} s; {at_once} at a time: {least_s:.1f} s at least"


def _dispatch(engine: Engine, keyring: Keyring, count: int) -> float:
    stop = threading.Event()
    accepted = select(func.count()).select_from(downlinks).where(downlinks.c.state == DownlinkState.ACCEPTED.value)
    with HttpClient(bounds=HttpBounds(at_once=UNDER_WAY)) as http:
        arguments = (engine, keyring, lambda: datetime.now(UTC), stop, http)
        thread = threading.Thread(target=run_dispatcher, args=arguments)
        began = time.monotonic()
        thread.start()
        done = 0
        while done < count and time.monotonic() - began < AT_MOST_S:
            stop.wait(LOOK_S)
            with read(engine) as connection:
                done = connection.execute(accepted).scalar_one()
        seconds = time.monotonic() - began
        stop.set()
        thread.join()
    assert done == count, f"only {done} of {count} were accepted"
    return seconds


def _put_in(engine: Engine, keyring: Keyring, port: int, count: int, connections: int) -> None:
    now = datetime.now(UTC)
    url = f"http://127.0.0.1:{port}/thingpark/lrc/rest/v2/downlink"
    ids = [
        add_connection(
            engine, keyring, now, name=f"c{n}", platform="thingpark", tunnel_key=TUNNEL_KEY, downlink_url=url
        ).id
        for n in range(connections)
    ]
    rows = [
        {
            "dev_eui": f"20635F{number:010X}",
            "connection_id": ids[number % connections],
            "created_at": now,
            "created_by": "benchmark",
            "f_port": 1,
            "payload": b"\x01\x02",
            "confirmed": False,
            "flush": False,
            "priority": 0,
            "state": DownlinkState.QUEUED.value,
            "state_at": now,
            "attempts": 0,
            "due_at": now,
            "correlation_id": f"{number:016X}",
        }
        for number in range(count)
    ]
    with write(engine) as connection:
        connection.execute(insert(downlinks), rows)


@contextmanager
def _network(delay_s: float) -> Iterator[int]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, delay_s), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Pipe, delay_s: float) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")  # the body is empty
                await asyncio.sleep(delay_s)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
