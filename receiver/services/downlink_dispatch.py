"""Sends what is queued: claims, asks the networks, many at a time, and writes down what they answered.

One thread talks to the database and some dozens wait for networks. What is answered and what is claimed next share a
transaction, and no request is under way within one. A process that dies leaves leases behind: when one has passed, the
downlink's outcome is unknown, and whoever claims it next sends the same bytes.
"""

from __future__ import annotations

import queue
import random
import secrets
import threading
import time
from typing import TYPE_CHECKING

from receiver.errors import ReceiverError, StorageUnavailableError
from receiver.logs import get_logger
from receiver.services.downlink_claiming import Room, claim_downlinks, shut_connections
from receiver.services.downlink_recording import Answered, has_overdue, record_outcomes, settle_overdue
from receiver.services.downlink_transport import DownlinkOutcome
from receiver.services.downlink_transport_directory import TransportDirectory
from receiver.services.downlink_transport_tunnel import make_tunnel_transport
from receiver.services.downlinks import expire_due
from receiver.storage.downlink_queue import has_head
from receiver.storage.downlink_transports import FREE, list_passages, put_passage
from receiver.storage.engine import read, write
from receiver.storage.reports import lock_reading
from receiver.thingpark.downlink_answers import DownlinkAnswer, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.http_client import HttpClient
    from receiver.keyring import Keyring
    from receiver.services.downlink_claiming import Claim
    from receiver.services.downlink_transport import DownlinkTransport
    from receiver.services.downlink_transport_directory import TransportSettings
    from receiver.storage.downlink_transports import Passage

UNDER_WAY = 32
"""Requests of one process at a time: a network answers in 50 ms or so, which makes some hundreds a second."""

UNDER_WAY_OF_EACH = 16
"""Of one connection: a network that hangs leaves half of them to the others."""

POLL_S = 0.15
"""How often the queue is looked at; who puts something in sees it go within that time."""

PAUSE_SHARE = 0.5
PAUSE_LEAST_S = 0.01
PAUSE_MOST_S = 0.25
"""After a step that wrote: answers come in swarms, and share a transaction so; and SQLite's one write lock is left to
others for half as long as the step took, since who waits for it asks only now and then."""

LOOK_OVERDUE_S = 1.0
"""How often it is asked what nothing was heard of in time."""

FINISH_WITHIN_S = 3.0
"""For what is under way at a stop; what is not answered by then is sent again by the next run."""

MOST_BETWEEN_TRIES_S = 10.0
"""The longest pause between two tries while the database is away."""

_log = get_logger(__name__)


def run_dispatcher(
    engine: Engine,
    keyring: Keyring,
    clock: Callable[[], datetime],
    stop: threading.Event,
    http: HttpClient,
    *,
    makers: Mapping[str, Callable[[TransportSettings], DownlinkTransport]] | None = None,
    wake: threading.Event | None = None,
    chance: Callable[[], float] = random.random,
) -> None:
    """Send what is queued until `stop` is set, and then end within a few seconds.

    `http` must allow `UNDER_WAY` requests at a time, and end each within `receiver.http_client.WHOLE_S`. `makers` are
    more transports, by platform; those of the tunnel interface are there. `wake` may be set by who puts something in.
    """
    dispatcher = Dispatcher(engine, keyring, clock, http, makers=makers, wake=wake, chance=chance)
    pause_s = 0.0
    try:
        while not stop.is_set():
            began = time.monotonic()
            try:
                is_idle = not dispatcher.step()
                pause_s = 0.0
            except StorageUnavailableError as exc:
                pause_s = min(max(pause_s * 2, 0.5), MOST_BETWEEN_TRIES_S)
                _log.warning("dispatcher_waits_for_database", error=str(exc), pause_s=pause_s)
            except Exception as exc:  # noqa: BLE001 - dispatching must not end with it
                pause_s = min(max(pause_s * 2, 0.5), MOST_BETWEEN_TRIES_S)
                _log.error("dispatching_failed", error=type(exc).__name__, pause_s=pause_s)
            if pause_s:
                stop.wait(pause_s)
            elif is_idle:
                dispatcher.wait(POLL_S)
            else:
                stop.wait(min(max((time.monotonic() - began) * PAUSE_SHARE, PAUSE_LEAST_S), PAUSE_MOST_S))
    finally:
        dispatcher.finish()


def resume_connection(engine: Engine, now: datetime, connection_id: int) -> bool:
    """Let a connection's downlinks go again, because a person has mended it; say whether they were held or paused.

    Raises:
        StorageUnavailableError: the database is away.
    """
    with write(engine) as connection:
        lock_reading(connection)
        passage = list_passages(connection).get(connection_id, FREE)
        if passage.is_free:
            return False
        put_passage(connection, connection_id, FREE)
    _log.info("downlinks_resumed", connection_id=connection_id, at=now.isoformat(), cause=passage.held_cause)
    return True


