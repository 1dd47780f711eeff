"""Reads the part of CBOR that SenML needs, strictly, and nothing of it twice.

Read are whole numbers of 64 bits, floats of 16, 32 and 64 bits, text, bytes, `true`, `false`, `null`, arrays and maps
of definite and indefinite length, and decimal fractions (tag 4). Refused are bignums and all other tags, other simple
values, text and bytes in chunks, keys that are neither whole numbers nor text, a key that stands twice, numbers that
are not finite, and bytes behind the item. A number may stand in more bytes than it needs: small devices do that.
Source: RFC 8949 sections 3 and 3.4.4; RFC 8428 section 6 for what SenML uses of it.
"""

from __future__ import annotations

import math
import struct
from typing import TypeAlias

CborValue: TypeAlias = "bool | int | float | str | bytes | list[CborValue] | dict[int | str, CborValue] | None"
"""What an item can be here."""

MAX_BYTES = 65_536
"""A LoRaWAN frame holds 242 bytes; what a gateway or a cellular device gathers stays far below this."""

MAX_DEPTH = 8
"""A pack is three deep: the array, its records, and a decimal fraction in one. More is for labels not known here."""

_MAX_EXPONENT = 400  # of a decimal fraction: beyond it nothing is a finite double but zero

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INDEFINITE = 31
_BREAK = 0xFF
_DECIMAL_FRACTION = 4
_ARGUMENT_BYTES = {24: 1, 25: 2, 26: 4, 27: 8}
_SIMPLE_VALUES = {20: False, 21: True, 22: None}
_FLOATS = {25: (">e", 2, (3, 4, 5)), 26: (">f", 4, (6, 7, 8, 9)), 27: (">d", 8, ())}
"""Of each float: its form, its bytes, and how many digits may do to tell it from its neighbours."""


class CborError(ValueError):
    """The bytes are no CBOR, or hold what is refused here. It never leaves `kpn_things`."""


def parse_cbor(body: bytes) -> CborValue:
    """Give the one item that the bytes are.

    A float of 16 or 32 bits that is no whole number becomes the shortest decimal that these bits stand for: the sensor
    that measured 23.76 and sent 32 bits is read as 23.76, not as 23.760000228881836.

    Raises:
        CborError: they are no CBOR, or hold something refused; with a sentence that names the offset.
    """
    if len(body) > MAX_BYTES:
        raise CborError(f"{len(body):,} bytes of CBOR are more than {MAX_BYTES:,}")
    reader = _Reader(body)
    value = reader.item(MAX_DEPTH)
    if reader.offset != len(body):
        raise CborError(f"after the CBOR item, at offset {reader.offset}, {len(body) - reader.offset} bytes follow")
    return value


class _Reader:
    """Bytes and how far they were read."""

    __slots__ = ("_body", "offset")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.offset = 0

    def item(self, room: int) -> CborValue:
        """Read one item, that may hold others `room` deep."""
        start = self.offset
        major, info = divmod(self._take(1)[0], 32)
        if major == _SIMPLE:
            return self._simple(info, start)
        if info == _INDEFINITE:
            if major in {_ARRAY, _MAP}:
                return self._container(major, None, room, start)
            raise CborError(f"at offset {start} an indefinite length stands where none is read")
        number = self._argument(info, start)
        if major == _UNSIGNED:
            return number
        if major == _NEGATIVE:
            return -1 - number
        if major == _BYTES:
            return self._take(number)
        if major == _TEXT:
            return self._text(number, start)
        if major == _TAG:
            return self._tagged(number, room, start)
        return self._container(major, number, room, start)

    def _take(self, length: int) -> bytes:
        end = self.offset + length
        if end > len(self._body):
            raise CborError(
                f"at offset {self.offset} {length} bytes are expected, {len(self._body) - self.offset} left"
            )
        taken = self._body[self.offset : end]
        self.offset = end
        return taken

    def _argument(self, info: int, start: int) -> int:
        if info < 24:
            return info
        length = _ARGUMENT_BYTES.get(info)
        if length is None:
            raise CborError(f"at offset {start} a length of the reserved form {info} stands")
        return int.from_bytes(self._take(length), "big")

    def _text(self, length: int, start: int) -> str:
        try:
            return self._take(length).decode()
        except UnicodeDecodeError as exc:
            raise CborError(f"the text at offset {start} is not UTF-8") from exc

    def _simple(self, info: int, start: int) -> CborValue:
        if info in _SIMPLE_VALUES:
            return _SIMPLE_VALUES[info]
        if info not in _FLOATS:
            raise CborError(f"at offset {start} the simple value {info} stands, which is not read")
        form, length, digits = _FLOATS[info]
        (exact,) = struct.unpack(form, self._take(length))
        if not math.isfinite(exact):
            raise CborError(f"the number at offset {start} is not finite")
        return _shortest(exact, form, digits)

    def _tagged(self, tag: int, room: int, start: int) -> float:
        if tag != _DECIMAL_FRACTION:
            raise CborError(f"at offset {start} the tag {tag} stands, which is not read")
        if room == 0:
            raise CborError(f"the item at offset {start} lies deeper than {MAX_DEPTH}")
        match self.item(room - 1):
            case [int(exponent), int(mantissa)] if not isinstance(exponent, bool) and not isinstance(mantissa, bool):
                if not -_MAX_EXPONENT <= exponent <= _MAX_EXPONENT:
                    raise CborError(f"the decimal fraction at offset {start} has the exponent {exponent}")
                number = float(f"{mantissa}e{exponent}")
                if math.isinf(number):
                    raise CborError(f"the number at offset {start} is not finite")
                return number
        raise CborError(f"the decimal fraction at offset {start} is not two whole numbers")

    def _container(self, major: int, length: int | None, room: int, start: int) -> CborValue:
        if room == 0:
            raise CborError(f"the item at offset {start} lies deeper than {MAX_DEPTH}")
        if length is not None and length > len(self._body) - self.offset:  # each item has a byte at least
            raise CborError(f"the array or map at offset {start} says it has {length} items, more than bytes are left")
        return self._array(length, room) if major == _ARRAY else self._map(length, room)

    def _ends(self, read: int, length: int | None) -> bool:
        if length is not None:
            return read == length
        if self._body[self.offset : self.offset + 1] != bytes([_BREAK]):
            return False
        self.offset += 1
        return True

    def _array(self, length: int | None, room: int) -> list[CborValue]:
        items: list[CborValue] = []
        while not self._ends(len(items), length):
            items.append(self.item(room - 1))
        return items

    def _map(self, length: int | None, room: int) -> dict[int | str, CborValue]:
        members: dict[int | str, CborValue] = {}
        while not self._ends(len(members), length):
            start = self.offset
            key = self.item(0)
            if not isinstance(key, (int, str)) or isinstance(key, bool):
                raise CborError(f"the key at offset {start} is neither a whole number nor text")
            if key in members:
                raise CborError(f"the key at offset {start} stands twice in its map")
            members[key] = self.item(room - 1)
        return members


def _shortest(exact: float, form: str, digits: tuple[int, ...]) -> float:
    """Give the decimal of fewest digits that becomes these bits; a whole number stays what it is."""
    if exact.is_integer():
        return exact
    for count in digits:
        rounded = float(f"{exact:.{count}g}")
        try:
            if struct.unpack(form, struct.pack(form, rounded))[0] == exact:
                return rounded
        except OverflowError:  # it was rounded up, out of what the form can hold
            continue
    return exact
