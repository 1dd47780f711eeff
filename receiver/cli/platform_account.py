"""The `account` commands of a management API: which logins this receiver has there. Nothing is asked of a network.

Annotations are evaluated where they stand: those of the commands name what `account_app` was called with.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.secret_io import STANDARD_INPUT, read_file, read_secret
from receiver.cli.store import JsonOption, as_json, open_store, print_record, print_rows, utc_now
from receiver.errors import SettingsError
from receiver.lorawan.identifiers import shorten

if TYPE_CHECKING:
    from receiver.storage.platform_accounts import StoredPlatformAccount

SURFACE_NAMES = {"kpn-lora": "KPN LoRa", "thingpark": "ThingPark", "device-manager": "the Device Manager"}
"""The management APIs that have accounts, as people call them."""

_SECRETS = {"kpn-lora": "client secret", "thingpark": "client secret", "device-manager": "password"}
_OWN_OPTIONS = {"kpn-lora": "client_id", "thingpark": "client_id", "device-manager": "login"}
_HAVE_HOSTS = {"thingpark", "device-manager"}
_LARGEST_SECRET_FILE = 4096

_NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The account's name here.", show_default=False)]


def account_app(surface: str) -> typer.Typer:
    """Give the group `account` of a surface: add, list, remove, set-secret, settings.

    Each setting of the surface that must be given has an option of its own, as `--client-id`; all of them can be given
    by `--set NAME=VALUE`.
    """
    platform, secret_name = SURFACE_NAMES[surface], _SECRETS[surface]
    app = typer.Typer(no_args_is_help=True, help=f"Accounts of {platform}: add, list, remove, give another secret.")
    own_name = _OWN_OPTIONS[surface]
    own_option = f"--{own_name.replace('_', '-')}"
    secret_option = f"--{secret_name.replace(' ', '-')}-file"
    secret_help = f"A file with the {secret_name}; `-`: standard input, or it is asked for."

    @app.command()
    def add(
        name: _NameArgument,
        *,
        own: Annotated[
            str | None, typer.Option(own_option, metavar="TEXT", help=f"The {own_name.replace('_', ' ')} there.")
        ] = None,
        host: Annotated[
            str | None,
            typer.Option("--host", metavar="HOST", help="The platform's host.", hidden=surface not in _HAVE_HOSTS),
        ] = None,
        settings: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="NAME=VALUE", help="Another setting; `account settings` lists them."),
        ] = None,
        secret_file: Annotated[str, typer.Option(secret_option, metavar="FILE", help=secret_help)] = STANDARD_INPUT,
        json: JsonOption = False,
    ) -> None:
        """Add an account. Nothing is asked of the network."""
        from receiver.services.platform_accounts import add_account

        given = {own_name: own or "", "host": host or "", **_read_settings(settings or [])}
        chosen = {setting: value for setting, value in given.items() if value}
        secret = read_secret_file(secret_file, secret_name)
        with open_store() as store:
            account = add_account(
                store.engine, store.keyring, utc_now(), name=name, surface=surface, settings=chosen, secret=secret
            )
        record = {"name": account.name, **account.settings, "created_at": account.created_at}
        if json:
            typer.echo(as_json(record))
            return
        print_record(record, json=False)
        typer.echo(f"\nThe account is kept, its {secret_name} sealed. Nothing was asked of {platform} yet.")

    @app.command("list")
    def list_(*, json: JsonOption = False) -> None:
        """List the accounts; a secret is never shown."""
        from receiver.services.platform_accounts import list_accounts

        with open_store() as store:
            accounts = list_accounts(store.engine, surface)
        if not accounts and not json:
            typer.echo(f"There is no account of {platform} yet: `receiver {surface} account add NAME` makes one known.")
            return
        rows = [
            {
                "name": account.name,
                own_name: account.settings.get(own_name),
                "settings": _as_shown(account.settings, own_name, json=json),
                "created_at": account.created_at,
            }
            for account in accounts
        ]
        print_rows(rows, ("name", own_name, "settings", "created_at"), json)

    @app.command()
    def remove(name: _NameArgument, *, json: JsonOption = False) -> None:
        """Forget an account. At the network nothing changes."""
        from receiver.services.platform_accounts import list_accounts, remove_account

        with open_store() as store:
            _require(name, surface, list_accounts(store.engine))
            remove_account(store.engine, name)
        typer.echo(as_json({"name": name, "removed": True}) if json else f"{name} is removed.")

    @app.command("set-secret")
    def set_secret(
        name: _NameArgument,
        *,
        secret_file: Annotated[str, typer.Option(secret_option, metavar="FILE", help=secret_help)] = STANDARD_INPUT,
        json: JsonOption = False,
    ) -> None:
        """Give an account another secret, in place of the one it has."""
        from receiver.services.platform_accounts import list_accounts, set_account_secret

        secret = read_secret_file(secret_file, secret_name)
        with open_store() as store:
            _require(name, surface, list_accounts(store.engine))
            set_account_secret(store.engine, store.keyring, name, secret)
        typer.echo(
            as_json({"name": name, "secret_set": True}) if json else f"{name} has another {secret_name} from now on."
        )

    @app.command("settings")
    def list_settings(*, json: JsonOption = False) -> None:
        """List the settings that an account can have, with what they are if nothing is said."""
        from receiver.services.platform_accounts import SETTINGS

        rows = [
            {"name": name, "default": value or None, "must_be_given": value is None}
            for name, value in SETTINGS[surface].items()
        ]
        print_rows(rows, ("name", "default", "must_be_given"), json)

    return app


def read_secret_file(file: str, what: str) -> str:
    """Give the text in a file, or for `-` what standard input or the terminal has.

    Raises:
        SettingsError: it cannot be read, is empty, or is no text.
    """
    if file == STANDARD_INPUT:
        return read_secret(file, what)
    data = read_file(Path(file), f"{what} file", _LARGEST_SECRET_FILE)
    try:
        text = data.decode().strip()
    except UnicodeDecodeError as exc:
        raise SettingsError(f"The {what} file {file} is not UTF-8 text.") from exc
    if not text:
        raise SettingsError(f"The {what} file {file} is empty.")
    return text


def _read_settings(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise SettingsError(f"{shorten(pair)!r} is no setting: write --set NAME=VALUE.")
        found[name.strip().replace("-", "_")] = value.strip()
    return found


def _require(name: str, surface: str, accounts: "Iterable[StoredPlatformAccount]") -> None:
    """Return if the account is of this surface, or is not there at all: others say that.

    Raises:
        SettingsError: it is of another surface.
    """
    for account in accounts:
        if account.name == name and account.surface != surface:
            raise SettingsError(f"The account {name} is of {account.surface}, and not of {surface}.")


def _as_shown(settings: Mapping[str, str], own_name: str, *, json: bool) -> object:
    others = {name: value for name, value in settings.items() if name != own_name}
    return others if json else ", ".join(f"{name}={value}" for name, value in others.items()) or None
