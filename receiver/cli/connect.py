"""`connect`, `rotate-key` and `disconnect` of KPN LoRa and ThingPark: both sides of a connection by one command."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, TypeVar

import typer

from receiver.cli import connect_view as view
from receiver.cli.platform_use import AccountOption
from receiver.cli.secret_io import read_file
from receiver.cli.store import JsonOption, open_store, utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from receiver.services.platform_accounts import PlatformAccount
    from receiver.services.provisioning import ConnectOptions
    from receiver.services.provisioning_local import Local
    from receiver.services.provisioning_network import Network

T = TypeVar("T")

KPN_LORA, THINGPARK = "kpn-lora", "thingpark"

_MAX_HEADER_FILE_BYTES = 8192  # of one header's value, far above what servers take

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The connection's name.", show_default=False)]
PublicUrlOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where the network reaches this receiver; else RECEIVER_PUBLIC_URL."),
]
DeviationOption = Annotated[
    int | None,
    typer.Option(metavar="S", help="How far clocks may differ, in seconds, on both sides; 60 if not said."),
]
UpdateOption = Annotated[
    bool, typer.Option("--update", help="Change at the network what is not as asked for; else it is only shown.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show the requests, secrets withheld, and change nothing anywhere.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
RetireOption = Annotated[
    bool,
    typer.Option("--retire", help="Begin no rotation: finish one that is open, and retire old keys that are safe to."),
]
RemoveLocalOption = Annotated[
    bool, typer.Option("--remove-local", help="Remove the connection with its keys here as well; reports stay.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Although devices use it.")]


class Opened(NamedTuple):
    """What these commands work with; `public_url` is that of the settings."""

    network: Network
    local: Local
    account: PlatformAccount
    public_url: str | None


def kpn_lora_connect(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The last part of its push URL.", show_default=False)],
    *,
    public_url: PublicUrlOption = None,
    account: AccountOption = None,
    hsm_group: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose HSM makes the AS transport key, if there are several.")
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="Make it the routing profile of new devices that name none.")
    ] = False,
    content_type: Annotated[Literal["JSON", "XML"] | None, typer.Option(help="Of pushes; JSON if not said.")] = None,
    max_deviation: DeviationOption = None,
    update: UpdateOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Make a connection here and its routing profile at KPN LoRa, keys and all; run again, it goes on where it was."""
    from receiver.services.provisioning import ConnectOptions

    options = ConnectOptions(public_url, content_type, max_deviation, hsm_group, default, (), update)
    _connect(KPN_LORA, name, account, options, dry_run=dry_run, json=json)


