"""The ledger of downlinks: what was asked for, what became of it step by step, and which counters were used."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, text

from receiver.storage.columns import Id, UtcTime, metadata, row_id

downlinks = Table(
    "downlinks",
    metadata,
    row_id(),
    Column("dev_eui", Text, nullable=False),  # of a multicast group: the group's
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="SET NULL"), index=True),  # which carries it
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Text, nullable=False),  # `api-key NAME`, `command` …
    Column("reference", Text),  # the caller's own
    Column("f_port", Integer),  # null, as the payload: only the network's queue is flushed
    Column("payload", LargeBinary),  # clear
    Column("object", Text),  # JSON that a codec made the payload of
    Column("codec_version_id", Id),
    Column("confirmed", Boolean, nullable=False),
    Column("flush", Boolean, nullable=False),  # the network's queue is emptied first
    Column("priority", Integer, nullable=False),  # greater goes first
    Column("not_before", UtcTime),
    Column("expires_at", UtcTime),
    Column("state", Text, nullable=False),  # as `receiver.storage.downlink_events.DownlinkState`
    Column("state_at", UtcTime, nullable=False),
    Column("cause", Text),  # a word for machines: why it is in this state
    Column("detail", Text),  # a sentence for people
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcTime),  # when it is to be sent or settled next; null: nothing is to be done with it
    Column("lease", Text),  # who sends it at this moment; another may take it over from `lease_until` on
    Column("lease_until", UtcTime),
    Column("correlation_id", Text, nullable=False, unique=True),  # 16 upper-case hex digits, ours
    Column("frm_payload", LargeBinary),  # as it goes over the air, where it is encrypted here
    Column("f_cnt_down", Id),  # likewise; else as reported
    Column("session_id", Id),  # whose key encrypted it
    Column("sent_at", UtcTime),  # over the air, as reported
    Index("ix_downlinks_state_due_at", "state", "due_at"),
    Index("ix_downlinks_dev_eui_id", "dev_eui", "id"),
    Index(  # which of a device's is next: its history, which grows, is not looked through
        "ix_downlinks_open",
        "dev_eui",
        "id",
        sqlite_where=text("state IN ('queued', 'sending', 'unknown')"),
        postgresql_where=text("state IN ('queued', 'sending', 'unknown')"),
    ),
)

downlink_events = Table(  # every step of each, oldest first by id
    "downlink_events",
    metadata,
    row_id(),
    Column("downlink_id", Id, ForeignKey("downlinks.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", UtcTime, nullable=False),
    Column("state", Text, nullable=False),
    Column("cause", Text),
    Column("detail", Text),
    Column("request", Text),  # the exact one that was sent, key and token withheld
    Column("answer", Text),  # status and the beginning of the text
    Column("report_id", Id),  # that brought it; no key: reports are pruned
)

downlink_keys = Table(  # callers' Idempotency-Keys
    "downlink_keys",
    metadata,
    Column("creator", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("downlink_id", Id, ForeignKey("downlinks.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False),  # of what was asked for: the same key for another thing is an error
    Column("created_at", UtcTime, nullable=False),
)

downlink_counters = Table(  # the next FCntDown of each key stream
    "downlink_counters",
    metadata,
    Column("lane", LargeBinary, primary_key=True),  # made of AppSKey and DevAddr: what makes a key stream
    Column("next", Id, nullable=False),
)

downlink_counter_uses = Table(  # no counter of a key stream ever covers two payloads: the database refuses it
    "downlink_counter_uses",
    metadata,
    Column("lane", LargeBinary, primary_key=True),
    Column("f_cnt_down", Id, primary_key=True, autoincrement=False),
    Column("downlink_id", Id, nullable=False),  # no key: a deleted downlink's counter stays used
    Column("used_at", UtcTime, nullable=False),
)

downlink_transports = Table(  # how a connection's downlinks go, and whether they are held
    "downlink_transports",
    metadata,
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
    Column("time_form", Text, nullable=False),  # offset | bare: how Time is spelled
    Column("held_since", UtcTime),  # null: they go
    Column("held_cause", Text),
    Column("held_detail", Text),
    Column("next_try_at", UtcTime),  # one is tried then, to see whether it is mended, or the network back
    Column("failures", Integer, nullable=False),  # in a row
)
