"""`devices`: LoRaWAN and cellular devices, and their traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from receiver.cli.platform_account import read_secret_file
from receiver.cli.platform_use import AccountOption
from receiver.cli.secret_io import STANDARD_INPUT
from receiver.cli.store import JsonOption, print_rows, utc_now
from receiver.cli.thingpark_view import (
    DryRunOption,
    ModeOption,
    YesOption,
    ask,
    change_at_network,
    confirm,
    joined,
    print_deleted,
    print_one,
    print_records,
)
from receiver.cli.time_option import parse_optional_moment
from receiver.errors import SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.lorawan.keys import parse_aes_key

if TYPE_CHECKING:
    from receiver.platforms.thingpark import ThingParkClient
    from receiver.platforms.thingpark_records import Device
    from receiver.platforms.thingpark_traffic import FrameSlot

app = typer.Typer(no_args_is_help=True, help="Devices: list, show, create, set, delete, traffic.")

_EuiArgument = Annotated[str, typer.Argument(metavar="DEV_EUI", help="The DevEUI, 16 hex digits.", show_default=False)]
_ModelOption = Annotated[str, typer.Option("--model", metavar="ID", help="The device profile: `device-profiles list`.")]
_NameOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Its name there.")]
_ConnectionOption = Annotated[
    list[str] | None,
    typer.Option("--connection", metavar="ID", help="A connection that gets its messages: `connections list`."),
]
_RoutingProfileOption = Annotated[
    str | None,
    typer.Option("--routing-profile", metavar="ID", help="In place of connections, where there are such profiles."),
]
_PlanOption = Annotated[
    str | None, typer.Option("--plan", metavar="ID", help="The connectivity plan; without one, as the mode says.")
]

_COLUMNS = ("dev_eui", "name", "connectivity", "model", "health", "connections", "plan", "alarms", "last_uplink_at")
_TRAFFIC_COLUMNS = (
    *("at", "uplinks", "up_bytes", "late", "lost", "joins", "downlinks", "down_bytes", "failed"),
    *("rssi_dbm", "snr_db", "per"),
)


@app.command("list")
def list_devices(
    *,
    connection: Annotated[str | None, typer.Option(metavar="ID", help="With this connection.")] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Whose name begins so.")] = None,
    connectivity: Annotated[str | None, typer.Option(metavar="LORAWAN|CELLULAR", help="Of this kind alone.")] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=VALUE", help="Another parameter of the API, such as healthState=INIT."),
    ] = None,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """List the devices of the subscription, by DevEUI."""
    given = (("appServerID", connection), ("name", name), ("connectivity", connectivity and connectivity.upper()))
    filters = (*((key, value) for key, value in given if value), *(_filter(text) for text in more or ()))

    async def get(client: ThingParkClient) -> list[Device]:
        return [one async for one in client.list_devices(filters)]

    print_records(ask(account, get), _row, _COLUMNS, json)


@app.command("show")
def show(dev_eui: _EuiArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one device. Its keys are in no answer of ThingPark's."""
    print_one(ask(account, lambda client: client.get_device(dev_eui)), _record, json)


