"""The newest events in memory: read once for all, bounded, and never with a hole."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from receiver.services.event_contents import EventFilter
from receiver.services.event_pages import EVERYTHING, PAGE_SPAN, read_event_page
from receiver.services.event_tail import EventTail
from receiver.storage.engine import write
from receiver.storage.event_tables import events
from receiver.storage.events import EventKind
from receiver.storage.tables import uplinks
from tests.integration.stream_use import tell_of, until

MUCH = 10**9


@pytest.fixture
def uplink_id(field):
    """An uplink that was read, and told as event 1."""
    network = field.connect()
    field.take_and_read(network.uplink(network.add_device()))
    return field.row(uplinks).id


@pytest.fixture
def new_tail(engine):
    opened = []

    def open_one(**bounds):
        tail = EventTail(engine, lambda: None, **bounds)
        opened.append(tail)
        tail.start()
        until(lambda: tail._position is not None)
        return tail

    yield open_one
    for tail in opened:
        tail.close()


def ids(page):
    return [content.event.id for content in page.contents]


def test_it_has_what_was_told_since_it_began_and_sends_others_to_the_database(engine, uplink_id, new_tail):
    tail = new_tail()
    tell_of(engine, [uplink_id] * 3)
    until(lambda: tail._position == 4)

    assert tail.take(0, EVERYTHING, MUCH) is None
    page = tail.take(1, EVERYTHING, MUCH)
    assert (ids(page), page.position, page.is_last) == ([2, 3, 4], 4, True)
    assert ids(tail.take(3, EVERYTHING, MUCH)) == [4]
    assert tail.take(4, EVERYTHING, MUCH).contents == []


@pytest.mark.parametrize("bounds", [{"kept_events": 4}, {"kept_bytes": 1}])
def test_who_is_behind_what_it_keeps_is_sent_to_the_database(engine, uplink_id, new_tail, bounds):
    tail = new_tail(**bounds)
    tell_of(engine, [uplink_id] * 10)
    until(lambda: tail._position == 11)

    kept = len(tail._kept)
    assert kept == bounds.get("kept_events", 1)
    assert tail.take(11 - kept - 1, EVERYTHING, MUCH) is None
    assert ids(tail.take(11 - kept, EVERYTHING, MUCH)) == list(range(12 - kept, 12))


def test_what_is_taken_at_once_is_bounded_and_one_event_at_least(engine, uplink_id, new_tail):
    tail = new_tail()
    tell_of(engine, [uplink_id] * 3)
    until(lambda: tail._position == 4)

    page = tail.take(1, EVERYTHING, 1)
    assert (ids(page), page.position, page.is_last) == ([2], 2, False)


def test_what_is_not_wanted_is_behind_who_took_the_rest(engine, uplink_id, new_tail):
    tail = new_tail()
    tell_of(engine, [uplink_id] * 3)
    until(lambda: tail._position == 4)

    page = tail.take(1, EventFilter(kinds=frozenset([EventKind.REJECTION])), MUCH)
    assert (page.contents, page.position) == ([], 4)


def test_each_event_is_read_once_however_many_take_it(engine, uplink_id, new_tail):
    tail = new_tail()
    reads = []
    event.listen(engine, "before_cursor_execute", lambda *args: reads.append(args[2]) if "uplinks" in args[2] else None)
    tell_of(engine, [uplink_id])
    until(lambda: tail._position == 2)

    bodies = {id(tail.take(1, EVERYTHING, MUCH).contents[0].body) for _ in range(64)}

    assert len(bodies) == 1
    assert len(reads) == 1


def test_a_page_looks_at_so_many_events_and_goes_on_behind_them(engine, uplink_id, now):
    with write(engine) as connection:
        row = {"kind": "uplink", "subject_id": uplink_id, "dev_eui": "FFFFFFFFFFFFFFFF", "told_at": now}
        connection.execute(events.insert(), [row] * (PAGE_SPAN + 10))
    tell_of(engine, [uplink_id], dev_eui="20635F0000000001")
    wanted = EventFilter(dev_euis=frozenset(["20635F0000000001"]))

    first = read_event_page(engine, 1, wanted)
    assert (first.contents, first.position, first.is_last) == ([], PAGE_SPAN + 1, False)
    second = read_event_page(engine, first.position, wanted)
    assert (ids(second), second.is_last) == ([PAGE_SPAN + 12], True)
