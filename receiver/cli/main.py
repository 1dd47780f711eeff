"""The `receiver` command: puts the groups together and turns a refusal into one sentence and exit code 1.

Exit codes: 0 done, 1 refused with one sentence on standard error, 2 wrong usage.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from receiver import __version__
from receiver.cli import (
    api_key,
    as_key,
    codec,
    connection,
    db,
    demo,
    device,
    doctor,
    downlink,
    forwarder,
    redecode,
    rejections,
    serve,
    simulate,
    telemetry,
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
app.add_typer(api_key.app, name="api-key")
app.add_typer(db.app, name="db")
app.add_typer(simulate.app, name="simulate")


def main() -> None:
    """Run the command of this process's arguments and exit."""
    try:
        app(prog_name="receiver")
    except ReceiverError as exc:
        typer.echo(f"receiver: {exc}", err=True)
        sys.exit(1)
