"""The inbox's thread that commits to the spool. It never touches the database."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.storage.inbox_batch import Refusals, join_unless_stuck
from receiver.storage.inbox_rows import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from receiver.storage.inbox_batch import Answer, Batch
    from receiver.storage.reports import NewReport
    from receiver.storage.spool import Spool

SPOOL_BATCH = 512
"""The most reports in one commit to the spool, as in one to the database."""

HOLD_S = 1.0
"""How long pushes are kept in memory at most, so that the last ones can be drained and the spool be left."""

_log = get_logger(__name__)


class SpoolThread:
    """Commits the batches that `take` gives, whenever it is woken, and tells `finish` of each.

    `finish` gets the answers and the place of the last report that the spool took, or 0.
    """

    def __init__(
        self, spool: Spool, take: Callable[[], Batch | None], finish: Callable[[Batch, list[Answer], int], None]
    ) -> None:
        self._spool = spool
        self._take = take
        self._finish = finish
        self.wake = threading.Event()
        self.refusals = Refusals()
        self.is_stuck = False
        """Whether the spool has not answered a batch for too long; set by who watches."""
        self.is_ending = False
        self._thread = threading.Thread(target=self._run, name="inbox-spool", daemon=True)

    def start(self) -> int:
        """Start; give the place of the last report that an earlier run left, or 0."""
        last_id = 0
        try:
            last_id = self._spool.open()
        except StorageUnavailableError as exc:
            _log.error("spool_unusable", error=str(exc))
        self._thread.start()
        return last_id

    async def end(self, stall_s: float) -> None:
        """Commit what is left to it, and end."""
        self.is_ending = True
        self.wake.set()
        await join_unless_stuck(self._thread, lambda: self.is_stuck, stall_s)

    def _run(self) -> None:
        while True:
            self.wake.wait(HOLD_S)  # a hold may run out without a word
            self.wake.clear()
            ending = self.is_ending
            while (batch := self._take()) is not None:
                answers, last_id = _append(self._spool, batch.items)  # type: ignore[arg-type]
                self.refusals.at = None if answers[-1] is Outcome.STORED else time.monotonic()
                self._finish(batch, answers, last_id)
            if ending:
                return


def _append(spool: Spool, new_reports: Sequence[NewReport]) -> tuple[list[Answer], int]:
    """Commit reports to the spool; give an answer for each, and the place of the last one that it took, or 0."""
    count = last_id = 0
    error = StorageUnavailableError("The spool is full.")
    try:
        count, last_id = spool.append(new_reports)
    except StorageUnavailableError as exc:
        error = exc
    except Exception as exc:  # noqa: BLE001 - whatever happens, those who wait are answered
        error = StorageUnavailableError(f"The spool failed with {type(exc).__name__}.")
    lacking = len(new_reports) - count
    if lacking:
        _log.error("spool_refused", count=lacking, error=str(error))
    return [Outcome.STORED] * count + [error] * lacking, last_id
