"""The tables of accounts at management APIs, as the newest migration leaves them. Not for the read-only role."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, Table, Text, UniqueConstraint

from receiver.storage.columns import UtcTime, metadata, row_id

platform_accounts = Table(
    "platform_accounts",
    metadata,
    row_id(),
    Column("name", Text, nullable=False),
    Column("surface", Text, nullable=False),  # kpn-lora | thingpark | device-manager
    Column("settings", Text, nullable=False),  # a JSON object of texts, without a secret
    Column("sealed_secret", LargeBinary, nullable=False),  # the client secret or the password
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("name"),
    sqlite_autoincrement=True,  # what was polled by an account that was removed must not become another one's
)
