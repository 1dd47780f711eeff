"""`GET /api/v1/stream`: events as they happen, without loss or repetition, over real sockets."""

from __future__ import annotations

import json
import threading
import time

import httpx
import pytest
from sqlalchemy import delete

from receiver.services.api_keys import revoke_api_key
from receiver.services.telling import tell_refused_pushes
from receiver.storage.engine import write
from receiver.storage.event_tables import events
from receiver.storage.events import EventKind
from receiver.storage.rejections import insert_rejections
from receiver.storage.tables import uplinks
from receiver.web.event_room import StreamTiming
from tests.integration.api_use import assert_refused, decode_all
from tests.integration.inbox_use import rejection_maker
from tests.integration.stream_use import StreamReader, stream_server, tell_of, until, utc_now

ONE, OTHER = "ONE", "OTHER"


@pytest.fixture
def server(engine, keyring):
    with stream_server(engine, keyring) as server:
        yield server


@pytest.fixture
def key(server):
    return server.new_key()


@pytest.fixture
def read_stream(server, key):
    """Give a function that opens a stream with some parameters; all are closed at the end."""
    opened = []

    def open_one(last_id=None, **parameters):
        reader = StreamReader(server.origin, key, **parameters)
        reader.last_id = last_id
        opened.append(reader)
        return reader.open()

    yield open_one
    for reader in opened:
        reader.close()


@pytest.fixture
def network(field):
    return field.connect()


@pytest.fixture
def device(network):
    return network.add_device()


@pytest.fixture
def uplink_id(field, network, device):
    """An uplink that was read, and told as event 1."""
    field.take_and_read(network.uplink(device, payload=b"first", f_port=2))
    return field.row(uplinks).id


# --- what a stream is


def test_a_stream_begins_with_what_happens_from_now_on(field, network, device, uplink_id, read_stream):
    reader = read_stream()

    field.take_and_read(network.uplink(device, payload=b"second", f_port=2))

    [event] = reader.wait_for(1)
    assert (event.id, event.type) == ("2", "uplink")
    told = json.loads(event.data)
    assert told["id"] == 2
    assert told["type"] == "uplink"
    assert told["timestamp"].endswith("Z")
    assert told["data"]["dev_eui"] == device.dev_eui
    assert told["data"]["frm_payload"] == b"second".hex()


def test_a_stream_says_that_it_is_one_and_is_not_to_be_stored_or_gathered(read_stream):
    reader = read_stream()

    assert reader.headers["content-type"] == "text/event-stream"
    assert reader.headers["cache-control"] == "no-store"
    assert reader.headers["x-accel-buffering"] == "no"
    assert reader.retry_ms == 2000
    until(lambda: reader.comments >= 3)
    assert reader.events == []


def test_a_reader_that_comes_back_before_anything_was_told_loses_nothing(uplink_id, engine, read_stream):
    reader = read_stream()
    reader.close()

    tell_of(engine, [uplink_id])
    reader.resume()

    reader.wait_for(1)
    assert reader.ids() == [2]


@pytest.mark.parametrize("kind", ["uplink", "telemetry", "rejection"])
def test_each_kind_of_event_is_told_as_what_it_is(field, engine, uplink_id, now, kind, read_stream):
    reader = read_stream()
    decode_all(engine, now, lambda _: {"temperature": 21.5})

    tell_of(engine, [uplink_id], kind=EventKind.TELEMETRY)
    with write(engine) as connection:
        insert_rejections(connection, [rejection_maker(1, now)()])
    tell_refused_pushes(engine, now)
    tell_of(engine, [uplink_id])
    reader.wait_for(3)

    [told] = [json.loads(event.data) for event in reader.events if event.type == kind]
    assert told["type"] == kind
    about = told["data"]
    if kind == "telemetry":
        assert [(one["name"], one["value"]) for one in about["measurements"]] == [("temperature", 21.5)]
    elif kind == "rejection":
        assert about["reason"] == "token-mismatch"
    else:
        assert about["frm_payload"] == b"first".hex()


