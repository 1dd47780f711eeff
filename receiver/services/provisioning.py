"""`connect`: makes a connection here and at its network in one go, and finishes what an interruption left of that.

A plan is made first, by requests that change nothing; a dry run ends there. What is stored here, the tunnel key and
the RSA pair above all, is stored before the network hears of it. What stands at the network already is told by its
reference, or else by its name and where it pushes to; it is not changed unless that is asked for.
Sources: KPN LoRa Device Management API, order of provisioning; ThingPark Device Manager contract 7.3, `AppServer`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from receiver.errors import ConflictError, NoAnswerError, SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.platforms.members import Members
from receiver.services import provisioning_steps as steps
from receiver.services.connections import DEFAULT_MAX_DEVIATION_S, check_max_deviation, check_name
from receiver.services.provisioning_local import refuse_other_platform
from receiver.services.provisioning_network import (
    PUBLIC_KEY_OF_THEN,
    Difference,
    Wish,
    differences,
    push_url_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.services.platform_accounts import PlatformAccount
    from receiver.services.provisioning_local import Local, Standing
    from receiver.services.provisioning_network import Network, Remote


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What `connect` was told. None: as it was told the first time, or as usual."""

    public_url: str | None
    content_type: str | None = None
    max_deviation_s: int | None = None
    hsm_group: str | None = None
    default: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    update: bool = False
    usual_public_url: str | None = None
    """For a connection that was never told one."""


class Step(StrEnum):
    """What is to be done, in one word; below, when."""

    CREATE = "create"
    """There is nothing at the network."""
    RECREATE = "recreate"
    """It is there, its AS transport key is not known and shown only once, and no device uses it."""
    ADOPT = "adopt"
    """It is there, made by hand, and what it pushed was taken here: nothing is changed on either side."""
    GIVE_KEY = "give-key"
    """It is there, and whether it has our tunnel key is not known."""
    RENEW = "renew"
    """Another AS transport key was asked for, and its answer is not known."""
    FINISH = "finish"
    """It is there and its answer is stored here: what comes after that is missing."""
    UPDATE = "update"
    """It is not as it is to be, and is to be changed."""
    NOTHING = "nothing"
    """It is there and as far as it should be."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `connect` would do, found out by requests that change nothing."""

    step: Step
    wish: Wish
    remote: Remote | None
    differences: tuple[Difference, ...]
    update: bool = False
    """Whether what differs is to be changed."""


@dataclass(frozen=True, slots=True)
class Connected:
    """What `connect` came to. `done` and `left` are sentences."""

    step: Step
    wish: Wish
    remote: Remote
    standing: Standing
    differences: tuple[Difference, ...]
    done: tuple[str, ...]


async def plan_connect(network: Network, local: Local, options: ConnectOptions) -> Plan:
    """Find out what is to be done. Nothing is changed, neither here nor there.

    Raises:
        IdentifierError, SettingsError: the name or an option is not of its form.
        ConflictError: the connection is of another platform; the name is taken at the network; or something is there
            that only a person can decide on.
        NotFoundError: there is no HSM group, or not the one that is wanted.
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the network's client.
    """
    check_name(local.name)
    standing = local.standing()
    refuse_other_platform(standing, network.surface)
    wish = make_wish(network, standing, local.name, options)
    remote = await find_own(network, standing, wish)
    step = await _choose(network, standing, wish, remote, update=options.update)
    needs_group = step in {Step.CREATE, Step.RECREATE} or options.hsm_group is not None
    if needs_group or (step is Step.RENEW and wish.hsm_group is None):
        wish = replace(wish, hsm_group=await network.choose_hsm_group(wish.hsm_group))
    found: tuple[Difference, ...] = ()
    if remote is not None and step is not Step.RECREATE:
        found = (*differences(remote, wish), *_differences_here(standing, wish))
    update = options.update and bool(found or options.headers)
    if step is Step.NOTHING and update:
        step = Step.UPDATE
    return Plan(step, wish, remote, found, update)


async def connect(
    network: Network,
    local: Local,
    account: PlatformAccount,
    options: ConnectOptions,
    tell: Callable[[str], None] = lambda _: None,
) -> Connected:
    """Connect, or go on with it; `tell` is given each sentence as soon as what it says is done.

    Raises:
        ConflictError: another process is at it.
        as `plan_connect`, `make` and `renew_as_transport_key` of `provisioning_steps`.
    """
    ledger = steps.Account(tell)
    with local.alone():
        plan = await plan_connect(network, local, options)
        try:
            remote = await _carry_out(network, local, account, plan, ledger)
        except NoAnswerError as exc:
            command = f"receiver {network.surface} connect {local.name} --public-url {public_url_in(plan.wish)}"
            raise steps.resumable(exc, command) from exc
    left = () if plan.update else plan.differences
    return Connected(plan.step, plan.wish, remote, local.standing(), left, tuple(ledger.done))


