"""`receiver device-manager`: the Device Manager API with a login and a session, as KPN's older accounts have it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from receiver.cli.platform_account import account_app
from receiver.cli.platform_use import AccountOption
from receiver.cli.secret_io import read_file
from receiver.cli.store import JsonOption, as_json, as_text, open_store, print_record, print_rows
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from receiver.platforms.routing_profiles import AsRoutingProfile, RoutingProfilesClient
    from receiver.platforms.thingpark_records import Device, Subscription
    from receiver.services.device_manager_accounts import DeviceManagerUse
    from receiver.services.device_manager_calls import ShownAnswer

T = TypeVar("T")

SURFACE = "device-manager"

app = typer.Typer(
    no_args_is_help=True, help="The Device Manager API with a login, as KPN's LoRa-only customers have it."
)
subscription_app = typer.Typer(no_args_is_help=True, help="The subscription that the login is of.")
devices_app = typer.Typer(no_args_is_help=True, help="Devices at the network.")
profiles_app = typer.Typer(no_args_is_help=True, help="AS routing profiles: where devices' messages go.")
app.add_typer(account_app(SURFACE), name="account")
app.add_typer(subscription_app, name="subscription")
app.add_typer(devices_app, name="devices")
app.add_typer(profiles_app, name="routing-profiles")

_EuiArgument = Annotated[str, typer.Argument(metavar="EUI", help="The DevEUI, 16 hex digits.", show_default=False)]
_RefArgument = Annotated[
    str, typer.Argument(metavar="REF", help="The profile's number or its exact name.", show_default=False)
]
_YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_LARGEST_BODY_FILE = 8 * 1024 * 1024

_DEVICE_COLUMNS = ("eui", "name", "connectivity", "health_state", "network_subscription", "last_up_at")
_PROFILE_COLUMNS = ("ref", "id", "name", "is_default")


@app.command("login-test")
def login_test(
    *,
    account: AccountOption = None,
    again: Annotated[bool, typer.Option("--again", help="Send a password that was refused before once more.")] = False,
    json: JsonOption = False,
) -> None:
    """Log in, say what the session is of, and log out."""

    async def use(session: DeviceManagerUse) -> dict[str, object]:
        started = session.started
        return {
            "login": "good",
            "subscription": started.subscription,
            "granted_permissions": " ".join(started.granted_permissions),
            "has_session_token": started.session_token is not None,
            "user": " ".join(filter(None, (started.first_name, started.last_name))) or None,
            "previous_connection_at": started.previous_connection_at,
            "bad_passwords_before": started.bad_passwords,
            "disclaimer": started.disclaimer,
        }

    print_record(_use(account, use, again=again), json)


@subscription_app.command("show")
def show_subscription(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show the subscription."""

    async def use(session: DeviceManagerUse) -> Subscription:
        return await session.open_client().get_subscription()

    found = _use(account, use)
    if json:
        typer.echo(as_json(_raw(found.raw)))
        return
    record = {name: getattr(found, name) for name in found.__dataclass_fields__ if name != "raw"}
    print_record(record, json=False)