@app.command("create")
def create(
    dev_eui: _EuiArgument,
    *,
    model: _ModelOption,
    app_key_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="OTAA: a file with the AppKey; `-`: standard input, or it is asked for."),
    ] = None,
    join_eui: Annotated[str | None, typer.Option(metavar="EUI", help="The JoinEUI (AppEUI).")] = None,
    external_join_server: Annotated[
        bool, typer.Option("--external-join-server", help="It joins elsewhere, for all its life; needs --join-eui.")
    ] = False,
    dev_addr: Annotated[str | None, typer.Option(metavar="HEX", help="ABP: its DevAddr.")] = None,
    session_keys_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="ABP: a file with NwkSKey and AppSKey, one to a line; or `-`.")
    ] = None,
    name: _NameOption = None,
    connections: _ConnectionOption = None,
    routing_profile: _RoutingProfileOption = None,
    plan: _PlanOption = None,
    geolocation: Annotated[bool, typer.Option("--geolocation", help="The network computes positions.")] = False,
    passive_roaming: Annotated[bool, typer.Option("--passive-roaming", help="Other networks may carry it.")] = False,
    mode: ModeOption = None,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Create a LoRaWAN device, by OTAA or (with --dev-addr) ABP. Its keys go to ThingPark and are not kept here."""
    from receiver.platforms.thingpark_wishes import LorawanDeviceWish

    is_abp = dev_addr is not None
    nwk_s_key, app_s_key = _session_keys(session_keys_file) if is_abp else (None, None)
    needs_app_key = not is_abp and not external_join_server
    wish = LorawanDeviceWish(
        dev_eui,
        model,
        name,
        "ABP" if is_abp else "OTAA",
        join_eui,
        _key(read_secret_file(app_key_file or STANDARD_INPUT, "AppKey")) if needs_app_key else None,
        dev_addr=dev_addr,
        nwk_s_key=nwk_s_key,
        app_s_key=app_s_key,
        app_server_ids=tuple(connections or ()),
        routing_profile_id=routing_profile,
        network_subscription_id=plan,
        nw_geolocalization=geolocation,
        pr_allowed=passive_roaming,
        handling_mode=None if mode is None else mode.upper(),
    )

    change_at_network(
        account,
        lambda client: client.build_create_lorawan_device_call(wish),
        lambda client: client.create_lorawan_device(wish),
        _record,
        dry_run=dry_run,
        json=json,
    )


@app.command("create-cellular")
def create_cellular(
    sim_id: Annotated[str, typer.Argument(metavar="SIM", help="ICCID or eID of the SIM.", show_default=False)],
    *,
    model: _ModelOption,
    plan: Annotated[
        str | None, typer.Option(metavar="ID", help="The connectivity plan; without one it is suspended.")
    ] = None,
    network_context: Annotated[
        str | None, typer.Option(metavar="ID", help="The network context: `network-contexts list`.")
    ] = None,
    imei: Annotated[str | None, typer.Option(metavar="DIGITS", help="The only terminal that may use the SIM.")] = None,
    name: _NameOption = None,
    connections: _ConnectionOption = None,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Create a cellular device (ThingPark 8.1 and later), which gets an EUI from the network."""
    from receiver.platforms.thingpark_wishes import CellularDeviceWish

    wish = CellularDeviceWish(
        model,
        sim_id,
        name,
        imei,
        network_subscription_id=plan,
        network_context_id=network_context,
        app_server_ids=tuple(connections or ()),
    )

    change_at_network(
        account,
        lambda client: client.build_create_cellular_device_call(wish),
        lambda client: client.create_cellular_device(wish),
        _record,
        dry_run=dry_run,
        json=json,
    )


