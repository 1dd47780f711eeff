"""`receiver device`: which devices there are, their names, and the AppSKeys of those personalised by hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from receiver.cli.secret_io import read_secret
from receiver.cli.silence import silent_devices
from receiver.cli.store import JsonOption, as_json, counted, open_store, print_record, print_rows, utc_now
from receiver.cli.things import map_device

app = typer.Typer(no_args_is_help=True, help="Devices: list them, name them, give an ABP device its AppSKey.")

EuiArgument = Annotated[str, typer.Argument(metavar="EUI", help="The DevEUI, 16 hex digits.", show_default=False)]

_COLUMNS = ("dev_eui", "name", "connection", "model", "last_seen_at", "last_f_cnt_up", "battery")
_SESSION_COLUMNS = (
    "dev_addr",
    "began_by",
    "started_at",
    "last_at",
    "last_f_cnt_up",
    "app_s_key_source",
    "app_s_key_check_value",
)


@app.command("list")
def list_(*, json: JsonOption = False) -> None:
    """List all devices that were heard or set up."""
    from receiver.services.devices import iterate_devices

    with open_store() as store:
        devices = (asdict(device) for device in iterate_devices(store.engine))
        rows = devices if json else ({**row, "battery": battery_text(row["battery_level"])} for row in devices)
        print_rows(rows, _COLUMNS, json)


@app.command()
def show(eui: EuiArgument, *, json: JsonOption = False) -> None:
    """Show one device with its newest sessions; of an AppSKey only the check value."""
    from receiver.lorawan.identifiers import parse_device
    from receiver.services.devices import get_device

    dev_eui = parse_device(eui)
    with open_store() as store:
        status = get_device(store.engine, store.keyring, dev_eui)
    device = {**asdict(status.device), "reports_waiting_for_key": status.reports_waiting_for_key}
    sessions = [asdict(session) for session in status.sessions]
    if json:
        typer.echo(as_json({**device, "sessions": sessions}))
        return
    print_record({**device, "battery_level": battery_text(status.device.battery_level)}, json=False)
    typer.echo("\nSessions, newest first:")
    print_rows(sessions, _SESSION_COLUMNS, json=False)


@app.command("set")
def set_(
    eui: EuiArgument,
    *,
    name: Annotated[
        str | None, typer.Option(help="Its name here; an empty one gives it back the network's name.")
    ] = None,
    app_s_key: Annotated[
        str | None, typer.Option(metavar="HEX", help="The AppSKey of an ABP device; `-`: standard input.")
    ] = None,
    dev_addr: Annotated[str | None, typer.Option(metavar="HEX", help="The DevAddr that the AppSKey is for.")] = None,
    lorawan: Annotated[
        str | None, typer.Option(metavar="1.0|1.1", help="The version of LoRaWAN that it speaks, for its downlinks.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Name a device, or give an ABP device its AppSKey, before or after it is heard."""
    from receiver.lorawan.identifiers import parse_dev_addr, parse_device
    from receiver.lorawan.keys import key_check_value, parse_aes_key
    from receiver.services.devices import set_app_s_key, set_device_name, set_lorawan_version

    if name is None and app_s_key is None and lorawan is None:
        raise typer.BadParameter("Give --name, --lorawan, or --app-s-key with --dev-addr.")
    if (app_s_key is None) != (dev_addr is None):
        raise typer.BadParameter("--app-s-key and --dev-addr go together: a key is of one DevAddr.")
    dev_eui = parse_device(eui)
    result: dict[str, object] = {"dev_eui": dev_eui}
    messages = []
    with open_store() as store:
        if app_s_key is not None and dev_addr is not None:
            address = parse_dev_addr(dev_addr)
            key = parse_aes_key(read_secret(app_s_key, "AppSKey"))
            waiting = set_app_s_key(store.engine, store.keyring, utc_now(), dev_eui, address, key)
            result |= {"dev_addr": address, "app_s_key_check_value": key_check_value(key)}
            result["reports_to_read_again"] = waiting
            messages.append(
                f"{dev_eui} has an AppSKey for {address} now; its key check value is {key_check_value(key)}."
            )
            if waiting:
                messages.append(f"To be read again, now that there is a key: {counted(waiting, 'report')}.")
        if lorawan is not None:
            set_lorawan_version(store.engine, dev_eui, lorawan)
            result["lorawan_version"] = lorawan
            messages.append(f"{dev_eui} speaks LoRaWAN {lorawan}.")
        if name is not None:
            set_device_name(store.engine, dev_eui, name)
            result["name"] = name.strip() or None
            messages.append(
                f"{dev_eui} is named {name.strip()}." if name.strip() else f"{dev_eui} has the network's name."
            )
    typer.echo(as_json(result) if json else "\n".join(messages))


app.command("map")(map_device)
app.command("silent")(silent_devices)


def battery_text(level: int | None) -> str | None:
    """Give a battery level as a person reads it. Source: LoRaWAN L2 1.0.4 section 5.5, DevStatusAns."""
    match level:
        case None:
            return None
        case 0:
            return "mains"
        case 255:
            return "not measurable"
    return f"{level / 254:.0%}"
