"""`routing-profiles`: AS routing profiles, where a network has them in place of connections to application servers."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.platform_use import AccountOption
from receiver.cli.secret_io import read_file
from receiver.cli.store import JsonOption, print_rows
from receiver.cli.thingpark_view import (
    DryRunOption,
    YesOption,
    ask,
    change_at_network,
    confirm,
    joined,
    print_deleted,
    print_one,
    print_records,
)
from receiver.errors import NotFoundError, SettingsError
from receiver.lorawan.identifiers import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.platforms.thingpark import ThingParkClient
    from receiver.platforms.thingpark_routing_profiles import AsRoutingProfile

app = typer.Typer(
    no_args_is_help=True,
    help="AS routing profiles (ThingPark Wireless), where devices' messages go: list, show, create, delete.",
)

_RefArgument = Annotated[
    str, typer.Argument(metavar="REF", help="The profile's number or its exact name.", show_default=False)
]

_COLUMNS = ("ref", "id", "name", "is_default")
_ROUTE_COLUMNS = ("ports", "strategy", "destinations")
_LARGEST_BODY_FILE = 8 * 1024 * 1024


@app.command("list")
def list_profiles(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the AS routing profiles."""
    print_records(ask(account, lambda client: client.list_routing_profiles()), _row, _COLUMNS, json)


@app.command("show")
def show(ref: _RefArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one AS routing profile with its routes."""

    async def get(client: ThingParkClient) -> AsRoutingProfile:
        return await client.get_routing_profile(await _uid_of(client, ref))

    found = ask(account, get)
    print_one(found, _row, json)
    if not json:
        typer.echo("\nRoutes:")
        print_rows((_route_row(route) for route in found.routes), _ROUTE_COLUMNS, json=False)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name there.", show_default=False)],
    *,
    url: Annotated[
        list[str] | None, typer.Option("--url", metavar="URL", help="Where messages go; several in their order.")
    ] = None,
    ports: Annotated[str, typer.Option(metavar="PORTS", help="FPorts of the route: `*` or like 1,2,10-20.")] = "*",
    strategy: Annotated[str, typer.Option(metavar="SEQUENTIAL|BLAST", help="One URL after the other, or all.")] = (
        "SEQUENTIAL"
    ),
    as_xml: Annotated[
        bool, typer.Option("--xml-destinations", help="Destinations as XML in a text, as older servers want them.")
    ] = False,
    body_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The whole profile in JSON, in place of the options.")
    ] = None,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Create an AS routing profile, unless there is one of that name."""
    from receiver.platforms.thingpark_routing_profiles import RoutingProfileWish, write_routing_profile

    if body_file is not None:
        members = {**_read_object(body_file), "name": name}
    else:
        members = write_routing_profile(RoutingProfileWish(name, tuple(url or ()), ports, strategy, as_xml=as_xml))

    change_at_network(
        account,
        lambda client: client.build_create_routing_profile_call(members),
        lambda client: client.create_routing_profile(members),
        _row,
        dry_run=dry_run,
        json=json,
    )


@app.command("delete")
def delete(
    ref: _RefArgument, *, yes: YesOption = False, account: AccountOption = None, json: JsonOption = False
) -> None:
    """Delete an AS routing profile; devices that have it send nowhere then."""

    async def remove(client: ThingParkClient) -> None:
        there = await client.get_routing_profile(await _uid_of(client, ref))
        confirm(f"Delete the routing profile {there.name} ({there.id}) at the network?", yes=yes)
        was_there = await client.delete_routing_profile(there.uid or ref)
        print_deleted(f"routing profile {there.name or ref}", was_there=was_there, json=json)

    ask(account, remove)


async def _uid_of(client: ThingParkClient, ref: str) -> str:
    """Give the number of a profile from that or its name."""
    if ref.isascii() and ref.isdigit():
        return ref
    found = await client.find_routing_profile(ref)
    if found is None or not found.uid:
        raise NotFoundError(f"The network has no routing profile named {shorten(ref)!r}.")
    return found.uid


def _row(one: AsRoutingProfile) -> dict[str, object]:
    return {"ref": one.uid, "id": one.id, "name": one.name, "is_default": one.is_default}


def _route_row(route: Mapping[str, object]) -> dict[str, object]:
    """Give a route with the addresses of its destinations, or these as the XML that an older server has them in."""
    from receiver.platforms.members import Members

    members = Members(route)
    addresses = [address for one in members.objects("destinations") for address in one.texts("addresses")]
    return {
        "ports": members.text("sourcePort"),
        "strategy": members.text("strategy"),
        "destinations": joined(addresses) or members.text("destinations"),
    }


def _read_object(file: Path) -> dict[str, object]:
    try:
        members = loads(read_file(file, "body file", _LARGEST_BODY_FILE))
    except (ValueError, RecursionError) as exc:
        raise SettingsError(f"The body file {file} is not JSON.") from exc
    if not isinstance(members, dict):
        raise SettingsError(f"The body file {file} is no JSON object.")
    return members
