"""AppSKeys: from reports, from joins, by hand; before their uplinks or long after them."""

from __future__ import annotations

from threading import Thread

import pytest
from sqlalchemy import text

from receiver.lorawan.keys import AesKey
from receiver.services.as_transport_keys import import_clear
from receiver.services.devices import set_app_s_key
from receiver.storage.engine import open_engine, read, write
from receiver.storage.reports import lock_reading
from receiver.storage.tables import notifications, reports, sessions, tunnel_key_uses, uplinks
from tests.integration.reading_field import AS_TRANSPORT_KEY, HELLO, changed, encrypted_push

# --- where keys come from


def test_an_app_s_key_in_the_report_is_unwrapped_and_kept_for_its_session(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    field.take_and_read(network.uplink(device, f_port=5, payload=HELLO))
    field.take_and_read(encrypted_push(network, device, payload=b"next", tells=1, key_field=False))

    assert field.payloads() == [(0, "decrypted", HELLO), (1, "decrypted", b"next")]
    assert field.row(sessions).dev_addr == device.dev_addr


def test_an_app_s_key_in_a_join_notification_reads_the_uplinks_after_it(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    field.take_and_read(network.join(device))
    field.take_and_read(encrypted_push(network, device, tells=1, key_field=False))

    assert field.payloads() == [(0, "decrypted", HELLO)]
    session, joined = field.row(sessions), field.row(notifications)
    assert (session.began_by, joined.type, joined.session_id) == ("join", "join", session.id)
    assert joined.dev_addr == device.dev_addr


def test_an_app_s_key_set_by_hand_reads_an_abp_device(field):
    network = field.connect(encrypted=True)
    device = network.add_device(activation="abp")
    set_app_s_key(field.engine, field.keyring, field.now, device.dev_eui, device.dev_addr, device.app_s_key)
    field.take_and_read(network.uplink(device, f_port=5, payload=HELLO))

    assert field.payloads() == [(0, "decrypted", HELLO)]
    assert field.row(sessions).began_by == "manual"


def test_an_app_s_key_set_by_hand_is_not_replaced_by_one_of_a_report(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device(activation="abp")
    set_app_s_key(field.engine, field.keyring, field.now, device.dev_eui, device.dev_addr, device.app_s_key)
    push = changed(network, network.uplink(device, f_port=5, payload=HELLO), AppSKey="00" * 16)
    field.take_and_read(push)

    assert field.payloads() == [(0, "decrypted", HELLO)]


def test_an_app_s_key_that_comes_in_clear_is_used_and_not_kept_readable(field):
    network = field.connect(encrypted=True, app_s_keys="clear")
    device = network.add_device(app_s_key_form="clear")
    push = network.uplink(device, f_port=5, payload=HELLO)
    field.take_and_read(push)
    field.take_and_read(encrypted_push(network, device, payload=b"next", tells=1, key_field=False))

    assert field.payloads() == [(0, "decrypted", HELLO), (1, "decrypted", b"next")]
    with read(field.engine) as connection:
        stored = connection.execute(text("SELECT wrapped_field, sealed_app_s_key FROM session_keys")).one()
    assert device.app_s_key.reveal().hex() not in stored.wrapped_field
    assert device.app_s_key.reveal() not in bytes(stored.sealed_app_s_key)


def test_a_key_in_clear_in_a_join_notification_reads_the_uplinks_after_it(field):
    network = field.connect(encrypted=True, app_s_keys="clear")
    device = network.add_device(app_s_key_form="clear")
    field.take_and_read(network.join(device), encrypted_push(network, device, tells=1, key_field=False))

    assert field.payloads() == [(0, "decrypted", HELLO)]


# --- keys that come later


def test_uplinks_wait_for_the_as_transport_key_and_are_read_when_it_is_imported(field):
    network = field.connect(encrypted=True)
    devices_ = [network.add_device() for _ in range(3)]
    pushes = [network.uplink(device, f_port=5, payload=bytes([n])) for n in range(4) for device in devices_]
    field.take_and_read(*pushes)

    assert {state for _, state, _ in field.payloads()} == {"waiting_for_key"}
    assert set(field.states()) == {"waiting_for_key"}
    assert field.rows(uplinks)[0].payload_size_bytes == 1

    assert field.import_as_transport_key(force=True).reports_to_read_again == 12
    field.read()

    assert field.payloads() == [(n, "decrypted", bytes([n])) for n in range(4) for _ in devices_]
    assert set(field.states()) == {"read"}
    assert {row.note for row in field.rows(reports)} == {None}


def test_an_uplink_that_waits_says_so(field):
    network = field.connect(encrypted=True)
    field.take_and_read(network.uplink(network.add_device(), f_port=5, payload=HELLO))

    assert "key of its session is not known yet" in field.row(reports).note


def test_uplinks_that_wait_are_read_when_the_join_notification_comes_after_them(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    join = network.join(device)
    field.wait(seconds=20)
    field.take_and_read(
        *(encrypted_push(network, device, payload=bytes([n]), tells=1, key_field=False) for n in range(3))
    )
    assert {state for _, state, _ in field.payloads()} == {"waiting_for_key"}

    field.take_and_read(join)

    assert field.payloads() == [(n, "decrypted", bytes([n])) for n in range(3)]
    session = field.row(sessions)
    assert (session.began_by, session.started_at) == ("join", join.received_at)
    assert field.row(notifications).session_id == session.id


def test_uplinks_that_wait_are_read_when_a_later_report_brings_the_key(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    field.take_and_read(encrypted_push(network, device, payload=b"one", tells=1, key_field=False))
    assert field.payloads() == [(0, "waiting_for_key", None)]

    field.take_and_read(network.uplink(device, f_port=5, payload=b"two"))

    assert field.payloads() == [(0, "decrypted", b"one"), (1, "decrypted", b"two")]
    assert field.states() == ["read", "read"]
    assert field.count(sessions) == 1


def test_uplinks_that_wait_are_read_when_a_later_report_of_the_same_batch_brings_the_key(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    device = network.add_device()
    first = encrypted_push(network, device, payload=b"one", tells=1, key_field=False)
    field.take_and_read(first, network.uplink(device, f_port=5, payload=b"two"))

    assert field.payloads() == [(0, "decrypted", b"one"), (1, "decrypted", b"two")]


def test_uplinks_that_wait_are_read_when_a_person_sets_the_key(field):
    network = field.connect(encrypted=True)
    device = network.add_device(activation="abp")
    field.take_and_read(*(network.uplink(device, f_port=5, payload=bytes([n])) for n in range(3)))
    assert {state for _, state, _ in field.payloads()} == {"waiting_for_key"}

    count = set_app_s_key(field.engine, field.keyring, field.now, device.dev_eui, device.dev_addr, device.app_s_key)
    field.read()

    assert count == 3
    assert field.payloads() == [(n, "decrypted", bytes([n])) for n in range(3)]


def test_a_key_set_by_hand_reads_uplinks_from_before_a_counter_reset_as_well(field):
    network = field.connect(encrypted=True)
    device = network.add_device(activation="abp")
    field.take_and_read(*(network.uplink(device, f_port=5, payload=bytes([n])) for n in range(3)))
    field.wait(hours=1)
    field.take_and_read(network.reset(device))
    field.wait(minutes=1)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"new"))

    set_app_s_key(field.engine, field.keyring, field.now, device.dev_eui, device.dev_addr, device.app_s_key)
    field.read()

    assert field.payloads() == [
        (0, "decrypted", b"\0"),
        (0, "decrypted", b"new"),
        (1, "decrypted", b"\1"),
        (2, "decrypted", b"\2"),
    ]


def test_uplinks_that_were_taken_for_clear_are_read_again_when_a_person_sets_the_key(field):
    """On an older network nothing in an ABP device's report says that it is encrypted."""
    network = field.connect(encrypted=True, tells_payload_encryption=False)
    device = network.add_device(activation="abp")
    field.take_and_read(*(network.uplink(device, f_port=5, payload=bytes([n])) for n in range(3)))
    assert {state for _, state, _ in field.payloads()} == {"clear"}

    set_app_s_key(field.engine, field.keyring, field.now, device.dev_eui, device.dev_addr, device.app_s_key)
    field.read()

    assert field.payloads() == [(n, "decrypted", bytes([n])) for n in range(3)]
    assert field.row(tunnel_key_uses).hits == 3


def test_a_key_set_by_hand_with_a_mistake_is_corrected_by_setting_it_again(field):
    network = field.connect(encrypted=True)
    device = network.add_device(activation="abp")
    field.take_and_read(*(network.uplink(device, f_port=5, payload=HELLO + bytes([n])) for n in range(3)))
    for key in (AesKey(bytes(16)), device.app_s_key):
        set_app_s_key(field.engine, field.keyring, field.now, device.dev_eui, device.dev_addr, key)
        field.read()

    assert field.payloads() == [(n, "decrypted", HELLO + bytes([n])) for n in range(3)]


def test_a_key_of_one_device_leaves_the_others_waiting(field):
    network = field.connect(encrypted=True)
    one, other = network.add_device(activation="abp"), network.add_device(activation="abp")
    field.take_and_read(*(network.uplink(device, f_port=5, payload=HELLO) for device in (one, other)))
    set_app_s_key(field.engine, field.keyring, field.now, one.dev_eui, one.dev_addr, one.app_s_key)
    field.read()

    assert field.row(uplinks, dev_eui=one.dev_eui).payload_state == "decrypted"
    assert field.row(uplinks, dev_eui=other.dev_eui).payload_state == "waiting_for_key"


def test_waiting_is_no_endless_reading(field):
    network = field.connect(encrypted=True)
    field.take_and_read(*(network.uplink(network.add_device(), f_port=5, payload=HELLO) for _ in range(5)))

    assert field.read() == 0


def test_a_key_replaced_by_the_right_one_reads_what_comes_after_it(field):
    """A key imported with a typing mistake: the sessions that it unwrapped are unwrapped anew."""
    network = field.connect(encrypted=True)
    field.import_as_transport_key(key=AesKey(bytes(16)))
    device = network.add_device()
    field.take_and_read(network.uplink(device, f_port=5, payload=HELLO))
    assert field.payloads() != [(0, "decrypted", HELLO)]

    field.import_as_transport_key(replace=True, force=True)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"next"))

    assert field.payloads()[1] == (1, "decrypted", b"next")


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("way", ["by hand", "as transport key"])
def test_a_key_that_is_given_while_a_report_is_being_read_wakes_that_report(field, way, database_url):
    """The reader has not found the key and is about to say that the report waits."""
    network = field.connect(encrypted=True)
    device = network.add_device(activation="abp" if way == "by hand" else "otaa")
    field.take(network.uplink(device, f_port=5, payload=HELLO))
    own = open_engine(database_url)

    def give_key():
        if way == "by hand":
            set_app_s_key(own, field.keyring, field.now, device.dev_eui, device.dev_addr, device.app_s_key)
        else:
            import_clear(own, field.keyring, field.now, "field", AS_TRANSPORT_KEY.reveal().hex(), force=True)

    giver = Thread(target=give_key)
    with write(field.engine) as connection:
        lock_reading(connection)
        connection.execute(text("UPDATE reports SET state = 'waiting_for_key'"))
        giver.start()
        with own.connect() as watcher:  # until it waits for the reader, or has not waited
            blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while giver.is_alive() and not watcher.scalar(blocked):
                watcher.rollback()
    giver.join()
    own.dispose()

    assert field.states() == ["unread"]
