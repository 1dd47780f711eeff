"""`receiver kpn-things`: devices at KPN Things, and access to sub-customers, by the account of a connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from receiver.cli.platform_use import choose
from receiver.cli.store import JsonOption, as_json, open_store, print_record, print_rows
from receiver.cli.things import account_record
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from receiver.platforms.kpn_things import KpnThingsClient, ThingsDevice
    from receiver.services.things_accounts import ThingsAccount

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="KPN Things: devices there, and access to sub-customers.")
devices_app = typer.Typer(no_args_is_help=True, help="Devices at KPN Things: list, show.")
account_app = typer.Typer(no_args_is_help=True, help="The account that a connection has at KPN Things.")
app.add_typer(devices_app, name="devices")
app.add_typer(account_app, name="account")

ConnectionOption = Annotated[
    str | None,
    typer.Option("--connection", metavar="NAME", help="The connection, if there are several.", show_default=False),
]

_PAGE_SIZE = 100
_COLUMNS = ("uuid", "name", "description", "barcode", "device_specification_uuid")
_SHOWN = (*_COLUMNS, "metadata")


@devices_app.command("list")
def list_devices(
    *,
    connection: ConnectionOption = None,
    search: Annotated[
        str, typer.Option(metavar="TEXT", help="A part of the name, upper and lower case told apart.")
    ] = (""),
    sort_by: Annotated[str, typer.Option(metavar="NAME", help="What they are sorted by.")] = "name",
    descending: Annotated[bool, typer.Option("--descending", help="The last one first.")] = False,
    page_size: Annotated[int, typer.Option(metavar="N", help="Devices that are asked for at a time.")] = _PAGE_SIZE,
    json: JsonOption = False,
) -> None:
    """List all devices of the account, or of the sub-customer that it names."""
    order = "DESC" if descending else "ASC"

    async def use(client: KpnThingsClient) -> list[ThingsDevice]:
        devices = client.list_devices(search=search, sort_by=sort_by, sort_order=order, page_size=page_size)
        return [one async for one in devices]

    found = _use(connection, use)
    rows = (dict(one.raw) if json else {name: getattr(one, name) for name in _COLUMNS} for one in found)
    print_rows(rows, _COLUMNS, json)


@devices_app.command("show")
def show_device(
    device: Annotated[str, typer.Argument(metavar="UUID", help="Its uuid or exact name.", show_default=False)],
    *,
    connection: ConnectionOption = None,
    json: JsonOption = False,
) -> None:
    """Show one device. The API gives none by itself, so it is looked for in the list."""

    async def use(client: KpnThingsClient) -> list[ThingsDevice]:
        return [one async for one in client.list_devices(page_size=_PAGE_SIZE)]

    found = choose(_use(connection, use), device, what="device", ids=lambda one: (one.uuid,), name=lambda one: one.name)
    print_record(dict(found.raw) if json else {name: getattr(found, name) for name in _SHOWN}, json)


@app.command("context-switch")
def switch_context(
    client_id: Annotated[
        str | None, typer.Argument(metavar="CUSTOMER_ID", help="The sub-customer; usually the account's own.")
    ] = None,
    *,
    connection: ConnectionOption = None,
    json: JsonOption = False,
) -> None:
    """Ask for access to a sub-customer: once for each API key and sub-customer."""
    chosen: list[str] = []

    async def use(client: KpnThingsClient) -> int:
        answer = await client.switch_context(chosen[0])
        return answer.status

    def choose(account: ThingsAccount) -> None:
        named = dict(account.headers)
        wanted = client_id or named.get("x-client-id")
        if not wanted:
            raise SettingsError(
                "Say which sub-customer: its customer id, or one with `receiver connection set-things-account"
                " --client-id`."
            )
        chosen.append(wanted)

    status = _use(connection, use, as_customer=False, check=choose)
    if json:
        typer.echo(as_json({"client_id": chosen[0], "status": status}))
        return
    typer.echo(f"The API key has access to {chosen[0]} now. Requests name it by the account's --client-id.")


@account_app.command("show")
def show_account(*, connection: ConnectionOption = None, json: JsonOption = False) -> None:
    """Show the account of a connection, all but its secret. `receiver connection set-things-account` sets it."""
    from receiver.services.things_accounts import show_account as find_account
    from receiver.services.things_clients import choose_things_connection

    with open_store() as store:
        chosen = choose_things_connection(store.engine, connection)
        found = find_account(store.engine, chosen.name)
    if found is None:
        command = f"receiver connection set-things-account {chosen.name}"
        if json:
            typer.echo(as_json({"connection": chosen.name, "account": None}))
        else:
            typer.echo(f"{chosen.name} has no account of KPN Things yet: `{command}` gives it one.")
        return
    print_record({"connection": chosen.name, **account_record(found)}, json)


def _use(
    connection: str | None,
    use: Callable[[KpnThingsClient], Awaitable[T]],
    *,
    as_customer: bool = True,
    check: Callable[[ThingsAccount], None] | None = None,
) -> T:
    """Open the account of a connection and give what `use` makes of its client.

    Raises:
        NotFoundError, SettingsError, KeyringError: as `open_things_account`.
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the client.
    """
    from receiver.services.platform_clients import platform_http
    from receiver.services.things_clients import open_things_account, open_things_client

    with open_store() as store:
        account = open_things_account(store.engine, store.keyring, connection)
    if check is not None:
        check(account)
    with platform_http() as http:

        async def run() -> T:
            return await use(open_things_client(http, account, as_customer=as_customer))

        return asyncio.run(run())
