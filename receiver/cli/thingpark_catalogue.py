"""`subscription`, `device-profiles`, `network-subscriptions` and `network-contexts`: what there is to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.platform_use import AccountOption, choose
from receiver.cli.store import JsonOption
from receiver.cli.thingpark_view import ask, joined, print_one, print_records

if TYPE_CHECKING:
    from receiver.platforms.thingpark import ThingParkClient
    from receiver.platforms.thingpark_records import (
        CellularNetworkContext,
        DeviceProfile,
        NetworkSubscription,
        Subscription,
    )

subscription = typer.Typer(no_args_is_help=True, help="The subscription of the account.")
device_profiles = typer.Typer(no_args_is_help=True, help="Device profiles, models of devices: list, show.")
network_subscriptions = typer.Typer(no_args_is_help=True, help="Connectivity plans with their licences: list, show.")
network_contexts = typer.Typer(
    no_args_is_help=True, help="Network contexts of cellular devices (8.1 and later): list, show."
)

_IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Its id or exact name, as `list` has it.", show_default=False)
]
_ConnectivityOption = Annotated[
    str | None, typer.Option("--connectivity", metavar="LORAWAN|CELLULAR", help="Of this kind alone.")
]

_PROFILE_COLUMNS = ("id", "name", "vendor", "connectivity", "lorawan", "bands")
_PLAN_COLUMNS = ("id", "name", "connectivity", "type", "used", "granted", "free", "geolocation", "passive_roaming")


@subscription.command("show")
def show_subscription(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show the subscription: the first thing to try with a new account."""
    print_one(ask(account, lambda client: client.get_subscription()), _subscription_record, json)


@device_profiles.command("list")
def list_device_profiles(
    *, connectivity: _ConnectivityOption = None, account: AccountOption = None, json: JsonOption = False
) -> None:
    """List the device profiles; a new device needs the id of one."""
    found = ask(account, lambda client: client.list_device_profiles(_upper(connectivity)))
    print_records(found, _profile_record, _PROFILE_COLUMNS, json)


@device_profiles.command("show")
def show_device_profile(profile: _IdArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one device profile."""
    found = choose(
        ask(account, lambda client: client.list_device_profiles()),
        profile,
        what="device profile",
        ids=lambda one: (one.id,),
        name=lambda one: one.commercial_name,
    )
    print_one(found, _profile_record, json)


@network_subscriptions.command("list")
def list_network_subscriptions(
    *, connectivity: _ConnectivityOption = None, account: AccountOption = None, json: JsonOption = False
) -> None:
    """List the connectivity plans with the licences that are free."""
    found = ask(account, lambda client: client.list_network_subscriptions(_upper(connectivity)))
    print_records(found, _plan_record, _PLAN_COLUMNS, json)


@network_subscriptions.command("show")
def show_network_subscription(plan: _IdArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one connectivity plan, with all that the network tells of it: --json has its rates."""
    from receiver.platforms.thingpark_subscription import uid_of

    async def get(client: ThingParkClient) -> NetworkSubscription:
        found = choose(
            await client.list_network_subscriptions(),
            plan,
            what="connectivity plan",
            ids=lambda one: (one.id, uid_of(one.href or "")),
            name=lambda one: one.commercial_name,
        )
        uid = uid_of(found.href or "")
        return found if uid is None else await client.get_network_subscription(uid)

    print_one(ask(account, get), _plan_record, json)


@network_contexts.command("list")
def list_network_contexts(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the network contexts of cellular devices. ThingPark has them from 8.1 on."""
    found = ask(account, lambda client: client.list_cellular_network_contexts())
    print_records(found, _context_record, ("id", "name", "mode", "subnet", "source_port"), json)


@network_contexts.command("show")
def show_network_context(context: _IdArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one network context of cellular devices."""
    found = choose(
        ask(account, lambda client: client.list_cellular_network_contexts()),
        context,
        what="network context",
        ids=lambda one: (one.id,),
        name=lambda one: one.name,
    )
    print_one(found, _context_record, json)


def _upper(text: str | None) -> str | None:
    return None if text is None else text.upper()


def _subscription_record(one: Subscription) -> dict[str, object]:
    return {
        "subscriber_id": one.subscriber_id,
        "subscriber": one.subscriber_name,
        "state": one.state,
        "plans_are_chosen": {"BASIC": "by ThingPark (BASIC)", "ADVANCED": "by their id (ADVANCED)"}.get(
            one.handling_mode or "", one.handling_mode
        ),
        "cellular": one.cellular_support,
        "licences": one.license,
        "created_at": one.created_at,
    }


def _profile_record(one: DeviceProfile) -> dict[str, object]:
    return {
        "id": one.id,
        "name": one.commercial_name,
        "vendor": one.vendor_name,
        "connectivity": one.connectivity,
        "lorawan": one.mac_version,
        "bands": joined(one.ism_bands),
    }


def _plan_record(one: NetworkSubscription) -> dict[str, object]:
    return {
        "id": one.id,
        "name": one.commercial_name,
        "connectivity": one.connectivity,
        "type": one.communication_type,
        "used": one.used,
        "granted": one.granted,
        "free": one.free,
        "geolocation": one.nw_geolocalization,
        "passive_roaming": one.pr_allowed,
    }


def _context_record(one: CellularNetworkContext) -> dict[str, object]:
    return {"id": one.id, "name": one.name, "mode": one.mode, "subnet": one.subnet, "source_port": one.source_port}
