"""Exports of telemetry and uplinks: every row once, its kind kept, in the same memory whatever the size."""

from __future__ import annotations

import csv
import io
import json
import random
import tracemalloc
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from receiver.errors import ExportError, NotFoundError
from receiver.services.export import export_telemetry, export_uplinks, get_connection_id
from receiver.services.export_parquet import GROUP_CELLS, ParquetWriter
from receiver.services.export_selection import Selection
from receiver.services.export_table import Column, Form, Kind, Shape, rows_of_chunk
from receiver.services.export_wide import MOST_MEASUREMENTS
from receiver.storage.engine import read, write
from receiver.storage.export_reader import Narrowing
from receiver.storage.export_values import PAGE_ROWS
from receiver.storage.series_values import LORAWAN_NAMES, lorawan_series
from receiver.storage.telemetry import SeriesKey, ensure_series
from receiver.storage.telemetry_queries import list_series, list_values
from receiver.storage.uplink_queries import list_uplinks
from tests.integration.api_use import DEVICE, OTHER_DEVICE, at, decode_all, every, store_values

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
UTC_ZONE = ZoneInfo("UTC")


def written(engine, form=Form.NDJSON, shape=Shape.LONG, zone=UTC_ZONE, **selection):
    """Give the bytes of an export of telemetry."""
    file = io.BytesIO()
    for _ in export_telemetry(engine, Selection(**selection), shape, form, file, zone):
        pass
    return file.getvalue()


def objects(engine, shape=Shape.LONG, **selection):
    return [json.loads(line) for line in written(engine, Form.NDJSON, shape, **selection).splitlines()]


def table(engine, shape=Shape.LONG, **selection):
    return pq.read_table(pa.BufferReader(written(engine, Form.PARQUET, shape, **selection)))


def cells(data):
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@pytest.fixture
def kinds(engine, now):
    """A measurement of each kind, of one uplink, and one of another device."""
    for name, value in (("door", True), ("state", "=1+1"), ("level", 2.5), ("window", False)):
        store_values(engine, name, [(now, value)], unit="")
    store_values(engine, "level", [(now, -4.0)], unit="m", dev_eui=OTHER_DEVICE, first_uplink_id=2)


