"""SQL for accounts at management APIs. The sealed secret passes through; nothing is opened here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from receiver.storage.engine import dialect_insert
from receiver.storage.platform_tables import platform_accounts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredPlatformAccount:
    """One row of `platform_accounts`."""

    id: int
    name: str
    surface: str
    settings: Mapping[str, str]
    sealed_secret: bytes = field(repr=False)
    created_at: datetime


def insert_account(
    tx: sa.Connection, *, name: str, surface: str, settings: Mapping[str, str], now: datetime
) -> int | None:
    """Insert an account, its secret still empty, and give its id; None: the name is taken."""
    values = {"name": name, "surface": surface, "settings": json.dumps(dict(settings)), "created_at": now}
    insert = dialect_insert(platform_accounts, tx).values(sealed_secret=b"", **values)
    statement = insert.on_conflict_do_nothing(index_elements=["name"]).returning(platform_accounts.c.id)
    found: int | None = tx.scalar(statement)
    return found


def set_secret(tx: sa.Connection, account_id: int, sealed_secret: bytes) -> None:
    """Set the secret of an account, sealed for its row."""
    row = platform_accounts.c.id == account_id
    tx.execute(sa.update(platform_accounts).where(row).values(sealed_secret=sealed_secret))


def set_settings(tx: sa.Connection, account_id: int, settings: Mapping[str, str]) -> None:
    """Set all settings of an account anew."""
    row = platform_accounts.c.id == account_id
    tx.execute(sa.update(platform_accounts).where(row).values(settings=json.dumps(dict(settings))))


def list_accounts(tx: sa.Connection, surface: str | None = None) -> list[StoredPlatformAccount]:
    """Give all accounts, or those of one surface, by name."""
    statement = sa.select(platform_accounts).order_by(platform_accounts.c.name)
    if surface is not None:
        statement = statement.where(platform_accounts.c.surface == surface)
    return [_read(row) for row in tx.execute(statement)]


def find_account(tx: sa.Connection, name: str) -> StoredPlatformAccount | None:
    """Give the account of that name, or None."""
    row = tx.execute(sa.select(platform_accounts).where(platform_accounts.c.name == name)).one_or_none()
    return _read(row) if row else None


def delete_account(tx: sa.Connection, account_id: int) -> None:
    """Delete an account."""
    tx.execute(sa.delete(platform_accounts).where(platform_accounts.c.id == account_id))


def _read(row: sa.Row[tuple[object, ...]]) -> StoredPlatformAccount:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return StoredPlatformAccount(**{**values, "settings": json.loads(str(values["settings"]))})
