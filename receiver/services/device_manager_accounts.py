"""Sessions of the Device Manager API for accounts kept here. A refused password is remembered until it is another one.

What the network refused stands with the account's settings under `rejected_login`, with the mark of the sealed secret
that it was said of: once that is set anew, it is of no account any more. The mark is of the sealed bytes: nothing can
be learned from it about the password.
"""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from receiver.errors import NotFoundError
from receiver.platforms.caller import PlatformCaller
from receiver.platforms.device_manager import DeviceManagerSession
from receiver.platforms.device_manager_account import read_account
from receiver.platforms.device_manager_http import PLATFORM
from receiver.storage import platform_accounts as stored
from receiver.storage.engine import read, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import sqlalchemy as sa

    from receiver.http_client import HttpClient
    from receiver.platforms.device_manager import StartedSession
    from receiver.platforms.thingpark import ThingParkClient
    from receiver.services.platform_accounts import PlatformAccount
    from receiver.storage.platform_accounts import StoredPlatformAccount

REJECTED = "rejected_login"
"""The name that a refused login has among the stored settings of its account; nobody can set it."""

PACE_S = 0.05
"""Between requests; as for ThingPark's other surfaces. An emulator on this machine is not spared."""

_MARK_LENGTH = 16


@dataclass(frozen=True, slots=True)
class DeviceManagerUse:
    """A session in use: what its start told, and what sends requests in it."""

    caller: PlatformCaller
    started: StartedSession

    def open_client(self) -> ThingParkClient:
        """Give the client of the session's subscription."""
        from receiver.platforms.thingpark import ThingParkClient

        return ThingParkClient(self.caller, self.started.subscription)


@asynccontextmanager
async def device_manager_session(
    engine: sa.Engine, http: HttpClient, account: PlatformAccount, *, again: bool = False
) -> AsyncIterator[DeviceManagerUse]:
    """Log in, give the session, and log out at the end, whatever happened in between.

    `again`: send a password that was refused before once more, since a person says so.

    Raises:
        SettingsError: a setting of the account is not of its form.
        RejectedLoginError: the network refuses the login, or refused it before.
        LoginRefusedError: the login is not what the account's settings say.
        NoAnswerError: the network was not reached, or is busy.
    """
    session = DeviceManagerSession(
        http,
        read_account(account.settings, account.secret),
        rejection=None if again else find_rejection(engine, account.name),
        on_rejected=lambda said: keep_rejection(engine, account.name, said, datetime.now(UTC)),
    )
    url = account.settings["api_url"]
    caller = PlatformCaller(http, url, PLATFORM, session, pace_s=PACE_S if url.startswith("https") else 0.0)
    started = await session.start()
    forget_rejection(engine, account.name)
    try:
        yield DeviceManagerUse(caller, started)
    finally:
        await session.log_out()


def find_rejection(engine: sa.Engine, name: str) -> str | None:
    """Give the sentence with which the network refused the secret that an account has now; None: it has not.

    Raises:
        NotFoundError: there is no such account.
    """
    with read(engine) as tx:
        account = _get(tx, name)
    mark, _, said = account.settings.get(REJECTED, "").partition(" ")
    return said if said and mark == _mark(account) else None


def keep_rejection(engine: sa.Engine, name: str, said: str, now: datetime) -> None:
    """Remember that the network refused the secret that an account has now.

    Raises:
        NotFoundError: there is no such account.
    """
    with write(engine) as tx:
        account = _get(tx, name)
        at = now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        refused = f"{_mark(account)} {said} (It said so at {at}; nothing was asked of it since.)"
        stored.set_settings(tx, account.id, {**account.settings, REJECTED: refused})


def forget_rejection(engine: sa.Engine, name: str) -> None:
    """Forget a refused login, since one was good.

    Raises:
        NotFoundError: there is no such account.
    """
    with read(engine) as tx:
        if REJECTED not in _get(tx, name).settings:
            return
    with write(engine) as tx:
        account = _get(tx, name)
        settings = {setting: value for setting, value in account.settings.items() if setting != REJECTED}
        stored.set_settings(tx, account.id, settings)


def _get(tx: sa.Connection, name: str) -> StoredPlatformAccount:
    found = stored.find_account(tx, name)
    if found is None:
        raise NotFoundError(f"There is no account named {name!r} any more.")
    return found


def _mark(account: StoredPlatformAccount) -> str:
    return hashlib.sha256(account.sealed_secret).hexdigest()[:_MARK_LENGTH]
