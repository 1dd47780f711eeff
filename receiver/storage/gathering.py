"""Whether those that wait to be stored are stored at once, or a moment later with those that come just then.

A commit of one push costs as much processor time as verifying it five times over. Networks that open a connection for
each push come in such a way that every commit would hold one or two. So few are not committed at once while the event
loop has other work to do: that work brings company, and nobody is idle meanwhile. Once the loop has looked for work and
found none, they are kept back for one pause more, as long as that brings company; where it does not, as with senders
that wait for their answers, it is soon left out.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

ENOUGH = 12
"""Where so many wait, a commit for all of them costs each next to nothing more."""

ENOUGH_AFTER_A_PAUSE = 6
"""The same where the loop has been without work meanwhile: then it is others who set the pace, and answers that come in
bursts keep them waiting."""

GATHER_S = 0.008
"""The longest that any of them is kept back, but for a pause: a fifth of what a push takes over a network and TLS."""

IDLE_S = 0.00002
"""A round of the event loop with nothing to do takes a quarter of this; one that reads a push, more."""

PAUSE_S = 0.002
"""The pause: in this time an event loop that is half busy with TLS handshakes takes one push or two."""

MOST_SKIPPED = 256
"""After a pause in vain one is left out, after two in a row two, then four, and so on up to this."""


class Wake(Protocol):
    """What whoever puts something into the queue asks, as of a `threading.Event`."""

    def is_set(self) -> bool:
        """Say whether who waits will be taken without a further word."""

    def set(self) -> None:
        """Have what waits taken."""


class Gathering:
    """Calls `go` when what waits is to be taken. For the event loop's thread.

    Use it as a `Wake`: each time something was put and `is_set()` is false, call `set()`. `waiting` gives how many
    wait, `goes` whether they will be taken anyway.
    """

    def __init__(self, waiting: Callable[[], int], goes: Callable[[], bool], go: Callable[[], None]) -> None:
        self._waiting, self._goes, self._go = waiting, goes, go
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_look: asyncio.Handle | None = None
        self._began_at = self._looked_at = 0.0
        self._enough = ENOUGH
        self._to_skip = 0
        self._skips_next = 1

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gather on this loop; before that, nothing is kept back."""
        self._loop = loop

    def is_set(self) -> bool:
        """Say whether who waits will be taken without a further word."""
        return self._next_look is not None or self._goes()

    def set(self) -> None:
        """Have what waits taken, now or soon."""
        if self._loop is None:
            self._go()
        elif self._next_look is None:
            self._began_at = self._looked_at = time.perf_counter()
            self._enough = ENOUGH
            self._next_look = self._loop.call_soon(self._look)

    def stop(self) -> None:
        """Gather no longer; what waits is another's."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    def _look(self) -> None:
        """Once in each round of the loop, after it has looked for work: was there any?"""
        now = time.perf_counter()
        was_idle = now - self._looked_at < IDLE_S
        self._looked_at = now
        waiting = self._waiting()
        self._enough = ENOUGH_AFTER_A_PAUSE if was_idle else self._enough
        assert self._loop is not None  # noqa: S101
        if waiting >= self._enough or now - self._began_at > GATHER_S:
            self._end()
        elif not was_idle:
            self._next_look = self._loop.call_soon(self._look)
        elif self._to_skip:
            self._to_skip -= 1
            self._end()
        else:
            self._next_look = self._loop.call_later(PAUSE_S, self._after_pause, waiting)

    def _after_pause(self, waiting: int) -> None:
        if self._waiting() > waiting:
            self._skips_next = 1
            self._look()
        else:
            self._to_skip, self._skips_next = self._skips_next, min(self._skips_next * 2, MOST_SKIPPED)
            self._end()

    def _end(self) -> None:
        self._next_look = None
        self._go()


class WriterWake(Gathering):
    """A `threading.Event` for the writer's thread, which puts set only when enough wait."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._event = threading.Event()
        super().__init__(waiting, self._event.is_set, self._event.set)

    def wake(self) -> None:
        """Wake the writer at once. From any thread."""
        self._event.set()

    def wait(self) -> None:
        """Wait until it is woken. For the writer."""
        self._event.wait()
        self._event.clear()
