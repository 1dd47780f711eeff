"""A receiver and the network that pushes to it, for the tests of the reading moment."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, text

from receiver.lorawan.keys import AesKey
from receiver.services.as_transport_keys import import_clear
from receiver.services.connection_directory import ConnectionDirectory
from receiver.services.connections import add_connection
from receiver.services.ingest import verify_push
from receiver.services.reading import read_batch
from receiver.simulator.network import SimulatedNetwork
from receiver.simulator.radio import ComputedFix
from receiver.storage.engine import read, write
from receiver.storage.tables import reports, uplinks
from tests.integration.inbox_use import take_batch

TUNNEL_KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
AS_TRANSPORT_KEY = AesKey(bytes.fromhex("4bc1ba5fd6b6ac5b2c8d6a33d1a8c8b1"))
AS_ID = "TWA_100000001.1.AS"
HELLO = b"hello"


class Field:
    """A receiver and the network that pushes to it, on one clock that only the test moves."""

    def __init__(self, engine, keyring, now):
        self.engine = engine
        self.keyring = keyring
        self.now = now

    def connect(self, name="field", *, encrypted=False, payloads="auto", app_s_keys="wrapped", **options):
        """Add a connection; give the network behind it."""
        add_connection(
            self.engine,
            self.keyring,
            self.now,
            name=name,
            platform="thingpark",
            as_id=AS_ID,
            tunnel_key=TUNNEL_KEY,
            payloads=payloads,
            app_s_keys=app_s_keys,
        )
        return SimulatedNetwork(
            key=TUNNEL_KEY,
            as_id=AS_ID,
            clock=lambda: self.now,
            as_transport_key=AS_TRANSPORT_KEY if encrypted else None,
            seed=7,
            **options,
        )

    def wait(self, **duration):
        self.now += timedelta(**duration)

    def import_as_transport_key(self, name="field", key=AS_TRANSPORT_KEY, **options):
        return import_clear(self.engine, self.keyring, self.now, name, key.reveal().hex(), **options)

    def take(self, *pushes, name="field"):
        """Verify and store the pushes, as the push moment does."""
        directory = ConnectionDirectory(self.engine, self.keyring)
        directory.load()
        verified = [
            verify_push(directory.find(name), name, push.query.encode(), push.body, self.now) for push in pushes
        ]
        return take_batch(self.engine, verified)

    def read(self, limit=200):
        """Read all there is; give how many reports were read."""
        total = 0
        while count := read_batch(self.engine, self.keyring, self.now, limit):
            total += count
            assert total < 10_000, "reading comes to no end"
        return total

    def take_and_read(self, *pushes, name="field"):
        outcomes = self.take(*pushes, name=name)
        self.read()
        return outcomes

    def rows(self, table, **where):
        with read(self.engine) as connection:
            query = select(table).order_by(*table.primary_key)
            for column, value in where.items():
                query = query.where(table.c[column] == value)
            return connection.execute(query).all()

    def row(self, table, **where):
        [row] = self.rows(table, **where)
        return row

    def count(self, table):
        with read(self.engine) as connection:
            return connection.scalar(select(func.count()).select_from(table))

    def payloads(self):
        """Give FCntUp, state and clear bytes of all uplinks, by counter."""
        rows = sorted(self.rows(uplinks), key=lambda row: (row.f_cnt_up or 0, row.id))
        return [(row.f_cnt_up, row.payload_state, row.frm_payload and bytes(row.frm_payload)) for row in rows]

    def states(self):
        return [row.state for row in self.rows(reports)]


def changed(network, push, without=(), **members):
    """Give `push` with other members in its JSON body, signed anew."""
    [(kind, body)] = json.loads(push.body).items()
    body |= members
    for name in without:
        del body[name]
    return network._signer.deliver(replace(push, body=json.dumps({kind: body}).encode()))


def refuse_inserts(engine, table, condition, column="dev_eui"):
    """Let the database itself refuse rows of `table` where `condition`, which is about `column`."""
    with write(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"ALTER TABLE {table} ADD CONSTRAINT refused CHECK (NOT ({condition}))"))
        else:
            condition = condition.replace(column, f"NEW.{column}")
            connection.execute(
                text(
                    f"CREATE TRIGGER refused BEFORE INSERT ON {table} WHEN {condition}"
                    " BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
            )


def allow_inserts(engine, table):
    """Take back what `refuse_inserts` did."""
    is_postgresql = engine.dialect.name == "postgresql"
    with write(engine) as connection:
        connection.execute(
            text(f"ALTER TABLE {table} DROP CONSTRAINT refused" if is_postgresql else "DROP TRIGGER refused")
        )


def encrypted_push(network, device, *, payload=HELLO, tells=None, key_field=True, **options):
    """Give an uplink with an encrypted payload, with PayloadEncryption as told or without it."""
    push = network.uplink(device, f_port=5, payload=payload, **options)
    without = [name for name, there in (("PayloadEncryption", tells is None), ("AppSKey", not key_field)) if there]
    present = json.loads(push.body)[push.kind]
    told = {} if tells is None else {"PayloadEncryption": tells}
    return changed(network, push, [name for name in without if name in present], **told)


FULL_UPLINK = {
    "Time": "2026-11-20T12:59:58.49+01:00",
    "DevEUI": "20635F0000000001",
    "FPort": 3,
    "FCntUp": 70000,
    "LostUplinksAS": -2,
    "ADRbit": 1,
    "ACKbit": 1,
    "MType": 4,
    "FCntDn": 66000,
    "payload_hex": "0a0b0c",
    "mic_hex": "DEADBEEF",
    "Lrcid": "00000201",
    "LrrRSSI": -112.0,
    "LrrSNR": -3.25,
    "LrrESP": -116.5,
    "SpFact": 12,
    "SubBand": "G1",
    "Channel": "LC3",
    "DevLrrCnt": 2,
    "Lrrid": "FF0109A4",
    "Late": 0,
    "LrrLAT": 52.1,
    "LrrLON": 5.2,
    "Lrrs": {
        "Lrr": [
            {"Lrrid": "FF0109A4", "Chain": 0, "LrrRSSI": -112.0, "LrrSNR": -3.25, "LrrESP": -116.5},
            {"Lrrid": "FF0109A5", "Chain": 1, "LrrRSSI": -118.0, "LrrSNR": -9.5, "LrrESP": -128.0},
        ]
    },
    "CustomerID": "100000001",
    "CustomerData": {"alr": {"pro": "ACME/METER", "ver": "2"}, "name": "Meter 1"},
    "InstantPER": 0.25,
    "MeanPER": 0.125,
    "DevAddr": "04AB12CD",
    "AckRequested": 1,
    "TxPower": 14.0,
    "NbTrans": 2,
    "Frequency": 868.1,
    "DynamicClass": "A",
}

FIX = ComputedFix(datetime(2026, 10, 30, 7, 0, tzinfo=UTC), 52.1, 5.2, 455.0, 27_418)
