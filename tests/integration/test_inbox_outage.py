"""The database away, hanging or full: pushes are committed to the spool, and drained in order, each once."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from datetime import timedelta

import pytest
from sqlalchemy import text

from receiver.errors import StorageUnavailableError
from receiver.services.connections import remove_connection
from receiver.storage.drained_rows import store_spooled
from receiver.storage.engine import write
from receiver.storage.inbox import make_inbox
from receiver.storage.inbox_room import MAX_WAITING_BYTES
from receiver.storage.spool import ROW_BYTES
from receiver.storage.tables import rejections, reports
from tests.integration.inbox_use import (
    DUPLICATE,
    LIMITS,
    STORED,
    count,
    in_threads,
    put_all,
    stored_deliveries,
    stored_reports,
)
from tests.integration.outage_use import Outage, hanging, until


@pytest.fixture
def outage(engine, tmp_path, now):
    return Outage(engine, tmp_path / "data", now)


def stored_queries(engine):
    return [row.query for row in stored_reports(engine)]


def size(report):
    return ROW_BYTES + len(report.body) + len(report.query)


def nothing_is_done_twice(engine, number):
    """Hold that so many reports are stored, once, and that no delivery was counted that there was not."""
    found = stored_reports(engine)
    return len(found) == number and {row.deliveries for row in found} <= {1} and not stored_deliveries(engine)


# --- away


def test_a_push_while_the_database_is_away_is_committed_to_the_spool(outage, new_report, database_is_away):
    async def work(inbox):
        with database_is_away():
            outcome = await inbox.put(new_report(1))
            return outcome, outage.state().rows, inbox.is_spooling, inbox.spooled

    assert outage.run(work) == (STORED, 1, True, 1)


def test_the_spool_is_drained_when_the_database_is_back_and_pushes_go_there_again(
    outage, engine, new_report, database_is_away
):
    async def work(inbox):
        with database_is_away():
            during = await asyncio.gather(*(inbox.put(new_report(number)) for number in range(600)))
        await until(lambda: not inbox.is_spooling)
        after = [await inbox.put(new_report(600)), await inbox.put(new_report(0, 2))]
        return during, after, inbox.drained

    assert outage.run(work) == ([STORED] * 600, [STORED, DUPLICATE], 600)
    assert count(engine, reports) == 601
    assert outage.state().rows == outage.state().bytes == 0


def test_all_are_stored_in_the_order_in_which_they_came(outage, engine, new_report, database_is_away):
    """Before, during and after an outage, one after the other, the last ones while it is being drained."""
    numbers = itertools.count()

    async def put(inbox):
        return await inbox.put(new_report(next(numbers)))

    async def work(inbox):
        for _ in range(3):
            await put(inbox)
        with database_is_away():
            for _ in range(300):
                await put(inbox)
        while inbox.is_spooling:
            await put(inbox)
        for _ in range(3):
            await put(inbox)

    outage.run(work)
    total = next(numbers)
    assert stored_queries(engine) == [f"LrnInfos=TWA-{number}-1" for number in range(total)]
    assert nothing_is_done_twice(engine, total)


def test_a_copy_that_comes_during_an_outage_is_counted_when_it_is_drained(
    outage, engine, new_report, database_is_away, now
):
    late = new_report(1, 2)._replace(received_at=now + timedelta(seconds=5))

    async def work(inbox):
        await inbox.put(new_report(1))
        with database_is_away():
            outcomes = [await inbox.put(report) for report in (late, new_report(2), new_report(2, 2))]
        await until(lambda: not inbox.is_spooling)
        return outcomes

    assert outage.run(work) == [STORED] * 3  # nobody can know yet
    assert [row.deliveries for row in stored_reports(engine)] == [2, 2]
    assert [(row.query, row.times) for row in stored_deliveries(engine)] == [
        ("LrnInfos=TWA-1-2", 1),
        ("LrnInfos=TWA-2-2", 1),
    ]


def test_what_an_earlier_run_left_in_the_spool_goes_before_what_comes(outage, engine, new_report):
    spool = outage.spool()
    spool.append([new_report(number) for number in range(600)])
    spool.close()

    async def work(inbox):
        outcome = await inbox.put(new_report(600))
        await until(lambda: not inbox.is_spooling)
        return outcome

    assert outage.run(work) is STORED
    assert stored_queries(engine) == [f"LrnInfos=TWA-{number}-1" for number in range(601)]


def test_what_waits_when_the_inbox_is_stopped_during_an_outage_is_in_the_spool(outage, new_report, database_is_away):
    async def work(inbox):
        puts = [asyncio.create_task(inbox.put(new_report(number))) for number in range(50)]
        await asyncio.sleep(0)
        await inbox.stop()
        return await asyncio.gather(*puts)

    with database_is_away():
        assert outage.run(work, drains=False) == [STORED] * 50
    assert outage.state().rows == 50


def test_a_start_without_a_database_begins_with_the_spool(outage, engine, new_report, database_is_away):
    async def work(inbox):
        with database_is_away():
            outcome = await inbox.put(new_report(1))
            away = inbox.database_is_away
        await until(lambda: not inbox.is_spooling)
        return outcome, away, inbox.database_is_away

    assert outage.run(work, database_is_away=True) == (STORED, True, False)
    assert nothing_is_done_twice(engine, 1)


# --- hanging


def test_a_push_that_the_database_does_not_answer_is_answered_from_the_spool_and_stored_once(
    outage, engine, new_report
):
    """The statement that hung commits in the end, and the drain finds what it brings in the database."""

    async def work(inbox):
        with hanging(engine):
            first = await inbox.put(new_report(1))
            others = await asyncio.gather(*(inbox.put(new_report(number)) for number in range(2, 50)))
            spooled = outage.state().rows
        await until(lambda: not inbox.is_spooling)
        return first, set(others), spooled

    assert outage.run(work) == (STORED, {STORED}, 49)
    assert nothing_is_done_twice(engine, 49)


def test_a_copy_whose_counting_hangs_is_counted_once(outage, engine, new_report):
    again = new_report(1, 2)

    async def work(inbox):
        await inbox.put(new_report(1))
        with hanging(engine):
            outcome = await inbox.put(again)
        await until(lambda: not inbox.is_spooling)
        return outcome

    assert outage.run(work) is STORED
    assert [row.deliveries for row in stored_reports(engine)] == [2]
    assert [row.times for row in stored_deliveries(engine)] == [1]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_connection_that_is_dead_keeps_neither_the_spool_nor_the_drain(outage, engine, new_report):
    """Its statement is done in the end, after the drain has stored what it brings."""

    async def work(inbox):
        await inbox.put(new_report(0))
        with engine.connect() as connection:  # besides this one there is the one that the writer keeps
            others = text(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            backend = connection.scalars(others).one()
        os.kill(backend, signal.SIGSTOP)
        try:
            outcomes = [await inbox.put(new_report(number)) for number in (1, 2)]
            await until(lambda: inbox.drained == 2)
            during = inbox.is_spooling, inbox.writer_is_stuck, count(engine, reports)
        finally:
            os.kill(backend, signal.SIGCONT)
        await until(lambda: not inbox.is_spooling)
        return outcomes, during

    assert outage.run(work) == ([STORED] * 2, (True, True, 3))
    assert nothing_is_done_twice(engine, 3)


def test_without_a_spool_a_push_that_is_not_answered_in_time_is_refused(engine, new_report):
    async def main():
        inbox = make_inbox(engine, LIMITS, stall_s=0.3)
        inbox.start()
        with hanging(engine):
            outcomes = await asyncio.gather(
                *(inbox.put(new_report(number)) for number in range(3)), return_exceptions=True
            )
        await inbox.stop()
        return {type(outcome) for outcome in outcomes}

    assert asyncio.run(main()) == {StorageUnavailableError}


def test_a_refused_push_is_dropped_and_counted_while_the_database_hangs(outage, engine, new_report, new_rejection):
    async def work(inbox):
        with hanging(engine):
            await inbox.put(new_report(1))
            await asyncio.gather(*(inbox.put_rejection(new_rejection()) for _ in range(5)))
            return inbox.rejections_dropped

    assert outage.run(work) == 5
    assert count(engine, rejections) == 0


# --- neither takes it


def test_a_push_is_refused_when_the_database_is_away_and_the_spool_is_full(outage, new_report, database_is_away):
    async def work(inbox):
        with database_is_away():
            outcomes = [await inbox.put(new_report(number)) for number in range(2)]
            with pytest.raises(StorageUnavailableError, match="spool is full"):
                await inbox.put(new_report(2))
            with pytest.raises(StorageUnavailableError, match="no more are taken"):  # at once, without a try
                await inbox.put(new_report(2))
            return outcomes, inbox.is_full, inbox.refused_lately, inbox.refused_for_room

    bounds = {"max_bytes": 2 * size(new_report(1))}
    assert outage.run(work, bounds=bounds) == ([STORED] * 2, True, True, 2)


def test_a_full_spool_is_drained_and_pushes_are_taken_again(outage, engine, new_report, database_is_away):
    async def work(inbox):
        with database_is_away():
            await asyncio.gather(*(inbox.put(new_report(number)) for number in range(9)), return_exceptions=True)
        await until(lambda: not inbox.is_spooling and not inbox.is_full)
        return await inbox.put(new_report(9))

    assert outage.run(work, bounds={"max_bytes": 4 * size(new_report(1))}) is STORED
    assert stored_queries(engine) == [f"LrnInfos=TWA-{number}-1" for number in (0, 1, 2, 3, 9)]


def test_of_a_batch_that_the_spool_has_room_for_in_part_the_first_ones_are_taken(outage, new_report, database_is_away):
    async def work(inbox):
        with database_is_away():
            return await asyncio.gather(*(inbox.put(new_report(number)) for number in range(5)), return_exceptions=True)

    outcomes = outage.run(work, bounds={"max_bytes": 3 * size(new_report(1))}, drains=False)
    assert outcomes[:3] == [STORED] * 3
    assert {type(outcome) for outcome in outcomes[3:]} == {StorageUnavailableError}


def test_a_push_is_refused_at_once_when_too_many_bytes_wait(engine, new_report):
    large = bytes(256 * 1024)

    async def main():
        inbox = make_inbox(engine, LIMITS)
        inbox._loop = asyncio.get_running_loop()  # nobody writes yet
        fitting = MAX_WAITING_BYTES // len(large)
        waiting = [asyncio.create_task(inbox.put(new_report(number)._replace(body=large))) for number in range(fitting)]
        await asyncio.sleep(0)
        assert inbox.is_full
        with pytest.raises(StorageUnavailableError):
            await inbox.put(new_report(fitting))
        inbox.start()
        outcomes = set(await asyncio.gather(*waiting))
        outcomes.add(await inbox.put(new_report(fitting)))
        await inbox.stop()
        return outcomes, inbox.refused_for_room

    assert asyncio.run(main()) == ({STORED}, 1)


# --- once


def test_a_push_whose_commit_was_never_answered_is_not_counted_again(outage, engine, new_report):
    put_all(engine, [new_report(1), new_report(2), new_report(2, 2)])
    spool = outage.spool()
    spool.append([new_report(1), new_report(2), new_report(2, 2)])
    spool.close()
    drain_all(outage)

    assert [row.deliveries for row in stored_reports(engine)] == [1, 2]
    assert [row.times for row in stored_deliveries(engine)] == [1]


def test_a_crash_between_the_commit_and_the_spool_s_delete_doubles_nothing(outage, engine, new_report, now):
    spool = outage.spool()
    copies = [
        new_report(1, delivery)._replace(received_at=now + timedelta(seconds=second))
        for second, delivery in enumerate((2, 3, 2, 2), start=1)
    ]
    spool.append([new_report(1), *copies, new_report(2)])
    with write(engine) as connection:
        store_spooled(connection, spool.get_id(), spool.first(5))
    spool.close()
    drain_all(outage)

    assert [row.deliveries for row in stored_reports(engine)] == [5, 1]
    assert [row.times for row in stored_deliveries(engine)] == [3, 1]
    assert outage.state().rows == 0


def test_a_spool_restored_from_a_copy_loses_nothing_that_it_takes_from_then_on(outage, engine, new_report):
    spool = outage.spool()
    spool.append([new_report(number) for number in range(5)])
    spool.close()
    copy = outage.path.read_bytes(), outage.path.with_name("spool.db-wal")
    drain_all(outage)
    for file in outage.path.parent.iterdir():
        file.unlink()
    outage.path.write_bytes(copy[0])
    spool = outage.spool()
    spool.append([new_report(number) for number in range(5, 8)])  # at places that were drained before
    spool.close()
    drain_all(outage)

    assert nothing_is_done_twice(engine, 8)


def test_two_servers_that_drain_one_spool_store_each_report_once(outage, engine, new_report, database_is_away):
    with database_is_away():
        spool = outage.spool()
        spool.append([new_report(number) for number in range(2000)])
        spool.close()

    in_threads(lambda: drain_all(outage), lambda: drain_all(outage))

    assert stored_queries(engine) == [f"LrnInfos=TWA-{number}-1" for number in range(2000)]
    assert nothing_is_done_twice(engine, 2000)


# --- what stands in nobody's way


def test_a_report_of_a_connection_that_was_removed_meanwhile_is_stored_without_it(outage, engine, new_report):
    spool = outage.spool()
    spool.append([new_report(1), new_report(2)])
    spool.close()
    remove_connection(engine, "field")
    drain_all(outage)

    assert [row.connection_id for row in stored_reports(engine)] == [None, None]
    assert outage.state().set_aside == 0


def test_a_report_that_the_database_refuses_is_set_aside_and_the_others_are_drained(outage, engine, new_report):
    spool = outage.spool()
    spool.append([new_report(1), new_report(2)._replace(kind=None), new_report(3)])
    spool.close()
    drain_all(outage)

    assert stored_queries(engine) == ["LrnInfos=TWA-1-1", "LrnInfos=TWA-3-1"]
    state = outage.state()
    assert (state.rows, state.set_aside) == (0, 1)
    assert "refused" in state.set_aside_reason


def test_what_was_set_aside_is_tried_once_more_at_the_next_start(outage, engine, new_report, now):
    spool = outage.spool()
    spool.append([new_report(1)])
    spool.set_aside(1, "Why.", now)
    spool.append([new_report(2)])
    spool.close()
    drain_all(outage)

    assert stored_queries(engine) == ["LrnInfos=TWA-2-1", "LrnInfos=TWA-1-1"]
    assert outage.state().set_aside == 0


def drain_all(outage):
    """Start a server that has something in its spool, and wait until it has drained that."""

    async def work(inbox):
        await until(lambda: not inbox.is_spooling)

    outage.run(work)
