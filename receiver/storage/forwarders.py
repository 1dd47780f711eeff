"""SQL for forwarders: their settings, sealed secrets, and which process delivers for each. Nothing is opened here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from receiver.errors import NotFoundError
from receiver.lorawan.identifiers import shorten
from receiver.storage.engine import dialect_insert
from receiver.storage.event_tables import events
from receiver.storage.forwarder_tables import forwarder_retries, forwarder_secrets, forwarders

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

MOST_COUNTED = 100_000
"""A lag is counted up to this: more is only 'more'."""


@dataclass(frozen=True, slots=True)
class StoredForwarder:
    """One row of `forwarders`. `options` and `wants` are JSON objects as text."""

    id: int
    name: str
    kind: str
    uid: str
    url: str
    options: str
    wants: str
    give_up_after_s: int
    created_at: datetime
    version: int
    paused_at: datetime | None
    paused_because: str | None
    holds_events: bool
    position: int
    delivered: int
    last_delivered_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None
    away_since: datetime | None
    lease_holder: str | None
    lease_beat: int

    def __repr__(self) -> str:
        return f"StoredForwarder({self.id}, {self.name}, {self.kind})"


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """One row of `forwarder_secrets`."""

    secret_id: str
    sealed_secret: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a forwarder has before it.

    Events behind its position (up to `MOST_COUNTED`), when the first of them was told, how many wait for another try,
    and how many are dead letters.
    """

    events: int
    oldest_told_at: datetime | None
    retries: int
    dead_letters: int


def insert_forwarder(connection: Connection, **values: Any) -> int | None:  # noqa: ANN401 - columns of the table
    """Insert an enabled forwarder that has delivered nothing, and give its id; None if the name is taken."""
    start = {"version": 1, "holds_events": True, "delivered": 0, "lease_beat": 0}
    statement = dialect_insert(forwarders, connection).values(**start, **values)
    insert_it = statement.on_conflict_do_nothing(index_elements=["name"]).returning(forwarders.c.id)
    forwarder_id: int | None = connection.scalar(insert_it)
    return forwarder_id


def list_forwarders(connection: Connection) -> list[StoredForwarder]:
    """Give all forwarders by name."""
    return [StoredForwarder(*row) for row in connection.execute(select(forwarders).order_by(forwarders.c.name))]


def get_forwarder(connection: Connection, name: str) -> StoredForwarder:
    """Give the forwarder of that name.

    Raises:
        NotFoundError: there is none; the sentence names those there are.
    """
    row = connection.execute(select(forwarders).where(forwarders.c.name == name)).one_or_none()
    if row is not None:
        return StoredForwarder(*row)
    names = connection.scalars(select(forwarders.c.name).order_by(forwarders.c.name)).all()
    if not names:
        raise NotFoundError(
            f"There is no forwarder named {shorten(name)!r}, nor any other: `receiver forwarder add-webhook` and"
            " `receiver forwarder add-mqtt` make one."
        )
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    raise NotFoundError(f"There is no forwarder named {shorten(name)!r}; there are: {', '.join(names[:10])}{more}.")


def set_paused(connection: Connection, forwarder_id: int, at: datetime, because: str | None) -> None:
    """Pause a forwarder; whoever delivers for it notices."""
    _change(connection, forwarder_id, paused_at=at, paused_because=because)


def set_resumed(connection: Connection, forwarder_id: int) -> None:
    """Enable a forwarder again; from now on the events that it has not passed are kept for it."""
    _change(connection, forwarder_id, paused_at=None, paused_because=None, holds_events=True, away_since=None)


def note_error(connection: Connection, forwarder_id: int, error: str, at: datetime) -> None:
    """Keep why nothing can be sent."""
    values = {"last_error": error, "last_error_at": at}
    connection.execute(update(forwarders).where(forwarders.c.id == forwarder_id).values(**values))


def release_long_paused(connection: Connection, before: datetime) -> int:
    """Keep events no longer for forwarders that were paused before that; give how many."""
    long_paused = forwarders.c.holds_events & (forwarders.c.paused_at < before)
    return connection.execute(update(forwarders).where(long_paused).values(holds_events=False)).rowcount


