"""Opens the client of KPN Things for the account of a connection. Nothing is asked before its first call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import NotFoundError, SettingsError
from receiver.platforms.kpn_things import open_kpn_things
from receiver.services.things_accounts import load_account
from receiver.services.things_secrets import require_things
from receiver.storage import connections as stored_connections
from receiver.storage.engine import read

if TYPE_CHECKING:
    import sqlalchemy as sa

    from receiver.http_client import HttpClient
    from receiver.keyring import Keyring
    from receiver.platforms.kpn_things import KpnThingsClient
    from receiver.services.things_accounts import ThingsAccount
    from receiver.storage.connections import Connection


def open_things_account(engine: sa.Engine, keyring: Keyring, name: str | None = None) -> ThingsAccount:
    """Give the account of the connection of that name, or without one of the only connection of KPN Things.

    Raises:
        NotFoundError: there is no such connection, or it has no account.
        SettingsError: it is not one of KPN Things, or there are several and none is named.
        KeyringError: its secret does not open with the key-encryption key of this process.
    """
    connection = choose_things_connection(engine, name)
    account = load_account(engine, keyring, connection.id)
    if account is None:
        raise NotFoundError(
            f"{connection.name} has no account of KPN Things yet: `receiver connection set-things-account"
            f" {connection.name}` gives it one."
        )
    return account


def choose_things_connection(engine: sa.Engine, name: str | None) -> Connection:
    """Give the connection of that name, or without one the only connection of KPN Things.

    Raises:
        NotFoundError: there is none.
        SettingsError: it is not one of KPN Things, or there are several and none is named.
    """
    with read(engine) as tx:
        if name is not None:
            connection = stored_connections.get_connection(tx, name)
            require_things(connection)
            return connection
        found = [one for one in stored_connections.list_connections(tx) if one.platform == "kpn-things"]
    if not found:
        raise NotFoundError(
            "There is no connection of KPN Things yet: `receiver connection add NAME --platform kpn-things` makes one."
        )
    if len(found) > 1:
        names = ", ".join(one.name for one in found[:10])
        raise SettingsError(f"There are several connections of KPN Things: say which with --connection ({names}).")
    return found[0]


def open_things_client(http: HttpClient, account: ThingsAccount, *, as_customer: bool = True) -> KpnThingsClient:
    """Give the client of an account. `as_customer` False: for the account itself, whatever sub-customer it names."""
    return open_kpn_things(http, account.login, account.api_url, account.headers if as_customer else ())
