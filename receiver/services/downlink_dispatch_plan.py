"""What an answer means for a downlink and for its connection. Pure: times and chance are arguments.

*A connection is paused* after an answer that says nothing of the downlink: the network is away, busy or confused. Then
one goes to see, and the others when that came through. *It is held* when a person must mend something; then, too, one
goes now and then, and when the network takes it all may go again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from receiver.services.downlink_transport import NOT_REPORTED
from receiver.storage.downlink_events import DownlinkState
from receiver.storage.downlink_transports import FREE, Passage
from receiver.thingpark.downlink_answers import Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from receiver.services.downlink_transport import DownlinkOutcome
    from receiver.thingpark.downlink_answers import DownlinkAnswer

BASE_S = 2.0
LONGEST_S = 600.0
"""Between two tries: 2 s after the first, then twice as long each time up to ten minutes, less a part up to half that
chance takes off. A class A device listens every few minutes at best, so more haste would bring nothing sooner."""

HOLD_BASE_S = 60.0
HOLD_LONGEST_S = 3600.0
"""Between two looks whether a held connection is mended: people need minutes; a bad token an hour alarms nobody."""

MOST_UNKNOWN = 12
"""Tries of one whose answers were all lost, about three quarters of an hour: each may have reached the device."""

MOST_TRIES = 500
"""Of one that the network puts off each time: three days and a half, and as many events at most."""

WINDOW_CLASS_A = timedelta(hours=24)
"""For the report of one that waits for the device's next uplink; most devices speak several times a day."""

WINDOW_CLASS_C = timedelta(minutes=5)
"""A class C frame is transmitted or dropped within 60 s (ThingPark Wireless Logger guide, cause E0); then comes the
report."""

AFTER_VALIDITY = timedelta(minutes=10)
"""For the report after the moment until which the network may transmit."""


class Standing(NamedTuple):
    """Where a downlink stood when it was sent. `was_unknown`: the network may have it from an earlier request."""

    attempts: int
    was_unknown: bool
    expires_at: datetime | None
    device_class: str | None


class Step(NamedTuple):
    """The state that follows, why, when something is to be done next, and how many attempts were made."""

    state: DownlinkState
    cause: str | None
    detail: str | None
    due_at: datetime | None
    attempts: int


def decide_step(standing: Standing, outcome: DownlinkOutcome, now: datetime, chance: float) -> Step:
    """Tell what becomes of a downlink by the answer to its request. A counter's answer is decided elsewhere."""
    answer, attempts = outcome.answer, standing.attempts + 1
    again = DownlinkState.UNKNOWN if standing.was_unknown else DownlinkState.QUEUED
    match answer.verdict:
        case Verdict.ACCEPTED:
            due_at = None if answer.cause == NOT_REPORTED else end_of_window(standing, now)
            return Step(DownlinkState.ACCEPTED, answer.cause, answer.text, due_at, attempts)
        case Verdict.RETRY if attempts >= MOST_TRIES:
            state = DownlinkState.UNCONFIRMED if standing.was_unknown else DownlinkState.REFUSED
            return Step(state, answer.cause, f"{answer.text} It was asked {attempts} times.", None, attempts)
        case Verdict.RETRY:
            due_at = now + timedelta(seconds=max(pause_s(attempts, chance), outcome.retry_after_s or 0.0))
            return Step(again, answer.cause, answer.text, due_at, attempts)
        case Verdict.HOLD | Verdict.AWAY:  # it was not burnt: it goes as soon as the connection lets it
            return Step(again, answer.cause, answer.text, now, standing.attempts)
        case Verdict.UNKNOWN if attempts >= MOST_UNKNOWN:
            detail = f"{answer.text} No answer came in {attempts} tries; whether the network has it is not known."
            return Step(DownlinkState.UNCONFIRMED, answer.cause, detail, None, attempts)
        case Verdict.UNKNOWN:
            due_at = now + timedelta(seconds=pause_s(attempts, chance))
            return Step(DownlinkState.UNKNOWN, answer.cause, answer.text, due_at, attempts)
        case _ if standing.was_unknown and answer.cause == "expired":
            detail = f"{answer.text} An earlier request, whose answer was lost, may have come in time."
            return Step(DownlinkState.UNCONFIRMED, answer.cause, detail, None, attempts)
        case _:
            return Step(DownlinkState.REFUSED, answer.cause, answer.text, None, attempts)


def end_of_window(standing: Standing, now: datetime) -> datetime:
    """Give until when a report of what became of an accepted downlink is waited for."""
    end = now + (WINDOW_CLASS_C if standing.device_class == "C" else WINDOW_CLASS_A)
    if standing.expires_at is not None:
        end = min(end, max(now, standing.expires_at) + AFTER_VALIDITY)
    return end


def decide_passage(
    passage: Passage, outcome: DownlinkOutcome, now: datetime, chance: float, *, is_probe: bool
) -> Passage:
    """Tell how the downlinks of the connection go on after an answer.

    Of many requests that fail together the first counts: those that were under way before a pause began tell nothing
    new. `is_probe`: this one was sent to see.
    """
    answer = outcome.answer
    if answer.verdict is Verdict.HOLD:
        if passage.held_since is not None and not is_probe:
            return passage
        failures = 1 if passage.held_since is None else passage.failures + 1
        next_try_at = now + timedelta(seconds=pause_s(failures, chance, HOLD_BASE_S, HOLD_LONGEST_S))
        return Passage(passage.held_since or now, answer.cause, answer.text, next_try_at, failures)
    if passage.held_since is not None:
        if answer.verdict in {Verdict.ACCEPTED, Verdict.COUNTER} and is_probe:
            return FREE
        if not is_probe:
            return passage
        failures = passage.failures + (1 if _is_trouble(answer) else 0)
        next_try_at = now + timedelta(seconds=pause_s(max(failures, 1), chance, HOLD_BASE_S, HOLD_LONGEST_S))
        return passage._replace(next_try_at=next_try_at, failures=failures)
    if not _is_trouble(answer):
        return passage if passage.failures and not is_probe else FREE
    if passage.failures and not is_probe:
        return passage
    failures = passage.failures + 1
    seconds = max(pause_s(failures, chance), outcome.retry_after_s or 0.0)
    return Passage(next_try_at=now + timedelta(seconds=seconds), failures=failures)


def _is_trouble(answer: DownlinkAnswer) -> bool:
    """Say whether an answer tells of the network, and not of the downlink."""
    return answer.verdict in {Verdict.AWAY, Verdict.UNKNOWN} or answer.cause == "busy"


def pause_s(failures: int, chance: float, base_s: float = BASE_S, longest_s: float = LONGEST_S) -> float:
    """Give the pause after so many failures in a row (1 or more); `chance` is from 0 to 1."""
    return min(longest_s, base_s * 2.0 ** min(failures - 1, 30)) * (0.5 + chance / 2)