def test_what_was_deleted_meanwhile_is_passed_over(engine, uplink_id, read_stream):
    reader = read_stream()

    tell_of(engine, [uplink_id, 999, uplink_id])

    reader.wait_for(2)
    assert reader.ids() == [2, 4]


# --- filters


@pytest.mark.parametrize("way", ["live", "resumed"])
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"type": "uplink"}, [1, 2, 3, 5]),
        ({"type": ["telemetry", "rejection"]}, [4, 6]),
        ({"device": OTHER}, [2, 5]),
        ({"device": [OTHER, ONE]}, [1, 2, 3, 4, 5]),
        ({"connection": "second"}, [5, 6]),
        ({"connection": ["field", "second"]}, [1, 2, 3, 4, 5, 6]),
        ({"port": "7"}, [3, 4]),
        ({"port": ["2", "7"]}, [1, 2, 3, 4, 5]),
        ({"port": "7", "type": "uplink"}, [3]),
    ],
)
def test_only_what_is_asked_for_is_told(field, network, engine, parameters, expected, way, read_stream):
    second = field.connect("second")
    one, other = network.add_device(), network.add_device()
    others = {device.dev_eui: device for device in (second.add_device(), second.add_device())}
    if "device" in parameters:
        euis = {ONE: one.dev_eui.lower(), OTHER: other.dev_eui}
        names = parameters["device"]
        parameters = {"device": euis[names] if isinstance(names, str) else [euis[name] for name in names]}
    live = read_stream(**parameters) if way == "live" else None

    for device, port in ((one, 2), (other, 2), (one, 7)):
        field.take_and_read(network.uplink(device, f_port=port))
    decode_all(engine, field.now, lambda _: {"temperature": 21.5})
    tell_of(engine, [3], kind=EventKind.TELEMETRY, dev_eui=one.dev_eui)
    field.take_and_read(second.uplink(others[other.dev_eui], f_port=2), name="second")
    with write(engine) as connection:
        insert_rejections(connection, [rejection_maker(2, field.now)()])
    tell_refused_pushes(engine, field.now)
    reader = live or read_stream(since_id=0, **parameters)

    reader.wait_for(len(expected))
    until(lambda: reader.last_id == "6")
    assert reader.ids() == expected


def test_what_is_not_wanted_moves_the_place_that_a_reader_comes_back_to(engine, uplink_id, read_stream):
    reader = read_stream(type="rejection")

    tell_of(engine, [uplink_id] * 50)

    until(lambda: reader.last_id == "51")
    assert reader.events == []


@pytest.mark.parametrize(
    ("parameters", "parameter"),
    [
        ({"type": "gap"}, "type"),
        ({"type": ["uplink", "x"]}, "type"),
        ({"device": "20635F"}, "device"),
        ({"device": ["20635F0000000001"] * 2 + [f"{number:016X}" for number in range(100)]}, "device"),
        ({"connection": "nowhere"}, "connection"),
        ({"port": "256"}, "port"),
        ({"port": "-1"}, "port"),
        ({"since_id": "x"}, "since_id"),
        ({"since_id": str(2**63)}, "since_id"),
        ({"since_id": "2"}, "since_id"),
        ({"devices": "20635F0000000001"}, "devices"),
    ],
)
def test_a_wrong_parameter_is_told_by_name(uplink_id, server, key, parameters, parameter):
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.get(f"{server.origin}/api/v1/stream", params=parameters, headers=headers, trust_env=False)

    assert_refused(answer, parameter)


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "2", "99999999999999999999999", "9223372036854775807"])
def test_a_last_event_id_that_is_none_of_this_database_is_refused(uplink_id, read_stream, last_id):
    assert_refused(read_stream(last_id).refused, "Last-Event-ID")


def test_a_key_is_needed(server):
    reader = StreamReader(server.origin, "rcv_" + "0" * 64)

    assert reader.open().refused.status_code == 401


