"""The drain: brings what the spool holds into the database, in order of arrival, as soon as that takes it.

One thread in each server process, with connections of its own; of several processes one drains at a time, and it may
be killed at any moment. A row leaves the spool after the database's commit. A row that the database refuses for itself
is set aside in the spool, with the reason, and is tried once more at the next start.
"""

from __future__ import annotations

import fcntl
import os
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from receiver.errors import ReceiverError, StorageUnavailableError
from receiver.logs import get_logger
from receiver.storage.drained_rows import check_writable, store_spooled
from receiver.storage.engine import write
from receiver.storage.inbox_spool import HOLD_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.storage.inbox import Inbox
    from receiver.storage.spool import Spool, SpooledReport

STEP_ROWS = 256
"""Reports in one transaction: enough to pay for a commit, few enough to be a moment for the pushes beside it."""

TELL_AGAIN_S = 60.0
"""An outage of a night must not fill the log."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DrainTiming:
    """In seconds. A pause after a failure doubles up to the most.

    It is 0.5 to 1 of that, by chance: several servers must not ask a database that starts all at once.
    """

    look_s: float = 1.0  # for what another process left
    first_pause_s: float = 0.2
    most_pause_s: float = 5.0
    hold_look_s: float = 0.01


class Drain:
    """Drains one spool into the database of `engine`, and lets the inbox go back to that when it is empty.

    Use it as `drain.start()` … `drain.stop()`, while `inbox` runs. `spool` and `engine` are its own objects, not the
    inbox's: nothing that is stuck there keeps it. `prepare` is called once before the first row: what a start with
    the database away has left undone.
    """

    def __init__(
        self,
        engine: Engine,
        spool: Spool,
        inbox: Inbox,
        clock: Callable[[], datetime],
        *,
        prepare: Callable[[], object] | None = None,
        timing: DrainTiming | None = None,
    ) -> None:
        self._engine = engine
        self._spool = spool
        self._inbox = inbox
        self._clock = clock
        self._prepare = prepare
        self._timing = timing or DrainTiming()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock_file: int | None = None
        self._spool_id: str | None = None
        self._tried_again = False
        self._told: str | None = None
        self._tell_again_at = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def stop(self, within_s: float = 3.0) -> None:
        """End after the step that is under way; blocks. One that takes longer ends with the process, as if killed."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(within_s)
        self._inbox.let_go()

    def _run(self) -> None:
        pause_s = self._timing.first_pause_s
        while not self._stop.is_set():
            try:
                has_more = self._do_round()
            except Exception as exc:  # noqa: BLE001 - whatever happens, it must go on
                self._tell(str(exc) if isinstance(exc, ReceiverError) else type(exc).__name__)
                self._stop.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                pause_s = min(pause_s * 2, self._timing.most_pause_s)
                continue
            pause_s, self._told = self._timing.first_pause_s, None
            if not has_more:
                self._stop.wait(self._timing.look_s)
        self._unlock()
        self._spool.close()

    def _tell(self, reason: str) -> None:
        """Say why nothing is drained: a new reason at once, the same one once a minute."""
        if reason != self._told or time.monotonic() >= self._tell_again_at:
            self._told, self._tell_again_at = reason, time.monotonic() + TELL_AGAIN_S
            _log.warning("drain_waits_for_database", error=reason)

    def _do_round(self) -> bool:
        """Do one step; say whether there may be more to do at once."""
        if self._inbox.is_spooling:
            return self._drain_and_leave()
        if self._spool.first_id() is None or not self._lock():
            return False
        return self._step() > 0

    def _drain_and_leave(self) -> bool:
        if self._prepare is not None:
            self._prepare()
            self._prepare = None
        if self._lock() and not self._step():
            with write(self._engine) as connection:
                check_writable(connection, self._get_spool_id())
        if not self._is_nearly_drained():
            return self._lock_file is not None
        if not self._inbox.writer_is_stuck:
            self._leave()
        return False

    def _leave(self) -> None:
        """Drain the last rows while new pushes wait in memory, then let them go to the database again."""
        until = time.monotonic() + HOLD_S
        try:
            while not self._inbox.hold() or not self._is_drained_now():
                if time.monotonic() >= until or self._stop.wait(self._timing.hold_look_s):
                    return
            if self._inbox.end_spooling():
                with suppress(OSError, StorageUnavailableError):
                    self._spool.shrink()
        finally:
            self._inbox.let_go()

    def _is_drained_now(self) -> bool:
        """Do a step if it is ours to do; say whether all that this process has spooled is in the database."""
        if self._lock_file is not None:
            self._step()
        first_id = self._spool.first_id()
        return first_id is None or first_id > self._inbox.last_spooled_id

    def _is_nearly_drained(self) -> bool:
        first_id = self._spool.first_id()
        return first_id is None or first_id > self._inbox.last_spooled_id - STEP_ROWS

    def _step(self) -> int:
        """Bring the first rows into the database; give how many left the spool."""
        if not self._tried_again:
            brought_back = self._spool.bring_back()
            if brought_back:
                _log.info("spool_tries_again", count=brought_back)
            self._tried_again = True
        rows = self._spool.first(STEP_ROWS)
        if rows:
            self._store(rows)
            self._spool.remove(rows[-1].id)
            self._inbox.database_is_away = False
            self._inbox.drained += len(rows)
        return len(rows)

    def _store(self, rows: list[SpooledReport]) -> None:
        """Commit the rows together, or one by one if one of them is refused."""
        try:
            with write(self._engine) as connection:
                store_spooled(connection, self._get_spool_id(), rows)
        except StorageUnavailableError:
            raise
        except Exception as exc:
            if isinstance(exc, SQLAlchemyError) and not isinstance(exc, IntegrityError | DataError):
                raise  # a table or a right is missing: that is not the row's fault
            if len(rows) > 1:
                for row in rows:
                    self._store([row])
            else:
                reason = f"The database refused it: {type(getattr(exc, 'orig', exc)).__name__}."
                self._spool.set_aside(rows[0].id, reason, self._clock())
                _log.error("spooled_report_set_aside", reason=reason, dev_eui=rows[0].report.dev_eui)

    def _get_spool_id(self) -> str:
        if self._spool_id is None:
            self._spool_id = self._spool.get_id()
        return self._spool_id

    def _lock(self) -> bool:
        """Be the one that drains, unless another process is. The kernel takes the lock from one that is killed."""
        if self._lock_file is not None:
            return True
        # Not the spool's own file: closing that would take SQLite's locks away.
        path = self._spool.path.with_name(f"{self._spool.path.name}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._lock_file = descriptor
        return True

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None
