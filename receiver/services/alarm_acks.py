"""Acknowledges alarms: the network is asked first, and what it took is written. To do it again is harmless."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import ConflictError, LoginRefusedError, NoAnswerError, NotFoundError, PlatformRefusedError
from receiver.services.alarms import get_alarm
from receiver.services.platform_accounts import list_accounts
from receiver.services.platform_clients import platform_http
from receiver.services.polling import open_source
from receiver.services.polls import mark_of
from receiver.storage import alarms as stored
from receiver.storage.alarms import AlarmFilter
from receiver.storage.engine import read, write
from receiver.storage.platform_polls import Polled, find_poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.http_client import HttpClient
    from receiver.keyring import Keyring
    from receiver.services.alarm_sources import AlarmSource
    from receiver.services.alarms import AlarmDetails
    from receiver.storage.alarms import AlarmToAck
    from receiver.storage.platform_accounts import StoredPlatformAccount

MOST_AT_ONCE = 10_000
"""Alarms that one command acknowledges."""

ONE_WITHIN_S = 10.0
"""For one acknowledgement that a caller waits for. The client would try for minutes: that is for commands."""


class Acknowledged(NamedTuple):
    """What became of acknowledgements: ids the network took, ids that were before, and why others were refused."""

    acked: list[int]
    before: list[int]
    refused: list[tuple[int, PlatformRefusedError]]


def acknowledge_one(
    engine: Engine, keyring: Keyring, clock: Callable[[], datetime], alarm_id: int, by: str
) -> AlarmDetails:
    """Acknowledge one alarm, and give it. One that is acknowledged here already is given without asking the network.

    Raises:
        NotFoundError: there is none of that id.
        ConflictError: the network knows it no more.
        PlatformRefusedError, LoginRefusedError: the network does not do it.
        NoAnswerError: the network is away, or did not answer in time; it may have done it.
        SettingsError, KeyringError: its account cannot be used.
    """
    alarm = get_alarm(engine, alarm_id)
    if alarm.acked:
        return alarm
    if alarm.gone_at is not None:
        raise ConflictError(f"The network knows alarm {alarm_id} no more, so it cannot be acknowledged there.")
    done = acknowledge(engine, keyring, clock, ids=[alarm_id], by=by, within_s=ONE_WITHIN_S)
    if done.refused:
        raise done.refused[0][1]
    return get_alarm(engine, alarm_id)


def acknowledge(
    engine: Engine,
    keyring: Keyring,
    clock: Callable[[], datetime],
    *,
    ids: Sequence[int] | None = None,
    wanted: AlarmFilter | None = None,
    by: str,
    within_s: float | None = None,
) -> Acknowledged:
    """Acknowledge the alarms of these ids, or those of a filter that are not acknowledged yet, 10,000 at most.

    What the network took is written at once, so a failure leaves the rest for another time.

    Raises:
        NotFoundError: there is none of one of the ids; nothing was asked.
        LoginRefusedError, NoAnswerError, SettingsError, KeyringError: as of `acknowledge_one`, after what went well.
    """
    with read(engine) as tx:
        found = stored.list_to_ack(tx, wanted or AlarmFilter(), MOST_AT_ONCE, ids=ids)
    missing = sorted(set(ids or ()) - {alarm.id for alarm in found})
    if missing:
        raise NotFoundError(f"There is no alarm {missing[0]}; `receiver alarms list` shows those there are.")
    done = Acknowledged([], [alarm.id for alarm in found if alarm.acked], [])
    open_ones = [alarm for alarm in found if not alarm.acked]
    if open_ones:
        with platform_http() as http:
            asyncio.run(_acknowledge(engine, keyring, clock, http, open_ones, by, done, within_s))
    return done


async def _acknowledge(
    engine: Engine,
    keyring: Keyring,
    clock: Callable[[], datetime],
    http: HttpClient,
    alarms: Iterable[AlarmToAck],
    by: str,
    done: Acknowledged,
    within_s: float | None,
) -> None:
    by_account: dict[int, list[AlarmToAck]] = {}
    for alarm in alarms:
        by_account.setdefault(alarm.account_id, []).append(alarm)
    accounts = {account.id: account for account in list_accounts(engine) if account.id in by_account}
    for account_id, account in accounts.items():
        _refuse_refused(engine, account)
        source = open_source(http, engine, keyring, account)
        waiting = by_account[account_id]
        at_once = source.acks_at_once
        while waiting:
            some, waiting = waiting[:at_once], waiting[at_once:]
            ids = [alarm.id for alarm in some]
            try:
                await _ask(source, [alarm.remote_id for alarm in some], within_s)
            except PlatformRefusedError as exc:
                if len(some) > 1:  # one that is gone has all refused that stand beside it
                    waiting, at_once = some + waiting, len(some) // 2
                else:
                    done.refused.append((ids[0], exc))
                continue
            with write(engine) as tx:
                stored.mark_acked(tx, clock(), by, ids)
            done.acked.extend(ids)
            at_once = min(source.acks_at_once, at_once * 2)


def _refuse_refused(engine: Engine, account: StoredPlatformAccount) -> None:
    """Raise if the network did not let the account in, and it was not changed since: each caller would try it again."""
    with read(engine) as tx:
        poll = find_poll(tx, account.id, Polled.ALARMS)
    if poll is not None and poll.refused_account == mark_of(account):
        raise LoginRefusedError(
            f"{poll.failure} It is not tried again before the account {account.name} is changed, or by"
            f" `receiver alarms poll --account {account.name}`."
        )


async def _ask(source: AlarmSource, remote_ids: Sequence[str], within_s: float | None) -> None:
    try:
        async with asyncio.timeout(within_s):
            await source.acknowledge(remote_ids)
    except TimeoutError as exc:
        raise NoAnswerError(
            "The network did not answer in time whether the alarm is acknowledged; to ask again is harmless.",
            was_sent=True,
        ) from exc
