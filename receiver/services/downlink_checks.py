"""What is asked of a downlink, checked before anything is looked up; each refusal names the field that is wrong.

Pure: `now` is given, and nothing is read. What a data rate carries is LoRaWAN's; what the network takes is ThingPark's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from receiver.errors import ReceiverError
from receiver.lorawan.identifiers import shorten
from receiver.thingpark.downlink import MAX_PAYLOAD_BYTES

if TYPE_CHECKING:
    from typing import Any

    from receiver.lorawan.identifiers import DevEui
    from receiver.storage.downlinks import LastDataRate

When: TypeAlias = datetime | timedelta
"""An aware moment, or a span from now."""

F_PORT_MAX = 223
"""0 is for MAC commands, 224 for certification, above is reserved. Source: LoRaWAN L2 1.0.4, section 4.3.2."""

PRIORITY_MAX = 100
"""Either way. A choice: room for more steps than anybody has use for."""

REFERENCE_MAX = 128
"""Characters of a caller's reference, and of an Idempotency-Key: three UUIDs."""

SLOWEST_CARRIES = 51
"""Bytes of payload at SF12, which RX2 often has whatever the uplink's data rate."""

MOST_BYTES_BY_SF = {12: 51, 11: 51, 10: 51, 9: 115, 8: 222, 7: 222}
"""Bytes of payload by spreading factor at 125 kHz in EU868, no repeater, no MAC commands beside it.

Source: LoRaWAN Regional Parameters RP002-1.0.3, EU863-870, maximum payload size (N).
"""

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*\Z")
_SEPARATORS = str.maketrans("", "", "-: ")
_SPAN = re.compile(r"(\d{1,6})(s|m|min|h|d|w)\Z", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_KEY = re.compile(rf"[\x20-\x7e]{{1,{REFERENCE_MAX}}}\Z")


class DownlinkRefusedError(ReceiverError):
    """What was asked for cannot be a downlink. `field` is the member of the API's body that is wrong, or a header.

    `by_state`: it is in order as such, and how things stand here forbids it.
    """

    code = "downlink-refused"

    def __init__(self, field: str, sentence: str, *, by_state: bool = False) -> None:
        super().__init__(sentence)
        self.field = field
        self.by_state = by_state


@dataclass(frozen=True, slots=True, repr=False)
class DownlinkWish:
    """What a caller asks for: a payload or an object for a codec, or with `flush` neither.

    `flush` empties the network's queue for the device first, `replace` takes back what is queued for it here.
    """

    dev_eui: DevEui
    f_port: int | None = None
    payload: bytes | None = None
    object: dict[str, Any] | None = None
    connection: str | None = None
    confirmed: bool = False
    flush: bool = False
    replace: bool = False
    priority: int = 0
    not_before: When | None = None
    expires_at: When | None = None
    reference: str | None = None

    def __repr__(self) -> str:
        return f"DownlinkWish({self.dev_eui}, f_port={self.f_port})"


def parse_payload(payload_hex: str | None, payload_base64: str | None) -> bytes | None:
    """Give the bytes of a payload in hex, in either case and grouped with `-`, `:` or spaces, or in base64.

    Raises:
        DownlinkRefusedError: it is not of its form, or both are given.
    """
    if payload_hex is not None and payload_base64 is not None:
        raise DownlinkRefusedError("payload_base64", "The payload stands there in hex and in base64; give one of them.")
    if payload_hex is not None:
        digits = payload_hex.translate(_SEPARATORS)
        if not _HEX.match(digits):
            told = f"{len(digits)} characters" if len(digits) % 2 else "a character that is no hexadecimal digit"
            raise DownlinkRefusedError(
                "payload_hex", f"The payload in hex has {told}; it must be two hexadecimal digits for each byte."
            )
        return bytes.fromhex(digits)
    if payload_base64 is None:
        return None
    try:
        return base64.b64decode(payload_base64.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise DownlinkRefusedError(
            "payload_base64", "The payload is not base64; it must be of the standard alphabet, padded with `=`."
        ) from exc


def parse_when(field: str, text: str) -> When:
    """Give the moment that `text` names (ISO 8601, without an offset in UTC), or the span: `90s`, `10m`, `2h`, `7d`.

    Raises:
        DownlinkRefusedError: it is neither.
    """
    span = _SPAN.match(text.strip())
    if span is not None:
        return timedelta(seconds=int(span[1]) * _UNITS_S[span[2]])
    try:
        at = datetime.fromisoformat(text.strip())
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise DownlinkRefusedError(
            field,
            f"{field} is {shorten(text)!r}; it must be ISO 8601 like 2026-11-21T08:30:00Z, or a span from now like"
            " 90s, 10m, 2h, 7d.",
        ) from exc


def check_wish(wish: DownlinkWish) -> None:
    """Refuse what is wrong whatever the time and whatever is known here.

    Raises:
        DownlinkRefusedError: naming the field.
    """
    _check_content(wish)
    if not -PRIORITY_MAX <= wish.priority <= PRIORITY_MAX:
        raise DownlinkRefusedError(
            "priority", f"The priority must be from -{PRIORITY_MAX} to {PRIORITY_MAX}; greater goes first."
        )
    for name in ("reference", "connection"):
        text = getattr(wish, name)  # of a terminal it may have what is no character, and no database takes that
        if text is not None and not (1 <= len(text) <= REFERENCE_MAX and text.isprintable()):
            raise DownlinkRefusedError(name, f"The {name} must be 1 to {REFERENCE_MAX} printable characters.")


def _check_content(wish: DownlinkWish) -> None:
    given = [name for name in ("payload", "object") if getattr(wish, name) is not None]
    if len(given) > 1:
        raise DownlinkRefusedError("object", "A payload and an object are both there; give one of them.")
    if not given:
        if not wish.flush:
            raise DownlinkRefusedError(
                "payload_hex", "There is nothing to send: give a payload in hex or base64, or an object, or flush."
            )
        for name, value in (("f_port", wish.f_port is not None), ("confirmed", wish.confirmed)):
            if value:
                raise DownlinkRefusedError(name, f"{name} is for a payload, and none is there; give one, or leave it.")
    if wish.f_port is not None:
        check_f_port(wish.f_port)
    if wish.payload is not None:
        if wish.f_port is None:
            raise DownlinkRefusedError("f_port", f"A payload needs an FPort; it must be from 1 to {F_PORT_MAX}.")
        check_payload("payload_hex", wish.payload)


def check_f_port(f_port: int) -> None:
    """Refuse a port that is not for applications.

    Raises:
        DownlinkRefusedError: naming `f_port`.
    """
    if 1 <= f_port <= F_PORT_MAX:
        return
    why = {0: "0 is for MAC commands", 224: "224 is for certification tests"}.get(f_port, "this is none of them")
    raise DownlinkRefusedError("f_port", f"The FPort must be from 1 to {F_PORT_MAX}: {why}.")


def check_payload(field: str, payload: bytes) -> None:
    """Refuse a payload that the network takes in no case.

    Raises:
        DownlinkRefusedError: naming `field`.
    """
    if not payload:
        raise DownlinkRefusedError(field, "The payload is empty, which the network does not take; give a byte or more.")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise DownlinkRefusedError(
            field, f"The payload has {len(payload)} bytes; it must be {MAX_PAYLOAD_BYTES} at most."
        )


def check_times(wish: DownlinkWish, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Give from when and until when a downlink may be sent; None: at once, and without an end.

    Raises:
        DownlinkRefusedError: its time is over, or would be before it began.
    """
    not_before = _moment("not_before", wish.not_before, now)
    expires_at = _moment("expires_at", wish.expires_at, now)
    if expires_at is not None and expires_at <= now:
        raise DownlinkRefusedError("expires_at", f"It expired at {_told(expires_at)}; give a later time, or none.")
    if expires_at is not None and not_before is not None and not_before >= expires_at:
        raise DownlinkRefusedError(
            "not_before", "It would expire before it may be sent: not_before must be earlier than expires_at."
        )
    return not_before, expires_at


def check_idempotency_key(key: str) -> None:
    """Refuse what is no Idempotency-Key.

    Raises:
        DownlinkRefusedError: naming the header.
    """
    if not _KEY.match(key):
        raise DownlinkRefusedError(
            "Idempotency-Key", f"The Idempotency-Key must be 1 to {REFERENCE_MAX} printable characters of ASCII."
        )


def digest_wish(wish: DownlinkWish) -> bytes:
    """Give what tells one wish from another: 32 bytes, the same for the same, whenever and however it is spelled.

    Raises:
        DownlinkRefusedError: the object cannot be written as JSON.
    """
    content = {name: getattr(wish, name) for name in DownlinkWish.__slots__ if name != "object"}
    content["object"] = None if wish.object is None else json_of(wish.object)
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=_plain).encode()).digest()


def json_of(given: dict[str, Any]) -> str:
    """Give an object as JSON in ASCII, the same for the same.

    Raises:
        DownlinkRefusedError: it cannot be written, since it is nested too deeply or has a number without end.
    """
    try:
        return json.dumps(given, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError) as exc:
        raise DownlinkRefusedError(
            "object", "The object must be plain JSON, not nested deeply, with finite numbers."
        ) from exc


def warn_of_size(size_bytes: int, last: LastDataRate | None) -> list[str]:
    """Give the sentences of warning about a payload's size, if there are any.

    A class A device gets it at the data rate of its next uplink (RX1) or at that of RX2, which are not known
    beforehand: so nothing is refused here, and the last one seen is taken for the next.
    """
    size = f"The payload has {size_bytes} bytes"
    most = max(MOST_BYTES_BY_SF.values())
    if size_bytes > most:
        return [f"{size}, and no data rate of EU868 carries more than {most}."]
    fits = None if last is None else MOST_BYTES_BY_SF.get(last.spreading_factor)
    if last is not None and fits is not None and size_bytes > fits:
        heard = f"SF{last.spreading_factor}, with which the device was heard last ({_told(last.at)})"
        return [f"{size}, and {heard}, carries {fits}: unless its next uplink is faster, the network drops it."]
    if size_bytes > SLOWEST_CARRIES:
        slow = f"the slowest data rates, which RX2 often has, carry {SLOWEST_CARRIES}"
        return [f"{size}, and {slow}: it can be sent after a faster uplink only."]
    return []


def _moment(field: str, when: When | None, now: datetime) -> datetime | None:
    if not isinstance(when, timedelta):
        return when
    try:
        return now + when
    except OverflowError as exc:
        raise DownlinkRefusedError(
            field, f"{field} is farther off than there are years; give an earlier time."
        ) from exc


def _told(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else str(value)
