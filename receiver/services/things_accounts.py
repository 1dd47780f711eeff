"""Accounts of KPN Things: what a connection logs in with to hand over downlinks; the key's secret is kept sealed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from receiver.errors import NotFoundError, SettingsError
from receiver.kpn_things.downlink import DownlinkForm
from receiver.lorawan.identifiers import shorten
from receiver.platforms.grip import TOKEN_URLS, GripAccount
from receiver.services.things_secrets import require_things
from receiver.storage import connections as stored_connections
from receiver.storage import things_accounts as stored
from receiver.storage.engine import read, write

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from receiver.keyring import Keyring
    from receiver.storage.things_accounts import StoredAccount

API_URL = "https://api.kpnthings.com"
"""Source: docs.kpnthings.com, the environment of its Postman collection, `baseUrl`."""

AUDIENCE = "4dc82561-f65f-523g-dek9-6c79ec314f02"
"""The application id of KPN Things as that page prints it; it has letters that no UUID has, so it may be a slip."""

TOKEN_FORM = "v3"  # noqa: S105 - a name
"""The form of the token URL that is taken unless another is given."""

APIS = ("beta", "new")

MOST_FIELD = 500
MOST_TEMPLATE = 10_000
"""Characters: of a value of an account, and of a path or body of its requests."""

_LOCAL = {"127.0.0.1", "::1", "localhost"}
_PRINTABLE = re.compile(r"[\x21-\x7e]+\Z")


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account as a person gives it. `token_url` is a URL or the short name of a form: v3, v2 or c1.

    `client_id` and `security_context` name a sub-customer in the two ways that KPN Things has for that.
    `downlink_path` and `downlink_body` spell the request where it is not the Beta API's.
    """

    tenant_id: str
    key_id: str
    key_secret: str = field(repr=False)
    api_url: str = API_URL
    token_url: str = TOKEN_FORM
    audience: str = AUDIENCE
    client_id: str | None = None
    security_context: str | None = None
    api: str = "beta"
    downlink_path: str | None = None
    downlink_body: str | None = None


@dataclass(frozen=True, slots=True)
class ThingsAccount:
    """An account, opened: how to log in, and how requests are made. `set_at` tells that it was changed."""

    login: GripAccount
    api_url: str
    headers: tuple[tuple[str, str], ...]
    form: DownlinkForm
    set_at: datetime


def set_account(engine: sa.Engine, keyring: Keyring, now: datetime, name: str, account: NewAccount) -> StoredAccount:
    """Give a connection an account, in place of the one it has; who sends looks at it before each downlink.

    Raises:
        NotFoundError: there is no such connection.
        SettingsError: it is not one of KPN Things, or a value is not of its form; a secret is never shown.
    """
    checked = _checked(account)
    with write(engine) as tx:
        connection = stored_connections.get_connection(tx, name)
        require_things(connection)
        new = stored.StoredAccount(
            connection_id=connection.id,
            api_url=checked.api_url,
            token_url=checked.token_url,
            tenant_id=checked.tenant_id,
            audience=checked.audience,
            key_id=checked.key_id,
            sealed_key_secret=keyring.seal(checked.key_secret.encode(), account_purpose(connection.id)),
            client_id=checked.client_id,
            security_context=checked.security_context,
            api=checked.api,
            downlink_path=checked.downlink_path,
            downlink_body=checked.downlink_body,
            set_at=now,
        )
        stored.put_account(tx, new)
    return new


def show_account(engine: sa.Engine, name: str) -> StoredAccount | None:
    """Give the account of a connection, its secret sealed; None: it has none.

    Raises:
        NotFoundError: there is no such connection.
    """
    with read(engine) as tx:
        return stored.find_account(tx, stored_connections.get_connection(tx, name).id)


def remove_account(engine: sa.Engine, name: str) -> None:
    """Take the account of a connection away: nothing can be sent by it any more.

    Raises:
        NotFoundError: there is no such connection, or it has no account.
    """
    with write(engine) as tx:
        connection = stored_connections.get_connection(tx, name)
        if not stored.delete_account(tx, connection.id):
            raise NotFoundError(f"{name} has no account of KPN Things.")


def load_account(engine: sa.Engine, keyring: Keyring, connection_id: int) -> ThingsAccount | None:
    """Give the account of a connection, opened; None: it has none.

    Raises:
        StorageUnavailableError: the database is away.
        KeyringError: its secret does not open with the key-encryption key of this process.
    """
    with read(engine) as tx:
        found = stored.find_account(tx, connection_id)
    if found is None:
        return None
    secret = keyring.open(found.sealed_key_secret, account_purpose(connection_id)).decode()
    named = (("x-client-id", found.client_id), ("KPN-Things-Security-Context", found.security_context))
    return ThingsAccount(
        login=GripAccount(found.token_url, found.tenant_id, found.audience, found.key_id, secret),
        api_url=found.api_url,
        headers=tuple((header, value) for header, value in named if value is not None),
        form=DownlinkForm(found.api, found.downlink_path, found.downlink_body),
        set_at=found.set_at,
    )


def account_purpose(connection_id: int) -> str:
    """Name the purpose that the secret of a connection's account is sealed for."""
    return f"things_account:{connection_id}"


def _checked(account: NewAccount) -> NewAccount:
    if account.api not in APIS:
        raise SettingsError(f"{shorten(account.api)!r} is not an API of KPN Things: choose {' or '.join(APIS)}.")
    DownlinkForm(account.api, account.downlink_path, account.downlink_body).check()
    values = {
        "tenant id": account.tenant_id,
        "key id": account.key_id,
        "key secret": account.key_secret,
        "application id": account.audience,
        "client id": account.client_id,
        "security context": account.security_context,
    }
    for what, value in values.items():
        if value is not None and (len(value) > MOST_FIELD or not _PRINTABLE.match(value)):
            raise SettingsError(
                f"The {what} is empty, has more than {MOST_FIELD} characters, or has one that is a space or not ASCII."
            )
    for what, template in (("path", account.downlink_path), ("body", account.downlink_body)):
        if template is not None and (len(template) > MOST_TEMPLATE or "\0" in template):
            raise SettingsError(f"The {what} of downlinks has more than {MOST_TEMPLATE} characters.")
    if account.downlink_path is not None and not _PRINTABLE.match(account.downlink_path):
        raise SettingsError("The path of downlinks has a character that is a space or not ASCII.")
    token_url = TOKEN_URLS.get(account.token_url, account.token_url)
    _check_url("token URL", token_url.replace("{tenant}", "tenant"))
    _check_url("API URL", account.api_url)
    return replace(account, token_url=token_url, api_url=account.api_url.rstrip("/"))


def _check_url(what: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and bool(_PRINTABLE.match(url)) and len(url) <= MOST_FIELD
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(
            f"{shorten(url, 80)!r} is no {what}: it must be like https://host/path, without user name and query."
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise SettingsError(f"The {what} must begin with https://: the key's secret goes there.")
