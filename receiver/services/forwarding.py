"""Delivers for all forwarders, each in one process at a time: with several workers, each takes those that are free.

*The lease.* Who delivers for a forwarder moves its beat every `RENEW_S`. Another process takes it when it has seen the
same beat for `LEASE_S` of its own time: no two clocks are compared. Whoever could not move it for nearly as long sends
nothing more, and a commit of one who lost the lease changes nothing. A worker that stops gives its leases back.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from receiver.errors import ReceiverError, StorageUnavailableError
from receiver.logs import get_logger
from receiver.storage import forwarders as stored
from receiver.storage.event_listener import EventBell
from receiver.storage.forwarder_progress import delete_old_dead_letters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.services.forward_loop import Forwarding
    from receiver.storage.forwarders import StoredForwarder

RENEW_S = 2.0
"""How often a lease's beat moves, and forwarders are looked at: a new or resumed one begins within it."""

LEASE_S = 8.0
"""So long a beat stands still before another process takes over: three renewals may fail."""

SAFE_S = 6.0
"""So long after its last renewal a process still sends."""

PAUSED_HOLDS = timedelta(days=7)
"""So long events are kept for a forwarder that is paused: a week's holiday, and not for ever."""

DEAD_LETTERS_KEEP = timedelta(days=30)
"""So long a dead letter can be looked at and sent again."""

TIDY_EVERY = timedelta(hours=1)
"""As often as old rows are pruned."""

AGAIN_AFTER_S = 10.0
"""Before a forwarder that could not be started is tried again: a secret that does not open stays so for longer."""

BELL_S = 0.5
"""The longest wait for new events at a time, so that a stop is noticed."""

_log = get_logger(__name__)


@dataclass(slots=True)
class _Running:
    version: int
    forwarding: Forwarding
    stop: threading.Event
    thread: threading.Thread


