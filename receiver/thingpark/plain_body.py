"""A quicker way to a body's signed values, for the plain bodies that networks send.

It is as strict as `body.parse_body`, and takes less than half of its 22 µs for a real uplink. That one goes through
Python for each object to see names that stand twice; this one decodes in C, encodes again and counts: without
escapes, a body has two quotation marks for each name and each text, so where there are fewer of them now, a name
stood twice and one was lost. Whatever is not plain goes to `parse_body`, which says what is wrong with it.
"""

from __future__ import annotations

import msgspec

from receiver.thingpark.body import Body, build_body, parse_body

MAX_PLAIN_BYTES = 4096
"""An uplink with ten gateways and a position has about 2,800. Larger bodies may have absurdly long numbers or
very many values, which are bounded there."""

_FIELDS = (
    "DevEUI",
    "CustomerID",
    "FPort",
    "FCntUp",
    "FCntDn",
    "AFCntDn",
    "NFCntDn",
    "payload_hex",
    "DevAddr",
    "mic_hex",
    "Time",
    "rawJoinRequest",
)
"""What tokens cover, and what tells a frame from another."""

_DECODE = msgspec.json.Decoder().decode
_ENCODE = msgspec.json.Encoder().encode


def parse_signed_body(raw: bytes) -> Body:
    """Give the report in `raw` with at least the values that are signed or identify its frame.

    Raises:
        PushRejected: what `parse_body` raises.
    """
    if len(raw) > MAX_PLAIN_BYTES or not raw.startswith(b"{") or b"\\" in raw:
        return parse_body(raw)
    try:
        top = _DECODE(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return parse_body(raw)
    if len(top) != 1 or raw.count(b'"') != _ENCODE(top).count(b'"'):
        return parse_body(raw)
    ((kind, report),) = top.items()
    if type(report) is not dict:
        return parse_body(raw)
    members = {}
    for name in _FIELDS:
        value = report.get(name)
        if type(value) is str:
            members[name] = value
        elif type(value) is int:  # which has one spelling in JSON, or `-0`
            members[name] = str(value)
        elif value is not None:
            return parse_body(raw)
    return build_body(kind, "json", members)
