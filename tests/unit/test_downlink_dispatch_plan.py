"""What an answer means for a downlink and for its connection."""

from __future__ import annotations

from datetime import timedelta

import pytest

from receiver.services.downlink_dispatch_plan import (
    HOLD_BASE_S,
    HOLD_LONGEST_S,
    LONGEST_S,
    MOST_TRIES,
    MOST_UNKNOWN,
    Standing,
    decide_passage,
    decide_step,
    end_of_window,
    pause_s,
)
from receiver.services.downlink_transport import NOT_REPORTED, DownlinkOutcome
from receiver.storage.downlink_transports import FREE, Passage
from receiver.thingpark.downlink_answers import DownlinkAnswer, Verdict

FRESH = Standing(0, was_unknown=False, expires_at=None, device_class=None)


def outcome(verdict, cause="cause", retry_after_s=None):
    return DownlinkOutcome(DownlinkAnswer(verdict, cause, "Text."), "POST …", "200", retry_after_s)


def test_pauses_double_up_to_ten_minutes_less_what_chance_takes_off():
    assert [pause_s(failures, 1.0) for failures in (1, 2, 3, 9, 10, 10_000)] == [2, 4, 8, 512, LONGEST_S, LONGEST_S]
    assert pause_s(3, 0.0) == 4
    assert pause_s(7, 1.0, HOLD_BASE_S, HOLD_LONGEST_S) == HOLD_LONGEST_S


@pytest.mark.parametrize(("device_class", "window"), [("C", timedelta(minutes=5)), ("A", timedelta(hours=24))])
def test_the_window_for_a_report_is_that_of_the_class(now, device_class, window):
    assert end_of_window(FRESH._replace(device_class=device_class), now) == now + window


def test_the_window_ends_soon_after_the_moment_until_which_it_may_go(now):
    assert end_of_window(FRESH._replace(expires_at=now + timedelta(minutes=1)), now) == now + timedelta(minutes=11)


def test_one_of_which_no_report_will_come_stays_accepted(now):
    step = decide_step(FRESH, outcome(Verdict.ACCEPTED, NOT_REPORTED), now, 1.0)

    assert (step.state, step.cause, step.due_at) == ("accepted", NOT_REPORTED, None)


@pytest.mark.parametrize("verdict", [Verdict.HOLD, Verdict.AWAY])
def test_a_connection_in_trouble_burns_no_attempt(now, verdict):
    step = decide_step(FRESH._replace(attempts=3), outcome(verdict), now, 1.0)

    assert (step.state, step.attempts, step.due_at) == ("queued", 3, now)


def test_one_that_is_put_off_waits_as_long_as_the_network_asks(now):
    step = decide_step(FRESH, outcome(Verdict.RETRY, "rate-limited", 90.0), now, 1.0)

    assert step.due_at == now + timedelta(seconds=90)


@pytest.mark.parametrize(("was_unknown", "state"), [(False, "refused"), (True, "unconfirmed")])
def test_one_that_is_put_off_each_time_is_given_up(now, was_unknown, state):
    standing = FRESH._replace(attempts=MOST_TRIES - 1, was_unknown=was_unknown)

    step = decide_step(standing, outcome(Verdict.RETRY), now, 1.0)

    assert (step.state, step.due_at, step.attempts) == (state, None, MOST_TRIES)


def test_one_that_is_never_answered_is_given_up(now):
    assert decide_step(FRESH._replace(attempts=MOST_UNKNOWN - 2), outcome(Verdict.UNKNOWN), now, 1.0).state == "unknown"
    step = decide_step(FRESH._replace(attempts=MOST_UNKNOWN - 1), outcome(Verdict.UNKNOWN), now, 1.0)
    assert (step.state, step.due_at) == ("unconfirmed", None)


@pytest.mark.parametrize("verdict", [Verdict.HOLD, Verdict.AWAY, Verdict.RETRY, Verdict.UNKNOWN])
def test_what_was_unknown_stays_so_until_it_is_certain(now, verdict):
    assert decide_step(FRESH._replace(was_unknown=True), outcome(verdict), now, 1.0).state == "unknown"


def test_one_whose_time_passed_after_a_lost_answer_may_have_come_in_time(now):
    refused = outcome(Verdict.REFUSED, "expired")

    assert decide_step(FRESH, refused, now, 1.0).state == "refused"
    assert decide_step(FRESH._replace(was_unknown=True), refused, now, 1.0).state == "unconfirmed"


# --- the connection


def passage_after(passage, *outcomes, now, is_probe=False):
    for each in outcomes:
        passage = decide_passage(passage, each, now, 1.0, is_probe=is_probe)
    return passage


@pytest.mark.parametrize("good", [Verdict.ACCEPTED, Verdict.REFUSED, Verdict.COUNTER])
def test_an_answer_leaves_a_connection_free(now, good):
    assert passage_after(FREE, outcome(good), now=now) == FREE


def test_many_that_fail_together_are_one_failure(now):
    passage = passage_after(FREE, *[outcome(Verdict.AWAY)] * 16, now=now)

    assert (passage.failures, passage.next_try_at) == (1, now + timedelta(seconds=2))


def test_a_probe_that_fails_lengthens_the_pause_and_one_that_succeeds_ends_it(now):
    paused = Passage(next_try_at=now, failures=4)

    assert passage_after(paused, outcome(Verdict.UNKNOWN), now=now, is_probe=True).failures == 5
    assert passage_after(paused, outcome(Verdict.REFUSED), now=now, is_probe=True) == FREE
    assert passage_after(paused, outcome(Verdict.ACCEPTED), now=now) == paused


def test_a_pause_is_as_long_as_the_network_asks(now):
    passage = passage_after(FREE, outcome(Verdict.RETRY, "busy", 300.0), now=now)

    assert passage.next_try_at == now + timedelta(seconds=300)


def test_only_what_the_network_takes_ends_a_hold(now):
    held = passage_after(FREE, outcome(Verdict.HOLD, "bad-token"), now=now)

    assert (held.held_since, held.held_cause, held.failures) == (now, "bad-token", 1)
    assert passage_after(held, outcome(Verdict.ACCEPTED), now=now) == held
    assert passage_after(held, outcome(Verdict.REFUSED), now=now, is_probe=True).held_since == now
    assert passage_after(held, outcome(Verdict.AWAY), now=now, is_probe=True).failures == 2
    assert passage_after(held, outcome(Verdict.ACCEPTED), now=now, is_probe=True) == FREE


def test_the_newest_reason_of_a_hold_is_kept_with_its_first_moment(now):
    held = passage_after(FREE, outcome(Verdict.HOLD, "bad-token"), now=now)
    later = now + timedelta(minutes=1)

    passage = passage_after(held, outcome(Verdict.HOLD, "bad-as-id"), now=later, is_probe=True)

    assert (passage.held_since, passage.held_cause, passage.failures) == (now, "bad-as-id", 2)
