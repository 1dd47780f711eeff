"""SQL for AS transport keys, and for the stored reports that tell whether one is right.

Sealed keys pass through as bytes; nothing is opened here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from receiver.storage.tables import as_transport_keys, reports, session_keys, sessions

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

State = Literal["awaiting", "active", "replaced"]
"""`awaiting` the answer to a public key → `active` → `replaced`, which still reads older sessions."""

WRAPPED_DIGITS = 32
"""Of a clear AppSKey only a digest stands in `wrapped_field`, and that is longer."""
SAMPLED_REPORTS = 1000
SAMPLED_WINDOW = 200_000
"""Reports that are already read are sampled among this many newest ones of all: a bound on the scan."""


@dataclass(frozen=True, slots=True)
class StoredAsTransportKey:
    """One row of `as_transport_keys`."""

    id: int
    connection_id: int
    state: State
    public_key_pem: str | None
    sealed_private_key: bytes | None
    sealed_key: bytes | None
    key_check_value: str | None
    confirmation: str | None
    created_at: datetime
    imported_at: datetime | None


@dataclass(frozen=True, slots=True)
class UnwrappedSession:
    """A session whose AppSKey came wrapped, with the row id of the key that unwrapped it."""

    id: int
    as_transport_key_id: int
    wrapped_field: str


def insert_as_transport_key(
    tx: sa.Connection,
    *,
    connection_id: int,
    state: State,
    created_at: datetime,
    public_key_pem: str | None = None,
    sealed_private_key: bytes | None = None,
    sealed_key: bytes | None = None,
    key_check_value: str | None = None,
    confirmation: str | None = None,
    imported_at: datetime | None = None,
) -> None:
    """Insert a key, or a key pair that awaits the network's answer."""
    tx.execute(
        sa.insert(as_transport_keys).values(
            connection_id=connection_id,
            state=state,
            public_key_pem=public_key_pem,
            sealed_private_key=sealed_private_key,
            sealed_key=sealed_key,
            key_check_value=key_check_value,
            confirmation=confirmation,
            created_at=created_at,
            imported_at=imported_at,
        )
    )


def list_as_transport_keys(tx: sa.Connection, connection_id: int) -> list[StoredAsTransportKey]:
    """Give the keys of a connection in every state, newest first."""
    rows = tx.execute(
        sa.select(as_transport_keys)
        .where(as_transport_keys.c.connection_id == connection_id)
        .order_by(as_transport_keys.c.id.desc())
    )
    return [StoredAsTransportKey(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def activate(
    tx: sa.Connection,
    row_id: int,
    *,
    sealed_key: bytes,
    key_check_value: str,
    confirmation: str,
    imported_at: datetime,
) -> None:
    """Put the network's answer into a pair that awaited it, which makes it the active key."""
    tx.execute(
        sa.update(as_transport_keys)
        .where(as_transport_keys.c.id == row_id)
        .values(
            state="active",
            sealed_key=sealed_key,
            key_check_value=key_check_value,
            confirmation=confirmation,
            imported_at=imported_at,
        )
    )


def set_confirmation(tx: sa.Connection, row_id: int, confirmation: str) -> None:
    """Note what stored reports now say about a key."""
    tx.execute(sa.update(as_transport_keys).where(as_transport_keys.c.id == row_id).values(confirmation=confirmation))


def replace_all(tx: sa.Connection, connection_id: int, state: State) -> None:
    """Make the keys of a connection that are in `state` replaced ones. None is ever deleted."""
    tx.execute(
        sa.update(as_transport_keys)
        .where(as_transport_keys.c.connection_id == connection_id, as_transport_keys.c.state == state)
        .values(state="replaced")
    )


def reread_waiting_reports(tx: sa.Connection, connection_id: int) -> int:
    """Make the reports of a connection that wait for a key unread again; gives how many.

    They are locked by id first, as the inbox does: no two writers wait in a circle.
    """
    waiting = (
        reports.c.state == sa.literal_column("'waiting_for_key'"),
        reports.c.connection_id == connection_id,
    )
    tx.execute(sa.select(reports.c.id).where(*waiting).order_by(reports.c.id).with_for_update())
    return tx.execute(sa.update(reports).where(*waiting).values(state="unread")).rowcount


def list_unwrapped_sessions(tx: sa.Connection, key_row_ids: Collection[int]) -> list[UnwrappedSession]:
    """Give the sessions whose AppSKeys were unwrapped with these AS transport keys."""
    rows = tx.execute(
        sa.select(
            session_keys.c.session_id.label("id"), session_keys.c.as_transport_key_id, session_keys.c.wrapped_field
        ).where(
            session_keys.c.as_transport_key_id.in_(key_row_ids),
            session_keys.c.wrapped_field.is_not(None),
            session_keys.c.source != "manual",
        )
    )
    return [UnwrappedSession(**row._mapping) for row in rows]  # noqa: SLF001


def forget_app_s_keys(tx: sa.Connection, session_ids: Collection[int]) -> None:
    """Take unwrapped AppSKeys away; their wrapped fields stay, so that reading unwraps them anew."""
    tx.execute(
        sa.update(session_keys)
        .where(session_keys.c.session_id.in_(session_ids))
        .values(sealed_app_s_key=None, as_transport_key_id=None)
    )


def list_uplink_bodies(tx: sa.Connection, connection_id: int) -> list[bytes]:
    """Give bodies of uplink reports to judge a key on: those that wait for a key first, then the newest.

    At most 1,000 of each.
    """
    of_connection = (reports.c.connection_id == connection_id, reports.c.kind == "DevEUI_uplink")
    waiting = (
        sa.select(reports.c.id, reports.c.body)
        .where(reports.c.state == sa.literal_column("'waiting_for_key'"), *of_connection)
        .order_by(reports.c.id.desc())
        .limit(SAMPLED_REPORTS)
    )
    floor = sa.select(sa.func.max(reports.c.id) - SAMPLED_WINDOW).scalar_subquery()
    newest = (
        sa.select(reports.c.id, reports.c.body)
        .where(reports.c.id > floor, *of_connection)
        .order_by(reports.c.id.desc())
        .limit(SAMPLED_REPORTS)
    )
    bodies = {row.id: row.body for query in (waiting, newest) for row in tx.execute(query)}
    return list(bodies.values())


def list_wrapped_fields(tx: sa.Connection, dev_euis: Collection[str]) -> dict[tuple[str, str | None], str]:
    """Give the newest wrapped AppSKey of each (DevEUI, DevAddr): not every report repeats it."""
    rows = tx.execute(
        sa.select(sessions.c.dev_eui, sessions.c.dev_addr, session_keys.c.wrapped_field)
        .join(session_keys, session_keys.c.session_id == sessions.c.id)
        .where(sessions.c.dev_eui.in_(dev_euis), sa.func.length(session_keys.c.wrapped_field) == WRAPPED_DIGITS)
        .order_by(sessions.c.id)
    )
    return {(row.dev_eui, row.dev_addr): row.wrapped_field for row in rows}
