"""What the commands of management APIs begin with: the account, opened, and a client of it on an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from receiver.cli.store import as_text, open_store
from receiver.errors import ConflictError, NotFoundError
from receiver.lorawan.identifiers import shorten

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")

AccountOption = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="The account, if there are several.", show_default=False),
]

_SHOWN = 10  # of what there is, in a sentence


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


def choose(
    found: Iterable[T],
    named: str,
    *,
    what: str,
    ids: Callable[[T], Iterable[str | None]],
    name: Callable[[T], str | None],
) -> T:
    """Give the one that is named by an id, else by its exact name. For what networks have lists of, and no more.

    Raises:
        NotFoundError: there is none; the sentence has those that there are, by their first id.
        ConflictError: several have the name; it has the ids of those.
    """
    every = list(found)
    for one in every:
        if named in ids(one):
            return one
    matching = [one for one in every if name(one) == named]
    if len(matching) == 1:
        return matching[0]
    several = matching or every
    known = ", ".join(_said(next((id_ for id_ in ids(one) if id_), None), name(one)) for one in several[:_SHOWN])
    if matching:
        raise ConflictError(f"There are several {what}s named {shorten(named)!r}: say which by its id ({known}).")
    more = ", …" if len(every) > _SHOWN else ""
    raise NotFoundError(f"The network has no {what} {shorten(named)!r}; there are: {known or 'none'}{more}.")


def _said(id_: str | None, name: str | None) -> str:
    return as_text(f"{id_} ({name})" if id_ and name and id_ != name else id_ or name)
