"""Opens an account's devices for a run, finds what a connection here is called there, and looks what is there."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from receiver.errors import NotFoundError, SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.services.bulk_columns import DEFAULTABLE, NO_ROUTING, SURFACES, Action, find_column
from receiver.services.bulk_kpn_lora import KpnLoraDevices
from receiver.services.bulk_plan import BulkPlan, make_plan, refuse_unknown_names
from receiver.services.bulk_thingpark import ThingParkDevices
from receiver.services.device_manager_accounts import device_manager_session
from receiver.services.platform_accounts import list_accounts, open_account
from receiver.services.platform_clients import open_kpn_lora, open_thingpark
from receiver.storage.device_sync import list_provisioned
from receiver.storage.engine import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import sqlalchemy as sa

    from receiver.http_client import HttpClient
    from receiver.keyring import Keyring
    from receiver.services.bulk_file import DeviceRow
    from receiver.services.bulk_networks import NetworkDevice, NetworkDevices
    from receiver.services.platform_accounts import PlatformAccount

FIND_EACH_BELOW = 50
"""Rows up to which each is looked up; for more, the whole list is read, which comes by the hundred."""


def open_bulk_account(engine: sa.Engine, keyring: Keyring, name: str | None, surface: str | None) -> PlatformAccount:
    """Give the account of that name, or the only one of the surface, opened.

    Raises:
        NotFoundError: there is no such account.
        SettingsError: it is of a surface where devices are not made in bulk, or there are several accounts.
        KeyringError: its secret does not open.
    """
    if surface is not None and surface not in SURFACES:
        raise SettingsError(
            f"{shorten(surface)!r} is nothing that devices are made at: choose {' or '.join(SURFACES)}."
        )
    known = [one for one in list_accounts(engine) if one.surface in SURFACES]
    matching = [one for one in known if name in {None, one.name} and surface in {None, one.surface}]
    if not matching and name is not None:
        where = f" of {surface}" if surface else ""
        names = ", ".join(one.name for one in known[:10]) or "none yet"
        raise NotFoundError(f"There is no account{where} named {shorten(name)!r} for devices; there are: {names}.")
    if not matching:
        raise NotFoundError(
            f"There is no account yet: `receiver {surface or 'kpn-lora'} account add NAME` makes one known."
        )
    if len(matching) > 1:
        raise SettingsError(
            f"There are several accounts: say which with --account ({', '.join(o.name for o in known[:10])})."
        )
    return open_account(engine, keyring, matching[0].surface, matching[0].name)


@asynccontextmanager
async def network_devices(
    engine: sa.Engine, http: HttpClient, account: PlatformAccount
) -> AsyncIterator[NetworkDevices]:
    """Give the devices of an account. Nothing is asked yet, except that a person's login has its session begun.

    Raises:
        SettingsError, LoginRefusedError, NoAnswerError: as `device_manager_session`.
    """
    match account.surface:
        case "kpn-lora":
            yield KpnLoraDevices(open_kpn_lora(http, account), account.settings.get("api_version", ""))
        case "device-manager":
            async with device_manager_session(engine, http, account) as session:
                yield ThingParkDevices(session.open_client())
        case _:
            yield ThingParkDevices(open_thingpark(http, account))


def platforms_of(surface: str) -> tuple[str, ...]:
    """Give the platforms of connections here whose devices may be at a surface.

    A person's login is at ThingPark's own API: there stand the same things as behind the other two, by the same ids.
    """
    return ("kpn-lora", "thingpark") if surface == "device-manager" else (surface,)


def find_remote_routing(engine: sa.Engine, account: PlatformAccount, connection: str) -> str:
    """Give what the network calls a connection of this receiver, as `connect` has noted it.

    Raises:
        NotFoundError: it was not connected with this account.
    """
    with read(engine) as tx:
        platforms = platforms_of(account.surface)
        known = {one.connection: one for platform in platforms for one in list_provisioned(tx, platform)}
    found = known.get(connection)
    is_of_this = found is not None and (account.surface not in platforms or found.account_id in {None, account.id})
    if found is None or not is_of_this:
        names = ", ".join(sorted(known)[:10]) or "none"
        raise NotFoundError(
            f"The connection {shorten(connection)!r} was not set up with the account {account.name} from here"
            f" (`receiver {platforms[0]} connect` does that; set up are: {names}). Or give the network's id of it"
            " with --to-remote."
        )
    return found.remote_id


def parse_defaults(texts: Sequence[str]) -> dict[str, str]:
    """Give what stands for all rows, by column, from texts like `DeviceProfile=…`.

    Raises:
        SettingsError: it is not of that form, or of a column that is not the same for all.
    """
    found: dict[str, str] = {}
    for text in texts:
        header, _, value = text.partition("=")
        column = find_column(header)
        if column is None or column.name not in DEFAULTABLE or not value.strip():
            raise SettingsError(
                f"{shorten(header)!r} cannot be set for all rows: --set takes {', '.join(DEFAULTABLE)}, each as"
                " COLUMN=VALUE. Keys stand in the file alone."
            )
        found[column.name] = value.strip()
    return found


async def survey(
    network: NetworkDevices, rows: Sequence[DeviceRow], action: Action, surface: str, at_once: int = 4
) -> BulkPlan:
    """Look at a network and give the plan for these rows.

    Raises:
        SettingsError: a plan, profile or routing of the rows is not the network's.
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the network.
    """
    devices = await _find_devices(network, rows, at_once)
    if action is Action.DELETE:
        return make_plan(rows, devices, action, surface)
    plans = await network.plans()
    profiles = set() if action is Action.MOVE else await network.profiles()
    routings = await network.routings() if any(_names_routing(row) for row in rows) else set()
    plan = make_plan(rows, devices, action, surface, plans)
    refuse_unknown_names(plan, {one.id for one in plans}, profiles, routings)
    return plan


def _names_routing(row: DeviceRow) -> bool:
    return row.routing is not None and row.routing != NO_ROUTING


async def _find_devices(
    network: NetworkDevices, rows: Sequence[DeviceRow], at_once: int
) -> Mapping[str, NetworkDevice]:
    if len(rows) > FIND_EACH_BELOW:
        wanted = {row.dev_eui for row in rows}
        return {device.dev_eui: device async for device in network.list_devices() if device.dev_eui in wanted}
    room = asyncio.Semaphore(at_once)

    async def find(row: DeviceRow) -> NetworkDevice | None:
        async with room:
            return await network.find(row.dev_eui)

    found = await asyncio.gather(*(find(row) for row in rows))
    return {device.dev_eui: device for device in found if device is not None}
