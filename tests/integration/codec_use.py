"""What the tests of codecs share: payloads of one network, and a codec out of a script."""

from __future__ import annotations

from datetime import UTC, datetime

from receiver.codecs.values import Codec, Payload, Signature

AT = datetime(2026, 11, 20, 12, 0, 0, 250_000, tzinfo=UTC)


def payload(frm_payload: str | bytes = "0102", f_port: int = 2, at_text: str | None = None) -> Payload:
    """Give a payload; a text is hexadecimal."""
    octets = bytes.fromhex(frm_payload) if isinstance(frm_payload, str) else frm_payload
    return Payload(octets, f_port, AT, at_text)


def codec(script: str, signature: Signature = Signature.LORA_ALLIANCE) -> Codec:
    return Codec(signature, script)


def uplink(body: str, before: str = "") -> Codec:
    """Give a codec whose decodeUplink has this body."""
    return codec(f"{before}\nfunction decodeUplink(input) {{\n{body}\n}}")


def decode(engine, given, *payloads, **options):
    """Decode one payload, or these."""
    decodings = engine.decode_uplinks(given, payloads or [payload()], **options)
    return decodings if len(payloads) > 1 else decodings[0]
