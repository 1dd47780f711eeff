"""Forwarders: where events are sent on to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# A migration stands by itself: it says what the tables were at this point, whatever they become later.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: the row id needs INTEGER PRIMARY KEY
UtcTime = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")  # SQLite: ISO 8601 text


def upgrade() -> None:
    op.create_table(
        "forwarders",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("wants", sa.Text(), nullable=False),
        sa.Column("give_up_after_s", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("paused_at", UtcTime),
        sa.Column("paused_because", sa.Text()),
        sa.Column("holds_events", sa.Boolean(), nullable=False),
        sa.Column("position", Id, nullable=False),
        sa.Column("delivered", Id, nullable=False),
        sa.Column("last_delivered_at", UtcTime),
        sa.Column("last_error", sa.Text()),
        sa.Column("last_error_at", UtcTime),
        sa.Column("away_since", UtcTime),
        sa.Column("lease_holder", sa.Text()),
        sa.Column("lease_beat", Id, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_forwarders"),
        sa.UniqueConstraint("name", name="uq_forwarders_name"),
    )
    op.create_table(
        "forwarder_secrets",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("forwarder_id", Id, nullable=False),
        sa.Column("secret_id", sa.Text(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_forwarder_secrets"),
        sa.UniqueConstraint("forwarder_id", "secret_id", name="uq_forwarder_secrets_forwarder_id_secret_id"),
        _belongs_to_a_forwarder("forwarder_secrets"),
    )
    op.create_table(
        "forwarder_retries",
        sa.Column("forwarder_id", Id, nullable=False),
        sa.Column("event_id", Id, autoincrement=False, nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dev_eui", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_failed_at", UtcTime),
        sa.Column("next_at", UtcTime),
        sa.Column("error", sa.Text()),
        sa.Column("dead_at", UtcTime),
        sa.PrimaryKeyConstraint("forwarder_id", "event_id", name="pk_forwarder_retries"),
        _belongs_to_a_forwarder("forwarder_retries"),
    )
    op.create_index("ix_forwarder_retries_event_id", "forwarder_retries", ["event_id"])
    op.create_index("ix_forwarder_retries_next_at", "forwarder_retries", ["forwarder_id", "next_at"])
    alive = sa.text("dead_at IS NULL")
    op.create_index(
        "ix_forwarder_retries_lane",
        "forwarder_retries",
        ["forwarder_id", "lane", "event_id"],
        postgresql_where=alive,
        sqlite_where=alive,
    )


def _belongs_to_a_forwarder(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_forwarder_id"
    return sa.ForeignKeyConstraint(["forwarder_id"], ["forwarders.id"], name=name, ondelete="CASCADE")


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
