"""What the commands of ThingPark share: their options, and how its records are shown."""

from __future__ import annotations

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


def ask(account: str | None, use: Callable[[ThingParkClient], Awaitable[T]]) -> T:
    """Give what `use` makes of the client of an account."""
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


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is done that cannot be taken back; end the command at any answer but yes."""
    if not yes:
        typer.confirm(question, abort=True, err=True)


def print_deleted(name: str, *, was_there: bool, json: bool) -> None:
    """Say that something is deleted, or was not there."""
    if json:
        typer.echo(as_json({"name": name, "deleted": was_there}))
    else:
        typer.echo(f"{name} is deleted at ThingPark." if was_there else f"ThingPark has no {name} (any more).")


def joined(texts: Iterable[str]) -> str | None:
    """Give texts on one line; None where there are none."""
    return ", ".join(texts) or None
