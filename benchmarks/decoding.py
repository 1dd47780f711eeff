"""Uplinks per second of CPU from `reports` to `telemetry`: read, decrypted, decoded by a script, measured.

    python -m benchmarks.decoding [--uplinks 20000] [--devices 1000] [--batch 200] [--database sqlite]

The reports are those of `benchmarks.reading`; the script is of the usual kind and gives eight measurements of each.
CPU is that of this process and of the one that runs JavaScript, on SQLite with the database's part; PostgreSQL's own
is not in it.
"""

from __future__ import annotations

import argparse
import gc
import os
import secrets
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta

import psutil
from sqlalchemy import func, select

from benchmarks.reading import BEGINNING, fill, measure_yardstick, on_postgresql
from receiver.codecs.engine import CodecEngine
from receiver.codecs.values import Codec, Signature
from receiver.keyring import Keyring
from receiver.services.codecs import Scope, add_codec, assign_codec
from receiver.services.decoding import Decoder
from receiver.services.reading import read_batch
from receiver.storage import schema
from receiver.storage.engine import open_engine, read
from receiver.storage.telemetry_tables import decodings, telemetry_values
from receiver.worker import COLLECT_AFTER

MEASUREMENTS = 8

SCRIPT = """
function signed(high, low) { var value = (high << 8) | low; return value > 0x7fff ? value - 0x10000 : value; }

function decodeUplink(input) {
    var bytes = input.bytes, data = {}, warnings = [];
    if (bytes.length < 12) return { errors: ["a payload of this device has 12 bytes at least"] };
    data.temperature = signed(bytes[0], bytes[1]) / 100;
    data.humidity = bytes[2] / 2;
    data.pressure = ((bytes[3] << 8) | bytes[4]) / 10;
    data.battery = ((bytes[5] << 8) | bytes[6]) / 1000;
    data.counter = (bytes[16] << 24 | bytes[17] << 16 | bytes[18] << 8 | bytes[19]) >>> 0;
    data.status = { moved: (bytes[7] & 1) === 1, tampered: (bytes[7] & 2) === 2 };
    data.status.mode = ["off", "eco", "on"][bytes[8] % 3];
    if (data.battery < 2.4) warnings.push("the battery is low");
    return { data: data, warnings: warnings };
}
"""


def _measure(url: str, options: argparse.Namespace) -> None:
    keyring = Keyring(secrets.token_bytes(32))
    schema.upgrade(url, BEGINNING)
    engine = open_engine(url)
    fill(engine, keyring, options.uplinks, options.devices)
    add_codec(engine, BEGINNING, "bench", Codec(Signature.LORA_ALLIANCE, SCRIPT, {"temperature": "Cel"}), None)
    assign_codec(engine, BEGINNING, "bench", Scope(connection="bench"))
    yardstick = measure_yardstick(engine)
    now = BEGINNING + timedelta(days=1)
    wall, cpu = time.perf_counter(), time.process_time()
    while read_batch(engine, keyring, now, options.batch):
        pass
    read_cpu = time.process_time() - cpu
    with CodecEngine() as codec_engine:
        decoder = Decoder(engine, codec_engine)
        while decoder.decode_batch(now, options.batch):
            pass
        times = psutil.Process(codec_engine.pid).cpu_times()
    script_cpu = times.user + times.system
    cpu, wall = time.process_time() - cpu + script_cpu, time.perf_counter() - wall
    yardstick = (yardstick + measure_yardstick(engine)) / 2
    with read(engine) as connection:
        states = connection.execute(select(decodings.c.state, func.count()).group_by(decodings.c.state)).all()
        assert [tuple(row) for row in states] == [("decoded", options.uplinks)], states
        values = connection.scalar(select(func.count()).select_from(telemetry_values))
        assert values == MEASUREMENTS * options.uplinks, values
    each = cpu / options.uplinks
    parts = [read_cpu, cpu - read_cpu - script_cpu, script_cpu]
    told = " | ".join(f"{part / options.uplinks * 1e6:.0f}" for part in parts)
    print(
        f"| {engine.dialect.name} | {each / yardstick:.1f} | {options.uplinks / cpu:.0f} |"
        f" {options.uplinks / wall:.0f} | {told} | {yardstick * 1e6:.1f} |",
        flush=True,
    )
    engine.dispose()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--uplinks", type=int, default=20_000)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=200, help="RECEIVER_READING_BATCH_ROWS")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--database-url", help="a PostgreSQL server; else one is started for this run")
    options = parser.parse_args()
    gc.set_threshold(COLLECT_AFTER)  # as in the worker
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}:", end=" ")
    print(f"{options.uplinks} uplinks of {options.devices} devices, {options.batch} in a batch\n")
    print(
        "| | times json.loads | uplinks per CPU second | per second of wall |"
        " µs reading | µs decoding | µs script | µs json.loads |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    if options.database != "postgresql":
        with tempfile.TemporaryDirectory() as directory:
            _measure(f"sqlite:///{directory}/bench.db", options)
    if options.database != "sqlite":
        on_postgresql(options.database_url, lambda url: _measure(url, options))


if __name__ == "__main__":
    main()
