"""`receiver api-key`: who may call the API, and what for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from receiver.cli.store import JsonOption, as_json, open_store, print_rows, utc_now

app = typer.Typer(no_args_is_help=True, help="Keys for callers of the API: make, list and revoke them.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Who calls with it.", show_default=False)]

_COLUMNS = ("name", "scope", "created_at", "last_used_at", "revoked_at")


@app.command()
def create(
    name: NameArgument,
    *,
    scope: Annotated[
        str,
        typer.Option(
            metavar="read|downlink|admin", help="What it is good for: look; send downlinks too; change things too."
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Make a key and show it, this once."""
    from receiver.services.api_keys import create_api_key

    with open_store() as store:
        key, text = create_api_key(store.engine, utc_now(), name, scope)
    if json:
        typer.echo(as_json({"name": key.name, "scope": key.scope, "created_at": key.created_at, "key": text.reveal()}))
        return
    typer.echo(
        f"{key.name} may call the API with scope {key.scope}:\n\n  {text.reveal()}\n\nIt is not shown again. Callers"
        " send it as `Authorization: Bearer …`."
    )


@app.command("list")
def list_(*, json: JsonOption = False) -> None:
    """List the keys with their last uses (to the minute); a key itself is never shown again."""
    from receiver.services.api_keys import list_api_keys

    with open_store() as store:
        rows = [asdict(key) for key in list_api_keys(store.engine)]
    if not rows and not json:
        typer.echo("There is no API key yet: `receiver api-key create NAME --scope read` makes one.")
    else:
        print_rows(rows, _COLUMNS, json)


@app.command()
def revoke(name: NameArgument, *, json: JsonOption = False) -> None:
    """Revoke a key: the next call with it is refused."""
    from receiver.services.api_keys import revoke_api_key

    with open_store() as store:
        revoke_api_key(store.engine, utc_now(), name)
    typer.echo(as_json({"name": name, "revoked": True}) if json else f"{name} is revoked.")
