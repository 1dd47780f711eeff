"""Runs a codec of any signature, the built-in ones and those in JavaScript, and the examples of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from receiver.codecs.cayenne_lpp import decode_cayenne_lpp
from receiver.codecs.thingsml import decode_senml
from receiver.codecs.values import Decoding, Encoding, Operation, Payload, Signature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.codecs.engine import CodecEngine
    from receiver.codecs.values import Codec, Example

BUILT_IN = {Signature.CAYENNE_LPP: decode_cayenne_lpp, Signature.SENML: decode_senml}

EXAMPLES_AT = datetime(2020, 1, 1, tzinfo=UTC)
"""When the frame of an example came that does not say so."""


def decode_uplinks(
    codec_engine: CodecEngine, codec: Codec, payloads: Sequence[Payload], *, with_console: bool = False
) -> list[Decoding]:
    """Decode payloads, in their order.

    Raises:
        CodecEngineUnavailableError: JavaScript cannot be run here at all.
    """
    built_in = BUILT_IN.get(codec.signature)
    if built_in is not None:
        return [built_in(payload) for payload in payloads]
    return codec_engine.decode_uplinks(codec, payloads, with_console=with_console)


def run_example(codec_engine: CodecEngine, codec: Codec, example: Example) -> Decoding | Encoding:
    """Do what an example asks for.

    Raises:
        CodecEngineUnavailableError: JavaScript cannot be run here at all.
    """
    if example.operation is Operation.ENCODE_DOWNLINK:
        if codec.signature in BUILT_IN:
            return Encoding(b"", None, errors=(f"The built-in codec {codec.signature} makes no downlinks.",))
        return codec_engine.encode_downlinks(codec, [example.data], example.f_port)[0]
    payload = Payload(
        example.frm_payload or b"", example.f_port or 0, _time(example.at_text) or EXAMPLES_AT, example.at_text
    )
    if example.operation is Operation.DECODE_DOWNLINK:
        if codec.signature in BUILT_IN:
            return Decoding(None, errors=(f"The built-in codec {codec.signature} reads no downlinks.",))
        return codec_engine.decode_downlinks(codec, [payload])[0]
    return decode_uplinks(codec_engine, codec, [payload], with_console=True)[0]


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
