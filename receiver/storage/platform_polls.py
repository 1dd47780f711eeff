"""SQL for polls: what is due for which account, who polls it, how far it has come and what failed last."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select, update

from receiver.storage.alarm_tables import platform_polls
from receiver.storage.engine import dialect_insert
from receiver.storage.platform_tables import platform_accounts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection


class Polled(StrEnum):
    """What is polled of an account."""

    ALARMS = "alarms"
    TRAFFIC = "traffic"
    HEALTH = "health"


@dataclass(frozen=True, slots=True)
class StoredPoll:
    """A row of `platform_polls` as it stands, without the lease."""

    account_id: int
    account: str
    surface: str
    what: Polled
    due_at: datetime
    began_at: datetime | None
    position: str | None
    done_from: datetime | None
    done_at: datetime | None
    result: Mapping[str, int]
    failures: int
    failed_at: datetime | None
    failure: str | None
    refused_account: str | None


_ROW = ("due_at", "began_at", "position", "done_from", "done_at", "result", "failures", "failed_at", "failure")
_COLUMNS = (
    platform_polls.c.account_id,
    platform_accounts.c.name.label("account"),
    platform_accounts.c.surface,
    platform_polls.c.what,
    *(platform_polls.c[name] for name in _ROW),
    platform_polls.c.refused_account,
)


def ensure_polls(connection: Connection, now: datetime, account_id: int, whats: Sequence[Polled]) -> None:
    """Have a row for each of these, due at once where it is new."""
    rows = [{"account_id": account_id, "what": what.value, "due_at": now, "failures": 0} for what in whats]
    connection.execute(dialect_insert(platform_polls, connection).on_conflict_do_nothing(), rows)


def list_polls(connection: Connection, account_id: int | None = None) -> list[StoredPoll]:
    """Give the polls of all accounts, or of one, by account."""
    joined = platform_polls.join(platform_accounts, platform_accounts.c.id == platform_polls.c.account_id)
    statement = select(*_COLUMNS).select_from(joined).order_by(platform_accounts.c.name, platform_polls.c.what)
    if account_id is not None:
        statement = statement.where(platform_polls.c.account_id == account_id)
    return [_read(row) for row in connection.execute(statement)]


def find_poll(connection: Connection, account_id: int, what: Polled) -> StoredPoll | None:
    """Give one poll, or None."""
    return next((poll for poll in list_polls(connection, account_id) if poll.what is what), None)


def take_lease(
    connection: Connection, account_id: int, what: Polled, *, holder: str, now: datetime, until: datetime
) -> bool:
    """Take or renew the lease of a poll; False: another process has it."""
    polls = platform_polls.c
    is_free = or_(polls.lease_holder.is_(None), polls.lease_holder == holder, polls.lease_until < now)
    statement = update(platform_polls).where(_is(account_id, what), is_free)
    return connection.execute(statement.values(lease_holder=holder, lease_until=until)).rowcount == 1


def give_lease_back(connection: Connection, account_id: int, what: Polled, holder: str) -> None:
    """End the lease of a poll, if this holder has it."""
    mine = and_(_is(account_id, what), platform_polls.c.lease_holder == holder)
    connection.execute(update(platform_polls).where(mine).values(lease_holder=None, lease_until=None))


def note_progress(
    connection: Connection, account_id: int, what: Polled, *, began_at: datetime, position: str | None
) -> None:
    """Note how far a walk has come that began at `began_at`."""
    statement = update(platform_polls).where(_is(account_id, what))
    connection.execute(statement.values(began_at=began_at, position=position))


def note_done(
    connection: Connection,
    account_id: int,
    what: Polled,
    *,
    began_at: datetime,
    now: datetime,
    due_at: datetime,
    result: Mapping[str, int],
) -> None:
    """Note that a whole walk ended well: the failures before it are over."""
    values = {"done_from": began_at, "done_at": now, "due_at": due_at, "result": json.dumps(dict(result))}
    over = {"began_at": None, "position": None, "failures": 0, "failed_at": None, "failure": None}
    statement = update(platform_polls).where(_is(account_id, what))
    connection.execute(statement.values(**values, **over, refused_account=None))


def note_failed(
    connection: Connection,
    account_id: int,
    what: Polled,
    *,
    now: datetime,
    due_at: datetime,
    failure: str,
    refused_account: str | None,
) -> None:
    """Note that a walk was broken off; `refused_account` marks the account that the network does not let in."""
    values = {"due_at": due_at, "failed_at": now, "failure": failure, "refused_account": refused_account}
    statement = update(platform_polls).where(_is(account_id, what))
    connection.execute(statement.values(failures=platform_polls.c.failures + 1, **values))


def _is(account_id: int, what: Polled) -> ColumnElement[bool]:
    return and_(platform_polls.c.account_id == account_id, platform_polls.c.what == what.value)


def _read(row: Any) -> StoredPoll:  # noqa: ANN401 - a row of SQLAlchemy
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    result = json.loads(values["result"]) if values["result"] else {}
    return StoredPoll(**{**values, "what": Polled(values["what"]), "result": result})
