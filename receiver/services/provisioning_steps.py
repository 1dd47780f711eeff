"""The steps of provisioning that change something at a network, each stored here before and after it.

Each may be interrupted anywhere: what the journal says then is enough for the next run to go on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.errors import AsTransportKeyError, ConflictError, NoAnswerError, PlatformRefusedError
from receiver.services.provisioning_local import fingerprint_of
from receiver.services.tunnel_keys import list_tunnel_keys, retire_tunnel_key
from receiver.thingpark.rsa_key import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.services.provisioning_local import Local
    from receiver.services.provisioning_network import Made, Network, Remote, Users, Wish

MOST_ROUNDS = 3
"""How often one run makes a routing profile anew because the answer with its key was lost."""

_ENTROPY = re.compile(r"entropy|too simple|weak", re.IGNORECASE)
_ADDRESS = re.compile(r"certificate|https|\burl\b|address|destination", re.IGNORECASE)


@dataclass(slots=True)
class Account:
    """What a run did, in sentences, each told as soon as it is done."""

    tell: Callable[[str], None]
    done: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        """Note a sentence and tell it."""
        self.done.append(sentence)
        self.tell(sentence)


async def make(network: Network, local: Local, wish: Wish, key_id: str, account: Account) -> Remote:
    """Make the remote and import its AS transport key; what is there of an earlier try must be gone.

    Raises:
        PlatformRefusedError, LoginRefusedError: the network does not make it; all that was made here stays.
        NoAnswerError: it is away; likewise.
        ConflictError: it was made, its answer with the key was lost, and devices use it already.
    """
    has_other_key = False
    for number in range(1, MOST_ROUNDS + 1):
        pem = local.awaiting_pair() if wish.hsm_group is not None else None
        keys = local.note_asking(key_id, pem)
        try:
            made = await network.create(wish, keys)
        except PlatformRefusedError as exc:
            if is_of_entropy(exc) and not has_other_key:
                has_other_key, key_id = True, replace_refused_key(local, key_id, account)
                continue
            raise advised(exc, wish) from exc
        if pem is not None and made.wrapped_key is None and number < MOST_ROUNDS:
            account.say(f"{network.title} made the {network.noun} {made.remote.id}; its answer with the key was lost.")
            await unmake_keyless(network, local, made.remote, account)
            continue
        take_answer(local, made)
        account.say(f"{network.title} made the {network.noun} {made.remote.id or made.remote.ref}.")
        await finish(network, local, wish, made.remote, account)
        return made.remote
    raise AssertionError  # the last round returns or raises


async def unmake_keyless(network: Network, local: Local, remote: Remote, account: Account) -> None:
    """Delete a remote whose AS transport key nobody has, if no device uses it.

    Raises:
        ConflictError: devices use it; the sentence says what to do.
    """
    local.note(remote_id=remote.id, remote_ref=remote.ref)
    users = await network.count_users(remote)
    if users.count:
        raise keyless_in_use(network, local.name, remote, users)
    await network.delete(remote.ref)
    account.say(f"It was deleted again, since no device uses it and its key is shown only once: {remote.id}.")


def take_answer(local: Local, made: Made) -> None:
    """Store what the network answered, the wrapped key first of all: it is told once."""
    local.note(state="made", remote_id=made.remote.id, remote_ref=made.remote.ref, wrapped_key=made.wrapped_key)


async def finish(network: Network, local: Local, wish: Wish, remote: Remote, account: Account) -> None:
    """Do what is left once the network's answer is stored: import the key, make it the default if that is wished.

    Raises:
        AsTransportKeyError: the key in the answer does not unwrap.
    """
    try:
        imported = local.import_answer()
    except AsTransportKeyError as exc:
        raise AsTransportKeyError(
            f"{exc} The {network.noun} is made, and its answer is kept here; `receiver {network.surface} rotate-key"
            f" {local.name} --as-transport-key` has another key made."
        ) from exc
    if imported is not None:
        account.say(f"The AS transport key is unwrapped and stored; its check value is {imported.key_check_value}.")
    if wish.default and not remote.is_default:
        await network.make_default(remote)
        account.say(f"It is the default {network.noun} now: new devices get it if they name none.")
    local.note(state="connected")


async def give_tunnel_key(
    network: Network, local: Local, wish: Wish, remote: Remote, key_id: str, account: Account
) -> str:
    """Let the network sign with this key, and give its id; a key that is refused as too simple is replaced, once.

    Raises:
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as `Network.give_tunnel_key`.
    """
    local.note(remote_id=remote.id, remote_ref=remote.ref)
    try:
        await network.give_tunnel_key(remote, wish, local.open_key(key_id))
    except PlatformRefusedError as exc:
        if not is_of_entropy(exc):
            raise advised(exc, wish) from exc
        key_id = replace_refused_key(local, key_id, account)
        await network.give_tunnel_key(remote, wish, local.open_key(key_id))
    local.note(key_id=key_id)
    account.say(f"{network.title} signs with tunnel key {key_id} from now on.")
    return key_id


async def renew_as_transport_key(network: Network, local: Local, wish: Wish, remote: Remote, account: Account) -> None:
    """Have another AS transport key made and import it; done again after an interruption, it makes yet another one.

    Raises:
        PlatformRefusedError: the network does not do it, or gave no key.
        LoginRefusedError, NoAnswerError: as `Network.renew_as_transport_key`.
    """
    standing = local.standing()
    is_going_on = standing.state == "renewing" and standing.awaits_answer
    pem = local.awaiting_pair(anew=not is_going_on)
    local.note(
        state="renewing",
        remote_id=remote.id,
        remote_ref=remote.ref,
        public_key_fingerprint=fingerprint_of(pem),
        wrapped_key=None,
    )
    try:
        wrapped = await network.renew_as_transport_key(remote, wish, one_line(pem))
        if wrapped is None:
            raise PlatformRefusedError(  # noqa: TRY301 - handled as the network's own
                f"{network.title} took the new public key and gave no AS transport key with it, so the one before stays"
                f" in use: look at the {network.noun} there.",
                status=200,
            )
    except PlatformRefusedError:
        if not is_going_on and standing.journal is not None:
            fingerprint = standing.journal.public_key_fingerprint
            local.note(state=standing.journal.state, public_key_fingerprint=fingerprint)
        raise
    local.note(state="made", wrapped_key=wrapped)
    account.say(f"{network.title} made another AS transport key.")
    await finish(network, local, wish, remote, account)


def replace_refused_key(local: Local, key_id: str, account: Account) -> str:
    """Add another tunnel key for one that the network takes for too simple; that one goes, if nothing was signed by it.

    The network's rule is not published, so a random key may fail it.
    """
    other = local.add_key()
    keys = list_tunnel_keys(local.engine, local.keyring, local.clock(), local.name)
    if any(key.key_id == key_id and key.hits == 0 for key in keys):
        retire_tunnel_key(local.engine, local.clock(), local.name, key_id)
    account.say(f"The network takes tunnel key {key_id} for too simple: {other} was made in its place.")
    return other


def is_of_entropy(refusal: PlatformRefusedError) -> bool:
    """Say whether a key was refused as easy to guess; the words for it are not published."""
    return _ENTROPY.search(refusal.said) is not None


def advised(refusal: PlatformRefusedError, wish: Wish) -> PlatformRefusedError:
    """Give the refusal with what to do about the push URL, where it speaks of that."""
    if _ENTROPY.search(refusal.said) or not _ADDRESS.search(refusal.said) or wish.push_url in str(refusal):
        return refusal
    return PlatformRefusedError(
        f"{refusal} It is to push to {wish.push_url}: that must be https, at a public name, with a certificate that is"
        " publicly trusted and sent with its whole chain.",
        status=refusal.status,
        oss_code=refusal.oss_code,
        error_id=refusal.error_id,
        said=refusal.said,
    )


def resumable(exc: NoAnswerError, command: str) -> NoAnswerError:
    """Give the error of a network that is away with what is stored and how to go on."""
    return NoAnswerError(
        f"{exc} What was made so far is stored here, and nothing is lost: run `{command}` again, and it goes on from"
        " there.",
        was_sent=exc.was_sent,
    )


def keyless_in_use(network: Network, name: str, remote: Remote, users: Users) -> ConflictError:
    """Give the error for a remote that devices use and whose AS transport key nobody has."""
    return ConflictError(
        f"The {network.noun} {remote.id or remote.ref} is at the network, but the AS transport key in the answer that"
        f" made it was lost and is shown only once, and {devices_use(users)} it: `receiver {network.surface} rotate-key"
        f" {name} --as-transport-key` has another one made, after which each device must join again."
    )


def devices_use(users: Users) -> str:
    """Give `1 device uses`, `2 devices use`."""
    return "1 device uses" if users.count == 1 else f"{users.count} devices use"
