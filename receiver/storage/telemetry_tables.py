"""The tables of codecs and of what they make of uplinks, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Integer, Table, Text, UniqueConstraint, column, table

from receiver.storage.columns import Id, UtcTime, metadata, row_id

codecs = Table(
    "codecs",
    metadata,
    row_id(),
    Column("name", Text, nullable=False, unique=True),
    Column("current_version_id", Id),  # no foreign key: the two tables would need each other
    Column("added_at", UtcTime, nullable=False),
)

codec_versions = Table(  # by content: what stands in one never changes
    "codec_versions",
    metadata,
    row_id(),
    Column("codec_id", Id, ForeignKey("codecs.id", ondelete="CASCADE"), nullable=False),
    Column("version", Text, nullable=False),  # the first 12 hex digits of a SHA-256 over what follows
    Column("signature", Text, nullable=False),  # how it is called: `codecs.values.Signature`
    Column("script", Text, nullable=False),
    Column("units", Text, nullable=False),  # JSON: the unit by a measurement's name
    Column("examples", Text, nullable=False),  # JSON, as `codecs.examples` writes it; no part of the version
    Column("source", Text),  # where it was read from, for people
    Column("added_at", UtcTime, nullable=False),
    UniqueConstraint("codec_id", "version"),
)

codec_assignments = Table(  # which frames a codec is for: those that match all that is not null
    "codec_assignments",
    metadata,
    row_id(),
    Column("codec_id", Id, ForeignKey("codecs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("dev_eui", Text),
    Column("driver", Text),
    Column("model", Text),
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="CASCADE"), index=True),
    Column("f_port", Integer),
    Column("assigned_at", UtcTime, nullable=False),
)

undecoded = Table(  # uplinks with a clear payload that nobody looked at yet: the queue of the decoder
    "undecoded",
    metadata,
    Column("uplink_id", Id, ForeignKey("uplinks.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
)

decodings = Table(  # what a codec made of an uplink; apart from `uplinks`, whose wide rows are then written once
    "decodings",
    metadata,
    Column("uplink_id", Id, ForeignKey("uplinks.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("codec_version_id", Id, ForeignKey("codec_versions.id", ondelete="SET NULL"), index=True),  # as below
    Column("state", Text, nullable=False),  # decoded | failed
    Column("decoded", Text),  # JSON, as the codec gave it; null where it failed
    Column("warnings", Text),  # JSON, an array of sentences; null: none
    Column("errors", Text),
    Column("first_at", UtcTime, nullable=False),  # between these its measurements lie
    Column("last_at", UtcTime, nullable=False),
    Column("decoded_at", UtcTime, nullable=False),
)

series = Table(  # what is measured over time: one name of one device, in one unit
    "series",
    metadata,
    row_id(),
    Column("dev_eui", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("unit", Text, nullable=False),  # empty: none is known
    UniqueConstraint("dev_eui", "name", "unit"),
)

telemetry_values = Table(  # kept in the order of its key on SQLite: the values of a series over time lie side by side
    "telemetry_values",
    metadata,
    Column("series_id", Id, primary_key=True, autoincrement=False),  # no foreign key: it would be looked up for each
    Column("at", UtcTime, primary_key=True),
    Column("uplink_id", Id, primary_key=True, autoincrement=False),
    Column("value", Float),  # a number; of true and false 1 and 0, and `text` has the word
    Column("text", Text),
    Column("codec_version_id", Id),  # null: it came decoded from the network
    sqlite_with_rowid=False,
)

redecodings = Table(  # runs that decode history again, each with how far it came
    "redecodings",
    metadata,
    row_id(),
    Column("filter", Text, nullable=False),  # JSON: which frames; null: any
    Column("codec_version_id", Id),  # null: what is assigned. No key: a removed codec must not become that
    Column("since", UtcTime),
    Column("until", UtcTime),
    Column("last_id", Id, nullable=False),  # the newest uplink when it began: what came later is not in it
    Column("after_at", UtcTime),  # all up to this frame are done; null: none yet
    Column("after_id", Id, nullable=False),
    Column("counts", Text, nullable=False),  # JSON: frames and measurements so far
    Column("started_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
)

telemetry = table(  # a view: the two above put together, for people
    "telemetry",
    column("dev_eui", Text),
    column("at", UtcTime),
    column("name", Text),
    column("value", Float),
    column("text", Text),
    column("unit", Text),
    column("uplink_id", Id),
    column("codec_version_id", Id),
)
