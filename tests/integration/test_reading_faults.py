"""Stored keys that do not open: the uplinks that need them wait, and everything else is read."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import text

from receiver.keyring import KEK_BYTES, Keyring
from receiver.services.devices import set_app_s_key
from receiver.services.reading import read_again_what_did_not_open, read_batch
from receiver.storage.engine import write
from receiver.storage.tables import reports, uplinks
from tests.integration.reading_field import HELLO, encrypted_push

OTHER_KEYRING = Keyring(bytes(KEK_BYTES))


def damage_the_app_s_key_of(field, device):
    with write(field.engine) as connection:
        sql = (
            "UPDATE session_keys SET sealed_app_s_key = :damaged"
            " WHERE session_id IN (SELECT id FROM sessions WHERE dev_eui = :dev_eui)"
        )
        connection.execute(text(sql), {"damaged": b"\x01" * 49, "dev_eui": device.dev_eui})


@pytest.fixture
def broken_and_whole(field):
    """Two devices that were heard; the stored AppSKey of the first does not open any more."""
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    broken, whole = network.add_device(), network.add_device()
    for device in (broken, whole):
        field.take_and_read(network.uplink(device, f_port=5, payload=b"before"))
    damage_the_app_s_key_of(field, broken)
    return network, broken, whole


@pytest.mark.parametrize("key_field", [True, False])
def test_the_uplinks_of_a_session_whose_key_does_not_open_wait_and_the_others_are_read(
    field, broken_and_whole, key_field
):
    network, broken, whole = broken_and_whole
    field.wait(minutes=1)
    field.take_and_read(
        *(encrypted_push(network, device, tells=1, key_field=key_field) for device in (broken, whole, broken))
    )

    states = {(row.dev_eui, row.f_cnt_up): row.payload_state for row in field.rows(uplinks) if row.f_cnt_up}
    assert states == {
        (broken.dev_eui, 1): "waiting_for_key",
        (broken.dev_eui, 2): "waiting_for_key",
        (whole.dev_eui, 1): "decrypted",
    }
    waiting = field.rows(reports, state="waiting_for_key")
    assert {row.dev_eui for row in waiting} == {broken.dev_eui}
    assert all("does not open with this key-encryption key" in row.note for row in waiting)


def test_a_session_whose_key_does_not_open_is_read_when_a_person_sets_the_key(field, broken_and_whole):
    network, broken, _ = broken_and_whole
    field.wait(minutes=1)
    field.take_and_read(encrypted_push(network, broken, tells=1, key_field=False))

    set_app_s_key(field.engine, field.keyring, field.now, broken.dev_eui, broken.dev_addr, broken.app_s_key)
    field.read()

    assert {state for _, state, _ in field.payloads()} == {"decrypted"}
    assert set(field.states()) == {"read"}


def test_a_counter_reset_of_a_session_whose_key_does_not_open_stops_nobody(field, broken_and_whole):
    network, broken, _ = broken_and_whole
    field.wait(hours=1)
    field.take_and_read(encrypted_push(network, broken, tells=1, key_field=False, f_cnt_up=0))

    # The wrapped AppSKey stands beside the sealed one, and is unwrapped anew for the new session.
    assert field.rows(uplinks)[-1].payload_state == "decrypted"


def test_what_was_read_with_a_wrong_key_encryption_key_is_read_again_with_the_right_one(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device, fresh, clear = network.add_device(), network.add_device(), network.add_device(payloads="clear")
    field.take_and_read(network.uplink(device, f_port=5, payload=HELLO))
    field.wait(minutes=1)
    field.take(*(network.uplink(one, f_port=5, payload=HELLO) for one in (device, fresh, clear)))
    while read_batch(field.engine, OTHER_KEYRING, field.now, 200):
        pass
    assert sorted(row.payload_state for row in field.rows(uplinks)) == [
        *("clear", "decrypted", "waiting_for_key", "waiting_for_key"),
    ]

    assert read_again_what_did_not_open(field.engine) == 2
    field.read()

    assert sorted({row.payload_state for row in field.rows(uplinks)}) == ["clear", "decrypted"]
    assert set(field.states()) == {"read"}


def test_nothing_that_waits_for_another_reason_is_read_again(field):
    network = field.connect(encrypted=True)
    field.take_and_read(network.uplink(network.add_device(), f_port=5, payload=HELLO))

    assert read_again_what_did_not_open(field.engine) == 0
    assert field.states() == ["waiting_for_key"]


def test_a_key_that_does_not_open_is_told_once_a_minute_and_never_shown(field, broken_and_whole, caplog):
    network, broken, _ = broken_and_whole
    told = []
    with caplog.at_level(logging.ERROR):
        for seconds in (0, 120, 10, 10, 60):
            field.wait(seconds=seconds)
            field.take_and_read(encrypted_push(network, broken, tells=1, key_field=False))
            told.append(sum("stored_keys_do_not_open" in record.getMessage() for record in caplog.records))
            shown = caplog.text
            caplog.clear()

    assert told[1:] == [1, 0, 0, 1]
    assert broken.app_s_key.reveal().hex() not in shown
