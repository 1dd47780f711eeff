"""`rotate-key`: another tunnel key, or another AS transport key, on both sides, in the order that loses no push.

The receiver takes both tunnel keys before the network signs with the new one, and the old one until that one is known
to be in use. What a rotation has come to is told by the keys: the newest live one is what the network is to be given,
and the journal says which one it was given. So a rotation that was interrupted is finished by the next.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from receiver.errors import NoAnswerError, NotFoundError, SettingsError
from receiver.services import provisioning_steps as steps
from receiver.services.provisioning import ConnectOptions, find_own, make_wish
from receiver.services.tunnel_keys import list_tunnel_keys, retire_tunnel_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from receiver.services.provisioning_local import Local, Standing
    from receiver.services.provisioning_network import Network, Remote, Users, Wish

TAKEN_AFTER_S = 2.0
"""Running receivers look once a second whether keys have changed; twice that, as the network signs with the new key at
once."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation came to. `kept` says of each older live key why it stays."""

    key_id: str
    retired: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]
    done: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RenewalPlan:
    """What another AS transport key would mean: which devices must join again."""

    wish: Wish
    remote: Remote
    users: Users


async def rotate_tunnel_key(
    network: Network,
    local: Local,
    *,
    only_retire: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Rotated:
    """Let the network sign with another tunnel key; an unfinished rotation is finished, and none begun beside it.

    With `only_retire` none is begun at all, and older keys that are safe to retire are retired.

    Raises:
        NotFoundError: it was never connected by command, or is not at the network any more.
        PlatformRefusedError, LoginRefusedError: the network does not take the key: pushes go on under the old one.
        NoAnswerError: it is away; likewise, and both keys are taken here.
    """
    ledger = steps.Account(tell)
    with local.alone():
        key_id = await _rotate(network, local, ledger, only_retire=only_retire, sleep=sleep)
        retired = _retire_safe(local, key_id, ledger) if only_retire else ()
    keys = list_tunnel_keys(local.engine, local.keyring, local.clock(), local.name)
    kept = tuple((key.key_id, key.judgement) for key in keys if key.retired_at is None and key.key_id != key_id)
    return Rotated(key_id, retired, kept, tuple(ledger.done))


async def _rotate(
    network: Network,
    local: Local,
    ledger: steps.Account,
    *,
    only_retire: bool,
    sleep: Callable[[float], Awaitable[None]],
) -> str:
    """Give the id of the key that the network signs with, after a rotation or without one."""
    standing, wish, remote = await find_connected(network, local)
    journal = standing.journal
    given = None if journal is None else journal.key_id
    newest = standing.newest_key_id
    is_unfinished = newest is not None and newest != given
    key_id = newest or ""
    if is_unfinished or not only_retire:
        if not is_unfinished:
            key_id = local.add_key()
            ledger.say(f"Tunnel key {key_id} was made; pushes are taken under it and under the one before.")
        await sleep(TAKEN_AFTER_S)
        try:
            key_id = await steps.give_tunnel_key(network, local, wish, remote, key_id, ledger)
        except NoAnswerError as exc:
            raise steps.resumable(exc, f"receiver {network.surface} rotate-key {local.name}") from exc
    return key_id


async def plan_tunnel_key(network: Network, local: Local) -> tuple[str, ...]:
    """Give the request of a rotation for people; nothing is changed."""
    _, wish, remote = await find_connected(network, local)
    return (network.show_tunnel_key(remote, wish),)


async def plan_renewal(network: Network, local: Local) -> RenewalPlan:
    """Find out what another AS transport key would mean; nothing is changed.

    Raises:
        SettingsError: this network makes none.
        as `rotate_tunnel_key`, and as `Network.choose_hsm_group`.
    """
    _, wish, remote = await find_connected(network, local)
    wish = replace(wish, hsm_group=wish.hsm_group or remote.hsm_group)
    if wish.hsm_group is None:
        wish = replace(wish, hsm_group=await network.choose_hsm_group(None))
    if wish.hsm_group is None:
        raise SettingsError(
            f"{network.title}'s interface hands out no AS transport keys for this account: where there is an HSM, its"
            f" portal makes them (`receiver as-key new {local.name} --replace`)."
        )
    return RenewalPlan(wish, remote, await network.count_users(remote))


async def renew_as_transport_key(
    network: Network, local: Local, plan: RenewalPlan, tell: Callable[[str], None] = lambda _: None
) -> tuple[str, ...]:
    """Have another AS transport key made, unwrap and store it; give what was done.

    Raises:
        AsTransportKeyError, PlatformRefusedError, LoginRefusedError, NoAnswerError: as
            `provisioning_steps.renew_as_transport_key`; what was begun is finished by the next run.
    """
    ledger = steps.Account(tell)
    with local.alone():
        try:
            await steps.renew_as_transport_key(network, local, plan.wish, plan.remote, ledger)
        except NoAnswerError as exc:
            command = f"receiver {network.surface} rotate-key {local.name} --as-transport-key"
            raise steps.resumable(exc, command) from exc
    return tuple(ledger.done)


async def find_connected(network: Network, local: Local) -> tuple[Standing, Wish, Remote]:
    """Give a connection that was connected by command, and what stands of it at the network.

    Raises:
        NotFoundError: it was never connected so, or nothing of it is at the network.
        ConflictError: as `find_own`.
    """
    standing = local.connected(network.surface)
    wish = make_wish(network, standing, local.name, ConnectOptions(None))
    remote = await find_own(network, standing, wish)
    if remote is None:
        raise NotFoundError(
            f"{network.title} has no {network.noun} of {local.name} any more: `receiver {network.surface} connect"
            f" {local.name}` makes it anew."
        )
    return standing, wish, remote


def _retire_safe(local: Local, newest: str, ledger: steps.Account) -> tuple[str, ...]:
    retired = []
    for key in list_tunnel_keys(local.engine, local.keyring, local.clock(), local.name):
        if key.key_id != newest and key.retired_at is None and key.safe_to_retire:
            retire_tunnel_key(local.engine, local.clock(), local.name, key.key_id)
            ledger.say(f"Tunnel key {key.key_id} is retired: {key.judgement}.")
            retired.append(key.key_id)
    return tuple(retired)
