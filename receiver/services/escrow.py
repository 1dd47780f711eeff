"""Escrow: the AS transport keys of a connection into a file that a passphrase opens, and back from it.

The network does not keep the AS transport key; without it every device must join again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from receiver.errors import AsTransportKeyError, ConflictError, IdentifierError, NotFoundError
from receiver.lorawan.keys import AesKey, key_check_value
from receiver.services.as_transport_keys import refuse_doubtful, refuse_overwrite
from receiver.services.escrow_file import check_passphrase, from_base64, open_escrow, seal_escrow, to_base64
from receiver.services.key_confirmation import compare_on_stored_reports, read_again_with
from receiver.services.sealed_transport_keys import open_key, open_private_key_der, seal_key, seal_private_key
from receiver.services.tunnel_keys import check_value_of, open_tunnel_key
from receiver.storage import as_transport_keys as stored
from receiver.storage.connections import find_connection, get_connection, list_tunnel_keys, lock_connection
from receiver.storage.engine import read, write
from receiver.storage.reports import lock_reading
from receiver.thingpark.key_judgement import KeyJudgement, Verdict
from receiver.thingpark.rsa_key import load_private_key_der

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from receiver.keyring import Keyring
    from receiver.storage.as_transport_keys import StoredAsTransportKey
    from receiver.storage.connections import Connection

_STATES = ("awaiting", "active", "replaced")


@dataclass(frozen=True, slots=True)
class EscrowedKey:
    """One AS transport key, or pair that awaits one, out of an escrow file."""

    state: stored.State
    key: AesKey | None
    private_key: RSAPrivateKey | None
    public_key_pem: str | None
    confirmation: str | None
    created_at: datetime
    imported_at: datetime | None


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What was restored. The check value is of the connection's active key, if it has one now."""

    restored: int
    already_there: int
    key_check_value: str | None
    sentence: str | None
    reports_to_read_again: int


def escrow(engine: sa.Engine, keyring: Keyring, now: datetime, name: str, passphrase: str) -> bytes:
    """Give an escrow file of the connection: all its AS transport keys and RSA private keys.

    Of the tunnel keys only ids, check values and dates are in it, and of the connection what `connection add`
    asks for; neither is secret there.

    Raises:
        NotFoundError: there is no such connection, or it has no AS transport key.
        AsTransportKeyError: the passphrase is too short.
        KeyringError: a key does not open.
    """
    check_passphrase(passphrase)
    with read(engine) as tx:
        connection = get_connection(tx, name)
        keys = stored.list_as_transport_keys(tx, connection.id)
        tunnel_keys = list_tunnel_keys(tx, connection.id)
    if not keys:
        raise NotFoundError(f"{name} has no AS transport key to keep: `receiver as-key new {name}` begins one.")
    content = {
        "connection": _connection_fields(connection),
        "as_transport_keys": [_key_fields(keyring, key) for key in reversed(keys)],
        "tunnel_keys": [
            {
                "key_id": key.key_id,
                "key_check_value": check_value_of(open_tunnel_key(keyring, key)),
                "created_at": key.created_at.isoformat(),
                "retired_at": key.retired_at.isoformat() if key.retired_at else None,
            }
            for key in tunnel_keys
        ],
    }
    return seal_escrow(content, passphrase, name, now)


def restore_escrow(
    engine: sa.Engine,
    keyring: Keyring,
    name: str,
    data: bytes,
    passphrase: str,
    *,
    replace: bool = False,
    force: bool = False,
) -> RestoreResult:
    """Put the keys of an escrow file into the connection; those that it has already are left as they are.

    Raises:
        NotFoundError: there is no such connection; the sentence says how the one in the file was set up.
        AsTransportKeyError: it is no escrow file or does not open; its active key would overwrite another one
            and `replace` is not given; or stored reports speak against it and `force` is not given.
        ConflictError: another pair awaits the network's answer, and `replace` is not given.
    """
    content = open_escrow(data, passphrase)
    keys = _parse_keys(content)
    active = next((escrowed.key for escrowed in keys if escrowed.state == "active"), None)
    with read(engine) as tx:
        if find_connection(tx, name) is None:
            raise NotFoundError(_how_to_add(name, content))
        comparison = compare_on_stored_reports(tx, keyring, name, active) if active else None
    judgement = comparison.judgement if comparison else None
    restored = 0
    with write(engine) as tx:
        lock_reading(tx)
        connection_id = get_connection(tx, name).id
        lock_connection(tx, connection_id)
        for escrowed in keys:
            present = stored.list_as_transport_keys(tx, connection_id)
            if not _is_present(keyring, present, escrowed):
                _make_room(tx, name, present, escrowed, judgement, replace=replace, force=force)
                _insert(tx, keyring, connection_id, escrowed, judgement)
                restored += 1
        reports = read_again_with(tx, connection_id, comparison, force=force) if comparison else 0
        now_active = [key for key in stored.list_as_transport_keys(tx, connection_id) if key.state == "active"]
    return RestoreResult(
        restored=restored,
        already_there=len(keys) - restored,
        key_check_value=now_active[0].key_check_value if now_active else None,
        sentence=judgement.sentence if judgement else None,
        reports_to_read_again=reports,
    )


