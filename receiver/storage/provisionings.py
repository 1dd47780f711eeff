"""SQL for what was set up at networks by command: one row for each such connection."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

import sqlalchemy as sa

from receiver.storage.connections import REVISION
from receiver.storage.engine import bump_revision, dialect_insert
from receiver.storage.provisioning_tables import provisionings
from receiver.storage.tables import connections

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

State = Literal["prepared", "asked", "made", "renewing", "connected", "removed"]
"""How far it came.

    prepared   all is stored here, and nothing was asked of the network
    asked      the network may have made it: its answer is not known
    made       its answer is stored, and the AS transport key in it is to be imported
    renewing   the network may have made another AS transport key: its answer is not known
    connected  all of it is done
    removed    it was deleted at the network

    prepared → asked → made → connected → removed → asked        asked → prepared   the network refused
                                connected → renewing → made
"""


@dataclass(frozen=True, slots=True)
class Provisioning:
    """One row of `provisionings`."""

    connection_id: int
    account_id: int | None
    surface: str
    state: State
    wanted: Mapping[str, object]
    remote_id: str | None
    remote_ref: str | None
    key_id: str | None
    public_key_fingerprint: str | None
    wrapped_key: str | None = field(repr=False)
    created_at: datetime
    updated_at: datetime


class Changes(TypedDict, total=False):
    """What may change of a row."""

    account_id: int | None
    state: State
    wanted: Mapping[str, object]
    remote_id: str | None
    remote_ref: str | None
    key_id: str | None
    public_key_fingerprint: str | None
    wrapped_key: str | None


def find_provisioning(tx: sa.Connection, connection_id: int) -> Provisioning | None:
    """Give the row of a connection, or None."""
    row = tx.execute(sa.select(provisionings).where(provisionings.c.connection_id == connection_id)).one_or_none()
    if row is None:
        return None
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return Provisioning(**{**values, "wanted": json.loads(values["wanted"])})


def put_provisioning(
    tx: sa.Connection,
    *,
    connection_id: int,
    account_id: int,
    surface: str,
    wanted: Mapping[str, object],
    now: datetime,
) -> None:
    """Insert the row of a connection in state `prepared`; if there is one, only the account is set anew."""
    insert = dialect_insert(provisionings, tx).values(
        connection_id=connection_id,
        account_id=account_id,
        surface=surface,
        state="prepared",
        wanted=json.dumps(dict(wanted)),
        created_at=now,
        updated_at=now,
    )
    tx.execute(insert.on_conflict_do_update(index_elements=["connection_id"], set_={"account_id": account_id}))


def change_provisioning(tx: sa.Connection, connection_id: int, now: datetime, **changes: Unpack[Changes]) -> None:
    """Change some of a row."""
    values: dict[str, object] = {**changes, "updated_at": now}
    if "wanted" in changes:
        values["wanted"] = json.dumps(dict(changes["wanted"]))
    tx.execute(sa.update(provisionings).where(provisionings.c.connection_id == connection_id).values(values))


def set_max_deviation(tx: sa.Connection, connection_id: int, max_deviation_s: int) -> None:
    """Let a connection's pushes be so much off the clock from now on."""
    row = connections.c.id == connection_id
    tx.execute(sa.update(connections).where(row).values(max_deviation_s=max_deviation_s))
    bump_revision(tx, REVISION)