class Dispatcher:
    """Claims, sends and writes down, a step each time it is asked."""

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        clock: Callable[[], datetime],
        http: HttpClient,
        *,
        makers: Mapping[str, Callable[[TransportSettings], DownlinkTransport]] | None = None,
        wake: threading.Event | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Send nothing yet."""

        def make_tunnel(settings: TransportSettings) -> DownlinkTransport:
            return make_tunnel_transport(settings, keyring, http)

        self._engine = engine
        self._keyring = keyring
        self._clock = clock
        self._chance = chance
        self._directory = TransportDirectory({"thingpark": make_tunnel, "kpn-lora": make_tunnel, **(makers or {})})
        self._lease = secrets.token_hex(8)
        self._wake = wake or threading.Event()
        self._to_send: queue.SimpleQueue[Claim | None] = queue.SimpleQueue()
        self._answered: queue.SimpleQueue[Answered] = queue.SimpleQueue()
        self._unrecorded: list[Answered] = []
        self._under_way: dict[str, Claim] = {}
        self._senders = 0
        self._looked_overdue_at: float | None = None

    @property
    def under_way_count(self) -> int:
        """How many requests are under way, or answered and not written down."""
        return len(self._under_way)

    def wait(self, timeout_s: float) -> None:
        """Wait until something was answered, or put in, or the time has passed."""
        self._wake.wait(timeout_s)

    def step(self) -> bool:
        """Do all that can be done now, without waiting for a network; say whether anything was done.

        Raises:
            StorageUnavailableError: the database is away; what was answered is kept for the next step.
        """
        self._wake.clear()
        self._take_answers()
        now = self._clock()
        look_overdue = self._is_time_for_overdue()
        if look_overdue:
            expire_due(self._engine, now)
        with read(self._engine) as connection:
            shut = shut_connections(list_passages(connection), now, self._room())
            may_claim = self._room().in_all > 0 and has_head(connection, now, shut)
            is_overdue = look_overdue and has_overdue(connection, now)
        if not (self._unrecorded or may_claim or is_overdue):
            return False
        with write(self._engine) as connection:
            lock_reading(connection)
            self._directory.refresh(connection)
            now = self._clock()
            changes = record_outcomes(connection, now, self._unrecorded, self._chance)
            if is_overdue:
                settle_overdue(connection, now)
            recorded = {one.claim.lease for one in self._unrecorded}
            claims = claim_downlinks(
                connection, self._keyring, self._directory, now, lease=self._lease, room=self._room(recorded)
            )
        self._unrecorded.clear()
        for lease in recorded:
            self._under_way.pop(lease, None)
        self._tell(changes)
        for claim in claims:
            self._start(claim)
        return bool(recorded or claims or is_overdue)

    def finish(self) -> None:
        """Wait a little for what is under way, and write down what is known of it."""
        for _ in range(self._senders):
            self._to_send.put(None)
        deadline = time.monotonic() + FINISH_WITHIN_S
        while len(self._unrecorded) < len(self._under_way) and time.monotonic() < deadline:
            self._wake.clear()
            self._take_answers()
            if len(self._unrecorded) < len(self._under_way):
                self._wake.wait(max(0.0, min(POLL_S, deadline - time.monotonic())))
        answered = {one.claim.lease for one in self._unrecorded}
        for lease, claim in self._under_way.items():
            if lease not in answered:
                text = "This process stopped before an answer came; the same bytes are sent again."
                self._unrecorded.append(Answered(claim, _no_outcome("stopped", text)))
        if not self._unrecorded:
            return
        try:
            with write(self._engine) as connection:
                lock_reading(connection)
                record_outcomes(connection, self._clock(), self._unrecorded, self._chance)
            self._unrecorded.clear()
            self._under_way.clear()
        except ReceiverError as exc:  # their leases pass
            _log.warning("downlinks_not_recorded", count=len(self._unrecorded), error=str(exc))

    def _room(self, recorded: set[str] | None = None) -> Room:
        under_way: dict[int, int] = {}
        for lease, claim in self._under_way.items():
            if recorded is None or lease not in recorded:
                under_way[claim.connection_id] = under_way.get(claim.connection_id, 0) + 1
        return Room(UNDER_WAY - sum(under_way.values()), UNDER_WAY_OF_EACH, under_way)

    def _is_time_for_overdue(self) -> bool:
        monotonic = time.monotonic()
        if self._looked_overdue_at is not None and monotonic - self._looked_overdue_at < LOOK_OVERDUE_S:
            return False
        self._looked_overdue_at = monotonic
        return True

    def _take_answers(self) -> None:
        while not self._answered.empty():
            self._unrecorded.append(self._answered.get())

    def _start(self, claim: Claim) -> None:
        self._under_way[claim.lease] = claim
        if self._senders < min(UNDER_WAY, len(self._under_way)):
            self._senders += 1
            # A daemon: a request that hangs must not keep the process alive.
            threading.Thread(target=self._send_all, name=f"downlink-{self._senders}", daemon=True).start()
        self._to_send.put(claim)

    def _send_all(self) -> None:
        while (claim := self._to_send.get()) is not None:
            outcome = self._send(claim)
            self._answered.put(Answered(claim, outcome))
            self._wake.set()

    def _send(self, claim: Claim) -> DownlinkOutcome:
        try:
            return claim.transport.send(claim.downlink, self._clock())
        except Exception as exc:  # noqa: BLE001 - it may have been sent, and the others must go on
            _log.error("downlink_transport_failed", downlink=claim.downlink.id, error=type(exc).__name__)
            return _no_outcome("fault", f"Sending it failed unexpectedly ({type(exc).__name__}).")

    def _tell(self, changes: list[tuple[int, Passage, Passage]]) -> None:
        for connection_id, old, new in changes:
            connection = self._directory.connection(connection_id)
            name = None if connection is None else connection.name
            if new.held_since is not None and old.held_since is None:
                _log.error("downlinks_held", connection=name, cause=new.held_cause)
            elif new.is_free:
                _log.info("downlinks_go_again", connection=name)
            elif old.is_free:
                _log.warning("downlinks_paused", connection=name)


def _no_outcome(cause: str, text: str) -> DownlinkOutcome:
    return DownlinkOutcome(DownlinkAnswer(Verdict.UNKNOWN, cause, text), None)
