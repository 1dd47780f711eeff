"""The tables of alarms and traffic, as networks tell of them, and of how far each poll has come. No secret in any."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from receiver.storage.columns import Id, UtcTime, metadata, row_id

alarms = Table(
    "alarms",
    metadata,
    row_id(),
    Column("account_id", Id, ForeignKey("platform_accounts.id", ondelete="CASCADE"), nullable=False),
    Column("remote_id", Text, nullable=False),  # ThingPark: alarmUid; KPN: ref
    Column("dev_eui", Text),  # null: the network gave a reference to a device that it does not know any more
    Column("device_ref", Text),  # KPN names the device by a number of its own
    Column("type_id", Integer),
    Column("state", Text, nullable=False),  # CLEARED | INDETERMINATE | WARNING | MINOR | MAJOR | CRITICAL
    Column("occurrence", Integer),
    Column("acked", Boolean, nullable=False),
    Column("acked_by", Text),
    Column("acked_at", UtcTime),
    Column("created_at", UtcTime),  # these two by the network's clock
    Column("updated_at", UtcTime),
    Column("infos", Text, nullable=False),  # a JSON list of texts; what they say depends on the type
    Column("first_seen_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),  # when another state, acknowledgement … was last seen here
    Column("polled_at", UtcTime, nullable=False),  # when the network listed it last
    Column("gone_at", UtcTime),  # since when the network knows it no more
    UniqueConstraint("account_id", "remote_id"),
    Index("ix_alarms_dev_eui", "dev_eui", "id"),
    sqlite_autoincrement=True,  # streams and people keep these ids
)

traffic = Table(  # a row for each span in which the network counted anything of a device
    "traffic",
    metadata,
    row_id(),
    Column("account_id", Id, nullable=False),  # no key: what was counted stays when an account is removed
    Column("dev_eui", Text, nullable=False),
    Column("at", UtcTime, nullable=False),  # when the span begins
    Column("step_s", Integer, nullable=False),
    Column("up_count", Integer),
    Column("up_size_bytes", Id),
    Column("up_late_count", Integer),  # came later than they were heard; they are in up_count
    Column("up_lost_count", Integer),  # by the gaps of the counter; they are not
    Column("up_join_count", Integer),
    Column("down_count", Integer),  # sent and failed
    Column("down_size_bytes", Id),
    Column("down_failed_count", Integer),
    Column("flow_count", Integer),  # micro flows of a cellular device
    Column("flow_up_bytes", Id),
    Column("flow_down_bytes", Id),
    Column("instant_per", Float),
    Column("mean_per", Float),
    Column("rssi_dbm", Float),
    Column("snr_db", Float),
    Column("esp_dbm", Float),
    Column("polled_at", UtcTime, nullable=False),
    UniqueConstraint("dev_eui", "at", "step_s", "account_id"),
    Index("ix_traffic_at", "at", "id"),
)

platform_polls = Table(
    "platform_polls",
    metadata,
    Column("account_id", Id, ForeignKey("platform_accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("what", Text, primary_key=True),  # alarms | traffic | health
    Column("due_at", UtcTime, nullable=False),
    Column("began_at", UtcTime),  # of the walk that is under way, or was interrupted; null: there is none
    Column("position", Text),  # where it stands: the network's cursor, or the last DevEUI
    Column("done_from", UtcTime),  # the last whole walk: when it began, and when it ended
    Column("done_at", UtcTime),
    Column("result", Text),  # a JSON object: what it found
    Column("failures", Integer, nullable=False),  # one after another; 0: the last one went well
    Column("failed_at", UtcTime),
    Column("failure", Text),  # a sentence
    Column("refused_account", Text),  # a mark of the account as it was when its login was refused
    Column("lease_holder", Text),  # the process that polls
    Column("lease_until", UtcTime),
)
