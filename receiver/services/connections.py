"""Connections: what is pushed to this receiver, under which AS_ID.

A name is the last part of a push URL, so it is kept to what needs no escaping there. Each function is one
transaction; each change makes running receivers load their connections anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from receiver.errors import ConflictError, IdentifierError, SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.services.connection_cache import read_snapshot
from receiver.services.things_secrets import (
    PLATFORM,
    insert_things_secret,
    parse_things_secret,
    require_plug_uuid,
)
from receiver.services.tunnel_keys import (
    LiveTunnelKey,
    add_tunnel_key,
    list_tunnel_keys,
    new_tunnel_key,
    open_tunnel_key,
    parse_tunnel_key,
    retire_tunnel_key,
    seal_tunnel_key,
)
from receiver.storage import connections as stored
from receiver.storage.engine import read, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from receiver.keyring import Keyring
    from receiver.services.connection_cache import ConnectionSnapshot
    from receiver.storage.connections import Connection

__all__ = [
    "LiveConnection",
    "LiveTunnelKey",
    "RemovedConnection",
    "add_connection",
    "add_tunnel_key",
    "get_connection",
    "list_connections",
    "list_tunnel_keys",
    "load_live_connections",
    "new_tunnel_key",
    "open_snapshot",
    "remove_connection",
    "retire_tunnel_key",
]

PLATFORMS = ("thingpark", "kpn-lora", "kpn-things")
PAYLOADS = ("auto", "clear", "encrypted")
APP_S_KEYS = ("wrapped", "clear")

DEFAULT_MAX_DEVIATION_S = 60
"""Room for the queues of the network and for two clocks; there is no nonce, so this also bounds a replay."""
LONGEST_MAX_DEVIATION_S = 86_400
"""A day: more would be no window at all."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")  # one label of a URL path, and 63 as in a DNS label
_AS_ID = re.compile(r"[0-9A-Za-z._-]{1,128}\Z")  # the tunnel interface's own pattern; the length is ours


@dataclass(frozen=True, slots=True)
class RemovedConnection:
    """What was removed with a connection, and what stays without it."""

    connection: Connection
    tunnel_keys: int
    reports_that_stay: int


@dataclass(frozen=True, slots=True)
class LiveConnection:
    """What the push route keeps in memory of a connection; its live keys are newest first, opened."""

    id: int
    name: str
    platform: str
    as_id: str
    max_deviation_s: int
    payloads: str
    app_s_keys: str
    tunnel_keys: tuple[LiveTunnelKey, ...]


def add_connection(
    engine: sa.Engine,
    keyring: Keyring,
    now: datetime,
    *,
    name: str,
    platform: str,
    as_id: str | None = None,
    tunnel_key: str | None,
    max_deviation_s: int = DEFAULT_MAX_DEVIATION_S,
    payloads: str = "auto",
    app_s_keys: str = "wrapped",
    downlink_url: str | None = None,
    things_secrets: Sequence[str] = (),
    plug_uuid: str | None = None,
) -> Connection:
    """Add a connection, with `tunnel_key` as its key `k1` if one is given. The AS_ID defaults to the name.

    Of KPN Things: with `things_secrets` as its secrets `s1`, `s2`, …, of the destination `plug_uuid` if that is given.

    Raises:
        IdentifierError: the name, the AS_ID, the tunnel key or a secret is not of its form.
        SettingsError: another option is not one that a connection can have.
        ConflictError: the name is taken.
    """
    as_id = name if as_id is None else as_id
    check_name(name)
    _check_as_id(as_id)
    _check_choice("platform", platform, PLATFORMS)
    if platform == PLATFORM:
        if tunnel_key is not None or downlink_url is not None:
            raise SettingsError(
                "A connection of KPN Things has shared secrets and an account for its downlinks; a tunnel key and a"
                " downlink URL are for those of ThingPark."
            )
        payloads = "clear"  # KPN Things decrypts what it carries
    elif things_secrets or plug_uuid is not None:
        raise SettingsError(f"A shared secret is for connections of KPN Things; {name} is to be of {platform}.")
    new_secrets = [parse_things_secret(secret) for secret in things_secrets]
    uuid = None if plug_uuid is None else require_plug_uuid(plug_uuid)
    _check_choice("payloads", payloads, PAYLOADS)
    _check_choice("app-s-keys", app_s_keys, APP_S_KEYS)
    check_max_deviation(max_deviation_s)
    if downlink_url is not None:
        check_downlink_url(downlink_url)
    key = parse_tunnel_key(tunnel_key) if tunnel_key is not None else None
    with write(engine) as tx:
        connection = stored.insert_connection(
            tx,
            name=name,
            platform=platform,
            as_id=as_id,
            max_deviation_s=max_deviation_s,
            payloads=payloads,
            app_s_keys=app_s_keys,
            downlink_url=downlink_url,
            created_at=now,
        )
        if connection is None:
            raise ConflictError(
                f"There is a connection named {name} already. Choose another name, or add a key to it with"
                f" `receiver connection add-key {name}`."
            )
        if key is not None:
            sealed = seal_tunnel_key(keyring, connection.id, "k1", key)
            stored.insert_tunnel_key(tx, connection_id=connection.id, key_id="k1", sealed_key=sealed, created_at=now)
        for secret in new_secrets:
            insert_things_secret(tx, keyring, now, connection, secret, uuid)
    return connection


