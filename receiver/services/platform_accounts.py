"""Accounts at the management APIs: which surface, where, as whom; the secret is kept sealed.

An account of ThingPark needs little more than its host; each URL can be said apart, as operators differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from receiver.errors import ConflictError, IdentifierError, NotFoundError, SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.storage import platform_accounts as stored
from receiver.storage.engine import read, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from receiver.keyring import Keyring
    from receiver.storage.platform_accounts import StoredPlatformAccount

SETTINGS: Mapping[str, Mapping[str, str | None]] = {
    "kpn-lora": {
        "client_id": None,
        "api_url": "https://api-prd.kpn.com/data/lora/thingpark",
        "token_url": "https://api-prd.kpn.com/oauth/client_credential/accesstoken",
        "api_version": "",
        "downlink_url": "https://api.kpn-lora.com/thingpark/lrc/rest/downlink",
    },
    "thingpark": {
        "client_id": None,
        "host": "",
        "api_url": "https://{host}/thingpark/wireless/rest",
        "token_url": "https://{host}/users-auth/protocol/openid-connect/token",
        "token_form": "keycloak",
        "dx_core_url": "https://{host}/thingpark/dx/core/latest/api",
        "dx_token_url": "",
        "downlink_url": "https://{host}/thingpark/lrc/rest/v2/downlink",
        "subscription": "mine",
    },
    "device-manager": {
        "login": None,
        "host": "www.kpn-lora.com",
        "api_url": "https://{host}/thingpark/wireless/rest",
        "smp_url": "https://{host}/thingpark/smp/rest",
        "login_form": "html",
        "login_url": "",
        "login_field": "login",
        "password_field": "password",
        "login_body": "form",
        "subscriber_id": "",
        "module_id": "TPW_SUBS",
        "start_path": "/customers",
        "start_parameter": "",
        "start_type": "SUBSCRIBER",
        "logout_path": "/customers/logout",
        "subscription": "",
        "answers": "json",
    },
}
"""The settings of each surface with their defaults. None: must be given. Empty: none, or said by the others;
`{host}` stands for the setting `host`. Sources: KPN LoRa Device Management API 1.2 (base URL, and token URL as
developer.kpn.com gives it); ThingPark control plane, authentication, and Device Manager contract 7.3, servers; KPN's
Device Manager API page for that host. What its login wants is not published, hence so many settings."""

MOST_FIELD = 500
"""Characters of a setting and of a secret; KPN's and ThingPark's are far below."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")  # as a connection's
_PRINTABLE = re.compile(r"[\x20-\x7e]*\Z")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?\Z")
_LOCAL = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class PlatformAccount:
    """An account, opened. `settings` has all names of its surface, with `{host}` filled in."""

    id: int
    name: str
    surface: str
    settings: Mapping[str, str]
    secret: str = field(repr=False)


def add_account(
    engine: sa.Engine,
    keyring: Keyring,
    now: datetime,
    *,
    name: str,
    surface: str,
    settings: Mapping[str, str],
    secret: str,
) -> StoredPlatformAccount:
    """Add an account. Nothing is asked of the platform.

    Raises:
        IdentifierError: the name is not of its form.
        SettingsError: a setting is missing, unknown or not of its form; a secret is never shown.
        ConflictError: the name is taken.
    """
    if not _NAME.match(name):
        raise IdentifierError(
            f"{shorten(name)!r} cannot be an account's name: it must be 1 to 63 lower-case letters, digits, dots,"
            " dashes and underscores, and begin with a letter or digit."
        )
    checked = _checked(surface, settings)
    _check_secret(secret)
    with write(engine) as tx:
        account_id = stored.insert_account(tx, name=name, surface=surface, settings=checked, now=now)
        if account_id is None:
            raise ConflictError(f"There is an account named {name} already. Remove it first, or choose another name.")
        stored.set_secret(tx, account_id, keyring.seal(secret.encode(), _purpose(account_id)))
        return _get(tx, name)


def set_account_secret(engine: sa.Engine, keyring: Keyring, name: str, secret: str) -> None:
    """Give an account another client secret or password.

    Raises:
        NotFoundError: there is no such account.
        SettingsError: the secret is not of its form.
    """
    _check_secret(secret)
    with write(engine) as tx:
        account = _get(tx, name)
        stored.set_secret(tx, account.id, keyring.seal(secret.encode(), _purpose(account.id)))


def list_accounts(engine: sa.Engine, surface: str | None = None) -> list[StoredPlatformAccount]:
    """Give all accounts, or those of one surface, by name, their secrets sealed."""
    with read(engine) as tx:
        return stored.list_accounts(tx, surface)


