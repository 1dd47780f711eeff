"""The tables of forwarders: where events are sent on to, how far each has come, and what it could not deliver yet."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, text

from receiver.storage.columns import Id, UtcTime, metadata, row_id

forwarders = Table(
    "forwarders",
    metadata,
    row_id(),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # webhook | mqtt
    Column("uid", Text, nullable=False),  # random: what makes message ids of this forwarder its own
    Column("url", Text, nullable=False),  # some hold a capability: not for the read-only role
    Column("options", Text, nullable=False),  # a JSON object; for an MQTT broker topic, client id, user name …
    Column("wants", Text, nullable=False),  # a JSON object: types, devices, connections, ports; an empty list is all
    Column("give_up_after_s", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("version", Integer, nullable=False),  # grows with each change that whoever delivers must notice
    Column("paused_at", UtcTime),
    Column("paused_because", Text),  # null: somebody paused it
    Column("holds_events", Boolean, nullable=False),  # events that it has not passed are kept for it
    Column("position", Id, nullable=False),  # the last event it has passed: delivered, not wanted, or in the retries
    Column("delivered", Id, nullable=False),
    Column("last_delivered_at", UtcTime),
    Column("last_error", Text),
    Column("last_error_at", UtcTime),
    Column("away_since", UtcTime),  # since when the target as a whole takes nothing
    Column("lease_holder", Text),  # the process that delivers
    Column("lease_beat", Id, nullable=False),  # grows while that process lives
)

forwarder_secrets = Table(
    "forwarder_secrets",
    metadata,
    row_id(),
    Column("forwarder_id", Id, ForeignKey("forwarders.id", ondelete="CASCADE"), nullable=False),
    Column("secret_id", Text, nullable=False),  # 's1', 's2', …
    Column("sealed_secret", LargeBinary, nullable=False),  # a signing secret or a password
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("forwarder_id", "secret_id"),
)

forwarder_retries = Table(  # what failed and waits behind it, lane by lane; and dead letters
    "forwarder_retries",
    metadata,
    Column("forwarder_id", Id, ForeignKey("forwarders.id", ondelete="CASCADE"), primary_key=True),
    Column("event_id", Id, primary_key=True, autoincrement=False),  # no key: rejections' events go by their number
    Column("lane", Text, nullable=False),  # what must stay in order: a device, or a connection's rejections
    Column("kind", Text, nullable=False),
    Column("dev_eui", Text),
    Column("attempts", Integer, nullable=False),
    Column("first_failed_at", UtcTime),
    Column("next_at", UtcTime),  # of the first of its lane; null for those behind it, and for dead letters
    Column("error", Text),
    Column("dead_at", UtcTime),
    Index("ix_forwarder_retries_event_id", "event_id"),  # pruning asks whether an event is still wanted
    Index("ix_forwarder_retries_next_at", "forwarder_id", "next_at"),
    Index(
        "ix_forwarder_retries_lane",
        *("forwarder_id", "lane", "event_id"),
        postgresql_where=text("dead_at IS NULL"),
        sqlite_where=text("dead_at IS NULL"),
    ),
)
