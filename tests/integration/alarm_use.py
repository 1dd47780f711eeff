"""Polling by hand, and what came of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import select

from receiver.services.connections import add_connection
from receiver.services.platform_clients import platform_http
from receiver.services.polling import Poller
from receiver.services.polls import PollTimes
from receiver.storage.alarms import AlarmFilter, list_alarms
from receiver.storage.engine import read, write
from receiver.storage.events import EventKind, list_events
from receiver.storage.platform_polls import Polled, list_polls
from receiver.storage.tables import connections, devices
from tests.integration.inbox_use import TUNNEL_KEY

DEVICE = "20635F0000000001"
OTHER_DEVICE = "20635F0000000002"
ALARMS_EVERY = timedelta(minutes=5)
TRAFFIC_EVERY = timedelta(hours=6)
TIMES = PollTimes(ALARMS_EVERY, TRAFFIC_EVERY)
ONLY_ALARMS = PollTimes(ALARMS_EVERY, None)
ONLY_TRAFFIC = PollTimes(None, TRAFFIC_EVERY)
AT_ONCE = 1e9
"""Devices a minute: without a pause between them."""

STATES = ("CLEARED", "INDETERMINATE", "WARNING", "MINOR", "MAJOR", "CRITICAL")


class Clock:
    """A clock that only the test moves."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now

    def wait(self, **duration):
        self.now += timedelta(**duration)


def run_polls(engine, keyring, clock, times=TIMES):
    """Look once for what is due, as a worker does, and wait until it is done."""

    async def run(http):
        poller = Poller(engine, keyring, clock, http, times, AT_ONCE)
        poller.look()
        await poller.settle()

    with platform_http() as http:
        asyncio.run(run(http))


def poll_of(engine, what):
    with read(engine) as tx:
        return next(poll for poll in list_polls(tx) if poll.what is Polled(what))


def alarms_of(engine, **wanted):
    with read(engine) as tx:
        return list_alarms(tx, AlarmFilter(**wanted), limit=1000)


def the_alarm(engine):
    (alarm,) = alarms_of(engine)
    return alarm


def told_alarms(engine):
    """Give the ids of the alarms that were told to streams and forwarders."""
    with read(engine) as tx:
        return [event.subject_id for event in list_events(tx, 0, 10_000) if event.kind is EventKind.ALARM]


def hear(engine, keyring, now, platform, *dev_euis):
    """Have a connection of a platform, and devices that were heard by it."""
    with read(engine) as tx:
        known = tx.scalar(select(connections.c.id).where(connections.c.name == platform))
    if known is None:
        known = add_connection(engine, keyring, now, name=platform, platform=platform, tunnel_key=TUNNEL_KEY).id
    with write(engine) as tx:
        for dev_eui in dev_euis:
            row = {"dev_eui": dev_eui, "name_by_hand": False, "connection_id": known}
            row |= {"first_seen_at": now, "last_seen_at": now}
            tx.execute(devices.insert().values(**row))
