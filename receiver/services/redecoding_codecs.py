"""Which codec decodes a frame again: the one that was asked for, or the one that is assigned to the frame now.

A codec that decodes nothing at all is refused: it would take the measurements of all its frames away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from receiver.codecs.running import BUILT_IN
from receiver.codecs.values import Codec, Operation, Signature
from receiver.errors import CodecScriptError, ConflictError
from receiver.services.codec_choice import CodecChoice
from receiver.services.codecs import BUILT_IN_NAMES, get_codec, version_of
from receiver.services.decoding import read_at_texts
from receiver.services.decoding_frames import codec_of
from receiver.storage.codecs import (
    REVISION,
    NewCodecVersion,
    find_codec,
    get_codec_version,
    insert_codec_version,
    list_assignments,
)
from receiver.storage.engine import get_revision, read, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from receiver.codecs.engine import CodecEngine
    from receiver.storage.codecs import StoredCodec
    from receiver.storage.undecoded import UndecodedUplink

Work: TypeAlias = "dict[int, tuple[Codec, Sequence[UndecodedUplink], Mapping[int, str]]]"
"""By codec version: the codec, its frames, and their times as the network wrote them."""

_UNSTORED = 0
"""The id of no version: of a built-in codec that a dry run does not store."""


class FrameCodecs:
    """Gives frames their codecs. `chosen` is the one version for all of them; None: what is assigned at that moment."""

    def __init__(self, codec_engine: CodecEngine, chosen: tuple[int, Codec] | None) -> None:
        self._codec_engine = codec_engine
        self._chosen = chosen
        self._revision: int | None = None
        self._choice = CodecChoice([])
        self._codecs: dict[int, Codec] = {}

    def sort(self, connection: Connection, uplinks: Sequence[UndecodedUplink]) -> Work:
        """Give the frames by their codecs; those that no codec is for are not in it.

        Raises:
            ConflictError: an assigned codec cannot decode.
        """
        if self._chosen is not None:
            version_id, codec = self._chosen
            return {version_id: (codec, uplinks, read_at_texts(connection, codec, uplinks))} if uplinks else {}
        revision = get_revision(connection, REVISION)
        if self._revision != revision:
            self._revision, self._choice = revision, CodecChoice(list_assignments(connection))
            self._codecs.clear()
        by_version: dict[int, list[UndecodedUplink]] = {}
        for uplink in uplinks:
            assigned_id = self._choice.version_for(uplink)
            if assigned_id is not None:
                by_version.setdefault(assigned_id, []).append(uplink)
        work: Work = {}
        for version_id, theirs in by_version.items():
            if version_id not in self._codecs:
                row = get_codec_version(connection, version_id)
                if row is None:  # it was removed just now
                    continue
                self._codecs[version_id] = runnable(self._codec_engine, row)
            codec = self._codecs[version_id]
            work[version_id] = codec, theirs, read_at_texts(connection, codec, theirs)
        return work


def choose_codec(
    engine: Engine, codec_engine: CodecEngine, now: datetime, name: str, *, dry_run: bool
) -> tuple[int, Codec]:
    """Give the codec `name`, or of `name@version` that version, and the version's id.

    A built-in codec needs not be added. A dry run does not add it either: its id is that of no version then.

    Raises:
        NotFoundError: there is none.
        ConflictError: it cannot decode.
    """
    with read(engine) as connection:
        is_new = name in BUILT_IN_NAMES and find_codec(connection, name) is None
    if is_new:
        codec = Codec(Signature(name), "")
        if dry_run:
            return _UNSTORED, codec
        new = NewCodecVersion(version_of(codec), name, "", "{}", "[]", "built in")
        with write(engine) as connection:
            insert_codec_version(connection, name, new, now)
    row, _ = get_codec(engine, name)
    return row.version_id, runnable(codec_engine, row)


def runnable(codec_engine: CodecEngine, row: StoredCodec) -> Codec:
    """Give what can be run of a version.

    Raises:
        ConflictError: it does not load, or has nothing that decodes.
    """
    codec = codec_of(row)
    if codec.signature in BUILT_IN:
        return codec
    name = f"{row.name}@{row.version}"
    try:
        operations = codec_engine.operations(codec)
    except CodecScriptError as exc:
        raise ConflictError(f"{name} cannot decode, so nothing more is decoded again. {exc}") from exc
    if Operation.DECODE_UPLINK not in operations:
        raise ConflictError(f"{name} has no function that decodes uplinks, so nothing more is decoded again.")
    return codec
