"""The table of events, which streams and forwarders follow, and the queue before it."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text, text

from receiver.storage.columns import Id, UtcTime, metadata, row_id

_OF_REJECTIONS = text("kind = 'rejection'")

events = Table(  # what happened, in the order in which it can be seen: an id is never given behind a greater one
    "events",
    metadata,
    row_id(),
    Column("kind", Text, nullable=False),  # uplink | telemetry | rejection | downlink | alarm
    Column(
        "subject_id", Id, nullable=False
    ),  # of an uplink (both first kinds), a rejection, a downlink's event, an alarm
    Column("dev_eui", Text),
    Column("connection_id", Id),  # no key: what was told stays told when a connection is removed
    Column("told_at", UtcTime, nullable=False),
    Index("ix_events_rejections", "id", postgresql_where=_OF_REJECTIONS, sqlite_where=_OF_REJECTIONS),
    sqlite_autoincrement=True,  # an id must not come again after the newest rows were deleted
)

untold_rejections = Table(  # what server processes have refused; the worker gives it its place among the events
    "untold_rejections",
    metadata,
    Column("rejection_id", Id, primary_key=True, autoincrement=False),  # no key: pruning a rejection waits for nobody
)
