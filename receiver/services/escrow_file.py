"""The escrow file: JSON with a header in the clear and keys that only a passphrase opens.

The keys are under AES-256-GCM with the header authenticated; the key for that is made by scrypt (RFC 7914).
"""

from __future__ import annotations

import base64
import json
import secrets
import unicodedata
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from receiver.errors import AsTransportKeyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MIN_PASSPHRASE_CHARACTERS = 12
"""scrypt slows a guesser down by a factor; it does not save a short passphrase."""
MAX_ESCROW_BYTES = 1_048_576
"""A connection with a hundred replaced keys makes a file of 300 kB."""

_FORMAT = "lora-receiver escrow"
_VERSION = 1
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**17, 8, 1  # OWASP's first choice: 128 MiB and under a second
_MAX_SCRYPT_N = 2**20  # a file from elsewhere must not ask for more than 1 GiB
_KEY_BYTES, _SALT_BYTES, _NONCE_BYTES = 32, 16, 12


def check_passphrase(passphrase: str) -> str:
    """Give the passphrase if it is long enough.

    Raises:
        AsTransportKeyError: it has fewer than 12 characters.
    """
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise AsTransportKeyError(
            f"A passphrase of {len(passphrase)} characters is too short for a file that opens every payload:"
            f" use at least {MIN_PASSPHRASE_CHARACTERS}, several words for instance."
        )
    return passphrase


def seal_escrow(content: Mapping[str, Any], passphrase: str, name: str, now: datetime) -> bytes:
    """Give `content` as an escrow file that `passphrase` opens."""
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "connection": name,
        "created_at": now.isoformat(),
        "restore_with": f"receiver as-key import {name} --escrow FILE",
        "kdf": {"name": "scrypt", "n": _SCRYPT_N, "r": _SCRYPT_R, "p": _SCRYPT_P, "salt": to_base64(salt)},
        "cipher": {"name": "AES-256-GCM", "nonce": to_base64(nonce)},
    }
    key = _derive(passphrase, salt, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P)
    sealed = AESGCM(key).encrypt(nonce, _canonical(content), _canonical(header))
    return json.dumps({**header, "sealed": to_base64(sealed)}, indent=2).encode() + b"\n"


def open_escrow(data: bytes, passphrase: str) -> dict[str, Any]:
    """Give the content of an escrow file.

    Raises:
        AsTransportKeyError: it is no escrow file, is of a newer form, or does not open with this passphrase.
    """
    try:
        file = json.loads(data)
        form, version, kdf, cipher = file["format"], file["version"], file["kdf"], file["cipher"]
        sealed, salt, nonce = (
            from_base64(file.pop("sealed")),
            from_base64(kdf["salt"]),
            from_base64(cipher["nonce"]),
        )
        n, r, p = int(kdf["n"]), int(kdf["r"]), int(kdf["p"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise AsTransportKeyError(
            "The file is not an escrow file of a receiver: `receiver as-key escrow` writes one."
        ) from exc
    names = (form, version, kdf.get("name"), cipher.get("name"))
    if names != (_FORMAT, _VERSION, "scrypt", "AES-256-GCM"):
        raise AsTransportKeyError("The escrow file is of a form that this version does not know.")
    if not 2**10 <= n <= _MAX_SCRYPT_N or n & (n - 1) or (r, p) != (_SCRYPT_R, _SCRYPT_P):
        raise AsTransportKeyError("The escrow file asks for scrypt with parameters outside of the bounds.")
    try:
        clear = AESGCM(_derive(passphrase, salt, n, r, p)).decrypt(nonce, sealed, _canonical(file))
        content: dict[str, Any] = json.loads(clear)
    except (InvalidTag, ValueError) as exc:
        raise AsTransportKeyError(
            "The escrow file does not open: it was written with another passphrase, or it was changed."
        ) from exc
    return content


def _derive(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # Two keyboards may spell one passphrase in two ways; NFKC makes them one (RFC 8265 section 4.2).
    text = unicodedata.normalize("NFKC", passphrase).encode()
    return Scrypt(salt=salt, length=_KEY_BYTES, n=n, r=r, p=p).derive(text)


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def to_base64(value: bytes) -> str:
    """Give bytes as the file writes them."""
    return base64.b64encode(value).decode("ascii")


def from_base64(text: str) -> bytes:
    """Give the bytes of base64 text; a ValueError if it is none."""
    return base64.b64decode(text, validate=True)
