"""Sessions: joins, counter resets and late frames; copies of a frame and conflicts."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from receiver.services.devices import set_app_s_key
from receiver.storage.tables import deliveries, devices, notifications, reports, sessions, uplinks
from tests.integration.reading_field import HELLO, changed

# --- joins, resets, late frames


def test_a_rejoin_begins_a_session_with_its_own_address_key_and_counter(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    field.take_and_read(network.join(device), network.uplink(device, f_port=5, payload=b"one"))
    first = device.dev_addr
    field.wait(hours=3)
    field.take_and_read(network.join(device), network.uplink(device, f_port=5, payload=b"two"))

    assert field.payloads() == [(0, "decrypted", b"one"), (0, "decrypted", b"two")]
    assert [(row.dev_addr, row.began_by) for row in field.rows(sessions)] == [
        (first, "join"),
        (device.dev_addr, "join"),
    ]
    assert not any(row.conflicting for row in field.rows(uplinks))


def test_a_rejoin_whose_notification_was_lost_shows_in_the_first_report(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    field.take_and_read(network.uplink(device, f_port=5, payload=b"one"))
    field.wait(hours=3)
    network.join(device)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"two"))

    assert field.payloads() == [(0, "decrypted", b"one"), (0, "decrypted", b"two")]
    assert field.count(sessions) == 2


def test_a_new_key_under_the_same_address_is_a_new_session(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    field.take_and_read(network.uplink(device, f_port=5, payload=b"one"))
    address = device.dev_addr
    field.wait(seconds=30)
    network.join(device)
    device.dev_addr = address
    field.take_and_read(network.uplink(device, f_port=5, payload=b"two"))

    assert field.payloads() == [(0, "decrypted", b"one"), (0, "decrypted", b"two")]
    assert [row.began_by for row in field.rows(sessions)] == ["first_seen", "app_s_key"]
    assert not any(row.conflicting for row in field.rows(uplinks))


def test_a_late_frame_of_the_session_before_a_rejoin_is_decrypted_with_its_own_key(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    field.take_and_read(network.join(device), network.uplink(device, f_port=5, payload=b"one"))
    network.hold(device)
    held = device.held[0]
    field.wait(minutes=30)
    field.take_and_read(network.join(device), network.uplink(device, f_port=5, payload=b"two"))
    late = network.late_uplink(device)
    field.take_and_read(late)

    row = field.row(uplinks, late=True)
    assert (row.dev_addr, row.f_cnt_up, bytes(row.frm_payload)) == (held.dev_addr, held.f_cnt_up, late.clear_payload)
    assert field.count(sessions) == 2


def test_a_join_that_is_delivered_twice_is_one_session_and_one_notification(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    join = network.join(device)
    field.take_and_read(join)
    field.take_and_read(network.again_in_a_new_delivery(join))

    assert (field.count(sessions), field.count(notifications)) == (1, 1)


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_counter_reset_that_the_network_tells_is_a_new_session_with_the_same_key(field, encrypted):
    network = field.connect(encrypted=encrypted)
    device = network.add_device(activation="abp")
    if encrypted:
        set_app_s_key(field.engine, field.keyring, field.now, device.dev_eui, device.dev_addr, device.app_s_key)
    field.take_and_read(*(network.uplink(device, f_port=5, payload=bytes([n])) for n in range(3)))
    field.wait(hours=1)
    field.take_and_read(network.reset(device))
    field.wait(seconds=10)
    field.take_and_read(*(network.uplink(device, f_port=5, payload=bytes([n + 10])) for n in range(3)))

    state = "decrypted" if encrypted else "clear"
    assert field.payloads() == [(n, state, bytes([n + m])) for n in range(3) for m in (0, 10)]
    assert [row.began_by for row in field.rows(sessions)][1:] == ["counter_reset"]
    reset = field.row(notifications)
    assert (reset.type, reset.detail, reset.session_id) == ("reset", "automatic_reset", field.rows(sessions)[1].id)
    assert not any(row.conflicting for row in field.rows(uplinks))


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_counter_that_drops_is_a_new_session_with_the_same_key(field, encrypted):
    network = field.connect(encrypted=encrypted)
    device = network.add_device(activation="abp")
    if encrypted:
        set_app_s_key(field.engine, field.keyring, field.now, device.dev_eui, device.dev_addr, device.app_s_key)
    field.take_and_read(*(network.uplink(device, f_port=5, payload=bytes([n])) for n in range(3)))
    field.wait(hours=1)
    device.reset()
    field.take_and_read(*(network.uplink(device, f_port=5, payload=bytes([n + 10])) for n in range(3)))

    state = "decrypted" if encrypted else "clear"
    assert field.payloads() == [(n, state, bytes([n + m])) for n in range(3) for m in (0, 10)]
    assert [row.began_by for row in field.rows(sessions)][1:] == ["counter_reset"]
    assert not any(row.conflicting for row in field.rows(uplinks))


def test_a_device_that_restarts_and_sends_the_very_same_frame_has_two_uplinks(field):
    network = field.connect()
    device = network.add_device(activation="abp")
    first = network.uplink(device, f_port=5, payload=HELLO)
    field.take_and_read(first)
    field.wait(hours=1)
    body = json.loads(first.body)["DevEUI_uplink"]
    again = network.uplink(device, f_port=5, payload=HELLO, f_cnt_up=0)
    field.take_and_read(changed(network, again, mic_hex=body["mic_hex"]))

    assert field.payloads() == [(0, "clear", HELLO)] * 2
    assert field.count(sessions) == 2


@pytest.mark.parametrize("seconds", [-1, 0, 1, 30])
def test_a_reset_told_around_its_first_uplink_is_one_new_session(field, seconds):
    """The notification's Time may be a little before or after that of the frame that showed the reset."""
    network = field.connect()
    device = network.add_device(activation="abp")
    field.take_and_read(*(network.uplink(device, f_port=5, payload=b"old") for _ in range(3)))
    field.wait(hours=1)
    reset = network.reset(device, at=field.now)
    first = network.uplink(device, f_port=5, payload=b"new", received_at=field.now - timedelta(seconds=seconds))
    field.take_and_read(first)
    field.take_and_read(reset)
    field.wait(minutes=10)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"newer"))

    old, new = field.rows(sessions)
    assert [row.session_id for row in field.rows(uplinks)] == [old.id] * 3 + [new.id] * 2
    assert field.row(notifications).session_id == new.id


