"""What can go wrong between an application server and the network, in shares of its requests; repeatable by a seed."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from receiver.errors import SettingsError


class LrcFault(StrEnum):
    """What becomes of a request apart from what it says."""

    NONE = ""
    LOST = "answer lost"
    """It is taken, or refused, as it says, and the connection is closed instead of an answer."""
    CUT = "request lost"
    """The connection is closed, and nothing was taken. From outside it looks as `LOST` does."""
    BUSY = "busy"
    """503, and nothing was taken."""
    BUCKET = "bucket"
    """The device's token bucket is said to be empty, and nothing was taken."""
    SLOW = "slow"
    """It is taken, or refused, as it says, and the answer takes its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LrcFaults:
    """Shares of requests, 0 to 1, together 1 at most; `slow_s` is how long a slow answer takes.

    Raises:
        SettingsError: a share is out of range, or they are more than 1 together.
    """

    lost: float = 0.0
    cut: float = 0.0
    busy: float = 0.0
    bucket: float = 0.0
    slow: float = 0.0
    slow_s: float = 0.3

    def __post_init__(self) -> None:
        shares = (self.lost, self.cut, self.busy, self.bucket, self.slow)
        if min(shares) < 0 or sum(shares) > 1:
            raise SettingsError("Shares of faults are from 0 on, and 1 at most together.")


class FaultPlan:
    """Says for each request what goes wrong: the faults that were ordered first, then by chance.

    Chance depends on the seed, the device and the how-manieth request for it this is: the order in which the requests
    of several devices come in changes nothing.
    """

    def __init__(self, faults: LrcFaults, seed: int) -> None:
        self.faults = faults
        self.ordered: deque[LrcFault] = deque()
        self.happened: Counter[LrcFault] = Counter()
        self._seed = seed
        self._requests: Counter[str] = Counter()

    def next_fault(self, dev_eui: str) -> LrcFault:
        """Give what goes wrong with the next request for a device that the network knows."""
        self._requests[dev_eui] += 1
        fault = self.ordered.popleft() if self.ordered else self._draw(dev_eui)
        self.happened[fault] += 1
        return fault

    def _draw(self, dev_eui: str) -> LrcFault:
        chance = Random(f"{self._seed}/{dev_eui}/{self._requests[dev_eui]}").random()  # noqa: S311 - repeatable
        faults = self.faults
        shares = (
            (LrcFault.LOST, faults.lost),
            (LrcFault.CUT, faults.cut),
            (LrcFault.BUSY, faults.busy),
            (LrcFault.BUCKET, faults.bucket),
            (LrcFault.SLOW, faults.slow),
        )
        for fault, share in shares:
            if chance < share:
                return fault
            chance -= share
        return LrcFault.NONE
