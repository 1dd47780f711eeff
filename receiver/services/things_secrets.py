"""Shared secrets of KPN Things: what a destination signs its pushes with, kept and rotated as tunnel keys are.

A connection may have several live ones, so that a destination can be given a new secret without losing a push: add the
new one here, change it at KPN Things, watch the uses move over, retire the old one. A secret may be tied to the UUID of
its destination, which each push names: then it is tried first for that one, and for no other that is known.
Source: docs.kpnthings.com, Destinations, HTTPS: the rules for shared secrets.
"""

from __future__ import annotations

import re
import secrets
import string
from typing import TYPE_CHECKING

from receiver.errors import ConflictError, IdentifierError, SettingsError
from receiver.kpn_things.token import parse_plug_uuid
from receiver.lorawan.identifiers import shorten
from receiver.services.tunnel_keys import open_tunnel_key, seal_tunnel_key
from receiver.storage import connections as stored
from receiver.storage.engine import write

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from receiver.keyring import Keyring

PLATFORM = "kpn-things"
"""Of connections that KPN Things pushes to."""

LEAST_CHARACTERS = 30
MOST_CHARACTERS = 100
"""The portal has asked for 32 since 2022 and for 30 before; secrets of devices end at 100."""

NEW_CHARACTERS = 40
"""Some 245 bits: as long as a SHA-256 is strong."""

SPECIAL = "#!@"
"""The portal wants at least one special character; these stand in every usual list of them."""

_ALPHABET = string.ascii_letters + string.digits + SPECIAL
_SECRET = re.compile(r"[\x21-\x7e]+\Z")


def new_things_secret() -> str:
    """Give a new secret by the portal's rules: 40 characters, with upper and lower case, digits and a special one."""
    while True:
        secret = "".join(secrets.choice(_ALPHABET) for _ in range(NEW_CHARACTERS))
        if all(any(c in kind for c in secret) for kind in _KINDS) and secret[0] not in SPECIAL:
            return secret


_KINDS = (string.ascii_uppercase, string.ascii_lowercase, string.digits, SPECIAL)


def parse_things_secret(text: str) -> str:
    """Give the secret as typed, without white space around it.

    Raises:
        IdentifierError: it is not 30 to 100 printable characters; the sentence does not show it.
    """
    text = text.strip()
    if not LEAST_CHARACTERS <= len(text) <= MOST_CHARACTERS or not _SECRET.match(text):
        raise IdentifierError(
            f"A shared secret of KPN Things has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters, none of them a"
            f" space or outside ASCII; what was given has {len(text)}."
        )
    return text


def require_plug_uuid(text: str) -> str:
    """Give the UUID of a destination in lower case.

    Raises:
        IdentifierError: it is none.
    """
    uuid = parse_plug_uuid(text)
    if uuid is None:
        raise IdentifierError(
            f"{shorten(text)!r} is not the UUID of a destination: it is like 0b6f5f52-8c3a-4c0a-9d0e-2f1a4c5b6d7e, as"
            " KPN Things shows it and sends it as Things-Plug-UUID."
        )
    return uuid


def insert_things_secret(
    tx: sa.Connection,
    keyring: Keyring,
    now: datetime,
    connection: stored.Connection,
    text: str,
    plug_uuid: str | None,
) -> str:
    """Add a secret, of its form already, within the caller's transaction; give its id, such as `s1`.

    Raises:
        ConflictError: the connection has it already, and it is live.
    """
    keys = stored.list_tunnel_keys(tx, connection.id)
    for key in keys:
        if key.retired_at is None and open_tunnel_key(keyring, key).reveal() == text:
            raise ConflictError(f"{connection.name} has this secret already, as {key.key_id}.")
    key_id = f"s{1 + max((int(key.key_id[1:]) for key in keys), default=0)}"
    sealed = seal_tunnel_key(keyring, connection.id, key_id, text)
    stored.insert_tunnel_key(
        tx, connection_id=connection.id, key_id=key_id, sealed_key=sealed, created_at=now, plug_uuid=plug_uuid
    )
    return key_id


def add_things_secret(
    engine: sa.Engine, keyring: Keyring, now: datetime, name: str, secret: str, plug_uuid: str | None = None
) -> str:
    """Add a live secret to a connection and give its id, which is never used twice.

    Raises:
        NotFoundError: there is no such connection.
        SettingsError: it is not one of KPN Things.
        IdentifierError: the secret or the UUID is not of its form.
        ConflictError: the connection has this secret already, and it is live.
    """
    text = parse_things_secret(secret)
    uuid = None if plug_uuid is None else require_plug_uuid(plug_uuid)
    with write(engine) as tx:
        connection = stored.get_connection(tx, name)
        require_things(connection)
        stored.lock_connection(tx, connection.id)
        return insert_things_secret(tx, keyring, now, connection, text, uuid)


def require_things(connection: stored.Connection) -> None:
    """Return if KPN Things pushes to the connection.

    Raises:
        SettingsError: another platform does.
    """
    if connection.platform != PLATFORM:
        raise SettingsError(
            f"{connection.name} is a connection of platform {connection.platform}; this is for those of {PLATFORM}."
        )
