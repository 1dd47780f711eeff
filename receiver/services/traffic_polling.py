"""Asks the networks for the traffic of one device now, beside the worker's walk; the same again changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from receiver.errors import NotFoundError
from receiver.services.alarm_sources import LONGEST_DAYS
from receiver.services.platform_accounts import list_accounts
from receiver.services.platform_clients import platform_http
from receiver.services.polling import open_source
from receiver.services.polls import SURFACES
from receiver.storage.engine import write
from receiver.storage.traffic import upsert_traffic

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.http_client import HttpClient
    from receiver.keyring import Keyring
    from receiver.storage.platform_accounts import StoredPlatformAccount
    from receiver.storage.traffic import SeenTraffic


def poll_traffic_of(
    engine: Engine, keyring: Keyring, clock: Callable[[], datetime], dev_eui: str, account_name: str | None = None
) -> int:
    """Ask each account, or that one, for the last week of a device, and write it; give how many spans there were.

    Raises:
        NotFoundError: there is no account to ask, or none has that device.
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the network; what another gave before is written.
        SettingsError, KeyringError: an account cannot be used.
    """
    accounts = polled_accounts(engine, account_name)
    with platform_http() as http:
        found = asyncio.run(_ask(engine, keyring, clock, http, accounts, dev_eui))
    if all(spans is None for _, spans in found):
        names = ", ".join(account.name for account in accounts[:10])
        raise NotFoundError(f"No account has a device {dev_eui}: asked were {names}.")
    return sum(len(spans or ()) for _, spans in found)


def polled_accounts(engine: Engine, name: str | None = None) -> list[StoredPlatformAccount]:
    """Give the accounts that can be polled, or the one of that name.

    Raises:
        NotFoundError: there is none.
    """
    accounts = [account for account in list_accounts(engine) if account.surface in SURFACES]
    found = [account for account in accounts if name is None or account.name == name]
    if found:
        return found
    if name is None:
        raise NotFoundError(
            "There is no account of KPN LoRa or ThingPark yet: `receiver kpn-lora account add NAME` or"
            " `receiver thingpark account add NAME` makes one known."
        )
    known = ", ".join(account.name for account in accounts[:10]) or "none yet"
    raise NotFoundError(f"There is no account {name[:80]!r} of KPN LoRa or ThingPark. There are: {known}.")


async def _ask(
    engine: Engine,
    keyring: Keyring,
    clock: Callable[[], datetime],
    http: HttpClient,
    accounts: list[StoredPlatformAccount],
    dev_eui: str,
) -> list[tuple[str, list[SeenTraffic] | None]]:
    found: list[tuple[str, list[SeenTraffic] | None]] = []
    for account in accounts:
        spans = await open_source(http, engine, keyring, account).list_traffic(dev_eui, LONGEST_DAYS, clock())
        with write(engine) as tx:
            upsert_traffic(tx, account.id, dev_eui, clock(), spans or [])
        found.append((account.name, spans))
    return found
