"""Pushes as KPN Things sends them, for a connection of it."""

from __future__ import annotations

import json

from receiver.errors import PushRejected
from receiver.kpn_things.token import sign_body
from receiver.services.connection_directory import ConnectionDirectory
from receiver.services.connections import add_connection
from receiver.services.ingest import verify_push
from receiver.storage.engine import write
from receiver.storage.rejections import NewRejection, insert_rejections
from tests.integration.inbox_use import take_batch

SECRET = "Correct#Horse1Battery2Staple3Northwind4"
SECOND = "Another#Horse1Battery2Staple3Northwind4"
NAME = "things"
PLUG, OTHER_PLUG = "0b6f5f52-8c3a-4c0a-9d0e-2f1a4c5b6d7e", "c1a59c3c-5cc3-4f4f-8d0f-6d3a1d1a2b3c"
DEV_EUI = "0059AC00001B3461"


def message(*records, device=f"DEVEUI:{DEV_EUI}", bt=1765739955.219):
    """Give a body: a raw frame unless records are given."""
    given = list(records) or [{"n": "payload", "vs": "763d0028"}, {"n": "port", "v": 1.0}]
    return json.dumps([{"bn": f"urn:dev:{device}:", "bt": bt, **given[0]}, *given[1:]], separators=(",", ":")).encode()


def extended(f_cnt_up=0, payload="763d0028", **changed):
    """Give the records of a LoRa extended v2 frame."""
    radio = {"FCntDn": 1.0, "LrrRSSI": -107.0, "LrrSNR": 3.0, "LrrESP": -108.5, "DevLrrCnt": 2.0, "SpFact": 8.0}
    numbers = {"port": 1.0, "FCntUp": float(f_cnt_up), **radio, "ADRbit": 1.0, **changed}
    texts = {"SubBand": "G1", "Channel": "LC3", "timeOrigin": "NETWORK"}
    return [
        {"n": "payload", "vs": payload},
        *({"n": name, "v": value} for name, value in numbers.items()),
        *({"n": name, "vs": value} for name, value in texts.items()),
    ]


def headers(body, secret=SECRET, plug=PLUG, token=None):
    """Give the headers that a push has, as ASGI gives them."""
    signed = sign_body(body, secret.encode()) if token is None else token
    given = [(b"host", b"receiver"), (b"content-type", b"application/json")]
    given += [(b"things-message-token", signed.encode())] if signed else []
    return given + ([(b"things-plug-uuid", plug.encode())] if plug else [])


def add_things(engine, keyring, now, name=NAME, secrets=(SECRET,), **options):
    return add_connection(
        engine,
        keyring,
        now,
        name=name,
        platform="kpn-things",
        tunnel_key=None,
        things_secrets=secrets,
        **options,
    )


def verified(engine, keyring, now, body, given=None, name=NAME):
    """Give the report of a push; it raises where the push is refused."""
    directory = ConnectionDirectory(engine, keyring)
    directory.load()
    return verify_push(directory.find(name), name, b"", body, now, headers(body) if given is None else given)


def take(field, *bodies, name=NAME):
    """Verify and store pushes as the push moment does; give their outcomes."""
    return take_batch(
        field.engine, [verified(field.engine, field.keyring, field.now, body, name=name) for body in bodies]
    )


def refuse(engine, keyring, now, body, given, name=NAME, query=""):
    """Let a push be refused and keep it, as the push moment does; give its reason and the rejection's id."""
    directory = ConnectionDirectory(engine, keyring)
    directory.load()
    connection = directory.find(name)
    try:
        verify_push(connection, name, query.encode(), body, now, given)
    except PushRejected as exc:
        rejection = NewRejection(
            connection_id=connection.id if connection else None,
            path_name=name,
            received_at=now,
            reason=exc.reason.value,
            detail=exc.detail,
            query=query,
            headers=tuple((key.decode("latin-1"), value.decode("latin-1")) for key, value in given),
            body=body,
        )
        with write(engine) as tx:
            insert_rejections(tx, [rejection])
        return exc
    raise AssertionError("it is accepted")
