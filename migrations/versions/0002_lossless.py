"""Lossless: keys for the API, rejections that were replayed, holes in frame counters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A migration stands by itself: it says what the tables were at this point, whatever they become later.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: the row id needs INTEGER PRIMARY KEY
UtcTime = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")  # SQLite: ISO 8601 text

# A session's frames are put in the order of the air, so that a 16-bit counter that begins anew (65535, 0) is seen as
# one step; a jump back over the wrap is a late frame. 32768 is half of 16 bits: networks let no counter leap so far
# (MAX_FCNT_GAP is 16384, LoRaWAN 1.0.3 section 4.3.1.5). Every PARTITION BY names dev_eui, for only then do both
# databases push a question for one device down to ix_uplinks_dev_eui_at.
# A later migration that builds `uplinks` anew on SQLite must drop this view first, and make it again.
UPLINK_GAPS = """
CREATE VIEW uplink_gaps AS
SELECT dev_eui, session_id, connection_id, after_f_cnt_up, f_cnt_up AS before_f_cnt_up,
       counted - after_counted - 1 AS missing,
       CASE WHEN after_at < at THEN after_at ELSE at END AS from_at,
       CASE WHEN after_at < at THEN at ELSE after_at END AS until_at
FROM (
    SELECT dev_eui, session_id, connection_id, f_cnt_up, at, counted,
           LAG(f_cnt_up) OVER frames AS after_f_cnt_up,
           LAG(counted) OVER frames AS after_counted,
           LAG(at) OVER frames AS after_at
    FROM (
        SELECT id, dev_eui, session_id, connection_id, f_cnt_up, at,
               f_cnt_up + 65536 * CAST(SUM(wrap) OVER (
                   PARTITION BY dev_eui, session_id ORDER BY at, id ROWS UNBOUNDED PRECEDING
               ) AS BIGINT) AS counted
        FROM (
            SELECT id, dev_eui, session_id, connection_id, f_cnt_up, at,
                   CASE
                       WHEN f_cnt_up > 65535 THEN 0
                       WHEN LAG(f_cnt_up) OVER heard > 65535 THEN 0
                       WHEN LAG(f_cnt_up) OVER heard - f_cnt_up > 32768 THEN 1
                       WHEN f_cnt_up - LAG(f_cnt_up) OVER heard > 32768 THEN -1
                       ELSE 0
                   END AS wrap
            FROM uplinks
            WHERE session_id IS NOT NULL AND f_cnt_up IS NOT NULL
            WINDOW heard AS (PARTITION BY dev_eui, session_id ORDER BY at, id)
        ) AS stepped
    ) AS unwrapped
    WINDOW frames AS (PARTITION BY dev_eui, session_id ORDER BY counted, at, id)
) AS neighbours
WHERE counted - after_counted > 1
"""


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("last_used_at", UtcTime),
        sa.Column("revoked_at", UtcTime),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("name", name="uq_api_keys_name"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
    )
    op.add_column("rejections", sa.Column("replayed_at", UtcTime))
    op.add_column("rejections", sa.Column("replayed_report_id", Id))
    # Without it, each report that is pruned would read all locations, which lose their report_id.
    op.create_index("ix_locations_report_id", "locations", ["report_id"])
    op.execute(UPLINK_GAPS)


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
