"""One frame is one uplink, however often and by whatever way it comes; and each of its deliveries is listed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from receiver.errors import NotFoundError
from receiver.services.connections import add_connection
from receiver.simulator.network import SimulatedNetwork
from receiver.storage.engine import read
from receiver.storage.inbox_rows import Outcome
from receiver.storage.tables import reports, sessions, uplinks
from receiver.storage.uplink_details import get_uplink
from tests.integration.reading_field import AS_ID, changed

OTHER_KEY = "c6f5e3b263092120b8766b9aed9c41b4"
ANOTHER_TIME = "2026-11-20T13:00:01.5+01:00"


@pytest.fixture
def network(field):
    return field.connect()


@pytest.fixture
def device(network):
    return network.add_device()


def connect_with_another_key(field, name="second"):
    """Add a connection with a tunnel key of its own; give a network that signs with it what another one sends."""
    add_connection(
        field.engine, field.keyring, field.now, name=name, platform="thingpark", as_id=AS_ID, tunnel_key=OTHER_KEY
    )
    return SimulatedNetwork(key=OTHER_KEY, as_id=AS_ID, clock=lambda: field.now, seed=8)


def details(field):
    """Give the one uplink there is."""
    row = field.row(uplinks)
    with read(field.engine) as connection:
        return get_uplink(connection, row.id)


def seen(field):
    """Give connection, key and times of each delivery of the one uplink."""
    uplink = details(field)
    assert uplink.columns["delivery_count"] == sum(delivery.times for delivery in uplink.deliveries)
    return [(delivery.connection, delivery.key_id, delivery.times) for delivery in uplink.deliveries]


def test_an_uplink_that_came_once_has_one_delivery(field, network, device):
    field.take_and_read(network.uplink(device))

    assert seen(field) == [("field", "k1", 1)]


def test_retries_of_one_delivery_are_counted_in_one_row(field, network, device):
    push = network.uplink(device)
    field.take_and_read(push)
    began = field.now
    for _ in range(3):
        field.wait(seconds=10)
        assert field.take_and_read(push) == [Outcome.DUPLICATE]

    assert seen(field) == [("field", "k1", 4)]
    [delivery] = details(field).deliveries
    assert (delivery.first_received_at, delivery.last_received_at) == (began, began + timedelta(seconds=30))


def test_a_fail_over_is_a_delivery_of_its_own(field, network, device):
    push = network.uplink(device)
    field.take_and_read(push)
    field.wait(seconds=2)
    assert field.take_and_read(network.again_in_a_new_delivery(push)) == [Outcome.DUPLICATE]

    assert seen(field) == [("field", "k1", 1), ("field", "k1", 1)]


def test_a_frame_over_two_connections_with_keys_of_their_own_is_one_uplink(field, network, device):
    push = network.uplink(device)
    second = connect_with_another_key(field)
    field.take_and_read(push)
    field.wait(seconds=1)
    assert field.take_and_read(second.again_in_a_new_delivery(push), name="second") == [Outcome.DUPLICATE]

    assert seen(field) == [("field", "k1", 1), ("second", "k1", 1)]


def test_a_copy_that_only_reading_knows_again_is_listed_with_its_own_retries(field, network, device):
    push = network.uplink(device)
    copy = changed(network, push, Time=ANOTHER_TIME)
    field.take_and_read(push, copy)
    field.wait(seconds=1)
    field.take_and_read(copy)
    field.take_and_read(network.again_in_a_new_delivery(copy))

    assert seen(field) == [("field", "k1", 1), ("field", "k1", 2), ("field", "k1", 1)]


def test_a_delivery_stays_listed_when_its_connection_is_gone(field, network, device):
    from receiver.services.connections import remove_connection

    field.take_and_read(network.uplink(device))
    remove_connection(field.engine, "field")

    assert seen(field) == [(None, None, 1)]


def test_conflicting_frames_are_two_uplinks_with_their_own_deliveries(field, network, device):
    one, two = (network.uplink(device, f_port=5, payload=payload, f_cnt_up=4) for payload in (b"one", b"two"))
    field.take_and_read(one, two)
    field.wait(seconds=1)
    field.take_and_read(network.again_in_a_new_delivery(two))

    with read(field.engine) as connection:
        found = [get_uplink(connection, row.id) for row in field.rows(uplinks)]
    by_payload = {uplink.columns["frm_payload"]: uplink for uplink in found}
    assert {uplink.columns["conflicting"] for uplink in found} == {True}
    assert len(by_payload[b"one".hex()].deliveries) == 1
    assert len(by_payload[b"two".hex()].deliveries) == 2


@pytest.mark.parametrize("restart", ["join", "reset", "silent"])
def test_the_same_counter_after_a_restart_is_another_uplink_of_another_session(field, network, restart):
    device = network.add_device(activation="otaa" if restart == "join" else "abp")
    field.take_and_read(*(network.uplink(device) for _ in range(3)))
    field.wait(hours=1)
    if restart == "silent":  # an ABP device that lost its counters, of which the network says nothing
        device.reset()
        begins = []
    else:
        begins = [getattr(network, restart)(device)]
    field.take_and_read(*begins, *(network.uplink(device) for _ in range(3)))

    rows = field.rows(uplinks)
    assert [row.f_cnt_up for row in rows] == [0, 1, 2, 0, 1, 2]
    assert field.count(sessions) == 2
    assert len({(row.session_id, row.f_cnt_up) for row in rows}) == 6
    assert not any(row.conflicting for row in rows)
    assert {row.deliveries for row in field.rows(reports)} == {1}


def test_receptions_are_listed_best_first(field, network, device):
    field.take_and_read(network.uplink(device, gateways=4))

    uplink = details(field)
    assert len(uplink.receptions) == 4
    assert uplink.receptions[0].lrr_id == uplink.columns["lrr_id"]


def test_an_uplink_that_is_not_there_is_told(field):
    with read(field.engine) as connection, pytest.raises(NotFoundError, match=r"^There is no uplink 7\."):
        get_uplink(connection, 7)


def test_every_delivery_counts_however_late_reading_finds_the_copy(field, network, device):
    push = network.uplink(device)
    copy = changed(network, push, Time=ANOTHER_TIME)
    field.take(push, copy)
    field.wait(seconds=1)
    field.take(copy)  # its retry, before anything was read
    field.read()
    field.wait(seconds=1)
    field.take_and_read(copy)
    field.take_and_read(network.again_in_a_new_delivery(copy))

    assert field.count(uplinks) == 1
    assert [(times) for _, _, times in seen(field)] == [1, 3, 1]
    first = field.rows(reports)[0]
    assert first.deliveries == 5
