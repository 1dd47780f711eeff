"""SQL for connections and their tunnel keys. Sealed keys pass through as bytes; nothing is opened here.

Every change of what a running receiver keeps in memory bumps the revision `connections`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from receiver.errors import NotFoundError
from receiver.lorawan.identifiers import shorten
from receiver.storage.engine import bump_revision, dialect_insert
from receiver.storage.tables import connections, reports, tunnel_key_uses, tunnel_keys

if TYPE_CHECKING:
    from datetime import datetime

REVISION = "connections"
"""The name in `revisions` that a running receiver watches."""

RECENT_REPORTS_WINDOW = 100_000
"""Recent reports of one connection are looked for among this many newest ones of all: a bound on the scan."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One routing profile or Basic HTTPS connection, as stored; `max_deviation_s` counts both ways."""

    id: int
    name: str
    platform: str
    as_id: str
    max_deviation_s: int
    payloads: str
    app_s_keys: str
    downlink_url: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredTunnelKey:
    """One row of `tunnel_keys`; `retired_at` is None while pushes signed with it are accepted."""

    id: int
    connection_id: int
    key_id: str
    sealed_key: bytes
    created_at: datetime
    retired_at: datetime | None
    plug_uuid: str | None = None


@dataclass(frozen=True, slots=True)
class TunnelKeyUse:
    """How often and when last a key signed a report, those that are not read yet included."""

    hits: int
    last_used_at: datetime | None


