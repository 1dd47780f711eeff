"""Every table and column, as the newest migration leaves them. A test compares the two.

Times are UTC. Byte columns that people read have hex text beside them only where they are identifiers.
Secrets stand in `tunnel_keys`, `as_transport_keys`, `session_keys`, `forwarder_secrets` and `things_accounts`, sealed
by the keyring; `docs/read-only-role.sql` grants a role what else there is.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    column,
    table,
    text,
)

from receiver.storage.columns import Id, UtcTime, metadata, row_id

revisions = Table(
    "revisions",
    metadata,
    Column("name", Text, primary_key=True),  # 'connections': what a running receiver keeps in memory
    Column("value", Id, nullable=False),  # grows by one with each change, so that others notice
)

connections = Table(
    "connections",
    metadata,
    row_id(),
    Column("name", Text, nullable=False, unique=True),  # the last part of its push URL
    Column("platform", Text, nullable=False),  # thingpark | kpn-lora | kpn-things
    Column("as_id", Text, nullable=False),
    Column("max_deviation_s", Integer, nullable=False),
    Column("payloads", Text, nullable=False),  # clear | encrypted | auto: what a report without PayloadEncryption is
    Column("app_s_keys", Text, nullable=False),  # wrapped | clear: how the AppSKey in a report is written
    Column("downlink_url", Text),
    Column("created_at", UtcTime, nullable=False),
)

tunnel_keys = Table(
    "tunnel_keys",
    metadata,
    row_id(),
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("key_id", Text, nullable=False),  # 'k1', 'k2', …: what an operator types; of KPN Things 's1', 's2', …
    Column("sealed_key", LargeBinary, nullable=False),  # the text as typed, dashes and case kept
    Column("created_at", UtcTime, nullable=False),
    Column("retired_at", UtcTime),
    Column("plug_uuid", Text),  # of a shared secret of KPN Things: the destination that it is of, where that is known
    UniqueConstraint("connection_id", "key_id"),
)

tunnel_key_uses = Table(  # apart from the keys, so that counting needs no right to the secrets
    "tunnel_key_uses",
    metadata,
    Column("tunnel_key_id", Id, ForeignKey("tunnel_keys.id", ondelete="CASCADE"), primary_key=True),
    Column("hits", Id, nullable=False),  # reports read that were signed with it
    Column("last_used_at", UtcTime),
)

as_transport_keys = Table(
    "as_transport_keys",
    metadata,
    row_id(),
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("state", Text, nullable=False),  # awaiting | active | replaced
    Column("public_key_pem", Text),
    Column("sealed_private_key", LargeBinary),  # PKCS#8 DER
    Column("sealed_key", LargeBinary),  # 16 bytes; empty while awaiting the portal's answer
    Column("key_check_value", Text),  # 6 hex digits
    Column("confirmation", Text),  # confirmed | untested | doubtful: judged against stored reports
    Column("created_at", UtcTime, nullable=False),
    Column("imported_at", UtcTime),
)

reports = Table(
    "reports",
    metadata,
    row_id(),
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="SET NULL")),
    Column("tunnel_key_id", Id),  # the key that its token was made with
    Column("kind", Text, nullable=False),  # DevEUI_uplink, …: the report's own name
    Column("content_type", Text, nullable=False),  # json | xml, as sniffed
    Column("dev_eui", Text),  # upper case; null where the report has none
    Column("received_at", UtcTime, nullable=False),
    Column("sent_at", UtcTime, nullable=False),  # Time of the query
    Column("delivery_id", LargeBinary, nullable=False),  # time in ms, 6 bytes; 10 of SHA-256 over the signed text
    Column("frame_id", LargeBinary),  # the same over the frame; null for what is not a frame
    Column("deliveries", Integer, nullable=False),  # how often it was delivered, this one included
    Column("query", Text, nullable=False),  # as on the wire, without the Token
    Column("body", LargeBinary, nullable=False),  # as on the wire
    Column("state", Text, nullable=False),  # unread | read | waiting_for_key | unreadable
    Column("note", Text),  # why it is unreadable, or what in it could not be read
    UniqueConstraint("delivery_id"),
    UniqueConstraint("frame_id"),
    Index(
        "ix_reports_unread",
        "id",
        sqlite_where=text("state = 'unread'"),
        postgresql_where=text("state = 'unread'"),
    ),
    Index(
        "ix_reports_waiting",
        "dev_eui",
        sqlite_where=text("state = 'waiting_for_key'"),
        postgresql_where=text("state = 'waiting_for_key'"),
    ),
    Index(
        "ix_reports_other_kinds",  # uplinks are nearly all; who wants those asks `uplinks`
        "kind",
        "id",
        sqlite_where=text("kind <> 'DevEUI_uplink'"),
        postgresql_where=text("kind <> 'DevEUI_uplink'"),
    ),
    # By time there is no index: ids are given in the order of arrival. By device, ask `uplinks`. Each index costs
    # every push a page or two to write.
)

deliveries = Table(  # every further delivery of a report; the first one stands in `reports`
    "deliveries",
    metadata,
    row_id(),
    Column("report_id", Id, ForeignKey("reports.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="SET NULL")),
    Column("tunnel_key_id", Id),
    Column("delivery_id", LargeBinary, nullable=False, unique=True),
    Column("first_received_at", UtcTime, nullable=False),
    Column("last_received_at", UtcTime, nullable=False),
    Column("times", Integer, nullable=False),
    Column("query", Text, nullable=False),
)

rejections = Table(
    "rejections",
    metadata,
    row_id(),
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="CASCADE")),  # null: an unknown connection
    Column("path_name", Text, nullable=False),  # the connection's name as it was called
    Column("received_at", UtcTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("query", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON, an array of [name, value]; credentials left out
    Column("body", LargeBinary, nullable=False),
    Column("size_bytes", Integer, nullable=False),  # of the whole row's content, for the bounds
    Column("replayed_at", UtcTime),  # when a replay found it in order
    Column("replayed_report_id", Id),  # the report it became then, or was already; no key, for that may be pruned
    Index("ix_rejections_connection_id_id", "connection_id", "id"),
    Index("ix_rejections_received_at", "received_at"),
)

api_keys = Table(  # of callers of the API; the key itself is shown once and stored nowhere
    "api_keys",
    metadata,
    row_id(),
    Column("name", Text, nullable=False, unique=True),  # who calls with it
    Column("scope", Text, nullable=False),  # read | downlink | admin
    Column("key_hash", LargeBinary, nullable=False, unique=True),  # SHA-256 of the key's text; it has 256 random bits
    Column("created_at", UtcTime, nullable=False),
    Column("last_used_at", UtcTime),
    Column("revoked_at", UtcTime),
)

devices = Table(
    "devices",
    metadata,
    Column("dev_eui", Text, primary_key=True),
    Column("name", Text),
    Column("name_by_hand", Boolean, nullable=False),  # then CustomerData does not change it
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="SET NULL"), index=True),
    Column("customer_id", Text),
    Column("model", Text),  # CustomerData.alr.pro, the device profile's maker and model
    Column("model_version", Text),
    Column("lorawan_version", Text),  # 1.1 where reports have AFCntDn, or as set by hand; null: 1.0
    Column("driver", Text),  # DriverCfg, producer:module:version: the codec that the network itself would use
    Column("first_seen_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
    Column("last_f_cnt_up", Id),
    Column("battery_level", Integer),  # 0 mains, 1–254 of 254, 255 not measurable: LoRaWAN DevStatusAns
    Column("margin_db", Float),
    Column("status_at", UtcTime),
)

sessions = Table(
    "sessions",
    metadata,
    row_id(),
    Column("dev_eui", Text, nullable=False),
    Column("dev_addr", Text),  # null for reports of before 2016, which do not name it
    Column("began_by", Text, nullable=False),  # first_seen | join | app_s_key | counter_reset | manual
    Column("started_at", UtcTime, nullable=False),
    Column("last_at", UtcTime),  # network time of its newest uplink
    Column("last_f_cnt_up", Id),
    Index("ix_sessions_dev_eui_id", "dev_eui", "id"),
)

session_keys = Table(
    "session_keys",
    metadata,
    Column("session_id", Id, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("source", Text, nullable=False),  # report | join | manual
    Column("wrapped_field", Text),  # AppSKey as sent, wrapped under the AS transport key; of a clear one a digest
    Column("as_transport_key_id", Id, ForeignKey("as_transport_keys.id", ondelete="SET NULL")),  # which unwrapped it
    Column("sealed_app_s_key", LargeBinary),  # null until it could be unwrapped
    Column("set_at", UtcTime, nullable=False),
)

uplinks = Table(
    "uplinks",
    metadata,
    row_id(),
    Column("report_id", Id, ForeignKey("reports.id", ondelete="SET NULL"), unique=True),
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="SET NULL")),
    Column("session_id", Id, ForeignKey("sessions.id", ondelete="SET NULL")),
    Column("dev_eui", Text, nullable=False),
    Column("dev_addr", Text),
    Column("at", UtcTime, nullable=False),  # the network's time of the frame
    Column("received_at", UtcTime, nullable=False),
    Column("f_port", Integer),
    Column("f_cnt_up", Id),
    Column("payload_state", Text, nullable=False),  # clear | decrypted | waiting_for_key | network | none
    Column("frm_payload", LargeBinary),  # clear bytes; null while waiting for the key
    Column("payload_size_bytes", Integer, nullable=False),
    Column("frame_check", Text),  # MIC and a digest of the payload as sent: tells copies from conflicts
    Column("conflicting", Boolean, nullable=False),  # another frame has the same counter in the same session
    Column("late", Boolean, nullable=False),  # buffered in the gateway (Late=1), or out of order when it was read
    Column("m_type", Integer),  # 0 join request, 2 unconfirmed, 4 confirmed
    Column("adr", Boolean),
    Column("ack", Boolean),
    Column("f_cnt_down", Id),
    Column("spreading_factor", Integer),
    Column("frequency_mhz", Float),
    Column("sub_band", Text),
    Column("channel", Text),
    Column("rssi_dbm", Float),
    Column("snr_db", Float),
    Column("esp_dbm", Float),
    Column("lrr_id", Text),
    Column("gateway_count", Integer),
    Column("lost_uplinks", Integer),
    Column("instant_per", Float),
    Column("mean_per", Float),
    Column("tx_power_dbm", Float),
    Column("nb_trans", Integer),
    Column("device_class", Text),
    UniqueConstraint("session_id", "f_cnt_up", "frame_check"),
    Index("ix_uplinks_dev_eui_at", "dev_eui", "at"),
    Index("ix_uplinks_at", "at"),
)

receptions = Table(
    "receptions",
    metadata,
    Column("uplink_id", Id, ForeignKey("uplinks.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),  # as the network ordered them, best first
    Column("lrr_id", Text, nullable=False),
    Column("chain", Integer),
    Column("rssi_dbm", Float),
    Column("snr_db", Float),
    Column("esp_dbm", Float),
    Column("latitude", Float),  # of the gateway; only the best one's position is reported
    Column("longitude", Float),
    Index("ix_receptions_lrr_id", "lrr_id"),
)

locations = Table(
    "locations",
    metadata,
    row_id(),
    Column("dev_eui", Text, nullable=False),
    Column("at", UtcTime, nullable=False),  # DevLocTime: a fix that is repeated is one row
    Column("report_id", Id, ForeignKey("reports.id", ondelete="SET NULL"), index=True),  # that brought it first
    Column("latitude", Float, nullable=False),
    Column("longitude", Float, nullable=False),
    Column("altitude_m", Float),
    Column("radius_m", Float),
    Column("altitude_radius_m", Float),
    Column("accuracy_m", Float),
    Column("algorithm", Text),  # tdoa | rssi | both
    Column("f_cnt_up_used", Id),
    Column("velocity_north_m_s", Float),
    Column("velocity_east_m_s", Float),
    UniqueConstraint("dev_eui", "at"),
)

notifications = Table(
    "notifications",
    metadata,
    row_id(),
    Column("report_id", Id, ForeignKey("reports.id", ondelete="SET NULL"), index=True),
    Column("dev_eui", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("type", Text, nullable=False),  # join | reset | devstatusans | what the network says
    Column("dev_addr", Text),
    Column("session_id", Id, ForeignKey("sessions.id", ondelete="SET NULL")),  # that a join or reset began
    Column("detail", Text),  # reset: admin_reset | automatic_reset
    Column("battery_level", Integer),
    Column("margin_db", Float),
    UniqueConstraint("dev_eui", "type", "at"),
)

uplink_gaps = table(  # a view, so no part of `metadata`; its text stands in the migration that makes it
    "uplink_gaps",
    column("dev_eui", Text),
    column("session_id", Id),
    column("connection_id", Id),  # by which the frame after the hole came
    column("after_f_cnt_up", Id),
    column("before_f_cnt_up", Id),
    column("missing", Id),  # how many counters between the two were not heard
    column("from_at", UtcTime),  # the network's times of the two
    column("until_at", UtcTime),
)
