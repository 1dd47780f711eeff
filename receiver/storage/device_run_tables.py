"""The tables of runs over many devices at a network, as the newest migration leaves them. No key is ever in them."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, Table, Text

from receiver.storage.columns import Id, UtcTime, metadata, row_id

device_runs = Table(
    "device_runs",
    metadata,
    row_id(),
    Column("account", Text, nullable=False),  # by name: a run outlives its account
    Column("surface", Text, nullable=False),  # kpn-lora | thingpark
    Column("action", Text, nullable=False),  # create | update | delete | move
    Column("options", Text, nullable=False),  # a JSON object of texts: what stands for all rows
    Column("file_name", Text, nullable=False),
    Column("file_sha256", Text, nullable=False),  # lower-case hex: a run goes on with the same file alone
    Column("state", Text, nullable=False),  # running | stopped | done
    Column("stop_reason", Text),
    Column("owner", Text, nullable=False),  # host, process and a random part of who works on it, or did last
    Column("began_at", UtcTime, nullable=False),
    Column("beat_at", UtcTime, nullable=False),  # when the owner last gave a sign
    Column("ended_at", UtcTime),
)

device_run_rows = Table(
    "device_run_rows",
    metadata,
    Column("run_id", Id, ForeignKey("device_runs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),  # of the file, from 1
    Column("dev_eui", Text, nullable=False),
    Column("outcome", Text, nullable=False),  # as `receiver.storage.device_runs.Outcome`
    Column("ref", Text),  # what the network names the device by
    Column("error", Text),  # a sentence
    Column("at", UtcTime, nullable=False),
)
