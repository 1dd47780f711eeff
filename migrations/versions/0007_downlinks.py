"""Downlinks: the ledger, its events, and the counters of key streams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# A migration stands by itself: it says what the tables were at this point, whatever they become later.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: the row id needs INTEGER PRIMARY KEY
UtcTime = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")  # SQLite: ISO 8601 text


def upgrade() -> None:
    op.add_column("devices", sa.Column("lorawan_version", sa.Text()))
    op.create_table(
        "downlinks",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("dev_eui", sa.Text(), nullable=False),
        sa.Column("connection_id", Id),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text()),
        sa.Column("f_port", sa.Integer()),
        sa.Column("payload", sa.LargeBinary()),
        sa.Column("object", sa.Text()),
        sa.Column("codec_version_id", Id),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("flush", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("not_before", UtcTime),
        sa.Column("expires_at", UtcTime),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", UtcTime, nullable=False),
        sa.Column("cause", sa.Text()),
        sa.Column("detail", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcTime),
        sa.Column("lease", sa.Text()),
        sa.Column("lease_until", UtcTime),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("frm_payload", sa.LargeBinary()),
        sa.Column("f_cnt_down", Id),
        sa.Column("session_id", Id),
        sa.Column("sent_at", UtcTime),
        sa.PrimaryKeyConstraint("id", name="pk_downlinks"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_downlinks_connection_id", ondelete="SET NULL"
        ),
        sa.UniqueConstraint("correlation_id", name="uq_downlinks_correlation_id"),
    )
    op.create_index("ix_downlinks_connection_id", "downlinks", ["connection_id"])
    op.create_index("ix_downlinks_state_due_at", "downlinks", ["state", "due_at"])
    op.create_index("ix_downlinks_dev_eui_id", "downlinks", ["dev_eui", "id"])
    is_open = sa.text("state IN ('queued', 'sending', 'unknown')")
    op.create_index("ix_downlinks_open", "downlinks", ["dev_eui", "id"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "downlink_events",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("downlink_id", Id, nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text()),
        sa.Column("detail", sa.Text()),
        sa.Column("request", sa.Text()),
        sa.Column("answer", sa.Text()),
        sa.Column("report_id", Id),
        sa.PrimaryKeyConstraint("id", name="pk_downlink_events"),
        sa.ForeignKeyConstraint(
            ["downlink_id"], ["downlinks.id"], name="fk_downlink_events_downlink_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_downlink_events_downlink_id", "downlink_events", ["downlink_id"])
    op.create_table(
        "downlink_keys",
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("downlink_id", Id, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("creator", "key", name="pk_downlink_keys"),
        sa.ForeignKeyConstraint(
            ["downlink_id"], ["downlinks.id"], name="fk_downlink_keys_downlink_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_downlink_keys_downlink_id", "downlink_keys", ["downlink_id"])
    op.create_table(
        "downlink_counters",
        sa.Column("lane", sa.LargeBinary(), nullable=False),
        sa.Column("next", Id, nullable=False),
        sa.PrimaryKeyConstraint("lane", name="pk_downlink_counters"),
    )
    op.create_table(
        "downlink_counter_uses",
        sa.Column("lane", sa.LargeBinary(), nullable=False),
        sa.Column("f_cnt_down", Id, autoincrement=False, nullable=False),
        sa.Column("downlink_id", Id, nullable=False),
        sa.Column("used_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("lane", "f_cnt_down", name="pk_downlink_counter_uses"),
    )
    op.create_table(
        "downlink_transports",
        sa.Column("connection_id", Id, autoincrement=False, nullable=False),
        sa.Column("time_form", sa.Text(), nullable=False),
        sa.Column("held_since", UtcTime),
        sa.Column("held_cause", sa.Text()),
        sa.Column("held_detail", sa.Text()),
        sa.Column("next_try_at", UtcTime),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", name="pk_downlink_transports"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_downlink_transports_connection_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
