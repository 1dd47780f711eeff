"""A receiver with downlinks to send, a network to send them to, and a clock that only the test moves."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from datetime import timedelta

from sqlalchemy import insert, select, update

from receiver.services.connections import add_connection
from receiver.services.downlink_dispatch import Dispatcher
from receiver.storage.downlink_events import DownlinkState, record_event
from receiver.storage.downlink_tables import downlink_events, downlink_transports, downlinks
from receiver.storage.engine import read, write
from receiver.storage.reports import lock_reading
from tests.integration.reading_field import AS_ID, TUNNEL_KEY

DEV_EUI = "20635F0000000001"
WITHIN_S = 30.0
_numbers = itertools.count(1)


class Desk:
    """Puts downlinks in, lets a dispatcher work, and looks at what became of them."""

    def __init__(self, engine, keyring, now, http, lrc):
        self.engine = engine
        self.keyring = keyring
        self.now = now
        self.http = http
        self.lrc = lrc
        self.dispatchers = []

    def connect(self, name="field", *, url=None, tunnel_key=TUNNEL_KEY, platform="thingpark", payloads="auto"):
        return add_connection(
            self.engine,
            self.keyring,
            self.now,
            name=name,
            platform=platform,
            as_id=AS_ID,
            tunnel_key=tunnel_key,
            payloads=payloads,
            downlink_url=url or self.lrc.url,
        ).id

    def put_in(self, connection_id, dev_eui=DEV_EUI, payload=b"\x01\x02", f_port=10, **columns):
        number = next(_numbers)
        row = {
            "dev_eui": dev_eui,
            "connection_id": connection_id,
            "created_at": self.now,
            "created_by": "test",
            "f_port": f_port if payload is not None else None,
            "payload": payload,
            "confirmed": False,
            "flush": False,
            "priority": 0,
            "state": DownlinkState.QUEUED.value,
            "state_at": self.now,
            "attempts": 0,
            "due_at": self.now,
            "correlation_id": f"{number:016X}",
        }
        with write(self.engine) as connection:
            lock_reading(connection)
            statement = insert(downlinks).values(row | columns).returning(downlinks.c.id)
            downlink_id = connection.execute(statement).scalar_one()
            record_event(connection, self.now, downlink_id, DownlinkState(columns.get("state", "queued")))
        return downlink_id

    def dispatcher(self, **options):
        options = {"chance": lambda: 1.0} | options
        dispatcher = Dispatcher(self.engine, self.keyring, lambda: self.now, self.http, **options)
        self.dispatchers.append(dispatcher)
        return dispatcher

    def wait(self, **duration):
        self.now += timedelta(**duration)

    def work(self, condition, dispatcher=None):
        """Let a dispatcher work until the condition holds."""
        dispatcher = dispatcher or (self.dispatchers[-1] if self.dispatchers else self.dispatcher())
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, f"it did not come to that: {Counter(self.states())}"
            if not dispatcher.step():
                dispatcher.wait(0.02)

    def settle(self, dispatcher=None):
        """Let a dispatcher work until nothing is under way and nothing can be sent now."""
        dispatcher = dispatcher or (self.dispatchers[-1] if self.dispatchers else self.dispatcher())
        deadline = time.monotonic() + WITHIN_S
        while dispatcher.step() or dispatcher.under_way_count:
            assert time.monotonic() < deadline, f"it did not settle: {Counter(self.states())}"
            dispatcher.wait(0.02)

    def row(self, downlink_id):
        with read(self.engine) as connection:
            return connection.execute(select(downlinks).where(downlinks.c.id == downlink_id)).one()

    def state(self, downlink_id):
        return self.row(downlink_id).state

    def states(self):
        with read(self.engine) as connection:
            return list(connection.scalars(select(downlinks.c.state).order_by(downlinks.c.id)))

    def events(self, downlink_id):
        with read(self.engine) as connection:
            query = select(downlink_events).where(downlink_events.c.downlink_id == downlink_id)
            return connection.execute(query.order_by(downlink_events.c.id)).all()

    def steps(self, downlink_id):
        return [event.state for event in self.events(downlink_id)]

    def passage(self, connection_id):
        with read(self.engine) as connection:
            query = select(downlink_transports).where(downlink_transports.c.connection_id == connection_id)
            return connection.execute(query).one_or_none()

    def set(self, downlink_id, **columns):
        with write(self.engine) as connection:
            connection.execute(update(downlinks).where(downlinks.c.id == downlink_id).values(columns))

    def close(self):
        for dispatcher in self.dispatchers:
            dispatcher.finish()
