"""The index of reports by kind leaves out uplinks, of which each push would write a page of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_reports_kind_id", table_name="reports")
    op.create_index(
        "ix_reports_other_kinds",
        "reports",
        ["kind", "id"],
        sqlite_where=sa.text("kind <> 'DevEUI_uplink'"),
        postgresql_where=sa.text("kind <> 'DevEUI_uplink'"),
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
