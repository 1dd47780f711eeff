"""Codecs as people handle them: added and versioned by content, assigned to frames, tested by their examples."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from receiver.codecs.comparing import judge
from receiver.codecs.kept_examples import examples_from_json, examples_to_json
from receiver.codecs.running import BUILT_IN, run_example
from receiver.codecs.values import Codec, Signature
from receiver.errors import ConflictError, IdentifierError, NotFoundError
from receiver.lorawan.identifiers import parse_device, shorten
from receiver.storage import codecs as stored
from receiver.storage.connections import find_connection
from receiver.storage.engine import read, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from receiver.codecs.comparing import Difference
    from receiver.codecs.engine import CodecEngine
    from receiver.codecs.values import Example
    from receiver.storage.codecs import CodecSummary, StoredAssignment, StoredCodec

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
BUILT_IN_NAMES = tuple(signature.value for signature in BUILT_IN)

VERSION_DIGITS = 12
"""Of a SHA-256: two contents of one codec that share them do not come up."""

LONGEST_TEXT = 256
"""Of a model or driver: as long as reports may make them."""


@dataclass(frozen=True, slots=True)
class AddedCodec:
    """What adding a codec did."""

    name: str
    version: str
    is_new_codec: bool
    is_new_version: bool


@dataclass(frozen=True, slots=True)
class Scope:
    """Which frames: those that match all that is given; at least one condition."""

    dev_eui: str | None = None
    driver: str | None = None
    model: str | None = None
    connection: str | None = None
    f_port: int | None = None

    def __str__(self) -> str:
        told = {
            "device": self.dev_eui,
            "driver": self.driver,
            "model": self.model,
            "connection": self.connection,
            "FPort": self.f_port,
        }
        return ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """One example that was run: what differed, and what the codec wrote to its console."""

    example: Example
    differences: tuple[Difference, ...]
    console: tuple[str, ...]


def version_of(codec: Codec) -> str:
    """Give the version of a codec: the same content has the same, whatever its examples."""
    content = json.dumps([codec.signature.value, codec.script, dict(sorted(codec.units.items()))])
    return hashlib.sha256(content.encode()).hexdigest()[:VERSION_DIGITS]


def add_codec(engine: Engine, now: datetime, name: str, codec: Codec, source: str | None) -> AddedCodec:
    """Add a codec, or make this content its current version. The same again changes nothing but its examples.

    Raises:
        IdentifierError: the name is none.
    """
    check_name(name)
    if name in BUILT_IN_NAMES and codec.signature.value != name:
        raise IdentifierError(f"{name} is the name of a built-in codec. Give another one with --name.")
    new = stored.NewCodecVersion(
        version_of(codec),
        codec.signature.value,
        codec.script,
        json.dumps(dict(codec.units)),
        examples_to_json(codec.examples),
        source,
    )
    with write(engine) as tx:
        is_new_codec, is_new_version, _ = stored.insert_codec_version(tx, name, new, now)
    return AddedCodec(name, new.version, is_new_codec, is_new_version)


def get_codec(engine: Engine, name: str) -> tuple[StoredCodec, Codec]:
    """Give the codec `name`, or of `name@version` that version, of which the first digits are enough.

    Raises:
        NotFoundError: there is none.
    """
    with read(engine) as tx:
        row = _find(tx, name)
    return row, codec_with_examples(row)


def codec_with_examples(row: StoredCodec) -> Codec:
    """Give what can be run of a stored codec, with its examples."""
    return Codec(Signature(row.signature), row.script, json.loads(row.units), examples_from_json(row.examples))


def list_codecs(engine: Engine) -> list[CodecSummary]:
    """Give all codecs by name."""
    with read(engine) as tx:
        return stored.list_codecs(tx)


def list_codec_versions(engine: Engine, name: str) -> list[StoredCodec]:
    """Give the versions of a codec, the newest first; empty: there is no such codec."""
    with read(engine) as tx:
        return stored.list_versions(tx, name)


def remove_codec(engine: Engine, name: str, *, force: bool = False) -> None:
    """Remove a codec with its versions and assignments. What it decoded stays.

    Raises:
        NotFoundError: there is none.
        ConflictError: it is assigned, and `force` is not given.
    """
    with write(engine) as tx:
        _find(tx, name)
        scopes = [str(scope_of(one)) for one in stored.list_assignments(tx) if one.codec == name]
        if scopes and not force:
            raise ConflictError(f"{name} is assigned to {'; '.join(scopes[:5])}. Give --force to remove it even so.")
        stored.delete_codec(tx, name)


def assign_codec(engine: Engine, now: datetime, name: str, scope: Scope) -> str | None:
    """Assign a codec to the frames of `scope`, from now on; give the codec that had exactly this scope before.

    A built-in codec needs not be added: its name is that of its signature.

    Raises:
        NotFoundError: there is no such codec or connection.
        IdentifierError: the scope is empty, or a part of it is not of its form.
    """
    with write(engine) as tx:
        if name in BUILT_IN_NAMES and stored.find_codec(tx, name) is None:
            codec = Codec(Signature(name), "")
            new = stored.NewCodecVersion(version_of(codec), name, "", "{}", "[]", "built in")
            stored.insert_codec_version(tx, name, new, now)
        row = _find(tx, name)
        return stored.replace_assignment(tx, row.id, _columns(tx, scope), now)


def unassign_codec(engine: Engine, scope: Scope) -> None:
    """Take the assignment for exactly this scope back.

    Raises:
        NotFoundError: there is none.
    """
    with write(engine) as tx:
        if not stored.delete_assignment(tx, _columns(tx, scope)):
            raise NotFoundError(f"No codec is assigned to just this: {scope}. `receiver codec list` shows what is.")


def list_assignments(engine: Engine) -> list[StoredAssignment]:
    """Give all assignments, the oldest first."""
    with read(engine) as tx:
        return stored.list_assignments(tx)


def scope_of(assignment: StoredAssignment) -> Scope:
    """Give the scope of an assignment."""
    return Scope(assignment.dev_eui, assignment.driver, assignment.model, assignment.connection, assignment.f_port)


def run_examples(codec_engine: CodecEngine, codec: Codec) -> Iterator[ExampleResult]:
    """Run the examples of a codec, one after the other."""
    for example in codec.examples:
        outcome = run_example(codec_engine, codec, example)
        yield ExampleResult(example, tuple(judge(example, outcome)), outcome.console)


def check_name(name: str) -> None:
    """Refuse what is no name of a codec.

    Raises:
        IdentifierError: it is none.
    """
    if not _NAME.match(name):
        raise IdentifierError(
            f"{shorten(name)!r} cannot be the name of a codec: lower-case letters, digits, dots, hyphens, underscores;"
            " at most 64, beginning with a letter or digit. Give another one with --name."
        )


def _find(tx: Connection, name: str) -> StoredCodec:
    bare, _, version = name.partition("@")
    row = stored.find_codec(tx, bare, version or None)
    if row is None:
        what = f"version {shorten(version)} of a codec {shorten(bare)}" if version else f"codec named {shorten(bare)}"
        raise NotFoundError(f"There is no {what}. `receiver codec list` shows those there are.")
    return row


def _columns(tx: Connection, scope: Scope) -> dict[str, object]:
    given = {name: value for name, value in asdict(scope).items() if value is not None}
    if not given:
        raise IdentifierError(
            "Say which frames: a device, a driver, a model, a connection, a port, or several of them."
        )
    for name in ("driver", "model"):
        if len(str(given.get(name, ""))) > LONGEST_TEXT:
            raise IdentifierError(f"A {name} has at most {LONGEST_TEXT} characters.")
    connection_id = None
    if scope.connection is not None:
        connection = find_connection(tx, scope.connection)
        if connection is None:
            raise NotFoundError(f"There is no connection named {shorten(scope.connection)}.")
        connection_id = connection.id
    return {
        "dev_eui": None if scope.dev_eui is None else parse_device(scope.dev_eui),
        "driver": scope.driver,
        "model": scope.model,
        "connection_id": connection_id,
        "f_port": scope.f_port,
    }
