"""What the commands of ThingPark's Device Manager API share: how it is reached, their options, how records are shown.

The same groups stand under `thingpark`, for accounts of programs, and under `device-manager`, for a person's login.
Each of these two says how it reaches the API, before any of its commands runs.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

from receiver.cli.platform_use import use_client
from receiver.cli.store import as_json, print_record, print_rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from receiver.platforms.calls import PlatformCall
    from receiver.platforms.dx_core import DxCoreClient
    from receiver.platforms.thingpark import ThingParkClient

SURFACE = "thingpark"

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show the request, secrets withheld, and send nothing that changes anything.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ModeOption = Annotated[
    str | None,
    typer.Option("--mode", metavar="BASIC|ADVANCED", help="How plans are chosen; the subscription's own if not given."),
]


class HasRaw(Protocol):
    """A record of ThingPark."""

    @property
    def raw(self) -> Mapping[str, object]:
        """The object as it came, without secrets."""
        ...


T = TypeVar("T")
R = TypeVar("R", bound=HasRaw)


class Reach(Protocol):
    """A way to the API: opens the account of that name, or the only one, and gives what `use` makes of its client."""

    def __call__(self, account: str | None, use: Callable[[ThingParkClient], Awaitable[T]], /) -> T:
        """Raise what the account and the client raise."""
        ...


_REACH: ContextVar[Reach] = ContextVar("reach")


def reach_by(way: Reach) -> None:
    """Let the command that is about to run reach the API in this way."""
    _REACH.set(way)


def ask(account: str | None, use: Callable[[ThingParkClient], Awaitable[T]]) -> T:
    """Give what `use` makes of the client of an account, of the surface whose command runs."""
    return _REACH.get()(account, use)


def ask_by_token(account: str | None, use: Callable[[ThingParkClient], Awaitable[T]]) -> T:
    """Give what `use` makes of the client of an account of `thingpark`."""
    return use_client(SURFACE, account, use)


def ask_dx_core(account: str | None, use: Callable[[DxCoreClient], Awaitable[T]]) -> T:
    """Give what `use` makes of the client of DX Core of an account."""
    return use_client(SURFACE, account, use, dx_core=True)


def print_records(
    found: Iterable[R], shown: Callable[[R], dict[str, object]], columns: Sequence[str], json: bool
) -> None:
    """Print records as a table of what `shown` gives of them, or as JSON as they came."""
    print_rows([dict(one.raw) if json else shown(one) for one in found], columns, json)


def print_one(found: R, shown: Callable[[R], dict[str, object]], json: bool) -> None:
    """Print one record: what `shown` gives of it, or as JSON as it came."""
    print_record(dict(found.raw) if json else shown(found), json)


def print_call(call: PlatformCall, base_url: str, json: bool) -> None:
    """Print a request that is not sent."""
    text = call.shown(base_url)
    typer.echo(as_json({"request": text, "sent": False}) if json else f"{text}\n\nNothing was sent.")


def change_at_network(
    account: str | None,
    build: Callable[[ThingParkClient], PlatformCall],
    do: Callable[[ThingParkClient], Awaitable[R]],
    shown: Callable[[R], dict[str, object]],
    *,
    dry_run: bool,
    json: bool,
) -> None:
    """Do what changes something and print what came of it; in a dry run only print the request that it begins with."""

    async def use(client: ThingParkClient) -> R | None:
        if dry_run:
            print_call(build(client), client.base_url, json)
            return None
        return await do(client)

    done = ask(account, use)
    if done is not None:
        print_one(done, shown, json)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is done that cannot be taken back; end the command at any answer but yes."""
    if not yes:
        typer.confirm(question, abort=True, err=True)


def print_deleted(name: str, *, was_there: bool, json: bool) -> None:
    """Say that something is deleted, or was not there."""
    if json:
        typer.echo(as_json({"name": name, "deleted": was_there}))
    else:
        sentence = f"{name} is deleted at the network." if was_there else f"The network has no {name} (any more)."
        typer.echo(sentence[0].upper() + sentence[1:])


def joined(texts: Iterable[str]) -> str | None:
    """Give texts on one line; None where there are none."""
    return ", ".join(texts) or None