def thingpark_connect(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The last part of its push URL.", show_default=False)],
    *,
    public_url: PublicUrlOption = None,
    account: AccountOption = None,
    content_type: Annotated[
        Literal["jsontyped", "json", "xml"] | None, typer.Option(help="Of pushes; jsontyped if not said.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="'NAME: VALUE'", help="What each push carries besides; `NAME: @FILE` for a secret value."),
    ] = None,
    max_deviation: DeviationOption = None,
    update: UpdateOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Make a connection here and at ThingPark (Basic HTTPS), key and all; run again, it goes on where it was."""
    from receiver.services.provisioning import ConnectOptions
    from receiver.services.provisioning_thingpark import parse_headers

    headers = parse_headers([_header(text) for text in header or []])
    options = ConnectOptions(
        public_url, content_type, max_deviation, None, default=False, headers=headers, update=update
    )
    _connect(THINGPARK, name, account, options, dry_run=dry_run, json=json)


def kpn_lora_rotate_key(
    name: NameArgument,
    *,
    account: AccountOption = None,
    as_transport_key: Annotated[
        bool,
        typer.Option("--as-transport-key", help="Another AS transport key instead: each device must join again."),
    ] = False,
    retire: RetireOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Give a connection another tunnel key, here and then at KPN LoRa, so that no push is lost."""
    if as_transport_key and retire:
        raise typer.BadParameter("--retire is for tunnel keys; AS transport keys are never retired.")
    if as_transport_key:
        _renew(KPN_LORA, name, account, dry_run=dry_run, yes=yes, json=json)
    else:
        _rotate(KPN_LORA, name, account, retire=retire, dry_run=dry_run, json=json)


def thingpark_rotate_key(
    name: NameArgument,
    *,
    account: AccountOption = None,
    retire: RetireOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Give a connection another tunnel key, here and then at ThingPark, so that no push is lost."""
    _rotate(THINGPARK, name, account, retire=retire, dry_run=dry_run, json=json)


def kpn_lora_disconnect(
    name: NameArgument,
    *,
    account: AccountOption = None,
    remove_local: RemoveLocalOption = False,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Delete a connection's routing profile at KPN LoRa; refused while devices use it."""
    _disconnect(KPN_LORA, name, account, remove_local=remove_local, force=force, dry_run=dry_run, yes=yes, json=json)


def thingpark_disconnect(
    name: NameArgument,
    *,
    account: AccountOption = None,
    remove_local: RemoveLocalOption = False,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Delete a connection at ThingPark; refused while devices use it."""
    _disconnect(THINGPARK, name, account, remove_local=remove_local, force=force, dry_run=dry_run, yes=yes, json=json)


def _connect(
    surface: str, name: str, account_name: str | None, given: ConnectOptions, *, dry_run: bool, json: bool
) -> None:
    from receiver.services import provisioning

    async def use(at: Opened) -> None:
        network, local = at.network, at.local
        options = replace(given, usual_public_url=at.public_url)
        if dry_run:
            plan = await provisioning.plan_connect(network, local, options)
            view.show_plan(name, plan, provisioning.show_plan(network, plan), json=json)
            return
        done = await provisioning.connect(network, local, at.account, options, _teller(json=json))
        view.show_connected(network, done, json=json)

    _use(surface, name, account_name, use)


def _rotate(surface: str, name: str, account_name: str | None, *, retire: bool, dry_run: bool, json: bool) -> None:
    from receiver.services import provisioning_rotation

    async def use(at: Opened) -> None:
        network, local = at.network, at.local
        if dry_run:
            view.show_requests(await provisioning_rotation.plan_tunnel_key(network, local), json=json)
            return
        tell = _teller(json=json)
        done = await provisioning_rotation.rotate_tunnel_key(network, local, only_retire=retire, tell=tell)
        view.show_rotated(network, name, done, json=json)

    _use(surface, name, account_name, use)


def _renew(surface: str, name: str, account_name: str | None, *, dry_run: bool, yes: bool, json: bool) -> None:
    from receiver.services import provisioning_rotation
    from receiver.services.provisioning_network import PUBLIC_KEY_OF_THEN

    async def use(at: Opened) -> None:
        network, local = at.network, at.local
        plan = await provisioning_rotation.plan_renewal(network, local)
        if dry_run:
            view.show_requests((network.show_renewal(plan.remote, plan.wish, PUBLIC_KEY_OF_THEN),), json=json)
            return
        if not yes:
            typer.confirm(
                f"Have another AS transport key made for {name}? Its devices ({plan.users.count}) must each join again"
                " before what they send can be read under it.",
                abort=True,
                err=True,
            )
        done = await provisioning_rotation.renew_as_transport_key(network, local, plan, _teller(json=json))
        view.show_renewed(name, done, local.standing().active_check_value, json=json)

    _use(surface, name, account_name, use)


def _disconnect(
    surface: str,
    name: str,
    account_name: str | None,
    *,
    remove_local: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
    json: bool,
) -> None:
    from receiver.services import provisioning_removal

    async def use(at: Opened) -> None:
        network, local = at.network, at.local
        plan = await provisioning_removal.plan_removal(network, local)
        if dry_run:
            view.show_requests((network.show_delete(plan.remote.ref),) if plan.remote else (), json=json)
            return
        if plan.remote is not None and plan.users.count and not force:
            raise provisioning_removal.in_use(network, plan.remote, plan.users)
        if not yes and (plan.remote is not None or remove_local):
            typer.confirm(
                view.question_of_removal(network, name, plan, remove_local=remove_local), abort=True, err=True
            )
        done = await provisioning_removal.disconnect(
            network, local, plan, force=force, remove_local=remove_local, tell=_teller(json=json)
        )
        view.show_disconnected(network, name, done, json=json)

    _use(surface, name, account_name, use)


def _use(
    surface: str,
    name: str,
    account_name: str | None,
    use: Callable[[Opened], Awaitable[T]],
) -> T:
    from receiver.services.platform_clients import platform_http
    from receiver.services.provisioning_accounts import open_account_of, open_network
    from receiver.services.provisioning_local import Local

    with open_store() as store:
        local = Local(store.engine, store.keyring, utc_now, name)
        account = open_account_of(local, surface, account_name)
        with platform_http() as http:

            async def run() -> T:
                return await use(Opened(open_network(http, account), local, account, store.settings.public_url))

            return asyncio.run(run())


def _header(text: str) -> str:
    """Give a header with its value out of a file, where it is `@FILE`: a secret has no place in a process list."""
    name, colon, value = text.partition(":")
    if not value.strip().startswith("@"):
        return text
    path = Path(value.strip()[1:])
    content = read_file(path, "header's file", _MAX_HEADER_FILE_BYTES).decode("ascii", "replace").strip()
    return f"{name}{colon} {content}"


def _teller(*, json: bool) -> Callable[[str], None]:
    return (lambda _: None) if json else typer.echo
