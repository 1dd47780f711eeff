"""The only holder of the key-encryption key: seals secrets for the database and opens them again.

AES-256-GCM with a random 96-bit nonce; the purpose (which table, which row) is authenticated with the
ciphertext, so that a sealed value moved to another row does not open.
Sealed form: `0x01 | id of the key-encryption key (4 bytes) | nonce (12) | ciphertext | tag (16)`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from typing import TYPE_CHECKING, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from receiver.errors import KeyringError

if TYPE_CHECKING:
    from pathlib import Path

KEK_BYTES = 32  # AES-256
_NONCE_BYTES = 12  # NIST SP 800-38D section 8.2.2, random nonces of 96 bits
_ID_BYTES = 4
_VERSION = b"\x01"


@final
class Keyring:
    """Seals and opens secrets under one key-encryption key. Shows the key's id, never the key."""

    __slots__ = ("_aead", "kek_id")

    def __init__(self, kek: bytes) -> None:
        if len(kek) != KEK_BYTES:
            raise KeyringError(f"A key-encryption key has {KEK_BYTES} bytes, this one has {len(kek)}.")
        self._aead = AESGCM(kek)
        self.kek_id = hashlib.sha256(b"receiver kek id" + kek).digest()[:_ID_BYTES]

    def __repr__(self) -> str:
        return f"Keyring(kek_id={self.kek_id.hex()})"

    def seal(self, secret: bytes, purpose: str) -> bytes:
        """Give `secret` sealed for `purpose`; two seals of one secret differ."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        header = _VERSION + self.kek_id
        return header + nonce + self._aead.encrypt(nonce, secret, header + purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Give the secret that `seal` sealed for this same `purpose`.

        Raises:
            KeyringError: it was sealed with another key-encryption key, for another purpose, or was changed.
        """
        start = len(_VERSION) + _ID_BYTES
        header, nonce, body = (
            sealed[:start],
            sealed[start : start + _NONCE_BYTES],
            sealed[start + _NONCE_BYTES :],
        )
        if header[:1] != _VERSION or len(nonce) != _NONCE_BYTES:
            raise KeyringError("A secret in the database is not in a form that this version can open.")
        if header[1:] != self.kek_id:
            raise KeyringError(
                f"A secret was sealed with key-encryption key {header[1:].hex()}, but this process has"
                f" {self.kek_id.hex()}. Give the right one with RECEIVER_KEK_FILE (or RECEIVER_KEK), or the"
                " data directory that goes with this database with RECEIVER_DATA_DIR."
            )
        try:
            return self._aead.decrypt(nonce, body, header + purpose.encode())
        except InvalidTag as exc:
            raise KeyringError(
                "A secret in the database was changed, or was copied from another row: it does not open."
            ) from exc


def parse_kek(text: str) -> bytes:
    """Give the 32 bytes in `text`: 64 hex digits or base64.

    Raises:
        KeyringError: it is neither. The message never holds the text.
    """
    stripped = text.strip()
    for decode in (binascii.unhexlify, _from_base64):
        try:
            kek = decode(stripped)
        except ValueError:
            continue
        if len(kek) == KEK_BYTES:
            return kek
    raise KeyringError(
        "A key-encryption key must be 32 bytes, written as 64 hexadecimal digits or as base64"
        " (`openssl rand -hex 32` makes one)."
    )


def load_or_create_kek(path: Path) -> bytes:
    """Give the key-encryption key in the file at `path`; where there is none, make one, readable by its owner only.

    Two processes that start at once end with the same key: the file is created whole or not at all.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEK_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails if another process was first, and then its key is the one
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return load_kek(path)


def load_kek(path: Path) -> bytes:
    """Give the key-encryption key in the file at `path`.

    Raises:
        KeyringError: there is no such file, or it does not hold a key.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise KeyringError(
            f"The key-encryption key file {path} cannot be read: {getattr(exc, 'strerror', None) or 'not text'}."
        ) from exc
    return parse_kek(text)


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
