"""FRMPayload encryption: the key stream that AppSKey, DevAddr, direction and the full 32-bit FCnt make.

Source: LoRaWAN L2 1.0.4 section 4.3.3. Encrypting and decrypting are the same XOR.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from receiver.errors import IdentifierError
from receiver.lorawan.frame_counter import F_CNT_MAX

if TYPE_CHECKING:
    from receiver.lorawan.identifiers import DevAddr
    from receiver.lorawan.keys import AesKey

BLOCK_BYTES = 16
MAX_FRM_PAYLOAD_BYTES = 255 * BLOCK_BYTES
"""The block index is one byte and counts from 1 (section 4.3.3); no data rate carries nearly as much."""


class Direction(IntEnum):
    """The `Dir` byte of the key stream block."""

    UP = 0
    DOWN = 1


@lru_cache(maxsize=4096)  # a new AES context costs fifteen times a block; 4,096 sessions hold about 2 MB
def _encryptor(key: AesKey) -> CipherContext:
    return Cipher(algorithms.AES(key.reveal()), modes.ECB()).encryptor()  # noqa: S305 - a key stream, block by block


def decrypt_frm_payload(
    app_s_key: AesKey, dev_addr: DevAddr, f_cnt: int, payload: bytes, direction: Direction = Direction.UP
) -> bytes:
    """Give the clear bytes of `payload`; of the same length, and the empty payload stays empty.

    There is no integrity check in this cipher: a wrong key gives wrong bytes and no error.

    Args:
        app_s_key: the session's clear AppSKey.
        dev_addr: 8 hex digits, most significant byte first.
        f_cnt: the full 32-bit counter, FCntUp for uplinks.
        payload: at most `MAX_FRM_PAYLOAD_BYTES`.
        direction: `UP` for uplinks.

    Raises:
        IdentifierError: the counter or the payload is out of range.
    """
    size = len(payload)
    if not size:
        return b""
    if not 0 <= f_cnt <= F_CNT_MAX:
        raise IdentifierError(f"A frame counter is 0 to {F_CNT_MAX}, not {f_cnt}.")
    if size > MAX_FRM_PAYLOAD_BYTES:
        raise IdentifierError(f"A FRMPayload of {size} bytes is longer than the cipher's {MAX_FRM_PAYLOAD_BYTES}.")
    head = struct.pack("<BIBII", 1, 0, direction, int(dev_addr, 16), f_cnt) + b"\x00"
    count = -(-size // BLOCK_BYTES)
    blocks = b"".join([head + bytes((index,)) for index in range(1, count + 1)])
    stream = _encryptor(app_s_key).update(blocks)[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def encrypt_frm_payload(
    app_s_key: AesKey, dev_addr: DevAddr, f_cnt: int, payload: bytes, direction: Direction = Direction.DOWN
) -> bytes:
    """Give the encrypted bytes of `payload`: the same operation as decrypting, named for what it is for."""
    return decrypt_frm_payload(app_s_key, dev_addr, f_cnt, payload, direction)
