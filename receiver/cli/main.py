"""The `receiver` command: puts the groups together and turns a refusal into one sentence and exit code 1.

Exit codes: 0 done, 1 refused with one sentence on standard error, 2 wrong usage.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from receiver import __version__
from receiver.cli import (
    alarms,
    api_key,
    as_key,
    bulk,
    codec,
    connect,
    connection,
    db,
    demo,
    device,
    device_manager,
    doctor,
    downlink,
    forwarder,
    kpn_lora,
    kpn_things,
    redecode,
    rejections,
    serve,
    simulate,
    simulate_platforms,
    telemetry,
    thingpark,
    traffic,
    uplinks,
)
from receiver.errors import ReceiverError

app = typer.Typer(
    name="receiver",
    help="The application server for LoRaWAN devices on ThingPark networks and KPN Things.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and those may be keys
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _global_options(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    pass


app.command()(serve.serve)
app.command()(serve.worker)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.add_typer(connection.app, name="connection")
app.add_typer(as_key.app, name="as-key")
app.add_typer(device.app, name="device")
app.add_typer(codec.app, name="codec")
app.command()(redecode.redecode)
app.add_typer(uplinks.app, name="uplinks")
app.add_typer(telemetry.app, name="telemetry")
app.add_typer(rejections.app, name="rejections")
app.add_typer(downlink.app, name="downlink")
app.add_typer(forwarder.app, name="forwarder")
kpn_lora.app.command("connect")(connect.kpn_lora_connect)
kpn_lora.app.command("rotate-key")(connect.kpn_lora_rotate_key)
kpn_lora.app.command("disconnect")(connect.kpn_lora_disconnect)
app.add_typer(kpn_lora.app, name="kpn-lora")
thingpark.app.command("connect")(connect.thingpark_connect)
thingpark.app.command("rotate-key")(connect.thingpark_rotate_key)
thingpark.app.command("disconnect")(connect.thingpark_disconnect)
app.add_typer(thingpark.app, name="thingpark")
app.add_typer(device_manager.app, name="device-manager")
app.add_typer(kpn_things.app, name="kpn-things")
app.add_typer(bulk.app, name="bulk")
app.add_typer(alarms.app, name="alarms")
app.add_typer(traffic.app, name="traffic")
app.add_typer(api_key.app, name="api-key")
app.add_typer(db.app, name="db")
simulate.app.command()(simulate_platforms.platforms)
app.add_typer(simulate.app, name="simulate")


def main() -> None:
    """Run the command of this process's arguments and exit."""
    try:
        app(prog_name="receiver")
    except ReceiverError as exc:
        typer.echo(f"receiver: {exc}", err=True)
        sys.exit(1)
