"""The loop that reads reports and prunes what is old, and beside it those that decode what was read and send it on.

All stop between two steps, and start again where they stopped. They are apart, since a codec may take its time, and a
target of somebody else's even more: a frame is an uplink before anybody knows what it means.

*Reading never starves pushing.* SQLite has one write lock, and who waits for it asks again and again with growing
pauses; a reader that takes it anew at once is met with it each time. So after each step on SQLite the worker leaves
the lock alone for as long as one who waits may sleep.
"""

from __future__ import annotations

import gc
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from receiver.codecs.engine import CodecEngine
from receiver.errors import ReceiverError, StorageUnavailableError
from receiver.http_client import HttpBounds, HttpClient, tls_context
from receiver.logs import get_logger
from receiver.services.decoding import Decoder
from receiver.services.downlink_actuator import make_actuator_transport
from receiver.services.downlink_dispatch import UNDER_WAY, run_dispatcher
from receiver.services.forwarding import run_forwarding
from receiver.services.polling import run_polling
from receiver.services.polls import poll_times
from receiver.services.reading import read_again_what_did_not_open, read_batch
from receiver.services.retention import prune
from receiver.services.telling import tell_refused_pushes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.config import Settings
    from receiver.keyring import Keyring
    from receiver.services.retention import PruneStep

MOST_BETWEEN_TRIES_S = 10.0
"""The longest pause between two tries while the database is away."""

PRUNE_EVERY = timedelta(hours=1)
"""From the end of one walk through what is old to the next: ages are in days."""

LOOK_UNTOLD_S = 1.0
"""How often the decoder looks into its queue though nobody told it: another worker reads into the same database."""

FORWARDING_STOPS_WITHIN_S = 8.0
"""What is under way is given three seconds. A target or a database that hangs must not keep the worker: what it had not
committed it sends again."""

POLLING_STOPS_WITHIN_S = 5.0
"""What is under way is given up at once; a database that hangs must not keep the worker."""

COLLECT_AFTER = 50_000
"""How many more containers than before are looked through for circles. A batch leaves none; at Python's 700 all that it
holds is looked through again and again while it grows: a tenth of the processor time of reading and decoding."""

PAUSE_SHARE = 0.5
PAUSE_LEAST_S = 0.015
PAUSE_MOST_S = 0.25
"""Of the time that a step took. Who waits for SQLite's lock sleeps 1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, then always
100 ms (sqlite3.c, `sqliteDefaultBusyCallback`): within half the time waited so far, and 15 ms at the beginning, it asks
again."""

_log = get_logger(__name__)


def run_worker(
    settings: Settings,
    engine: Engine,
    keyring: Keyring,
    clock: Callable[[], datetime],
    stop: threading.Event,
) -> None:
    """Read until `stop` is set, and prune between two batches. While the database is away, pauses grow.

    What an earlier run could not read because a stored key did not open is read again once: this run may have been
    given the right key-encryption key.
    """
    gc.set_threshold(COLLECT_AFTER)
    has_read = threading.Event()
    decoding = threading.Thread(target=run_decoder, args=(settings, engine, clock, stop, has_read), name="decoder")
    forwarding = threading.Thread(target=run_forwarding, args=(engine, keyring, clock, stop), daemon=True)
    dispatching = threading.Thread(target=run_downlinks, args=(engine, keyring, clock, stop), name="dispatcher")
    times = poll_times(settings.poll_alarms_minutes, settings.poll_traffic_hours)
    polling = threading.Thread(
        target=run_polling, args=(engine, keyring, clock, stop, times), name="polling", daemon=True
    )
    decoding.start()
    forwarding.start()
    dispatching.start()
    polling.start()
    try:
        _read_and_prune(settings, engine, keyring, clock, stop, has_read)
    finally:
        stop.set()
        has_read.set()
        decoding.join()
        dispatching.join()
        forwarding.join(FORWARDING_STOPS_WITHIN_S)
        polling.join(POLLING_STOPS_WITHIN_S)


def run_downlinks(engine: Engine, keyring: Keyring, clock: Callable[[], datetime], stop: threading.Event) -> None:
    """Send what is queued until `stop` is set; what is under way then has a few seconds, and is else unknown."""
    http = HttpClient(tls_context(None), HttpBounds(at_once=UNDER_WAY))
    makers = {"kpn-things": lambda settings: make_actuator_transport(settings, engine, keyring, http)}
    try:
        run_dispatcher(engine, keyring, clock, stop, http, makers=makers)
    finally:
        http.close()


