"""Runs over many devices at a network, row by row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# A migration stands by itself: it says what the tables were at this point, whatever they become later.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: the row id needs INTEGER PRIMARY KEY
UtcTime = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")  # SQLite: ISO 8601 text


def upgrade() -> None:
    op.create_table(
        "device_runs",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("file_sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stop_reason", sa.Text()),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("began_at", UtcTime, nullable=False),
        sa.Column("beat_at", UtcTime, nullable=False),
        sa.Column("ended_at", UtcTime),
        sa.PrimaryKeyConstraint("id", name="pk_device_runs"),
    )
    op.create_table(
        "device_run_rows",
        sa.Column("run_id", Id, autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dev_eui", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "line", name="pk_device_run_rows"),
        sa.ForeignKeyConstraint(["run_id"], ["device_runs.id"], name="fk_device_run_rows_run_id", ondelete="CASCADE"),
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
