"""The loop that reads reports. It stops between two batches, and starts again where it stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.services.reading import read_batch

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.config import Settings
    from receiver.keyring import Keyring

MOST_BETWEEN_TRIES_S = 10.0
"""The longest pause between two tries while the database is away."""

_log = get_logger(__name__)


def run_worker(
    settings: Settings,
    engine: Engine,
    keyring: Keyring,
    clock: Callable[[], datetime],
    stop: threading.Event,
) -> None:
    """Read until `stop` is set. While the database is away, try again with growing pauses.

    Raises:
        KeyringError: a stored secret does not open with this key-encryption key; nothing can be read then.
    """
    pause_s = settings.reading_idle_s
    while not stop.is_set():
        try:
            count = read_batch(engine, keyring, clock(), settings.reading_batch_rows)
        except StorageUnavailableError as exc:
            pause_s = min(pause_s * 2, MOST_BETWEEN_TRIES_S)
            _log.warning("worker_waits_for_database", error=str(exc), pause_s=pause_s)
            stop.wait(pause_s)
            continue
        pause_s = settings.reading_idle_s
        if count < settings.reading_batch_rows:
            stop.wait(pause_s)
