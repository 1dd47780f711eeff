"""`receiver kpn-lora`: KPN's LoRa Device Management API (KPN Store)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli import connect, kpn_lora_devices, kpn_lora_profiles
from receiver.cli.platform_account import account_app, read_secret_file
from receiver.cli.platform_use import AccountOption, choose, use_client
from receiver.cli.secret_io import STANDARD_INPUT
from receiver.cli.store import JsonOption, as_json, print_record, print_rows, utc_now
from receiver.cli.time_option import parse_optional_moment
from receiver.lorawan.identifiers import parse_dev_eui

if TYPE_CHECKING:
    from receiver.platforms.kpn_lora import KpnLoraClient
    from receiver.platforms.kpn_lora_records import (
        ConnectivityPlan,
        FrameStatistics,
        HsmGroup,
        KpnAlarm,
        KpnDeviceProfile,
    )

SURFACE = "kpn-lora"

app = typer.Typer(no_args_is_help=True, help="KPN LoRa: the subscription, routing profiles, devices, alarms.")
plans = typer.Typer(no_args_is_help=True, help="Connectivity plans, what sales granted: list, show.")
device_profiles = typer.Typer(no_args_is_help=True, help="Device profiles, kinds of devices: list, show.")
hsm_groups = typer.Typer(no_args_is_help=True, help="HSM groups, the security modules there are: list, show.")
alarms = typer.Typer(no_args_is_help=True, help="Alarms of devices: list, show, acknowledge.")
frames = typer.Typer(no_args_is_help=True, help="Statistics of frames.")
app.command("connect")(connect.kpn_lora_connect)
app.command("rotate-key")(connect.kpn_lora_rotate_key)
app.command("disconnect")(connect.kpn_lora_disconnect)
app.add_typer(account_app(SURFACE), name="account")
app.add_typer(plans, name="plans")
app.add_typer(device_profiles, name="device-profiles")
app.add_typer(hsm_groups, name="hsm-groups")
app.add_typer(kpn_lora_profiles.app, name="routing-profiles")
app.add_typer(kpn_lora_devices.app, name="devices")
app.add_typer(alarms, name="alarms")
app.add_typer(frames, name="frames")

_RefArgument = Annotated[str, typer.Argument(metavar="REF", help="The alarm's ref.", show_default=False)]
_IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Its id or exact name, as `list` has it.", show_default=False)
]
_EuiOption = Annotated[str | None, typer.Option("--device", metavar="DEV_EUI", help="Of this device alone.")]

_PLAN_COLUMNS = ("id", "ref", "name", "granted", "used", "free", "type")
_ALARM_COLUMNS = ("ref", "state", "alarm", "occurrence", "acked", "device_ref", "created_at", "updated_at", "info")
_FRAME_COLUMNS = ("at", "type", "frames", "payload_bytes", "rssi_dbm", "snr_db", "good", "bad", "average_per")


@app.command()
def activate(
    *,
    username: Annotated[str, typer.Option(metavar="NAME", help="Of the ThingPark portal.")],
    password_file: Annotated[
        str, typer.Option(metavar="FILE", help="A file with its password; `-`: standard input, or it is asked for.")
    ] = STANDARD_INPUT,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Tie the account's project to a login of the ThingPark portal: once for each project. The login is not kept."""
    password = read_secret_file(password_file, "password")
    status = use_client(SURFACE, account, lambda client: client.activate(username, password))
    typer.echo(as_json({"status": status}) if json else f"The project is activated ({status or 'no status given'}).")


