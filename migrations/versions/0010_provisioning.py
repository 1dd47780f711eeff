"""Provisioning: how far connecting a connection with a network has come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# A migration stands by itself: it says what the tables were at this point, whatever they become later.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: the row id needs INTEGER PRIMARY KEY
UtcTime = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")  # SQLite: ISO 8601 text


def upgrade() -> None:
    op.create_table(
        "provisionings",
        sa.Column("connection_id", Id, autoincrement=False, nullable=False),
        sa.Column("account_id", Id),
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text()),
        sa.Column("remote_ref", sa.Text()),
        sa.Column("key_id", sa.Text()),
        sa.Column("public_key_fingerprint", sa.Text()),
        sa.Column("wrapped_key", sa.Text()),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("connection_id", name="pk_provisionings"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_provisionings_connection_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["platform_accounts.id"], name="fk_provisionings_account_id", ondelete="SET NULL"
        ),
    )
    op.create_index("ix_provisionings_account_id", "provisionings", ["account_id"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
