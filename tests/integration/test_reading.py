"""The reading moment, on reports as a network signs them: the rows of uplinks, clear and encrypted ones."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from receiver.storage.tables import devices, receptions, reports, sessions, uplinks
from tests.integration.reading_field import FULL_UPLINK, HELLO, changed, encrypted_push

# --- the rows of an uplink


def test_an_uplink_row_holds_the_values_of_its_report(field):
    network = field.connect()
    push = changed(network, network.uplink(network.add_device(dev_eui="20635F0000000001"), f_port=3), **FULL_UPLINK)
    field.take_and_read(push)

    row = field.row(uplinks)._mapping
    report, session = field.row(reports), field.row(sessions)
    assert {name: row[name] for name in row if name not in {"id", "frame_check", "frm_payload"}} == {
        "report_id": report.id,
        "connection_id": report.connection_id,
        "session_id": session.id,
        "dev_eui": "20635F0000000001",
        "dev_addr": "04AB12CD",
        "at": datetime(2026, 11, 20, 11, 59, 58, 490_000, tzinfo=UTC),
        "received_at": field.now,
        "f_port": 3,
        "f_cnt_up": 70000,
        "payload_state": "clear",
        "payload_size_bytes": 3,
        "conflicting": False,
        "late": False,
        "m_type": 4,
        "adr": True,
        "ack": True,
        "f_cnt_down": 66000,
        "spreading_factor": 12,
        "frequency_mhz": 868.1,
        "sub_band": "G1",
        "channel": "LC3",
        "rssi_dbm": -112.0,
        "snr_db": -3.25,
        "esp_dbm": -116.5,
        "lrr_id": "FF0109A4",
        "gateway_count": 2,
        "lost_uplinks": -2,
        "instant_per": 0.25,
        "mean_per": 0.125,
        "tx_power_dbm": 14.0,
        "nb_trans": 2,
        "device_class": "A",
    }
    assert bytes(row["frm_payload"]) == bytes.fromhex("0a0b0c")
    assert (report.state, report.note) == ("read", None)


@pytest.mark.parametrize("content_type", ["xml", "jsontyped", "json"])
def test_an_uplink_ends_alike_in_every_content_type(field, content_type):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device(name="Sensor 1")
    push = network.uplink(device, content_type=content_type, f_port=7, payload=HELLO, gateways=3, confirmed=True)
    field.take_and_read(push)

    row = field.row(uplinks)
    assert (row.dev_eui, row.dev_addr, row.f_port, row.f_cnt_up) == (device.dev_eui, device.dev_addr, 7, 0)
    assert (row.payload_state, bytes(row.frm_payload), row.m_type) == ("decrypted", HELLO, 4)
    assert (row.at, row.gateway_count, row.tx_power_dbm) == (push.received_at, 3, 14.0)
    assert field.count(receptions) == 3
    assert field.row(devices).name == "Sensor 1"


def test_each_gateway_is_a_reception_in_the_order_of_the_network(field):
    network = field.connect()
    push = changed(network, network.uplink(network.add_device(dev_eui="20635F0000000001"), f_port=3), **FULL_UPLINK)
    field.take_and_read(push)

    rows = [tuple(row)[1:] for row in field.rows(receptions)]
    assert rows == [
        (0, "FF0109A4", 0, -112.0, -3.25, -116.5, 52.1, 5.2),
        (1, "FF0109A5", 1, -118.0, -9.5, -128.0, None, None),
    ]


@pytest.mark.parametrize("content_type", ["xml", "jsontyped", "json"])
def test_a_single_gateway_that_comes_as_an_object_is_one_reception(field, content_type):
    network = field.connect()
    device = network.add_device()
    field.take_and_read(network.uplink(device, gateways=1, lrr_as_object=True, content_type=content_type))

    assert field.row(receptions).lrr_id == field.row(uplinks).lrr_id


def test_an_uplink_that_no_gateway_is_named_for_has_no_reception(field):
    network = field.connect()
    field.take_and_read(network.uplink(network.add_device(), gateways=0))

    assert (field.count(uplinks), field.count(receptions)) == (1, 0)


def test_one_odd_value_is_noted_and_the_uplink_is_read(field):
    network = field.connect()
    device = network.add_device()
    push = changed(network, network.uplink(device, f_port=2, payload=HELLO), LrrRSSI="loud", SpFact=99, Lrrs="none")
    field.take_and_read(push)

    row, report = field.row(uplinks), field.row(reports)
    assert (bytes(row.frm_payload), row.rssi_dbm, row.spreading_factor) == (HELLO, None, None)
    assert report.state == "read"
    assert all(name in report.note for name in ("LrrRSSI", "SpFact", "Lrrs"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LostUplinksAS", 3_000_000_000),
        ("LostUplinksAS", -4_294_967_295),
        ("FCntDn", 4_294_967_295),
        ("LrrRSSI", 1e300),
        ("Frequency", "1e-400"),
        ("DevLrrCnt", 10**18),
        ("BatteryLevel", 10**30),
        ("Time", "9999-12-31T23:59:59.999Z"),
        ("Time", "0001-01-01T00:00:00.000Z"),
        ("Time", "9999-12-31T23:59:59-12:00"),
        ("Time", 99999999999999),
        ("BatteryTime", "9999-12-31T23:59:59Z"),
        ("CustomerData", '{"name": "\\u0000", "alr": {"pro": "\\u0000x", "ver": "1"}}'),
        ("CustomerData", '{"name": "\\ud800", "alr": {"pro": "\\udfff", "ver": "1"}}'),
        ("CustomerData", '{"alr": {"pro": {"deep": [1]}}}'),
        ("CustomerData", "[" * 5000),
        ("CustomerData", [1, 2]),
        ("CustomerID", "1" * 64),
        ("Lrrs", {"Lrr": [1, None, {"Lrrid": ""}, {"Lrrid": ["x"]}]}),
        ("SubBand", {"a": 1}),
        ("DynamicClass", "A" * 5000),
        ("DevLAT", "nan"),
        ("PayloadEncryption", "maybe"),
        ("AppSKey", "not a key"),
        ("Late", 7),
        ("mic_hex", "no hex \N{PILE OF POO}"),
    ],
)
def test_no_value_of_a_field_keeps_an_uplink_from_being_read(field, name, value):
    network = field.connect()
    device = network.add_device()
    field.take_and_read(network.uplink(device, f_port=2, payload=b"before"))
    field.wait(minutes=5)
    field.take_and_read(changed(network, network.uplink(device, f_port=2, payload=HELLO), **{name: value}))
    field.wait(minutes=5)
    field.take_and_read(network.uplink(device, f_port=2, payload=b"after"))
    field.wait(minutes=5)
    field.take_and_read(network.uplink(device, f_port=2, payload=b"again", f_cnt_up=1))

    assert field.states() == ["read"] * 4
    assert [bytes(row.frm_payload) for row in field.rows(uplinks)] == [b"before", HELLO, b"after", b"again"]


# --- clear or encrypted


@pytest.mark.parametrize("payloads", ["clear", "encrypted", "auto"])
def test_a_report_that_says_encrypted_is_decrypted_whatever_the_connection_says(field, payloads):
    network = field.connect(encrypted=True, payloads=payloads)
    field.import_as_transport_key()
    field.take_and_read(encrypted_push(network, network.add_device(), tells=1))

    assert field.payloads() == [(0, "decrypted", HELLO)]


@pytest.mark.parametrize("payloads", ["clear", "encrypted", "auto"])
def test_a_report_that_says_clear_is_clear_whatever_the_connection_says(field, payloads):
    network = field.connect(encrypted=True, payloads=payloads)
    field.import_as_transport_key()
    push = network.uplink(network.add_device(payloads="clear", app_s_key_form="wrapped"), f_port=5, payload=HELLO)
    field.take_and_read(changed(network, push, PayloadEncryption=0))

    assert "AppSKey" in json.loads(push.body)["DevEUI_uplink"]
    assert field.payloads() == [(0, "clear", HELLO)]


@pytest.mark.parametrize(("payloads", "state"), [("clear", "clear"), ("encrypted", "decrypted"), ("auto", "decrypted")])
def test_a_report_with_a_key_that_does_not_say_is_read_as_the_connection_says(field, payloads, state):
    network = field.connect(encrypted=True, payloads=payloads)
    field.import_as_transport_key()
    push = encrypted_push(network, network.add_device())
    field.take_and_read(push)

    as_sent = bytes.fromhex(json.loads(push.body)["DevEUI_uplink"]["payload_hex"])
    assert field.payloads() == [(0, state, HELLO if state == "decrypted" else as_sent)]


@pytest.mark.parametrize(
    ("payloads", "state"), [("clear", "clear"), ("encrypted", "waiting_for_key"), ("auto", "clear")]
)
def test_a_report_without_a_key_that_does_not_say_is_read_as_the_connection_says(field, payloads, state):
    network = field.connect(payloads=payloads, tells_payload_encryption=False)
    field.take_and_read(network.uplink(network.add_device(), f_port=5, payload=HELLO))

    assert field.payloads() == [(0, state, HELLO if state == "clear" else None)]


def test_auto_takes_a_report_without_a_key_for_encrypted_once_its_session_has_one(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    join = network.join(device)
    field.take_and_read(join, encrypted_push(network, device, key_field=False))

    assert field.payloads() == [(0, "decrypted", HELLO)]


def test_frames_of_the_network_itself_are_kept_as_they_are(field):
    """FPort 0 carries MAC commands under the network's key: it is never decrypted with the AppSKey."""
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    push = changed(network, network.uplink(network.add_device(), f_port=1, payload=HELLO), FPort=0)
    field.take(network._signer.deliver(replace(push, f_port=0)))
    field.read()

    row = field.row(uplinks)
    assert (row.f_port, row.payload_state, row.payload_size_bytes) == (0, "network", len(HELLO))
    assert bytes(row.frm_payload).hex() == json.loads(push.body)["DevEUI_uplink"]["payload_hex"]


