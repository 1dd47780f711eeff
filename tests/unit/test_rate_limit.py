"""How often a key may call and an address may guess, on a clock that only the test moves."""

from __future__ import annotations

import pytest

from receiver.web.rate_limit import (
    BURST_S,
    FAILURE_WINDOW_S,
    MOST_FAILURES,
    CallLimit,
    FailureLimit,
    whole_seconds,
)

KEY, OTHER = b"k" * 32, b"o" * 32


def take_all(limit, now, key=KEY):
    """Call until the key has to wait; give how often it could."""
    taken = 0
    while limit.take(key, now) == 0:
        taken += 1
        assert taken < 10_000, "there is no limit"
    return taken


def test_a_key_may_use_up_five_seconds_at_once():
    assert take_all(CallLimit(20), now=7.0) == 20 * BURST_S == 100


def test_after_that_it_goes_on_at_its_rate():
    limit = CallLimit(20)
    take_all(limit, now=0.0)

    assert take_all(limit, now=1.0) == 20
    assert take_all(limit, now=1.5) == 10


def test_silence_is_worth_no_more_than_a_burst():
    limit = CallLimit(20)
    take_all(limit, now=0.0)

    assert take_all(limit, now=3600.0) == 100


def test_the_wait_is_as_long_as_it_takes_and_not_longer():
    limit = CallLimit(0.5)
    take_all(limit, now=0.0)

    wait_s = limit.take(KEY, 0.0)

    assert limit.take(KEY, wait_s - 0.01) > 0
    assert limit.take(KEY, wait_s) == 0


def test_a_call_that_is_refused_costs_nothing():
    limit = CallLimit(10)
    take_all(limit, now=0.0)
    for _ in range(1000):
        limit.take(KEY, 0.0)

    assert take_all(limit, now=1.0) == 10


def test_each_key_has_its_own_calls():
    limit = CallLimit(20)
    take_all(limit, now=0.0)

    assert take_all(limit, now=0.0, key=OTHER) == 100


def test_a_slow_rate_still_lets_one_call_through():
    assert take_all(CallLimit(0.01), now=0.0) == 1


def test_without_a_limit_nobody_waits():
    limit = CallLimit(0)

    assert all(limit.take(KEY, 0.0) == 0 for _ in range(1000))
    assert limit.wait_s(KEY, 0.0) == 0


def test_asking_how_long_to_wait_takes_nothing():
    limit = CallLimit(20)

    assert [limit.wait_s(KEY, 0.0) for _ in range(1000)] == [0] * 1000
    assert not limit.knows(KEY)


def test_a_clock_that_stands_still_or_jumps_back_gives_no_calls():
    limit = CallLimit(20)
    take_all(limit, now=100.0)

    assert limit.take(KEY, 50.0) > 0


def test_the_keys_that_are_counted_are_bounded_and_the_longest_silent_goes():
    limit = CallLimit(20, most_keys=2)
    for key in (b"a", b"b", b"a", b"c"):
        limit.take(key, 0.0)

    assert [limit.knows(key) for key in (b"a", b"b", b"c")] == [True, False, True]


def test_a_key_that_was_revoked_is_forgotten():
    limit = CallLimit(20)
    limit.take(KEY, 0.0)
    limit.forget(KEY)
    limit.forget(OTHER)

    assert not limit.knows(KEY)


def fail(limit, times, now, address="192.0.2.1"):
    for _ in range(times):
        limit.note(address, now)


def test_after_twenty_failures_in_a_minute_the_rest_of_it_is_refused():
    limit = FailureLimit()
    fail(limit, MOST_FAILURES - 1, now=0.0)
    assert limit.wait_s("192.0.2.1", 30.0) == 0

    fail(limit, 1, now=30.0)

    assert limit.wait_s("192.0.2.1", 30.0) == 30.0
    assert limit.wait_s("192.0.2.1", 59.0) == 1.0
    assert limit.wait_s("192.0.2.1", FAILURE_WINDOW_S) == 0


def test_failures_of_the_minute_before_do_not_count():
    limit = FailureLimit()
    fail(limit, MOST_FAILURES - 1, now=0.0)
    fail(limit, 1, now=FAILURE_WINDOW_S)

    assert limit.wait_s("192.0.2.1", FAILURE_WINDOW_S) == 0


def test_another_address_is_not_refused():
    limit = FailureLimit()
    fail(limit, MOST_FAILURES, now=0.0)

    assert limit.wait_s("192.0.2.2", 0.0) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
        ("a-socket", "192.0.2.1", False),
    ],
)
def test_a_network_of_ipv6_counts_as_one_address(one, other, same):
    limit = FailureLimit()
    fail(limit, MOST_FAILURES, now=0.0, address=one)

    assert (limit.wait_s(other, 0.0) > 0) is same


def test_the_addresses_that_are_counted_are_bounded():
    limit = FailureLimit(most=1, most_addresses=2)
    for number in range(3):
        fail(limit, 1, now=float(number), address=f"192.0.2.{number}")

    assert [limit.wait_s(f"192.0.2.{number}", 3.0) > 0 for number in range(3)] == [False, True, True]


def test_an_address_that_fails_anew_is_not_the_first_to_be_forgotten():
    limit = FailureLimit(most=1, most_addresses=2)
    fail(limit, 1, now=0.0, address="192.0.2.0")
    fail(limit, 1, now=1.0, address="192.0.2.1")
    fail(limit, 1, now=70.0, address="192.0.2.0")
    fail(limit, 1, now=70.0, address="192.0.2.2")

    assert limit.wait_s("192.0.2.0", 70.0) > 0


@pytest.mark.parametrize(("wait_s", "told"), [(0.01, 1), (1.0, 1), (1.01, 2), (59.2, 60)])
def test_a_wait_is_told_in_whole_seconds_that_are_enough(wait_s, told):
    assert whole_seconds(wait_s) == told