# --- coming back


def test_a_reader_that_comes_back_goes_on_behind_the_last_it_saw(engine, uplink_id, read_stream):
    reader = read_stream()
    tell_of(engine, [uplink_id] * 3)
    reader.wait_for(3)
    reader.close()

    tell_of(engine, [uplink_id] * 700)
    reader.resume()
    tell_of(engine, [uplink_id] * 10)

    reader.wait_for(713)
    assert reader.ids() == list(range(2, 715))


def test_the_header_of_a_browser_that_comes_back_wins_over_the_address(engine, uplink_id, read_stream):
    tell_of(engine, [uplink_id] * 9)

    reader = read_stream("8", since_id=2)

    reader.wait_for(2)
    assert reader.ids() == [9, 10]


def test_many_who_come_back_at_different_places_each_get_the_rest_while_more_is_told(engine, uplink_id, read_stream):
    tell_of(engine, [uplink_id] * 599)
    stop = threading.Event()

    def go_on():
        while not stop.is_set():
            tell_of(engine, [uplink_id] * 7)
            stop.wait(0.005)

    telling = threading.Thread(target=go_on)
    telling.start()
    try:
        readers = [(start, read_stream(str(start))) for start in (0, 1, 199, 200, 201, 400, 599, 600)]
        for start, reader in readers:
            reader.wait_for(1000 - start)
    finally:
        stop.set()
        telling.join()

    for start, reader in readers:
        assert reader.ids()[: 1000 - start] == list(range(start + 1, 1001))


def test_what_was_deleted_before_it_could_be_told_is_a_gap_that_is_told_once(engine, uplink_id, read_stream):
    tell_of(engine, [uplink_id] * 9)
    with write(engine) as connection:
        connection.execute(delete(events).where(events.c.id <= 7))

    reader = read_stream("2", type="uplink")

    gap, *others = reader.wait_for(4)
    assert (gap.id, gap.type, json.loads(gap.data)) == ("7", "gap", {"type": "gap", "from": 3, "to": 7})
    assert [event.id for event in others] == ["8", "9", "10"]
    reader.close()
    reader.last_id = "7"
    reader.resume()
    until(lambda: len(reader.events) == 7)
    assert [event.type for event in reader.events[4:]] == ["uplink"] * 3


def test_a_reader_of_the_last_that_is_kept_has_no_gap(engine, uplink_id, read_stream):
    tell_of(engine, [uplink_id] * 9)
    with write(engine) as connection:
        connection.execute(delete(events).where(events.c.id <= 9))

    reader = read_stream("9")

    reader.wait_for(1)
    assert [(event.id, event.type) for event in reader.events] == [("10", "uplink")]


# --- those who do not read


def test_a_reader_that_takes_nothing_is_dropped_and_the_others_see_all(engine, field, network, server, key):
    device = network.add_device()
    field.take_and_read(network.uplink(device))
    idle = server.connect(key, receive_bytes=4096)
    reader = StreamReader(server.origin, key).open()
    until(lambda: len(server.room._readers) == 2)
    count = 0
    try:
        while len(server.room._readers) == 2:
            tell_of(engine, [1] * 200)
            count += 200
            reader.wait_for(count)
            assert count < 100_000, "the idle reader is not dropped"
        assert reader.ids() == list(range(2, count + 2))
        until(lambda: len(server.connections()) == 1)  # it holds no place, though it never reads nor closes
        assert _is_cut_off(idle)
    finally:
        idle.close()
        reader.close()


def _is_cut_off(client):
    """Read what the kernel had taken for it; the rest is not there, nor is the end."""
    client.settimeout(20)
    received = b""
    try:
        while chunk := client.recv(1 << 20):
            received += chunk
    except ConnectionResetError:
        pass
    return not received.endswith(b"0\r\n\r\n")


