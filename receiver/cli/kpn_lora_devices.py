"""`receiver kpn-lora devices`: the devices of a subscription at KPN, one at a time; `receiver bulk` is for many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.kpn_lora_profiles import DryRunOption, YesOption, choose_hsm_group, choose_profile
from receiver.cli.platform_account import read_secret_file
from receiver.cli.platform_use import AccountOption, use_client
from receiver.cli.secret_io import STANDARD_INPUT
from receiver.cli.store import JsonOption, as_json, print_record, print_rows
from receiver.errors import NotFoundError
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.lorawan.keys import parse_aes_key

if TYPE_CHECKING:
    from receiver.lorawan.identifiers import DevEui
    from receiver.platforms.kpn_lora import KpnLoraClient
    from receiver.platforms.kpn_lora_records import KpnDevice

SURFACE = "kpn-lora"

app = typer.Typer(no_args_is_help=True, help="Devices: list, show, create, change, delete.")

_EuiArgument = Annotated[str, typer.Argument(metavar="DEV_EUI", help="The DevEUI, 16 hex digits.", show_default=False)]
_ProfileOption = Annotated[
    str | None, typer.Option("--routing-profile", metavar="PROFILE", help="Name, ref or id of a routing profile.")
]
_StrategyOption = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Instead of one: DATAFLOW, IOT_FLOW, NOAS or DEFAULTRP."),
]

_COLUMNS = ("dev_eui", "ref", "name", "dev_addr")
_LONG_COLUMNS = (*_COLUMNS, "plan", "routing", "health", "last_uplink_at")
_RESET = "none"


@app.command("list")
def list_(
    *,
    long: Annotated[bool, typer.Option("--long", help="With plan, routing and statistics.")] = False,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Of this connectivity plan alone.")] = None,
    health: Annotated[
        str | None, typer.Option(metavar="INIT|ACTIVE|RF_CNX_ERROR", help="Of this health alone.")
    ] = None,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """List the devices of the subscription."""

    async def ask(client: KpnLoraClient) -> list[KpnDevice]:
        found = client.list_devices(plan=plan, health_state=health.upper() if health else None, is_extended=long)
        return [device async for device in found]

    devices = use_client(SURFACE, account, ask)
    rows = [dict(one.raw) if json else _record(one) for one in devices]
    print_rows(rows, _LONG_COLUMNS if long else _COLUMNS, json)


@app.command()
def show(dev_eui: _EuiArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one device. Its keys are in no answer of KPN's."""
    eui = parse_dev_eui(dev_eui)

    async def ask(client: KpnLoraClient) -> KpnDevice:
        return await client.get_device(await _ref_of(client, eui))

    device = use_client(SURFACE, account, ask)
    print_record(dict(device.raw) if json else _record(device), json)


