"""Pushes that are refused as a receiver refuses them, and kept as it keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from receiver.errors import PushRejected
from receiver.services.connection_directory import ConnectionDirectory
from receiver.services.connections import add_connection
from receiver.services.ingest import verify_push
from receiver.storage.engine import read, write
from receiver.storage.rejections import NewRejection, RejectionFilter, insert_rejections, list_rejections
from receiver.thingpark.token import sign_push
from tests.integration.push_server import uplink

KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
OTHER_KEY = "c6f5e3b263092120b8766b9aed9c41b4"
AS_ID = "TWA_100000001.1.AS"
DEV_EUI = "20635F0000000001"
ELEMENTS = f"100000001{DEV_EUI}113aa27"


@dataclass
class Refusals:
    """Makes connections and refused pushes in one database. All pushes are of one uplink unless told otherwise."""

    engine: object
    keyring: object
    now: object

    def add_connection(self, name="meters", key=KEY, as_id=AS_ID):
        return add_connection(
            self.engine, self.keyring, self.now, name=name, platform="thingpark", as_id=as_id, tunnel_key=key
        )

    def query(self, elements=ELEMENTS, *, key=KEY, skew_s=0, signed_with=None, **changed):
        """Give a signed query; `skew_s`: how long before its arrival it was sent."""
        sent_at = self.now - timedelta(seconds=skew_s)
        values = {
            "LrnDevEui": DEV_EUI,
            "LrnFPort": "1",
            "LrnInfos": f"{AS_ID}-1-1",
            "AS_ID": AS_ID,
            "Time": sent_at.isoformat(timespec="milliseconds"),
            **changed,
        }
        text = "&".join(f"{name}={value}" for name, value in values.items())
        token = sign_push(elements, query_elements=text, key=signed_with or key)
        return "&".join(f"{name}={quote(value, safe='')}" for name, value in {**values, "Token": token}.items())

    def refuse(self, query, body=None, path="meters", received_at=None):
        """Let the push be refused, keep it, and give the id of its rejection."""
        received_at = received_at or self.now
        body = uplink() if body is None else body
        directory = ConnectionDirectory(self.engine, self.keyring)
        directory.load()
        connection = directory.find(path)
        try:
            verify_push(connection, path, query.encode(), body, received_at)
        except PushRejected as exc:
            return self.keep(connection, path, exc.reason.value, exc.detail, query, body, received_at)
        raise AssertionError("it is accepted")

    def keep(self, connection, path, reason, detail, query, body, received_at=None):
        rejection = NewRejection(
            connection_id=connection.id if connection else None,
            path_name=path,
            received_at=received_at or self.now,
            reason=reason,
            detail=detail,
            query=query,
            headers=(("host", "receiver"), ("user-agent", "ACTILITY-LRCLRN-DEVICE-AGENT/1.0")),
            body=body,
        )
        with write(self.engine) as tx:
            insert_rejections(tx, [rejection])
        return self.views()[0].id

    def views(self):
        with read(self.engine) as tx:
            return list_rejections(tx, RejectionFilter(), limit=1000)
