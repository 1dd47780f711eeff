"""`receiver connection`: what is pushed here, under which AS_ID, signed with which keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from receiver.cli import connection_downlinks, things
from receiver.cli.secret_io import read_secret
from receiver.cli.silence import silent_connections
from receiver.cli.store import JsonOption, as_json, counted, open_store, print_record, print_rows, utc_now

if TYPE_CHECKING:
    from receiver.cli.store import Store
    from receiver.storage.connections import Connection

app = typer.Typer(
    no_args_is_help=True,
    help="Connections: routing profiles, Basic HTTPS connections, and destinations of KPN Things.",
)

_THINGS = "kpn-things"

app.command()(connection_downlinks.downlinks)
app.command()(connection_downlinks.resume)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The connection's name.", show_default=False)]
TunnelKeyOption = Annotated[
    str | None,
    typer.Option(metavar="HEX", help="The tunnel key, as the network has it; `-` reads it from standard input."),
]
NewTunnelKeyOption = Annotated[bool, typer.Option("--new-tunnel-key", help="Make a tunnel key and show it, this once.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The last part of its push URL.", show_default=False)],
    platform: Annotated[
        Literal["thingpark", "kpn-lora", "kpn-things"],
        typer.Option(help="The network's platform."),
    ],
    *,
    as_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The AS_ID that the network sends; else the name.")
    ] = None,
    tunnel_key: TunnelKeyOption = None,
    new_tunnel_key: NewTunnelKeyOption = False,
    max_deviation: Annotated[
        int, typer.Option(metavar="S", help="How far a push's Time may be from this clock, in seconds.")
    ] = 60,
    payloads: Annotated[
        Literal["auto", "clear", "encrypted"],
        typer.Option(help="What payloads are where a report does not say so; auto: encrypted if it has an AppSKey."),
    ] = "auto",
    app_s_keys: Annotated[
        Literal["wrapped", "clear"],
        typer.Option(help="How AppSKeys in reports are written: under the AS transport key, or in the clear."),
    ] = "wrapped",
    downlink_url: Annotated[str | None, typer.Option(metavar="URL", help="Where downlinks will go.")] = None,
    secret_file: things.SecretFileOption = None,
    new_secret: things.NewSecretOption = False,
    plug_uuid: things.PlugUuidOption = None,
    json: JsonOption = False,
) -> None:
    """Add a connection, and print what the network's portal is to be given."""
    from receiver.services import connections, tunnel_keys

    key = _given_or_new_key(tunnel_key, new_tunnel_key)
    secrets = things.given_or_new_secrets(secret_file, new_secret)
    with open_store() as store:
        connection = connections.add_connection(
            store.engine,
            store.keyring,
            utc_now(),
            name=name,
            platform=platform,
            as_id=as_id,
            tunnel_key=key,
            max_deviation_s=max_deviation,
            payloads=payloads,
            app_s_keys=app_s_keys,
            downlink_url=downlink_url,
            things_secrets=secrets,
            plug_uuid=plug_uuid,
        )
        warning = tunnel_keys.warn_of_low_entropy(key) if key is not None else None
        record: dict[str, object] = _record(store, connection)
    if connection.platform == _THINGS:
        record["secret_ids"] = [f"s{number}" for number in range(1, len(secrets) + 1)]
    else:
        record["tunnel_key_id"] = "k1" if key is not None else None
    if new_tunnel_key:
        record["tunnel_key"] = key
    if new_secret:
        record["secret"] = secrets[0]
    if json:
        typer.echo(as_json({**record, "warnings": [warning] if warning else []}))
        return
    typer.echo(f"{name} is added.\n")
    print_record(record, json=False)
    _warn(warning)
    if connection.platform == _THINGS:
        has_url = bool(record["push_url"])
        things.say_what_is_next(connection, secrets=len(secrets), is_shown=new_secret, has_url=has_url)
        return
    _say_what_is_next(
        connection, has_key=key is not None, key_is_shown=new_tunnel_key, has_url=bool(record["push_url"])
    )


