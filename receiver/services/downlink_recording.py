"""Writes down what became of downlinks that were sent, and of those that nothing was heard of in time.

Within the caller's transaction, which holds `lock_reading`. A report may have come before the answer: then the downlink
is further than the answer knows, and the answer is only noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from receiver.services.downlink_counters import resynchronise
from receiver.services.downlink_dispatch_plan import Step, decide_passage, decide_step
from receiver.storage import downlink_queue as stored
from receiver.storage.downlink_events import DownlinkState, NewStep, record_event, record_step, record_steps
from receiver.storage.downlink_transports import FREE, list_passages, put_passage
from receiver.thingpark.downlink_answers import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection

    from receiver.services.downlink_claiming import Claim
    from receiver.services.downlink_transport import DownlinkOutcome
    from receiver.storage.downlink_queue import OpenDownlink
    from receiver.storage.downlink_transports import Passage

OVERDUE_AT_ONCE = 100
"""Of one transaction, which holds SQLite's only write lock: some 5 ms."""

HAS_COUNTER = (
    "The network has a frame with this counter already: the request whose answer was lost had come through. Its report"
    " will tell."
)
MAY_HAVE_COUNTER = (
    "The network has frames beyond this counter: the request whose answer was lost had come through, or the network"
    " used the counter itself. It is not sent under another one, which could reach the device twice. Its report will"
    " tell."
)


class Answered(NamedTuple):
    """A claim with what came of it."""

    claim: Claim
    outcome: DownlinkOutcome


def record_outcomes(
    connection: Connection, now: datetime, answered: Sequence[Answered], chance: Callable[[], float]
) -> list[tuple[int, Passage, Passage]]:
    """Write down what was answered; give the connections whose passage changed, with the old and the new one."""
    passages = list_passages(connection)
    before = dict(passages)
    found = stored.find_under_way(connection, [one.claim.downlink.id for one in answered])
    steps: dict[int, NewStep] = {}
    for one in answered:
        downlink_id = one.claim.downlink.id
        if downlink_id in steps:  # a first answer that was given up, and the second one: one after another
            record_steps(connection, now, [steps.pop(downlink_id)])
            found |= stored.find_under_way(connection, [downlink_id])
        if downlink_id in found:
            step = _record(connection, now, one, chance(), *found[downlink_id])
            if step is not None:
                steps[downlink_id] = step
        connection_id = one.claim.connection_id
        passage = passages.get(connection_id, FREE)
        passages[connection_id] = decide_passage(passage, one.outcome, now, chance(), is_probe=one.claim.is_probe)
    record_steps(connection, now, list(steps.values()))
    changes = []
    for connection_id, passage in passages.items():
        old = before.get(connection_id, FREE)
        if passage != old:
            put_passage(connection, connection_id, passage)
            changes.append((connection_id, old, passage))
    return changes


def _record(
    connection: Connection, now: datetime, answered: Answered, chance: float, downlink: OpenDownlink, lease: str | None
) -> NewStep | None:
    claim, outcome = answered
    is_ours = lease == claim.lease and downlink.state == DownlinkState.SENDING
    is_told_at_last = downlink.state == DownlinkState.UNKNOWN and outcome.answer.verdict is Verdict.ACCEPTED
    if not is_ours and not is_told_at_last:  # a report was quicker, or the lease had passed
        record_event(
            connection,
            now,
            downlink.id,
            DownlinkState(downlink.state),
            cause="late-answer",
            detail=f"The answer to the request came after that: {outcome.answer.text}",
            request=outcome.request,
            answer=outcome.told,
        )
        return None
    step = _step(connection, now, claim, outcome, chance)
    columns: dict[str, Any] = {"due_at": step.due_at, "attempts": step.attempts, "lease": None, "lease_until": None}
    if step.state is DownlinkState.QUEUED and outcome.answer.verdict is Verdict.COUNTER:
        columns |= {"frm_payload": None, "f_cnt_down": None, "session_id": None}
    return NewStep(
        downlink.id,
        downlink.dev_eui,
        downlink.connection_id,
        step.state,
        step.cause,
        step.detail,
        outcome.request,
        outcome.told,
        columns=columns,
    )


def _step(connection: Connection, now: datetime, claim: Claim, outcome: DownlinkOutcome, chance: float) -> Step:
    answer, standing = outcome.answer, claim.standing
    if answer.verdict is not Verdict.COUNTER:
        return decide_step(standing, outcome, now, chance)
    attempts, f_cnt_down = standing.attempts + 1, claim.downlink.f_cnt_down
    if f_cnt_down is None or answer.expected is None:
        detail = f"{answer.text} It went without one, for the network to encrypt."
        return Step(DownlinkState.REFUSED, answer.cause, detail, None, attempts)
    if standing.was_unknown and answer.cause == "counter-used" and answer.expected > f_cnt_down:
        text = HAS_COUNTER if answer.expected == f_cnt_down + 1 else MAY_HAVE_COUNTER
        accepted = outcome._replace(answer=answer._replace(verdict=Verdict.ACCEPTED, text=text))
        return decide_step(standing, accepted, now, chance)
    obstacle = resynchronise(connection, claim.downlink.id, f_cnt_down, answer.expected)
    if obstacle is not None:
        return Step(DownlinkState.REFUSED, answer.cause, f"{answer.text} {obstacle}", None, attempts)
    detail = f"{answer.text} It expects {answer.expected}, not {f_cnt_down}: it is encrypted anew and sent again."
    return Step(DownlinkState.QUEUED, answer.cause, detail, now, attempts)


def has_overdue(connection: Connection, now: datetime) -> bool:
    """Say whether `settle_overdue` has something to do."""
    lists = (stored.list_lost, stored.list_past_window, stored.list_unknown_expired)
    return any(list_them(connection, now, 1) for list_them in lists)


def settle_overdue(connection: Connection, now: datetime) -> int:
    """Settle what nothing was heard of in time; give how many, at most `OVERDUE_AT_ONCE` of each kind.

    A lease that passed leaves the outcome unknown, and the same bytes are sent again. One that the network took, and
    did not report in time, is unconfirmed; so is one whose time is over while its outcome was unknown.
    """
    lost = stored.list_lost(connection, now, OVERDUE_AT_ONCE)
    for downlink_id, attempts in lost:
        record_step(
            connection,
            now,
            downlink_id,
            DownlinkState.UNKNOWN,
            cause="sender-lost",
            detail="Who sent it did not tell in time what came of it; the same bytes are sent again.",
            due_at=now,
            attempts=attempts + 1,
            lease=None,
            lease_until=None,
        )
    past = stored.list_past_window(connection, now, OVERDUE_AT_ONCE)
    for downlink_id in past:
        detail = "The network took it, and did not report in time what became of it. A late report still settles it."
        record_step(
            connection, now, downlink_id, DownlinkState.UNCONFIRMED, cause="no-report", detail=detail, due_at=None
        )
    expired = stored.list_unknown_expired(connection, now, OVERDUE_AT_ONCE)
    for downlink_id in expired:
        detail = "Its time was over while it was not known whether the network had it; it is not sent again."
        record_step(
            connection, now, downlink_id, DownlinkState.UNCONFIRMED, cause="expired", detail=detail, due_at=None
        )
    return len(lost) + len(past) + len(expired)
