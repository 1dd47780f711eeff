"""What became of the pushes of a run, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receiver.simulator.push_client import Delivery

_MAX_TIMES = 100_000  # of the newest answers; enough for quantiles, and a long run stays small


@dataclass(slots=True)
class Tally:
    """Counts deliveries; `verdict` says in one sentence what should not have been, or None."""

    pushes: int = 0
    accepted: int = 0
    refused: int = 0
    """Answered by no 2xx."""
    unanswered: int = 0
    """Refused connections, time-outs, broken connections on every URL."""
    missed: int = 0
    """Should have been accepted and were not."""
    wrongly_accepted: int = 0
    unproven: int = 0
    """Should have been refused and got no answer."""
    by_kind: Counter[str] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    first_problem: str | None = None
    _times_s: list[float] = field(default_factory=list)

    def add(self, delivery: Delivery) -> None:
        """Count one delivery."""
        push = delivery.push
        self.pushes += 1
        self.by_kind[push.kind] += 1
        if push.fault:
            self.by_fault[push.fault] += 1
        for answer in delivery.answers:
            if answer.status is not None:
                self.by_status[answer.status] += 1
                self._times_s.append(answer.elapsed_s)
        del self._times_s[: max(0, len(self._times_s) - _MAX_TIMES)]
        answered = any(answer.status is not None for answer in delivery.answers)
        self.accepted += delivery.was_accepted
        self.refused += answered and not delivery.was_accepted
        self.unanswered += not answered
        if push.should_be_accepted:
            self.missed += not delivery.was_accepted
        else:
            self.wrongly_accepted += delivery.was_accepted
            self.unproven += not delivery.was_accepted and not delivery.is_as_expected
        if not delivery.is_as_expected and self.first_problem is None:
            self.first_problem = _describe(delivery)

    def quantile_ms(self, share: float) -> float | None:
        """Give the time within which `share` (0 to 1) of the answers came, in milliseconds."""
        if not self._times_s:
            return None
        ordered = sorted(self._times_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    @property
    def verdict(self) -> str | None:
        """What went wrong, in one sentence with the first case of it."""
        faults = [
            f"{count} {what}"
            for count, what in (
                (self.missed, "should have been accepted and were not"),
                (self.wrongly_accepted, "were accepted and should have been refused"),
                (self.unproven, "should have been refused and got no answer"),
            )
            if count
        ]
        if not faults:
            return None
        return f"Of {self.pushes} pushes {', '.join(faults)}; the first: {self.first_problem}."


def _describe(delivery: Delivery) -> str:
    push = delivery.push
    answers = ", ".join(
        f"{answer.url} answered {answer.status}" if answer.status is not None else f"{answer.url}: {answer.error}"
        for answer in delivery.answers
    )
    fault = f" ({push.fault})" if push.fault else ""
    detail = f" ({push.detail})" if push.detail else ""
    return f"{push.kind}{detail} of {push.dev_eui}{fault}, {answers}"
