"""Objects become payloads: by the codec that a device's frames are decoded with."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

from receiver.codecs.engine import CodecEngine
from receiver.codecs.running import BUILT_IN
from receiver.services.codec_choice import CodecChoice
from receiver.services.decoding_frames import codec_of
from receiver.services.downlink_checks import DownlinkRefusedError, check_f_port, check_payload
from receiver.storage.codecs import get_codec_version, list_assignments
from receiver.storage.undecoded import UndecodedUplink

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType
    from typing import Any, Self

    from sqlalchemy import Connection

    from receiver.storage.codecs import StoredCodec
    from receiver.storage.downlinks import Target

MOST_SENTENCES = 5
"""Of a codec's errors or warnings that are told, and MOST_CHARACTERS of each: a codec is somebody else's program."""
MOST_CHARACTERS = 200


class EncodedObject(NamedTuple):
    """What a codec made of an object; warnings are sentences, each on one line."""

    payload: bytes
    f_port: int
    warnings: list[str]

    def __repr__(self) -> str:
        return f"EncodedObject({len(self.payload)} bytes, f_port={self.f_port})"


class ObjectEncoder:
    """Runs codecs' encoders; may be used from several threads, which then wait for each other.

    Its process, in which JavaScript runs, starts with the first object and ends with `close`, or when nobody has this
    any more.
    """

    def __init__(self) -> None:
        self._engine = CodecEngine()
        weakref.finalize(self, self._engine.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; another object starts a new one."""
        self._engine.close()

    def encode(self, stored: StoredCodec, given: dict[str, Any], f_port: int | None) -> EncodedObject:
        """Give the frame that a codec makes of an object, on the port that it chooses, or else on `f_port`.

        Raises:
            DownlinkRefusedError: it makes none of it, in the codec's own words, or one that cannot be sent.
            CodecEngineUnavailableError: JavaScript cannot be run here at all.
        """
        codec = codec_of(stored)
        if codec.signature in BUILT_IN:
            raise DownlinkRefusedError(
                "object", f"The codec {stored.name} is built in and makes no downlinks; give the payload in hex."
            )
        try:
            (encoding,) = self._engine.encode_downlinks(codec, [given], f_port)
        except (ValueError, TypeError, OverflowError, RecursionError) as exc:
            raise DownlinkRefusedError("object", "The object must be plain JSON that can be given to a codec.") from exc
        if encoding.errors:
            told = " ".join(_tell(encoding.errors))
            raise DownlinkRefusedError("object", f"The codec {stored.name} could not encode the object: {told}")
        if encoding.f_port is None:
            raise DownlinkRefusedError("f_port", f"The codec {stored.name} names no FPort; give one.")
        if f_port is not None and encoding.f_port != f_port:
            raise DownlinkRefusedError(
                "f_port",
                f"FPort {f_port} was asked for, and the codec {stored.name} puts this on FPort {encoding.f_port};"
                " give that one, or none.",
            )
        check_f_port(encoding.f_port)
        check_payload("object", encoding.frm_payload)
        return EncodedObject(encoding.frm_payload, encoding.f_port, _tell(encoding.warnings))


def choose_encoder(
    connection: Connection, dev_eui: str, target: Target | None, connection_id: int, f_port: int | None, now: datetime
) -> StoredCodec:
    """Give the codec that an object for a device is for, as for its uplinks; without a port by the rest.

    Raises:
        DownlinkRefusedError: none is assigned.
    """
    choice = CodecChoice(list_assignments(connection))
    model, driver = (None, None) if target is None else (target.model, target.driver)
    like = UndecodedUplink(0, None, dev_eui, now, f_port, None, connection_id, model, driver)
    version_id = choice.version_for(like)
    stored = None if version_id is None else get_codec_version(connection, version_id)
    if stored is None:
        on = "without an FPort" if f_port is None else f"on FPort {f_port}"
        raise DownlinkRefusedError(
            "object",
            f"No codec is assigned to {dev_eui} {on}: assign one with `receiver codec assign`, or give the payload in"
            " hex.",
        )
    return stored


def _tell(sentences: tuple[str, ...]) -> list[str]:
    """Give a codec's sentences, bounded, each on one line and with an end."""
    told = []
    for sentence in sentences[:MOST_SENTENCES]:
        line = "".join(one if one.isprintable() else " " for one in sentence).strip()[:MOST_CHARACTERS]
        if line:
            told.append(line if line[-1] in ".!?…" else f"{line}.")
    return told
