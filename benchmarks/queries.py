"""What people ask of telemetry, in milliseconds, with a year of many devices in the database.

    python -m benchmarks.queries [--uplinks 1000000 10000000] [--database sqlite] [--keep DIR]

Each device sends ten thousand uplinks in a year, four measurements in each; so a larger database has more devices, and
what is asked of one has the same size in each. Rows are written in the order of time, as they come, so that those of a
series lie as far from each other as in real life. What is timed is the function that the API calls: the statements,
and what Python makes of their rows. Between two sizes and two pages only ratios count.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, text

from benchmarks.reading import on_postgresql
from receiver.services.bucket_pages import list_buckets
from receiver.services.buckets import parse_buckets
from receiver.storage import schema
from receiver.storage.engine import open_engine, read
from receiver.storage.telemetry_buckets import list_steps
from receiver.storage.telemetry_queries import list_latest, list_series, list_values
from receiver.storage.uplink_pages import UplinkFilter, list_uplink_page, list_values_by_uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Engine

    Place = Any  # each list has places of its own kind

NAMES = ("battery", "co2", "humidity", "temperature")
PER_DEVICE = 10_000
BEGINNING = datetime(2025, 11, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
CHUNK = 500_000
ROUNDS = 30
PAGES = 1000

_SECONDS = int(YEAR.total_seconds())
_EPOCH = int(BEGINNING.timestamp())

# Uplink number n, from 0 on, is of device n % devices; `devices` and `uplinks` are whole numbers put in here.
_SQLITE = {
    "n": "WITH RECURSIVE n(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM n WHERE n < {last} - 1) ",
    "at": "strftime('%Y-%m-%dT%H:%M:%S', {epoch} + n * {seconds} / {uplinks}, 'unixepoch') || '.000000Z'",
    "dev_eui": "printf('20635F%010X', n % {devices})",
    "bytes": "x'0102030405060708090a0b0c'",
    "false": "0",
}
_POSTGRESQL = {
    "n": "WITH n AS (SELECT generate_series({first}::bigint, {last} - 1) AS n) ",
    "at": "to_timestamp({epoch} + n * {seconds} / {uplinks})",
    "dev_eui": "'20635F' || lpad(upper(to_hex(n % {devices})), 10, '0')",
    "bytes": r"'\x0102030405060708090a0b0c'",
    "false": "false",
}
_UPLINKS = (
    "{n} INSERT INTO uplinks (id, dev_eui, dev_addr, at, received_at, f_port, f_cnt_up, payload_state, frm_payload,"
    " payload_size_bytes, frame_check, conflicting, late, m_type, spreading_factor, frequency_mhz, rssi_dbm, snr_db,"
    " esp_dbm, lrr_id, gateway_count)"
    " SELECT n + 1, {dev_eui}, '0412ABCD', {at}, {at}, 2, n / {devices}, 'decrypted', {bytes}, 12, 'a1b2c3d4e5f60718',"
    " {false}, {false}, 2, 9, 868.1, -90 - n % 30, 8.5, -91.5, '08050A3C', 3 FROM n ORDER BY n"
)
_DECODINGS = (
    "{n} INSERT INTO decodings (uplink_id, state, decoded, first_at, last_at, decoded_at)"
    ' SELECT n + 1, \'decoded\', \'{{"temperature":21.5,"humidity":55,"co2":412,"battery":3.1}}\', {at}, {at}, {at}'
    " FROM n ORDER BY n"
)
_VALUES = (
    "{n} INSERT INTO telemetry_values (series_id, at, uplink_id, value, codec_version_id)"
    " SELECT (n % {devices}) * 4 + k, {at}, n + 1, (n * 7919 % 1000) / 10.0 + k, 1"
    " FROM n CROSS JOIN (SELECT 1 AS k UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) AS four ORDER BY n, k"
)


def dev_eui_of(number: int) -> str:
    """Give the DevEUI of a device by its number, from 0 on."""
    return f"20635F{number:010X}"


def fill(url: str, uplinks: int) -> None:
    """Make the rows: in the order of time, quickly, and as a database looks that has run for a while."""
    schema.upgrade(url, BEGINNING)
    engine = create_engine(url)
    is_sqlite = engine.dialect.name == "sqlite"
    devices = uplinks // PER_DEVICE
    words = _SQLITE if is_sqlite else _POSTGRESQL
    with engine.connect() as connection:
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA synchronous=OFF")
            connection.exec_driver_sql("PRAGMA cache_size=-400000")
        else:
            connection.exec_driver_sql("SET synchronous_commit = off")
        connection.commit()
        for number in range(devices):
            for place, name in enumerate(NAMES):
                connection.execute(
                    text("INSERT INTO series (id, dev_eui, name, unit) VALUES (:id, :dev_eui, :name, '')"),
                    {"id": number * len(NAMES) + place + 1, "dev_eui": dev_eui_of(number), "name": name},
                )
        connection.commit()
        for first in range(0, uplinks, CHUNK):
            numbers = {
                "first": first,
                "last": min(first + CHUNK, uplinks),
                "uplinks": uplinks,
                "devices": devices,
                "seconds": _SECONDS,
                "epoch": _EPOCH,
            }
            filled = {name: word.format(**numbers) for name, word in words.items()}
            for statement in (_UPLINKS, _DECODINGS, _VALUES):
                sql = statement.format(**filled, devices=devices)
                connection.exec_driver_sql(sql if is_sqlite else sql.replace("%", "%%"))
            connection.commit()
            print(f"\r{first + CHUNK} of {uplinks} …", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        if is_sqlite:
            connection.exec_driver_sql("ANALYZE")
            connection.commit()
    if not is_sqlite:  # what autovacuum does within the hour, and the checkpointer within minutes
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
    engine.dispose()


def _time(engine: Engine, ask: Callable[[Connection, int], Sequence[object]], devices: int) -> tuple[float, float, int]:
    """Give the median and the slowest of twenty in milliseconds, and how many rows came; each of another device."""
    chance = random.Random(7)  # noqa: S311 - the same devices for each question
    times, rows = [], 0
    for _ in range(ROUNDS):
        number = chance.randrange(devices)
        with read(engine) as connection:
            ask(connection, number)  # warm: a second look is what is timed
            began = time.perf_counter()
            rows = len(ask(connection, number))
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times), sorted(times)[int(ROUNDS * 0.95)], rows


def _latest(connection: Connection, number: int) -> Sequence[object]:
    return list_latest(connection, dev_eui=dev_eui_of(number), limit=100)


def _day(connection: Connection, number: int) -> Sequence[object]:
    wanted = list_series(connection, dev_eui_of(number))
    since = BEGINNING + timedelta(days=200)
    return list_values(connection, wanted, limit=1000, since=since, until=since + timedelta(days=1))[0]


def _year_in_database(connection: Connection, number: int) -> Sequence[object]:
    [one] = list_series(connection, dev_eui_of(number), ["temperature"])
    return list_steps(connection, one, step_s=3600, since=BEGINNING, until=BEGINNING + YEAR)


def _year(connection: Connection, number: int, names: list[str]) -> Sequence[object]:
    wanted = list_series(connection, dev_eui_of(number), names)
    buckets = parse_buckets("1h", "Europe/Amsterdam")
    return list_buckets(connection, wanted, buckets, limit=10_000, since=BEGINNING, until=BEGINNING + YEAR)[0]


QUESTIONS: dict[str, Callable[[Connection, int], Sequence[object]]] = {
    "latest of a device": _latest,
    "device-day, 4 names": _day,
    "device-year hourly, statement": _year_in_database,
    "device-year hourly, with Python": partial(_year, names=["temperature"]),
}


def _page_costs(engine: Engine, page: Callable[[Connection, Place], tuple[object, Place]]) -> tuple[float, float]:
    """Give the milliseconds of page 1 and of page 1,000: each the median of some."""
    place: Place = None
    with read(engine) as connection:
        first = _median_of(partial(page, connection, None))
        for _ in range(PAGES - 1):
            _, place = page(connection, place)
            assert place is not None
        last = _median_of(partial(page, connection, place))
    return first, last


def _median_of(ask: Callable[[], Any]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def _values_of_device(connection: Connection, place: Place) -> tuple[object, Place]:
    return list_values(connection, list_series(connection, dev_eui_of(3)), limit=30, before=place)


def _uplinks_of_all(connection: Connection, place: Place) -> tuple[object, Place]:
    return list_uplink_page(connection, UplinkFilter(), limit=100, after=place)


def _values_of_all(connection: Connection, place: Place) -> tuple[object, Place]:
    return list_values_by_uplink(connection, UplinkFilter(), limit=100, after=place)


LISTS: dict[str, Callable[[Connection, Place], tuple[object, Place]]] = {
    "values of a device": _values_of_device,
    "uplinks of all": _uplinks_of_all,
    "values of all": _values_of_all,
}


def measure(url: str, uplinks: int) -> None:
    """Fill if it is empty, ask, and print the lines of a table."""
    began = time.perf_counter()
    engine = open_engine(url)
    if schema.check(engine).state == "empty":
        fill(url, uplinks)
    took_s = time.perf_counter() - began
    where = f"{engine.dialect.name}, {uplinks / 1e6:g} M"
    for told, ask in QUESTIONS.items():
        median, slow, rows = _time(engine, ask, uplinks // PER_DEVICE)
        print(f"| {where} | {told} | {rows} | {median:.2f} | {slow:.2f} |", flush=True)
    for told, page in LISTS.items():
        first, last = _page_costs(engine, page)
        both = f"{first:.2f}, {last:.2f} | {last / first:.2f} times"
        print(f"| {where} | {told}: page 1, page {PAGES} | | {both} |", flush=True)
    print(f"(made in {took_s:.0f} s)", file=sys.stderr)
    engine.dispose()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--uplinks", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--database-url", help="a PostgreSQL server; else one is started for this run")
    parser.add_argument("--keep", type=Path, help="keep the SQLite files here, and use them again")
    options = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}\n", flush=True)
    print("| | question | rows | median ms | p95 ms |\n|---|---|---|---|---|", flush=True)
    for uplinks in options.uplinks:
        if options.database != "postgresql":
            with tempfile.TemporaryDirectory() as directory:
                measure(f"sqlite:///{options.keep or directory}/queries-{uplinks}.db", uplinks)
        if options.database != "sqlite":
            on_postgresql(options.database_url, partial(measure, uplinks=uplinks))


if __name__ == "__main__":
    main()
