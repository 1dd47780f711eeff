"""The way into the database: what `put` has returned is committed, once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from threading import Barrier, Thread
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, text

from receiver.storage.engine import open_engine, write
from receiver.storage.tables import deliveries, reports
from tests.integration.inbox_use import (
    DUPLICATE,
    STORED,
    count,
    in_threads,
    put_all,
    put_together,
    stored_deliveries,
    stored_reports,
    take_batch,
    use_inbox,
)

if TYPE_CHECKING:
    from receiver.storage.inbox_rows import Outcome

# --- acknowledged means committed


def test_a_report_is_seen_by_another_connection_as_soon_as_put_returns(engine, database_url, new_report):
    other = open_engine(database_url)

    async def work(inbox):
        counts = []
        for number in range(5):
            await inbox.put(new_report(number))
            counts.append(await asyncio.to_thread(count, other, reports))
        return counts

    assert use_inbox(engine, work) == [1, 2, 3, 4, 5]
    other.dispose()


def test_a_report_is_stored_as_it_came(engine, new_report, inbox_connection_id, now):
    report = new_report(1)._replace(body=b"\xff\x00 any bytes", query="LrnInfos=\u00e9\U0001f4e1")
    put_all(engine, [report])

    [row] = stored_reports(engine)
    assert (row.connection_id, row.tunnel_key_id, row.kind) == (inbox_connection_id, 1, "DevEUI_uplink")
    assert (row.content_type, row.dev_eui, row.query) == ("json", "20635F0000000001", report.query)
    assert (row.received_at, row.sent_at) == (report.received_at, now)
    assert (bytes(row.delivery_id), bytes(row.frame_id)) == (report.delivery_id, report.frame_id)
    assert bytes(row.body) == report.body
    assert (row.deliveries, row.state, row.note) == (1, "unread", None)


def test_reports_that_come_at_once_are_stored_each(engine, new_report):
    outcomes = put_all(engine, [new_report(number) for number in range(200)], at_once=True)

    assert outcomes == [STORED] * 200
    assert count(engine, reports) == 200


def test_reports_that_wait_together_take_a_transaction_or_three(engine, new_report):
    statements = []
    if engine.dialect.name == "sqlite":
        engine.dispose()  # so that the writer's connection is a new one, which is listened to
        event.listen(engine, "connect", lambda driver, _record: driver.set_trace_callback(statements.append))

    assert put_together(engine, [new_report(number) for number in range(200)]) == [STORED] * 200

    if engine.dialect.name == "sqlite":
        transactions = sum(statement.startswith("INSERT INTO reports") for statement in statements)
    else:
        with engine.connect() as connection:
            transactions = connection.scalar(text("SELECT count(DISTINCT xmin::text) FROM reports"))
    assert 1 <= transactions <= 3  # 128, 64 and 8 rows: SQLite's driver keeps few statements prepared


def test_reports_of_one_after_another_keep_their_order(engine, new_report):
    put_all(engine, [new_report(number) for number in (3, 1, 2)])

    assert [row.query for row in stored_reports(engine)] == ["LrnInfos=TWA-3-1", "LrnInfos=TWA-1-1", "LrnInfos=TWA-2-1"]


# --- duplicates


def test_the_same_delivery_again_is_a_duplicate_and_is_counted(engine, new_report):
    assert put_all(engine, [new_report(1)] * 3) == [STORED, DUPLICATE, DUPLICATE]

    [row] = stored_reports(engine)
    assert row.deliveries == 3
    [delivery] = stored_deliveries(engine)
    assert (delivery.report_id, delivery.times) == (row.id, 2)


def test_the_same_frame_in_another_delivery_is_a_duplicate_and_is_kept_with_its_query(engine, new_report, now):
    later = new_report(1, delivery=2)._replace(received_at=now + timedelta(seconds=5))
    assert put_all(engine, [new_report(1), later]) == [STORED, DUPLICATE]

    [row] = stored_reports(engine)
    assert row.deliveries == 2
    [delivery] = stored_deliveries(engine)
    assert (delivery.report_id, delivery.query, delivery.times) == (row.id, "LrnInfos=TWA-1-2", 1)
    assert delivery.first_received_at == delivery.last_received_at == later.received_at


def test_a_delivery_that_comes_again_later_tells_when_it_came_first_and_last(engine, new_report, now):
    again = [new_report(1, 2)._replace(received_at=now + timedelta(seconds=second)) for second in (5, 9, 14)]
    put_all(engine, [new_report(1), *again])

    [delivery] = stored_deliveries(engine)
    assert delivery.first_received_at == now + timedelta(seconds=5)
    assert delivery.last_received_at == now + timedelta(seconds=14)
    assert delivery.times == 3


def test_two_copies_of_a_delivery_in_one_batch_are_one_report(engine, new_report):
    outcomes = take_batch(engine, [new_report(1), new_report(1)])

    assert outcomes == [STORED, DUPLICATE]
    assert [row.deliveries for row in stored_reports(engine)] == [2]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_deliveries_of_a_frame_in_one_batch_are_one_report_with_two_deliveries(engine, new_report, order):
    outcomes = take_batch(engine, [new_report(1, delivery) for delivery in order])

    assert sorted(outcomes, key=lambda outcome: outcome.value) == [DUPLICATE, STORED]
    assert [row.deliveries for row in stored_reports(engine)] == [2]
    assert count(engine, deliveries) == 1


def test_new_ones_and_duplicates_in_one_batch_are_told_apart_in_order(engine, new_report):
    put_all(engine, [new_report(1), new_report(2)])
    outcomes = take_batch(engine, [new_report(3), new_report(2), new_report(4), new_report(1, 2)])

    assert outcomes == [STORED, DUPLICATE, STORED, DUPLICATE]


def test_reports_that_are_not_frames_are_told_apart_by_their_delivery_only(engine, new_report):
    plain = [new_report(1, delivery)._replace(frame_id=None) for delivery in (1, 2, 2)]

    assert put_all(engine, plain) == [STORED, STORED, DUPLICATE]


def test_two_receivers_that_take_the_same_frames_store_each_once(engine, database_url, new_report):
    """A new LrnInfos each, in opposite order, twice: neither may wait for the other in a circle."""
    rounds = [range(start, start + 200) for start in range(0, 1200, 200)]
    together = Barrier(2)
    outcomes: dict[int, list[Outcome]] = {1: [], 2: []}
    failures: list[Exception] = []

    def receive(which):
        own = open_engine(database_url)
        try:
            for numbers in rounds:
                for delivery in (which, which + 2):
                    together.wait(30)
                    ordered = numbers if which == 1 else reversed(numbers)
                    copies = [new_report(number, delivery) for number in ordered]
                    outcomes[which] += take_batch(own, copies)
        except Exception as exc:  # noqa: BLE001 - told by the test's own thread
            together.abort()
            failures.append(exc)
        finally:
            own.dispose()

    in_threads(lambda: receive(1), lambda: receive(2))

    assert failures == []
    assert (outcomes[1] + outcomes[2]).count(STORED) == 1200
    assert count(engine, reports) == 1200
    assert {row.deliveries for row in stored_reports(engine)} == {4}


def test_duplicates_that_are_counted_while_their_reports_are_rewritten_are_neither_lost_nor_refused(
    engine, database_url, new_report
):
    """The reading moment writes the same rows, in the order of their ids."""
    numbers = list(range(100))
    put_all(engine, [new_report(number) for number in numbers], at_once=True)
    other = open_engine(database_url)
    failures: list[Exception] = []
    ids = [row.id for row in stored_reports(engine)]

    def rewrite():
        try:
            for _ in range(10):
                with write(other) as connection:
                    for report_id in ids:
                        connection.execute(text("UPDATE reports SET note = 'x' WHERE id = :id"), {"id": report_id})
        except Exception as exc:  # noqa: BLE001
            failures.append(exc)

    outcomes = []

    def receive():
        for delivery in range(2, 8):
            copies = [new_report(number, delivery) for number in reversed(numbers)]
            outcomes.extend(put_all(engine, copies, at_once=True))

    in_threads(rewrite, receive)
    other.dispose()

    assert failures == []
    assert outcomes == [DUPLICATE] * 600
    assert {row.deliveries for row in stored_reports(engine)} == {7}


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_batch_that_postgresql_ended_to_solve_a_deadlock_comes_again(engine, database_url, new_report):
    """Others may write the same rows in any order: somebody at a prompt, say."""
    other = open_engine(database_url)
    put_all(engine, [new_report(1), new_report(2)])
    low, high = (row.id for row in stored_reports(engine))
    lock = text("SELECT id FROM reports WHERE id = :id FOR UPDATE")
    outcomes = []

    def receive():
        outcomes.extend(put_together(engine, [new_report(1, 2), new_report(2, 2)]))

    with write(other) as connection:
        connection.execute(text("SET LOCAL deadlock_timeout = '60s'"))  # so that it is the inbox that is ended
        connection.execute(lock, {"id": high})
        thread = Thread(target=receive)
        thread.start()
        while not connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            pass
        connection.execute(lock, {"id": low})
    thread.join()
    other.dispose()

    assert outcomes == [DUPLICATE, DUPLICATE]
    assert [row.deliveries for row in stored_reports(engine)] == [2, 2]
