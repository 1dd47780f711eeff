"""KPN Things: whose secret a destination's is, devices that are named by UUID, and accounts for its API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A migration stands by itself: it says what the tables were at this point, whatever they become later.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: the row id needs INTEGER PRIMARY KEY
UtcTime = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")  # SQLite: ISO 8601 text


def upgrade() -> None:
    op.add_column("tunnel_keys", sa.Column("plug_uuid", sa.Text()))
    op.create_table(
        "things_devices",
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("dev_eui", sa.Text(), nullable=False),
        sa.Column("mapped_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("uuid", name="pk_things_devices"),
    )
    op.create_table(
        "things_accounts",
        sa.Column("connection_id", Id, autoincrement=False, nullable=False),
        sa.Column("api_url", sa.Text(), nullable=False),
        sa.Column("token_url", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed_key_secret", sa.LargeBinary(), nullable=False),
        sa.Column("client_id", sa.Text()),
        sa.Column("security_context", sa.Text()),
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("downlink_path", sa.Text()),
        sa.Column("downlink_body", sa.Text()),
        sa.Column("set_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("connection_id", name="pk_things_accounts"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_things_accounts_connection_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