def list_connections(engine: sa.Engine) -> list[Connection]:
    """Give all connections by name."""
    with read(engine) as tx:
        return stored.list_connections(tx)


def get_connection(engine: sa.Engine, name: str) -> Connection:
    """Give the connection of that name.

    Raises:
        NotFoundError: there is none.
    """
    with read(engine) as tx:
        return stored.get_connection(tx, name)


def remove_connection(engine: sa.Engine, name: str) -> RemovedConnection:
    """Remove a connection with its tunnel keys, AS transport keys and rejections.

    Its reports, uplinks and devices stay, and so do the AppSKeys that were unwrapped for them. Pushes to it
    are answered 401 from the next second on.

    Raises:
        NotFoundError: there is none.
    """
    with write(engine) as tx:
        connection = stored.get_connection(tx, name)
        removed = RemovedConnection(
            connection=connection,
            tunnel_keys=len(stored.list_tunnel_keys(tx, connection.id)),
            reports_that_stay=stored.count_reports(tx, connection.id),
        )
        stored.delete_connection(tx, connection.id)
    return removed


def load_live_connections(engine: sa.Engine, keyring: Keyring) -> tuple[int, Mapping[str, LiveConnection]]:
    """Give every connection by name with its live keys opened, and the revision that this is the state of.

    Raises:
        KeyringError: a key does not open with the key-encryption key of this process.
    """
    snapshot = read_snapshot(engine)
    return snapshot.revision, open_snapshot(snapshot, keyring)


def open_snapshot(snapshot: ConnectionSnapshot, keyring: Keyring) -> Mapping[str, LiveConnection]:
    """Give the connections of a snapshot by name with their live keys opened.

    Raises:
        KeyringError: a key does not open with the key-encryption key of this process.
    """
    keys: dict[int, list[LiveTunnelKey]] = {connection.id: [] for connection in snapshot.connections}
    for key in snapshot.tunnel_keys:
        keys[key.connection_id].append(LiveTunnelKey(key.id, key.key_id, open_tunnel_key(keyring, key), key.plug_uuid))
    return {
        connection.name: LiveConnection(
            id=connection.id,
            name=connection.name,
            platform=connection.platform,
            as_id=connection.as_id,
            max_deviation_s=connection.max_deviation_s,
            payloads=connection.payloads,
            app_s_keys=connection.app_s_keys,
            tunnel_keys=tuple(keys[connection.id]),
        )
        for connection in snapshot.connections
    }


def check_name(name: str) -> None:
    """Return if a connection may be named so.

    Raises:
        IdentifierError: it may not.
    """
    if not _NAME.match(name):
        raise IdentifierError(
            f"{shorten(name)!r} cannot be a connection's name: it stands in the push URL, so it must be 1 to"
            " 63 lower-case letters, digits, dots, dashes and underscores, and begin with a letter or digit."
        )


def check_max_deviation(max_deviation_s: int) -> None:
    """Return if a connection may have this max deviation.

    Raises:
        SettingsError: it may not.
    """
    if not 1 <= max_deviation_s <= LONGEST_MAX_DEVIATION_S:
        raise SettingsError(
            f"A max deviation of {max_deviation_s} s is not possible:"
            f" it must be 1 to {LONGEST_MAX_DEVIATION_S} s ({DEFAULT_MAX_DEVIATION_S} is usual)."
        )


def _check_as_id(as_id: str) -> None:
    if not _AS_ID.match(as_id):
        raise IdentifierError(
            f"{shorten(as_id)!r} cannot be an AS_ID: it may have letters, digits, dots, dashes and"
            " underscores (1 to 128 of them), exactly as the network's portal shows it."
        )


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{shorten(value)!r} is not a value of --{option}: choose {' or '.join(choices)}.")


def check_downlink_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(
            f"{shorten(url, 80)!r} is not a downlink URL: it must be like https://host/thingpark/lrc/rest/v2/downlink."
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError("A downlink URL must have no user name, query or fragment: each downlink adds its own.")
