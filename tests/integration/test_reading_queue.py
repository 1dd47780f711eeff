"""The reports as a queue: other kinds, unreadable ones, reading again, two readers at once."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Barrier, Thread

import pytest
from sqlalchemy import event, text

from receiver.lorawan.frm_payload import Direction, encrypt_frm_payload
from receiver.lorawan.keys import AesKey
from receiver.services.connections import add_tunnel_key, remove_connection
from receiver.services.reading import read_batch
from receiver.simulator.network import SimulatedNetwork
from receiver.storage.engine import driver_cursor, open_engine, write
from receiver.storage.inbox_rows import insert_new_reports
from receiver.storage.reports import NewReport
from receiver.storage.tables import (
    deliveries,
    devices,
    locations,
    notifications,
    receptions,
    reports,
    sessions,
    tunnel_key_uses,
    uplinks,
)
from tests.integration.reading_field import AS_ID, FIX, FULL_UPLINK, HELLO, changed, refuse_inserts

# --- other kinds, and what cannot be read


@pytest.mark.parametrize(
    "kind", ["downlink_sent", "downlink_rejected", "multicast_summary", "alarm", "cellular", "never_seen"]
)
@pytest.mark.parametrize("content_type", ["xml", "jsontyped", "json"])
def test_reports_of_other_kinds_are_read_and_show_the_device(field, kind, content_type):
    network = field.connect()
    device = network.add_device()
    push = getattr(network, kind)(device, content_type=content_type)
    field.take_and_read(push)

    report = field.row(reports)
    assert (report.state, report.kind, report.dev_eui) == ("read", push.kind, device.dev_eui)
    assert bytes(report.body) == push.body
    assert field.row(devices).dev_eui == device.dev_eui
    assert field.count(uplinks) == 0


def test_a_report_that_names_no_device_is_read(field):
    network = field.connect()
    push = network.alarm(network.add_device())
    members = json.loads(push.body)["DevEUI_alarm"]
    del members["DevEUI"]
    push = network._signer.deliver(replace(push, kind="BS_alarm", body=json.dumps({"BS_alarm": members}).encode()))
    field.take_and_read(push)

    report = field.row(reports)
    assert (report.state, report.kind, report.dev_eui) == ("read", "BS_alarm", None)
    assert field.count(devices) == 0


def stored_as_it_is(field, body, *, dev_eui="20635F0000000001", number=1):
    """Store a body that no network of today signs, as an earlier version might have."""
    report = NewReport(
        connection_id=field.row(reports.metadata.tables["connections"]).id,
        tunnel_key_id=1,
        kind="DevEUI_uplink",
        content_type="json",
        dev_eui=dev_eui,
        received_at=field.now,
        sent_at=field.now,
        delivery_id=number.to_bytes(16, "big"),
        frame_id=None,
        query="LrnInfos=1",
        body=body,
    )
    with driver_cursor(field.engine) as cursor:
        insert_new_reports(cursor, field.engine.dialect.name, [report])


@pytest.mark.parametrize("body", [b"", b"{", b"<a/>", b'{"DevEUI_uplink":{}}', b"\xff\xfe", b"[]", b"\0" * 100])
def test_a_report_that_cannot_be_read_is_flagged_and_kept_whole(field, body):
    field.connect()
    stored_as_it_is(field, body)
    field.read()

    report = field.row(reports)
    assert report.state == "unreadable"
    assert report.note.endswith(".")
    assert (bytes(report.body), report.dev_eui) == (body, "20635F0000000001")
    assert field.read() == 0


def test_an_unreadable_report_holds_up_nobody(field):
    network = field.connect()
    field.take(network.uplink(network.add_device()))
    stored_as_it_is(field, b"junk")
    field.take(network.uplink(network.add_device()))
    field.read()

    assert field.states() == ["read", "unreadable", "read"]


def test_a_report_whose_rows_the_database_refuses_is_flagged_and_holds_up_nobody(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    bad, good = network.add_device(dev_eui="20635F00000000BB"), [network.add_device() for _ in range(3)]
    refuse_inserts(field.engine, "uplinks", "dev_eui = '20635F00000000BB'")
    pushes = [network.uplink(device, f_port=5, payload=HELLO) for device in (good[0], bad, good[1], bad, good[2])]
    field.take_and_read(*pushes)

    assert field.states() == ["read", "unreadable", "read", "unreadable", "read"]
    assert {bytes(row.frm_payload) for row in field.rows(uplinks)} == {HELLO}
    refused = field.rows(reports)[1]
    assert refused.dev_eui == bad.dev_eui
    assert "kept whole" in refused.note
    assert HELLO.hex() not in refused.note


# --- counting, repeating, together


def test_the_hits_of_a_tunnel_key_are_counted_once(field):
    network = field.connect(encrypted=True)
    device = network.add_device()
    for _ in range(3):
        field.wait(minutes=1)
        field.take_and_read(network.uplink(device, f_port=5, payload=HELLO))
    assert field.row(tunnel_key_uses).hits == 3

    field.import_as_transport_key(force=True)
    field.read()

    use = field.row(tunnel_key_uses)
    assert (use.hits, use.last_used_at) == (3, field.now)


def test_the_hits_are_counted_for_the_key_that_signed(field):
    network = field.connect()
    key_2 = "9f86d081884c7d659a2feaa0c55ad015"
    add_tunnel_key(field.engine, field.keyring, field.now, "field", key_2)
    newer = SimulatedNetwork(key=key_2, as_id=AS_ID, clock=lambda: field.now, seed=8)
    field.take_and_read(*(network.uplink(network.add_device()) for _ in range(2)))
    field.take_and_read(*(newer.uplink(newer.add_device()) for _ in range(3)))

    assert [row.hits for row in field.rows(tunnel_key_uses)] == [2, 3]


def test_the_hits_of_a_poisoned_batch_are_counted_once(field):
    network = field.connect()
    refuse_inserts(field.engine, "uplinks", "dev_eui = '20635F00000000BB'")
    bad = network.add_device(dev_eui="20635F00000000BB")
    field.take_and_read(network.uplink(bad), network.uplink(network.add_device()))

    assert field.row(tunnel_key_uses).hits == 2


ALL_TABLES = (deliveries, devices, locations, notifications, receptions, sessions, uplinks)


def a_bit_of_everything(network):
    """Give pushes of every kind, with a rejoin, a copy, a conflict and a stale fix."""
    device = network.add_device(name="Meter 1")
    uplink = network.uplink(device, f_port=5, payload=HELLO)
    copy = network._signer.deliver(replace(uplink, body=uplink.body.replace(b"+01:00", b"+01:00", 1)))
    return [
        network.join_request(device),
        network.join(device),
        network.uplink(device, f_port=5, payload=b"one"),
        network.location(device, fix=FIX),
        network.uplink(device, f_port=5, payload=b"two"),
        network.uplink(device, f_port=5, payload=b"three", f_cnt_up=1),
        network.empty_uplink(device),
        network.device_status(device),
        network.downlink_sent(device),
        network.never_seen(device),
        uplink,
        copy,
    ]


@pytest.mark.parametrize("with_key", [True, False])
def test_reading_again_changes_nothing(field, with_key):
    network = field.connect(encrypted=True)
    if with_key:
        field.import_as_transport_key()
    field.take_and_read(*a_bit_of_everything(network))
    before = {table.name: field.rows(table) for table in ALL_TABLES}
    states = field.states()
    with write(field.engine) as connection:
        connection.execute(text("UPDATE reports SET state = 'unread' WHERE state <> 'unreadable'"))

    field.read()

    assert field.states() == states
    assert {table.name: field.rows(table) for table in ALL_TABLES} == before


def test_reading_one_by_one_or_in_one_batch_comes_to_the_same(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    field.take(*a_bit_of_everything(network))
    field.read(limit=1)
    alone = field.payloads()
    counts = {table.name: field.count(table) for table in ALL_TABLES}
    with write(field.engine) as connection:
        for table in (receptions, uplinks, locations, notifications, sessions, deliveries, devices):
            connection.execute(table.delete())
        connection.execute(text("UPDATE reports SET state = 'unread'"))

    field.read(limit=200)

    assert field.payloads() == alone
    assert {table.name: field.count(table) for table in ALL_TABLES if table is not deliveries} == {
        name: count for name, count in counts.items() if name != "deliveries"
    }


@pytest.mark.parametrize("limit", [3, 50])
def test_two_readers_at_once_neither_double_nor_lose(field, database_url, limit):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    fleet = [network.add_device() for _ in range(5)]
    field.take(*(network.uplink(device, f_port=5, payload=bytes([n])) for n in range(30) for device in fleet))
    together, failures = Barrier(2), []

    def work():
        own = open_engine(database_url)
        try:
            together.wait(30)
            while read_batch(own, field.keyring, field.now, limit):
                pass
        except Exception as exc:  # noqa: BLE001 - told by the test's own thread
            failures.append(exc)
        finally:
            own.dispose()

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert set(field.states()) == {"read"}
    assert field.payloads() == [(n, "decrypted", bytes([n])) for n in range(30) for _ in fleet]
    assert field.count(sessions) == 5
    assert field.row(tunnel_key_uses).hits == 150


def test_reports_of_a_removed_connection_are_read_all_the_same(field):
    network = field.connect()
    field.take(network.uplink(network.add_device(), f_port=5, payload=HELLO))
    remove_connection(field.engine, "field")
    field.read()

    assert field.payloads() == [(0, "clear", HELLO)]
    assert (field.states(), field.row(uplinks).connection_id) == (["read"], None)


def test_a_connection_that_is_removed_while_its_reports_are_read_costs_none_of_them(field, database_url):
    network = field.connect()
    field.take(*(network.uplink(network.add_device(), f_port=5, payload=HELLO) for _ in range(3)))
    other = open_engine(database_url)

    removals = []

    def remove_it(_connection, _cursor, statement, *_):
        if "FROM reports" in statement and not removals:  # the reader has only listed them
            removals.append(remove_connection(other, "field"))

    event.listen(field.engine, "after_cursor_execute", remove_it)
    read_batch(field.engine, field.keyring, field.now, 200)
    other.dispose()

    assert field.states() == ["read"] * 3
    assert field.count(uplinks) == 3


def test_a_payload_decrypts_as_the_device_encrypted_it(field):
    """Beside the simulator: the whole way from key, address and counter, spelled out."""
    network = field.connect(encrypted=True, app_s_keys="clear")
    key = AesKey(bytes(range(16)))
    device = network.add_device(dev_eui="20635F0000000001")
    encrypted = encrypt_frm_payload(key, "04AB12CD", 70000, HELLO, Direction.UP).hex()
    members = FULL_UPLINK | {"payload_hex": encrypted, "AppSKey": key.reveal().hex(), "PayloadEncryption": 1}
    field.take_and_read(changed(network, network.uplink(device, f_port=3), **members))

    assert field.payloads() == [(70000, "decrypted", HELLO)]