@devices_app.command("list")
def list_devices(
    *,
    account: AccountOption = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=VALUE", help="A parameter of the API, such as name=pump."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List all devices of the subscription."""
    wanted = tuple(_pair(text) for text in filters or ())

    async def use(session: DeviceManagerUse) -> list[Device]:
        return [one async for one in session.open_client().list_devices(wanted)]

    found = _use(account, use)
    rows = (_raw(one.raw) if json else _device_row(one) for one in found)
    print_rows(rows, _DEVICE_COLUMNS, json)


@devices_app.command("show")
def show_device(eui: _EuiArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one device."""

    async def use(session: DeviceManagerUse) -> Device:
        return await session.open_client().get_device(eui)

    found = _use(account, use)
    if json:
        typer.echo(as_json(_raw(found.raw)))
        return
    record = {name: getattr(found, name) for name in found.__dataclass_fields__ if name != "raw"}
    print_record(record, json=False)


@devices_app.command("delete")
def delete_device(
    eui: _EuiArgument, *, account: AccountOption = None, yes: _YesOption = False, json: JsonOption = False
) -> None:
    """Delete a device at the network, with its history there. What is stored here stays."""
    if not yes:
        typer.confirm(f"Delete {eui} at the network, with its history and alarms there?", abort=True, err=True)

    async def use(session: DeviceManagerUse) -> bool:
        return await session.open_client().delete_device(eui)

    _say_deleted(eui, _use(account, use), json)


@profiles_app.command("list")
def list_profiles(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the AS routing profiles."""

    async def use(session: DeviceManagerUse) -> list[AsRoutingProfile]:
        return await session.open_routing_profiles().list_routing_profiles()

    found = _use(account, use)
    rows = (_raw(one.raw) if json else _profile_row(one) for one in found)
    print_rows(rows, _PROFILE_COLUMNS, json)


@profiles_app.command("show")
def show_profile(ref: _RefArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one AS routing profile with its routes."""

    async def use(session: DeviceManagerUse) -> AsRoutingProfile:
        client = session.open_routing_profiles()
        return await client.get_routing_profile(await _profile_uid(client, ref))

    found = _use(account, use)
    if json:
        typer.echo(as_json(_raw(found.raw)))
        return
    print_record(_profile_row(found), json=False)
    typer.echo("\nRoutes:")
    print_rows([dict(route) for route in found.routes], ("sourcePort", "strategy", "destinations"), json=False)


@profiles_app.command("create")
def create_profile(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name at the network.", show_default=False)],
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the profile; ask nothing of the network.")] = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Make an AS routing profile, unless there is one of that name."""
    from receiver.platforms.routing_profiles import RoutingProfileWish, write_routing_profile

    if body_file is not None:
        members = {**_read_object(body_file), "name": name}
    else:
        members = write_routing_profile(RoutingProfileWish(name, tuple(url or ()), ports, strategy, as_xml=as_xml))
    if dry_run:
        typer.echo(as_json(members))
        return

    async def use(session: DeviceManagerUse) -> AsRoutingProfile:
        return await session.open_routing_profiles().create_routing_profile(members)

    profile = _use(account, use)
    if json:
        typer.echo(as_json(_raw(profile.raw)))
        return
    print_record(_profile_row(profile), json=False)


@profiles_app.command("delete")
def delete_profile(
    ref: _RefArgument, *, account: AccountOption = None, yes: _YesOption = False, json: JsonOption = False
) -> None:
    """Delete an AS routing profile; devices that have it send nowhere then."""
    if not yes:
        typer.confirm(f"Delete the routing profile {ref} at the network?", abort=True, err=True)

    async def use(session: DeviceManagerUse) -> bool:
        client = session.open_routing_profiles()
        return await client.delete_routing_profile(await _profile_uid(client, ref))

    _say_deleted(ref, _use(account, use), json)


@app.command("call")
def call(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, PUT or DELETE.", show_default=False)],
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="As in the API's documents, such as /subscriptions/mine/devices.", show_default=False
        ),
    ],
    *,
    body_file: Annotated[Path | None, typer.Option(metavar="FILE", help="A file with the body, JSON or XML.")] = None,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Make any data call of the API and print its answer, JSON or XML as the account has it; keys are withheld."""
    from receiver.services.device_manager_calls import LARGEST_BODY_BYTES, build_data_call, show_answer

    body = b"" if body_file is None else read_file(body_file, "body file", LARGEST_BODY_BYTES)
    build_data_call(method, path, body, "mine")  # before anything is asked of the network

    async def use(session: DeviceManagerUse) -> ShownAnswer:
        made = build_data_call(method, path, body, session.started.subscription)
        return show_answer(await session.caller.call(made))

    shown = _use(account, use)
    if json:
        typer.echo(as_json({"status": shown.status, "location": shown.location, "value": shown.value}))
        return
    typer.echo(as_text(shown.text) if shown.text else f"Done (status {shown.status}).")


def _use(account_name: str | None, use: Callable[[DeviceManagerUse], Awaitable[T]], *, again: bool = False) -> T:
    """Open the account, log in, give what `use` makes of the session, and log out.

    Raises:
        NotFoundError, SettingsError, KeyringError: as `open_account`.
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the session.
    """
    from receiver.services.device_manager_accounts import device_manager_session
    from receiver.services.platform_accounts import open_account
    from receiver.services.platform_clients import platform_http

    with open_store() as store:
        account = open_account(store.engine, store.keyring, SURFACE, account_name)
        with platform_http() as http:

            async def run() -> T:
                async with device_manager_session(store.engine, http, account, again=again) as session:
                    return await use(session)

            return asyncio.run(run())


async def _profile_uid(client: RoutingProfilesClient, ref: str) -> str:
    """Give the number of a profile from that or its name."""
    if ref.isascii() and ref.isdigit():
        return ref
    found = await client.find_routing_profile(ref)
    if found is None or not found.uid:
        raise SettingsError(
            f"There is no routing profile named {ref!r}: `receiver device-manager routing-profiles list` names them."
        )
    return found.uid


def _say_deleted(what: str, was_there: bool, json: bool) -> None:
    if json:
        typer.echo(as_json({"deleted": what, "was_there": was_there}))
        return
    typer.echo(f"{what} is deleted at the network." if was_there else f"{what} was not there (any more).")


def _device_row(device: Device) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(device, name) for name in _DEVICE_COLUMNS if hasattr(device, name)}
    return {**row, "network_subscription": device.network_subscription_id}


def _profile_row(profile: AsRoutingProfile) -> dict[str, object]:
    return {"ref": profile.uid, "id": profile.id, "name": profile.name, "is_default": profile.is_default}


def _raw(raw: Mapping[str, object]) -> dict[str, object]:
    """Give an object as it came, secrets withheld."""
    from receiver.platforms.calls import withhold

    shown = withhold(raw)
    return shown if isinstance(shown, dict) else {}


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise SettingsError(f"{text[:60]!r} is no filter: write --filter NAME=VALUE.")
    return name.strip(), value


def _read_object(file: Path) -> dict[str, object]:
    import json

    try:
        members = json.loads(read_file(file, "body file", _LARGEST_BODY_FILE))
    except (ValueError, RecursionError) as exc:
        raise SettingsError(f"The body file {file} is not JSON.") from exc
    if not isinstance(members, dict):
        raise SettingsError(f"The body file {file} is no JSON object.")
    return members
