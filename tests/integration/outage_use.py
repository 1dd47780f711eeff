"""An inbox with its spool and drain, as a server has them, and a database that does not take what it is given."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager

from sqlalchemy import text

from receiver.storage.draining import Drain, DrainTiming
from receiver.storage.engine import open_engine
from receiver.storage.inbox import make_inbox
from receiver.storage.spool import Spool, read_spool_state
from tests.integration.inbox_use import LIMITS

QUICK = DrainTiming(look_s=0.02, first_pause_s=0.02, most_pause_s=0.05)
STALL_S = 0.4


class Outage:
    """What one server process has: use it as `with outage.running() as inbox` on a loop."""

    def __init__(self, engine, directory, now):
        self.engine = engine
        self.path = directory / "spool.db"
        self.now = now

    def spool(self, **bounds):
        return Spool(self.path, **bounds)

    def state(self):
        return read_spool_state(self.path)

    def run(self, work, *, drains=True, bounds=None, **options):
        """Run `work(inbox)` on a loop of its own, between start and stop; without a drain nothing leaves the spool."""

        async def main():
            spool = self.spool(**(bounds or {}))
            inbox = make_inbox(self.engine, LIMITS, spool, stall_s=STALL_S, **options)
            own = open_engine(self.engine.url.render_as_string(hide_password=False))
            drain = Drain(own, self.spool(**(bounds or {})), inbox, lambda: self.now, timing=QUICK)
            inbox.start()
            if drains:
                drain.start()
            try:
                return await work(inbox)
            finally:
                await asyncio.to_thread(drain.stop)
                await inbox.stop()
                spool.close()
                own.dispose()

        return asyncio.run(main())


async def until(condition, within_s=20.0):
    """Wait on the loop until `condition()` is true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.01)


@contextmanager
def hanging(engine):
    """Within it every statement that writes reports waits, as for a server that is frozen or a backup that locks."""
    other = open_engine(engine.url.render_as_string(hide_password=False))
    try:
        with other.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection = connection.execution_options(sqlite_begin="BEGIN IMMEDIATE")  # noqa: PLW2901 - itself
                connection.execute(text("SELECT 1"))
            else:
                connection.execute(text("LOCK TABLE reports IN ACCESS EXCLUSIVE MODE"))
            yield
            connection.rollback()
    finally:
        other.dispose()
