"""Telemetry: codecs and what they are for, what they made of each uplink, and measurements over time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# A migration stands by itself: it says what the tables were at this point, whatever they become later.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: the row id needs INTEGER PRIMARY KEY
UtcTime = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")  # SQLite: ISO 8601 text

TELEMETRY = """
CREATE VIEW telemetry AS
SELECT series.dev_eui, telemetry_values.at, series.name, telemetry_values.value, telemetry_values.text,
       nullif(series.unit, '') AS unit, telemetry_values.uplink_id, telemetry_values.codec_version_id
FROM series JOIN telemetry_values ON telemetry_values.series_id = series.id
"""

# What LoRaWAN itself measures, in the same columns, under names that begin with `lorawan.`
LORAWAN = (
    ("rssi_dbm", "rssi_dbm", "dBm"),
    ("snr_db", "snr_db", "dB"),
    ("esp_dbm", "esp_dbm", "dBm"),
    ("spreading_factor", "spreading_factor", None),
    ("gateway_count", "gateway_count", None),
    ("frequency_mhz", "frequency_mhz", "MHz"),
    ("tx_power_dbm", "tx_power_dbm", "dBm"),
)
STATUS = (
    # LoRaWAN L2 1.0.4 section 5.5: 0 is mains power and 255 not measurable; 1 to 254 is the battery from empty to full.
    ("battery_percent", "round(battery_level * 1000.0 / 254) / 10", "%", "battery_level BETWEEN 1 AND 254"),
    ("margin_db", "margin_db", "dB", "margin_db IS NOT NULL"),
)


def _lorawan() -> str:
    parts = [
        _select(name, value, unit, "id", f"uplinks WHERE {value} IS NOT NULL") for name, value, unit in LORAWAN
    ] + [
        _select(name, value, unit, "CAST(NULL AS BIGINT)", f"notifications WHERE {condition}")
        for name, value, unit, condition in STATUS
    ]
    return f"CREATE VIEW lorawan_telemetry AS {' UNION ALL '.join(parts)}"


def _select(name: str, value: str, unit: str | None, uplink_id: str, source: str) -> str:
    return (
        f"SELECT dev_eui, at, 'lorawan.{name}' AS name, CAST({value} AS DOUBLE PRECISION) AS value,"  # noqa: S608
        f" CAST(NULL AS TEXT) AS text, {_text(unit)} AS unit, {uplink_id} AS uplink_id FROM {source}"
    )


def _text(unit: str | None) -> str:
    return f"CAST({'NULL' if unit is None else repr(unit)} AS TEXT)"


def upgrade() -> None:
    op.add_column("devices", sa.Column("driver", sa.Text()))
    op.create_table(
        "codecs",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("current_version_id", Id),
        sa.Column("added_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_codecs"),
        sa.UniqueConstraint("name", name="uq_codecs_name"),
    )
    op.create_table(
        "codec_versions",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("codec_id", Id, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("script", sa.Text(), nullable=False),
        sa.Column("units", sa.Text(), nullable=False),
        sa.Column("examples", sa.Text(), nullable=False),
        sa.Column("source", sa.Text()),
        sa.Column("added_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_codec_versions"),
        sa.ForeignKeyConstraint(["codec_id"], ["codecs.id"], name="fk_codec_versions_codec_id", ondelete="CASCADE"),
        sa.UniqueConstraint("codec_id", "version", name="uq_codec_versions_codec_id_version"),
    )
    op.create_table(
        "codec_assignments",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("codec_id", Id, nullable=False),
        sa.Column("dev_eui", sa.Text()),
        sa.Column("driver", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("connection_id", Id),
        sa.Column("f_port", sa.Integer()),
        sa.Column("assigned_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_codec_assignments"),
        sa.ForeignKeyConstraint(["codec_id"], ["codecs.id"], name="fk_codec_assignments_codec_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_codec_assignments_connection_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_codec_assignments_codec_id", "codec_assignments", ["codec_id"])
    op.create_index("ix_codec_assignments_connection_id", "codec_assignments", ["connection_id"])
    op.create_table(
        "undecoded",
        sa.Column("uplink_id", Id, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("uplink_id", name="pk_undecoded"),
        sa.ForeignKeyConstraint(["uplink_id"], ["uplinks.id"], name="fk_undecoded_uplink_id", ondelete="CASCADE"),
    )
    op.create_table(
        "decodings",
        sa.Column("uplink_id", Id, autoincrement=False, nullable=False),
        sa.Column("codec_version_id", Id),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("decoded", sa.Text()),
        sa.Column("warnings", sa.Text()),
        sa.Column("errors", sa.Text()),
        sa.Column("first_at", UtcTime, nullable=False),
        sa.Column("last_at", UtcTime, nullable=False),
        sa.Column("decoded_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("uplink_id", name="pk_decodings"),
        sa.ForeignKeyConstraint(["uplink_id"], ["uplinks.id"], name="fk_decodings_uplink_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["codec_version_id"], ["codec_versions.id"], name="fk_decodings_codec_version_id", ondelete="SET NULL"
        ),
    )
    op.create_index("ix_decodings_codec_version_id", "decodings", ["codec_version_id"])
    op.create_table(
        "series",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("dev_eui", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
        sa.UniqueConstraint("dev_eui", "name", "unit", name="uq_series_dev_eui_name_unit"),
    )
    op.create_table(
        "telemetry_values",
        sa.Column("series_id", Id, autoincrement=False, nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("uplink_id", Id, autoincrement=False, nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("text", sa.Text()),
        sa.Column("codec_version_id", Id),
        sa.PrimaryKeyConstraint("series_id", "at", "uplink_id", name="pk_telemetry_values"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "redecodings",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("codec_version_id", Id),
        sa.Column("since", UtcTime),
        sa.Column("until", UtcTime),
        sa.Column("last_id", Id, nullable=False),
        sa.Column("after_at", UtcTime),
        sa.Column("after_id", Id, nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.Column("finished_at", UtcTime),
        sa.PrimaryKeyConstraint("id", name="pk_redecodings"),
    )
    op.execute(TELEMETRY)
    op.execute(_lorawan())


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
