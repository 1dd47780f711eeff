"""Telemetry over the API: values in order, the latest, and figures in buckets of local time."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from receiver.storage.engine import read
from receiver.storage.series_values import LORAWAN_NAMES
from tests.integration.api_use import (
    DEVICE,
    OTHER_DEVICE,
    assert_refused,
    at,
    client_of,
    decode_all,
    every,
    store_values,
    walk,
)


@pytest.fixture
def client(engine, keyring, now):
    return client_of(engine, keyring, now)


@pytest.fixture
def frames(field):
    """Six uplinks of two devices, with a decoding of two names each, the fourth without."""
    network = field.connect()
    devices = [network.add_device(dev_eui=dev_eui) for dev_eui in (DEVICE, OTHER_DEVICE)]
    for number in range(6):
        f_port = 1 if number < 4 else 2
        field.take_and_read(network.uplink(devices[number % 2], f_port=f_port, payload=bytes([number])))
        field.wait(minutes=1)
    decode_all(
        field.engine,
        field.now,
        lambda frame: {} if frame.frm_payload == b"\3" else {"b": frame.frm_payload[0], "a": -frame.frm_payload[0]},
    )
    return network, devices


def pairs(rows):
    return [(row["name"], row["value"]) for row in rows]


# --- values


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_the_values_of_a_device_come_newest_first_page_by_page(frames, client, limit):
    rows = walk(client, "/telemetry", "telemetry", limit, device=DEVICE)

    assert sorted({abs(value) for _, value in pairs(rows)}) == [0, 2, 4]
    assert [abs(value) for _, value in pairs(rows)] == [4, 4, 2, 2, 0, 0]
    assert len({(row["name"], row["at"]) for row in rows}) == 6
    assert walk(client, "/telemetry", "telemetry", limit, device=DEVICE, order="oldest") == rows[::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_the_values_of_all_devices_come_uplink_by_uplink(frames, client, limit, order):
    rows = walk(client, "/telemetry", "telemetry", limit, order=order)

    uplinks = [0, 1, 2, 4, 5] if order == "oldest" else [5, 4, 2, 1, 0]
    assert pairs(rows) == [(name, value) for number in uplinks for name, value in (("a", -number), ("b", number))]


def test_values_can_be_narrowed(frames, client, now):
    def found(**parameters):
        return pairs(client.get("/telemetry", params=parameters).json()["telemetry"])

    half = (now + timedelta(minutes=2, seconds=30)).isoformat()
    assert found(name="b") == [("b", 5), ("b", 4), ("b", 2), ("b", 1), ("b", 0)]
    assert found(name="b", device=DEVICE) == [("b", 4), ("b", 2), ("b", 0)]
    assert found(name=["a", "b"], since=half) == [("a", -5), ("b", 5), ("a", -4), ("b", 4)]
    assert found(name="b", until=half, connection="field") == [("b", 2), ("b", 1), ("b", 0)]
    assert found(name="b", device=DEVICE, connection="field") == [("b", 4), ("b", 2), ("b", 0)]
    assert found(name="b", device=OTHER_DEVICE, port=2) == [("b", 5)]
    assert found(name="b", port=2) == [("b", 5), ("b", 4)]
    assert found(name="c") == []
    assert found(device="20635F0000000009") == []


def test_a_value_is_a_number_a_word_or_true_or_false(engine, client, now):
    for name, value in (("door", True), ("window", False), ("state", "good"), ("level", 2.5)):
        store_values(engine, name, [(now, value)])

    rows = client.get("/telemetry", params={"device": DEVICE}).json()["telemetry"]

    assert dict(pairs(rows)) == {"door": True, "window": False, "state": "good", "level": 2.5}
    assert {row["unit"] for row in rows} == {"Cel"}


@pytest.mark.parametrize("name", LORAWAN_NAMES)
def test_what_lorawan_itself_measures_is_that_of_the_view(frames, client, field, name):
    network, devices = frames
    field.take_and_read(network.device_status(devices[0], battery_level=127, margin_db=7))
    query = "SELECT value FROM lorawan_telemetry WHERE dev_eui = :device AND name = :name ORDER BY at DESC"
    with read(field.engine) as tx:
        in_view = list(tx.scalars(text(query), {"device": DEVICE, "name": name}))

    rows = client.get("/telemetry", params={"device": DEVICE, "name": name}).json()["telemetry"]

    assert [row["value"] for row in rows] == in_view
    assert in_view


# --- the latest


def test_the_latest_are_one_value_of_each_measurement(frames, client):
    rows = walk(client, "/telemetry/latest", "telemetry", 1)

    assert [(row["dev_eui"], row["name"], row["value"]) for row in rows] == [
        (DEVICE, "a", -4),
        (DEVICE, "b", 4),
        (OTHER_DEVICE, "a", -5),
        (OTHER_DEVICE, "b", 5),
    ]
    assert walk(client, "/telemetry/latest", "telemetry", 3, device=DEVICE) == rows[:2]
    assert walk(client, "/telemetry/latest", "telemetry", 1, name="b") == [rows[1], rows[3]]


@pytest.mark.parametrize("limit", [1, 100])
def test_lorawan_itself_is_among_the_latest_of_a_device_when_asked(frames, client, limit):
    names = ["lorawan.rssi_dbm", "b", "zinc"]

    rows = walk(client, "/telemetry/latest", "telemetry", limit, device=DEVICE, name=names)

    assert [row["name"] for row in rows] == ["b", "lorawan.rssi_dbm"]


# --- buckets


def bucket_rows(client, **parameters):
    return walk(client, "/telemetry", "buckets", 1000, device=DEVICE, order="oldest", **parameters)


def test_a_bucket_has_the_figures_of_its_values(engine, client):
    moment = every("2026-11-20T08:00:00+00:00", minutes=10)
    store_values(engine, "t", [(moment(number), value) for number, value in enumerate([5, 1, 9, 4, 3, 8, 7])])

    rows = bucket_rows(client, bucket="1h")

    assert rows == [
        {
            "dev_eui": DEVICE,
            "start": "2026-11-20T08:00:00Z",
            "name": "t",
            "unit": "Cel",
            "count": 6,
            "min": 1.0,
            "max": 9.0,
            "mean": 5.0,
            "first": 5.0,
            "last": 8.0,
        },
        {
            "dev_eui": DEVICE,
            "start": "2026-11-20T09:00:00Z",
            "name": "t",
            "unit": "Cel",
            "count": 1,
            "min": 7.0,
            "max": 7.0,
            "mean": 7.0,
            "first": 7.0,
            "last": 7.0,
        },
    ]
    assert client.get("/telemetry", params={"device": DEVICE, "bucket": "1h"}).json()["buckets"] == rows[::-1]


def test_of_values_of_one_time_the_uplinks_order_says_which_is_first_and_last(engine, client, now):
    store_values(engine, "t", [(now, 3), (now, 1), (now, 2)])

    [row] = bucket_rows(client, bucket="1d")

    assert (row["first"], row["last"]) == (3, 2)


def test_true_and_false_count_as_1_and_0_and_texts_not_at_all(engine, client, now):
    moment = every(now.isoformat(), minutes=1)
    store_values(engine, "door", [(moment(n), value) for n, value in enumerate(["?", True, True, False, True, "?"])])
    store_values(engine, "state", [(now, "good")])

    [row] = bucket_rows(client, bucket="1d")

    assert [row[name] for name in ("name", "count", "min", "max", "mean", "first", "last")] == [
        *("door", 4, 0, 1, 0.75, 1, 1)
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize(("zone", "bucket"), [("Europe/Amsterdam", "1h"), ("Australia/Lord_Howe", "1d")])
def test_pages_of_buckets_hold_the_same_as_one(engine, client, limit, order, zone, bucket):
    for name, begin in (("a", "2026-10-24T20:00:00+00:00"), ("b", "2026-10-25T00:10:00+00:00")):
        moment = every(begin, minutes=23)
        store_values(engine, name, [(moment(number), number) for number in range(20)])
    asked = {"device": DEVICE, "bucket": bucket, "tz": zone}
    whole = client.get("/telemetry", params={**asked, "limit": 10_000}).json()["buckets"]

    rows, cursor = [], None
    while True:
        page = client.get(
            "/telemetry", params={**asked, "limit": limit, "order": order} | ({"cursor": cursor} if cursor else {})
        ).json()
        assert len(page["buckets"]) <= max(limit, 2)
        rows += page["buckets"]
        if (cursor := page["next_cursor"]) is None:
            break

    assert sum(row["count"] for row in whole) == 40

    def key(row):
        return at(row["start"]), row["name"]

    assert sorted(rows, key=key) == sorted(whole, key=key)
    assert [at(row["start"]) for row in rows] == sorted((at(row["start"]) for row in rows), reverse=order == "newest")


def test_days_follow_the_clock_of_the_zone(engine, client):
    moment = every("2026-10-22T22:30:00+00:00", hours=1)
    store_values(engine, "t", [(moment(number), number) for number in range(24 * 5)])

    days = {row["start"]: row["count"] for row in bucket_rows(client, bucket="1d", tz="Europe/Amsterdam")}

    assert days == {
        "2026-10-23T00:00:00+02:00": 24,
        "2026-10-24T00:00:00+02:00": 24,
        "2026-10-25T00:00:00+02:00": 25,
        "2026-10-26T00:00:00+01:00": 24,
        "2026-10-27T00:00:00+01:00": 23,
    }


def test_the_hour_that_comes_twice_is_two_buckets(engine, client):
    moment = every("2026-10-25T00:00:00+00:00", minutes=30)
    store_values(engine, "t", [(moment(number), number) for number in range(4)])

    rows = bucket_rows(client, bucket="1h", tz="Europe/Amsterdam")

    assert [(row["start"], row["count"]) for row in rows] == [
        ("2026-10-25T02:00:00+02:00", 2),
        ("2026-10-25T02:00:00+01:00", 2),
    ]


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"])
@pytest.mark.parametrize("bucket", ["1h", "6h", "1d", "1w"])
def test_figures_are_those_of_the_values_themselves(engine, client, zone, bucket):
    moment = every("2026-10-02T00:00:07+00:00", minutes=97)
    values = [(moment(number), (number * 7919) % 1000 / 8) for number in range(600)]
    store_values(engine, "t", values)

    rows = bucket_rows(client, bucket=bucket, tz=zone)

    begins = [at(row["start"]) for row in rows] + [values[-1][0] + timedelta(days=1)]
    for row, begin, end in zip(rows, begins, begins[1:], strict=False):
        inside = [value for moment, value in values if begin <= moment < end]
        assert [row[name] for name in ("count", "min", "max", "first", "last")] == [
            *(len(inside), min(inside), max(inside), inside[0], inside[-1])
        ]
        assert row["mean"] == pytest.approx(sum(inside) / len(inside))
        assert at(row["start"]).astimezone(ZoneInfo(zone)).isoformat() == row["start"]


def test_a_range_that_begins_amid_a_bucket_gives_what_is_in_it(engine, client):
    moment = every("2026-11-20T08:00:00+00:00", minutes=10)
    store_values(engine, "t", [(moment(number), number) for number in range(12)])

    rows = bucket_rows(client, bucket="1h", since="2026-11-20T08:30:00Z", until="2026-11-20T09:10:00Z")

    assert [(row["start"], row["count"]) for row in rows] == [("2026-11-20T08:00:00Z", 3), ("2026-11-20T09:00:00Z", 1)]


def test_what_lorawan_itself_measures_has_buckets_too(frames, client):
    [row] = bucket_rows(client, bucket="1d", name="lorawan.rssi_dbm")

    assert (row["count"], row["unit"]) == (3, "dBm")
    assert row["min"] <= row["first"] <= row["max"] < 0


def test_more_than_ten_measurements_are_to_be_chosen_from(engine, client, now):
    for number in range(11):
        store_values(engine, f"t{number}", [(now, number)])

    assert_refused(client.get("/telemetry", params={"device": DEVICE, "bucket": "1h"}), "name")
    assert len(bucket_rows(client, bucket="1h", name=[f"t{number}" for number in range(10)])) == 10


# --- wrong calls


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("device=x", "device"),
        ("bucket=1h", "device"),
        (f"device={DEVICE}&bucket=7m", "bucket"),
        (f"device={DEVICE}&bucket=", "bucket"),
        (f"device={DEVICE}&bucket=1h&tz=Mars", "tz"),
        (f"device={DEVICE}&bucket=1h&tz=../../etc/passwd", "tz"),
        (f"device={DEVICE}&tz=UTC", "tz"),
        (f"device={DEVICE}&bucket=1h&connection=field", "connection"),
        (f"device={DEVICE}&bucket=1h&port=2", "port"),
        (f"device={DEVICE}&port=2&name=lorawan.snr_db", "name"),
        ("connection=nobody", "connection"),
        ("name=lorawan.rssi_dbm", "name"),
        (f"device={DEVICE}&name=lorawan.colour", "name"),
        ("name=", "name"),
        ("name=%00", "name"),
        ("limit=1001", "limit"),
        (f"device={DEVICE}&bucket=1h&limit=10001", "limit"),
        ("order=up", "order"),
        ("cursor=x", "cursor"),
        ("port=256", "port"),
        ("&".join(f"name=n{number}" for number in range(51)), "name"),
    ],
)
def test_a_wrong_parameter_is_named(client, query, parameter):
    assert_refused(client.get(f"/telemetry?{query}"), parameter)


@pytest.mark.parametrize(("query", "parameter"), [("since=2026-01-01", "since"), ("name=lorawan.snr_db", "name")])
def test_a_wrong_parameter_of_the_latest_is_named(client, query, parameter):
    assert_refused(client.get(f"/telemetry/latest?{query}"), parameter)
