"""The table of what was set up at networks by command, as the newest migration leaves it."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Table, Text

from receiver.storage.columns import Id, UtcTime, metadata

provisionings = Table(  # one for each connection that `connect` was run for; how far it came
    "provisionings",
    metadata,
    Column(
        "connection_id", Id, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("account_id", Id, ForeignKey("platform_accounts.id", ondelete="SET NULL"), index=True),
    Column("surface", Text, nullable=False),  # kpn-lora | thingpark
    Column("state", Text, nullable=False),  # as `receiver.storage.provisionings.State`
    Column("wanted", Text, nullable=False),  # a JSON object: what was asked for, without a secret
    Column("remote_id", Text),  # as devices name it: TWA_100001135.2647
    Column("remote_ref", Text),  # as its own path names it: 2647
    Column("key_id", Text),  # of the tunnel key that the network was given last
    Column("public_key_fingerprint", Text),  # of the RSA key that the network was given last
    Column("wrapped_key", Text),  # the network's answer to it, under that RSA key; empty once it is imported
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)
