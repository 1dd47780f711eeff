"""`connections`: ThingPark's application servers, as its pages call them connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.platform_account import read_secret_file
from receiver.cli.platform_use import AccountOption
from receiver.cli.store import JsonOption, as_json
from receiver.cli.thingpark_view import (
    DryRunOption,
    YesOption,
    ask,
    change_at_network,
    confirm,
    joined,
    print_call,
    print_deleted,
    print_one,
    print_records,
)
from receiver.lorawan.keys import parse_aes_key

if TYPE_CHECKING:
    from receiver.platforms.thingpark import ThingParkClient
    from receiver.platforms.thingpark_records import AppServer

app = typer.Typer(no_args_is_help=True, help="Connections to application servers: list, show, create, set, delete.")

_ReferenceArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Like TWA_100000001.568.AS, its number, or its name.", show_default=False)
]

_COLUMNS = ("id", "name", "type", "state", "health", "devices", "multicast_groups", "iot_flow")


@app.command("list")
def list_connections(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the connections, those of IoT Flow (type KAFKA) among them."""
    print_records(ask(account, lambda client: client.list_app_servers()), _row, _COLUMNS, json)


@app.command("show")
def show(reference: _ReferenceArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one connection. Its tunnel key is in no answer of ThingPark's."""

    async def get(client: ThingParkClient) -> AppServer:
        return await client.get_app_server(await _uid_of(client, reference))

    print_one(ask(account, get), _record, json)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name there.", show_default=False)],
    *,
    url: Annotated[str, typer.Option(metavar="URL", help="Where ThingPark pushes to: https://host/push/NAME.")],
    tunnel_key_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A file with the tunnel key, 32 hex digits; `-`: standard input."),
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Without a key: nothing is signed.")] = False,
    as_id: Annotated[str | None, typer.Option(metavar="ID", help="AS_ID of pushes; the id if not given.")] = None,
    content_type: Annotated[
        str, typer.Option(metavar="jsontyped|json|xml", help="How pushes are written.")
    ] = "jsontyped",
    max_deviation: Annotated[
        int, typer.Option(min=0, metavar="S", help="How far clocks may be apart, in s; 0: no bound.")
    ] = 10,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="A note.")] = None,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Create a Basic HTTPS connection with a key that you have; `receiver thingpark connect` does it all by itself."""
    from receiver.platforms.thingpark_app_servers import AppServerWish

    if unsigned == (tunnel_key_file is not None):
        raise typer.BadParameter("Give --tunnel-key-file FILE (`-` asks for it), or else --unsigned.")
    wish = AppServerWish(
        name,
        url,
        None if tunnel_key_file is None else _tunnel_key(tunnel_key_file),
        content_type=content_type,
        as_id=as_id,
        max_timestamp_deviation_s=max_deviation,
        description=description,
    )

    change_at_network(
        account,
        lambda client: client.build_create_app_server_call(wish),
        lambda client: client.create_app_server(wish),
        _record,
        dry_run=dry_run,
        json=json,
    )


@app.command("set")
def change(
    reference: _ReferenceArgument,
    *,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Another name.")] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Another place to push to.")] = None,
    content_type: Annotated[
        str | None, typer.Option(metavar="jsontyped|json|xml", help="How pushes are written.")
    ] = None,
    active: Annotated[bool | None, typer.Option("--active/--deactivated", help="Whether it pushes.")] = None,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Change what is given of a connection; its key with `receiver thingpark rotate-key`."""
    from receiver.platforms.thingpark_app_servers import write_destinations

    changes: dict[str, object] = {}
    changes |= {} if name is None else {"name": name}
    changes |= {} if url is None else {"destinations": write_destinations(url)}
    changes |= {} if content_type is None else {"contentType": content_type}
    changes |= {} if active is None else {"state": "ACTIVE" if active else "DEACTIVATED"}

    async def make(client: ThingParkClient) -> AppServer | None:
        uid = await _uid_of(client, reference)
        if dry_run:
            print_call(client.build_update_app_server_call(uid, changes), client.base_url, json)
            return None
        return await client.update_app_server(uid, changes)

    made = ask(account, make)
    if made is not None:
        print_one(made, _record, json)


@app.command("set-key")
def set_key(
    reference: _ReferenceArgument,
    *,
    tunnel_key_file: Annotated[
        str, typer.Option(metavar="FILE", help="A file with the tunnel key, 32 hex digits; `-`: standard input.")
    ] = "-",
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Give a connection another tunnel key at ThingPark, and nothing here: `rotate-key` does both sides in order."""
    key = _tunnel_key(tunnel_key_file)

    async def make(client: ThingParkClient) -> bool:
        uid = await _uid_of(client, reference)
        if dry_run:
            print_call(client.build_set_app_server_security_call(uid, key), client.base_url, json)
            return False
        await client.set_app_server_security(uid, key)
        return True

    if ask(account, make):
        typer.echo(as_json({"id": reference, "key_set": True}) if json else f"{reference} has another tunnel key now.")


@app.command("delete")
def delete(
    reference: _ReferenceArgument, *, yes: YesOption = False, account: AccountOption = None, json: JsonOption = False
) -> None:
    """Delete a connection at the network: its devices lose it."""

    async def remove(client: ThingParkClient) -> None:
        there = await client.get_app_server(await _uid_of(client, reference))
        devices = "" if not there.device_count else f" {there.device_count} devices have it."
        confirm(f"Delete the connection {there.name} ({there.id}) at the network?{devices}", yes=yes)
        was_there = await client.delete_app_server(there.uid or reference)
        print_deleted(f"connection {there.id or reference}", was_there=was_there, json=json)

    ask(account, remove)


async def _uid_of(client: ThingParkClient, reference: str) -> str:
    """Give the number of a connection from its ID, its number or its name."""
    from receiver.errors import IdentifierError, NotFoundError
    from receiver.lorawan.identifiers import shorten
    from receiver.platforms.thingpark_subscription import app_server_uid

    try:
        return app_server_uid(reference)
    except IdentifierError:
        found = await client.find_app_server(reference)
    if found is None or found.uid is None:
        raise NotFoundError(f"ThingPark has no connection named {shorten(reference)!r}.")
    return found.uid


def _tunnel_key(file: str) -> str:
    return parse_aes_key(read_secret_file(file, "tunnel key")).reveal().hex().upper()


def _row(one: AppServer) -> dict[str, object]:
    return {
        "id": one.id,
        "name": one.name,
        "type": one.type,
        "state": one.state,
        "health": one.health_state,
        "devices": one.device_count,
        "multicast_groups": one.multicast_group_count,
        "iot_flow": None if one.iot_flow is None else one.iot_flow.connection_id,
    }


def _record(one: AppServer) -> dict[str, object]:
    return {
        **_row(one),
        "content_type": one.content_type,
        "destinations": joined(address for where in one.destinations for address in where.addresses),
        "headers": joined(one.header_names),
        "signed": None if one.security_status is None else one.security_status != "NONE",
        "as_id": one.as_id,
        "max_deviation_s": one.max_timestamp_deviation_s,
        "description": one.description,
        "licence": one.validation_state,
    }
