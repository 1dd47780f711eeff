"""How much may wait in memory for a disk: pushes by number and bytes, refused ones apart from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque

    from receiver.storage.inbox_batch import Done
    from receiver.storage.rejections import NewRejection
    from receiver.storage.reports import NewReport

MAX_WAITING_REPORTS = 4096
"""Beyond this a push is told at once that we cannot take it: a few seconds of work for any disk."""

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""The same for the bodies of those that wait, each of up to 256 KiB; those under way to the disk count as well."""

MAX_BATCH_BYTES = 8 * 1024 * 1024
"""Bodies in one transaction: it is copied on its way, and must be done well before it counts as stalled."""

MAX_WAITING_REJECTIONS = 512
MAX_WAITING_REJECTION_BYTES = 16 * 1024 * 1024
"""Refused pushes come from anybody; beyond this they are counted and no longer kept."""


class Room:
    """Counts what waits, and what is under way to a disk. One thread changes it: the event loop's."""

    __slots__ = ("rejection_bytes", "rejections", "report_bytes", "reports")

    def __init__(self) -> None:
        self.reports = self.report_bytes = self.rejections = self.rejection_bytes = 0

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

    def has_room_for(self, rejection: NewRejection) -> bool:
        """Say whether this refused push may wait."""
        is_small_enough = self.rejection_bytes + rejection.size_bytes <= MAX_WAITING_REJECTION_BYTES
        return self.rejections < MAX_WAITING_REJECTIONS and is_small_enough

    def add_rejection(self, rejection: NewRejection) -> None:
        """Count a refused push that waits from now on."""
        self.rejections += 1
        self.rejection_bytes += rejection.size_bytes

    def remove_rejection(self, rejection: NewRejection) -> None:
        """Count one that has its answer."""
        self.rejections -= 1
        self.rejection_bytes -= rejection.size_bytes


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
