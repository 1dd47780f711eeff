"""The comparison at the end of a soak run finds what is lost, doubled, unread or wrong."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, insert, select, update

from receiver.services.connection_directory import ConnectionDirectory
from receiver.services.connections import add_connection
from receiver.services.ingest import verify_push
from receiver.services.reading import read_batch
from receiver.storage.engine import write
from receiver.storage.tables import reports, uplinks
from tests.integration.inbox_use import take_batch
from tests.soak.ledger import Ledger, compare
from tests.soak.pushes import AS_ID, CONNECTION, KEY, Frames

SENT = 10


@pytest.fixture
def frames(now):
    return Frames(1, 3, now)


@pytest.fixture
def ledger(engine, keyring, now, frames):
    """Ten frames, sent and answered; the first of them in two deliveries."""
    add_connection(engine, keyring, now, name=CONNECTION, platform="thingpark", as_id=AS_ID, tunnel_key=KEY)
    directory = ConnectionDirectory(engine, keyring)
    directory.load()
    ledger = Ledger()
    for number in [ledger.new_frame() for _ in range(SENT)]:
        for delivery, answer in ((1, b"stored\n"), (2, b"duplicate\n"))[: 2 if number == 0 else 1]:
            request = frames.request(number, delivery, now)
            head, _, body = request.partition(b"\r\n\r\n")
            query = head.split(b" ")[1].partition(b"?")[2]
            take_batch(engine, [verify_push(directory.find(CONNECTION), CONNECTION, query, body, now)])
            ledger.sent(number)
            ledger.answered(number, 200, answer)
    while read_batch(engine, keyring, now, 100):
        pass
    return ledger


def change(engine, statement):
    with write(engine) as connection:
        connection.execute(statement)


def test_all_that_was_sent_is_found_once_and_read_once(engine, frames, ledger):
    counts = compare(engine, frames, ledger)

    assert counts.failures == {}
    assert (counts.acknowledged, counts.found_once, counts.read_once) == (SENT, SENT, SENT)
    assert (counts.answered_stored, counts.answered_duplicate, counts.too_few_deliveries) == (SENT, 1, 0)


def test_a_report_that_is_gone_is_lost(engine, frames, ledger):
    change(engine, delete(reports).where(reports.c.id == 3))

    assert compare(engine, frames, ledger).failures == {"lost": 1}


def test_a_report_that_stands_twice_is_found(engine, frames, ledger):
    copied = [column for column in reports.c if column.name not in {"id", "delivery_id", "frame_id"}]
    with write(engine) as connection:
        row = connection.execute(select(*copied).where(reports.c.id == 3)).one()
        connection.execute(insert(reports).values(**row._mapping, delivery_id=b"another delivery"))

    assert compare(engine, frames, ledger).failures == {"found_twice": 1}


def test_an_uplink_that_is_missing_or_wrong_is_found(engine, frames, ledger):
    change(engine, delete(uplinks).where(uplinks.c.report_id == 3))
    change(engine, update(uplinks).where(uplinks.c.report_id == 4).values(f_cnt_up=77))

    assert compare(engine, frames, ledger).failures == {"unread": 1, "wrong": 1}


def test_deliveries_are_held_against_answers_and_attempts(engine, frames, ledger):
    change(engine, update(reports).where(reports.c.id == 1).values(deliveries=1))
    change(engine, update(reports).where(reports.c.id == 5).values(deliveries=9))
    counts = compare(engine, frames, ledger)

    assert (counts.too_few_deliveries, counts.too_many_deliveries) == (1, 1)


def test_a_duplicate_that_nobody_had_sent_before_is_found(engine, frames, ledger):
    ledger.sent(ledger.new_frame())
    ledger.answered(SENT, 200, b"duplicate\n")

    assert compare(engine, frames, ledger).failures == {"lost": 1, "false_duplicates": 1}
