"""Polls alarms, traffic and health of all accounts of KPN LoRa and ThingPark, each when it is due, side by side.

*One process polls.* Who polls something of an account holds a lease on it in `platform_polls`, and renews it with each
thing it writes; another process takes over when that has ended. *What fails is tried again*, after pauses that double
up to an hour; the last failure stands in `platform_polls`. *A rejected login is not tried again* by itself: several
wrong ones may lock an account. It is when the account was changed, or by `poll_now`.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from receiver.errors import ConflictError, LoginRefusedError, ReceiverError, StorageUnavailableError
from receiver.logs import get_logger
from receiver.services.alarm_sources import KpnSource, ThingParkSource
from receiver.services.alarm_walk import DEVICES_PER_MINUTE, LEASE, LeaseLostError, Walk, walk_alarms, walk_traffic
from receiver.services.platform_accounts import list_accounts, open_account
from receiver.services.platform_clients import open_kpn_lora, open_thingpark, platform_http
from receiver.services.polls import LONGEST_PAUSE, USUAL_TIMES, is_due, mark_of, pause_after, polled_of
from receiver.storage import platform_polls as polls
from receiver.storage.engine import read, write
from receiver.storage.platform_polls import Polled

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.http_client import HttpClient
    from receiver.keyring import Keyring
    from receiver.services.alarm_sources import AlarmSource
    from receiver.services.polls import PollTimes
    from receiver.storage.platform_accounts import StoredPlatformAccount
    from receiver.storage.platform_polls import StoredPoll

LOOK_S = 2.0
"""How often it is looked for what is due: a new or mended account begins within it."""

NOTICE_S = 0.25
"""How often a stop is looked for."""

MOST_FAILURE = 500
"""Characters of a failure that are kept."""

_log = get_logger(__name__)


def open_source(http: HttpClient, engine: Engine, keyring: Keyring, account: StoredPlatformAccount) -> AlarmSource:
    """Give what is asked for an account, for one event loop.

    Raises:
        SettingsError, KeyringError, NotFoundError: the account cannot be used.
    """
    opened = open_account(engine, keyring, account.surface, account.name)
    if account.surface == "kpn-lora":
        return KpnSource(open_kpn_lora(http, opened))
    return ThingParkSource(open_thingpark(http, opened))


class Poller:
    """Polls with one HTTP client on one event loop. It blocks that loop while it asks the database."""

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        clock: Callable[[], datetime],
        http: HttpClient,
        times: PollTimes,
        devices_per_minute: float = DEVICES_PER_MINUTE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Poll nothing yet."""
        self._engine = engine
        self._keyring = keyring
        self._clock = clock
        self._http = http
        self._times = times
        self._devices_per_minute = devices_per_minute
        self._sleep = sleep
        self._holder = secrets.token_hex(8)
        self._sources: dict[int, tuple[str, AlarmSource]] = {}
        self._running: dict[tuple[int, Polled], asyncio.Task[None]] = {}

    def look(self) -> None:
        """Begin with what is due and not under way here, as tasks of the running event loop.

        Raises:
            StorageUnavailableError: the database is away.
        """
        self._running = {key: task for key, task in self._running.items() if not task.done()}
        now = self._clock()
        for account in list_accounts(self._engine):
            whats = [what for what in polled_of(account.surface) if self._times.of(what) is not None]
            if not whats:
                continue
            for poll in self._polls_of(account, whats, now):
                if (account.id, poll.what) not in self._running and is_due(poll, mark_of(account), now):
                    task = asyncio.get_running_loop().create_task(self._poll_and_log(account, poll.what))
                    self._running[account.id, poll.what] = task

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
            self._running = {key: task for key, task in self._running.items() if not task.done()}

    async def stop(self) -> None:
        """Give up what is under way; what it had not written is asked for again by the next run."""
        for task in self._running.values():
            task.cancel()
        await self.settle()

    async def poll(self, account: StoredPlatformAccount, what: Polled) -> Mapping[str, int] | None:
        """Poll something of an account now; give what it came to. None: another process does it just now.

        Raises:
            PlatformRefusedError, LoginRefusedError, NoAnswerError: as the network.
            SettingsError, KeyringError: the account cannot be used.
            StorageUnavailableError: the database is away.
        """
        began_at = self._clock()
        with write(self._engine) as tx:
            polls.ensure_polls(tx, began_at, account.id, [what])
            poll = polls.find_poll(tx, account.id, what)
            holder, until = self._holder, began_at + LEASE
            has_lease = polls.take_lease(tx, account.id, what, holder=holder, now=began_at, until=until)
        if poll is None or not has_lease:
            return None
        if poll.began_at is not None:
            began_at = poll.began_at
        try:
            result = await self._walk(account, poll, began_at)
        except LeaseLostError:
            return None
        except ReceiverError as exc:
            if not isinstance(exc, StorageUnavailableError):
                self._note_failed(account, poll, str(exc), is_refused=isinstance(exc, LoginRefusedError))
            raise
        except Exception as exc:
            self._note_failed(account, poll, f"A fault of this receiver's ended it ({type(exc).__name__}).")
            raise
        else:
            self._note_done(account, what, began_at, result)
            return result
        finally:
            self._give_back(account, what)

    async def _walk(self, account: StoredPlatformAccount, poll: StoredPoll, began_at: datetime) -> Mapping[str, int]:
        source = self._source(account)
        walk = Walk(self._engine, source, account.id, account.surface, self._holder, self._clock)
        if poll.what is Polled.ALARMS:
            return await walk_alarms(walk)
        if poll.what is Polled.TRAFFIC:
            return await walk_traffic(
                walk,
                began_at=began_at,
                position=poll.position or "",
                last_from=poll.done_from,
                failures=poll.failures,
                per_minute=self._devices_per_minute,
                sleep=self._sleep,
            )
        return await source.get_health() or {}

    async def _poll_and_log(self, account: StoredPlatformAccount, what: Polled) -> None:
        try:
            result = await self.poll(account, what)
        except LoginRefusedError as exc:
            _log.error("platform_login_refused", account=account.name, what=what.value, error=str(exc))
        except ReceiverError as exc:
            _log.warning("platform_poll_failed", account=account.name, what=what.value, error=str(exc))
        except Exception as exc:  # noqa: BLE001 - one fault must not end polling for good
            _log.error("platform_poll_fault", account=account.name, what=what.value, error=type(exc).__name__)
        else:
            if result is not None:
                _log.info("platform_polled", account=account.name, what=what.value, **result)

    def _source(self, account: StoredPlatformAccount) -> AlarmSource:
        mark = mark_of(account)
        known = self._sources.get(account.id)
        if known is None or known[0] != mark:  # kept, so that not each poll logs in
            known = mark, open_source(self._http, self._engine, self._keyring, account)
            self._sources[account.id] = known
        return known[1]

    def _polls_of(self, account: StoredPlatformAccount, whats: list[Polled], now: datetime) -> list[StoredPoll]:
        with read(self._engine) as tx:
            found = polls.list_polls(tx, account.id)
        if not set(whats) <= {poll.what for poll in found}:
            with write(self._engine) as tx:
                polls.ensure_polls(tx, now, account.id, whats)
                found = polls.list_polls(tx, account.id)
        return [poll for poll in found if poll.what in whats]

    def _note_done(
        self, account: StoredPlatformAccount, what: Polled, began_at: datetime, result: Mapping[str, int]
    ) -> None:
        now = self._clock()
        due_at = began_at + (self._times.of(what) or LONGEST_PAUSE)
        with write(self._engine) as tx:
            polls.note_done(tx, account.id, what, began_at=began_at, now=now, due_at=due_at, result=result)

    def _note_failed(
        self, account: StoredPlatformAccount, poll: StoredPoll, failure: str, *, is_refused: bool = False
    ) -> None:
        now = self._clock()
        self._sources.pop(account.id, None)
        with write(self._engine) as tx:
            polls.note_failed(
                tx,
                account.id,
                poll.what,
                now=now,
                due_at=now + pause_after(poll.failures),
                failure=failure[:MOST_FAILURE],
                refused_account=mark_of(account) if is_refused else None,
            )

    def _give_back(self, account: StoredPlatformAccount, what: Polled) -> None:
        try:
            with write(self._engine) as tx:
                polls.give_lease_back(tx, account.id, what, self._holder)
        except StorageUnavailableError as exc:  # it ends by itself
            _log.warning("platform_poll_not_given_back", account=account.name, error=str(exc))


