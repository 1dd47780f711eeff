"""Whether the writer waits a moment for more pushes before it commits a few.

A commit of one push costs as much processor time as verifying it five times over. Networks that open a connection for
each push come in such a way that every commit would hold one or two. So where few wait, the writer waits a few
milliseconds for company, as long as company comes; where it does not, as with one sender that waits for each answer,
it soon stops trying.
"""

from __future__ import annotations

LOOKS = 3
LOOK_S = 0.001
"""How often, and after how long each time, the writer looks whether enough wait: 3 ms, a tenth of what a push takes
over a new TLS connection and a network, and some ten commits."""

ENOUGH = 8
"""Where so many wait, a commit for all of them costs each next to nothing more."""

FIRST_PENALTY = 8
MOST_PENALTY = 256
"""Batches that are not waited for after a wait in vain, twice as many each time: then it costs a hundredth at most."""


class Gathering:
    """Decides for each batch, by what came of the last waits."""

    def __init__(self) -> None:
        self._penalty = FIRST_PENALTY
        self._to_skip = 0

    def is_worth_it(self, waiting: int) -> bool:
        """Say whether to wait before a batch of so many."""
        if waiting >= ENOUGH:
            return False
        if self._to_skip:
            self._to_skip -= 1
            return False
        return True

    def waited(self, *, anybody_came: bool) -> None:
        """Learn from a wait."""
        if anybody_came:
            self._penalty = FIRST_PENALTY
        else:
            self._to_skip, self._penalty = self._penalty, min(self._penalty * 2, MOST_PENALTY)
