"""The `receiver` command: puts the groups together and turns a refusal into one sentence and exit code 1.

Exit codes: 0 done, 1 refused with one sentence on standard error, 2 wrong usage.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from receiver import __version__
from receiver.cli.lazy_commands import commands_at
from receiver.errors import ReceiverError

COMMANDS = {
    "serve": "receiver.cli.serve:serve",
    "worker": "receiver.cli.serve:worker",
    "demo": "receiver.cli.demo:demo",
    "doctor": "receiver.cli.doctor:doctor",
    "connection": "receiver.cli.connection:app",
    "as-key": "receiver.cli.as_key:app",
    "device": "receiver.cli.device:app",
    "codec": "receiver.cli.codec:app",
    "redecode": "receiver.cli.redecode:redecode",
    "uplinks": "receiver.cli.uplinks:app",
    "telemetry": "receiver.cli.telemetry:app",
    "rejections": "receiver.cli.rejections:app",
    "downlink": "receiver.cli.downlink:app",
    "forwarder": "receiver.cli.forwarder:app",
    "kpn-lora": "receiver.cli.kpn_lora:app",
    "thingpark": "receiver.cli.thingpark:app",
    "device-manager": "receiver.cli.device_manager:app",
    "kpn-things": "receiver.cli.kpn_things:app",
    "bulk": "receiver.cli.bulk:app",
    "alarms": "receiver.cli.alarms:app",
    "traffic": "receiver.cli.traffic:app",
    "api-key": "receiver.cli.api_key:app",
    "db": "receiver.cli.db:app",
    "simulate": "receiver.cli.simulate:app",
}
"""All commands and groups, in the order in which `receiver --help` has them, and where they stand."""

app = typer.Typer(
    name="receiver",
    cls=commands_at(COMMANDS),
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


def main() -> None:
    """Run the command of this process's arguments and exit."""
    try:
        app(prog_name="receiver")
    except ReceiverError as exc:
        typer.echo(f"receiver: {exc}", err=True)
        sys.exit(1)
