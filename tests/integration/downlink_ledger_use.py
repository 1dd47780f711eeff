"""A ledger of downlinks for the tests: a device that was heard by a connection that can carry, and callers of it."""

from __future__ import annotations

import itertools

from sqlalchemy import select, update
from starlette.applications import Starlette

from receiver.codecs.values import Codec, Signature
from receiver.services.codecs import Scope, add_codec, assign_codec
from receiver.services.connections import add_connection
from receiver.services.downlink_checks import DownlinkWish
from receiver.services.downlinks import enqueue
from receiver.storage.downlink_events import DownlinkState, record_step
from receiver.storage.downlink_tables import downlink_events, downlinks
from receiver.storage.engine import read, write
from receiver.storage.reports import lock_reading
from receiver.storage.tables import connections, uplinks
from receiver.web.api import api_routes
from tests.integration.api_use import DEVICE

URL = "https://network.example/thingpark/lrc/rest/v2/downlink"

VALVE = """
function encodeDownlink(input) {
    if (typeof input.data.open !== "boolean") return { errors: ["open must be true or false"] };
    return {
        bytes: [input.data.open ? 1 : 0],
        fPort: input.data.port || 15,
        warnings: input.data.slow ? ["it takes a minute"] : []
    };
}
"""


class Ledger:
    """The database, one device that was heard by the connection `field`, and what is asked for it."""

    def __init__(self, field, encoder):
        self.field = field
        self.engine = field.engine
        self.encoder = encoder
        self.numbers = itertools.count(1)
        network = self.network = field.connect()
        self.set_url("field", URL)
        field.take_and_read(network.uplink(network.add_device(dev_eui=DEVICE), payload=b"hello", f_port=2))
        self.hear_at(7)

    @property
    def now(self):
        return self.field.now

    def set_url(self, name, url):
        with write(self.engine) as tx:
            tx.execute(update(connections).where(connections.c.name == name).values(downlink_url=url))

    def hear_at(self, spreading_factor):
        with write(self.engine) as tx:
            tx.execute(update(uplinks).values(spreading_factor=spreading_factor))

    def add_connection(self, name, url=URL, platform="thingpark"):
        keyring, now = self.field.keyring, self.now
        add_connection(self.engine, keyring, now, name=name, platform=platform, tunnel_key=None, downlink_url=url)

    def assign(self, script=VALVE, f_port=None, signature=Signature.LORA_ALLIANCE):
        add_codec(self.engine, self.now, "valve", Codec(signature, script), None)
        assign_codec(self.engine, self.now, "valve", Scope(dev_eui=DEVICE, f_port=f_port))

    def put(self, *, creator="api-key one", key=None, correlation_id=None, **members):
        """Put a downlink in; a payload of one byte on port 10 unless something else is asked for."""
        if not members.keys() & {"payload", "object", "flush"}:
            members["payload"] = b"\x01"
        if "payload" in members:
            members.setdefault("f_port", 10)
        wish = DownlinkWish(**{"dev_eui": DEVICE, **members})
        number = next(self.numbers) if correlation_id is None else correlation_id
        return enqueue(self.engine, self.encoder, self.now, number, wish, creator=creator, idempotency_key=key)

    def put_id(self, **members):
        return self.put(**members).downlink.id

    def bring(self, downlink_id, state, **columns):
        """Bring a downlink into a state, as a dispatcher would."""
        with write(self.engine) as tx:
            lock_reading(tx)
            record_step(tx, self.now, downlink_id, DownlinkState(state), **columns)

    def claim(self, downlink_id):
        """Begin to send a downlink if it is queued still, as a dispatcher does; say whether it was."""
        with write(self.engine) as tx:
            lock_reading(tx)
            state = tx.scalar(select(downlinks.c.state).where(downlinks.c.id == downlink_id).with_for_update())
            if state == "queued":
                record_step(tx, self.now, downlink_id, DownlinkState.SENDING, lease="a worker")
            return state == "queued"

    def states(self):
        with read(self.engine) as tx:
            return [row.state for row in tx.execute(select(downlinks.c.state).order_by(downlinks.c.id))]

    def steps(self, downlink_id):
        mine = select(downlink_events.c.state).where(downlink_events.c.downlink_id == downlink_id)
        with read(self.engine) as tx:
            return list(tx.scalars(mine.order_by(downlink_events.c.id)))


def app_of(ledger):
    """Give the application."""
    return Starlette(routes=api_routes(ledger.engine, ledger.field.keyring, lambda: ledger.now, calls_per_second=0))
