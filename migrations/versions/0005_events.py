"""Events: what streams and forwarders follow, in one order for all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# A migration stands by itself: it says what the tables were at this point, whatever they become later.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: the row id needs INTEGER PRIMARY KEY
UtcTime = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")  # SQLite: ISO 8601 text


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", Id, nullable=False),
        sa.Column("dev_eui", sa.Text()),
        sa.Column("connection_id", Id),
        sa.Column("told_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    of_rejections = sa.text("kind = 'rejection'")
    op.create_index(
        "ix_events_rejections", "events", ["id"], postgresql_where=of_rejections, sqlite_where=of_rejections
    )
    op.create_table(
        "untold_rejections",
        sa.Column("rejection_id", Id, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("rejection_id", name="pk_untold_rejections"),
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
