"""`receiver kpn-lora routing-profiles`: KPN's name for the network's side of a connection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.platform_account import read_secret_file
from receiver.cli.platform_use import AccountOption, choose, use_client
from receiver.cli.secret_io import read_file
from receiver.cli.store import JsonOption, as_json, print_record, print_rows
from receiver.errors import ConflictError, SettingsError

if TYPE_CHECKING:
    from receiver.platforms.kpn_lora import KpnLoraClient
    from receiver.platforms.kpn_lora_records import RoutingProfile

SURFACE = "kpn-lora"

app = typer.Typer(no_args_is_help=True, help="Routing profiles: list, show, create, delete.")

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the request and send nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_ProfileArgument = Annotated[
    str, typer.Argument(metavar="PROFILE", help="Name, ref or id of a routing profile.", show_default=False)
]

_COLUMNS = ("ref", "id", "name", "default", "hsm_group_id", "as_id", "content_type", "addresses")
_LARGEST_PEM_FILE = 10_000


@app.command("list")
def list_(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """List the routing profiles of the subscription."""
    profiles = use_client(SURFACE, account, lambda client: client.list_routing_profiles())
    print_rows([_record(one, json=json) for one in profiles], _COLUMNS, json)


@app.command()
def show(profile: _ProfileArgument, *, account: AccountOption = None, json: JsonOption = False) -> None:
    """Show one routing profile. Keys are in no answer of KPN's."""

    async def get(client: KpnLoraClient) -> RoutingProfile:
        return await client.get_routing_profile(str((await choose_profile(client, profile)).ref))

    print_record(_record(use_client(SURFACE, account, get), json=json), json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new profile's name.", show_default=False)],
    *,
    url: Annotated[
        list[str], typer.Option("--url", metavar="URL", help="Where the network pushes to; again for fail-over.")
    ],
    as_id: Annotated[str, typer.Option(metavar="ID", help="The AS id of the connection here.")],
    tunnel_key_file: Annotated[
        str, typer.Option(metavar="FILE", help="A file with the tunnel key; `-`: standard input, or it is asked for.")
    ],
    hsm_group: Annotated[
        str | None, typer.Option(metavar="ID", help="Makes the AS transport key; the only one, if there is one.")
    ] = None,
    public_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="RSA public key as PEM, for end-to-end encryption: `receiver as-key new`."),
    ] = None,
    content_type: Annotated[str, typer.Option(metavar="JSON|XML", help="In what form reports come.")] = "JSON",
    strategy: Annotated[
        str, typer.Option(metavar="SEQUENTIAL|BLAST", help="The next URL where one fails, or all of them.")
    ] = "SEQUENTIAL",
    default: Annotated[bool, typer.Option("--default", help="For new devices of which nothing is said.")] = False,
    dry_run: DryRunOption = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Create a routing profile. `receiver kpn-lora connect` does this and all the rest by itself."""
    from receiver.platforms.kpn_lora_calls import RouteWish, RoutingProfileWish, build_create_routing_profile_call

    key = read_secret_file(tunnel_key_file, "tunnel key")
    route = RouteWish(tuple(url), as_id=as_id, as_key=key, content_type=content_type.upper(), strategy=strategy.upper())
    public_key = None if public_key_file is None else _read_pem(public_key_file)

    async def make(client: KpnLoraClient) -> RoutingProfile | str:
        group = await choose_hsm_group(client, hsm_group) if public_key is not None or hsm_group else None
        wish = RoutingProfileWish(name, (route,), group, public_key, is_default=default)
        if dry_run:
            return build_create_routing_profile_call(wish).shown(client.base_url)
        if await client.find_routing_profile(name) is not None:
            raise ConflictError(f"There is a routing profile named {name} already: choose another name.")
        return await client.create_routing_profile(wish)

    made = use_client(SURFACE, account, make)
    if isinstance(made, str):
        typer.echo(made)
        return
    record = _record(made, json=json)
    if made.rsa_encrypted_as_key is not None:
        record["rsaEncryptedASKey"] = made.rsa_encrypted_as_key
    print_record(record, json)
    if not json and made.rsa_encrypted_as_key is not None:
        typer.echo("\nThe wrapped key is shown once: `receiver as-key import NAME --wrapped HEX` takes it.")


@app.command()
def delete(
    profile: _ProfileArgument, *, yes: YesOption = False, account: AccountOption = None, json: JsonOption = False
) -> None:
    """Delete a routing profile: devices that have it push nothing any more."""

    async def get(client: KpnLoraClient) -> RoutingProfile:
        return await choose_profile(client, profile)

    found = use_client(SURFACE, account, get)
    if not yes:
        typer.confirm(f"Delete the routing profile {found.name} ({found.id}) at KPN?", abort=True, err=True)
    use_client(SURFACE, account, lambda client: client.delete_routing_profile(str(found.ref)))
    typer.echo(as_json({"ref": found.ref, "deleted": True}) if json else f"{found.name} ({found.id}) is deleted.")


async def choose_profile(client: KpnLoraClient, named: str) -> RoutingProfile:
    """Give the routing profile of that id, ref or name.

    Raises:
        NotFoundError, ConflictError: as `choose`.
    """
    profiles = await client.list_routing_profiles()
    return choose(profiles, named, what="routing profile", ids=lambda one: (one.id, one.ref), name=lambda one: one.name)


async def choose_hsm_group(client: KpnLoraClient, named: str | None) -> str:
    """Give the id of the HSM group that is named, or of the only one.

    Raises:
        SettingsError: none is named, and there is none or several.
    """
    if named:
        return named
    groups = [group.id for group in await client.list_hsm_groups() if group.id]
    if len(groups) != 1:
        known = ", ".join(groups[:10]) or "none"
        raise SettingsError(f"Say with --hsm-group which HSM group is meant; there are: {known}.")
    return groups[0]


def _record(profile: RoutingProfile, *, json: bool) -> dict[str, object]:
    if json:
        return dict(profile.raw)
    route = profile.routes[0] if profile.routes else None
    return {
        "ref": profile.ref,
        "id": profile.id,
        "name": profile.name,
        "default": profile.is_default,
        "hsm_group_id": profile.hsm_group_id,
        "as_id": None if route is None else route.as_id,
        "content_type": None if route is None else route.content_type,
        "addresses": ", ".join(address for one in profile.routes for address in one.addresses) or None,
    }


def _read_pem(file: Path) -> str:
    try:
        pem = read_file(file, "public key file", _LARGEST_PEM_FILE).decode("ascii")
    except UnicodeDecodeError as exc:
        raise SettingsError(f"The public key file {file} is not PEM.") from exc
    if "PRIVATE KEY" in pem or "BEGIN PUBLIC KEY" not in pem:
        raise SettingsError(f"The public key file {file} must begin with -----BEGIN PUBLIC KEY-----.")
    return pem.strip()
