"""Refused pushes that wait for the database: they come from anybody, and have narrow bounds of their own."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from receiver.storage.inbox_batch import Batch, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.storage.inbox_batch import Done
    from receiver.storage.inbox_rows import Outcome
    from receiver.storage.rejections import NewRejection

MAX_WAITING_REJECTIONS = 512
MAX_WAITING_REJECTION_BYTES = 16 * 1024 * 1024
"""Beyond this they are counted and no longer kept. What is under way to the disk counts as well."""


class WaitingRejections:
    """A queue of refused pushes. The event loop puts, whoever holds the inbox's lock takes."""

    def __init__(self) -> None:
        self._queue: deque[tuple[NewRejection, Done]] = deque()
        self._count = self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def has_room_for(self, rejection: NewRejection) -> bool:
        """Say whether this one may wait."""
        is_small_enough = self._bytes + rejection.size_bytes <= MAX_WAITING_REJECTION_BYTES
        return self._count < MAX_WAITING_REJECTIONS and is_small_enough

    async def put(self, rejection: NewRejection, wake: Callable[[], None]) -> None:
        """Put it into the queue, call `wake`, and return once it is stored.

        Raises:
            StorageUnavailableError: the database did not take it.
        """
        self._count += 1
        self._bytes += rejection.size_bytes
        try:
            future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            self._queue.append((rejection, partial(settle, future)))
            wake()
            await future
        finally:
            self._count -= 1
            self._bytes -= rejection.size_bytes

    def take_all(self) -> Batch:
        """Give all that wait."""
        return Batch(self._queue.popleft() for _ in range(len(self._queue)))
