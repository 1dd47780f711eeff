"""The RSA key of an application server, in the forms that networks, files and this database hold it.

The network gets the public half and wraps the AS transport key for it; who has the private half reads all.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from receiver.errors import AsTransportKeyError

RSA_BITS = (1024, 2048)
"""KPN's interface shows a key of 2,048 bits; the older ThingPark HSM guide makes one of 1,024."""
PUBLIC_EXPONENT = 65537  # FIPS 186-5 appendix A.1.1; openssl's default

_FINGERPRINT_DIGITS = 16


def public_key_pem(public_key: RSAPublicKey) -> str:
    """Give the public key as PEM SubjectPublicKeyInfo, which `openssl rsa -pubout` writes too."""
    return public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(
        "ascii"
    )


def one_line(pem: str) -> str:
    """Give a PEM without its line breaks: how KPN's interface writes rsaPublicKey."""
    return "".join(pem.splitlines())


def describe_public_key(pem: str) -> tuple[int, str]:
    """Give the size in bits and the fingerprint of a public key.

    The fingerprint is the first 16 hex digits of SHA-256 over the DER SubjectPublicKeyInfo, which
    `openssl pkey -pubin -outform DER | openssl dgst -sha256` reproduces.

    Raises:
        AsTransportKeyError: it is not an RSA public key.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise AsTransportKeyError("A public key is not PEM that this version can read.") from exc
    if not isinstance(key, RSAPublicKey):
        raise AsTransportKeyError("A public key is not an RSA key.")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.key_size, hashlib.sha256(der).hexdigest()[:_FINGERPRINT_DIGITS]


def parse_private_key(pem: bytes) -> RSAPrivateKey:
    """Give the RSA private key in a PEM file, PKCS#8 or PKCS#1, without a passphrase.

    Raises:
        AsTransportKeyError: it is none. The message never holds what was read.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as exc:
        raise AsTransportKeyError(
            "The private key is protected by a passphrase: give a copy without it, as"
            " `openssl pkey -in KEY -out COPY` writes."
        ) from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise AsTransportKeyError(
            "The private key cannot be read: it must be an RSA private key as PEM, which begins with"
            " -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----."
        ) from exc
    if not isinstance(key, RSAPrivateKey):
        raise AsTransportKeyError("The private key is not an RSA key: the network wraps for RSA only.")
    return key


def private_key_der(private_key: RSAPrivateKey) -> bytes:
    """Give the private key as PKCS#8 DER, in the clear: seal it before it goes anywhere."""
    return private_key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_private_key_der(der: bytes) -> RSAPrivateKey:
    """Give the RSA private key that `private_key_der` wrote.

    Raises:
        AsTransportKeyError: it is none.
    """
    try:
        key = serialization.load_der_private_key(der, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as exc:
        raise AsTransportKeyError("A kept private key is not one that this version can read.") from exc
    if not isinstance(key, RSAPrivateKey):
        raise AsTransportKeyError("A kept private key is not an RSA key.")
    return key
