"""What becomes of a delivery, and what every kind of target can do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.services.forward_plan import Delivery


class Verdict(Enum):
    """What became of it, as far as is known."""

    TAKEN = "taken"
    """The target has said so."""
    NOT_TAKEN = "not taken"
    """It refused, failed, or its answer was lost: it may be the event's own fault."""
    AWAY = "away"
    """It was not reached, or asks for a pause: no event's fault."""
    GONE = "gone"
    """It wants nothing any more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one delivery; `sentence` is for a person and never holds a URL, a secret or a payload."""

    verdict: Verdict
    sentence: str
    asked_s: float | None = None
    """The pause that the target asked for."""


class Target(Protocol):
    """Where events go to. `start` returns at once; its `done` is called once, from any thread."""

    at_once: int
    """So many deliveries may be under way."""

    def start(self, delivery: Delivery, done: Callable[[Delivery, Outcome], None]) -> None:
        """Begin to send."""

    def send_test(self, body: bytes) -> Outcome:
        """Send one message of type `test`, and wait for what becomes of it."""

    def look(self) -> None:
        """Give up what takes too long; called every few seconds at least."""

    def close(self) -> None:
        """Give up what is under way."""
