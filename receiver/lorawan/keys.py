"""AES-128 keys that never print themselves, and their key check values."""

from __future__ import annotations

import hmac
import re
from typing import final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from receiver.errors import IdentifierError

AES_KEY_BYTES = 16  # LoRaWAN L2 1.0.4 section 6.1.1.3: all session keys are AES-128

_HEX_32 = re.compile(r"[0-9A-Fa-f]{32}\Z")
_SEPARATORS = str.maketrans("", "", "-: \t\r\n")


@final
class AesKey:
    """An AES-128 key. Its `repr` is redacted, it has no `str`; `reveal()` gives the 16 bytes."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != AES_KEY_BYTES:
            raise IdentifierError(f"An AES-128 key has 16 bytes, this one has {len(key)}.")
        self._key = bytes(key)

    def reveal(self) -> bytes:
        """Give the 16 key bytes. Every use of them can be found by this name."""
        return self._key

    def __repr__(self) -> str:
        return "AesKey(…)"

    __str__ = None  # type: ignore[assignment]

    def __format__(self, spec: str) -> str:
        return "AesKey(…)"

    def __reduce__(self) -> str:
        raise TypeError("A key is not pickled; seal it with the keyring instead.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AesKey) and hmac.compare_digest(self._key, other._key)

    def __hash__(self) -> int:
        return hash(self._key)


def parse_aes_key(text: str) -> AesKey:
    """Give the AES-128 key in `text`: 32 hex digits in either case, grouped with `-`, `:` or spaces or not.

    Raises:
        IdentifierError: it is not 32 hex digits. The message names the length and never the value.
    """
    digits = text.translate(_SEPARATORS)
    if not _HEX_32.match(digits):
        raise IdentifierError(
            f"A key must be 32 hexadecimal digits; this text has {len(digits)} characters"
            f"{'' if len(digits) != 32 else ', of which some are not hexadecimal'}."
        )
    return AesKey(bytes.fromhex(digits))


def key_check_value(key: AesKey) -> str:
    """Give the key check value: the first 3 bytes of the encrypted zero block, as 6 upper-case hex digits.

    It lets two people compare a key without showing it. Source: GlobalPlatform Card Specification 2.3.1,
    section B.6 (AES key check values use a block of ones there); the zero block is ANSI X9.24-1's form,
    which `openssl enc -aes-128-ecb -nopad` over 16 zero bytes reproduces.
    """
    encryptor = Cipher(algorithms.AES(key.reveal()), modes.ECB()).encryptor()  # noqa: S305 - one block
    return encryptor.update(bytes(16))[:3].hex().upper()
