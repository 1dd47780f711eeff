"""Which account a connection is provisioned with, and its network, opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import ConflictError
from receiver.services.platform_accounts import list_accounts, open_account
from receiver.services.platform_clients import open_kpn_lora, open_thingpark
from receiver.services.provisioning_kpn_lora import KpnLoraNetwork
from receiver.services.provisioning_thingpark import ThingParkNetwork

if TYPE_CHECKING:
    from receiver.http_client import HttpClient
    from receiver.services.platform_accounts import PlatformAccount
    from receiver.services.provisioning_local import Local
    from receiver.services.provisioning_network import Network


def open_account_of(local: Local, surface: str, asked: str | None) -> PlatformAccount:
    """Give the account that is asked for, else the one that the connection was made with, else the only one.

    Raises:
        ConflictError: the connection was made with another account than the one that is asked for.
        NotFoundError, SettingsError, KeyringError: as `open_account`.
    """
    journal = local.standing().journal
    names = {account.id: account.name for account in list_accounts(local.engine, surface)}
    before = None if journal is None or journal.account_id is None else names.get(journal.account_id)
    is_there = journal is not None and journal.state not in {"prepared", "removed"}
    if asked is not None and before is not None and is_there and asked != before:
        raise ConflictError(
            f"{local.name} was connected with the account {before}, and not with {asked}: disconnect it first."
        )
    return open_account(local.engine, local.keyring, surface, asked or before)


def open_network(http: HttpClient, account: PlatformAccount) -> Network:
    """Give the network of an account of `kpn-lora` or `thingpark`; nothing is asked of it yet."""
    if account.surface == KpnLoraNetwork.surface:
        return KpnLoraNetwork(open_kpn_lora(http, account), account.settings["api_version"])
    return ThingParkNetwork(open_thingpark(http, account))
