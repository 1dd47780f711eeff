"""Messages of KPN Things, read into the database: uplinks, positions, values, devices; each of them once."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from receiver.errors import IdentifierError
from receiver.services.devices import iterate_devices
from receiver.services.things_devices import list_mapped_devices, map_things_device
from receiver.services.tunnel_keys import list_tunnel_keys
from receiver.storage.decoded_uplinks import list_decoded_uplinks
from receiver.storage.engine import read
from receiver.storage.event_tables import events
from receiver.storage.redecoding import list_standing_values
from receiver.storage.tables import deliveries, devices, locations, reports, uplinks
from receiver.storage.telemetry import delete_values_of
from receiver.storage.telemetry_tables import decodings, telemetry_values, undecoded
from tests.integration.inbox_use import DUPLICATE, STORED
from tests.integration.things_use import DEV_EUI, add_things, extended, message, take

UUID = "737b588b-547e-45d3-96d0-f79723291bf1"
BY_UUID = f"DVNUUID:{UUID}"
TEMPERATURE = {"n": "temperature", "u": "Cel", "v": 21.5}
BATTERY = {"n": "battery", "u": "%", "vs": "32.0"}
FIX = [
    {"n": "locOrigin", "vs": "KPNLORA"},
    {"n": "latitude", "u": "lat", "v": 52.25},
    {"n": "longitude", "u": "lon", "v": 4.5},
    {"n": "radius", "u": "m", "v": 356.5},
    {"n": "locMethod", "vs": "RSSI"},
    {"n": "locTime", "v": 1765700000.5},
]


@pytest.fixture
def things(field):
    add_things(field.engine, field.keyring, field.now)
    return field


def take_and_read(field, *bodies):
    outcomes = take(field, *bodies)
    field.read()
    return outcomes


def telemetry(field):
    """Give name, value, text, unit and codec version of all measurements."""
    with read(field.engine) as connection:
        rows = connection.execute(
            text("SELECT dev_eui, name, value, text, unit, codec_version_id FROM telemetry ORDER BY dev_eui, name, at")
        )
        return [tuple(row) for row in rows]


def test_an_extended_frame_becomes_an_uplink_with_its_radio(things):
    take_and_read(things, message(*extended(f_cnt_up=70000)))

    row = things.row(uplinks)
    assert (row.dev_eui, row.f_port, row.f_cnt_up, row.f_cnt_down) == (DEV_EUI, 1, 70000, 1)
    assert (row.payload_state, bytes(row.frm_payload)) == ("clear", bytes.fromhex("763d0028"))
    assert (row.rssi_dbm, row.snr_db, row.esp_dbm, row.gateway_count) == (-107.0, 3.0, -108.5, 2)
    assert (row.spreading_factor, row.sub_band, row.channel, row.adr) == (8, "G1", "LC3", True)
    assert row.at == datetime(2025, 12, 14, 19, 19, 15, 219000, tzinfo=UTC)
    assert (row.conflicting, row.late) == (False, False)
    assert (things.row(reports).state, things.row(reports).dev_eui, things.row(reports).note) == ("read", DEV_EUI, None)
    assert things.row(devices).last_f_cnt_up == 70000
    assert things.count(undecoded) == 1


def test_a_raw_frame_becomes_an_uplink_without_a_counter(things):
    take_and_read(things, message())

    row = things.row(uplinks)
    assert (row.f_port, row.f_cnt_up, row.session_id, row.payload_state) == (1, None, None, "clear")


def test_a_position_becomes_a_location_of_the_fix_s_own_time_and_no_uplink(things):
    take_and_read(things, message(*FIX), message(*FIX, bt=1765740000))

    row = things.row(locations)
    assert (row.dev_eui, row.latitude, row.longitude, row.radius_m) == (DEV_EUI, 52.25, 4.5, 356.5)
    assert (row.at, row.algorithm) == (datetime(2025, 12, 14, 8, 13, 20, 500000, tzinfo=UTC), "rssi")
    assert things.count(uplinks) == 0
    assert things.states() == ["read", "read"]
    assert things.row(devices).dev_eui == DEV_EUI


def test_decoded_values_become_telemetry_with_units_and_no_codec_version(things):
    take_and_read(things, message(TEMPERATURE, BATTERY, {"n": "open", "vb": True}, {"n": "state", "vs": "ok"}))

    assert telemetry(things) == [
        (DEV_EUI, "battery", 32.0, None, "%", None),
        (DEV_EUI, "open", 1.0, "true", None, None),
        (DEV_EUI, "state", None, "ok", None, None),
        (DEV_EUI, "temperature", 21.5, None, "Cel", None),
    ]
    row = things.row(uplinks)
    assert (row.payload_state, row.frm_payload) == ("none", None)
    decoding = things.row(decodings)
    assert (decoding.uplink_id, decoding.state, decoding.codec_version_id) == (row.id, "decoded", None)
    assert json.loads(decoding.decoded) == {"temperature": 21.5, "battery": 32.0, "open": True, "state": "ok"}
    assert things.count(undecoded) == 0


def test_values_are_told_as_those_of_a_codec_are(things):
    take_and_read(things, message(TEMPERATURE))

    assert [row.kind for row in things.rows(events)] == ["uplink", "telemetry"]
    with read(things.engine) as connection:
        [view] = list_decoded_uplinks(connection, [things.row(uplinks).id])
    assert (view.codec, view.state, [one.name for one in view.measurements]) == (None, "decoded", ["temperature"])


def test_a_message_with_all_of_it_becomes_all_of_it(things):
    take_and_read(things, message(*extended(), *FIX, TEMPERATURE))

    assert things.row(uplinks).f_cnt_up == 0
    assert things.row(locations).latitude == 52.25
    assert telemetry(things) == [(DEV_EUI, "temperature", 21.5, None, "Cel", None)]
    assert things.count(undecoded) == 1


def test_a_codec_replaces_nothing_that_kpn_things_decoded(things):
    take_and_read(things, message(*extended(), TEMPERATURE))
    uplink_id = things.row(uplinks).id
    with things.engine.begin() as connection:
        assert delete_values_of(connection, [uplink_id]) == 0
        assert list_standing_values(connection, [uplink_id]) == []

    assert things.count(telemetry_values) == 1


@pytest.mark.parametrize("records", [(), (TEMPERATURE,), tuple(extended())])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_message_that_comes_again_in_another_layout_is_another_delivery(things, records, at_once):
    merged = message(*records)
    first, *others = json.loads(merged)
    base = {name: first.pop(name) for name in ("bn", "bt")}
    separate = json.dumps([base, first, *others]).encode()
    if at_once:
        take_and_read(things, merged, separate)
    else:
        take_and_read(things, merged)
        take_and_read(things, separate)

    assert things.count(uplinks) == 1
    assert things.states() == ["read", "read"]
    first_report, copy = things.rows(reports)
    assert (first_report.deliveries, copy.note) == (2, f"Another delivery of the frame in report {first_report.id}.")
    assert things.row(deliveries).report_id == first_report.id
    assert things.count(telemetry_values) == (1 if TEMPERATURE in records else 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (message(), message(bt=1765739956)),
        (message(), message(device="DEVEUI:0059AC0000000002")),
        (message(), message({"n": "payload", "vs": "763d0028"}, {"n": "port", "v": 2})),
        (message(), message({"n": "payload", "vs": "00"}, {"n": "port", "v": 1})),
        (message(TEMPERATURE), message(BATTERY)),
        (message(*extended(0)), message(*extended(1))),
    ],
)
def test_messages_that_differ_are_two(things, one, other):
    assert take_and_read(things, one, other) == [STORED, STORED]
    assert things.count(uplinks) == 2
    assert not any(row.conflicting for row in things.rows(uplinks))


def test_another_payload_under_the_same_counter_and_time_is_kept_and_flagged(things):
    take_and_read(things, message(*extended(5)), message(*extended(5, payload="00")))

    assert [row.conflicting for row in things.rows(uplinks)] == [True, True]


def test_the_same_body_is_counted_on_the_first_report(things):
    body = message()
    assert take_and_read(things, body) == [STORED]
    assert take_and_read(things, body) == [DUPLICATE]

    assert (things.row(reports).deliveries, things.count(uplinks)) == (2, 1)


def test_reading_a_report_again_changes_nothing(things):
    take_and_read(things, message(*extended(), *FIX, TEMPERATURE), message(), message(BATTERY))
    before = [things.rows(table) for table in (uplinks, locations, telemetry_values, decodings)]
    with things.engine.begin() as connection:
        connection.execute(reports.update().values(state="unread"))
    things.read()

    assert [things.rows(table) for table in (uplinks, locations, telemetry_values, decodings)] == before
    assert things.states() == ["read", "read", "read"]


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (b"{}", "not SenML"),
        (b"", "not SenML"),
        (b"\xff\x00", "not SenML"),
        (message(device="DEVEUI:0059AC000000000"), "not 16 hexadecimal digits"),
        (message(device="x:y"), "devices are known here by DEVEUI"),
        (message(device="x:\x00"), "not SenML"),
    ],
)
def test_what_cannot_be_read_is_kept_and_says_why_and_holds_nobody_up(things, body, note):
    take_and_read(things, body, message())

    unreadable, readable = things.rows(reports)
    assert (unreadable.state, readable.state) == ("unreadable", "read")
    assert note in unreadable.note
    assert bytes(unreadable.body) == body
    assert things.count(uplinks) == 1


def test_an_odd_record_is_told_on_the_report(things):
    take_and_read(things, message(*extended(SpFact=99), {"n": "x\x00", "v": 2}))

    assert (things.row(reports).state, things.row(reports).note) == ("read", "Could not be read: SpFact.")
    assert [name for _, name, *_ in telemetry(things)] == ["x_"]


def test_texts_that_no_database_holds_are_cleaned(things):
    take_and_read(things, message({"n": "state", "u": "x\x00", "vs": "a\x00b"}))

    assert telemetry(things) == [(DEV_EUI, "state", None, "a\ufffdb", "x?", None)]


def test_a_device_without_a_dev_eui_stands_under_its_uuid(things):
    take_and_read(things, message(TEMPERATURE, device=f"DVNUUID:{UUID}"))

    assert things.row(uplinks).dev_eui == BY_UUID
    assert [device.dev_eui for device in iterate_devices(things.engine)] == [BY_UUID]


def test_what_is_read_after_a_uuid_was_mapped_is_of_the_device(things):
    map_things_device(things.engine, things.now, UUID.upper(), DEV_EUI.lower())
    take_and_read(things, message(TEMPERATURE, device=f"DVNUUID:{UUID}"), message(*FIX, device=f"DVNUUID:{UUID}"))

    assert {things.row(uplinks).dev_eui, things.row(locations).dev_eui, things.row(devices).dev_eui} == {DEV_EUI}
    assert {row.dev_eui for row in things.rows(reports)} == {DEV_EUI}


def test_mapping_a_uuid_takes_all_that_stands_under_it_over(things):
    of_uuid = {"device": f"DVNUUID:{UUID}"}
    take_and_read(
        things,
        message(TEMPERATURE),
        message(*FIX),
        message(TEMPERATURE, BATTERY, bt=1765739000, **of_uuid),
        message(*FIX, bt=1765739000, **of_uuid),  # the same fix, and one that only the UUID has
        message(*FIX[:-1], bt=1765738000, **of_uuid),
        message(*extended(3), bt=1765737000, **of_uuid),
    )
    mapped = map_things_device(things.engine, things.now, BY_UUID, DEV_EUI)

    assert (mapped.before, mapped.uplinks_moved) == (None, 2)
    assert [device.dev_eui for device in iterate_devices(things.engine)] == [DEV_EUI]
    for table in (uplinks, locations, reports):
        assert {row.dev_eui for row in things.rows(table)} == {DEV_EUI}
    assert things.count(locations) == 2
    assert [(name, value) for _, name, value, *_ in telemetry(things)] == [
        ("battery", 32.0),
        ("temperature", 21.5),
        ("temperature", 21.5),
    ]
    take_and_read(things, message(*extended(3), bt=1765737000, **of_uuid))
    assert things.count(uplinks) == 3


def test_mapped_devices_are_listed_and_mapped_anew(things):
    map_things_device(things.engine, things.now, UUID, DEV_EUI)

    assert map_things_device(things.engine, things.now, UUID, "0059AC0000000002").before == DEV_EUI
    assert [(one.uuid, one.dev_eui) for one in list_mapped_devices(things.engine)] == [(UUID, "0059AC0000000002")]


@pytest.mark.parametrize(("uuid", "dev_eui"), [("x", DEV_EUI), (UUID, "x"), ("IMEI:490154203237518", DEV_EUI)])
def test_what_is_no_uuid_or_no_dev_eui_is_not_mapped(things, uuid, dev_eui):
    with pytest.raises(IdentifierError):
        map_things_device(things.engine, things.now, uuid, dev_eui)


def test_the_uses_of_a_secret_are_counted(things):
    take_and_read(things, message(), message(bt=1765739956))
    [status] = list_tunnel_keys(things.engine, things.keyring, things.now, "things")

    assert (status.key_id, status.hits, status.last_used_at) == ("s1", 2, things.now)


def test_reports_of_thingpark_and_of_kpn_things_are_read_in_one_batch(things):
    network = things.connect()
    things.take(network.uplink(network.add_device(dev_eui="20635F0000000001"), f_port=3))
    take_and_read(things, message())

    assert things.states() == ["read", "read"]
    assert {row.dev_eui for row in things.rows(uplinks)} == {DEV_EUI, "20635F0000000001"}


EXPECTED = {
    "01_location_2025.json": {"locations": [("0059AC00001B3461", 52.266785, 4.630842, "tdoa")]},
    "02_extended_v2_2025.json": {"uplinks": [("0059AC00001B3461", "763d0028", 1, 0)]},
    "03_raw_v2_2023_beep.json": {"uplinks": [("0059AC0000000000", "1b0c6e", 3, None)]},
    "04_raw_2022_TIME_ORIGIN_beep.json": {"state": "unreadable"},
    "05a_legacy_2022_separate_base_record.json": {"uplinks": [("0018B21000008C47", "6a0000", 1, None)]},
    "05b_legacy_2022_separate_base_record.json": {"uplinks": [("0018B21000008CF4", "6a2000", 1, None)]},
    "06a_location_2020.json": {"locations": [("0004A30B001B714E", 52.653996, 4.803645, None)]},
    "06b_decoded_2020.json": {"uplinks": [("0004A30B001B714E", "", None, None)], "values": 1},
    "07a_dvnuuid_2024_tagoio.json": {"uplinks": [(BY_UUID, "", None, None)], "values": 6},
    "07b_dvnuuid_location_2024_tagoio.json": {"locations": [(BY_UUID, 51.854275, 4.645165, "rssi")]},
    "08_simulator_2023.json": {
        "uplinks": [("DVNUUID:1513bfb2-b495-494d-b8d8-9dead23190a3", "", None, None)],
        "values": 4,
    },
}


@pytest.mark.shared
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_shared_example_becomes_its_rows(things, shared, name):
    take_and_read(things, (shared / "examples" / "kpn-things" / name).read_bytes())

    expected = {"uplinks": [], "locations": [], "values": 0, "state": "read", **EXPECTED[name]}
    found = [
        (
            row.dev_eui,
            (row.frm_payload or b"").hex()[:6] if row.f_cnt_up is None else row.frm_payload.hex(),
            row.f_port,
            row.f_cnt_up,
        )
        for row in things.rows(uplinks)
    ]
    assert found == expected["uplinks"]
    assert [(row.dev_eui, row.latitude, row.longitude, row.algorithm) for row in things.rows(locations)] == expected[
        "locations"
    ]
    assert (things.count(telemetry_values), things.states()) == (expected["values"], [expected["state"]])


@pytest.mark.shared
def test_no_shared_example_is_forgotten(shared):
    assert {path.name for path in (shared / "examples" / "kpn-things").glob("0*.json")} == set(EXPECTED)
