"""Receive: connections, their keys, what was pushed, and the uplinks read from it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A migration stands by itself: it says what the tables were at this point, whatever they become later.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: the row id needs INTEGER PRIMARY KEY
UtcTime = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")  # SQLite: ISO 8601 text


def upgrade() -> None:
    _create_connections()
    _create_revisions()
    _create_sessions()
    _create_as_transport_keys()
    _create_devices()
    _create_rejections()
    _create_reports()
    _create_tunnel_keys()
    _create_deliveries()
    _create_locations()
    _create_notifications()
    _create_session_keys()
    _create_tunnel_key_uses()
    _create_uplinks()
    _create_receptions()


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the upgrade.")


def _create_connections() -> None:
    op.create_table(
        "connections",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("as_id", sa.Text(), nullable=False),
        sa.Column("max_deviation_s", sa.Integer(), nullable=False),
        sa.Column("payloads", sa.Text(), nullable=False),
        sa.Column("app_s_keys", sa.Text(), nullable=False),
        sa.Column("downlink_url", sa.Text()),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_connections"),
        sa.UniqueConstraint("name", name="uq_connections_name"),
    )


def _create_revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", Id, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_revisions"),
    )


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("dev_eui", sa.Text(), nullable=False),
        sa.Column("dev_addr", sa.Text()),
        sa.Column("began_by", sa.Text(), nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("last_at", UtcTime),
        sa.Column("last_f_cnt_up", Id),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_dev_eui_id", "sessions", ["dev_eui", "id"])


def _create_as_transport_keys() -> None:
    op.create_table(
        "as_transport_keys",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("connection_id", Id, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("public_key_pem", sa.Text()),
        sa.Column("sealed_private_key", sa.LargeBinary()),
        sa.Column("sealed_key", sa.LargeBinary()),
        sa.Column("key_check_value", sa.Text()),
        sa.Column("confirmation", sa.Text()),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("imported_at", UtcTime),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connections.id"],
            name="fk_as_transport_keys_connection_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_as_transport_keys"),
    )
    op.create_index("ix_as_transport_keys_connection_id", "as_transport_keys", ["connection_id"])


def _create_devices() -> None:
    op.create_table(
        "devices",
        sa.Column("dev_eui", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("name_by_hand", sa.Boolean(), nullable=False),
        sa.Column("connection_id", Id),
        sa.Column("customer_id", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("model_version", sa.Text()),
        sa.Column("first_seen_at", UtcTime, nullable=False),
        sa.Column("last_seen_at", UtcTime, nullable=False),
        sa.Column("last_f_cnt_up", Id),
        sa.Column("battery_level", sa.Integer()),
        sa.Column("margin_db", sa.Float()),
        sa.Column("status_at", UtcTime),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_devices_connection_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("dev_eui", name="pk_devices"),
    )
    op.create_index("ix_devices_connection_id", "devices", ["connection_id"])


def _create_rejections() -> None:
    op.create_table(
        "rejections",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("connection_id", Id),
        sa.Column("path_name", sa.Text(), nullable=False),
        sa.Column("received_at", UtcTime, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_rejections_connection_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rejections"),
    )
    op.create_index("ix_rejections_connection_id_id", "rejections", ["connection_id", "id"])
    op.create_index("ix_rejections_received_at", "rejections", ["received_at"])


def _create_reports() -> None:
    op.create_table(
        "reports",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("connection_id", Id),
        sa.Column("tunnel_key_id", Id),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("dev_eui", sa.Text()),
        sa.Column("received_at", UtcTime, nullable=False),
        sa.Column("sent_at", UtcTime, nullable=False),
        sa.Column("delivery_id", sa.LargeBinary(), nullable=False),
        sa.Column("frame_id", sa.LargeBinary()),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("note", sa.Text()),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_reports_connection_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.UniqueConstraint("delivery_id", name="uq_reports_delivery_id"),
        sa.UniqueConstraint("frame_id", name="uq_reports_frame_id"),
    )
    op.create_index("ix_reports_kind_id", "reports", ["kind", "id"])
    op.create_index(
        "ix_reports_unread",
        "reports",
        ["id"],
        sqlite_where=sa.text("state = 'unread'"),
        postgresql_where=sa.text("state = 'unread'"),
    )
    op.create_index(
        "ix_reports_waiting",
        "reports",
        ["dev_eui"],
        sqlite_where=sa.text("state = 'waiting_for_key'"),
        postgresql_where=sa.text("state = 'waiting_for_key'"),
    )


def _create_tunnel_keys() -> None:
    op.create_table(
        "tunnel_keys",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("connection_id", Id, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("retired_at", UtcTime),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_tunnel_keys_connection_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_tunnel_keys"),
        sa.UniqueConstraint("connection_id", "key_id", name="uq_tunnel_keys_connection_id_key_id"),
    )
    op.create_index("ix_tunnel_keys_connection_id", "tunnel_keys", ["connection_id"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("report_id", Id, nullable=False),
        sa.Column("connection_id", Id),
        sa.Column("tunnel_key_id", Id),
        sa.Column("delivery_id", sa.LargeBinary(), nullable=False),
        sa.Column("first_received_at", UtcTime, nullable=False),
        sa.Column("last_received_at", UtcTime, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_deliveries_report_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_deliveries_connection_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("delivery_id", name="uq_deliveries_delivery_id"),
    )
    op.create_index("ix_deliveries_report_id", "deliveries", ["report_id"])


def _create_locations() -> None:
    op.create_table(
        "locations",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("dev_eui", sa.Text(), nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("report_id", Id),
        sa.Column("latitude", sa.Float(), nullable=False),
        sa.Column("longitude", sa.Float(), nullable=False),
        sa.Column("altitude_m", sa.Float()),
        sa.Column("radius_m", sa.Float()),
        sa.Column("altitude_radius_m", sa.Float()),
        sa.Column("accuracy_m", sa.Float()),
        sa.Column("algorithm", sa.Text()),
        sa.Column("f_cnt_up_used", Id),
        sa.Column("velocity_north_m_s", sa.Float()),
        sa.Column("velocity_east_m_s", sa.Float()),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_locations_report_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_locations"),
        sa.UniqueConstraint("dev_eui", "at", name="uq_locations_dev_eui_at"),
    )


def _create_notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("report_id", Id),
        sa.Column("dev_eui", sa.Text(), nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("dev_addr", sa.Text()),
        sa.Column("session_id", Id),
        sa.Column("detail", sa.Text()),
        sa.Column("battery_level", sa.Integer()),
        sa.Column("margin_db", sa.Float()),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_notifications_report_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_notifications_session_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
        sa.UniqueConstraint("dev_eui", "type", "at", name="uq_notifications_dev_eui_type_at"),
    )
    op.create_index("ix_notifications_report_id", "notifications", ["report_id"])


def _create_session_keys() -> None:
    op.create_table(
        "session_keys",
        sa.Column("session_id", Id, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("wrapped_field", sa.Text()),
        sa.Column("as_transport_key_id", Id),
        sa.Column("sealed_app_s_key", sa.LargeBinary()),
        sa.Column("set_at", UtcTime, nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_session_keys_session_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["as_transport_key_id"],
            ["as_transport_keys.id"],
            name="fk_session_keys_as_transport_key_id",
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("session_id", name="pk_session_keys"),
    )


def _create_tunnel_key_uses() -> None:
    op.create_table(
        "tunnel_key_uses",
        sa.Column("tunnel_key_id", Id, nullable=False),
        sa.Column("hits", Id, nullable=False),
        sa.Column("last_used_at", UtcTime),
        sa.ForeignKeyConstraint(
            ["tunnel_key_id"], ["tunnel_keys.id"], name="fk_tunnel_key_uses_tunnel_key_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tunnel_key_id", name="pk_tunnel_key_uses"),
    )


def _create_uplinks() -> None:
    op.create_table(
        "uplinks",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("report_id", Id),
        sa.Column("connection_id", Id),
        sa.Column("session_id", Id),
        sa.Column("dev_eui", sa.Text(), nullable=False),
        sa.Column("dev_addr", sa.Text()),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("received_at", UtcTime, nullable=False),
        sa.Column("f_port", sa.Integer()),
        sa.Column("f_cnt_up", Id),
        sa.Column("payload_state", sa.Text(), nullable=False),
        sa.Column("frm_payload", sa.LargeBinary()),
        sa.Column("payload_size_bytes", sa.Integer(), nullable=False),
        sa.Column("frame_check", sa.Text()),
        sa.Column("conflicting", sa.Boolean(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("m_type", sa.Integer()),
        sa.Column("adr", sa.Boolean()),
        sa.Column("ack", sa.Boolean()),
        sa.Column("f_cnt_down", Id),
        sa.Column("spreading_factor", sa.Integer()),
        sa.Column("frequency_mhz", sa.Float()),
        sa.Column("sub_band", sa.Text()),
        sa.Column("channel", sa.Text()),
        sa.Column("rssi_dbm", sa.Float()),
        sa.Column("snr_db", sa.Float()),
        sa.Column("esp_dbm", sa.Float()),
        sa.Column("lrr_id", sa.Text()),
        sa.Column("gateway_count", sa.Integer()),
        sa.Column("lost_uplinks", sa.Integer()),
        sa.Column("instant_per", sa.Float()),
        sa.Column("mean_per", sa.Float()),
        sa.Column("tx_power_dbm", sa.Float()),
        sa.Column("nb_trans", sa.Integer()),
        sa.Column("device_class", sa.Text()),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_uplinks_report_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_uplinks_connection_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_uplinks_session_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_uplinks"),
        sa.UniqueConstraint("report_id", name="uq_uplinks_report_id"),
        sa.UniqueConstraint("session_id", "f_cnt_up", "frame_check", name="uq_uplinks_session_id_f_cnt_up_frame_check"),
    )
    op.create_index("ix_uplinks_at", "uplinks", ["at"])
    op.create_index("ix_uplinks_dev_eui_at", "uplinks", ["dev_eui", "at"])


def _create_receptions() -> None:
    op.create_table(
        "receptions",
        sa.Column("uplink_id", Id, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("lrr_id", sa.Text(), nullable=False),
        sa.Column("chain", sa.Integer()),
        sa.Column("rssi_dbm", sa.Float()),
        sa.Column("snr_db", sa.Float()),
        sa.Column("esp_dbm", sa.Float()),
        sa.Column("latitude", sa.Float()),
        sa.Column("longitude", sa.Float()),
        sa.ForeignKeyConstraint(["uplink_id"], ["uplinks.id"], name="fk_receptions_uplink_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uplink_id", "position", name="pk_receptions"),
    )
    op.create_index("ix_receptions_lrr_id", "receptions", ["lrr_id"])
