"""The quick way to an uplink gives what the thorough one gives, or leaves the body to it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import PushRejected, ReportUnreadableError
from receiver.thingpark.plain_body import MAX_PLAIN_BYTES
from receiver.thingpark.plain_uplink import read_plain_uplink
from receiver.thingpark.reports import MAX_RECEPTIONS, read_raw_report
from tests.unit.json_texts import json_object, json_values
from tests.unit.test_typed_body import LEAVES, UPLINK

PLAIN = UPLINK.replace('"DevLAT": 52.1,"DevLON": 5.2,"DevLocTime": "2026-11-20T08:30:00Z",', "")
MEMBERS = json.loads(PLAIN)["DevEUI_uplink"]
OTHERS = ["DevLAT", "DevLON", "AFCntDn", "Spfact", "BatteryTime", "DriverCfg", "LostUplinksAS", "NbTrans", "TxPower"]
NAMES = st.sampled_from(sorted(MEMBERS) + OTHERS)
INNER = st.sampled_from(["Lrr", "Lrrid", "Chain", "LrrRSSI", "name", "alr", "pro", "ver", "app", "mod", "pId", "mId"])
VALUES = json_values(INNER, LEAVES)


def said_by_the_thorough_way(raw: bytes):
    try:
        report, notes = read_raw_report(raw)
    except (PushRejected, ReportUnreadableError) as exc:
        return str(exc)
    return repr(tuple(report)), notes.sentence()


def holds(raw: bytes) -> bool:
    """Say whether the quick way gives the same, or nothing."""
    report = read_plain_uplink(raw)
    return report is None or (repr(tuple(report)), None) == said_by_the_thorough_way(raw)


def with_members(changes: dict[str, str]) -> bytes:
    members = {name: json.dumps(value, ensure_ascii=False) for name, value in MEMBERS.items()} | changes
    return json_object([("DevEUI_uplink", json_object(list(members.items())))]).encode()


def test_an_uplink_as_networks_send_it_is_read_the_quick_way():
    report = read_plain_uplink(PLAIN.encode())

    assert report is not None
    assert (repr(tuple(report)), None) == said_by_the_thorough_way(PLAIN.encode())


@given(NAMES, VALUES)
def test_any_value_of_a_member_is_read_as_the_thorough_way_reads_it(name, value):
    assert holds(with_members({name: value}))


@given(st.dictionaries(NAMES, LEAVES, max_size=6))
def test_any_values_of_some_members_are_read_as_the_thorough_way_reads_them(changes):
    assert holds(with_members(changes))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.sampled_from(["DevEUI_uplink", "DevEUI_location", "x"]))
def test_any_object_is_read_as_the_thorough_way_reads_it(pairs, kind):
    assert holds(json_object([(kind, json_object([("DevEUI", '"0059AC0000000001"'), *pairs]))]).encode())


@given(st.sampled_from(["Lrrid", "Chain", "LrrRSSI", "LrrSNR", "LrrESP", "x"]), VALUES)
def test_any_value_of_a_gateway_is_read_as_the_thorough_way_reads_it(name, value):
    gateway = json_object(list(({"Lrrid": '"FF01045A"', "LrrRSSI": "-110.5"} | {name: value}).items()))

    assert holds(with_members({"Lrrs": f'{{"Lrr": [{gateway}, {gateway}]}}'}))
    assert holds(with_members({"Lrrs": f'{{"Lrr": {gateway}}}'}))


@given(st.integers(0, len(PLAIN.encode())), st.binary(max_size=3))
def test_any_bytes_in_the_middle_are_read_as_the_thorough_way_reads_them(position, patch):
    raw = PLAIN.encode()

    assert holds(raw[:position] + patch + raw[position + len(patch) :])


def test_members_that_are_changed_one_by_one_are_read_the_quick_way():
    assert read_plain_uplink(with_members({"FCntUp": "4294967295", "Late": "1", "x": "[1]"})) is not None


@pytest.mark.shared
def test_all_real_bodies_are_read_as_the_thorough_way_reads_them(shared):
    bodies = [path.read_bytes() for path in (shared / "examples" / "reports").iterdir() if path.name != "index.json"]

    assert len(bodies) >= 80
    assert all(holds(raw) for raw in bodies)


def test_a_single_gateway_may_come_as_an_object():
    report = read_plain_uplink(with_members({"Lrrs": '{"Lrr": {"Lrrid": "FF01045A", "LrrRSSI": -90}}'}))

    assert report is not None
    assert [(one.lrr_id, one.rssi_dbm, one.latitude) for one in report.receptions] == [("FF01045A", -90.0, 52.106907)]


@pytest.mark.parametrize(
    "raw",
    [
        with_members({"DevLAT": "52.1", "DevLON": "5.2"}),
        with_members({"FPort": '"2"'}),
        with_members({"FPort": "256"}),
        with_members({"Time": '"yesterday"'}),
        with_members({"payload_hex": '"0a1"'}),
        with_members({"AppSKey": '"0a1b"'}),
        with_members({"Channel": f'"{"x" * 300}"'}),
        with_members({"CustomerData": '"{}"'}),
        with_members({"Lrrs": f'{{"Lrr": [{",".join(["{}"] * (MAX_RECEPTIONS + 1))}]}}'}),
        with_members({}).replace(b"DevEUI_uplink", b"DevEUI_location"),
        with_members({}).replace(b'"MType"', b'"FPort"'),
        with_members({}).replace(b"ACME", b"AC\\u004dE"),
        with_members({}).replace(b"ACME", b"AC\xffE"),
        with_members({"x": f'"{"y" * MAX_PLAIN_BYTES}"'}),
        b"",
        b"<DevEUI_uplink/>",
    ],
)
def test_what_is_not_as_most_uplinks_are_is_left_to_the_thorough_way(raw):
    assert read_plain_uplink(raw) is None
