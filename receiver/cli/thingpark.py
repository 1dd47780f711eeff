"""`receiver thingpark`: the management API of ThingPark Enterprise, Community and Wireless, and IoT Flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli import (
    thingpark_alarms,
    thingpark_connections,
    thingpark_devices,
    thingpark_iot_flow,
    thingpark_multicast,
)
from receiver.cli.platform_account import account_app
from receiver.cli.platform_use import AccountOption
from receiver.cli.store import JsonOption
from receiver.cli.thingpark_view import SURFACE, ask, joined, print_one, print_records

if TYPE_CHECKING:
    from receiver.platforms.thingpark_records import (
        CellularNetworkContext,
        DeviceProfile,
        NetworkSubscription,
        Subscription,
    )

app = typer.Typer(no_args_is_help=True, help="ThingPark: connections, IoT Flow, devices, multicast groups, alarms.")
subscription = typer.Typer(no_args_is_help=True, help="The subscription of the account.")
device_profiles = typer.Typer(no_args_is_help=True, help="Device profiles: models of devices.")
network_subscriptions = typer.Typer(no_args_is_help=True, help="Connectivity plans, with their licences.")
network_contexts = typer.Typer(no_args_is_help=True, help="Network contexts of cellular devices (8.1 and later).")
app.add_typer(account_app(SURFACE), name="account")
app.add_typer(subscription, name="subscription")
app.add_typer(thingpark_connections.app, name="connections")
app.add_typer(thingpark_iot_flow.app, name="iot-flow")
app.add_typer(device_profiles, name="device-profiles")
app.add_typer(network_subscriptions, name="network-subscriptions")
app.add_typer(network_contexts, name="network-contexts")
app.add_typer(thingpark_devices.app, name="devices")
app.add_typer(thingpark_multicast.app, name="multicast")
app.add_typer(thingpark_alarms.app, name="alarms")

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


@network_subscriptions.command("list")
def list_network_subscriptions(
    *, connectivity: _ConnectivityOption = None, account: AccountOption = None, json: JsonOption = False
) -> None:
    """List the connectivity plans with the licences that are free."""
    found = ask(account, lambda client: client.list_network_subscriptions(_upper(connectivity)))
    print_records(found, _plan_record, _PLAN_COLUMNS, json)


@network_contexts.command("list")
def list_network_contexts(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the network contexts of cellular devices. ThingPark has them from 8.1 on."""
    found = ask(account, lambda client: client.list_cellular_network_contexts())
    print_records(found, _context_record, ("id", "name", "mode", "subnet", "source_port"), json)


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
