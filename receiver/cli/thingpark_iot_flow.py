"""`receiver thingpark iot-flow`: connections of ThingPark X IoT Flow, by DX Core."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.platform_account import read_secret_file
from receiver.cli.platform_use import AccountOption, choose
from receiver.cli.secret_io import STANDARD_INPUT, read_file
from receiver.cli.store import JsonOption
from receiver.cli.thingpark_view import (
    DryRunOption,
    YesOption,
    ask_dx_core,
    confirm,
    print_call,
    print_deleted,
    print_one,
    print_records,
)
from receiver.errors import NotFoundError, SettingsError
from receiver.lorawan.identifiers import shorten

if TYPE_CHECKING:
    from receiver.platforms.dx_core import DxConnection, DxConnector, DxCoreClient

app = typer.Typer(no_args_is_help=True, help="Connections of IoT Flow: list, show, create, set, delete.")
connectors = typer.Typer(no_args_is_help=True, help="Kinds of connections that IoT Flow has: list, show.")
app.add_typer(connectors, name="connectors")

_LARGEST_CONFIGURATION = 65_536

_ReferenceArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Its id at DX Core, or its name.", show_default=False)
]
_SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A member of the configuration; true, false and numbers as such."),
]
_SecretOption = Annotated[
    list[str] | None,
    typer.Option("--secret", metavar="NAME=FILE", help="A secret member, such as password; `-`: standard input."),
]
_FileOption = Annotated[
    Path | None, typer.Option("--configuration", metavar="FILE", help="The configuration as a JSON object.")
]

_COLUMNS = ("id", "name", "connector", "state", "active", "started_at")


@connectors.command("list")
def list_connectors(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the kinds of connections, such as actility-mqtt-iot."""
    found = ask_dx_core(account, lambda client: client.list_connectors())
    print_records(found, _connector_row, ("id", "version", "description"), json)


@connectors.command("show")
def show_connector(
    connector: Annotated[
        str, typer.Argument(metavar="ID", help="Its id, such as actility-mqtt-iot.", show_default=False)
    ],
    *,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Show one kind of connection: --json has all that DX Core tells of it."""
    found = choose(
        ask_dx_core(account, lambda client: client.list_connectors()),
        connector,
        what="connector",
        ids=lambda one: (one.id,),
        name=lambda one: one.id,
    )
    print_one(found, _connector_row, json)


@app.command("list")
def list_connections(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the connections with their states."""
    print_records(ask_dx_core(account, lambda client: client.list_connections()), _row, _COLUMNS, json)


@app.command("show")
def show(reference: _ReferenceArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one connection with its configuration; secrets are not shown."""
    print_one(ask_dx_core(account, lambda client: _find(client, reference)), _record, json)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name there.", show_default=False)],
    *,
    connector: Annotated[str, typer.Option(metavar="ID", help="Its kind: `connectors list`.")] = "actility-mqtt-iot",
    settings: _SetOption = None,
    secrets: _SecretOption = None,
    configuration: _FileOption = None,
    inactive: Annotated[bool, typer.Option("--inactive", help="Not started yet.")] = False,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Create a connection; it opens some seconds later. ThingPark Enterprise has room for five or so."""
    from receiver.platforms.dx_core import ConnectionWish

    wish = ConnectionWish(
        connector, name, _configuration(configuration, settings, secrets), active=False if inactive else None
    )

    async def make(client: DxCoreClient) -> DxConnection | None:
        if dry_run:
            print_call(client.build_create_connection_call(wish), client.base_url, json)
            return None
        return await client.create_connection(wish)

    made = ask_dx_core(account, make)
    if made is not None:
        print_one(made, _record, json)


@app.command("set")
def change(
    reference: _ReferenceArgument,
    *,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Another name.")] = None,
    settings: _SetOption = None,
    secrets: _SecretOption = None,
    configuration: _FileOption = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Whether it is open.")] = None,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Change a connection. DX Core hides its secrets, so each of them must be given anew with --secret."""
    from receiver.platforms.dx_core import ConnectionWish

    given = _configuration(configuration, settings, secrets)

    async def make(client: DxCoreClient) -> DxConnection | None:
        there = await _find(client, reference)
        whole = given if configuration is not None else {**there.configuration, **given}
        is_active = there.is_active if active is None else active
        wish = ConnectionWish(there.connector_id or "", name or there.name or "", whole, active=is_active)
        call = client.build_update_connection_call(there.id or reference, wish)
        if dry_run:
            print_call(call, client.base_url, json)
            return None
        return await client.update_connection(there.id or reference, wish)

    made = ask_dx_core(account, make)
    if made is not None:
        print_one(made, _record, json)


@app.command("delete")
def delete(
    reference: _ReferenceArgument, *, yes: YesOption = False, account: AccountOption = None, json: JsonOption = False
) -> None:
    """Delete a connection: its devices lose it."""

    async def remove(client: DxCoreClient) -> None:
        there = await _find(client, reference)
        confirm(f"Delete the IoT Flow connection {there.name} ({there.id}) at ThingPark?", yes=yes)
        was_there = await client.delete_connection(there.id or reference)
        print_deleted(f"IoT Flow connection {there.id or reference}", was_there=was_there, json=json)

    ask_dx_core(account, remove)


async def _find(client: DxCoreClient, reference: str) -> DxConnection:
    if reference.isascii() and reference.isdigit():
        return await client.get_connection(reference)
    found = await client.find_connection(reference)
    if found is None:
        raise NotFoundError(f"DX Core has no connection named {shorten(reference)!r}.")
    return found


def _configuration(file: Path | None, settings: list[str] | None, secrets: list[str] | None) -> dict[str, object]:
    """Put a configuration together. Raises SettingsError, which never shows a secret."""
    found: dict[str, object] = {}
    if file is not None:
        try:
            read = json_text.loads(read_file(file, "configuration file", _LARGEST_CONFIGURATION))
        except (ValueError, RecursionError) as exc:
            raise SettingsError(f"The configuration file {file} is no JSON.") from exc
        if not isinstance(read, dict):
            raise SettingsError(f"The configuration file {file} must have one JSON object.")
        found |= read
    for pair in settings or []:
        name, value = _pair(pair, "--set NAME=VALUE")
        found[name] = _value(value)
    for pair in secrets or []:
        name, value = _pair(pair, "--secret NAME=FILE")
        found[name] = read_secret_file(value or STANDARD_INPUT, name)
    return found


def _pair(text: str, form: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise SettingsError(f"{shorten(name)!r} is no member of a configuration: write {form}.")
    return name.strip(), value.strip()


def _value(text: str) -> object:
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _connector_row(one: DxConnector) -> dict[str, object]:
    return {"id": one.id, "version": one.version, "description": one.description}


def _row(one: DxConnection) -> dict[str, object]:
    return {
        "id": one.id,
        "name": one.name,
        "connector": one.connector_id,
        "state": one.state,
        "active": one.is_active,
        "started_at": one.started_at,
    }


def _record(one: DxConnection) -> dict[str, object]:
    shown = one.raw.get("configuration")
    members = shown if isinstance(shown, dict) else {}
    return {**_row(one), **{f"configuration.{name}": value for name, value in members.items()}}
