"""The habit of a device: learned from its last intervals, and when it has been silent for too long."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate

import pytest

from receiver.lorawan.rhythm import FACTOR, LEAST_INTERVALS, NEWEST_TIMES, Rhythm, find_rhythm
from receiver.services.wording import tell_count, tell_span


def times(now, *intervals_s):
    """Give times whose intervals, oldest first, are these."""
    return [now + timedelta(seconds=seconds) for seconds in accumulate((0, *intervals_s))]


@pytest.mark.parametrize(
    ("intervals_s", "rhythm"),
    [
        ((60,) * 20, Rhythm(60, 60)),
        ((60, 60, 60, 120), Rhythm(60, 120)),
        ((10, 20, 30, 40, 50), Rhythm(30, 50)),
        ((600,) * 19 + (86_400,), Rhythm(600, 600)),
        ((5, 5, 3600) * 6, Rhythm(5, 3600)),
        ((9,) * 5 + (60,) * 20, Rhythm(60, 60)),
    ],
    ids=["regular", "few", "odd number", "one outage is no habit", "bursts", "only the newest count"],
)
def test_the_habit_is_what_nine_of_ten_intervals_do_not_exceed(now, intervals_s, rhythm):
    assert find_rhythm(times(now, *intervals_s)) == rhythm


@pytest.mark.parametrize("number", range(LEAST_INTERVALS + 1))
def test_too_few_times_are_no_habit(now, number):
    assert find_rhythm(times(now, *(60,) * number)[:number]) is None


def test_copies_and_disorder_change_nothing(now):
    regular = times(now, *(60,) * 6)

    assert find_rhythm([*reversed(regular), *regular[:3]]) == find_rhythm(regular)


def test_no_more_times_count_than_are_asked_for(now):
    assert find_rhythm(times(now, *(1,) * 50, *(60,) * (NEWEST_TIMES - 1))) == Rhythm(60, 60)


@pytest.mark.parametrize(("usual_s", "factor", "allowed_s"), [(3600, 3, 10_800), (3600, 5, 18_000), (10, 3, 610)])
def test_three_intervals_may_pass_and_ten_minutes_beyond_one_always(usual_s, factor, allowed_s):
    assert Rhythm(usual_s, usual_s).allowed_s(factor) == allowed_s
    assert FACTOR == 3


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 seconds"),
        (0.4, "0 seconds"),
        (1, "1 second"),
        (45, "45 seconds"),
        (61, "1 minute 1 second"),
        (120, "2 minutes"),
        (3_599.6, "1 hour"),
        (11_534, "3 hours 12 minutes"),
        (86_399, "1 day"),
        (90_061, "1 day 1 hour"),
        (86_400 + 59, "1 day 1 minute"),
        (2_592_000, "30 days"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds, told):
    assert tell_span(seconds) == told


def test_numbers_are_told_with_their_noun():
    assert [tell_count(number, "report") for number in (0, 1, 2_000)] == ["0 reports", "1 report", "2,000 reports"]