@app.command("set")
def change(
    dev_eui: _EuiArgument,
    *,
    name: _NameOption = None,
    connections: Annotated[
        list[str] | None,
        typer.Option(
            "--connection", metavar="ID", help="All connections that it is to have from now on; `none`: none."
        ),
    ] = None,
    routing_profile: _RoutingProfileOption = None,
    plan: _PlanOption = None,
    suspended: Annotated[
        bool | None, typer.Option("--suspended/--resumed", help="Whether its messages are ignored.")
    ] = None,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Change what is given of a device; for its keys, delete it and create it anew."""
    from receiver.platforms.thingpark_devices import RESUMED, SUSPENDED

    ids = [one for one in connections or () if one != "none"]
    changes: dict[str, object] = {}
    changes |= {} if name is None else {"name": name}
    changes |= {} if connections is None else {"appServers": [{"ID": one} for one in ids]}
    changes |= {} if routing_profile is None else {"appServersRoutingProfile": {"ID": routing_profile}}
    changes |= {} if plan is None else {"networkSubscription": {"ID": plan}}
    changes |= {} if suspended is None else {"suspension": SUSPENDED if suspended else RESUMED}

    change_at_network(
        account,
        lambda client: client.build_update_device_call(dev_eui, changes),
        lambda client: client.update_device(dev_eui, changes),
        _record,
        dry_run=dry_run,
        json=json,
    )


@app.command("delete")
def delete(
    dev_eui: _EuiArgument, *, yes: YesOption = False, account: AccountOption = None, json: JsonOption = False
) -> None:
    """Delete a device at the network, with its history and alarms there. What was received of it stays here."""

    async def remove(client: ThingParkClient) -> None:
        there = await client.get_device(dev_eui)
        eui = there.eui or dev_eui
        confirm(f"Delete the device {eui} ({there.name}) at the network? Its keys cannot be read back.", yes=yes)
        was_there = await client.delete_device(eui)
        print_deleted(f"device {eui}", was_there=was_there, json=json)

    ask(account, remove)


@app.command("traffic")
def traffic(
    dev_eui: _EuiArgument,
    *,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="ISO 8601, or a span; the last days if not given.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, metavar="N", help="So many days.")] = 7,
    step: Annotated[str, typer.Option(metavar="STEP", help="PT1H to PT24H, or P1D for days of the time zone.")] = "P1D",
    timezone: Annotated[str, typer.Option(metavar="NAME", help="As Europe/Amsterdam.")] = "UTC",
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Show the traffic history of a device, as ThingPark counts it."""
    zone = _zone(timezone)
    begin = parse_optional_moment(since, utc_now(), zone)
    found = ask(
        account,
        lambda client: client.list_aggregated_frames(dev_eui, f"P{days}D", step, timezone, begin=begin),
    )
    if json:
        print_rows([dict(one.raw) for one in found], (), json)
        return
    print_rows([_traffic_row(one, zone) for one in found], _TRAFFIC_COLUMNS, json)


def _filter(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise SettingsError(f"{shorten(text)!r} is no filter: write --filter NAME=VALUE.")
    return name.strip(), value


def _session_keys(file: str | None) -> tuple[str, str]:
    keys = read_secret_file(file or STANDARD_INPUT, "session keys").split()
    if len(keys) != 2:
        raise SettingsError("Two keys are needed, one to a line: the device's NwkSKey and its AppSKey.")
    return _key(keys[0]), _key(keys[1])


def _key(text: str) -> str:
    return parse_aes_key(text).reveal().hex()


def _row(one: Device) -> dict[str, object]:
    return {
        "dev_eui": one.eui,
        "name": one.name,
        "connectivity": one.connectivity,
        "model": one.model_name or one.model_id,
        "health": one.health_state,
        "connections": joined(one.app_server_ids) or one.routing_profile_id,
        "plan": one.network_subscription_id,
        "alarms": one.alarm_count,
        "last_uplink_at": one.last_up_at,
    }


def _record(one: Device) -> dict[str, object]:
    return {
        **_row(one),
        "model_id": one.model_id,
        "activation": one.activation,
        "join_eui": one.join_eui,
        "dev_addr": one.dev_addr,
        "sim": one.sim_id,
        "imei": one.imei,
        "network_context": one.network_context_id,
        "suspension": one.suspension,
        "payloads_encrypted": one.payload_encryption,
        "last_downlink_at": one.last_down_at,
        "created_at": one.created_at,
    }


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise typer.BadParameter(f"{name[:40]!r} is no time zone: give one like Europe/Amsterdam.") from exc


def _traffic_row(one: FrameSlot, zone: ZoneInfo) -> dict[str, object]:
    return {
        "at": None if one.at is None else one.at.astimezone(zone).strftime("%Y-%m-%d %H:%M%z"),
        "uplinks": one.up_count,
        "up_bytes": one.up_bytes,
        "late": one.up_late,
        "lost": one.up_lost,
        "joins": one.join_requests,
        "downlinks": one.down_count,
        "down_bytes": one.down_bytes,
        "failed": one.down_failed,
        "rssi_dbm": None if one.rssi_dbm_mean is None else round(one.rssi_dbm_mean, 1),
        "snr_db": None if one.snr_db_mean is None else round(one.snr_db_mean, 1),
        "per": None if one.mean_per_mean is None else round(one.mean_per_mean, 4),
    }