@app.command("list")
def list_(*, json: JsonOption = False) -> None:
    """List all connections."""
    from receiver.services.connections import list_connections

    with open_store() as store:
        rows = [_record(store, connection) for connection in list_connections(store.engine)]
    print_rows(rows, ("name", "platform", "as_id", "payloads", "max_deviation_s", "created_at"), json)


@app.command()
def show(name: NameArgument, *, json: JsonOption = False) -> None:
    """Show one connection with its live tunnel keys' check values and its AS transport key's."""
    from receiver.services import as_transport_keys
    from receiver.services.connections import get_connection
    from receiver.services.provisioning_local import find_made_by_command
    from receiver.services.things_accounts import show_account
    from receiver.services.tunnel_keys import list_tunnel_keys

    with open_store() as store:
        record = _record(store, get_connection(store.engine, name))
        keys = list_tunnel_keys(store.engine, store.keyring, utc_now(), name)
        live = {key.key_id: key.key_check_value for key in keys if key.retired_at is None}
        found = show_account(store.engine, name) if record["platform"] == _THINGS else None
        active = [key for key in as_transport_keys.show(store.engine, name) if key.state == "active"]
        made = find_made_by_command(store.engine, name)
    if made is not None:
        record["at_the_network"] = made._asdict() if json else f"{made.remote_id or '-'} ({made.state})"
    check_value = active[0].key_check_value if active else None
    tunnel_keys: object = live if json else ", ".join(f"{key_id} ({value})" for key_id, value in live.items())
    if record["platform"] == _THINGS:
        account = None if found is None else things.account_record(found)
        shown = account if json or account is None else account["key_id"]
        print_record({**record, "secrets": tunnel_keys or None, "account": shown}, json)
        return
    print_record({**record, "tunnel_keys": tunnel_keys or None, "as_transport_key_check_value": check_value}, json)


