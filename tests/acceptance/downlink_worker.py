"""A worker that reads reports and dispatches downlinks, as a process of its own: it ends cleanly on SIGTERM.

It takes the least pauses that chance gives, so that a run with faults is over soon.
"""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime

from receiver.config import load_settings
from receiver.http_client import HttpBounds, HttpClient
from receiver.logs import configure
from receiver.services.downlink_dispatch import UNDER_WAY, run_dispatcher
from receiver.services.reading import read_batch
from receiver.storage.engine import open_engine

IDLE_S = 0.05
BATCH_ROWS = 100


def now():
    return datetime.now(UTC)


def main():
    settings = load_settings()
    configure("warning", "json")
    engine = open_engine(settings.resolved_database_url)
    keyring = settings.open_keyring()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    http = HttpClient(bounds=HttpBounds(at_once=UNDER_WAY))
    options = {"chance": lambda: 0.0}
    dispatching = threading.Thread(target=run_dispatcher, args=(engine, keyring, now, stop, http), kwargs=options)
    dispatching.start()
    try:
        while not stop.is_set():
            if read_batch(engine, keyring, now(), BATCH_ROWS) < BATCH_ROWS:
                stop.wait(IDLE_S)
    finally:
        stop.set()
        dispatching.join()
        http.close()
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
