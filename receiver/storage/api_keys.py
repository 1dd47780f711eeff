"""SQL for the keys of API callers. Of a key only its SHA-256 is known here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

from receiver.storage.engine import dialect_insert
from receiver.storage.tables import api_keys

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class StoredApiKey:
    """One row of `api_keys`; `revoked_at` is None while it opens the API."""

    id: int
    name: str
    scope: str
    key_hash: bytes
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


_COLUMNS = (
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.scope,
    api_keys.c.key_hash,
    api_keys.c.created_at,
    api_keys.c.last_used_at,
    api_keys.c.revoked_at,
)


def insert_api_key(
    connection: Connection, *, name: str, scope: str, key_hash: bytes, created_at: datetime
) -> StoredApiKey | None:
    """Insert a key and give it; None if the name is taken, by a revoked key too."""
    insert = dialect_insert(api_keys, connection).values(
        name=name, scope=scope, key_hash=key_hash, created_at=created_at
    )
    row = connection.execute(insert.on_conflict_do_nothing(index_elements=["name"]).returning(*_COLUMNS)).one_or_none()
    return StoredApiKey(*row) if row else None


def list_api_keys(connection: Connection) -> list[StoredApiKey]:
    """Give all keys, revoked ones too, by name."""
    return [StoredApiKey(*row) for row in connection.execute(select(*_COLUMNS).order_by(api_keys.c.name))]


def find_api_key(connection: Connection, name: str) -> StoredApiKey | None:
    """Give the key of that name, or None."""
    row = connection.execute(select(*_COLUMNS).where(api_keys.c.name == name)).one_or_none()
    return StoredApiKey(*row) if row else None


def find_api_key_by_hash(connection: Connection, key_hash: bytes) -> StoredApiKey | None:
    """Give the key with that SHA-256, revoked or not, or None."""
    row = connection.execute(select(*_COLUMNS).where(api_keys.c.key_hash == key_hash)).one_or_none()
    return StoredApiKey(*row) if row else None


def set_api_key_revoked(connection: Connection, api_key_id: int, revoked_at: datetime) -> None:
    """Revoke a key: it opens nothing from now on."""
    connection.execute(update(api_keys).where(api_keys.c.id == api_key_id).values(revoked_at=revoked_at))


def note_api_key_used(connection: Connection, api_key_id: int, now: datetime, unless_after: datetime) -> None:
    """Note a use, unless one that is later than `unless_after` is noted already."""
    is_old = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= unless_after)
    connection.execute(update(api_keys).where(api_keys.c.id == api_key_id, is_old).values(last_used_at=now))
