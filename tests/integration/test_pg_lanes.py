"""The way over the event loop in busy times on PostgreSQL: as sure as the writer's thread, whatever happens to it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from sqlalchemy import select, text

from receiver.errors import StorageUnavailableError
from receiver.storage import pg_inbox
from receiver.storage.engine import read
from receiver.storage.inbox import make_inbox
from receiver.storage.pg_inbox import BUSY_FROM
from receiver.storage.tables import reports
from tests.integration.inbox_use import (
    DUPLICATE,
    LIMITS,
    STORED,
    count,
    in_threads,
    stored_deliveries,
    stored_reports,
    use_inbox,
)
from tests.integration.outage_use import Outage, hanging, until

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)

FIRST = 1000
"""Where the numbers of those reports begin that only make an inbox busy."""


@pytest.fixture
def outage(engine, tmp_path, now):
    return Outage(engine, tmp_path / "data", now)


async def open_lanes(inbox, new_report):
    """Put as many at once as it takes; give how many they were."""
    number = FIRST
    while not inbox.uses_lanes:
        await asyncio.gather(*(inbox.put(new_report(number + more)) for more in range(BUSY_FROM)))
        number += BUSY_FROM
        await until(lambda: not inbox.is_spooling)
    return number - FIRST


def over_lanes(engine, new_report, work):
    """Run `work(inbox)` on an inbox that uses its lanes; give what it gives."""

    async def main(inbox):
        await open_lanes(inbox, new_report)
        return await work(inbox)

    return use_inbox(engine, main)


def after_lanes_were_opened(engine):
    """Give the reports that the test has put, and not `open_lanes`."""
    return [row for row in stored_reports(engine) if int(row.query.split("-")[1]) < FIRST]


def backends(engine):
    with read(engine) as connection:
        others = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return connection.scalar(others)


def end_backends(engine, which="true"):
    """Let PostgreSQL end all other connections to this database, or those `which` holds for."""
    with read(engine) as connection:
        ended = text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"  # noqa: S608 - the test's own
            f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND {which}"
        )
        return connection.scalar(ended)


# --- when all is well


def test_a_quiet_inbox_opens_no_lanes(engine, new_report):
    async def work(inbox):
        for number in range(20):
            await inbox.put(new_report(number))
        return inbox.uses_lanes

    assert use_inbox(engine, work) is False


def test_what_goes_over_the_lanes_is_stored_as_it_is(engine, new_report):
    report = new_report(1)._replace(dev_eui=None, frame_id=None, body=b"\x00\xff", query="é=1-1")

    async def work(inbox):
        return await inbox.put(report)

    assert over_lanes(engine, new_report, work) is STORED
    with read(engine) as connection:
        row = connection.execute(select(reports).where(reports.c.delivery_id == report.delivery_id)).one()
    assert tuple(getattr(row, field) for field in report._fields) == tuple(report)
    assert (row.deliveries, row.state, row.note) == (1, "unread", None)


def test_many_are_all_stored_once(engine, new_report):
    async def work(inbox):
        return await asyncio.gather(*(inbox.put(new_report(number)) for number in range(900)))

    assert over_lanes(engine, new_report, work) == [STORED] * 900
    assert len(after_lanes_were_opened(engine)) == 900


def test_a_batch_of_more_than_a_socket_takes_at_once_is_stored(engine, new_report):
    large = bytes(200_000)

    async def work(inbox):
        puts = (inbox.put(new_report(number)._replace(body=large)) for number in range(30))
        return await asyncio.gather(*puts)

    assert over_lanes(engine, new_report, work) == [STORED] * 30
    assert {len(row.body) for row in after_lanes_were_opened(engine)} == {200_000}


def test_copies_are_told_and_counted(engine, new_report):
    async def work(inbox):
        first = await inbox.put(new_report(1))
        later = await asyncio.gather(*(inbox.put(new_report(*which)) for which in ((1, 2), (2, 1), (1, 1), (2, 1))))
        return first, later

    assert over_lanes(engine, new_report, work) == (STORED, [DUPLICATE, STORED, DUPLICATE, DUPLICATE])
    assert [row.deliveries for row in after_lanes_were_opened(engine)] == [3, 2]
    assert sum(row.times for row in stored_deliveries(engine)) == 3


def test_of_copies_that_two_servers_take_at_once_each_is_stored_once_and_all_are_counted(engine, new_report):
    pushes = [(number, delivery) for number in range(200) for delivery in (1, 2, 3)]

    def serve(seed):
        mine = random.Random(seed).sample(pushes, len(pushes))  # noqa: S311 - no secret

        async def work(inbox):
            return await asyncio.gather(*(inbox.put(new_report(*which)) for which in mine))

        over_lanes(engine, new_report, work)

    in_threads(lambda: serve(1), lambda: serve(2))

    stored = after_lanes_were_opened(engine)
    assert len(stored) == 200
    assert {row.deliveries for row in stored} == {6}


def test_lanes_without_use_are_closed_and_opened_again(engine, new_report, monkeypatch):
    monkeypatch.setattr(pg_inbox, "IDLE_S", 0.0)

    async def main():
        inbox = make_inbox(engine, LIMITS, stall_s=0.2)  # which is looked for twelve times as often
        inbox.start()
        await open_lanes(inbox, new_report)
        await until(lambda: not inbox.uses_lanes)
        await until(lambda: backends(engine) <= 2)  # the writer's, and the one that asks
        again = await open_lanes(inbox, lambda number: new_report(number + 1000))
        outcome = await inbox.put(new_report(1))
        await inbox.stop()
        return again > 0, outcome

    assert asyncio.run(main()) == (True, STORED)


def test_stop_commits_what_waits_and_what_is_under_way(engine, new_report):
    async def main():
        inbox = make_inbox(engine, LIMITS)
        inbox.start()
        await open_lanes(inbox, new_report)
        puts = [asyncio.create_task(inbox.put(new_report(number % 250, 1 + number // 250))) for number in range(500)]
        await asyncio.sleep(0.001)
        await inbox.stop()
        return await asyncio.gather(*puts)

    assert Counter(asyncio.run(main())) == {STORED: 250, DUPLICATE: 250}
    assert {row.deliveries for row in after_lanes_were_opened(engine)} == {2}
    assert backends(engine) <= 2  # those of the pool


# --- when it is not


def test_a_row_that_the_database_refuses_harms_nobody_else(engine, new_report):
    batch = [new_report(number) for number in range(99)]
    batch[50] = batch[50]._replace(connection_id=99)  # its connection was removed a moment ago

    async def work(inbox):
        return await asyncio.gather(*(inbox.put(report) for report in batch), return_exceptions=True)

    outcomes = over_lanes(engine, new_report, work)
    assert isinstance(outcomes.pop(50), StorageUnavailableError)
    assert outcomes == [STORED] * 98
    assert {row.deliveries for row in after_lanes_were_opened(engine)} == {1}


def test_a_value_that_cannot_be_sent_harms_nobody_else(engine, new_report):
    odd = new_report(1)._replace(query="half a pair: \ud800")

    async def work(inbox):
        return await asyncio.gather(inbox.put(odd), inbox.put(new_report(2)), return_exceptions=True)

    refused, stored = over_lanes(engine, new_report, work)
    assert isinstance(refused, StorageUnavailableError)
    assert stored is STORED


def test_after_a_refused_row_the_lanes_rest_and_pushes_are_taken(engine, new_report):
    async def work(inbox):
        with pytest.raises(StorageUnavailableError):
            await inbox.put(new_report(1)._replace(connection_id=99))
        outcomes = await asyncio.gather(*(inbox.put(new_report(number)) for number in range(2, 40)))
        return inbox.uses_lanes, outcomes

    assert over_lanes(engine, new_report, work) == (False, [STORED] * 38)


def test_connections_that_end_while_nothing_is_under_way_cost_no_push(engine, new_report):
    async def work(inbox):
        end_backends(engine)
        await until(lambda: not inbox.uses_lanes)
        return await asyncio.gather(*(inbox.put(new_report(number)) for number in range(1, 40)))  # there is no spool

    assert over_lanes(engine, new_report, work) == [STORED] * 39


def test_a_batch_whose_connection_ends_goes_to_the_spool_and_is_stored_once(outage, engine, new_report):
    async def work(inbox):
        opened_by = await open_lanes(inbox, new_report)
        with hanging(engine):
            puts = [asyncio.create_task(inbox.put(new_report(number))) for number in range(40)]
            await until(lambda: end_backends(engine, "state = 'active' AND query LIKE 'INSERT%'"))
        outcomes = await asyncio.gather(*puts)
        await until(lambda: not inbox.is_spooling)
        return opened_by, outcomes

    opened_by, outcomes = outage.run(work)
    assert outcomes == [STORED] * 40
    assert count(engine, reports) == opened_by + 40
    assert {row.deliveries for row in stored_reports(engine)} == {1}


def test_a_batch_that_the_database_does_not_answer_goes_to_the_spool_and_is_stored_once(outage, engine, new_report):
    async def work(inbox):
        opened_by = await open_lanes(inbox, new_report)
        with hanging(engine):
            outcomes = await asyncio.gather(*(inbox.put(new_report(number)) for number in range(40)))
            spooled = inbox.spooled
        await until(lambda: not inbox.is_spooling)
        outcomes += await asyncio.gather(*(inbox.put(new_report(number)) for number in range(40, 80)))
        return opened_by, outcomes, spooled

    opened_by, outcomes, spooled = outage.run(work)
    assert (outcomes, spooled) == ([STORED] * 80, 40)
    assert count(engine, reports) == opened_by + 80
    assert {row.deliveries for row in stored_reports(engine)} == {1}


def test_a_copy_whose_counting_hangs_is_counted_once(outage, engine, new_report):
    async def work(inbox):
        await open_lanes(inbox, new_report)
        await inbox.put(new_report(1))
        with engine.connect() as connection:  # its row is held: it can be seen, and not be counted
            connection.execute(select(reports.c.id).where(reports.c.query == "LrnInfos=TWA-1-1").with_for_update())
            outcome = await inbox.put(new_report(1, 2))
            connection.rollback()
        await until(lambda: not inbox.is_spooling)
        return outcome

    assert outage.run(work) is STORED  # from the spool, where nobody knows
    assert [row.deliveries for row in after_lanes_were_opened(engine)] == [2]
    assert [row.times for row in stored_deliveries(engine)] == [1]


def test_a_database_that_is_away_is_taken_up_again_by_the_lanes(outage, engine, new_report, database_is_away):
    async def work(inbox):
        opened_by = await open_lanes(inbox, new_report)
        with database_is_away():
            outcomes = await asyncio.gather(*(inbox.put(new_report(number)) for number in range(300)))
        await until(lambda: not inbox.is_spooling)
        opened_by += await open_lanes(inbox, lambda number: new_report(number + 1000))
        return opened_by, outcomes

    opened_by, outcomes = outage.run(work)
    assert outcomes == [STORED] * 300
    assert count(engine, reports) == opened_by + 300


def test_without_a_spool_a_batch_that_is_not_answered_in_time_is_refused(engine, new_report):
    async def main():
        inbox = make_inbox(engine, LIMITS, stall_s=0.3)
        inbox.start()
        await open_lanes(inbox, new_report)
        with hanging(engine):
            outcomes = await asyncio.gather(
                *(inbox.put(new_report(number)) for number in range(20)), return_exceptions=True
            )
        await inbox.stop()
        return {type(outcome) for outcome in outcomes}

    assert asyncio.run(main()) == {StorageUnavailableError}
