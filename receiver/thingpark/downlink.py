"""A downlink request of the tunnel interface: one query string, in one order, signed with the tunnel key.

    Token = hex( SHA-256( query without Token, decoded, in the order sent + key ) )

Everything stands in the query, in the order of `_ORDER`. What is hashed is the raw text; on the wire `:` and `+` are
percent-encoded, since a server that decodes forms would read a plain `+` as a space and find another token. All
hexadecimal digits are upper case, as the network's schema asks for them.

Source: ThingPark LRC–AS tunnel interface, downlink (AS to LRC); KPN LoRa reference (downlink).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    from receiver.lorawan.identifiers import DevEui
    from receiver.lorawan.keys import AesKey

MAX_PAYLOAD_BYTES = 250
"""What the network's schema takes; what a data rate carries is less (LoRaWAN RP2 1.0.3, maximum payload size)."""

V1_PATH = "/thingpark/lrc/rest/downlink"
V2_PATH = "/thingpark/lrc/rest/v2/downlink"


class DownlinkRequest(NamedTuple):
    """What a request asks for, without who asks. `payload` is what goes over the air; None: flush the queue only.

    `f_cnt_down` is given with a payload that is encrypted here, as `AFCntDn` for LoRaWAN 1.1. `correlation_id` has 64
    bits and comes back in the report of what became of it. `validity` is the moment after which it must not be sent.
    """

    dev_eui: DevEui
    f_port: int | None
    payload: bytes | None
    f_cnt_down: int | None = None
    is_lorawan_1_1: bool = False
    confirmed: bool = False
    flush: bool = False
    validity: datetime | None = None
    correlation_id: int | None = None

    def __repr__(self) -> str:
        return f"DownlinkRequest({self.dev_eui}, f_port={self.f_port})"


class SignedDownlink(NamedTuple):
    """A signed query as it goes onto the wire, and the same to be shown: its token withheld."""

    query: str
    shown: str

    def __repr__(self) -> str:
        return f"SignedDownlink({self.shown})"


def sign_downlink(request: DownlinkRequest, as_id: str, time_text: str, tunnel_key: AesKey | bytes) -> SignedDownlink:
    """Give the signed query of a request. `time_text` is that of `downlink_time`.

    The key's text is what the network hashes: 32 lower-case hexadecimal digits of an `AesKey`, or bytes as they are.
    """
    raw = "&".join(f"{name}={value}" for name, value in _parameters(request, as_id, time_text))
    key = tunnel_key if isinstance(tunnel_key, bytes) else tunnel_key.reveal().hex().encode()
    token = hashlib.sha256(raw.encode() + key).hexdigest()
    wire = "&".join(f"{name}={quote(value, safe='')}" for name, value in _parameters(request, as_id, time_text))
    return SignedDownlink(f"{wire}&Token={token}", f"{wire}&Token=…")


def downlink_time(now: datetime, *, with_offset: bool = True) -> str:
    """Give the Time of a request, in UTC: with milliseconds and `+00:00`, or as older KPN servers want it, without."""
    in_utc = now.astimezone(UTC)
    if with_offset:
        return in_utc.isoformat(timespec="milliseconds")
    return in_utc.replace(tzinfo=None).isoformat(timespec="seconds")


def _parameters(request: DownlinkRequest, as_id: str, time_text: str) -> list[tuple[str, str]]:
    values: list[tuple[str, str]] = [("DevEUI", request.dev_eui)]
    if request.payload is not None:
        values += [("FPort", str(request.f_port)), ("Payload", request.payload.hex().upper())]
        if request.f_cnt_down is not None:
            values.append(("AFCntDn" if request.is_lorawan_1_1 else "FCntDn", str(request.f_cnt_down)))
        if request.confirmed:
            values.append(("Confirmed", "1"))
    if request.flush:
        values.append(("FlushDownlinkQueue", "1"))
    if request.validity is not None:
        values.append(("ValidityTime", request.validity.astimezone(UTC).isoformat(timespec="milliseconds")))
    values += [("AS_ID", as_id), ("Time", time_text)]
    if request.correlation_id is not None:
        values.append(("CorrelationID", f"{request.correlation_id:016X}"))
    return values
