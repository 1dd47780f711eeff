"""What the simulated network pushes is what the receiver takes: every kind, content type and wire form."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import ConflictError, IdentifierError, NotFoundError, PushRejected, Reason
from receiver.lorawan.keys import AesKey
from receiver.simulator.body_writer import ContentType
from receiver.simulator.device import Activation
from receiver.simulator.kinds import ReportKind, make_report
from receiver.simulator.network import SimulatedNetwork
from receiver.simulator.push import Fault, Push, TimeEncoding, WireOrder
from receiver.simulator.report_bodies import CustomerDataForm
from receiver.simulator.sensors import SENSORS
from receiver.simulator.signer import FORGERIES
from receiver.thingpark.as_transport_key import unwrap_app_s_key
from receiver.thingpark.body import parse_body
from receiver.thingpark.reports import (
    LocationReport,
    NotificationReport,
    OtherReport,
    Report,
    UplinkReport,
    read_report,
)
from receiver.thingpark.signed_query import parse_signed_query
from receiver.thingpark.token import (
    body_element_texts,
    key_spellings,
    read_token_elements,
    sign_push,
    verify_query_agrees,
    verify_token,
)

KEY = "17D107FD-4738-7B71-4D9E-5AACCE614233"
AS_ID = "TWA_100000001.7.AS"
AS_TRANSPORT_KEY = AesKey(bytes(range(16)))
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

WIRE_KINDS = {
    ReportKind.UPLINK: "DevEUI_uplink",
    ReportKind.EMPTY_UPLINK: "DevEUI_uplink",
    ReportKind.JOIN_REQUEST: "DevEUI_uplink",
    ReportKind.JOIN: "DevEUI_notification",
    ReportKind.RESET: "DevEUI_notification",
    ReportKind.DEVICE_STATUS: "DevEUI_notification",
    ReportKind.DOWNLINK_SENT: "DevEUI_downlink_Sent",
    ReportKind.DOWNLINK_REJECTED: "DevEUI_downlink_Rejected",
    ReportKind.LOCATION: "DevEUI_location",
    ReportKind.MULTICAST_SUMMARY: "DevEUI_multicast_summary",
    ReportKind.ALARM: "DevEUI_alarm",
    ReportKind.CELLULAR: "DevEUI_session",
    ReportKind.NEVER_SEEN: "DevEUI_never_seen",
}


def make_network(**options) -> SimulatedNetwork:
    return SimulatedNetwork(**{"key": KEY, "as_id": AS_ID, "seed": 1, "clock": lambda: NOW} | options)


def encrypting_network(**options) -> SimulatedNetwork:
    return make_network(as_transport_key=AS_TRANSPORT_KEY, **options)


def verify(push: Push, key: str = KEY) -> None:
    query = parse_signed_query(push.query.encode())
    elements = read_token_elements(parse_body(push.body))
    verify_query_agrees(query, elements)
    verify_token(query, elements, [key_spellings(key)])


def read(push: Push) -> Report:
    report, notes = read_report(parse_body(push.body))
    assert notes.fields == []
    return report


def read_uplink(push: Push) -> UplinkReport:
    report = read(push)
    assert isinstance(report, UplinkReport)
    return report


def decrypt_with_pycryptodome(app_s_key: bytes, dev_addr: str, f_cnt_up: int, payload: bytes) -> bytes:
    stream = b""
    for block in range(1, len(payload) // 16 + 2):
        a = bytes([1, 0, 0, 0, 0, 0]) + bytes.fromhex(dev_addr)[::-1] + f_cnt_up.to_bytes(4, "little")
        stream += AES.new(app_s_key, AES.MODE_ECB).encrypt(a + bytes([0, block]))
    return bytes(x ^ y for x, y in zip(payload, stream, strict=False))


# --- on the wire


@pytest.mark.parametrize(
    ("kind", "content_type", "order", "encoding"), list(product(ReportKind, ContentType, WireOrder, TimeEncoding))
)
def test_every_report_verifies(kind, content_type, order, encoding):
    network = encrypting_network(wire_order=order, time_encoding=encoding)
    device = network.add_device(activation="abp" if kind is ReportKind.RESET else "otaa")
    push = make_report(network, device, kind, content_type=content_type)
    verify(push)
    body = parse_body(push.body)
    assert body.kind == push.kind == WIRE_KINDS[kind]
    assert push.headers["Content-Type"] == ("application/xml" if content_type == "xml" else "application/json")
    read(push)


@pytest.mark.parametrize("kind", ReportKind)
def test_a_report_is_signed_by_the_documented_reading(kind):
    network = make_network()
    device = network.add_device(activation="abp" if kind is ReportKind.RESET else "otaa")
    push = make_report(network, device, kind)
    query = parse_signed_query(push.query.encode())
    first = body_element_texts(read_token_elements(parse_body(push.body)))[0]
    key = KEY.replace("-", "").lower()
    assert query.token == sign_push(first, query_elements=query.signed_elements, key=key)


@pytest.mark.parametrize("kind", ReportKind)
def test_another_key_does_not_verify_it(kind):
    network = make_network()
    device = network.add_device(activation="abp" if kind is ReportKind.RESET else "otaa")
    with pytest.raises(PushRejected) as caught:
        verify(make_report(network, device, kind), key="00" * 16)
    assert caught.value.reason is Reason.TOKEN_MISMATCH


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (WireOrder.ALPHABETICAL, ["AS_ID", "LrnDevEui", "LrnFPort", "LrnInfos", "Time", "Token"]),
        (WireOrder.DOCUMENTED, ["LrnDevEui", "LrnFPort", "LrnInfos", "AS_ID", "Time", "Token"]),
        (WireOrder.SCRAMBLED, ["AS_ID", "LrnFPort", "Time", "Token", "LrnDevEui", "LrnInfos"]),
    ],
)
def test_the_query_has_the_wire_order_asked_for(order, names):
    network = make_network(wire_order=order)
    query = network.uplink(network.add_device()).query
    assert [pair.partition("=")[0] for pair in query.split("&")] == names


@pytest.mark.parametrize(
    ("encoding", "time"),
    [
        (TimeEncoding.PERCENT, "Time=2026-11-20T13%3A00%3A00.0%2B01%3A00"),
        (TimeEncoding.RAW, "Time=2026-11-20T13:00:00.0+01:00"),
    ],
)
def test_the_time_is_encoded_as_asked_for(encoding, time):
    network = make_network(time_encoding=encoding)
    assert time in network.uplink(network.add_device()).query.split("&")


@pytest.mark.parametrize(
    ("at", "spelled"),
    [
        (NOW, "2026-11-20T13:00:00.0+01:00"),
        (NOW + timedelta(milliseconds=490), "2026-11-20T13:00:00.49+01:00"),
        (NOW + timedelta(microseconds=302_999), "2026-11-20T13:00:00.302+01:00"),
    ],
)
def test_a_time_has_one_to_three_digits_of_a_second(at, spelled):
    network = make_network(clock=lambda: at)
    push = network.device_status(network.add_device())
    assert parse_body(push.body).members["Time"] == spelled


def test_an_offset_west_of_greenwich_is_spelled_with_a_minus():
    network = make_network(utc_offset=timedelta(hours=-5))
    push = network.uplink(network.add_device())
    verify(push)
    assert parse_signed_query(push.query.encode()).time == "2026-11-20T07:00:00.0-05:00"


def test_lrn_infos_counts_the_deliveries():
    network = make_network()
    device = network.add_device()
    infos = [parse_signed_query(network.uplink(device).query.encode()).lrn_infos for _ in range(2)]
    assert infos == ["TWA_100000001.1.AS-1-1", "TWA_100000001.1.AS-1-2"]


def test_a_location_is_signed_over_the_lower_case_dev_eui():
    network = make_network()
    push = network.location(network.add_device(dev_eui="0059AC000017338B"))
    assert parse_signed_query(push.query.encode()).lrn_dev_eui == "0059ac000017338b"
    assert parse_body(push.body).members["DevEUI"] == "0059ac000017338b"


def test_the_url_keeps_the_query_that_a_route_has():
    network = make_network()
    push = network.uplink(network.add_device())
    assert push.url("http://127.0.0.1/push/field") == f"http://127.0.0.1/push/field?{push.query}"
    assert push.url("http://127.0.0.1/push/field?site=3") == f"http://127.0.0.1/push/field?site=3&{push.query}"


# --- content types


def leaves(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


@pytest.mark.parametrize("kind", ReportKind)
def test_untyped_json_has_a_string_in_every_leaf(kind):
    network = make_network()
    device = network.add_device(activation="abp" if kind is ReportKind.RESET else "otaa")
    body = json.loads(make_report(network, device, kind, content_type="json").body)
    assert {type(leaf) for leaf in leaves(body)} <= {str, type(None)}


def test_typed_json_has_numbers_and_prints_floats_with_six_decimals():
    network = make_network()
    body = network.uplink(network.add_device(), content_type="jsontyped").body.decode()
    assert re.search(r'"LrrRSSI":-\d+\.\d{6},', body)
    assert re.search(r'"FCntUp":0,', body)
    assert re.search(r'"Frequency":86\d\.\d,', body)


def test_xml_has_one_namespace_and_customer_data_as_json_text():
    network = make_network()
    push = network.uplink(network.add_device(name='<cold & "wet">'), content_type="xml")
    head = b'<?xml version="1.0" encoding="UTF-8"?><DevEUI_uplink xmlns="http://uri.actility.com/lora"><Time>'
    assert push.body.startswith(head)
    assert json.loads(str(parse_body(push.body).members["CustomerData"]))["name"] == '<cold & "wet">'


@pytest.mark.parametrize(("form", "content_type"), list(product(CustomerDataForm, ContentType)))
def test_every_form_of_customer_data_names_the_device(form, content_type):
    network = make_network(customer_data=form)
    push = network.uplink(network.add_device(name="Cellar 3"), content_type=content_type)
    verify(push)
    expected = (None, None) if form is CustomerDataForm.ABSENT else ("Cellar 3", "SIM/Climate")
    customer_data = read_uplink(push).heading.customer_data
    assert (customer_data.name, customer_data.model) == expected


@pytest.mark.parametrize(("content_type", "count"), list(product(ContentType, range(11))))
def test_every_gateway_is_in_the_report(content_type, count):
    network = make_network()
    report = read_uplink(network.uplink(network.add_device(), gateways=count, content_type=content_type))
    assert (report.gateway_count, len(report.receptions)) == (count, count)


def test_the_best_gateway_has_the_highest_snr():
    network = make_network()
    report = read_uplink(network.uplink(network.add_device(), gateways=10))
    assert report.snr_db == max(reception.snr_db or -99 for reception in report.receptions)
    assert report.receptions[0].latitude is not None


def test_one_gateway_can_stand_as_an_object():
    network = make_network()
    push = network.uplink(network.add_device(), gateways=1, lrr_as_object=True)
    assert isinstance(json.loads(push.body)["DevEUI_uplink"]["Lrrs"]["Lrr"], dict)
    assert len(read_uplink(push).receptions) == 1


# --- payloads and keys


@pytest.mark.parametrize("kind", SENSORS)
def test_every_kind_of_device_sends_its_readings_in_clear(kind):
    network = make_network()
    device = network.add_device(kind=kind)
    for _ in range(50):
        push = network.uplink(device)
        report = read_uplink(push)
        assert report.payload == push.clear_payload != b""
        assert (report.f_port, report.payload_encryption, report.app_s_key_field) == (device.sensor.f_port, False, None)


@pytest.mark.parametrize("content_type", ContentType)
def test_an_encrypted_payload_decrypts_with_the_unwrapped_app_s_key(content_type):
    network = encrypting_network()
    device = network.add_device(f_cnt_up=2**16 + 5)
    payload = b"seventeen bytes.."
    report = read_uplink(network.uplink(device, payload=payload, f_port=9, content_type=content_type))
    assert report.payload_encryption
    assert report.payload != payload
    assert report.f_port == 9
    app_s_key = AES.new(AS_TRANSPORT_KEY.reveal(), AES.MODE_ECB).decrypt(bytes.fromhex(report.app_s_key_field or ""))
    assert decrypt_with_pycryptodome(app_s_key, str(report.heading.dev_addr), 2**16 + 5, report.payload) == payload


@given(payload=st.binary(max_size=242), f_cnt_up=st.integers(0, 2**32 - 1))
def test_any_payload_at_any_counter_arrives(payload, f_cnt_up):
    network = encrypting_network()
    device = network.add_device()
    push = network.uplink(device, payload=payload, f_cnt_up=f_cnt_up)
    verify(push)
    report = read_uplink(push)
    clear = decrypt_with_pycryptodome(device.app_s_key.reveal(), device.dev_addr, f_cnt_up, report.payload)
    assert (report.f_cnt_up, clear) == (f_cnt_up, payload)


def test_an_abp_device_with_encrypted_payloads_carries_no_app_s_key():
    network = encrypting_network()
    device = network.add_device(activation="abp", dev_addr="05F67BC4", app_s_key=AesKey(bytes(16)))
    push = network.uplink(device, payload=b"\x01")
    report = read_uplink(push)
    assert (report.app_s_key_field, report.payload_encryption, report.heading.dev_addr) == (None, True, "05F67BC4")
    assert decrypt_with_pycryptodome(bytes(16), "05F67BC4", 0, report.payload) == b"\x01"


def test_an_app_s_key_can_come_in_the_clear():
    network = make_network()
    device = network.add_device(payloads="encrypted", app_s_key_form="clear")
    assert read_uplink(network.uplink(device)).app_s_key_field == device.app_s_key.reveal().hex()


def test_an_app_s_key_can_come_with_clear_payloads():
    network = encrypting_network()
    push = network.uplink(network.add_device(payloads="clear", app_s_key_form="wrapped"))
    report = read_uplink(push)
    assert report.app_s_key_field is not None
    assert report.payload == push.clear_payload


def test_an_older_network_does_not_tell_whether_it_decrypted():
    network = encrypting_network(tells_payload_encryption=False)
    assert read_uplink(network.uplink(network.add_device())).payload_encryption is None


def test_wrapping_needs_an_as_transport_key():
    with pytest.raises(ConflictError, match="was given none"):
        make_network().add_device(app_s_key_form="wrapped")


def test_an_empty_uplink_has_no_port_and_no_payload():
    network = encrypting_network()
    push = network.empty_uplink(network.add_device())
    assert {"FPort", "payload_hex"}.isdisjoint(parse_body(push.body).members)
    assert parse_signed_query(push.query.encode()).lrn_f_port == "0"
    assert push.clear_payload == b""


def test_a_payload_can_be_empty_on_a_port():
    network = encrypting_network()
    report = read_uplink(network.uplink(network.add_device(), payload=b"", f_port=7))
    assert (report.f_port, report.payload) == (7, b"")


@pytest.mark.parametrize(
    "wrong", [{"f_cnt_up": 2**32}, {"f_cnt_up": -1}, {"f_port": 256}, {"f_port": 0}, {"gateways": 11}]
)
def test_what_no_network_can_report_is_refused(wrong):
    network = make_network()
    with pytest.raises(IdentifierError):
        network.uplink(network.add_device(), **wrong)


def test_an_unknown_kind_of_device_is_refused_by_name():
    with pytest.raises(NotFoundError, match="'toaster' is no kind"):
        make_network().add_device(kind="toaster")


# --- sessions and counters


def test_each_uplink_has_the_next_counter():
    network = make_network()
    device = network.add_device()
    assert [network.uplink(device).f_cnt_up for _ in range(3)] == [0, 1, 2]


def test_the_counter_turns_over_after_32_bits():
    network = make_network()
    device = network.add_device(f_cnt_up=2**32 - 1)
    assert [network.uplink(device).f_cnt_up for _ in range(2)] == [2**32 - 1, 0]


def test_a_lower_counter_leaves_the_device_where_it_is():
    network = make_network()
    device = network.add_device(f_cnt_up=10)
    assert [network.uplink(device, f_cnt_up=3).f_cnt_up, network.uplink(device).f_cnt_up] == [3, 10]


@pytest.mark.parametrize("content_type", ContentType)
def test_a_join_renews_the_session_and_brings_the_key(content_type):
    network = encrypting_network()
    device = network.add_device()
    network.uplink(device)
    old = (device.dev_addr, device.app_s_key)
    push = network.join(device, content_type=content_type)
    report = read(push)
    assert isinstance(report, NotificationReport)
    assert (report.type, report.heading.dev_addr, push.detail) == ("join", device.dev_addr, "join")
    assert unwrap_app_s_key(AS_TRANSPORT_KEY, report.app_s_key_field or "") == device.app_s_key
    assert (device.dev_addr, device.app_s_key) != old
    assert network.uplink(device).f_cnt_up == 0


def test_a_join_without_hsm_brings_no_key():
    network = make_network()
    report = read(network.join(network.add_device()))
    assert isinstance(report, NotificationReport)
    assert report.app_s_key_field is None


def test_a_reset_keeps_the_session_and_restarts_the_counter():
    network = make_network()
    device = network.add_device(activation=Activation.ABP, f_cnt_up=50)
    old = device.dev_addr
    report = read(network.reset(device, automatic=False))
    assert isinstance(report, NotificationReport)
    assert (report.type, report.detail, device.dev_addr) == ("reset", "admin_reset", old)
    assert network.uplink(device).f_cnt_up == 0


def test_an_abp_device_does_not_join():
    network = make_network()
    with pytest.raises(ConflictError, match="does not join"):
        network.join(network.add_device(activation="abp"))


def test_an_otaa_device_does_not_reset():
    network = make_network()
    with pytest.raises(ConflictError, match="joins anew"):
        network.reset(network.add_device())


def test_a_join_request_is_a_frame_of_23_bytes_with_its_mic_last():
    network = make_network()
    push = network.join_request(network.add_device(dev_eui="0102030405060708"))
    members = parse_body(push.body).members
    raw = bytes.fromhex(str(members["rawJoinRequest"]))
    assert (len(raw), raw[0], raw[9:17].hex(), raw[-4:].hex()) == (23, 0, "0807060504030201", members["mic_hex"])
    assert "Spfact" in members
    assert "FCntUp" not in members


def test_a_late_frame_is_older_and_lower_than_the_newest():
    now = [NOW]
    network = encrypting_network(clock=lambda: now[0])
    device = network.add_device()
    network.hold(device)
    now[0] += timedelta(minutes=5)
    newest = network.uplink(device)
    late = network.late_uplink(device)
    verify(late)
    report = read_uplink(late)
    assert (late.fault, report.late, late.f_cnt_up, newest.f_cnt_up) == (Fault.LATE, True, 0, 1)
    assert report.heading.at == NOW
    assert late.sent_at == now[0]
    assert (read_uplink(newest).lost_uplinks, report.lost_uplinks) == (1, -1)


def test_a_late_frame_keeps_the_session_it_was_sent_in():
    network = encrypting_network()
    device = network.add_device()
    old = device.dev_addr
    network.hold(device)
    network.join(device)
    late = network.late_uplink(device)
    assert (late.dev_addr, read_uplink(late).heading.dev_addr) == (old, old)
    assert device.dev_addr != old


def test_without_a_held_frame_nothing_is_late():
    network = make_network()
    with pytest.raises(ConflictError, match="No frame"):
        network.late_uplink(network.add_device())


# --- other reports


@pytest.mark.parametrize("content_type", ContentType)
def test_uplinks_repeat_the_last_fix_with_its_own_old_time(content_type):
    now = [NOW]
    network = make_network(clock=lambda: now[0])
    device = network.add_device(kind="tracker")
    location = read(network.location(device, content_type=content_type))
    now[0] += timedelta(days=20)
    uplink = read_uplink(network.uplink(device, content_type=content_type))
    assert isinstance(location, LocationReport)
    assert location.fix is not None
    assert uplink.fix == location.fix
    assert location.fix.at is not None
    assert location.fix.at < NOW


def test_a_device_without_a_fix_reports_none():
    network = make_network()
    assert read_uplink(network.uplink(network.add_device())).fix is None


@pytest.mark.parametrize("content_type", ContentType)
def test_a_device_status_has_battery_and_margin(content_type):
    network = make_network()
    push = network.device_status(network.add_device(), battery_level=17, margin_db=-3, content_type=content_type)
    report = read(push)
    assert isinstance(report, NotificationReport)
    assert (report.battery_level, report.margin_db) == (17, -3)


@pytest.mark.parametrize(("slot", "causes"), [(1, ("00", "00")), (2, ("C0", "00")), (0, ("C0", "DA"))])
def test_a_downlink_is_reported_with_its_slot_and_causes(slot, causes):
    network = make_network()
    device = network.add_device()
    network.downlink_sent(device)
    push = network.downlink_sent(device, f_port=3, slot=slot, correlation_id="6CF1BF9A3DBD4821")
    members = parse_body(push.body).members
    assert (members["FPort"], members["FCntDn"], members["CorrelationID"]) == ("3", "1", "6CF1BF9A3DBD4821")
    assert (members["DeliveryFailedCause1"], members["DeliveryFailedCause2"]) == causes
    assert members["DeliveryStatus"] == ("1" if slot else "0")


def test_a_rejected_downlink_has_its_cause():
    network = make_network()
    push = network.downlink_rejected(network.add_device(), cause="Invalid LoRa port", correlation_id="0" * 16)
    members = parse_body(push.body).members
    assert (members["DownlinkRejectionCause"], members["DeliveryStatus"]) == ("Invalid LoRa port", "350")


@pytest.mark.parametrize(("failed", "status"), [(0, "SUCCESS"), (3, "ABORTED")])
def test_a_multicast_summary_counts_the_gateways(failed, status):
    network = make_network()
    push = network.multicast_summary(network.add_device(), failed_gateways=failed, correlation_id="A" * 16)
    members = parse_body(push.body).members
    assert (members["TransmissionStatus"], members["LrrSuccessCnt"]) == (status, str(10 - failed))


@pytest.mark.parametrize("kind", [ReportKind.ALARM, ReportKind.CELLULAR, ReportKind.NEVER_SEEN])
def test_other_kinds_name_their_device(kind):
    network = make_network()
    device = network.add_device()
    report = read(make_report(network, device, kind))
    assert isinstance(report, OtherReport)
    assert report.heading is not None
    assert report.heading.dev_eui == device.dev_eui


# --- faults


def test_the_same_delivery_again_is_the_same_bytes():
    network = make_network()
    push = network.uplink(network.add_device())
    again = network.again(push)
    assert (again.query, again.body, again.number) == (push.query, push.body, push.number)
    assert (again.fault, again.should_be_accepted) == (Fault.SAME_DELIVERY, True)


def test_a_frame_in_a_new_delivery_has_the_same_body_and_another_query():
    network = make_network()
    push = network.uplink(network.add_device())
    again = network.again_in_a_new_delivery(push, at=NOW + timedelta(seconds=3))
    verify(again)
    assert again.body == push.body
    old, new = (parse_signed_query(p.query.encode()) for p in (push, again))
    assert (new.lrn_infos, new.at) == ("TWA_100000001.1.AS-1-2", NOW + timedelta(seconds=3))
    assert new.token != old.token


@pytest.mark.parametrize("fault", [Fault.WRONG_TOKEN, Fault.WRONG_KEY])
def test_a_forged_push_does_not_verify(fault):
    network = make_network()
    forged = network.forge(network.uplink(network.add_device()), fault)
    assert not forged.should_be_accepted
    with pytest.raises(PushRejected) as caught:
        verify(forged)
    assert caught.value.reason is Reason.TOKEN_MISMATCH


def test_a_push_for_another_as_id_is_signed_for_it():
    network = make_network()
    forged = network.forge(network.uplink(network.add_device()), Fault.WRONG_AS_ID)
    verify(forged)
    assert not forged.should_be_accepted
    assert parse_signed_query(forged.query.encode()).as_id != AS_ID


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in FORGERIES])
def test_only_forgeries_can_be_forged(fault):
    network = make_network()
    push = network.uplink(network.add_device())
    with pytest.raises(ValueError, match="no forgery"):
        network.forge(push, fault)


@pytest.mark.parametrize(
    ("skew_s", "is_accepted"), [(60, True), (-60, True), (60.001, False), (-61, False), (86_400, False)]
)
def test_a_skewed_clock_is_accepted_up_to_the_deviation(skew_s, is_accepted):
    network = make_network()
    skewed = network.skewed(network.uplink(network.add_device()), timedelta(seconds=skew_s))
    verify(skewed)
    assert skewed.should_be_accepted is is_accepted
    assert parse_signed_query(skewed.query.encode()).at == NOW + timedelta(seconds=skew_s)


def test_a_network_whose_clock_is_off_stamps_every_query_so():
    network = make_network(skew=timedelta(seconds=-90))
    push = network.uplink(network.add_device())
    verify(push)
    assert not push.should_be_accepted
    assert parse_signed_query(push.query.encode()).at == NOW - timedelta(seconds=90)


def test_received_at_and_sent_at_are_what_is_on_the_wire():
    network = make_network(clock=lambda: NOW + timedelta(microseconds=123_456))
    push = network.uplink(network.add_device())
    assert read_uplink(push).heading.at == push.received_at < push.sent_at
    assert parse_signed_query(push.query.encode()).at == push.sent_at


# --- repeatable, and silent about secrets


def all_kinds(network: SimulatedNetwork) -> list[Push]:
    otaa, abp = network.add_device(), network.add_device(activation="abp")
    return [
        make_report(network, abp if kind is ReportKind.RESET else otaa, kind, content_type=form)
        for kind, form in product(ReportKind, ContentType)
    ]


def test_the_same_seed_gives_the_same_pushes():
    assert all_kinds(encrypting_network(seed=7)) == all_kinds(encrypting_network(seed=7))


def test_another_seed_gives_other_pushes():
    one, other = all_kinds(encrypting_network(seed=7)), all_kinds(encrypting_network(seed=8))
    assert all(a.body != b.body for a, b in zip(one, other, strict=True))


def test_what_is_printed_holds_no_key_token_or_payload():
    network = encrypting_network()
    device = network.add_device()
    push = network.uplink(device, payload=b"secret reading")
    shown = f"{network!r} {device!r} {push!r} {network._signer!r} {device.frame(NOW, 1, b'secret reading')!r}"
    token = parse_signed_query(push.query.encode()).token
    for secret in (
        KEY,
        KEY.replace("-", "").lower(),
        token,
        device.app_s_key.reveal().hex(),
        "secret",
        repr(b"se")[:-1],
    ):
        assert secret not in shown