def test_a_late_frame_keeps_its_place_and_is_no_restart(field):
    network = field.connect()
    device = network.add_device(activation="abp")
    field.take_and_read(network.uplink(device))
    network.hold(device)
    held_at = field.now
    field.wait(minutes=30)
    field.take_and_read(network.uplink(device))
    field.wait(minutes=30)
    field.take_and_read(network.late_uplink(device))

    rows = field.rows(uplinks)
    assert [(row.f_cnt_up, row.late) for row in rows] == [(0, False), (2, False), (1, True)]
    assert (rows[2].at, rows[2].lost_uplinks) == (held_at, -1)
    assert field.count(sessions) == 1


def test_a_late_frame_leaves_the_devices_counter_where_it_is(field):
    network = field.connect()
    device = network.add_device()
    network.hold(device)
    field.wait(minutes=30)
    field.take_and_read(network.uplink(device))
    field.take_and_read(network.late_uplink(device))

    assert field.row(devices).last_f_cnt_up == 1


def test_frames_read_out_of_their_order_are_no_restart(field):
    network = field.connect()
    device = network.add_device()
    pushes = []
    for _ in range(5):
        pushes.append(network.uplink(device))
        field.wait(seconds=10)
    for push in reversed(pushes):
        field.take_and_read(push)

    assert field.count(sessions) == 1
    assert field.row(sessions).last_f_cnt_up == 4
    assert field.row(devices).last_f_cnt_up == 4


