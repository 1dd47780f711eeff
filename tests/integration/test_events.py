"""What is told, in which order, and how much of it is kept."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert

from receiver.codecs.engine import CodecEngine
from receiver.services.codecs import Scope, add_codec, assign_codec
from receiver.services.decoding import Decoder
from receiver.services.event_contents import load_contents
from receiver.services.redecoding import begin_redecoding, redecode
from receiver.services.retention import prune
from receiver.services.telling import REJECTIONS_AT_ONCE, tell_refused_pushes
from receiver.storage.engine import read, write
from receiver.storage.event_tables import events, untold_rejections
from receiver.storage.events import (
    MOST_REJECTIONS,
    MOST_UNTOLD,
    EventKind,
    NewEvent,
    find_event_id_at,
    has_untold,
    leave_untold,
    list_events,
    newest_event_id,
    oldest_event_id,
    tell,
)
from receiver.storage.rejections import insert_rejections
from receiver.storage.reports import lock_reading
from receiver.storage.tables import rejections
from tests.integration.codec_scripts import CLIMATE, climate
from tests.integration.inbox_use import in_threads, rejection_maker
from tests.integration.stream_use import tell_of

UPLINK, TELEMETRY, REJECTION = EventKind.UPLINK, EventKind.TELEMETRY, EventKind.REJECTION
WARM = bytes([0, 215, 1])


@pytest.fixture(scope="module")
def codec_engine():
    with CodecEngine() as running:
        yield running


@pytest.fixture
def decoder(engine, codec_engine):
    return Decoder(engine, codec_engine)


@pytest.fixture
def network(field):
    return field.connect()


@pytest.fixture
def device(network):
    return network.add_device()


@pytest.fixture
def climate_codec(field):
    add_codec(field.engine, field.now, "climate", climate(), None)


def told(engine, after_id=0, **options):
    with read(engine) as connection:
        return list_events(connection, after_id, 100_000, **options)


def kinds(engine):
    return [event.kind for event in told(engine)]


def refuse(engine, now, count=1, connection_id=None):
    with write(engine) as connection:
        make = rejection_maker(connection_id, now)
        insert_rejections(connection, [make() for _ in range(count)])


# --- the order


class _Follower:
    """Follows the events as every reader does, by the id of the last one seen, and notes the order."""

    def __init__(self, engine):
        self.seen = []
        self._engine = engine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def _follow(self):
        while True:
            is_last = self._stop.is_set()
            self.seen += told(self._engine, self.seen[-1].id if self.seen else 0)
            if is_last:
                return

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("second", ["reading", "decoding", "telling"])
def test_who_follows_misses_nothing_of_two_who_tell_at_the_same_time(
    field, network, device, decoder, climate_codec, second
):
    """The first has its ids and has not committed when the second begins; naive ids would be seen out of order."""
    assign_codec(field.engine, field.now, "climate", Scope(dev_eui=device.dev_eui))
    if second == "decoding":
        field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    elif second == "reading":
        field.take(network.uplink(device, f_port=5, payload=WARM))
    else:
        refuse(field.engine, field.now)
    works = {
        "reading": field.read,
        "decoding": lambda: decoder.decode_batch(field.now, 200),
        "telling": lambda: tell_refused_pushes(field.engine, field.now),
    }
    before = len(told(field.engine))
    other = threading.Thread(target=works[second])
    with _Follower(field.engine) as follower:
        with write(field.engine) as connection:
            lock_reading(connection)
            tell(connection, field.now, [NewEvent(UPLINK, 1000 + number, None, None) for number in range(3)])
            other.start()
            other.join(0.5)
            assert other.is_alive(), "the second one did not wait"
            assert len(told(field.engine)) == before
        other.join()
    assert [event.subject_id for event in follower.seen[before : before + 3]] == [1000, 1001, 1002]
    assert len(follower.seen) == before + 4
    assert [event.id for event in follower.seen] == sorted(event.id for event in follower.seen)


def test_many_who_tell_at_once_are_seen_whole_by_who_follows(engine):
    def work():
        for number in range(40):
            tell_of(engine, range(number % 5 + 1))

    with _Follower(engine) as follower:
        in_threads(work, work, work)

    assert follower.seen == told(engine)
    assert len(follower.seen) == 3 * sum(number % 5 + 1 for number in range(40))


def test_an_id_does_not_come_again_after_the_newest_was_deleted(engine):
    tell_of(engine, [1, 2, 3])
    with write(engine) as connection:
        connection.execute(delete(events))
    tell_of(engine, [4])

    assert [event.id for event in told(engine)] == [4]


# --- each once


def test_an_uplink_is_told_once_however_often_it_comes(field, network, device):
    push = network.uplink(device)
    again = network._signer.deliver(push)

    field.take_and_read(push)
    field.take_and_read(push, again)

    [event] = told(field.engine)
    assert (event.kind, event.dev_eui, event.connection_id) == (UPLINK, device.dev_eui, 1)


def test_what_is_no_uplink_tells_nothing(field, network, device):
    field.take_and_read(network.join(device))

    assert told(field.engine) == []


def test_an_uplink_whose_key_comes_late_is_told_once_more(field):
    network = field.connect("encrypted", encrypted=True)
    device = network.add_device()
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM), name="encrypted")
    assert kinds(field.engine) == [UPLINK]

    field.import_as_transport_key("encrypted", force=True)
    field.read()
    field.read()

    waiting, opened = told(field.engine)
    assert waiting.subject_id == opened.subject_id
    with read(field.engine) as connection:
        contents = load_contents(connection, [opened])
    assert WARM.hex().encode() in contents[0].body


def test_a_decode_is_told_once_and_decoding_again_tells_nothing(
    field, network, device, decoder, codec_engine, climate_codec
):
    assign_codec(field.engine, field.now, "climate", Scope(dev_eui=device.dev_eui))
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decoder.decode_batch(field.now, 200)
    decoder.decode_batch(field.now, 200)
    assert kinds(field.engine) == [UPLINK, TELEMETRY]

    add_codec(field.engine, field.now, "climate", climate(CLIMATE.replace("temperature:", "warmth:")), None)
    run = begin_redecoding(field.engine, codec_engine, field.now, Scope())
    for _ in redecode(field.engine, codec_engine, run, lambda: field.now):
        pass

    assert kinds(field.engine) == [UPLINK, TELEMETRY]


def test_an_uplink_that_no_codec_is_for_has_no_telemetry_to_tell(field, network, device, decoder):
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decoder.decode_batch(field.now, 200)

    assert kinds(field.engine) == [UPLINK]


def test_a_refused_push_is_told_once_by_several_workers(engine, now):
    refuse(engine, now, REJECTIONS_AT_ONCE + 50)

    in_threads(*(lambda: tell_refused_pushes(engine, now) for _ in range(4)))

    assert [event.subject_id for event in told(engine)] == list(range(1, REJECTIONS_AT_ONCE + 51))
    with read(engine) as connection:
        assert not has_untold(connection)


def test_a_refused_push_that_was_deleted_before_it_was_told_is_passed_over(engine, now):
    refuse(engine, now, 3)
    with write(engine) as connection:
        connection.execute(delete(rejections).where(rejections.c.id == 2))

    assert tell_refused_pushes(engine, now) == 3
    assert [event.subject_id for event in told(engine)] == [1, 3]


# --- bounds


def test_no_more_refused_pushes_than_are_kept_wait_to_be_told(engine):
    with write(engine) as connection:
        leave_untold(connection, [1])
        leave_untold(connection, [MOST_UNTOLD, MOST_UNTOLD + 1])
        leave_untold(connection, [MOST_UNTOLD, 5])

    with read(engine) as connection:
        left = connection.execute(untold_rejections.select().order_by(untold_rejections.c.rejection_id)).scalars().all()
    assert left == [1, 5, MOST_UNTOLD]


def test_of_refused_pushes_only_the_newest_are_kept(engine, now):
    rows = [{"kind": "rejection", "subject_id": number, "told_at": now} for number in range(MOST_REJECTIONS)]
    with write(engine) as connection:
        connection.execute(insert(events), rows)
    tell_of(engine, [1])
    refuse(engine, now, 2)

    tell_refused_pushes(engine, now)

    kept = told(engine)
    of_rejections = [event for event in kept if event.kind == REJECTION]
    assert len(of_rejections) == MOST_REJECTIONS
    assert of_rejections[0].subject_id == 2
    assert len(kept) == MOST_REJECTIONS + 1


def test_old_events_go_and_the_newest_stays_however_old(engine, now):
    tell_of(engine, [1, 2], now=now - timedelta(days=9))
    tell_of(engine, [3], now=now - timedelta(days=8))

    for _ in prune(engine, now, {"events": timedelta(days=7)}):
        pass

    assert [event.subject_id for event in told(engine)] == [3]
    with read(engine) as connection:
        assert (oldest_event_id(connection), newest_event_id(connection)) == (3, 3)


# --- finding a place


def test_events_are_found_by_kind_device_connection_and_place(engine):
    tell_of(engine, [1, 2])
    tell_of(engine, [3], kind=TELEMETRY)
    tell_of(engine, [4], dev_eui="20635F0000000002")
    tell_of(engine, [5], connection_id=2)

    assert [event.id for event in told(engine, 2)] == [3, 4, 5]
    assert [event.id for event in told(engine, 1, up_to_id=3)] == [2, 3]
    assert [event.id for event in told(engine, kinds=[TELEMETRY])] == [3]
    assert [event.id for event in told(engine, dev_euis=["20635F0000000002"])] == [4]
    assert [event.id for event in told(engine, connection_ids={2})] == [5]
    assert told(engine, connection_ids=set()) == []
    with read(engine) as connection:
        assert [event.id for event in list_events(connection, 0, 2)] == [1, 2]


def test_a_place_is_found_by_its_time(engine, now):
    minute = timedelta(minutes=1)
    tell_of(engine, [1, 2], now=now)
    tell_of(engine, [3], now=now + minute)

    with read(engine) as connection:
        places = [find_event_id_at(connection, now + number * minute) for number in (-1, 0, 1, 2)]

    assert places == [0, 0, 2, 3]


def test_before_the_first_event_there_is_none(engine, now):
    with read(engine) as connection:
        assert newest_event_id(connection) == 0
        assert oldest_event_id(connection) is None
        assert find_event_id_at(connection, now) == 0
        assert list_events(connection, 0, 10) == []
