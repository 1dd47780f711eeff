"""How many pushes may wait in memory for a disk, by number and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque

    from receiver.storage.inbox_batch import Done
    from receiver.storage.reports import NewReport

MAX_WAITING_REPORTS = 4096
"""Beyond this a push is told at once that we cannot take it: a few seconds of work for any disk."""

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""The same for the bodies of those that wait, each of up to 256 KiB; those under way to the disk count as well."""

MAX_BATCH_BYTES = 8 * 1024 * 1024
"""Bodies in one transaction: it is copied on its way, and must be done well before it counts as stalled."""


class Room:
    """Counts what waits, and what is under way to a disk. One thread changes it: the event loop's."""

    __slots__ = ("report_bytes", "reports")

    def __init__(self) -> None:
        self.reports = self.report_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether no further push may wait."""
        return self.reports >= MAX_WAITING_REPORTS or self.report_bytes >= MAX_WAITING_BYTES

    def add(self, report: NewReport) -> None:
        """Count a push that waits from now on."""
        self.reports += 1
        self.report_bytes += len(report.body)

    def remove(self, report: NewReport) -> None:
        """Count one that has its answer."""
        self.reports -= 1
        self.report_bytes -= len(report.body)


def take_reports(queue: deque[tuple[NewReport, Done]], count: int, room: Room) -> list[tuple[NewReport, Done]]:
    """Take up to `count` of those that wait, the oldest first: one at least, and no more than go well together."""
    if room.report_bytes <= MAX_BATCH_BYTES:
        return [queue.popleft() for _ in range(count)]
    taken = [queue.popleft()]
    size_bytes = len(taken[0][0].body)
    while len(taken) < count and size_bytes + len(queue[0][0].body) <= MAX_BATCH_BYTES:
        taken.append(queue.popleft())
        size_bytes += len(taken[-1][0].body)
    return taken
