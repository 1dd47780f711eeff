"""Alarms and traffic of devices, as the network counts them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# A migration stands by itself: it says what the tables were at this point, whatever they become later.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: the row id needs INTEGER PRIMARY KEY
UtcTime = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")  # SQLite: ISO 8601 text


def upgrade() -> None:
    op.create_table(
        "alarms",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=False),
        sa.Column("dev_eui", sa.Text()),
        sa.Column("device_ref", sa.Text()),
        sa.Column("type_id", sa.Integer()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("occurrence", sa.Integer()),
        sa.Column("acked", sa.Boolean(), nullable=False),
        sa.Column("acked_by", sa.Text()),
        sa.Column("acked_at", UtcTime),
        sa.Column("created_at", UtcTime),
        sa.Column("updated_at", UtcTime),
        sa.Column("infos", sa.Text(), nullable=False),
        sa.Column("first_seen_at", UtcTime, nullable=False),
        sa.Column("changed_at", UtcTime, nullable=False),
        sa.Column("polled_at", UtcTime, nullable=False),
        sa.Column("gone_at", UtcTime),
        sa.PrimaryKeyConstraint("id", name="pk_alarms"),
        sa.UniqueConstraint("account_id", "remote_id", name="uq_alarms_account_id_remote_id"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["platform_accounts.id"], name="fk_alarms_account_id", ondelete="CASCADE"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alarms_dev_eui", "alarms", ["dev_eui", "id"])
    op.create_table(
        "traffic",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("dev_eui", sa.Text(), nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("step_s", sa.Integer(), nullable=False),
        sa.Column("up_count", sa.Integer()),
        sa.Column("up_size_bytes", Id),
        sa.Column("up_late_count", sa.Integer()),
        sa.Column("up_lost_count", sa.Integer()),
        sa.Column("up_join_count", sa.Integer()),
        sa.Column("down_count", sa.Integer()),
        sa.Column("down_size_bytes", Id),
        sa.Column("down_failed_count", sa.Integer()),
        sa.Column("flow_count", sa.Integer()),
        sa.Column("flow_up_bytes", Id),
        sa.Column("flow_down_bytes", Id),
        sa.Column("instant_per", sa.Float()),
        sa.Column("mean_per", sa.Float()),
        sa.Column("rssi_dbm", sa.Float()),
        sa.Column("snr_db", sa.Float()),
        sa.Column("esp_dbm", sa.Float()),
        sa.Column("polled_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_traffic"),
        sa.UniqueConstraint("dev_eui", "at", "step_s", "account_id", name="uq_traffic_dev_eui_at_step_s_account_id"),
    )
    op.create_index("ix_traffic_at", "traffic", ["at", "id"])
    op.create_table(
        "platform_polls",
        sa.Column("account_id", Id, autoincrement=False, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("due_at", UtcTime, nullable=False),
        sa.Column("began_at", UtcTime),
        sa.Column("position", sa.Text()),
        sa.Column("done_from", UtcTime),
        sa.Column("done_at", UtcTime),
        sa.Column("result", sa.Text()),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", UtcTime),
        sa.Column("failure", sa.Text()),
        sa.Column("refused_account", sa.Text()),
        sa.Column("lease_holder", sa.Text()),
        sa.Column("lease_until", UtcTime),
        sa.PrimaryKeyConstraint("account_id", "what", name="pk_platform_polls"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["platform_accounts.id"], name="fk_platform_polls_account_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