@plans.command("list")
def list_plans(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the connectivity plans with the licences that are free."""
    found = use_client(SURFACE, account, lambda client: client.list_connectivity_plans())
    print_rows([dict(one.raw) if json else _plan_record(one) for one in found], _PLAN_COLUMNS, json)


@plans.command("show")
def show_plan(plan: _IdArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one connectivity plan, by its id, ref or name."""
    plans = use_client(SURFACE, account, lambda client: client.list_connectivity_plans())
    found = choose(plans, plan, what="connectivity plan", ids=lambda one: (one.id, one.ref), name=lambda one: one.name)
    print_record(dict(found.raw) if json else _plan_record(found), json)


@device_profiles.command("list")
def list_device_profiles(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the device profiles."""
    found = use_client(SURFACE, account, lambda client: client.list_device_profiles())
    print_rows([dict(one.raw) if json else _profile_record(one) for one in found], ("id", "name", "type"), json)


@device_profiles.command("show")
def show_device_profile(profile: _IdArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one device profile, by its id or name."""
    profiles = use_client(SURFACE, account, lambda client: client.list_device_profiles())
    found = choose(profiles, profile, what="device profile", ids=lambda one: (one.id,), name=lambda one: one.name)
    print_record(dict(found.raw) if json else _profile_record(found), json)


@hsm_groups.command("list")
def list_hsm_groups(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the HSM groups."""
    found = use_client(SURFACE, account, lambda client: client.list_hsm_groups())
    print_rows([dict(one.raw) if json else _group_record(one) for one in found], ("id", "name"), json)


@hsm_groups.command("show")
def show_hsm_group(group: _IdArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one HSM group, by its id or name."""
    groups = use_client(SURFACE, account, lambda client: client.list_hsm_groups())
    found = choose(groups, group, what="HSM group", ids=lambda one: (one.id,), name=lambda one: one.name)
    print_record(dict(found.raw) if json else _group_record(found), json)


@alarms.command("list")
def list_alarms(*, device: _EuiOption = None, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the alarms."""
    eui = None if device is None else parse_dev_eui(device)

    async def ask(client: KpnLoraClient) -> list[KpnAlarm]:
        return [alarm async for alarm in client.list_alarms(eui)]

    found = use_client(SURFACE, account, ask)
    print_rows([dict(one.raw) if json else _alarm_record(one) for one in found], _ALARM_COLUMNS, json)


@alarms.command("show")
def show_alarm(ref: _RefArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one alarm."""
    alarm = use_client(SURFACE, account, lambda client: client.get_alarm(ref))
    print_record(dict(alarm.raw) if json else _alarm_record(alarm), json)


@alarms.command("ack")
def acknowledge_alarm(ref: _RefArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Acknowledge an alarm."""
    use_client(SURFACE, account, lambda client: client.acknowledge_alarm(ref))
    typer.echo(as_json({"ref": ref, "acked": True}) if json else f"{ref} is acknowledged.")


@frames.command("list")
def list_frames(
    dev_euis: Annotated[
        list[str] | None, typer.Argument(metavar="DEV_EUI…", help="Of these devices.", show_default=False)
    ] = None,
    *,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="ISO 8601, or a span like 7d; the newest alone if not given.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, metavar="N", help="So many days from then on; 7.")] = None,
    step: Annotated[int | None, typer.Option(min=1, max=24, metavar="HOURS", help="Sum up over so many hours.")] = None,
    base_station: Annotated[str | None, typer.Option(metavar="ID", help="Heard by this base station.")] = None,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """List statistics of frames, up and down."""
    start = parse_optional_moment(since, utc_now())
    euis = [parse_dev_eui(one) for one in dev_euis or ()]

    async def ask(client: KpnLoraClient) -> list[FrameStatistics]:
        return await client.list_frame_statistics(
            euis, base_station_id=base_station, start=start, duration_days=days, aggregation_h=step
        )

    found = use_client(SURFACE, account, ask)
    print_rows([dict(one.raw) if json else _frame_record(one) for one in found], _FRAME_COLUMNS, json)


@app.command()
def health(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show how many devices are in which health."""
    found = use_client(SURFACE, account, lambda client: client.get_health_statistics())
    record = {
        "active": found.active,
        "init": found.init,
        "rf_connection_error": found.rf_connection_error,
        "total": found.total,
    }
    print_record(dict(found.raw) if json else record, json)


def _plan_record(plan: ConnectivityPlan) -> dict[str, object]:
    return {
        "id": plan.id,
        "ref": plan.ref,
        "name": plan.name,
        "granted": plan.granted_connections,
        "used": plan.used_connections,
        "free": plan.free_connections,
        "type": plan.communication_type,
    }


def _profile_record(profile: KpnDeviceProfile) -> dict[str, object]:
    return {"id": profile.id, "name": profile.name, "type": profile.type_mac}


def _group_record(group: HsmGroup) -> dict[str, object]:
    return {"id": group.id, "name": group.name}


def _alarm_record(alarm: KpnAlarm) -> dict[str, object]:
    from receiver.platforms.alarm_types import alarm_name

    return {
        "ref": alarm.ref,
        "state": alarm.state,
        "alarm": alarm_name(alarm.alarm_type_id),
        "occurrence": alarm.occurrence,
        "acked": alarm.acked,
        "device_ref": alarm.device_ref,
        "created_at": alarm.created_at,
        "updated_at": alarm.updated_at,
        "info": " ".join(alarm.additional_info) or None,
    }


def _frame_record(frame: FrameStatistics) -> dict[str, object]:
    is_up = frame.type != "DOWNLINK"
    return {
        "at": frame.at,
        "type": frame.type,
        "frames": frame.frame_count,
        "payload_bytes": frame.payload_bytes,
        "rssi_dbm": frame.rssi_dbm,
        "snr_db": frame.snr_db,
        "good": frame.on_time if is_up else frame.sent,
        "bad": frame.late if is_up else frame.not_sent,
        "average_per": frame.average_per,
    }
