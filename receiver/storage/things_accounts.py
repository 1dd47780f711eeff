"""SQL for the accounts that downlinks go to KPN Things by. The sealed secret passes through; nothing is opened here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from receiver.storage.engine import dialect_insert
from receiver.storage.things_tables import things_accounts

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """One row of `things_accounts`."""

    connection_id: int
    api_url: str
    token_url: str
    tenant_id: str
    audience: str
    key_id: str
    sealed_key_secret: bytes = field(repr=False)
    client_id: str | None
    security_context: str | None
    api: str
    downlink_path: str | None
    downlink_body: str | None
    set_at: datetime


def put_account(tx: sa.Connection, account: StoredAccount) -> None:
    """Set the account of a connection, in place of the one that it has."""
    values = asdict(account)
    insert = dialect_insert(things_accounts, tx).values(values)
    del values["connection_id"]
    tx.execute(insert.on_conflict_do_update(index_elements=["connection_id"], set_=values))


def find_account(tx: sa.Connection, connection_id: int) -> StoredAccount | None:
    """Give the account of a connection, or None."""
    row = tx.execute(sa.select(things_accounts).where(things_accounts.c.connection_id == connection_id)).one_or_none()
    return StoredAccount(**row._mapping) if row else None  # noqa: SLF001 - SQLAlchemy's public name


def delete_account(tx: sa.Connection, connection_id: int) -> bool:
    """Delete the account of a connection; False if it has none."""
    statement = sa.delete(things_accounts).where(things_accounts.c.connection_id == connection_id)
    return bool(tx.execute(statement).rowcount)
