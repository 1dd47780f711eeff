"""`receiver device-manager`: the Device Manager API with a login and a session, as KPN's older accounts have it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from receiver.cli.platform_account import account_app
from receiver.cli.platform_use import AccountOption
from receiver.cli.secret_io import read_file
from receiver.cli.store import JsonOption, as_json, as_text, open_store, print_record
from receiver.cli.thingpark_groups import add_device_manager_groups
from receiver.cli.thingpark_view import reach_by

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from receiver.platforms.thingpark import ThingParkClient
    from receiver.services.device_manager_accounts import DeviceManagerUse
    from receiver.services.device_manager_calls import ShownAnswer

T = TypeVar("T")

SURFACE = "device-manager"

app = typer.Typer(
    no_args_is_help=True, help="The Device Manager API with a login, as KPN's LoRa-only customers have it."
)
app.add_typer(account_app(SURFACE), name="account")
add_device_manager_groups(app)


@app.callback()
def _reach() -> None:
    """Let its commands reach the API with a login, each in a session of its own."""
    reach_by(_ask_in_session)


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


def _ask_in_session(account: str | None, use: Callable[[ThingParkClient], Awaitable[T]]) -> T:
    async def use_client(session: DeviceManagerUse) -> T:
        return await use(session.open_client())

    return _use(account, use_client)


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
