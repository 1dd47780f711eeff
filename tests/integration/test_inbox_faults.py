"""The inbox when something goes wrong, when too much waits, at its end, and without a database."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import delete, func, select

from receiver.errors import StorageUnavailableError
from receiver.storage.engine import read, write
from receiver.storage.inbox import make_inbox
from receiver.storage.inbox_rejections import MAX_WAITING_REJECTIONS
from receiver.storage.inbox_room import MAX_WAITING_REPORTS
from receiver.storage.rejections import PRUNE_EVERY, RejectionLimits
from receiver.storage.tables import rejections, reports
from tests.integration.inbox_use import LIMITS, STORED, count, put_all, put_together, use_inbox

# --- what goes wrong harms nobody else


def test_a_row_that_the_database_refuses_harms_nobody_else(engine, new_report):
    gone = new_report(50)._replace(connection_id=99)  # its connection was removed a moment ago

    batch = [new_report(number) for number in range(99)]
    batch[50] = gone

    outcomes = put_together(engine, batch)
    assert isinstance(outcomes.pop(50), StorageUnavailableError)
    assert outcomes == [STORED] * 98
    assert count(engine, reports) == 98


def test_a_rejection_that_the_database_refuses_harms_no_report(engine, new_report, new_rejection):
    gone = replace(new_rejection(), connection_id=99)

    async def work(inbox):
        return await asyncio.gather(inbox.put(new_report(1)), inbox.put_rejection(gone), return_exceptions=True)

    outcome, refused = use_inbox(engine, work)
    assert outcome is STORED
    assert isinstance(refused, StorageUnavailableError)


def test_a_refused_row_is_named_without_its_body(engine, new_report):
    gone = new_report(1)._replace(connection_id=99, body=b"hush")

    with pytest.raises(StorageUnavailableError) as caught:
        put_all(engine, [gone])

    assert "hush" not in repr(caught.value)


def test_a_sender_that_went_away_is_stored_all_the_same(engine, new_report):
    async def work(inbox):
        gone = asyncio.create_task(inbox.put(new_report(1)))
        await asyncio.sleep(0)  # it waits in the inbox now
        gone.cancel()
        await inbox.put(new_report(2))
        return gone.cancelled()

    assert use_inbox(engine, work)
    assert count(engine, reports) == 2


# --- the end


def test_stop_commits_what_waits(engine, new_report):
    async def main():
        inbox = make_inbox(engine, LIMITS)
        inbox.start()
        puts = [asyncio.create_task(inbox.put(new_report(number))) for number in range(300)]
        await asyncio.sleep(0)
        await inbox.stop()
        return await asyncio.gather(*puts)

    assert asyncio.run(main()) == [STORED] * 300
    assert count(engine, reports) == 300


def test_stop_right_behind_a_put_loses_nothing_however_often_it_is_tried(engine, new_report):
    async def main(number):
        inbox = make_inbox(engine, LIMITS)
        inbox.start()
        first = asyncio.create_task(inbox.put(new_report(number)))
        await first
        last = asyncio.create_task(inbox.put(new_report(number + 1)))
        await asyncio.sleep(0)
        await inbox.stop()
        return await asyncio.wait_for(last, 10)

    assert {asyncio.run(main(2 * number)) for number in range(40)} == {STORED}


def test_a_stopped_inbox_takes_nothing_more(engine, new_report):
    async def main():
        inbox = make_inbox(engine, LIMITS)
        inbox.start()
        await inbox.stop()
        with pytest.raises(StorageUnavailableError):
            await inbox.put(new_report(1))

    asyncio.run(main())
    assert count(engine, reports) == 0


# --- bounds


def test_a_push_is_refused_at_once_when_too_many_wait(engine, new_report):
    async def main():
        inbox = make_inbox(engine, LIMITS)
        inbox._loop = asyncio.get_running_loop()  # nobody writes yet
        waiting = [asyncio.create_task(inbox.put(new_report(number))) for number in range(MAX_WAITING_REPORTS)]
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailableError, match=f"{MAX_WAITING_REPORTS} pushes wait"):
            await inbox.put(new_report(MAX_WAITING_REPORTS))
        inbox.start()
        outcomes = await asyncio.gather(*waiting)
        outcomes.append(await inbox.put(new_report(MAX_WAITING_REPORTS)))
        await inbox.stop()
        return outcomes

    assert asyncio.run(main()) == [STORED] * (MAX_WAITING_REPORTS + 1)
    assert count(engine, reports) == MAX_WAITING_REPORTS + 1


def test_rejections_beyond_what_may_wait_are_counted_and_dropped(engine, new_rejection):
    async def work(inbox):
        await asyncio.gather(*(inbox.put_rejection(new_rejection()) for _ in range(MAX_WAITING_REJECTIONS + 3)))
        return inbox.rejections_dropped

    assert use_inbox(engine, work) == 3
    assert count(engine, rejections) == MAX_WAITING_REJECTIONS


@pytest.mark.parametrize("known", [True, False])
def test_rejections_stay_within_their_rows(engine, new_rejection, known):
    limits = RejectionLimits(max_rows=20, max_bytes=10**7, unknown_max_rows=20)

    async def main():
        inbox = make_inbox(engine, limits)
        inbox.start()
        for _ in range(4):
            await asyncio.gather(*(inbox.put_rejection(new_rejection(known=known)) for _ in range(100)))
        await inbox.stop()

    asyncio.run(main())
    assert count(engine, rejections) <= 20 + PRUNE_EVERY


def test_rejections_stay_within_their_bytes(engine, new_rejection):
    limits = RejectionLimits(max_rows=10_000, max_bytes=2 * 1024 * 1024, unknown_max_rows=10)

    async def main():
        inbox = make_inbox(engine, limits)
        inbox.start()
        for _ in range(80):
            await inbox.put_rejection(new_rejection(bytes(256 * 1024)))
        await inbox.stop()

    asyncio.run(main())
    with read(engine) as connection:
        kept = connection.scalar(select(func.sum(rejections.c.size_bytes)))
    assert kept <= 2 * 1024 * 1024 + PRUNE_EVERY * 65536


def test_the_newest_rejections_are_those_that_stay(engine, new_rejection):
    limits = RejectionLimits(max_rows=5, max_bytes=10**7, unknown_max_rows=5)

    async def main():
        inbox = make_inbox(engine, limits)
        inbox.start()
        for number in range(PRUNE_EVERY * 2 + 3):
            await inbox.put_rejection(replace(new_rejection(), detail=str(number)))
        await inbox.stop()

    asyncio.run(main())
    with read(engine) as connection:
        kept = [int(detail) for detail in connection.scalars(select(rejections.c.detail).order_by(rejections.c.id))]
    assert kept == list(range(kept[0], PRUNE_EVERY * 2 + 3))


# --- a database that is away


def test_a_database_that_is_away_is_told_and_taken_up_again_when_it_is_back(engine, new_report, database_is_away):
    async def work(inbox):
        outcomes = [await inbox.put(new_report(1))]
        with database_is_away(), pytest.raises(StorageUnavailableError):
            await inbox.put(new_report(2))
        outcomes.append(await inbox.put(new_report(2)))
        return outcomes

    assert use_inbox(engine, work) == [STORED, STORED]


def test_all_that_wait_are_told_when_the_database_is_away(engine, new_report, database_is_away):
    async def work(inbox):
        with database_is_away():
            return await asyncio.gather(
                *(inbox.put(new_report(number)) for number in range(20)), return_exceptions=True
            )

    assert {type(outcome) for outcome in use_inbox(engine, work)} == {StorageUnavailableError}
    assert count(engine, reports) == 0


def test_a_refused_push_is_told_when_the_database_is_away(engine, new_rejection, database_is_away):
    async def work(inbox):
        with database_is_away(), pytest.raises(StorageUnavailableError):
            await inbox.put_rejection(new_rejection())

    use_inbox(engine, work)


def test_what_was_deleted_may_come_again(engine, new_report):
    put_all(engine, [new_report(1)])
    with write(engine) as connection:
        connection.execute(delete(reports))

    assert put_all(engine, [new_report(1)]) == [STORED]
