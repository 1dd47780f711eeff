"""`receiver telemetry export` and `receiver uplinks export`, as a person types them."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from tests.integration.api_use import DEVICE, at, every, store_values
from tests.integration.command_line import CHECKOUT, run

LARGE = 150_000
SLOW = ("--shape", "wide", "--tz", "Europe/Amsterdam")


@pytest.fixture
def receiver(tmp_path, database_url):
    return lambda *arguments: run(tmp_path, database_url, *arguments)


@pytest.fixture
def values(engine):
    """Three values around the hour that the clock of Amsterdam shows twice."""
    moment = every("2026-10-25T00:30:00Z", minutes=30)
    store_values(engine, "t", [(moment(number), float(number)) for number in range(3)])


@pytest.fixture
def large(engine, now):
    store_values(engine, "t", [(now + timedelta(seconds=number), float(number)) for number in range(LARGE)])


def refused(answer, *words):
    """It was refused with one sentence that has these words."""
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("receiver: ")
    assert answer.stderr.count("\n") == 1, answer.stderr
    for word in words:
        assert word in answer.stderr


def left(tmp_path):
    """Give the names of what stands where exports go."""
    return sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(("receiver.db", "data")))


def test_standard_output_gets_csv_and_standard_error_the_count(receiver, values):
    answer = receiver("telemetry", "export", "--tz", "Europe/Amsterdam", "--since", "2026-10-25T02:15")

    assert (answer.returncode, answer.stderr) == (0, "3 rows.\n")
    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    assert [row["at"][11:19] + row["at"][26:] for row in rows] == ["02:30:00+02:00", "02:00:00+01:00", "02:30:00+01:00"]


def test_a_bound_without_an_offset_is_in_the_zone(receiver, values):
    def found(*options):
        answer = receiver("telemetry", "export", "--format", "ndjson", *options)
        return [json.loads(line)["value"] for line in answer.stdout.splitlines()]

    assert found("--since", "2026-10-25T01:00") == [1.0, 2.0]
    assert found("--since", "2026-10-25T02:15", "--tz", "Europe/Amsterdam") == [0.0, 1.0, 2.0]
    assert found("--until", "2026-10-25T02:15+01:00", "--tz", "Europe/Amsterdam") == [0.0, 1.0]


@pytest.mark.parametrize(
    ("name", "options", "begins"),
    [
        ("out.csv", (), b"dev_eui,"),
        ("out.NDJSON", (), b'{"dev_eui":'),
        ("out.jsonl", (), b'{"dev_eui":'),
        ("out.parquet", (), b"PAR1"),
        ("out.txt", (), b"dev_eui,"),
        ("out.csv", ("--format", "parquet"), b"PAR1"),
    ],
)
def test_the_ending_says_the_form_unless_told(receiver, values, tmp_path, name, options, begins):
    answer = receiver("telemetry", "export", "--out", name, "--shape", "wide", *options)

    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", f"3 rows in {name}.\n")
    assert (tmp_path / name).read_bytes().startswith(begins)
    assert left(tmp_path) == [name]


def test_telemetry_is_narrowed_by_device_and_name(receiver, engine, values, now):
    store_values(engine, "u", [(now, 5.0)])

    answer = receiver("telemetry", "export", "--device", DEVICE.lower(), "--name", "u", "--name", "v")

    assert [row["name"] for row in csv.DictReader(io.StringIO(answer.stdout))] == ["u"]


def test_uplinks_are_exported_into_a_file(receiver, field, tmp_path):
    network = field.connect()
    device = network.add_device(dev_eui=DEVICE)
    for number in range(3):
        field.take_and_read(network.uplink(device, f_port=1 + number % 2, payload=bytes([number])))
        field.wait(minutes=1)

    answer = receiver("uplinks", "export", "--out", "u.parquet", "--port", "1", "--connection", "field")

    assert (answer.returncode, answer.stderr) == (0, "2 rows in u.parquet.\n")
    assert pq.read_table(tmp_path / "u.parquet")["frm_payload"].to_pylist() == ["00", "02"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--device", "20635F0000000009"), ("no device 20635F0000000009",)),
        (("--tz", "Europe/Nowhere"), ("no zone 'Europe/Nowhere'", "Europe/Amsterdam")),
        (("--connection", "nobody"), ("no connection 'nobody'",)),
        (("--since", "2026-10-26"), ("nothing to export",)),
        (("--name", "lorawan.rssi"), ("no 'lorawan.rssi'", "lorawan.rssi_dbm")),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(receiver, values, tmp_path, options, words):
    refused(receiver("telemetry", "export", "--out", "out.csv", *options), *words)
    assert left(tmp_path) == []


def test_a_file_that_is_there_stays_unless_told(receiver, values, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to("out.csv")

    refused(receiver("telemetry", "export", "--out", "out.csv"), "is there already", "--overwrite")
    assert (tmp_path / "out.csv").read_text() == "mine"
    assert receiver("telemetry", "export", "--out", "link.csv", "--overwrite").returncode == 0
    assert (tmp_path / "out.csv").read_text().startswith("dev_eui,")
    assert (tmp_path / "link.csv").is_symlink()


def test_an_export_that_fails_leaves_the_file_that_was_there(receiver, values, tmp_path):
    (tmp_path / "out.csv").write_text("mine")

    refused(receiver("telemetry", "export", "--out", "out.csv", "--overwrite", "--since", "2027-01-01"), "nothing")

    assert (tmp_path / "out.csv").read_text() == "mine"
    assert left(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("out", ["/dev/null", ".", "missing/out.csv"])
def test_what_is_no_file_is_refused_even_if_it_may_be_overwritten(receiver, values, out):
    refused(receiver("telemetry", "export", "--out", out, "--overwrite"), out)


def test_parquet_needs_a_file(receiver, values):
    answer = receiver("telemetry", "export", "--format", "parquet")

    assert answer.returncode == 2
    assert "--out" in answer.stderr


def test_without_pyarrow_the_command_says_what_to_install(receiver, values, tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise ImportError('not installed')")  # found before the installed one

    refused(receiver("telemetry", "export", "--out", "out.parquet"), "pip install 'lora-receiver[parquet]'")
    assert receiver("telemetry", "export", "--out", "out.csv").returncode == 0


@pytest.mark.parametrize("name", ["out.csv", "out.ndjson", "out.parquet"])
def test_a_full_disk_is_told_and_leaves_nothing(large, tmp_path, database_url, name):
    limited = f"ulimit -f 64; exec {sys.executable} -m receiver telemetry export --out {name}"  # 64 kB or 32
    environment = {"PYTHONPATH": str(CHECKOUT), "RECEIVER_DATABASE_URL": database_url, "RECEIVER_KEK": "00" * 32}

    answer = subprocess.run(
        ["sh", "-c", limited],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "RECEIVER_DATA_DIR": str(tmp_path / "data"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    refused(answer, f"{name} cannot be written: File too large.")
    assert left(tmp_path) == []


def test_standard_output_that_is_full_is_told(tmp_path, database_url, large):
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        answer = _start(tmp_path, database_url, full)
        _, said = answer.communicate(timeout=60)

    assert answer.returncode == 1
    assert said == "receiver: Standard output was not written to its end: No space left on device.\n"


def test_a_reader_that_goes_away_is_told(tmp_path, database_url, large):
    with _start(tmp_path, database_url, subprocess.PIPE) as process:
        assert process.stdout.readline().startswith("dev_eui,")
        process.stdout.close()
        said = process.stderr.read()

    assert process.returncode == 1
    assert said == "receiver: Standard output was not written to its end: Broken pipe.\n"


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_stopped_leaves_no_file(tmp_path, database_url, large, signal_number):
    with _start(tmp_path, database_url, subprocess.PIPE, "--out", "out.ndjson", *SLOW) as process:
        deadline = time.monotonic() + 30
        while not any(path.stat().st_size for path in tmp_path.glob(".out.ndjson.*.part")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
        process.send_signal(signal_number)
        said = process.stderr.read()

    assert (process.returncode, said) == (1, "receiver: Stopped; nothing was written.\n")
    assert left(tmp_path) == []


def test_the_times_of_parquet_are_the_moments(receiver, values, tmp_path):
    receiver("telemetry", "export", "--out", "t.parquet", "--tz", "Europe/Amsterdam", "--shape", "wide")

    found = pq.read_table(tmp_path / "t.parquet")

    assert str(found.schema.field("at").type) == "timestamp[us, tz=Europe/Amsterdam]"
    assert [one.timestamp() for one in found["at"].to_pylist()] == [
        at(text).timestamp() for text in ("2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z")
    ]


def _start(tmp_path, database_url, output, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "receiver", "telemetry", "export", *options],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(CHECKOUT),
            "RECEIVER_DATABASE_URL": database_url,
            "RECEIVER_DATA_DIR": str(tmp_path / "data"),
            "RECEIVER_KEK": "00" * 32,
        },
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    )