@app.command()
def create(
    dev_eui: _EuiArgument,
    *,
    join_eui: Annotated[str, typer.Option(metavar="EUI", help="The JoinEUI (AppEUI), 16 hex digits.")],
    plan: Annotated[str, typer.Option(metavar="ID", help="The connectivity plan: `plans list`.")],
    device_profile: Annotated[str, typer.Option(metavar="ID", help="The device profile: `device-profiles list`.")],
    routing_profile: _ProfileOption = None,
    strategy: _StrategyOption = None,
    app_key_file: Annotated[
        str, typer.Option(metavar="FILE", help="A file with the AppKey; `-`: standard input, or it is asked for.")
    ] = STANDARD_INPUT,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Its name there; the DevEUI if none.")] = None,
    hsm_group: Annotated[
        str | None, typer.Option(metavar="ID", help="The HSM group; the only one, if there is one.")
    ] = None,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Create a device by OTAA. The AppKey goes to KPN and is not kept here."""
    from receiver.platforms.kpn_lora_calls import KpnDeviceWish, build_create_device_call

    if (routing_profile is None) == (strategy is None):
        raise typer.BadParameter("Give --routing-profile, or else --strategy: without, KPN would send its data away.")
    eui, join = parse_dev_eui(dev_eui), parse_dev_eui(join_eui)
    app_key = parse_aes_key(read_secret_file(app_key_file, "AppKey"))

    async def make(client: KpnLoraClient) -> KpnDevice | str:
        routing = None if routing_profile is None else (await choose_profile(client, routing_profile)).id
        wish = KpnDeviceWish(
            eui,
            join,
            app_key,
            name or eui,
            device_profile,
            plan,
            routing,
            strategy.upper() if strategy else None,
            await choose_hsm_group(client, hsm_group),
        )
        call = build_create_device_call(wish)
        if dry_run:
            return call.shown(client.base_url)
        await client.require_free_connections(plan)
        return await client.create_device(wish)

    made = use_client(SURFACE, account, make)
    if isinstance(made, str):
        typer.echo(made)
        return
    print_record(dict(made.raw) if json else _record(made), json)


@app.command("set")
def change(
    dev_eui: _EuiArgument,
    *,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Another name.")] = None,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Another connectivity plan; `none`: none.")] = None,
    routing_profile: _ProfileOption = None,
    strategy: _StrategyOption = None,
    device_profile: Annotated[str | None, typer.Option(metavar="ID", help="Another device profile.")] = None,
    join_eui: Annotated[str | None, typer.Option(metavar="EUI", help="Another JoinEUI.")] = None,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Change what KPN lets change of a device; for its keys, delete it and create it anew."""
    from receiver.platforms.kpn_lora_calls import RESET, KpnDeviceChanges, build_update_device_call

    eui = parse_dev_eui(dev_eui)
    join = None if join_eui is None else parse_dev_eui(join_eui)

    async def make(client: KpnLoraClient) -> KpnDevice | str:
        routing = RESET if routing_profile == _RESET else None
        if routing_profile is not None and routing is None:
            routing = (await choose_profile(client, routing_profile)).id
        changes = KpnDeviceChanges(
            name=name,
            routing_profile_id=routing,
            processing_strategy_id=strategy.upper() if strategy else None,
            connectivity_plan_id=RESET if plan == _RESET else plan,
            device_profile_id=device_profile,
            join_eui=join,
        )
        ref = await _ref_of(client, eui)
        if dry_run:
            return build_update_device_call(ref, changes).shown(client.base_url)
        await client.update_device(ref, changes, eui)
        return await client.get_device(ref)

    made = use_client(SURFACE, account, make)
    if isinstance(made, str):
        typer.echo(made)
        return
    print_record(dict(made.raw) if json else _record(made), json)


@app.command()
def delete(
    dev_eui: _EuiArgument, *, yes: YesOption = False, account: AccountOption = None, json: JsonOption = False
) -> None:
    """Delete a device at KPN. What was received of it stays here."""
    eui = parse_dev_eui(dev_eui)
    ref = use_client(SURFACE, account, lambda client: _ref_of(client, eui))
    if not yes:
        typer.confirm(f"Delete the device {eui} at KPN? Its keys cannot be read back.", abort=True, err=True)
    use_client(SURFACE, account, lambda client: client.delete_device(ref))
    typer.echo(as_json({"dev_eui": eui, "ref": ref, "deleted": True}) if json else f"{eui} is deleted at KPN.")


async def _ref_of(client: KpnLoraClient, dev_eui: DevEui) -> str:
    found = await client.find_device(dev_eui)
    if found is None or found.ref is None:
        raise NotFoundError(f"There is no device {dev_eui} in this subscription at KPN.")
    return found.ref


def _record(device: KpnDevice) -> dict[str, object]:
    statistics = device.statistics
    return {
        "dev_eui": device.dev_eui,
        "ref": device.ref,
        "name": device.name,
        "dev_addr": device.dev_addr,
        "device_profile": device.device_profile_id,
        "plan": device.connectivity_plan_id,
        "routing": device.routing_profile_id or device.processing_strategy_id,
        "join_eui": device.join_eui,
        "hsm_group": device.hsm_group_id,
        "health": None if statistics is None else statistics.health_state,
        "last_uplink_at": None if statistics is None else statistics.last_uplink_at,
        "battery": None if statistics is None else statistics.last_battery_level,
    }
