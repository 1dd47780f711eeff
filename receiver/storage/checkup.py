"""What `receiver doctor` asks of the database: little of each, by index, so that a sick one is not made sicker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, literal_column, select

from receiver.storage.tables import as_transport_keys, rejections, reports, session_keys, tunnel_keys
from receiver.storage.things_tables import things_accounts

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

NEWEST_REPORTS = 200
"""Reports that the skew of clocks is told from."""
NEWEST_SESSION_KEYS = 20
"""Sealed AppSKeys that are tried; a fleet has one for each of its sessions."""

# As literals, and not as parameters: only so do both databases see that the partial indexes serve.
_UNREAD = reports.c.state == literal_column("'unread'")
_WAITING = reports.c.state == literal_column("'waiting_for_key'")


@dataclass(frozen=True, slots=True)
class Backlog:
    """Reports that wait to be read, since when the oldest does, and how many wait for a key."""

    unread: int
    oldest_received_at: datetime | None
    waiting_for_key: int


@dataclass(frozen=True, slots=True)
class SealedSecrets:
    """Sealed rows with what they were sealed for: (what a person calls it, purpose, the sealed bytes)."""

    tunnel_keys: list[tuple[int, str, bytes]]  # connection id, key id
    as_transport_keys: list[tuple[int, bytes]]  # connection id
    session_keys: list[tuple[int, bytes]]  # session id; the newest only
    things_accounts: list[tuple[int, bytes]]  # connection id


def get_backlog(connection: Connection) -> Backlog:
    """Count what waits, by the partial indexes."""
    unread = connection.scalar(select(func.count()).select_from(reports).where(_UNREAD)) or 0
    waiting = connection.scalar(select(func.count()).select_from(reports).where(_WAITING)) or 0
    oldest = connection.scalar(select(reports.c.received_at).where(_UNREAD).order_by(reports.c.id).limit(1))
    return Backlog(unread, oldest, waiting)


def count_rejections_since(connection: Connection, since: datetime) -> dict[str, int]:
    """Count the rejections since then by reason, the most frequent first; those that were replayed are not in it."""
    number = func.count()
    rows = connection.execute(
        select(rejections.c.reason, number)
        .where(rejections.c.received_at >= since, rejections.c.replayed_at.is_(None))
        .group_by(rejections.c.reason)
        .order_by(number.desc(), rejections.c.reason)
    )
    return {row.reason: row[1] for row in rows}


def list_newest_skews_s(connection: Connection, since: datetime) -> list[float]:
    """Give by how many seconds the newest reports, if of since then, came after the time that the network signed."""
    newest = (
        select(reports.c.received_at, reports.c.sent_at)
        .where(reports.c.content_type != "senml")  # KPN Things signs no time
        .order_by(reports.c.id.desc())
        .limit(NEWEST_REPORTS)
        .subquery()
    )
    rows = connection.execute(select(newest).where(newest.c.received_at >= since))
    return [(received_at - sent_at).total_seconds() for received_at, sent_at in rows]


def list_sealed_secrets(connection: Connection) -> SealedSecrets:
    """Give all sealed keys of connections, and the newest AppSKeys."""
    tunnel = connection.execute(select(tunnel_keys.c.connection_id, tunnel_keys.c.key_id, tunnel_keys.c.sealed_key))
    transport = connection.execute(
        select(as_transport_keys.c.connection_id, as_transport_keys.c.sealed_key).where(
            as_transport_keys.c.sealed_key.is_not(None)
        )
    )
    things = connection.execute(select(things_accounts.c.connection_id, things_accounts.c.sealed_key_secret))
    session = connection.execute(
        select(session_keys.c.session_id, session_keys.c.sealed_app_s_key)
        .where(session_keys.c.sealed_app_s_key.is_not(None))
        .order_by(session_keys.c.session_id.desc())
        .limit(NEWEST_SESSION_KEYS)
    )
    return SealedSecrets(
        [(connection_id, key_id, bytes(sealed)) for connection_id, key_id, sealed in tunnel],
        [(connection_id, bytes(sealed)) for connection_id, sealed in transport],
        [(session_id, bytes(sealed)) for session_id, sealed in session],
        [(connection_id, bytes(sealed)) for connection_id, sealed in things],
    )