def poll_now(
    engine: Engine,
    keyring: Keyring,
    clock: Callable[[], datetime],
    account: StoredPlatformAccount,
    what: Polled,
) -> Mapping[str, int]:
    """Poll something of an account now, also where its login was refused before; give what it came to.

    Raises:
        ConflictError: another process polls it just now.
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the network.
        SettingsError, KeyringError: the account cannot be used.
        StorageUnavailableError: the database is away.
    """
    with platform_http() as http:
        poller = Poller(engine, keyring, clock, http, USUAL_TIMES)
        result = asyncio.run(poller.poll(account, what))
    if result is None:
        raise ConflictError(f"A worker polls the {what.value} of {account.name} just now; look again in a moment.")
    return result


def run_polling(
    engine: Engine, keyring: Keyring, clock: Callable[[], datetime], stop: threading.Event, times: PollTimes
) -> None:
    """Poll what is due until `stop` is set; what is under way is then given up. While the database is away, wait."""
    if times.alarms is None and times.traffic is None:
        return
    with platform_http() as http:
        asyncio.run(_run(Poller(engine, keyring, clock, http, times), stop))


async def _run(poller: Poller, stop: threading.Event) -> None:
    try:
        while not stop.is_set():
            try:
                poller.look()
            except StorageUnavailableError as exc:
                _log.warning("polling_waits_for_database", error=str(exc))
            except Exception as exc:  # noqa: BLE001 - one fault must not end polling for good
                _log.error("polling_failed", error=type(exc).__name__)
            for _ in range(round(LOOK_S / NOTICE_S)):
                await asyncio.sleep(NOTICE_S)
                if stop.is_set():
                    break
    finally:
        await poller.stop()
