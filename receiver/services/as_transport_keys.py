"""AS transport keys: the pair for the network to answer to, the import of its answer, what is there.

The network shows the wrapped key once and does not keep it. So nothing is ever deleted here: a key that is
replaced still reads the sessions that began under it, and a pair that is replaced keeps its private half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from receiver.errors import AsTransportKeyError, ConflictError, NotFoundError
from receiver.lorawan.keys import AesKey, key_check_value, parse_aes_key
from receiver.services.key_confirmation import compare_on_stored_reports, read_again_with
from receiver.services.sealed_transport_keys import (
    load_as_transport_keys,
    open_key,
    open_private_key_der,
    seal_key,
    seal_private_key,
)
from receiver.storage import as_transport_keys as stored
from receiver.storage.connections import get_connection, lock_connection
from receiver.storage.engine import read, write
from receiver.storage.reports import lock_reading
from receiver.thingpark.as_transport_key import parse_wrapped_key, unwrap_as_transport_key
from receiver.thingpark.key_judgement import KeyJudgement, Verdict
from receiver.thingpark.rsa_key import (
    PUBLIC_EXPONENT,
    RSA_BITS,
    describe_public_key,
    load_private_key_der,
    parse_private_key,
    public_key_pem,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import sqlalchemy as sa
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from receiver.keyring import Keyring
    from receiver.storage.as_transport_keys import StoredAsTransportKey

__all__ = [
    "AsTransportKeyStatus",
    "ImportResult",
    "import_clear",
    "import_wrapped",
    "load_as_transport_keys",
    "new_key_pair",
    "refuse_doubtful",
    "refuse_overwrite",
    "show",
]

DEFAULT_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did. The sentence says what stored reports tell about the key."""

    key_check_value: str
    confirmation: Verdict
    sentence: str
    was_active_already: bool
    reports_to_read_again: int


@dataclass(frozen=True, slots=True)
class AsTransportKeyStatus:
    """One key or key pair of a connection as an operator sees it; no secret is in it."""

    state: stored.State
    key_check_value: str | None
    confirmation: str | None
    created_at: datetime
    imported_at: datetime | None
    rsa_bits: int | None
    public_key_fingerprint: str | None
    public_key_pem: str | None


def new_key_pair(
    engine: sa.Engine,
    keyring: Keyring,
    now: datetime,
    name: str,
    bits: int = DEFAULT_RSA_BITS,
    *,
    replace: bool = False,
) -> str:
    """Make an RSA pair that awaits the network's answer and give its public half as PEM.

    With `replace`, a pair that awaits is set aside; an active key stays active until a new one is imported.

    Raises:
        NotFoundError: there is no such connection.
        AsTransportKeyError: the size is neither 1,024 nor 2,048 bits.
        ConflictError: a key is active or a pair awaits, and `replace` is not given.
    """
    if bits not in RSA_BITS:
        raise AsTransportKeyError(
            f"An RSA key of {bits} bits is not made here: networks are known to take 2048 (the default) and 1024."
        )
    private_key = generate_private_key(PUBLIC_EXPONENT, bits)
    pem = public_key_pem(private_key.public_key())
    with write(engine) as tx:
        connection = get_connection(tx, name)
        lock_connection(tx, connection.id)
        if not replace:
            _refuse_needless_pair(name, stored.list_as_transport_keys(tx, connection.id))
        stored.replace_all(tx, connection.id, "awaiting")
        stored.insert_as_transport_key(
            tx,
            connection_id=connection.id,
            state="awaiting",
            public_key_pem=pem,
            sealed_private_key=seal_private_key(keyring, connection.id, private_key),
            created_at=now,
        )
    return pem


def import_wrapped(
    engine: sa.Engine,
    keyring: Keyring,
    now: datetime,
    name: str,
    wrapped_hex: str,
    private_key_pem: bytes | None = None,
    *,
    replace: bool = False,
    force: bool = False,
) -> ImportResult:
    """Import the network's answer: the AS transport key, wrapped for the connection's RSA key.

    The private key is `private_key_pem`, else that of the pair that awaits, else that of the active key.
    Reports that waited for a key are read again, and so are those that a key before surely got wrong;
    `force` trusts the new key over one before that is not known to read anything.

    Raises:
        NotFoundError: there is no such connection, or no private key to unwrap with.
        AsTransportKeyError: it does not unwrap; or it would overwrite another key and `replace` is not given;
            or stored reports speak against it and `force` is not given.
    """
    ciphertext = parse_wrapped_key(wrapped_hex)
    if private_key_pem is not None:
        private_key = parse_private_key(private_key_pem)
    else:
        with read(engine) as tx:
            connection = get_connection(tx, name)
            keys = stored.list_as_transport_keys(tx, connection.id)
        private_key = _expected_private_key(keyring, name, keys)
    key = unwrap_as_transport_key(private_key, ciphertext)
    return _import_key(engine, keyring, now, name, key, private_key, replace=replace, force=force)


def import_clear(
    engine: sa.Engine,
    keyring: Keyring,
    now: datetime,
    name: str,
    key_hex: str,
    *,
    replace: bool = False,
    force: bool = False,
) -> ImportResult:
    """Import an AS transport key that was unwrapped elsewhere: 32 hex digits.

    Raises:
        NotFoundError: there is no such connection.
        IdentifierError: it is not 32 hex digits.
        AsTransportKeyError: as for `import_wrapped`.
    """
    key = parse_aes_key(key_hex)
    return _import_key(engine, keyring, now, name, key, None, replace=replace, force=force)


