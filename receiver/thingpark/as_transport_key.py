"""The AS transport key: out of its RSA wrapping, and the AppSKeys that are wrapped under it.

The owner of an application server gives the network an RSA public key; the network answers, once, with
the AS transport key encrypted under it. From then on each AppSKey in a report is one AES-128 block under
that key. Nothing in either wrapping says that a key is wrong: `key_judgement` tells it from stored frames.
Source: ThingPark tunnel interface, HSM key delivery; `openssl rsautl -decrypt`, as the HSM guides use it,
is PKCS#1 v1.5 (RFC 8017 section 7.2).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from receiver.errors import AsTransportKeyError
from receiver.lorawan.keys import AES_KEY_BYTES, AesKey, parse_aes_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z")
_HEX_32 = re.compile(rb"[0-9A-Fa-f]{32}\Z")
_PASTED = re.compile(r"\s|:|0[xX]")  # as terminals, editors and certificate tools print hex


def parse_wrapped_key(text: str) -> bytes:
    """Give the bytes of an RSA-wrapped key as pasted; white space, colons and `0x` do not matter.

    Raises:
        AsTransportKeyError: it is empty, of odd length, or has other characters than hex digits.
    """
    digits = _PASTED.sub("", text)
    if not digits:
        raise AsTransportKeyError("The wrapped key is empty: give the hexadecimal text that the portal showed.")
    if not _HEX.match(digits + "0" * (len(digits) % 2)):
        raise AsTransportKeyError(
            "The wrapped key has characters that are not hexadecimal: copy only the hexadecimal text that the"
            " portal showed (rsaEncryptedASKey in the API's answer), without quotes."
        )
    if len(digits) % 2:
        raise AsTransportKeyError(
            f"The wrapped key has {len(digits)} hexadecimal digits, an odd number: it was not copied whole."
        )
    return bytes.fromhex(digits)


def unwrap_as_transport_key(private_key: RSAPrivateKey, ciphertext: bytes) -> AesKey:
    """Give the AS transport key in `ciphertext`, encrypted with PKCS#1 v1.5 for `private_key`.

    The plaintext may be 16 raw bytes or 32 hex digits (with white space around them): the guides disagree.
    OpenSSL answers a wrong private key with random bytes of random length instead of an error (implicit
    rejection), so about one wrong key in 200 passes the length check: judge the key on stored frames too.

    Raises:
        AsTransportKeyError: the ciphertext is not as long as the modulus, or what it holds is no AES-128
            key. The message names lengths and never a value.
    """
    modulus_bytes = (private_key.key_size + 7) // 8
    if len(ciphertext) != modulus_bytes:
        raise AsTransportKeyError(
            f"The wrapped key has {len(ciphertext)} bytes, but one made for this RSA key of"
            f" {private_key.key_size} bits has {modulus_bytes} ({2 * modulus_bytes} hexadecimal digits)."
            " Either it was not copied whole, or the network used another public key."
        )
    try:
        plaintext = private_key.decrypt(ciphertext, padding.PKCS1v15())
    except ValueError as exc:  # the number is not below the modulus; or an OpenSSL without implicit rejection
        raise AsTransportKeyError(
            "The wrapped key does not decrypt with this private key: the network used another public key."
            " Compare the one at the portal with `receiver as-key show`."
        ) from exc
    if len(plaintext) == AES_KEY_BYTES:
        return AesKey(plaintext)
    digits = b"".join(plaintext.split())
    if _HEX_32.match(digits):
        return AesKey(bytes.fromhex(digits.decode("ascii")))
    raise AsTransportKeyError(
        f"The wrapped key decrypts to {len(plaintext)} bytes that are no key; it must be 16 bytes or 32"
        " hexadecimal digits. Most likely the network wrapped it for another public key: compare the one at"
        " the portal with `receiver as-key show`."
    )


def unwrap_app_s_key(as_transport_key: AesKey, field: str) -> AesKey:
    """Give the clear AppSKey of `field`: 32 hex digits, one AES-128 block, no padding.

    Any key gives some AppSKey; a wrong one shows only in what it decrypts.

    Raises:
        IdentifierError: `field` is not 32 hex digits.
    """
    block = parse_aes_key(field).reveal()
    decryptor = Cipher(algorithms.AES(as_transport_key.reveal()), modes.ECB()).decryptor()  # noqa: S305 - one block
    return AesKey(decryptor.update(block))


def wrap_app_s_key(as_transport_key: AesKey, app_s_key: AesKey) -> str:
    """Give the AppSKey as a network writes it in a report: 32 lower-case hex digits."""
    encryptor = Cipher(algorithms.AES(as_transport_key.reveal()), modes.ECB()).encryptor()  # noqa: S305 - one block
    return encryptor.update(app_s_key.reveal()).hex()