@pytest.fixture
def frames(field):
    """Six uplinks of two devices by two connections, with a decoding of two names each, and a device's status."""
    networks = [field.connect(), field.connect("second")]
    devices = [network.add_device(dev_eui=eui) for network, eui in zip(networks, (DEVICE, OTHER_DEVICE), strict=True)]
    for number in range(6):
        push = networks[number % 2].uplink(devices[number % 2], f_port=1 + number // 4, payload=bytes([number]))
        field.take_and_read(push, name=("field", "second")[number % 2])
        field.wait(minutes=1)
    field.take_and_read(networks[0].device_status(devices[0], battery_level=127, margin_db=7))
    decode_all(field.engine, field.now, lambda frame: {"b": frame.frm_payload[0], "a": -frame.frm_payload[0]})
    return field


class Nowhere(io.RawIOBase):
    """A file that keeps nothing."""

    def writable(self):
        return True

    def write(self, data):
        return len(data)


# --- long


def test_a_long_csv_has_numbers_in_value_and_words_in_text(engine, kinds):
    assert cells(written(engine, Form.CSV)) == [
        ["dev_eui", "device", "at", "name", "value", "text", "unit", "uplink_id"],
        [DEVICE, "", "2026-11-20T12:00:00.000000Z", "door", "1.0", "true", "", "1"],
        [DEVICE, "", "2026-11-20T12:00:00.000000Z", "level", "2.5", "", "", "1"],
        [DEVICE, "", "2026-11-20T12:00:00.000000Z", "state", "", "'=1+1", "", "1"],
        [DEVICE, "", "2026-11-20T12:00:00.000000Z", "window", "0.0", "false", "", "1"],
        [OTHER_DEVICE, "", "2026-11-20T12:00:00.000000Z", "level", "-4.0", "", "m", "2"],
    ]


def test_a_long_ndjson_has_each_value_as_it_is(engine, kinds):
    rows = objects(engine)

    assert list(rows[0]) == ["dev_eui", "device", "at", "name", "value", "unit", "uplink_id"]
    assert [row["value"] for row in rows] == [True, 2.5, "=1+1", False, -4.0]
    assert [row["unit"] for row in rows] == [None, None, None, None, "m"]


def test_a_long_parquet_has_typed_columns(engine, kinds, now):
    found = table(engine, zone=AMSTERDAM)

    assert {field.name: str(field.type) for field in found.schema} == {
        "dev_eui": "string",
        "device": "string",
        "at": "timestamp[us, tz=Europe/Amsterdam]",
        "name": "string",
        "value": "double",
        "text": "string",
        "unit": "string",
        "uplink_id": "int64",
    }
    assert found["value"].to_pylist() == [1.0, 2.5, None, 0.0, -4.0]
    assert found["text"].to_pylist() == ["true", None, "=1+1", "false", None]
    assert set(found["at"].to_pylist()) == {now}


def test_a_device_has_its_name_beside_it(frames):
    names = {row["dev_eui"]: row["device"] for row in objects(frames.engine)}

    with read(frames.engine) as tx:
        assert names == {uplink.dev_eui: uplink.device for uplink in list_uplinks(tx, limit=10)}


@pytest.mark.parametrize(
    "narrowed",
    [
        {},
        {"dev_euis": (DEVICE,)},
        {"names": ("p", "q")},
        {"since": 40, "until": 90},
        {"dev_euis": (OTHER_DEVICE,), "names": ("q",), "since": 10},
    ],
    ids=str,
)
def test_a_long_export_is_what_the_api_reads(engine, now, narrowed):
    chance = random.Random(str(narrowed))  # noqa: S311 - the same each time
    for dev_eui in (DEVICE, OTHER_DEVICE):
        for name, unit in (("p", "Cel"), ("p", "K"), ("q", ""), ("r", "")):
            moments = sorted(chance.sample(range(120), 60))
            values = [chance.choice([chance.uniform(-1e6, 1e6), 'some, "text"\n', True, False, "é'"]) for _ in moments]
            pairs = [(now + timedelta(minutes=m, microseconds=m), v) for m, v in zip(moments, values, strict=True)]
            store_values(engine, name, pairs, dev_eui=dev_eui, unit=unit)
    bounds = {key: now + timedelta(minutes=narrowed[key]) for key in ("since", "until") if key in narrowed}
    expected = []
    with read(engine) as tx:
        for dev_eui in narrowed.get("dev_euis", (DEVICE, OTHER_DEVICE)):
            for one in list_series(tx, dev_eui, narrowed.get("names")):
                expected += list_values(tx, [one], limit=1000, oldest_first=True, **bounds)[0]

    rows = objects(
        engine,
        narrowing=Narrowing(**bounds),
        **{key: narrowed[key] for key in ("dev_euis", "names") if key in narrowed},
    )

    assert [
        (row["dev_eui"], at(row["at"]), row["name"], row["value"], row["unit"], row["uplink_id"]) for row in rows
    ] == [(one.dev_eui, one.at, one.name, one.value, one.unit, one.uplink_id) for one in expected]
    assert rows


def test_what_lorawan_itself_measures_is_that_of_the_api(frames):
    with read(frames.engine) as tx:
        expected = [
            (one.name, one.at, one.value, one.unit, one.uplink_id)
            for series in sorted(lorawan_series(DEVICE, LORAWAN_NAMES), key=lambda one: one.name)
            for one in list_values(tx, [series], limit=100, oldest_first=True)[0]
        ]

    rows = objects(frames.engine, dev_euis=(DEVICE,), names=LORAWAN_NAMES)

    assert [(row["name"], at(row["at"]), row["value"], row["unit"], row["uplink_id"]) for row in rows] == expected
    assert {"lorawan.battery_percent", "lorawan.rssi_dbm"} <= {row["name"] for row in rows}


def test_lorawan_comes_beside_measurements_when_asked_for(frames):
    names = {row["name"] for row in objects(frames.engine, lorawan=True, names=("a",))}

    assert "a" in names
    assert "b" not in names
    assert {"lorawan.snr_db", "lorawan.margin_db"} < names
    assert {row["name"] for row in objects(frames.engine)} == {"a", "b"}


@pytest.mark.parametrize("shape", Shape)
def test_rows_can_be_narrowed_by_the_uplink_behind_them(frames, shape):
    def found(**narrowing):
        rows = objects(frames.engine, shape, lorawan=True, narrowing=Narrowing(**narrowing))
        assert all(row["uplink_id"] for row in rows)  # no uplink brought a status
        return sorted({row["uplink_id"] for row in rows})

    second = get_connection_id(frames.engine, "second")
    assert found(f_port=1) == [1, 2, 3, 4]
    assert found(connection_id=second) == [2, 4, 6]
    assert found(connection_id=second, f_port=2) == [6]


def test_a_series_of_many_pages_has_every_value_once(engine, now):
    moment = every(now.isoformat(), seconds=1)
    store_values(engine, "t", [(moment(number // 3), float(number)) for number in range(2 * PAGE_ROWS + 7)])

    assert [row["value"] for row in objects(engine)] == list(range(2 * PAGE_ROWS + 7))


# --- times


def test_times_stand_in_the_zone_with_their_offset_when_the_clock_changes(engine):
    moment = every("2026-10-25T00:30:00Z", minutes=30)
    store_values(engine, "t", [(moment(number), number) for number in range(3)])

    for rows in (objects(engine, zone=AMSTERDAM), objects(engine, Shape.WIDE, zone=AMSTERDAM)):
        assert [row["at"] for row in rows] == [
            "2026-10-25T02:30:00.000000+02:00",
            "2026-10-25T02:00:00.000000+01:00",
            "2026-10-25T02:30:00.000000+01:00",
        ]
    assert [row[2] for row in cells(written(engine, Form.CSV, zone=AMSTERDAM))[1:]] == [row["at"] for row in rows]
    in_parquet = table(engine, zone=AMSTERDAM)["at"].to_pylist()
    assert [one.astimezone(UTC) for one in in_parquet] == [moment(number) for number in range(3)]


def test_a_time_beyond_the_years_of_a_zone_stays_in_utc(engine):
    store_values(engine, "t", [(datetime(1, 1, 1, tzinfo=UTC), 1.0), (datetime(9999, 12, 31, 23, tzinfo=UTC), 2.0)])

    west, east = objects(engine, zone=ZoneInfo("America/New_York")), objects(engine, zone=ZoneInfo("Asia/Tokyo"))

    assert [row["at"] for row in west] == ["0001-01-01T00:00:00.000000Z", "9999-12-31T18:00:00.000000-05:00"]
    assert east[1]["at"] == "9999-12-31T23:00:00.000000Z"


# --- wide


def test_a_wide_export_has_a_row_for_each_time_and_a_column_for_each_measurement(engine, now):
    later = now + timedelta(minutes=1)
    store_values(engine, "t", [(now, 1.0), (later, 2.0)], unit="Cel")
    store_values(engine, "t", [(later, 35.6)], unit="degF", dev_eui=OTHER_DEVICE, first_uplink_id=9)
    store_values(engine, "door", [(later, True)], unit="", first_uplink_id=2)

    assert cells(written(engine, Form.CSV, Shape.WIDE)) == [
        ["dev_eui", "device", "at", "uplink_id", "door", "t [Cel]", "t [degF]"],
        [DEVICE, "", "2026-11-20T12:00:00.000000Z", "1", "", "1.0", ""],
        [DEVICE, "", "2026-11-20T12:01:00.000000Z", "2", "true", "2.0", ""],
        [OTHER_DEVICE, "", "2026-11-20T12:01:00.000000Z", "9", "", "", "35.6"],
    ]
    [first, *_] = objects(engine, Shape.WIDE)
    assert list(first.items())[3:] == [("uplink_id", 1), ("door", None), ("t [Cel]", 1.0), ("t [degF]", None)]


def test_two_uplinks_of_one_time_are_two_rows(engine, now):
    store_values(engine, "t", [(now, 1.0)], first_uplink_id=1)
    store_values(engine, "t", [(now, 2.0)], first_uplink_id=2)
    store_values(engine, "u", [(now, 3.0)], first_uplink_id=2)

    rows = objects(engine, Shape.WIDE)

    assert [(row["uplink_id"], row["t"], row["u"]) for row in rows] == [(1, 1.0, None), (2, 2.0, 3.0)]


def test_a_column_of_wide_parquet_has_the_kind_of_its_values(engine, kinds, now):
    store_values(engine, "mixed", [(now, 1.5), (now + timedelta(minutes=1), "off")], unit="")
    store_values(engine, "two", [(now, True)], unit="")
    store_values(engine, "two", [(now, 1.0)], unit="", dev_eui=OTHER_DEVICE, first_uplink_id=2)

    found = table(engine, Shape.WIDE)

    types = {field.name: str(field.type) for field in found.schema}
    assert {name: types[name] for name in found.column_names[4:]} == {
        "door": "bool",
        "level": "double",
        "level [m]": "double",
        "mixed": "string",
        "state": "string",
        "two": "string",
        "window": "bool",
    }
    assert found["door"].to_pylist() == [True, None, None]
    assert found["mixed"].to_pylist() == ["1.5", "off", None]
    assert found["two"].to_pylist() == ["true", None, "1.0"]


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_export_is_the_long_one_turned(engine, now, seed):
    chance = random.Random(seed)  # noqa: S311 - the same each time
    counts = (PAGE_ROWS + chance.randrange(2000), chance.randrange(1, 300), 2500)
    for name, count in zip("pqr", counts, strict=True):
        moments = sorted(chance.sample(range(PAGE_ROWS * 2), count))
        rows = [(now + timedelta(seconds=moment), float(moment)) for moment in moments]
        store_values(engine, name, rows, unit="", first_uplink_id=chance.randrange(1, 3))

    turned = {}
    for row in objects(engine):
        turned.setdefault((row["at"], row["uplink_id"]), {})[row["name"]] = row["value"]
    wide = objects(engine, Shape.WIDE)

    assert [(row["at"], row["uplink_id"]) for row in wide] == sorted(turned)
    assert {
        (row["at"], row["uplink_id"]): {name: row[name] for name in "pqr" if row[name] is not None} for row in wide
    } == turned


def test_a_status_of_lorawan_has_a_row_of_its_own_without_an_uplink(frames):
    rows = objects(frames.engine, Shape.WIDE, dev_euis=(DEVICE,), lorawan=True)

    [status] = [row for row in rows if row["uplink_id"] is None]
    assert (status["lorawan.battery_percent"], status["lorawan.margin_db"], status["a"]) == (50.0, 7.0, None)
    assert all(row["lorawan.rssi_dbm"] is not None and row["a"] is not None for row in rows if row is not status)


def test_more_measurements_than_a_table_may_have_are_refused(engine, now):
    store_values(engine, "t", [(now, 1.0)])
    with write(engine) as tx:
        ensure_series(tx, [SeriesKey(DEVICE, f"name{number}", "") for number in range(MOST_MEASUREMENTS)])

    with pytest.raises(ExportError, match="more than 1000 measurements"):
        written(engine, Form.CSV, Shape.WIDE)
    assert len(objects(engine, Shape.WIDE, names=("t",))) == 1


# --- uplinks


@pytest.mark.parametrize(
    ("narrowed", "ids"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"dev_euis": (DEVICE,)}, [1, 3, 5]),
        ({"f_port": 2}, [5, 6]),
        ({"since": 1.5, "until": 3.5}, [3, 4]),
    ],
)
def test_uplinks_are_those_of_the_api_the_oldest_first(frames, now, narrowed, ids):
    bounds = {key: now + timedelta(minutes=narrowed[key]) for key in ("since", "until") if key in narrowed}
    narrowing = Narrowing(f_port=narrowed.get("f_port"), **bounds)
    file = io.BytesIO()

    for _ in export_uplinks(frames.engine, narrowed.get("dev_euis", ()), narrowing, Form.NDJSON, file, UTC_ZONE):
        pass

    rows = [json.loads(line) for line in file.getvalue().splitlines()]
    with read(frames.engine) as tx:
        views = {view.id: view for view in list_uplinks(tx, limit=10)}
    assert [row["id"] for row in rows] == ids
    for row in rows:
        view = views[row["id"]]
        times = {name: at(row[name]) for name in ("at", "received_at")}
        assert row | times == {name: getattr(view, name) for name in view.__slots__}


@pytest.mark.parametrize("form", Form)
def test_uplinks_have_every_form(frames, form):
    file = io.BytesIO()
    second = get_connection_id(frames.engine, "second")

    for _ in export_uplinks(frames.engine, (), Narrowing(connection_id=second), form, file, AMSTERDAM):
        pass

    if form is Form.PARQUET:
        found = pq.read_table(pa.BufferReader(file.getvalue()))
        assert found["frm_payload"].to_pylist() == ["01", "03", "05"]
        assert str(found.schema.field("late").type) == "bool"
        assert str(found.schema.field("rssi_dbm").type) == "double"
    elif form is Form.CSV:
        rows = list(csv.DictReader(io.StringIO(file.getvalue().decode(), newline="")))
        assert [row["frm_payload"] for row in rows] == ["01", "03", "05"]
        assert {row["late"] for row in rows} == {"false"}
        assert rows[0]["at"].endswith("+01:00")
    else:
        assert [json.loads(line)["connection"] for line in file.getvalue().splitlines()] == ["second"] * 3


# --- refusals and bounds


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("form", Form)
def test_nothing_to_export_is_told_and_nothing_is_written(engine, kinds, now, form, shape):
    file = io.BytesIO()
    selection = Selection(narrowing=Narrowing(since=now + timedelta(hours=1)))

    with pytest.raises(ExportError, match="nothing to export"):
        list(export_telemetry(engine, selection, shape, form, file, UTC_ZONE))
    assert file.getvalue() == b""


@pytest.mark.parametrize(
    ("selection", "said"),
    [({"dev_euis": ("20635F0000000009",)}, "no device"), ({"names": ("lorawan.rssi",)}, "lorawan.rssi_dbm")],
)
def test_what_is_not_known_is_told(engine, kinds, selection, said):
    with pytest.raises(NotFoundError, match=said):
        written(engine, **selection)
    with pytest.raises(NotFoundError, match="There is no connection"):
        get_connection_id(engine, "nobody")


def test_an_export_of_three_times_the_rows_needs_no_more_memory(engine, now):
    rows = 3 * 25_000
    for name in "pq":
        store_values(engine, name, [(now + timedelta(seconds=number), float(number)) for number in range(rows)])

    def peak(part, shape, form):
        selection = Selection(narrowing=Narrowing(until=now + timedelta(seconds=part)))
        tracemalloc.start()
        try:
            *_, last = export_telemetry(engine, selection, shape, form, Nowhere(), AMSTERDAM)
            return last, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    for shape, form in ((Shape.LONG, Form.NDJSON), (Shape.WIDE, Form.CSV)):  # the other two are written the same way
        peak(1000, shape, form)  # what is loaded or compiled once
        few, small = peak(rows // 3, shape, form)
        many, large = peak(rows, shape, form)
        assert many == 3 * few
        assert large < 1.15 * small


def test_parquet_of_three_times_the_rows_needs_no_more_memory():
    columns = [Column("at", Kind.TIME), Column("value", Kind.NUMBER)]
    rows = rows_of_chunk(len(columns))

    def peak(chunks):
        writer, most = ParquetWriter(Nowhere(), columns, AMSTERDAM), 0
        for _ in range(chunks):
            writer.write([["2026-11-20T12:00:00.000000Z"] * rows, [1.5] * rows])
            most = max(most, pa.total_allocated_bytes())
        writer.close()
        return most

    group = GROUP_CELLS // (rows * len(columns))
    assert peak(6 * group) < 1.15 * peak(2 * group)


def test_a_large_parquet_file_has_several_row_groups(engine, now):
    for dev_eui in (DEVICE, OTHER_DEVICE):
        store_values(
            engine, "t", [(now + timedelta(seconds=n), float(n)) for n in range(75_000)], dev_eui=dev_eui, unit=""
        )

    file = pq.ParquetFile(pa.BufferReader(written(engine, Form.PARQUET)))

    assert file.metadata.num_rows == 150_000
    assert file.metadata.num_row_groups == 2


def test_no_transaction_is_open_between_two_chunks(engine, now, database_kind):
    store_values(engine, "t", [(now + timedelta(seconds=n), float(n)) for n in range(2 * PAGE_ROWS + 1)])
    rows = export_telemetry(engine, Selection(), Shape.LONG, Form.CSV, io.BytesIO(), UTC_ZONE)
    next(rows)

    with engine.connect() as other:
        if database_kind == "sqlite":
            busy, log, checkpointed = other.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            assert (busy, log, checkpointed) == (0, 0, 0)
        else:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%%'"
            )
            assert other.exec_driver_sql(query).scalar() == 0
    assert list(rows)[-1] == 2 * PAGE_ROWS + 1
