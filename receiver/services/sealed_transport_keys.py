"""AS transport keys and RSA private keys as they stand in the database: sealed, each for its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.lorawan.keys import AesKey
from receiver.storage.as_transport_keys import list_as_transport_keys
from receiver.thingpark.rsa_key import private_key_der

if TYPE_CHECKING:
    import sqlalchemy as sa
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from receiver.keyring import Keyring
    from receiver.storage.as_transport_keys import StoredAsTransportKey


def load_as_transport_keys(tx: sa.Connection, keyring: Keyring, connection_id: int) -> list[tuple[int, AesKey]]:
    """Give (row id, key) for each key that unwraps AppSKeys: the active one first, then newest first.

    Raises:
        KeyringError: a key does not open.
    """
    keys = [key for key in list_as_transport_keys(tx, connection_id) if key.sealed_key is not None]
    keys.sort(key=lambda key: key.state != "active")  # stable, so that the rest stay newest first
    return [(key.id, open_key(keyring, key)) for key in keys]


def seal_key(keyring: Keyring, connection_id: int, key: AesKey) -> bytes:
    """Give the AS transport key sealed for its connection."""
    return keyring.seal(key.reveal(), f"as_transport_key:{connection_id}")


def open_key(keyring: Keyring, row: StoredAsTransportKey) -> AesKey:
    """Give the AS transport key of a row that has one.

    Raises:
        KeyringError: it does not open.
    """
    return AesKey(keyring.open(row.sealed_key or b"", f"as_transport_key:{row.connection_id}"))


def seal_private_key(keyring: Keyring, connection_id: int, private_key: RSAPrivateKey) -> bytes:
    """Give the private key sealed for its connection, as PKCS#8 DER."""
    return keyring.seal(private_key_der(private_key), f"as_private_key:{connection_id}")


def open_private_key_der(keyring: Keyring, row: StoredAsTransportKey) -> bytes | None:
    """Give the private key of a row as PKCS#8 DER; None for a key that came without.

    Raises:
        KeyringError: it does not open.
    """
    if row.sealed_private_key is None:
        return None
    return keyring.open(row.sealed_private_key, f"as_private_key:{row.connection_id}")
