"""SQL for codecs, their versions, and which frames they are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from receiver.storage.engine import bump_revision, dialect_insert
from receiver.storage.tables import connections
from receiver.storage.telemetry_tables import codec_assignments, codec_versions, codecs

if TYPE_CHECKING:
    from datetime import datetime

REVISION = "codecs"
"""Bumped by each change, so that decoders notice."""


@dataclass(frozen=True, slots=True)
class NewCodecVersion:
    """What a version holds. `units` and `examples` are JSON."""

    version: str
    signature: str
    script: str
    units: str
    examples: str
    source: str | None


@dataclass(frozen=True, slots=True)
class StoredCodec:
    """A codec in one of its versions."""

    id: int
    name: str
    version_id: int
    version: str
    signature: str
    script: str
    units: str
    examples: str
    source: str | None
    added_at: datetime
    is_current: bool

    def __repr__(self) -> str:
        return f"StoredCodec({self.name}@{self.version})"


@dataclass(frozen=True, slots=True)
class CodecSummary:
    """A codec as it is listed."""

    name: str
    version: str
    signature: str
    versions: int
    assignments: int
    source: str | None
    added_at: datetime


@dataclass(frozen=True, slots=True)
class StoredAssignment:
    """Which frames a codec is for: those that match all that is not None."""

    id: int
    codec: str
    version_id: int
    dev_eui: str | None
    driver: str | None
    model: str | None
    connection: str | None
    connection_id: int | None
    f_port: int | None
    assigned_at: datetime


def insert_codec_version(
    tx: sa.Connection, name: str, new: NewCodecVersion, now: datetime
) -> tuple[bool, bool, StoredCodec]:
    """Make `new` the current version of the codec `name`; say whether codec and version are new, and give it."""
    codec_insert = dialect_insert(codecs, tx).values(name=name, added_at=now).on_conflict_do_nothing()
    is_new_codec = tx.execute(codec_insert.returning(codecs.c.id)).one_or_none() is not None
    codec_id = tx.execute(sa.select(codecs.c.id).where(codecs.c.name == name).with_for_update()).scalar_one()
    new_row = dialect_insert(codec_versions, tx).values(
        codec_id=codec_id,
        version=new.version,
        signature=new.signature,
        script=new.script,
        units=new.units,
        examples=new.examples,
        source=new.source,
        added_at=now,
    )
    kept_with_it = {"examples": new.examples, "source": new.source}
    version_insert = new_row.on_conflict_do_nothing().returning(codec_versions.c.id)
    is_new_version = tx.execute(version_insert).one_or_none() is not None
    of_version = (codec_versions.c.codec_id == codec_id) & (codec_versions.c.version == new.version)
    if not is_new_version:
        tx.execute(sa.update(codec_versions).where(of_version).values(**kept_with_it))
    version_id = tx.execute(sa.select(codec_versions.c.id).where(of_version)).scalar_one()
    tx.execute(sa.update(codecs).where(codecs.c.id == codec_id).values(current_version_id=version_id))
    bump_revision(tx, REVISION)
    stored = find_codec(tx, name)
    assert stored is not None  # noqa: S101 - it was stored just now
    return is_new_codec, is_new_version, stored


_STORED = sa.select(
    codecs.c.id,
    codecs.c.name,
    codec_versions.c.id.label("version_id"),
    codec_versions.c.version,
    codec_versions.c.signature,
    codec_versions.c.script,
    codec_versions.c.units,
    codec_versions.c.examples,
    codec_versions.c.source,
    codec_versions.c.added_at,
    (codec_versions.c.id == codecs.c.current_version_id).label("is_current"),
).select_from(codec_versions.join(codecs, codecs.c.id == codec_versions.c.codec_id))


def find_codec(tx: sa.Connection, name: str, version: str | None = None) -> StoredCodec | None:
    """Give a codec in its current version, or in the newest one that begins with `version`; None: there is none."""
    statement = _STORED.where(codecs.c.name == name).order_by(codec_versions.c.id.desc()).limit(1)
    if version is None:
        statement = statement.where(codec_versions.c.id == codecs.c.current_version_id)
    else:
        statement = statement.where(codec_versions.c.version.startswith(version, autoescape=True))
    return _stored(tx.execute(statement).one_or_none())


def get_codec_version(tx: sa.Connection, version_id: int) -> StoredCodec | None:
    """Give the codec of this version, or None: it was removed meanwhile."""
    return _stored(tx.execute(_STORED.where(codec_versions.c.id == version_id)).one_or_none())


def list_versions(tx: sa.Connection, name: str) -> list[StoredCodec]:
    """Give all versions of a codec, the newest first."""
    rows = tx.execute(_STORED.where(codecs.c.name == name).order_by(codec_versions.c.id.desc()))
    return [StoredCodec(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def list_codecs(tx: sa.Connection) -> list[CodecSummary]:
    """Give all codecs by name."""
    versions = sa.select(sa.func.count()).where(codec_versions.c.codec_id == codecs.c.id).scalar_subquery()
    assignments = sa.select(sa.func.count()).where(codec_assignments.c.codec_id == codecs.c.id).scalar_subquery()
    current = codec_versions.alias()
    rows = tx.execute(
        sa.select(
            codecs.c.name,
            current.c.version,
            current.c.signature,
            versions.label("versions"),
            assignments.label("assignments"),
            current.c.source,
            current.c.added_at,
        )
        .select_from(codecs.join(current, current.c.id == codecs.c.current_version_id))
        .order_by(codecs.c.name)
    )
    return [CodecSummary(**row._mapping) for row in rows]  # noqa: SLF001


def delete_codec(tx: sa.Connection, name: str) -> bool:
    """Delete a codec with its versions and assignments; False if there is none. What it decoded stays."""
    deleted = tx.execute(sa.delete(codecs).where(codecs.c.name == name)).rowcount > 0
    if deleted:
        bump_revision(tx, REVISION)
    return deleted


_ASSIGNED = (
    sa.select(
        codec_assignments.c.id,
        codecs.c.name.label("codec"),
        codecs.c.current_version_id.label("version_id"),
        codec_assignments.c.dev_eui,
        codec_assignments.c.driver,
        codec_assignments.c.model,
        connections.c.name.label("connection"),
        codec_assignments.c.connection_id,
        codec_assignments.c.f_port,
        codec_assignments.c.assigned_at,
    )
    .select_from(
        codec_assignments.join(codecs, codecs.c.id == codec_assignments.c.codec_id).outerjoin(
            connections, connections.c.id == codec_assignments.c.connection_id
        )
    )
    .order_by(codec_assignments.c.id)
)


def list_assignments(tx: sa.Connection) -> list[StoredAssignment]:
    """Give all assignments, the oldest first."""
    return [StoredAssignment(**row._mapping) for row in tx.execute(_ASSIGNED)]  # noqa: SLF001


def replace_assignment(tx: sa.Connection, codec_id: int, scope: dict[str, Any], now: datetime) -> str | None:
    """Assign a codec to `scope`, a value for each condition; give the codec that had it until now."""
    same = [_is(codec_assignments.c[name], value) for name, value in scope.items()]
    before = tx.execute(
        sa.select(codecs.c.name)
        .select_from(codec_assignments.join(codecs, codecs.c.id == codec_assignments.c.codec_id))
        .where(*same)
    ).scalar()
    tx.execute(sa.delete(codec_assignments).where(*same))
    tx.execute(sa.insert(codec_assignments).values(codec_id=codec_id, assigned_at=now, **scope))
    bump_revision(tx, REVISION)
    return before


def delete_assignment(tx: sa.Connection, scope: dict[str, Any]) -> bool:
    """Take an assignment back; False if there was none for exactly this scope."""
    same = [_is(codec_assignments.c[name], value) for name, value in scope.items()]
    deleted = tx.execute(sa.delete(codec_assignments).where(*same)).rowcount > 0
    if deleted:
        bump_revision(tx, REVISION)
    return deleted


def _is(column: sa.Column[Any], value: object) -> sa.ColumnElement[bool]:
    return column.is_(None) if value is None else column == value


def _stored(row: sa.Row[*tuple[Any, ...]] | None) -> StoredCodec | None:
    return StoredCodec(**row._mapping) if row else None  # noqa: SLF001