def show(engine: sa.Engine, name: str) -> list[AsTransportKeyStatus]:
    """Give the keys and pairs of a connection, newest first.

    Raises:
        NotFoundError: there is no such connection.
    """
    with read(engine) as tx:
        keys = stored.list_as_transport_keys(tx, get_connection(tx, name).id)
    return [_status(key) for key in keys]


def refuse_doubtful(judgement: KeyJudgement, *, force: bool) -> None:
    """Return unless stored reports speak against the key and `force` is not given.

    Raises:
        AsTransportKeyError: the judgement, and what can be done.
    """
    if judgement.verdict is Verdict.DOUBTFUL and not force:
        raise AsTransportKeyError(
            f"{judgement.sentence} It was not imported. Compare the public key at the network with"
            " `receiver as-key show`; give --force if the key is right all the same: payloads may be"
            " compressed or encrypted once more, or the devices have not joined since the key was made."
        )


def refuse_overwrite(name: str, active: StoredAsTransportKey) -> AsTransportKeyError:
    """Give the error for a key that would take the place of another one."""
    return AsTransportKeyError(
        f"{name} has an active AS transport key already (key check value {active.key_check_value}). If the"
        " network made a new one, give --replace: the old one is kept for what devices sent under it, and"
        " each device must join again before the new one is in use."
    )


def _import_key(
    engine: sa.Engine,
    keyring: Keyring,
    now: datetime,
    name: str,
    key: AesKey,
    private_key: RSAPrivateKey | None,
    *,
    replace: bool,
    force: bool,
) -> ImportResult:
    with read(engine) as tx:  # the judgement takes longer than a write may hold up the pushes
        comparison = compare_on_stored_reports(tx, keyring, name, key)
    judgement = comparison.judgement
    with write(engine) as tx:
        lock_reading(tx)
        connection_id = get_connection(tx, name).id
        lock_connection(tx, connection_id)
        keys = stored.list_as_transport_keys(tx, connection_id)
        active = next((row for row in keys if row.state == "active"), None)
        is_active_already = active is not None and open_key(keyring, active) == key
        if active is not None and is_active_already:
            if judgement.verdict is Verdict.CONFIRMED:
                stored.set_confirmation(tx, active.id, judgement.verdict)
        else:
            if active is not None and not replace:
                raise refuse_overwrite(name, active)
            refuse_doubtful(judgement, force=force)
            stored.replace_all(tx, connection_id, "active")
            _store_active(tx, keyring, now, connection_id, keys, key, private_key, judgement.verdict)
        reports = read_again_with(tx, connection_id, comparison, force=force)
    return ImportResult(key_check_value(key), judgement.verdict, judgement.sentence, is_active_already, reports)


def _store_active(
    tx: sa.Connection,
    keyring: Keyring,
    now: datetime,
    connection_id: int,
    keys: Sequence[StoredAsTransportKey],
    key: AesKey,
    private_key: RSAPrivateKey | None,
    verdict: Verdict,
) -> None:
    pem = public_key_pem(private_key.public_key()) if private_key else None
    awaiting = next((row for row in keys if row.state == "awaiting" and row.public_key_pem == pem), None)
    sealed_key = seal_key(keyring, connection_id, key)
    if awaiting is not None:
        stored.activate(
            tx,
            awaiting.id,
            sealed_key=sealed_key,
            key_check_value=key_check_value(key),
            confirmation=verdict,
            imported_at=now,
        )
        return
    stored.insert_as_transport_key(
        tx,
        connection_id=connection_id,
        state="active",
        public_key_pem=pem,
        sealed_private_key=seal_private_key(keyring, connection_id, private_key) if private_key else None,
        sealed_key=sealed_key,
        key_check_value=key_check_value(key),
        confirmation=verdict,
        created_at=now,
        imported_at=now,
    )


def _refuse_needless_pair(name: str, keys: Sequence[StoredAsTransportKey]) -> None:
    awaiting = next((key for key in keys if key.state == "awaiting"), None)
    if awaiting is not None:
        raise ConflictError(
            f"A key pair of {name}, made on {awaiting.created_at:%Y-%m-%d}, awaits the network's answer:"
            f" `receiver as-key show {name}` prints its public key. Give --replace to make another pair."
        )
    active = next((key for key in keys if key.state == "active"), None)
    if active is not None:
        raise ConflictError(
            f"{name} has an active AS transport key (key check value {active.key_check_value}). A new pair is"
            " only of use if the network is to make a new key, after which each device must join again;"
            " give --replace if that is what you want."
        )


def _expected_private_key(keyring: Keyring, name: str, keys: Sequence[StoredAsTransportKey]) -> RSAPrivateKey:
    for state in ("awaiting", "active"):
        for key in keys:
            der = open_private_key_der(keyring, key) if key.state == state else None
            if der is not None:
                return load_private_key_der(der)
    raise NotFoundError(
        f"{name} has no RSA key pair to unwrap with. Make one with `receiver as-key new {name}`, give its"
        " public half to the network and import its answer; or give the private key with --private-key."
    )


def _status(row: StoredAsTransportKey) -> AsTransportKeyStatus:
    bits, fingerprint = describe_public_key(row.public_key_pem) if row.public_key_pem else (None, None)
    return AsTransportKeyStatus(
        state=row.state,
        key_check_value=row.key_check_value,
        confirmation=row.confirmation,
        created_at=row.created_at,
        imported_at=row.imported_at,
        rsa_bits=bits,
        public_key_fingerprint=fingerprint,
        public_key_pem=row.public_key_pem,
    )
