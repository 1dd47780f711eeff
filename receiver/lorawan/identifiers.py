"""DevEUI and DevAddr: one spelling each, checked on the way in.

A value of these types is always valid and in upper case; the empty string is an error and never zeros.
Source: LoRaWAN L2 1.0.4, sections 6.1.1.2 (DevEUI, 64 bits) and 6.1.1.1 (DevAddr, 32 bits).
"""

from __future__ import annotations

import re
from typing import NewType

from receiver.errors import IdentifierError

DevEui = NewType("DevEui", str)
"""16 upper-case hex digits, most significant byte first, as printed on the device."""

DevAddr = NewType("DevAddr", str)
"""8 upper-case hex digits, most significant byte first (little-endian only inside a frame)."""

_DEV_EUI = re.compile(r"[0-9A-Fa-f]{16}\Z")
_DEV_ADDR = re.compile(r"[0-9A-Fa-f]{8}\Z")
_OTHER_NAME = re.compile(
    r"(?:DVNUUID:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|IMEI:[0-9]{14,16})\Z", re.IGNORECASE | re.ASCII
)
_SEPARATORS = str.maketrans("", "", "-: ")


def parse_dev_eui(text: str) -> DevEui:
    """Give the DevEUI in `text`, which may be in either case and grouped with `-`, `:` or spaces.

    Raises:
        IdentifierError: it is not 16 hex digits.
    """
    digits = text.translate(_SEPARATORS)
    if not _DEV_EUI.match(digits):
        raise IdentifierError(f"{shorten(text)!r} is not a DevEUI: it must be 16 hexadecimal digits.")
    return DevEui(digits.upper())


def parse_device(text: str) -> DevEui:
    """Give what a device stands under: its DevEUI; or `DVNUUID:` or `IMEI:` and what KPN Things names it by instead.

    Raises:
        IdentifierError: it is neither.
    """
    name = text.strip()
    if _OTHER_NAME.match(name):
        kind, _, rest = name.partition(":")
        return DevEui(f"{kind.upper()}:{rest.lower()}")
    return parse_dev_eui(text)


def parse_dev_addr(text: str) -> DevAddr:
    """Give the DevAddr in `text`, which may be in either case and grouped with `-`, `:` or spaces.

    Raises:
        IdentifierError: it is not 8 hex digits.
    """
    digits = text.translate(_SEPARATORS)
    if not _DEV_ADDR.match(digits):
        raise IdentifierError(f"{shorten(text)!r} is not a DevAddr: it must be 8 hexadecimal digits.")
    return DevAddr(digits.upper())


def shorten(text: str, limit: int = 40) -> str:
    """Give `text` cut to `limit` characters, for a message that must stay one line."""
    return text if len(text) <= limit else text[:limit] + "…"