@app.command()
def remove(
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove a connection with its keys and rejections. Its reports, uplinks and devices stay."""
    from receiver.services.connections import get_connection, remove_connection
    from receiver.services.provisioning_local import find_made_by_command

    with open_store() as store:
        get_connection(store.engine, name)
        made = find_made_by_command(store.engine, name)
        if not yes:
            typer.confirm(
                f"Remove {name} with its tunnel keys, AS transport keys and rejections?"
                " Without an escrow file the AS transport key is lost. Reports, uplinks and devices stay."
                + (f" {made.remote_id} stays at the network: `disconnect` deletes that first." if made else ""),
                abort=True,
                err=True,
            )
        removed = remove_connection(store.engine, name)
    if json:
        typer.echo(
            as_json(
                {
                    "name": name,
                    "tunnel_keys_removed": removed.tunnel_keys,
                    "reports_that_stay": removed.reports_that_stay,
                }
            )
        )
        return
    typer.echo(
        f"{name} is removed with {counted(removed.tunnel_keys, 'tunnel key')}, its AS transport keys and its"
        " rejections."
        f" Its reports ({removed.reports_that_stay}), uplinks and devices stay."
        f" Pushes to /push/{name} are refused from now on: remove it at the network too."
    )


@app.command("add-key")
def add_key(
    name: NameArgument,
    *,
    tunnel_key: TunnelKeyOption = None,
    new_tunnel_key: NewTunnelKeyOption = False,
    json: JsonOption = False,
) -> None:
    """Add a tunnel key beside those that are live, for instance before the network changes over."""
    from receiver.services import tunnel_keys

    key = _given_or_new_key(tunnel_key, new_tunnel_key)
    if key is None:
        raise typer.BadParameter("Give --tunnel-key or --new-tunnel-key.")
    with open_store() as store:
        key_id = tunnel_keys.add_tunnel_key(store.engine, store.keyring, utc_now(), name, key)
    warning = tunnel_keys.warn_of_low_entropy(key)
    if json:
        shown = {"tunnel_key": key} if new_tunnel_key else {}
        typer.echo(as_json({"name": name, "key_id": key_id, **shown, "warnings": [warning] if warning else []}))
        return
    typer.echo(f"{key_id} of {name} is added; running receivers accept it within a second.")
    if new_tunnel_key:
        typer.echo(f"\n  {key}\n\nIt is not shown again: give it to the network now.")
    _warn(warning)
    typer.echo(f"Once the network signs with it, `receiver connection keys {name}` says when the old key can go.")


@app.command()
def keys(name: NameArgument, *, json: JsonOption = False) -> None:
    """List the tunnel keys, or shared secrets, with their uses, and whether an old one is safe to retire."""
    from receiver.services.tunnel_keys import list_tunnel_keys

    with open_store() as store:
        rows = [asdict(key) for key in list_tunnel_keys(store.engine, store.keyring, utc_now(), name)]
    print_rows(rows, ("key_id", "key_check_value", "created_at", "hits", "last_used_at", "judgement"), json)


@app.command("retire-key")
def retire_key(
    name: NameArgument,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `connection keys` lists it: k1, s1, …")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Retire it even if it is the last live key.")] = False,
    json: JsonOption = False,
) -> None:
    """Retire a tunnel key or shared secret: pushes that are signed with it are refused from then on."""
    from receiver.services.tunnel_keys import retire_tunnel_key

    with open_store() as store:
        retire_tunnel_key(store.engine, utc_now(), name, key_id, force=force)
    if json:
        typer.echo(as_json({"name": name, "key_id": key_id, "retired": True}))
    else:
        typer.echo(f"{key_id} of {name} is retired; running receivers refuse it within a second.")


app.command("add-secret")(things.add_secret)
app.command("set-things-account")(things.set_things_account)
app.command("silent")(silent_connections)


def _given_or_new_key(tunnel_key: str | None, new_tunnel_key: bool) -> str | None:
    from receiver.services import tunnel_keys

    if tunnel_key is not None and new_tunnel_key:
        raise typer.BadParameter("Give either --tunnel-key or --new-tunnel-key, not both.")
    if new_tunnel_key:
        return tunnel_keys.new_tunnel_key()
    return read_secret(tunnel_key, "tunnel key") if tunnel_key is not None else None


def _record(store: Store, connection: Connection) -> dict[str, object]:
    public_url = store.settings.public_url
    push_path = f"/push/{connection.name}"
    if connection.platform == _THINGS:
        return {
            "name": connection.name,
            "platform": connection.platform,
            "push_url": f"{public_url.rstrip('/')}{push_path}" if public_url else None,
            "push_path": push_path,
            "created_at": connection.created_at,
        }
    return {
        "name": connection.name,
        "platform": connection.platform,
        "as_id": connection.as_id,
        "push_url": f"{public_url.rstrip('/')}{push_path}" if public_url else None,
        "push_path": push_path,
        "max_deviation_s": connection.max_deviation_s,
        "payloads": connection.payloads,
        "app_s_keys": connection.app_s_keys,
        "downlink_url": connection.downlink_url,
        "created_at": connection.created_at,
    }


def _warn(warning: str | None) -> None:
    if warning:
        typer.echo(f"Note: {warning}", err=True)


def _say_what_is_next(connection: Connection, *, has_key: bool, key_is_shown: bool, has_url: bool) -> None:
    typer.echo("\nWhat to do next:")
    if not has_url:
        typer.echo(
            f"  - The push URL is https://<this host>/push/{connection.name}; set RECEIVER_PUBLIC_URL, and it is"
            " shown here whole."
        )
    where = (
        "In the KPN LoRa portal (or API), give the routing profile a route with the push URL as its address"
        if connection.platform == "kpn-lora"
        else "In ThingPark, make a Basic HTTPS connection with the push URL as its destination"
    )
    key = "this tunnel key" if key_is_shown else "the tunnel key"
    typer.echo(f"  - {where}, content type JSON or XML, AS ID {connection.as_id}, and {key} as its AS key.")
    if key_is_shown:
        typer.echo("  - Paste the tunnel key now: it is not shown again.")
    if not has_key:
        typer.echo(
            "  - There is no tunnel key yet, so every push is refused: add it with"
            f" `receiver connection add-key {connection.name} --tunnel-key -`."
        )
    if connection.payloads != "clear" and connection.app_s_keys == "wrapped":
        typer.echo(
            f"  - If payloads come encrypted (HSM): `receiver as-key new {connection.name}` makes the public key to"
            " paste."
        )
