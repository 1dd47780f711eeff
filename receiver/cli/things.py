"""What the commands have for KPN Things: shared secrets and accounts of connections, and devices by UUID."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.secret_io import STANDARD_INPUT, read_file, read_secret
from receiver.cli.store import JsonOption, as_json, counted, open_store, print_record, print_rows, utc_now
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from receiver.storage.connections import Connection
    from receiver.storage.things_accounts import StoredAccount

SecretFileOption = Annotated[
    list[str] | None,
    typer.Option(
        "--secret-file",
        metavar="FILE",
        help="KPN Things: a file with the shared secret of the destination; `-`: standard input. Twice for two.",
    ),
]
NewSecretOption = Annotated[
    bool, typer.Option("--new-secret", help="KPN Things: make a shared secret and show it, this once.")
]
PlugUuidOption = Annotated[
    str | None,
    typer.Option("--plug-uuid", metavar="UUID", help="KPN Things: the destination that the secret is of."),
]
_NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The connection's name.", show_default=False)]

_LARGEST_SECRET_FILE = 1024
_LARGEST_BODY_FILE = 20_000


def given_or_new_secrets(files: list[str] | None, new: bool) -> list[str]:
    """Give the secrets in the files, or a new one; none where neither is asked for."""
    from receiver.services.things_secrets import new_things_secret

    if files and new:
        raise typer.BadParameter("Give either --secret-file or --new-secret, not both.")
    if new:
        return [new_things_secret()]
    return [_read_secret_file(file, "shared secret") for file in files or ()]


def add_secret(
    name: _NameArgument,
    *,
    secret_file: SecretFileOption = None,
    new_secret: NewSecretOption = False,
    plug_uuid: PlugUuidOption = None,
    json: JsonOption = False,
) -> None:
    """Add a shared secret of KPN Things beside those that are live, before its destination changes over."""
    from receiver.services.things_secrets import add_things_secret

    secrets = given_or_new_secrets(secret_file, new_secret)
    if len(secrets) != 1:
        raise typer.BadParameter("Give --secret-file FILE (`-` asks for it) or --new-secret, once.")
    with open_store() as store:
        key_id = add_things_secret(store.engine, store.keyring, utc_now(), name, secrets[0], plug_uuid)
    if json:
        shown = {"secret": secrets[0]} if new_secret else {}
        typer.echo(as_json({"name": name, "key_id": key_id, **shown}))
        return
    typer.echo(f"{key_id} of {name} is added; running receivers accept it within a second.")
    if new_secret:
        typer.echo(f"\n  {secrets[0]}\n\nIt is not shown again: give it to the destination at KPN Things now.")
    typer.echo(f"Once KPN Things signs with it, `receiver connection keys {name}` says when the old one can go.")


def say_what_is_next(connection: Connection, *, secrets: int, is_shown: bool, has_url: bool) -> None:
    """Say what a person has to do at KPN Things."""
    typer.echo("\nWhat to do next:")
    if not has_url:
        typer.echo(
            f"  - The push URL is https://<this host>/push/{connection.name}; set RECEIVER_PUBLIC_URL, and it is"
            " shown here whole. KPN Things pushes to port 443 only."
        )
    secret = "this shared secret" if is_shown else "the shared secret"
    typer.echo(
        "  - In the KPN Things portal, make a destination of type HTTPS with the push URL, method POST, no"
        f" authentication, expected response 200, and {secret}; and a flow that brings the devices' messages there."
    )
    if is_shown:
        typer.echo("  - Paste the secret now: it is not shown again.")
    if not secrets:
        typer.echo(
            "  - There is no shared secret yet, so every push is refused: make it with"
            f" `receiver connection add-secret {connection.name} --new-secret`."
        )
    typer.echo("  - Choose the decoder LoRa extended v2, if this receiver is to decode: others leave the counter out.")
    typer.echo(f"  - To send downlinks: `receiver connection set-things-account {connection.name}`.")


def set_things_account(
    name: _NameArgument,
    *,
    tenant: Annotated[str | None, typer.Option(metavar="ID", help="The tenant id at GRIP.")] = None,
    key_id: Annotated[str | None, typer.Option(metavar="ID", help="The id of the API key.")] = None,
    key_secret_file: Annotated[
        str, typer.Option(metavar="FILE", help="A file with the API key's secret; `-`: standard input.")
    ] = STANDARD_INPUT,
    application: Annotated[
        str | None, typer.Option(metavar="ID", help="The application id, which is the token's audience.")
    ] = None,
    token_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where tokens come from: v3 (usual), v2, c1, or a URL with {tenant} in it."),
    ] = None,
    api_url: Annotated[str | None, typer.Option(metavar="URL", help="The API, if it is another one.")] = None,
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="A sub-customer's id, sent as x-client-id.")
    ] = None,
    security_context: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A sub-customer, sent as KPN-Things-Security-Context.")
    ] = None,
    api: Annotated[str, typer.Option(metavar="beta|new", help="Which API takes downlinks.")] = "beta",
    downlink_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="Path and query of a downlink, with placeholders.")
    ] = None,
    downlink_body_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The JSON body of a downlink, with placeholders.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the account away.")] = False,
    json: JsonOption = False,
) -> None:
    """Give a connection the KPN Things account that its downlinks are sent by, in place of any it has."""
    from receiver.services import things_accounts

    if remove:
        with open_store() as store:
            things_accounts.remove_account(store.engine, name)
        typer.echo(as_json({"name": name, "removed": True}) if json else f"{name} has no account any more.")
        return
    if tenant is None or key_id is None:
        raise typer.BadParameter("Give --tenant and --key-id, and the key's secret with --key-secret-file.")
    account = things_accounts.NewAccount(
        tenant_id=tenant,
        key_id=key_id,
        key_secret=_read_secret_file(key_secret_file, "key secret"),
        api_url=api_url or things_accounts.API_URL,
        token_url=token_url or things_accounts.TOKEN_FORM,
        audience=application or things_accounts.AUDIENCE,
        client_id=client_id,
        security_context=security_context,
        api=api,
        downlink_path=downlink_path,
        downlink_body=None if downlink_body_file is None else _read_text(downlink_body_file),
    )
    with open_store() as store:
        stored = things_accounts.set_account(store.engine, store.keyring, utc_now(), name, account)
    record = {"name": name, **account_record(stored)}
    if json:
        typer.echo(as_json(record))
        return
    print_record(record, json=False)
    typer.echo("\nThe account is in force for the next downlink. Nothing was asked of KPN Things yet.")


def account_record(account: StoredAccount) -> dict[str, object]:
    """Give what may be shown of an account: all but its secret."""
    return {
        "api": account.api,
        "api_url": account.api_url,
        "token_url": account.token_url,
        "tenant": account.tenant_id,
        "application": account.audience,
        "key_id": account.key_id,
        "client_id": account.client_id,
        "security_context": account.security_context,
        "downlink_path": account.downlink_path,
        "downlink_body": account.downlink_body,
        "set_at": account.set_at,
    }


def map_device(
    uuid: Annotated[
        str | None, typer.Argument(metavar="UUID", help="As KPN Things names the device.", show_default=False)
    ] = None,
    dev_eui: Annotated[
        str | None, typer.Argument(metavar="DEV_EUI", help="The DevEUI, 16 hex digits.", show_default=False)
    ] = None,
    *,
    json: JsonOption = False,
) -> None:
    """Say which device a UUID of KPN Things is; what was received of it so far goes over. Without both: list them."""
    from receiver.services.things_devices import list_mapped_devices, map_things_device

    if uuid is None:
        with open_store() as store:
            print_rows(
                [one._asdict() for one in list_mapped_devices(store.engine)], ("uuid", "dev_eui", "mapped_at"), json
            )
        return
    if dev_eui is None:
        raise typer.BadParameter("Give the DevEUI as well: `receiver device map UUID DEV_EUI`.")
    with open_store() as store:
        mapped = map_things_device(store.engine, utc_now(), uuid, dev_eui)
    if json:
        typer.echo(as_json(mapped._asdict()))
        return
    before = f", and no longer {mapped.before}" if mapped.before not in {None, mapped.dev_eui} else ""
    typer.echo(f"{mapped.uuid} is {mapped.dev_eui} now{before}; {counted(mapped.uplinks_moved, 'uplink')} went over.")


def _read_secret_file(file: str, what: str) -> str:
    if file == STANDARD_INPUT:
        return read_secret(file, what)
    return _text_of(read_file(Path(file), f"{what} file", _LARGEST_SECRET_FILE), f"{what} file {file}")


def _read_text(file: Path) -> str:
    return _text_of(read_file(file, "body file", _LARGEST_BODY_FILE), f"body file {file}")


def _text_of(data: bytes, what: str) -> str:
    try:
        text = data.decode().strip()
    except UnicodeDecodeError as exc:
        raise SettingsError(f"The {what} is not UTF-8 text.") from exc
    if not text:
        raise SettingsError(f"The {what} is empty.")
    return text