def show_plan(network: Network, plan: Plan) -> tuple[str, ...]:
    """Give the requests that a plan would send to change something, for people: secrets are withheld."""
    wish, remote = plan.wish, plan.remote
    public_key = PUBLIC_KEY_OF_THEN if wish.hsm_group is not None else None
    if remote is None:
        return (network.show_create(wish, public_key), *_show_default(network, wish, "REF"))
    default = _show_default(network, wish, remote.ref) if not remote.is_default else ()
    update = (network.show_update(remote, wish),) if plan.update else ()
    match plan.step:
        case Step.RECREATE:
            created = network.show_create(wish, public_key)
            return (network.show_delete(remote.ref), created, *_show_default(network, wish, "REF"))
        case Step.GIVE_KEY:
            return (network.show_tunnel_key(remote, wish), *default, *update)
        case Step.RENEW:
            return (network.show_renewal(remote, wish, PUBLIC_KEY_OF_THEN), *default, *update)
        case Step.FINISH:
            return (*default, *update)
    return update


def make_wish(network: Network, standing: Standing, name: str, options: ConnectOptions) -> Wish:
    """Give what is to stand at the network: as told now, else as told the first time, else as usual.

    Raises:
        SettingsError: an option is not of its form, or needed.
    """
    before = Members({} if standing.journal is None else standing.journal.wanted)
    there = standing.connection
    usual_s = DEFAULT_MAX_DEVIATION_S if there is None else there.max_deviation_s
    max_deviation_s = usual_s if options.max_deviation_s is None else options.max_deviation_s
    check_max_deviation(max_deviation_s)
    public_url = options.public_url or before.text("public_url") or options.usual_public_url
    if public_url is None:
        raise SettingsError("Say where the network reaches this receiver: --public-url https://lora.example.com.")
    return Wish(
        name=name,
        push_url=push_url_of(public_url, name),
        as_id=name if there is None else there.as_id,
        content_type=_content_type(network, options.content_type or before.text("content_type")),
        max_deviation_s=max_deviation_s,
        hsm_group=options.hsm_group or before.text("hsm_group"),
        default=options.default or bool(before.flag("default")),
        headers=options.headers,
    )


async def find_own(network: Network, standing: Standing, wish: Wish) -> Remote | None:
    """Give what stands at the network of this connection: by its reference, else by its name and where it pushes to.

    Raises:
        ConflictError: what has the name pushes elsewhere, or several have it.
    """
    journal = standing.journal
    if journal is not None and journal.remote_ref is not None:
        remote = await network.get(journal.remote_ref)
        if remote is not None:
            return remote
    addresses = {wish.push_url}
    if journal is not None and isinstance(url := journal.wanted.get("public_url"), str):
        addresses.add(push_url_of(url, wish.name))
    found = await network.find(wish.name)
    own = [remote for remote in found if addresses & set(remote.addresses)]
    if len(own) > 1:
        raise ConflictError(
            f"{network.title} has {len(own)} {network.noun}s named {wish.name} that push here"
            f" ({', '.join(remote.id or remote.ref for remote in own[:10])}): delete all but one of them there."
        )
    if found and not own:
        elsewhere = ", ".join(found[0].addresses[:3]) or "an address that this account is not shown"
        raise ConflictError(
            f"{network.title} has a {network.noun} named {wish.name} already ({found[0].id or found[0].ref}), which"
            f" pushes to {elsewhere} and not to {wish.push_url}: choose another name, or change that one there."
        )
    return own[0] if own else None


async def _choose(network: Network, standing: Standing, wish: Wish, remote: Remote | None, *, update: bool) -> Step:
    if remote is None:
        return Step.CREATE
    match standing.state:
        case "connected":
            return Step.NOTHING
        case "made":
            return Step.FINISH
        case "renewing":
            return Step.RENEW if standing.awaits_answer else Step.FINISH
        case "asked":
            return await _choose_after_a_lost_answer(network, standing, wish, remote)
    return await _choose_of_a_stranger(network, standing, wish, remote, update=update)


