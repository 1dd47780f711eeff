"""The writer waits for company where it comes, and soon stops waiting where it does not."""

from __future__ import annotations

from receiver.storage.gathering import ENOUGH, FIRST_PENALTY, MOST_PENALTY, Gathering


def waits(gathering: Gathering, batches: int, *, anybody_came: bool) -> int:
    """Give how many of so many batches of one push were waited for."""
    count = 0
    for _ in range(batches):
        if gathering.is_worth_it(1):
            gathering.waited(anybody_came=anybody_came)
            count += 1
    return count


def test_few_pushes_are_waited_for_as_long_as_others_come():
    assert waits(Gathering(), 100, anybody_came=True) == 100


def test_many_pushes_are_not_waited_for():
    assert not Gathering().is_worth_it(ENOUGH)


def test_after_a_wait_in_vain_the_next_batches_are_not_waited_for():
    gathering = Gathering()
    gathering.waited(anybody_came=False)

    assert waits(gathering, FIRST_PENALTY, anybody_came=True) == 0
    assert waits(gathering, 1, anybody_came=True) == 1


def test_one_sender_that_waits_for_each_answer_is_hardly_ever_waited_for():
    gathering = Gathering()
    waits(gathering, 2 * MOST_PENALTY, anybody_came=False)

    assert waits(gathering, 10 * MOST_PENALTY, anybody_came=False) <= 10


def test_a_wait_that_was_not_in_vain_ends_the_penalty():
    gathering = Gathering()
    gathering.waited(anybody_came=False)
    gathering.waited(anybody_came=False)
    gathering.waited(anybody_came=True)
    gathering.waited(anybody_came=False)

    assert waits(gathering, FIRST_PENALTY + 1, anybody_came=True) == 1
