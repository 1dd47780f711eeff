"""The portal's side of the HSM set-up: it makes an AS transport key and shows it wrapped for an RSA key.

Source: ThingPark HSM guide; KPN LoRa Device Management API 1.2 (`rsaPublicKey`, `rsaEncryptedASKey`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from receiver.lorawan.keys import AesKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


class SimulatedPortal:
    """Holds one AS transport key, as the network's HSM does, and shows it to the owner of an RSA key."""

    def __init__(self, key: bytes) -> None:
        self.as_transport_key = AesKey(key)

    def wrap_for(self, public_key_pem: str, *, as_hex_text: bool = False) -> str:
        """Give the hex that the portal shows: RSA PKCS#1 v1.5 over the 16 bytes, or over their 32 hex digits."""
        public_key = cast("RSAPublicKey", load_pem_public_key(public_key_pem.encode()))
        plain = self.as_transport_key.reveal()
        return public_key.encrypt(plain.hex().encode() if as_hex_text else plain, PKCS1v15()).hex()
