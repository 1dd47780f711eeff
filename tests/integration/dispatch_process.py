"""A dispatcher in a process of its own, for the tests that kill one: `python dispatch_process.py URL AHEAD_S`.

Its clock is ahead of the machine's by that many seconds. It runs until it is killed or gets SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from receiver.http_client import HttpBounds, HttpClient
from receiver.keyring import KEK_BYTES, Keyring
from receiver.services.downlink_dispatch import UNDER_WAY, run_dispatcher
from receiver.storage.engine import open_engine


def main(url, ahead_s):
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ahead = timedelta(seconds=float(ahead_s))
    keyring = Keyring(bytes(range(KEK_BYTES)))
    with HttpClient(bounds=HttpBounds(at_once=UNDER_WAY)) as http:
        run_dispatcher(open_engine(url), keyring, lambda: datetime.now(UTC) + ahead, stop, http)


if __name__ == "__main__":
    main(*sys.argv[1:])
