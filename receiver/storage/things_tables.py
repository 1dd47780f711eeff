"""The tables of KPN Things, as the newest migration leaves them. Its shared secrets stand among the tunnel keys."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, LargeBinary, Table, Text

from receiver.storage.columns import Id, UtcTime, metadata

things_devices = Table(  # what KPN Things names by a UUID of its own, and which LoRaWAN device that is
    "things_devices",
    metadata,
    Column("uuid", Text, primary_key=True),  # lower case
    Column("dev_eui", Text, nullable=False),
    Column("mapped_at", UtcTime, nullable=False),
)

things_accounts = Table(  # how a connection logs in at KPN Things to send downlinks; not for the read-only role
    "things_accounts",
    metadata,
    Column("connection_id", Id, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
    Column("api_url", Text, nullable=False),
    Column("token_url", Text, nullable=False),  # may have {tenant} in it
    Column("tenant_id", Text, nullable=False),
    Column("audience", Text, nullable=False),  # the application id
    Column("key_id", Text, nullable=False),
    Column("sealed_key_secret", LargeBinary, nullable=False),
    Column("client_id", Text),  # of a sub-customer, for x-client-id
    Column("security_context", Text),  # of a sub-customer, for KPN-Things-Security-Context
    Column("api", Text, nullable=False),  # beta | new
    Column("downlink_path", Text),  # null: that of the form
    Column("downlink_body", Text),  # null: that of the form
    Column("set_at", UtcTime, nullable=False),
)