def run_decoder(
    settings: Settings,
    engine: Engine,
    clock: Callable[[], datetime],
    stop: threading.Event,
    has_read: threading.Event,
) -> None:
    """Decode until `stop` is set, as soon as `has_read` tells that there may be something; pauses grow as elsewhere."""
    with CodecEngine() as codec_engine:
        decoder = Decoder(engine, codec_engine)
        pause_s = settings.reading_idle_s
        while not stop.is_set():
            has_read.clear()
            began = time.monotonic()
            try:
                count = decoder.decode_batch(clock(), settings.reading_batch_rows)
            except ReceiverError as exc:
                pause_s = min(pause_s * 2, MOST_BETWEEN_TRIES_S)
                _log.warning("decoder_waits", error=str(exc), pause_s=pause_s)
                stop.wait(pause_s)
                continue
            except Exception as exc:  # noqa: BLE001 - reading must not end with it, nor decoding for good
                pause_s = min(pause_s * 2, MOST_BETWEEN_TRIES_S)
                _log.error("decoding_batch_failed", error=type(exc).__name__, pause_s=pause_s)
                stop.wait(pause_s)
                continue
            pause_s = settings.reading_idle_s
            if count < settings.reading_batch_rows:
                has_read.wait(LOOK_UNTOLD_S)
            else:
                stop.wait(pause_after(engine, time.monotonic() - began))


def _read_and_prune(
    settings: Settings,
    engine: Engine,
    keyring: Keyring,
    clock: Callable[[], datetime],
    stop: threading.Event,
    has_read: threading.Event,
) -> None:
    pruning = Pruning(engine, settings.keep_ages)
    pause_s = settings.reading_idle_s
    looked_back = False
    while not stop.is_set():
        began = time.monotonic()
        try:
            if not looked_back:
                woken = read_again_what_did_not_open(engine)
                looked_back = True
                if woken:
                    _log.info("reports_read_again", count=woken)
            count = read_batch(engine, keyring, clock(), settings.reading_batch_rows)
            tell_refused_pushes(engine, clock())
            pruned = pruning.step(clock())
        except StorageUnavailableError as exc:
            pause_s = min(pause_s * 2, MOST_BETWEEN_TRIES_S)
            _log.warning("worker_waits_for_database", error=str(exc), pause_s=pause_s)
            stop.wait(pause_s)
            continue
        pause_s = settings.reading_idle_s
        if count:
            has_read.set()
        if count < settings.reading_batch_rows and not pruned:
            stop.wait(pause_s)
        else:
            stop.wait(pause_after(engine, time.monotonic() - began))


def pause_after(engine: Engine, step_s: float) -> float:
    """Give for how long to leave the database to others after a step of `step_s`; 0 where there is no single lock."""
    if engine.dialect.name != "sqlite":
        return 0.0
    return min(max(step_s * PAUSE_SHARE, PAUSE_LEAST_S), PAUSE_MOST_S)


class Pruning:
    """Walks through what is old, a step each time it is asked, again and again."""

    def __init__(self, engine: Engine, ages: Mapping[str, timedelta]) -> None:
        self._engine = engine
        self._ages = ages
        self._walk: Iterator[PruneStep] | None = None
        self._next_at: datetime | None = None
        self._deleted: dict[str, int] = {}

    def step(self, now: datetime) -> bool:
        """Do one step if a walk is due; say whether there may be more to do at once.

        Raises:
            StorageUnavailableError: the database is away; the walk begins anew with the next step.
        """
        if not self._ages or (self._walk is None and self._next_at is not None and now < self._next_at):
            return False
        if self._walk is None:
            self._walk, self._deleted = prune(self._engine, now, self._ages), {}
        try:
            done = next(self._walk, None)
        except StorageUnavailableError:
            self._walk = None
            raise
        if done is None:
            self._walk, self._next_at = None, now + PRUNE_EVERY
            if self._deleted:
                _log.info("pruned", **self._deleted)
            return False
        if done.rows:
            self._deleted[done.noun] = self._deleted.get(done.noun, 0) + done.rows
        return True
