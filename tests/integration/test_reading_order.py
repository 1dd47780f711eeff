"""`late`: frames that were buffered in the gateway, and frames that are read after a newer one of their session."""

from __future__ import annotations

from datetime import timedelta

import pytest

from receiver.storage.tables import sessions, uplinks
from tests.integration.reading_field import HELLO, changed


def lateness(field):
    return [(row.f_cnt_up, row.late) for row in field.rows(uplinks)]


def five_uplinks(field, network, device):
    pushes = []
    for _ in range(5):
        pushes.append(network.uplink(device, f_port=5, payload=HELLO))
        field.wait(seconds=10)
    return pushes


@pytest.mark.parametrize("together", [True, False])
def test_a_frame_with_a_lower_counter_than_the_newest_of_its_session_is_late(field, together):
    network = field.connect()
    one, two, three, four, five = five_uplinks(field, network, network.add_device())
    order = [one, three, two, five, four]
    for some in [order] if together else [[push] for push in order]:
        field.take_and_read(*some)

    # The reports of one transaction are stored in an order of their own, so only the rows tell the order of reading.
    newest = -1
    for f_cnt_up, late in lateness(field):
        assert late == (f_cnt_up < newest)
        newest = max(newest, f_cnt_up)
    assert field.count(sessions) == 1


def test_frames_in_their_order_are_not_late(field):
    network = field.connect()
    for push in five_uplinks(field, network, network.add_device()):
        field.take_and_read(push)

    assert lateness(field) == [(n, False) for n in range(5)]


def test_a_counter_that_begins_anew_is_not_late(field):
    network = field.connect()
    device = network.add_device(activation="abp")
    field.take_and_read(*five_uplinks(field, network, device))
    field.wait(hours=1)
    device.reset()
    field.take_and_read(network.uplink(device, f_port=5, payload=b"anew"))

    assert lateness(field)[-1] == (0, False)
    assert field.count(sessions) == 2


def test_a_copy_of_an_older_frame_is_no_late_frame(field):
    network = field.connect()
    one, two, *_ = five_uplinks(field, network, network.add_device())
    field.take_and_read(one)
    field.take_and_read(two)
    field.take_and_read(changed(network, one, Time=(field.now - timedelta(seconds=49)).isoformat()))

    assert lateness(field) == [(0, False), (1, False)]


def test_a_frame_that_waited_for_its_key_is_not_late_when_it_is_read_again(field):
    network = field.connect(encrypted=True)
    for push in five_uplinks(field, network, network.add_device()):
        field.take_and_read(push)
    field.import_as_transport_key(force=True)
    field.read()

    assert lateness(field) == [(n, False) for n in range(5)]
    assert {state for _, state, _ in field.payloads()} == {"decrypted"}
