"""`multicast`: multicast groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.platform_account import read_secret_file
from receiver.cli.platform_use import AccountOption
from receiver.cli.store import JsonOption
from receiver.cli.thingpark_view import (
    DryRunOption,
    ModeOption,
    YesOption,
    ask,
    change_at_network,
    confirm,
    joined,
    print_deleted,
    print_one,
    print_records,
)
from receiver.errors import SettingsError
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.lorawan.keys import parse_aes_key

if TYPE_CHECKING:
    from receiver.platforms.thingpark_records import MulticastGroup

app = typer.Typer(no_args_is_help=True, help="Multicast groups: list, show, create, delete.")

_EuiArgument = Annotated[str, typer.Argument(metavar="EUI", help="The group's EUI, 16 hex digits.", show_default=False)]

_COLUMNS = ("eui", "name", "dev_addr", "class", "data_rate", "frequency_mhz", "connections", "tags")


@app.command("list")
def list_groups(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the multicast groups."""
    print_records(ask(account, lambda client: client.list_multicast_groups()), _row, _COLUMNS, json)


@app.command("show")
def show(eui: _EuiArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one group. Its keys are in no answer of ThingPark's."""
    group = parse_dev_eui(eui)
    print_one(ask(account, lambda client: client.get_multicast_group(group)), _row, json)


@app.command("create")
def create(
    eui: _EuiArgument,
    *,
    dev_addr: Annotated[str, typer.Option(metavar="HEX", help="Its DevAddr, 8 hex digits.")],
    keys_file: Annotated[
        str,
        typer.Option(metavar="FILE", help="A file with NwkSKey and AppSKey, one to a line; `-`: standard input."),
    ] = "-",
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Its name there.")] = None,
    device_class: Annotated[str, typer.Option("--class", metavar="B|C", help="When its devices listen.")] = "C",
    ping_slot_period: Annotated[int | None, typer.Option(metavar="S", help="Class B: 1, 2, 4 … 128.")] = None,
    data_rate: Annotated[int | None, typer.Option(min=0, max=15, metavar="N", help="Of downlinks.")] = None,
    frequency: Annotated[float | None, typer.Option(min=433, max=928, metavar="MHZ", help="Of downlinks.")] = None,
    connections: Annotated[
        list[str] | None, typer.Option("--connection", metavar="ID", help="A connection that may send to it.")
    ] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME", help="Base stations with this tag transmit.")
    ] = None,
    own_tags: Annotated[
        bool, typer.Option("--own-tags", help="Tags are the subscriber's, not the operator's.")
    ] = False,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="The connectivity plan.")] = None,
    mode: ModeOption = None,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Create a multicast group. Its keys go to ThingPark and are not kept here."""
    from receiver.platforms.thingpark_wishes import MulticastGroupWish

    nwk_s_key, app_s_key = _keys(keys_file)
    namespace = "SUBSCRIBER" if own_tags else "OPERATOR"
    wish = MulticastGroupWish(
        parse_dev_eui(eui),
        dev_addr,
        nwk_s_key,
        app_s_key,
        name=name,
        device_class=device_class.upper(),
        ping_slot_period_s=ping_slot_period,
        downlink_data_rate=data_rate,
        downlink_frequency_mhz=frequency,
        tags=tuple((tag, namespace) for tag in tags or ()),
        app_server_ids=tuple(connections or ()),
        network_subscription_id=plan,
        handling_mode=None if mode is None else mode.upper(),
    )

    change_at_network(
        account,
        lambda client: client.build_create_multicast_group_call(wish),
        lambda client: client.create_multicast_group(wish),
        _row,
        dry_run=dry_run,
        json=json,
    )


@app.command("delete")
def delete(
    eui: _EuiArgument, *, yes: YesOption = False, account: AccountOption = None, json: JsonOption = False
) -> None:
    """Delete a multicast group at the network."""
    group = parse_dev_eui(eui)
    confirm(f"Delete the multicast group {group} at the network? Its keys cannot be read back.", yes=yes)
    was_there = ask(account, lambda client: client.delete_multicast_group(group))
    print_deleted(f"multicast group {group}", was_there=was_there, json=json)


def _keys(file: str) -> tuple[str, str]:
    keys = read_secret_file(file, "keys").split()
    if len(keys) != 2:
        raise SettingsError("Two keys are needed, one to a line: the group's NwkSKey and its AppSKey.")
    nwk_s_key, app_s_key = (parse_aes_key(key).reveal().hex() for key in keys)
    return nwk_s_key, app_s_key


def _row(one: MulticastGroup) -> dict[str, object]:
    return {
        "eui": one.eui,
        "name": one.name,
        "dev_addr": one.dev_addr,
        "class": one.device_class,
        "ping_slot_period_s": one.ping_slot_period_s,
        "data_rate": one.downlink_data_rate,
        "frequency_mhz": one.downlink_frequency_mhz,
        "connections": joined(one.app_server_ids),
        "tags": joined(one.tags),
        "plan": one.network_subscription_id,
    }