class Forwarders:
    """The forwarders that this process delivers for."""

    def __init__(self, engine: Engine, keyring: Keyring, clock: Callable[[], datetime]) -> None:
        """Deliver for none yet."""
        from receiver.services.forward_loop import ForwarderDatabase

        self._database = ForwarderDatabase(engine)
        self._keyring = keyring
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._running: dict[int, _Running] = {}
        self._seen: dict[int, tuple[str | None, int, float]] = {}
        self._start_after: dict[int, float] = {}
        self._renewed_at = 0.0
        self._tidied_at: datetime | None = None

    @property
    def is_busy(self) -> bool:
        """Say whether any is delivered for here."""
        return bool(self._running)

    def wake(self) -> None:
        """Say that there are new events."""
        for running in self._running.values():
            running.forwarding.wake()

    def look(self) -> None:
        """Renew the leases; begin with what is free and enabled, end with what is not any more.

        Raises:
            StorageUnavailableError: the database is away; what runs notices by itself.
        """
        began = time.monotonic()
        mine: set[int] = set()
        with self._database.read() as connection:
            present = stored.list_forwarders(connection)
        if self._running:
            with self._database.write() as connection:
                mine = stored.renew_leases(connection, self._holder)
            self._renewed_at = began
        enabled = {each.id: each for each in present if each.paused_at is None}
        self._end([each for each, running in self._running.items() if not _goes_on(running, enabled.get(each), mine)])
        for forwarder in enabled.values():
            if forwarder.id not in self._running and self._is_free(forwarder, began):
                self._begin(forwarder)
        self._seen = {key: seen for key, seen in self._seen.items() if key in enabled}
        self._tidy(bool(present))

    def stop(self) -> None:
        """End all, commit what was taken, and give the leases back."""
        self._end(list(self._running))

    def _is_free(self, forwarder: StoredForwarder, now: float) -> bool:
        if now < self._start_after.get(forwarder.id, 0.0):
            return False
        if forwarder.lease_holder is None:
            return True
        holder, beat, since = self._seen.get(forwarder.id, (None, -1, now))
        if (holder, beat) != (forwarder.lease_holder, forwarder.lease_beat):
            self._seen[forwarder.id] = (forwarder.lease_holder, forwarder.lease_beat, now)
            return False
        return now - since >= LEASE_S

    def _begin(self, seen: StoredForwarder) -> None:
        from receiver.services.forward_loop import Forwarding
        from receiver.services.forward_opening import open_target
        from receiver.services.forwarder_settings import read_wants

        began = time.monotonic()
        with self._database.write() as connection:
            if not stored.take_lease(connection, seen, self._holder):
                return
            forwarder = stored.get_forwarder(connection, seen.name)
            sealed = stored.list_secrets(connection, forwarder.id)
        self._renewed_at = began  # those of the others were renewed just now
        try:
            target = open_target(self._keyring, forwarder, sealed, self._clock)
        except ReceiverError as exc:
            _log.error("forwarder_not_started", forwarder=forwarder.name, error=str(exc))
            self._start_after[forwarder.id] = time.monotonic() + AGAIN_AFTER_S
            with self._database.write() as connection:
                stored.note_error(connection, forwarder.id, str(exc), self._clock())
                stored.give_leases_back(connection, self._holder, forwarder.id)
            return
        forwarding = Forwarding(
            self._database,
            forwarder,
            read_wants(forwarder).as_filter(),
            target,
            holder=self._holder,
            clock=self._clock,
            chance=random.random,
            may_send=self._may_send,
        )
        stop = threading.Event()
        thread = threading.Thread(
            target=_run, args=(forwarding, stop, forwarder.name), name=f"forwarder-{forwarder.name}", daemon=True
        )
        self._running[forwarder.id] = _Running(forwarder.version, forwarding, stop, thread)
        thread.start()
        _log.info("forwarder_started", forwarder=forwarder.name, kind=forwarder.kind, position=forwarder.position)

    def _end(self, forwarder_ids: Sequence[int]) -> None:
        for forwarder_id in forwarder_ids:  # all of them first, since each may take a few seconds
            running = self._running[forwarder_id]
            if not running.thread.is_alive() and not running.forwarding.is_over:
                self._start_after[forwarder_id] = time.monotonic() + AGAIN_AFTER_S  # it failed, and might at once again
            running.stop.set()
            running.forwarding.wake()
        for forwarder_id in forwarder_ids:
            self._running.pop(forwarder_id).thread.join()
            with self._database.write() as connection:
                stored.give_leases_back(connection, self._holder, forwarder_id)

    def _may_send(self) -> bool:
        return time.monotonic() - self._renewed_at < SAFE_S

    def _tidy(self, has_any: bool) -> None:
        now = self._clock()
        if not has_any or (self._tidied_at is not None and now < self._tidied_at + TIDY_EVERY):
            return
        with self._database.write() as connection:
            stored.release_long_paused(connection, now - PAUSED_HOLDS)
            delete_old_dead_letters(connection, now - DEAD_LETTERS_KEEP)
        self._tidied_at = now


def run_forwarding(engine: Engine, keyring: Keyring, clock: Callable[[], datetime], stop: threading.Event) -> None:
    """Deliver for all forwarders until `stop` is set; while the database is away, wait for it."""
    forwarders = Forwarders(engine, keyring, clock)
    bell = EventBell(engine)
    newest = 0
    try:
        while not stop.is_set():
            try:
                forwarders.look()
            except StorageUnavailableError as exc:
                _log.warning("forwarding_waits_for_database", error=str(exc))
            except Exception as exc:  # noqa: BLE001 - one fault must not end forwarding for good
                _log.error("forwarding_failed", error=type(exc).__name__)
            look_at = time.monotonic() + RENEW_S
            while not stop.is_set() and time.monotonic() < look_at:
                if not forwarders.is_busy:
                    stop.wait(look_at - time.monotonic())
                    continue
                heard = bell.wait(newest, BELL_S)
                if heard > newest:
                    newest = heard
                    forwarders.wake()
    finally:
        bell.close()
        try:
            forwarders.stop()
        except StorageUnavailableError as exc:
            _log.warning("forwarders_not_given_back", error=str(exc))


def _goes_on(running: _Running, forwarder: StoredForwarder | None, mine: set[int]) -> bool:
    is_as_it_was = forwarder is not None and forwarder.id in mine and forwarder.version == running.version
    return is_as_it_was and running.thread.is_alive()


def _run(forwarding: Forwarding, stop: threading.Event, name: str) -> None:
    try:
        forwarding.run(stop)
    except Exception as exc:  # noqa: BLE001 - it is started again; the others go on
        _log.error("forwarder_failed", forwarder=name, error=type(exc).__name__)
