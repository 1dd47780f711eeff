"""A batch of pushes on its way to a disk, with those who wait for it, and the answers that they get."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeAlias

from receiver.errors import StorageUnavailableError
from receiver.storage.inbox_rows import Outcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Sequence

    from receiver.storage.rejections import NewRejection
    from receiver.storage.reports import NewReport

REFUSING_S = 1.0
"""After the spool could not take a push, all are refused for so long; then the next one is tried."""

REFUSED_LATELY_S = 30.0
"""Those who watch ask twice a minute or more often."""

Answer: TypeAlias = "Outcome | StorageUnavailableError"
Done: TypeAlias = "Callable[[Answer], None]"


class RowRefusedError(StorageUnavailableError):
    """The database answers, and refused to store this one row."""


class Batch:
    """Reports or rejections with their waiters. Whoever sets `claimed` first may answer them.

    Of `are_copies` it is known already that they are in the database: they are only to be counted.
    """

    __slots__ = ("are_copies", "began_at", "claimed", "items", "waiters")

    def __init__(self, waiting: Iterable[tuple[NewReport | NewRejection, Done]], *, are_copies: bool = False) -> None:
        pairs = list(waiting)
        self.items = [item for item, _ in pairs]
        self.waiters = [done for _, done in pairs]
        self.began_at = time.monotonic()
        self.claimed = False
        self.are_copies = are_copies

    def split(self, answers: Sequence[Answer]) -> tuple[list[tuple[NewReport, Done]], Batch, list[Answer]]:
        """Give the reports that a disk which is away did not take; and all others as a batch, with their answers."""
        left: list[tuple[NewReport, Done]] = []
        rest: list[tuple[NewReport | NewRejection, Done]] = []
        rest_answers: list[Answer] = []
        for item, done, answer in zip(self.items, self.waiters, answers, strict=True):
            if isinstance(item, tuple) and is_away(answer):  # rejections are no tuples
                left.append((item, done))
            else:
                rest.append((item, done))
                rest_answers.append(answer)
        return left, Batch(rest), rest_answers


class Refusals:
    """When neither disk took a push: `at` on the monotonic clock, None while the last one that was tried was taken."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: float | None = None

    def were_just_now(self) -> bool:
        """Say whether it is too early to try another one."""
        at = self.at  # another thread may change it
        return at is not None and time.monotonic() - at < REFUSING_S

    def were_lately(self) -> bool:
        """Say so to who watches from time to time."""
        at = self.at
        return at is not None and time.monotonic() - at < REFUSED_LATELY_S


def is_away(answer: Answer) -> bool:
    """Say whether this is the answer of a disk that is away, and not of one that refuses this row for itself."""
    return isinstance(answer, StorageUnavailableError) and not isinstance(answer, RowRefusedError)


async def join_unless_stuck(thread: threading.Thread, is_stuck: Callable[[], bool], stall_s: float) -> None:
    """Wait for the end of a thread; of one that is stuck no longer than `stall_s`, in which it may yet come back."""
    while thread.is_alive() and not is_stuck():
        await asyncio.to_thread(thread.join, stall_s / 10)
    await asyncio.to_thread(thread.join, stall_s)


def settle(future: asyncio.Future[Outcome], answer: Answer) -> None:
    """Give the answer to who awaits the future."""
    if future.done():  # the client went away; what it sent is stored all the same
        return
    if isinstance(answer, Outcome):
        future.set_result(answer)
    else:
        future.set_exception(answer)