def _connection_fields(connection: Connection) -> dict[str, Any]:
    return {
        "name": connection.name,
        "platform": connection.platform,
        "as_id": connection.as_id,
        "max_deviation_s": connection.max_deviation_s,
        "payloads": connection.payloads,
        "app_s_keys": connection.app_s_keys,
        "downlink_url": connection.downlink_url,
    }


def _key_fields(keyring: Keyring, row: StoredAsTransportKey) -> dict[str, Any]:
    private_key = open_private_key_der(keyring, row)
    return {
        "state": row.state,
        "key": open_key(keyring, row).reveal().hex() if row.sealed_key is not None else None,
        "private_key": to_base64(private_key) if private_key is not None else None,
        "public_key_pem": row.public_key_pem,
        "confirmation": row.confirmation,
        "created_at": row.created_at.isoformat(),
        "imported_at": row.imported_at.isoformat() if row.imported_at else None,
    }


def _parse_keys(content: Mapping[str, Any]) -> list[EscrowedKey]:
    try:
        return [_parse_key(fields) for fields in content["as_transport_keys"]]
    except (ValueError, TypeError, KeyError, IdentifierError) as exc:
        raise AsTransportKeyError("The escrow file opens, but what is in it is not a list of keys.") from exc


def _parse_key(fields: Mapping[str, Any]) -> EscrowedKey:
    if fields["state"] not in _STATES:
        raise ValueError(fields["state"])
    private_key, imported_at = fields["private_key"], fields["imported_at"]
    return EscrowedKey(
        state=fields["state"],
        key=AesKey(bytes.fromhex(fields["key"])) if fields["key"] else None,
        private_key=load_private_key_der(from_base64(private_key)) if private_key else None,
        public_key_pem=fields["public_key_pem"],
        confirmation=fields["confirmation"],
        created_at=datetime.fromisoformat(fields["created_at"]),
        imported_at=datetime.fromisoformat(imported_at) if imported_at else None,
    )


def _is_present(keyring: Keyring, present: Sequence[StoredAsTransportKey], escrowed: EscrowedKey) -> bool:
    """An active key is there only if it is active there too; any other if the connection has it at all."""
    for row in present:
        if escrowed.key is None:
            if row.public_key_pem == escrowed.public_key_pem:
                return True
        elif row.sealed_key is None or (escrowed.state == "active" and row.state != "active"):
            continue
        elif open_key(keyring, row) == escrowed.key:
            return True
    return False


def _make_room(
    tx: sa.Connection,
    name: str,
    present: Sequence[StoredAsTransportKey],
    escrowed: EscrowedKey,
    judgement: KeyJudgement | None,
    *,
    replace: bool,
    force: bool,
) -> None:
    rival = next((row for row in present if row.state == escrowed.state), None)
    if escrowed.state == "active":
        if rival is not None and not replace:
            raise refuse_overwrite(name, rival)
        if judgement is not None:
            refuse_doubtful(judgement, force=force)
        if any(row.state == "awaiting" and row.public_key_pem == escrowed.public_key_pem for row in present):
            stored.replace_all(tx, present[0].connection_id, "awaiting")  # the answer it awaits is this key
    elif escrowed.state == "awaiting" and rival is not None and not replace:
        raise ConflictError(
            f"Another key pair of {name} awaits the network's answer, made on {rival.created_at:%Y-%m-%d}:"
            " give --replace to await the answer to the one in the file."
        )
    if rival is not None and escrowed.state != "replaced":
        stored.replace_all(tx, rival.connection_id, escrowed.state)


def _insert(
    tx: sa.Connection,
    keyring: Keyring,
    connection_id: int,
    escrowed: EscrowedKey,
    judgement: KeyJudgement | None,
) -> None:
    key, private_key = escrowed.key, escrowed.private_key
    confirmation = escrowed.confirmation
    if escrowed.state == "active" and judgement is not None and judgement.verdict is not Verdict.UNTESTED:
        confirmation = judgement.verdict
    stored.insert_as_transport_key(
        tx,
        connection_id=connection_id,
        state=escrowed.state,
        created_at=escrowed.created_at,
        public_key_pem=escrowed.public_key_pem,
        sealed_private_key=seal_private_key(keyring, connection_id, private_key) if private_key else None,
        sealed_key=seal_key(keyring, connection_id, key) if key else None,
        key_check_value=key_check_value(key) if key else None,
        confirmation=confirmation if key else None,
        imported_at=escrowed.imported_at,
    )


def _how_to_add(name: str, content: Mapping[str, Any]) -> str:
    fields = content.get("connection", {})
    options = " ".join(
        f"--{option} {fields[field]}"
        for option, field in (("platform", "platform"), ("as-id", "as_id"), ("payloads", "payloads"))
        if fields.get(field)
    )
    return (
        f"There is no connection named {name} to restore into. The file is of one that was added with:"
        f" receiver connection add {name} {options}"
    )