def test_a_frame_without_fport_and_payload_is_an_uplink_without_payload(field):
    network = field.connect(encrypted=True)
    field.take_and_read(network.empty_uplink(network.add_device()))

    row = field.row(uplinks)
    assert (row.f_port, row.payload_state, row.frm_payload, row.payload_size_bytes) == (None, "none", None, 0)
    assert (row.ack, field.states()) == (True, ["read"])


def test_an_empty_payload_on_an_fport_waits_for_no_key(field):
    network = field.connect(encrypted=True)
    field.take_and_read(network.uplink(network.add_device(), f_port=9, payload=b""))

    row = field.row(uplinks)
    assert (row.f_port, row.payload_state, row.frm_payload) == (9, "none", None)
    assert field.states() == ["read"]


def test_a_join_request_is_an_uplink_without_counter_and_session(field):
    network = field.connect()
    device = network.add_device()
    field.take_and_read(network.join_request(device))

    row = field.row(uplinks)
    assert (row.dev_eui, row.f_cnt_up, row.session_id, row.m_type) == (device.dev_eui, None, None, 0)
    assert row.payload_state == "none"
    assert row.spreading_factor in range(7, 13)


@pytest.mark.parametrize("f_cnt_up", [65_535, 65_536, 70_000, 2**31, 2**32 - 1])
def test_the_whole_32_bits_of_the_counter_go_into_decryption(field, f_cnt_up):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    field.take_and_read(network.uplink(network.add_device(), f_port=5, payload=HELLO, f_cnt_up=f_cnt_up))

    assert field.payloads() == [(f_cnt_up, "decrypted", HELLO)]


def test_a_long_payload_is_decrypted_over_all_its_blocks(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    payload = bytes(range(242))
    field.take_and_read(network.uplink(network.add_device(), f_port=5, payload=payload))

    assert field.payloads() == [(0, "decrypted", payload)]