async def _choose_after_a_lost_answer(network: Network, standing: Standing, wish: Wish, remote: Remote) -> Step:
    if not standing.awaits_answer:
        return Step.GIVE_KEY
    users = await network.count_users(remote)
    if users.count:
        raise steps.keyless_in_use(network, wish.name, remote, users)
    return Step.RECREATE


async def _choose_of_a_stranger(
    network: Network, standing: Standing, wish: Wish, remote: Remote, *, update: bool
) -> Step:
    """Choose for what has our name and pushes here, and was not made by this receiver as far as it knows."""
    if standing.journal is None and standing.newest_key_is_proven and remote.as_id in {None, wish.as_id}:
        return Step.ADOPT
    if not update:
        raise ConflictError(
            f"{network.title} has a {network.noun} named {wish.name} ({remote.id or remote.ref}) that pushes here, but"
            " which tunnel key it has cannot be read back: with --update it is given ours; or remove it there."
        )
    keyless = remote.hsm_group is not None and standing.active_check_value is None
    if keyless and not (await network.count_users(remote)).count:
        return Step.RECREATE
    return Step.GIVE_KEY


async def _carry_out(
    network: Network, local: Local, account: PlatformAccount, plan: Plan, ledger: steps.Account
) -> Remote:
    wish, remote = plan.wish, plan.remote
    _refuse_lost_headers(local, plan)
    is_new = local.standing().connection is None
    wanted = _wanted(wish)
    standing = local.prepare(
        wish,
        surface=network.surface,
        account_id=account.id,
        downlink_url=account.settings["downlink_url"] or None,
        wanted=wanted,
    )
    key_id = standing.newest_key_id or ""
    if is_new:
        ledger.say(f"Connection {local.name} is stored here, with AS_ID {wish.as_id} and a new tunnel key, {key_id}.")
    if remote is None or plan.step is Step.RECREATE:
        if remote is not None:
            await steps.unmake_keyless(network, local, remote, ledger)
        local.note(wanted=wanted)
        return await steps.make(network, local, wish, key_id, ledger)
    match plan.step:
        case Step.ADOPT:
            local.note(state="connected", key_id=key_id, remote_id=remote.id, remote_ref=remote.ref)
            ledger.say(f"{remote.id or remote.ref} was made by hand: it is known here now, and nothing of it changed.")
        case Step.GIVE_KEY:
            await steps.give_tunnel_key(network, local, wish, remote, key_id, ledger)
            await steps.finish(network, local, wish, remote, ledger)
        case Step.RENEW:
            await steps.renew_as_transport_key(network, local, wish, remote, ledger)
        case Step.FINISH:
            await steps.finish(network, local, wish, remote, ledger)
    if plan.update:
        given = local.standing().journal
        given_id = None if given is None else given.key_id
        await network.update(remote, wish, local.open_key(given_id if given_id in standing.live_key_ids else key_id))
        local.set_max_deviation(wish.max_deviation_s)
        local.note(wanted=wanted)
        ledger.say(f"Changed: {', '.join(one.what for one in plan.differences) or 'headers'}.")
    return remote


def _differences_here(standing: Standing, wish: Wish) -> tuple[Difference, ...]:
    there = standing.connection
    if there is None or there.max_deviation_s == wish.max_deviation_s:
        return ()
    return (Difference("max deviation", f"{there.max_deviation_s} s", f"{wish.max_deviation_s} s", "here"),)


def _refuse_lost_headers(local: Local, plan: Plan) -> None:
    journal = local.standing().journal
    names = [] if journal is None else journal.wanted.get("header_names")
    if plan.remote is None and isinstance(names, list) and names and not plan.wish.headers:
        raise SettingsError(
            f"{local.name} was to be made with the headers {', '.join(map(str, names))}, whose values are not kept:"
            " give them again with --header."
        )


def _wanted(wish: Wish) -> dict[str, object]:
    return {
        "public_url": public_url_in(wish),
        "content_type": wish.content_type,
        "hsm_group": wish.hsm_group,
        "default": wish.default,
        "header_names": [name for name, _ in wish.headers],
    }


def public_url_in(wish: Wish) -> str:
    """Give the public URL that the push URL was made of."""
    return wish.push_url.removesuffix(f"/push/{wish.name}")


def _content_type(network: Network, given: str | None) -> str:
    if given is None:
        return network.content_types[0]
    for known in network.content_types:
        if known.lower() == given.lower():
            return known
    raise SettingsError(f"{shorten(given)!r} is no content type: choose {' or '.join(network.content_types)}.")


def _show_default(network: Network, wish: Wish, ref: str) -> tuple[str, ...]:
    return (network.show_default(ref),) if wish.default else ()