def remove_account(engine: sa.Engine, name: str) -> None:
    """Forget an account. At the platform nothing changes.

    Raises:
        NotFoundError: there is no such account.
    """
    with write(engine) as tx:
        stored.delete_account(tx, _get(tx, name).id)


def open_account(engine: sa.Engine, keyring: Keyring, surface: str, name: str | None = None) -> PlatformAccount:
    """Give the account of that name, or without one the only account of the surface, opened.

    Raises:
        NotFoundError: there is no such account, or none at all.
        SettingsError: it is of another surface, or there are several and none is named.
        KeyringError: its secret does not open with the key-encryption key of this process.
    """
    with read(engine) as tx:
        if name is not None:
            account = _get(tx, name)
            if account.surface != surface:
                raise SettingsError(f"The account {name} is of {account.surface}, and not of {surface}.")
        else:
            account = _only(surface, stored.list_accounts(tx, surface))
    secret = keyring.open(account.sealed_secret, _purpose(account.id)).decode()
    return PlatformAccount(account.id, account.name, surface, _filled(account), secret)


def _get(tx: sa.Connection, name: str) -> StoredPlatformAccount:
    found = stored.find_account(tx, name)
    if found is None:
        known = ", ".join(one.name for one in stored.list_accounts(tx)[:10]) or "none yet"
        raise NotFoundError(f"There is no account named {shorten(name)!r}. There are: {known}.")
    return found


def _only(surface: str, accounts: list[StoredPlatformAccount]) -> StoredPlatformAccount:
    if not accounts:
        raise NotFoundError(
            f"There is no account of {surface} yet: `receiver {surface} account add NAME` makes one known."
        )
    if len(accounts) > 1:
        names = ", ".join(one.name for one in accounts[:10])
        raise SettingsError(f"There are several accounts of {surface}: say which with --account ({names}).")
    return accounts[0]


def _filled(account: StoredPlatformAccount) -> dict[str, str]:
    usual = {name: value or "" for name, value in SETTINGS[account.surface].items()}
    settings = {**usual, **account.settings}
    host = settings.get("host", "")
    return {name: value.replace("{host}", host) for name, value in settings.items()}


def _checked(surface: str, settings: Mapping[str, str]) -> dict[str, str]:
    known = SETTINGS.get(surface)
    if known is None:
        raise SettingsError(f"{shorten(surface)!r} is not a management API: choose {', '.join(SETTINGS)}.")
    for name, value in settings.items():
        if name not in known:
            raise SettingsError(f"{shorten(name)!r} is not a setting of {surface}: there are {', '.join(known)}.")
        if len(value) > MOST_FIELD or not _PRINTABLE.match(value):
            raise SettingsError(
                f"The setting {name} has more than {MOST_FIELD} characters, or one that is not printable ASCII."
            )
    given = {name: value.strip() for name, value in settings.items() if value.strip()}
    missing = [name for name, usual in known.items() if usual is None and name not in given]
    if missing:
        raise SettingsError(f"An account of {surface} needs {' and '.join(missing)}.")
    if "host" in given and not _HOST.match(given["host"]):
        raise SettingsError(f"{shorten(given['host'], 80)!r} is no host: it must be like community.thingpark.io.")
    needs_host = [name for name, usual in known.items() if usual and "{host}" in usual and name not in given]
    if needs_host and not (given.get("host") or known.get("host")):
        raise SettingsError(
            f"An account of {surface} needs host, such as community.thingpark.io; or else {' and '.join(needs_host)}."
        )
    for name, value in given.items():
        if name.endswith("_url"):
            _check_url(name, value.replace("{host}", "host").replace("{tenant}", "tenant"))
    return given


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        is_base = name != "login_url"  # of a page the slash at the end may count
        usable = bool(parts.hostname) and parts.port != 0 and " " not in url and not (is_base and url.endswith("/"))
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.fragment:
        raise SettingsError(
            f"{shorten(url, 80)!r} is no {name}: it must be like https://host/path, without a slash at the end."
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise SettingsError(f"{name} must begin with https://: a secret goes there.")


def _check_secret(secret: str) -> None:
    if not secret or len(secret) > MOST_FIELD or not secret.isprintable():
        raise SettingsError(
            f"The secret is empty, has more than {MOST_FIELD} characters, or one that cannot be printed."
        )


def _purpose(account_id: int) -> str:
    return f"platform_account:{account_id}"
