"""`disconnect`: takes a connection away at its network; here its history stays, and its keys unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import ConflictError, NoAnswerError
from receiver.services import provisioning_steps as steps
from receiver.services.connections import remove_connection
from receiver.services.provisioning import ConnectOptions, find_own, make_wish
from receiver.services.provisioning_network import Users

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.services.connections import RemovedConnection
    from receiver.services.provisioning_local import Local
    from receiver.services.provisioning_network import Network, Remote

_NOBODY = Users(0)


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What stands at the network, and who would be cut off. `remote` is None where nothing of it is there any more."""

    remote: Remote | None
    users: Users


@dataclass(frozen=True, slots=True)
class Disconnected:
    """What was taken away; `local` only where that was asked for."""

    remote: Remote | None
    local: RemovedConnection | None
    done: tuple[str, ...]


async def plan_removal(network: Network, local: Local) -> RemovalPlan:
    """Find out what would be taken away. Nothing is changed.

    Raises:
        NotFoundError: there is no such connection, or it was never connected by command.
        ConflictError: what has its name at the network is not its own.
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the network's client.
    """
    standing = local.connected(network.surface)
    wish = make_wish(network, standing, local.name, ConnectOptions(None))
    if standing.state == "removed":
        return RemovalPlan(None, _NOBODY)
    remote = await find_own(network, standing, wish)
    return RemovalPlan(remote, _NOBODY if remote is None else await network.count_users(remote))


async def disconnect(
    network: Network,
    local: Local,
    plan: RemovalPlan,
    *,
    force: bool = False,
    remove_local: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Disconnected:
    """Delete it at the network, and then, if that is asked for, here. Reports, uplinks and devices stay in any case.

    Raises:
        ConflictError: devices use it, and `force` is not given; the network does not delete it for that; or another
            process is at this connection.
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the network's client; done again, it goes on.
    """
    ledger = steps.Account(tell)
    remote = plan.remote
    with local.alone():
        if remote is not None:
            if plan.users.count and not force:
                raise in_use(network, remote, plan.users)
            try:
                await network.delete(remote.ref)
            except NoAnswerError as exc:
                raise steps.resumable(exc, f"receiver {network.surface} disconnect {local.name}") from exc
            ledger.say(f"{network.title} deleted the {network.noun} {remote.id or remote.ref}.")
        else:
            ledger.say(f"{network.title} has no {network.noun} of {local.name} any more.")
        local.note(state="removed", remote_id=None, remote_ref=None, wrapped_key=None)
        removed = None
        if remove_local:
            removed = remove_connection(local.engine, local.name)
            ledger.say(f"Connection {local.name} is removed here with its keys; its reports, uplinks and devices stay.")
    return Disconnected(remote, removed, tuple(ledger.done))


def in_use(network: Network, remote: Remote, users: Users) -> ConflictError:
    """Give the error for a remote that would cut devices off."""
    some = f" ({', '.join(users.some)}{', …' if users.count > len(users.some) else ''})" if users.some else ""
    return ConflictError(
        f"{steps.devices_use(users)} the {network.noun} {remote.id or remote.ref}{some}: nothing of them would reach"
        " this receiver any more. Give them another one first, or give --force."
    )
