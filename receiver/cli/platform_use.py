"""What the commands of management APIs begin with: the account, opened, and a client of it on an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from receiver.cli.store import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

AccountOption = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="The account, if there are several.", show_default=False),
]


def use_client(
    surface: str, account_name: str | None, use: Callable[[Any], Awaitable[T]], *, dx_core: bool = False
) -> T:
    """Open the account of a surface, and give what `use` makes of its client (KPN LoRa, ThingPark or DX Core).

    Raises:
        NotFoundError, SettingsError, KeyringError: as `open_account`.
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the client.
    """
    from receiver.services import platform_clients
    from receiver.services.platform_accounts import open_account

    with open_store() as store:
        account = open_account(store.engine, store.keyring, surface, account_name)
    with platform_clients.platform_http() as http:

        async def run() -> T:
            if dx_core:
                return await use(platform_clients.open_dx_core(http, account))
            if surface == "kpn-lora":
                return await use(platform_clients.open_kpn_lora(http, account))
            return await use(platform_clients.open_thingpark(http, account))

        return asyncio.run(run())