def test_a_counter_that_comes_to_its_end_begins_anew(field):
    network = field.connect(encrypted=True)
    device = network.add_device(activation="abp", f_cnt_up=2**32 - 1)
    set_app_s_key(field.engine, field.keyring, field.now, device.dev_eui, device.dev_addr, device.app_s_key)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"last"))
    field.wait(minutes=10)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"first"))

    assert field.payloads() == [(0, "decrypted", b"first"), (2**32 - 1, "decrypted", b"last")]


# --- copies and conflicts


def test_the_same_frame_with_another_time_is_one_uplink_with_two_deliveries(field):
    network = field.connect()
    push = network.uplink(network.add_device(), f_port=5, payload=HELLO)
    copy = changed(network, push, Time="2026-11-20T13:00:01.5+01:00")
    field.take_and_read(push)
    field.take_and_read(copy)

    assert field.payloads() == [(0, "clear", HELLO)]
    first, second = field.rows(reports)
    assert (first.deliveries, second.state) == (2, "read")
    assert f"the frame in report {first.id}" in second.note
    assert field.row(deliveries).report_id == first.id


def test_the_same_frame_with_another_time_in_one_batch_is_one_uplink(field):
    network = field.connect()
    push = network.uplink(network.add_device(), f_port=5, payload=HELLO)
    field.take_and_read(push, changed(network, push, Time="2026-11-20T13:00:01.5+01:00"))

    assert field.payloads() == [(0, "clear", HELLO)]
    assert sorted(row.deliveries for row in field.rows(reports)) == [1, 2]


def test_the_same_frame_over_two_connections_is_one_uplink(field):
    one, other = field.connect("one"), field.connect("other")
    push = one.uplink(one.add_device(), f_port=5, payload=HELLO)
    field.take_and_read(push, name="one")
    field.take_and_read(other._signer.deliver(push), name="other")

    assert field.payloads() == [(0, "clear", HELLO)]
    assert field.row(reports).deliveries == 2


def test_a_join_request_in_two_deliveries_is_one_uplink(field):
    network = field.connect()
    push = network.join_request(network.add_device())
    field.take_and_read(push)
    field.take_and_read(network.again_in_a_new_delivery(push))

    assert field.count(uplinks) == 1
    assert field.row(reports).deliveries == 2


def test_two_join_requests_are_two_uplinks(field):
    network = field.connect()
    device = network.add_device()
    field.take_and_read(network.join_request(device), network.join_request(device))

    assert field.count(uplinks) == 2


def test_a_copy_brings_the_key_that_the_first_delivery_lacked(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    push = network.uplink(network.add_device(), f_port=5, payload=HELLO)
    without = changed(network, push, ["AppSKey"])
    copy = changed(network, push, Time="2026-11-20T13:00:01.5+01:00")
    field.take_and_read(without)
    assert field.payloads() == [(0, "waiting_for_key", None)]

    field.take_and_read(copy)

    assert field.payloads() == [(0, "decrypted", HELLO)]


@pytest.mark.parametrize("together", [True, False])
def test_another_payload_under_the_same_counter_is_kept_and_both_are_flagged(field, together):
    network = field.connect()
    device = network.add_device()
    pushes = [network.uplink(device, f_port=5, payload=payload, f_cnt_up=4) for payload in (b"one", b"two")]
    for some in [pushes] if together else [[push] for push in pushes]:
        field.take_and_read(*some)

    assert sorted(payload for _, _, payload in field.payloads()) == [b"one", b"two"]
    assert [row.conflicting for row in field.rows(uplinks)] == [True, True]
    assert field.states() == ["read", "read"]


def test_a_copy_of_a_conflicting_frame_is_still_a_copy(field):
    network = field.connect()
    device = network.add_device()
    one, two = (network.uplink(device, f_port=5, payload=payload, f_cnt_up=4) for payload in (b"one", b"two"))
    field.take_and_read(one, two)
    field.take_and_read(changed(network, two, Time="2026-11-20T13:00:01.5+01:00"))

    assert field.count(uplinks) == 2
