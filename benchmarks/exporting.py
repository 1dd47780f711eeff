"""Rows per second of `receiver telemetry export`, and the memory that it takes at once and at three times the rows.

    python -m benchmarks.exporting [--rows 1000000] [--devices 100] [--database sqlite]

Fills a fresh SQLite and a fresh PostgreSQL database with telemetry: eight measurements of each uplink, six of them
numbers, one true or false, one a text. Then it runs the command, as a person would, for a third of the time range and
for all of it. Rate and CPU are of what the longer run does beyond the shorter one, so that the start of the process
is not in them; CPU is that of the command, on SQLite with the database's part; PostgreSQL's own is not in it. Memory is
the most that was resident of the command's process. The ratio is to `csv.writer` writing tuples of the same columns
that are in memory already, in the same run.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text

from benchmarks.reading import on_postgresql
from receiver.storage import schema
from receiver.storage.engine import open_engine, write
from receiver.storage.telemetry import NewValue, SeriesKey, ensure_series, insert_values

BEGINNING = datetime(2026, 11, 20, 12, tzinfo=UTC)
SPACING = timedelta(minutes=10)
NAMES = ("battery", "co2", "door", "humidity", "light", "mode", "pressure", "temperature")
PARTS = 3
YARDSTICK_ROWS = 100_000
YARDSTICK_ROUNDS = 3
RUNS = [
    *(("long", form, "UTC") for form in ("csv", "ndjson", "parquet")),
    *(("wide", form, "UTC") for form in ("csv", "ndjson", "parquet")),
    ("long", "csv", "Europe/Amsterdam"),
]


class _Run(NamedTuple):
    rows: int
    wall_s: float
    cpu_s: float
    resident_mb: float


def fill(url: str, rows: int, devices: int) -> None:
    """Store about so many measurements, the same number of each device."""
    schema.upgrade(url, BEGINNING)
    engine = open_engine(url)
    frames = rows // devices // len(NAMES)
    for device in range(devices):
        keys = [SeriesKey(f"{device:016X}", name, "") for name in NAMES]
        with write(engine) as tx:
            ids = ensure_series(tx, keys)
            for key in keys:
                insert_values(
                    tx, [_value(ids[key], key.name, device * frames + frame, frame) for frame in range(frames)]
                )
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def _value(series_id: int, name: str, uplink: int, frame: int) -> NewValue:
    at = BEGINNING + frame * SPACING + timedelta(microseconds=uplink)
    if name == "mode":
        return NewValue(series_id, at, uplink + 1, None, ("off", "eco", "on")[frame % 3], 1)
    if name == "door":
        return NewValue(series_id, at, uplink + 1, float(frame % 2), ("false", "true")[frame % 2], 1)
    return NewValue(series_id, at, uplink + 1, frame * 37 % 1000 / 10, None, 1)


def measure_yardstick() -> float:
    """Give the CPU seconds that `csv.writer` takes for one row that is there."""
    rows = [
        (f"{number % 100:016X}", None, "2026-11-20T12:00:00.000000Z", "temperature", number / 10, None, None, number)
        for number in range(YARDSTICK_ROWS)
    ]
    best = float("inf")
    for _ in range(YARDSTICK_ROUNDS):
        started = time.process_time()
        csv.writer(io.StringIO()).writerows(rows)
        best = min(best, (time.process_time() - started) / YARDSTICK_ROWS)
    return best


def _export(url: str, directory: Path, shape: str, form: str, zone: str, until: datetime) -> _Run:
    command = ["-m", "receiver", "telemetry", "export", "--shape", shape, "--format", form, "--tz", zone, "--overwrite"]
    environment = {
        "RECEIVER_DATABASE_URL": url,
        "RECEIVER_DATA_DIR": str(directory / "data"),
        "RECEIVER_KEK": "00" * 32,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command, "--out", "out", "--until", until.isoformat()],
        cwd=directory,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    rows = int(said.split()[0].replace(",", ""))
    resident = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return _Run(rows, wall, usage.ru_utime + usage.ru_stime, resident)


def _measure(url: str, options: argparse.Namespace) -> None:
    name = "sqlite" if url.startswith("sqlite") else "postgresql"
    fill(url, options.rows, options.devices)
    yardstick = measure_yardstick()
    frames = options.rows // options.devices // len(NAMES)
    end = BEGINNING + frames * SPACING
    third = BEGINNING + frames // PARTS * SPACING
    with tempfile.TemporaryDirectory() as directory:
        for shape, form, zone in RUNS:
            few = _export(url, Path(directory), shape, form, zone, third)
            all_ = _export(url, Path(directory), shape, form, zone, end)
            expected = frames * options.devices * (1 if shape == "wide" else len(NAMES))
            assert all_.rows == expected, all_
            rows, wall, cpu = all_.rows - few.rows, all_.wall_s - few.wall_s, all_.cpu_s - few.cpu_s
            print(
                f"| {name} | {shape} {form}{'' if zone == 'UTC' else f', {zone}'} | {cpu / rows / yardstick:.1f} |"
                f" {rows / cpu:.0f} | {rows / wall:.0f} | {few.resident_mb:.0f} | {all_.resident_mb:.0f} |"
                f" {yardstick * 1e6:.2f} |",
                flush=True,
            )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000, help="measurements that are stored")
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--database-url", help="a PostgreSQL server; else one is started for this run")
    options = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}:", end=" ")
    print(f"{options.rows} measurements of {options.devices} devices\n")
    print("| | | times csv.writer | rows per CPU second | per second of wall | MB, a third | MB, all | µs csv.writer |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    if options.database != "postgresql":
        with tempfile.TemporaryDirectory() as directory:
            _measure(f"sqlite:///{directory}/bench.db", options)
    if options.database != "sqlite":
        on_postgresql(options.database_url, lambda url: _measure(url, options))


if __name__ == "__main__":
    main()
