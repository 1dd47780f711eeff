"""Which connections can carry downlinks, and what a person does about one that cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.storage.things_accounts import find_account

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import sqlalchemy as sa

    from receiver.storage.connections import Connection


def can_carry(tx: sa.Connection, connection: Connection) -> str | None:
    """Give None if downlinks can go by a connection, or the sentence that says why not and what to do."""
    reason = _REASONS.get(connection.platform)
    if reason is None:
        return f"Connection {connection.name} is of platform {connection.platform}, which this version cannot send by."
    return reason(tx, connection)


def _without_url(_tx: sa.Connection, connection: Connection) -> str | None:
    """Of the tunnel interface: the network's address for downlinks differs between platforms and owners."""
    if connection.downlink_url is not None:
        return None
    return (
        f"Connection {connection.name} has no downlink URL, so nothing can be sent by it. Give one that has,"
        f" or set it: `receiver connection downlinks {connection.name} --url URL`."
    )


def _without_account(tx: sa.Connection, connection: Connection) -> str | None:
    if find_account(tx, connection.id) is not None:
        return None
    return (
        f"Connection {connection.name} is of KPN Things and has no account there to send by:"
        f" `receiver connection set-things-account {connection.name}` gives it one."
    )


_REASONS: Mapping[str, Callable[[sa.Connection, Connection], str | None]] = {
    "thingpark": _without_url,
    "kpn-lora": _without_url,
    "kpn-things": _without_account,
}
"""By platform, what tells that a connection cannot carry downlinks."""
