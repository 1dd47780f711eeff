"""`alarms`: alarms of devices as the network has them now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.platform_use import AccountOption
from receiver.cli.store import JsonOption, as_json, counted, utc_now
from receiver.cli.thingpark_view import ask, joined, print_one, print_records
from receiver.cli.time_option import parse_optional_moment
from receiver.errors import NotFoundError
from receiver.lorawan.identifiers import parse_dev_eui, shorten

if TYPE_CHECKING:
    from receiver.platforms.thingpark import ThingParkClient
    from receiver.platforms.thingpark_alarms import Alarm

app = typer.Typer(no_args_is_help=True, help="Alarms of devices as the network has them: list, show, acknowledge.")

_COLUMNS = ("uid", "state", "alarm", "dev_eui", "device", "occurrence", "acked", "created_at", "updated_at", "info")


@app.command("list")
def list_alarms(
    *,
    device: Annotated[str | None, typer.Option(metavar="DEV_EUI", help="Of this device alone.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Raised since then: ISO 8601, or a span like 7d.")
    ] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Without those that are acknowledged.")] = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """List the alarms."""
    eui = None if device is None else parse_dev_eui(device)
    at = parse_optional_moment(since, utc_now())

    async def get(client: ThingParkClient) -> list[Alarm]:
        return [one async for one in client.list_alarms(eui, since=at, acknowledged=False if open_only else None)]

    print_records(ask(account, get), _row, _COLUMNS, json)


@app.command("show")
def show(
    uid: Annotated[str, typer.Argument(metavar="UID", help="As `alarms list` has it.", show_default=False)],
    *,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Show one alarm."""
    found = ask(account, lambda client: client.find_alarm(uid))
    if found is None:
        raise NotFoundError(f"The network has no alarm {shorten(uid)}: it may be over, or its device deleted.")
    print_one(found, _row, json)


@app.command("ack")
def acknowledge(
    uids: Annotated[list[str], typer.Argument(metavar="UID…", help="As `alarms list` has them.", show_default=False)],
    *,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Acknowledge alarms: their state stays as it is."""
    ask(account, lambda client: client.acknowledge_alarms(uids))
    typer.echo(as_json({"acked": uids}) if json else f"{counted(len(uids), 'alarm')} acknowledged.")


def _row(one: Alarm) -> dict[str, object]:
    return {
        "uid": one.uid,
        "state": one.state_name,
        "alarm": one.name,
        "dev_eui": one.dev_eui,
        "device": one.device_name,
        "occurrence": one.occurrence,
        "acked": one.is_acknowledged,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "info": joined(one.additional),
    }