def test_what_is_kept_for_readers_is_bounded(engine, uplink_id, server, key):
    with StreamReader(server.origin, key) as reader:
        for _ in range(15):
            tell_of(engine, [uplink_id] * 200)
        reader.wait_for(3000)

        assert len(server.room._tail._kept) == 2000


# --- bounds


def test_a_reader_too_many_is_told_to_come_again_later(engine, keyring):
    with stream_server(engine, keyring, most_readers=2) as server:
        key = server.new_key()
        with StreamReader(server.origin, key), StreamReader(server.origin, key) as second:
            refused = StreamReader(server.origin, key).open().refused
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert int(refused.headers["retry-after"]) > 0
            second.close()
            until(lambda: len(server.room._readers) == 1)
            with StreamReader(server.origin, key) as third:
                assert third.is_open


def test_a_key_with_too_many_streams_leaves_room_for_the_others(engine, keyring):
    with stream_server(engine, keyring, most_readers_of_key=1) as server:
        key = server.new_key()
        with StreamReader(server.origin, key):
            assert StreamReader(server.origin, key).open().refused.status_code == 429
            with StreamReader(server.origin, server.new_key("other")) as other:
                assert other.is_open


def test_a_stream_takes_none_of_the_places_of_calls(server, key, read_stream):
    readers = [read_stream() for _ in range(6)]

    answer = httpx.get(
        f"{server.origin}/api/v1/devices", headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=20
    )

    assert answer.status_code == 200
    assert all(reader.is_open for reader in readers)


def test_nothing_runs_while_nobody_reads(server, read_stream):
    reader = read_stream()
    assert _tails() == 1

    reader.close()

    until(lambda: _tails() == 0)
    assert server.room._tail is None


def _tails():
    return sum(thread.name == "event-tail" for thread in threading.enumerate())


# --- the end of a stream


def test_a_revoked_key_ends_its_streams_and_no_others(engine, server, read_stream):
    other_key = server.new_key("other")
    reader = read_stream()
    with StreamReader(server.origin, other_key) as other:
        revoke_api_key(engine, utc_now(), "reader")
        reader.wait_for_end()
        assert reader.open().refused.status_code == 401
        assert other.is_open


def test_a_server_that_stops_ends_its_streams_at_once(engine, keyring):
    timing = StreamTiming()
    with stream_server(engine, keyring, timing) as server:
        key = server.new_key()
        readers = [StreamReader(server.origin, key).open() for _ in range(3)]
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 2
        for reader in readers:
            reader.wait_for_end()


def test_a_server_that_stops_does_not_wait_for_a_reader_that_takes_nothing(engine, uplink_id, keyring):
    with stream_server(engine, keyring, StreamTiming()) as server:
        key = server.new_key()
        idle = server.connect(key, receive_bytes=4096)
        until(lambda: server.room._readers)
        [stream] = server.room._readers
        while not stream._is_sending:
            tell_of(engine, [uplink_id] * 200)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 4
        idle.close()


# --- the database


def test_streams_stay_open_while_the_database_is_away_and_go_on_afterwards(
    engine, uplink_id, read_stream, database_is_away
):
    reader = read_stream()
    with database_is_away():
        comments = reader.comments
        until(lambda: reader.comments > comments + 5)
    tell_of(engine, [uplink_id] * 5)

    reader.wait_for(5)
    assert reader.ids() == [2, 3, 4, 5, 6]
    assert reader.is_open


def test_a_reader_that_is_behind_stays_open_while_the_database_is_away(
    engine, uplink_id, key, server, database_is_away
):
    tell_of(engine, [uplink_id] * 5000)
    reader = StreamReader(server.origin, key)
    reader.last_id = "0"
    with reader:
        with database_is_away():
            comments = reader.comments
            until(lambda: reader.comments > comments + 5)
        reader.wait_for(5001)
        assert reader.ids() == list(range(1, 5002))


def test_a_call_while_the_database_is_away_is_told_to_come_again(server, key, database_is_away):
    with database_is_away():
        refused = StreamReader(server.origin, key).open().refused

    assert refused.status_code == 503