def insert_connection(
    tx: sa.Connection,
    *,
    name: str,
    platform: str,
    as_id: str,
    max_deviation_s: int,
    payloads: str,
    app_s_keys: str,
    downlink_url: str | None,
    created_at: datetime,
) -> Connection | None:
    """Insert a connection and give it; None if the name is taken."""
    insert = dialect_insert(connections, tx).values(
        name=name,
        platform=platform,
        as_id=as_id,
        max_deviation_s=max_deviation_s,
        payloads=payloads,
        app_s_keys=app_s_keys,
        downlink_url=downlink_url,
        created_at=created_at,
    )
    row = tx.execute(insert.on_conflict_do_nothing(index_elements=["name"]).returning(*connections.c)).one_or_none()
    if row is None:
        return None
    bump_revision(tx, REVISION)
    return Connection(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping


def find_connection(tx: sa.Connection, name: str) -> Connection | None:
    """Give the connection of that name, or None."""
    row = tx.execute(sa.select(connections).where(connections.c.name == name)).one_or_none()
    return Connection(**row._mapping) if row else None  # noqa: SLF001


def get_connection(tx: sa.Connection, name: str) -> Connection:
    """Give the connection of that name.

    Raises:
        NotFoundError: there is none; the sentence names those there are.
    """
    connection = find_connection(tx, name)
    if connection is not None:
        return connection
    names = [known.name for known in list_connections(tx)]
    if not names:
        raise NotFoundError(
            f"There is no connection named {shorten(name)!r}, nor any other: add one with `receiver connection add`."
        )
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    raise NotFoundError(f"There is no connection named {shorten(name)!r}; there are: {', '.join(names[:10])}{more}.")


def list_connections(tx: sa.Connection) -> list[Connection]:
    """Give all connections by name."""
    rows = tx.execute(sa.select(connections).order_by(connections.c.name))
    return [Connection(**row._mapping) for row in rows]  # noqa: SLF001


def list_connection_names(tx: sa.Connection) -> dict[int, str]:
    """Give the names of all connections by id."""
    return {row.id: row.name for row in tx.execute(sa.select(connections.c.id, connections.c.name))}


def set_downlink_url(tx: sa.Connection, connection_id: int, url: str) -> None:
    """Let a connection's downlinks go elsewhere from now on."""
    tx.execute(sa.update(connections).where(connections.c.id == connection_id).values(downlink_url=url))
    bump_revision(tx, REVISION)


def delete_connection(tx: sa.Connection, connection_id: int) -> None:
    """Delete a connection with its keys and rejections; its reports, uplinks and devices stay, without it."""
    tx.execute(sa.delete(connections).where(connections.c.id == connection_id))
    bump_revision(tx, REVISION)


def lock_connection(tx: sa.Connection, connection_id: int) -> None:
    """Make other changes to this connection's keys wait for the end of the transaction.

    SQLite has one writer at a time and needs no lock.
    """
    tx.execute(sa.select(connections.c.id).where(connections.c.id == connection_id).with_for_update())


def count_reports(tx: sa.Connection, connection_id: int) -> int:
    """Count the stored reports of a connection."""
    query = sa.select(sa.func.count()).select_from(reports).where(reports.c.connection_id == connection_id)
    return tx.execute(query).scalar_one()


def insert_tunnel_key(
    tx: sa.Connection,
    *,
    connection_id: int,
    key_id: str,
    sealed_key: bytes,
    created_at: datetime,
    plug_uuid: str | None = None,
) -> None:
    """Insert a live tunnel key, or a shared secret of KPN Things, which may be of one destination."""
    tx.execute(
        sa.insert(tunnel_keys).values(
            connection_id=connection_id,
            key_id=key_id,
            sealed_key=sealed_key,
            created_at=created_at,
            plug_uuid=plug_uuid,
        )
    )
    bump_revision(tx, REVISION)


def list_tunnel_keys(tx: sa.Connection, connection_id: int) -> list[StoredTunnelKey]:
    """Give all tunnel keys of a connection, retired ones too, oldest first."""
    rows = tx.execute(
        sa.select(tunnel_keys).where(tunnel_keys.c.connection_id == connection_id).order_by(tunnel_keys.c.id)
    )
    return [StoredTunnelKey(**row._mapping) for row in rows]  # noqa: SLF001


def list_live_tunnel_keys(tx: sa.Connection) -> list[StoredTunnelKey]:
    """Give the live tunnel keys of all connections, newest first: the newest is the likeliest signer."""
    rows = tx.execute(
        sa.select(tunnel_keys).where(tunnel_keys.c.retired_at.is_(None)).order_by(tunnel_keys.c.id.desc())
    )
    return [StoredTunnelKey(**row._mapping) for row in rows]  # noqa: SLF001


def set_tunnel_key_retired(tx: sa.Connection, tunnel_key_id: int, retired_at: datetime) -> None:
    """Retire a tunnel key: pushes signed with it are no longer accepted."""
    tx.execute(sa.update(tunnel_keys).where(tunnel_keys.c.id == tunnel_key_id).values(retired_at=retired_at))
    bump_revision(tx, REVISION)


def get_tunnel_key_uses(tx: sa.Connection, connection_id: int) -> dict[int, TunnelKeyUse]:
    """Give the uses of each key of a connection, by the key's row id; a key that was never used is absent."""
    ids = sa.select(tunnel_keys.c.id).where(tunnel_keys.c.connection_id == connection_id)
    uses = {
        row.tunnel_key_id: TunnelKeyUse(row.hits, row.last_used_at)
        for row in tx.execute(sa.select(tunnel_key_uses).where(tunnel_key_uses.c.tunnel_key_id.in_(ids)))
    }
    unread = (
        sa.select(
            reports.c.tunnel_key_id,
            sa.func.count().label("hits"),
            sa.func.max(reports.c.received_at).label("last_used_at"),
        )
        .where(reports.c.state == sa.literal_column("'unread'"), reports.c.tunnel_key_id.in_(ids))
        .group_by(reports.c.tunnel_key_id)
    )
    for row in tx.execute(unread):
        counted = uses.get(row.tunnel_key_id, TunnelKeyUse(0, None))
        times = [at for at in (counted.last_used_at, row.last_used_at) if at is not None]
        uses[row.tunnel_key_id] = TunnelKeyUse(counted.hits + row.hits, max(times, default=None))
    return uses


def count_recent_by_tunnel_key(tx: sa.Connection, connection_id: int, newest: int) -> dict[int | None, int]:
    """Count, among the `newest` last reports of a connection, how many each tunnel key signed."""
    floor = sa.select(sa.func.max(reports.c.id) - RECENT_REPORTS_WINDOW).scalar_subquery()
    recent = (
        sa.select(reports.c.tunnel_key_id)
        .where(reports.c.id > floor, reports.c.connection_id == connection_id)
        .order_by(reports.c.id.desc())
        .limit(newest)
        .subquery()
    )
    query = sa.select(recent.c.tunnel_key_id, sa.func.count()).group_by(recent.c.tunnel_key_id)
    return {row[0]: row[1] for row in tx.execute(query)}