def delete_forwarder(connection: Connection, forwarder_id: int) -> None:
    """Delete a forwarder with its secrets, retries and dead letters."""
    connection.execute(delete(forwarders).where(forwarders.c.id == forwarder_id))


def insert_secret(
    connection: Connection, forwarder_id: int, secret_id: str, sealed_secret: bytes, created_at: datetime
) -> None:
    """Insert a secret; whoever delivers notices."""
    values = {"forwarder_id": forwarder_id, "secret_id": secret_id}
    connection.execute(insert(forwarder_secrets).values(**values, sealed_secret=sealed_secret, created_at=created_at))
    _change(connection, forwarder_id)


def list_secrets(connection: Connection, forwarder_id: int) -> list[SealedSecret]:
    """Give the secrets of a forwarder, newest first."""
    secrets = forwarder_secrets
    statement = (
        select(secrets.c.secret_id, secrets.c.sealed_secret, secrets.c.created_at)
        .where(secrets.c.forwarder_id == forwarder_id)
        .order_by(secrets.c.id.desc())
    )
    return [SealedSecret(row[0], bytes(row[1]), row[2]) for row in connection.execute(statement)]


def delete_secret(connection: Connection, forwarder_id: int, secret_id: str) -> None:
    """Delete a secret; whoever delivers notices."""
    secrets = forwarder_secrets.c
    connection.execute(
        delete(forwarder_secrets).where(secrets.forwarder_id == forwarder_id, secrets.secret_id == secret_id)
    )
    _change(connection, forwarder_id)


def get_backlog(connection: Connection, forwarder: StoredForwarder) -> Backlog:
    """Count what a forwarder has before it."""
    behind = select(events.c.id).where(events.c.id > forwarder.position)
    counted = connection.scalar(select(func.count()).select_from(behind.limit(MOST_COUNTED).subquery())) or 0
    first = select(events.c.told_at).where(events.c.id > forwarder.position).order_by(events.c.id).limit(1)
    retries = forwarder_retries.c
    is_dead = retries.dead_at.is_not(None)
    numbers = {
        bool(dead): count
        for dead, count in connection.execute(
            select(is_dead, func.count()).where(retries.forwarder_id == forwarder.id).group_by(is_dead)
        )
    }
    return Backlog(counted, connection.scalar(first), numbers.get(False, 0), numbers.get(True, 0))


def renew_leases(connection: Connection, holder: str) -> set[int]:
    """Show that `holder` lives; give the ids of the forwarders that it still delivers for."""
    statement = (
        update(forwarders)
        .where(forwarders.c.lease_holder == holder)
        .values(lease_beat=forwarders.c.lease_beat + 1)
        .returning(forwarders.c.id)
    )
    return set(connection.execute(statement).scalars())


def take_lease(connection: Connection, seen: StoredForwarder, holder: str) -> bool:
    """Deliver for a forwarder from now on, unless its lease has changed since it was seen so; say whether it has it."""
    unchanged = (
        forwarders.c.lease_holder.is_(None)
        if seen.lease_holder is None
        else forwarders.c.lease_holder == seen.lease_holder
    )
    statement = (
        update(forwarders)
        .where(forwarders.c.id == seen.id, unchanged, forwarders.c.lease_beat == seen.lease_beat)
        .values(lease_holder=holder, lease_beat=forwarders.c.lease_beat + 1)
    )
    return connection.execute(statement).rowcount == 1


def give_leases_back(connection: Connection, holder: str, forwarder_id: int | None = None) -> None:
    """Let others deliver at once: for one forwarder, or for all that `holder` has."""
    statement = update(forwarders).where(forwarders.c.lease_holder == holder).values(lease_holder=None)
    if forwarder_id is not None:
        statement = statement.where(forwarders.c.id == forwarder_id)
    connection.execute(statement)


def _change(connection: Connection, forwarder_id: int, **values: Any) -> None:  # noqa: ANN401 - columns of the table
    version = forwarders.c.version + 1
    connection.execute(update(forwarders).where(forwarders.c.id == forwarder_id).values(version=version, **values))
