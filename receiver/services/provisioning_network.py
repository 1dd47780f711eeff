"""What provisioning asks of a network, whichever it is: one object that pushes go out of, by a small protocol.

KPN LoRa calls it a routing profile, ThingPark a Basic HTTPS connection; here both are a remote.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from receiver.errors import SettingsError
from receiver.lorawan.identifiers import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLIC_KEY_OF_THEN = "-----BEGIN PUBLIC KEY-----…-----END PUBLIC KEY-----"
"""Stands in a request that is only shown for an RSA key that is not made yet."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a connection is to be at the network."""

    name: str
    push_url: str
    as_id: str
    content_type: str
    max_deviation_s: int
    hsm_group: str | None = None
    """Of KPN LoRa: whose HSM makes the AS transport key; None: without one, payloads come in the clear."""
    default: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Of ThingPark: what each push carries besides; a value may be a secret."""


@dataclass(frozen=True, slots=True)
class GivenKeys:
    """What the network is given: the tunnel key as hex, and the public half of the RSA pair as PEM on one line."""

    tunnel_key: str = field(repr=False)
    public_key: str | None = None


@dataclass(frozen=True, slots=True)
class Remote:
    """What stands at the network, as far as it tells. `ref` addresses it, `id` is what devices name.

    Content types are in the case that this network writes them in. `record` is what the client gave.
    """

    ref: str
    id: str | None
    name: str
    addresses: tuple[str, ...]
    as_id: str | None = None
    content_type: str | None = None
    max_deviation_s: int | None = None
    is_default: bool | None = None
    hsm_group: str | None = None
    header_names: tuple[str, ...] | None = None
    is_active: bool | None = None
    record: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Made:
    """What `create` came to. `answer_was_lost`: it was found afterwards, without what only the answer tells."""

    remote: Remote
    wrapped_key: str | None = field(default=None, repr=False)
    answer_was_lost: bool = False


@dataclass(frozen=True, slots=True)
class Users:
    """The devices (and groups) that pushes of a remote are of; `some` names a few."""

    count: int
    some: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting that is not what it is to be."""

    what: str
    there: str
    wanted: str
    where: str = "at the network"

    def __str__(self) -> str:
        return f"{self.what}: {self.there} {self.where}, {self.wanted} is asked for"


class Network(Protocol):
    """One account's side of a network. Each method asks; each may raise what `PlatformCaller.call` raises."""

    surface: str
    """`kpn-lora` or `thingpark`: how its commands, its accounts and the platform of its connections are named."""
    title: str
    """The network's name for people."""
    noun: str
    """What it calls a remote."""
    content_types: tuple[str, ...]
    """The content types of its pushes as it writes them, the usual one first."""

    async def choose_hsm_group(self, wanted: str | None) -> str | None:
        """Give the HSM group to take: the one that is wanted, or the only one; None where there are no such things.

        Raises:
            NotFoundError: there is none, or not the one that is wanted.
            SettingsError: there are several, and none is wanted.
        """
        ...

    async def get(self, ref: str) -> Remote | None:
        """Give the remote of that ref, or None if there is none any more."""
        ...

    async def find(self, name: str) -> Sequence[Remote]:
        """Give the remotes of exactly that name, with all that is told of them."""
        ...

    async def create(self, wish: Wish, keys: GivenKeys) -> Made:
        """Make it; once, even if the answer is lost."""
        ...

    async def update(self, remote: Remote, wish: Wish, tunnel_key: str) -> None:
        """Make the remote as it is to be, its tunnel key included."""
        ...

    async def give_tunnel_key(self, remote: Remote, wish: Wish, tunnel_key: str) -> None:
        """Let it sign with another tunnel key from now on."""
        ...

    async def renew_as_transport_key(self, remote: Remote, wish: Wish, public_key: str) -> str | None:
        """Let it make another AS transport key and give that, wrapped; None: it gave none."""
        ...

    async def make_default(self, remote: Remote) -> None:
        """Let new devices have it, if they name none."""
        ...

    async def count_users(self, remote: Remote) -> Users:
        """Give what would be cut off without it."""
        ...

    async def delete(self, ref: str) -> None:
        """Delete it; nothing happens if it is gone already."""
        ...

    def show_create(self, wish: Wish, public_key: str | None) -> str:
        """Give the request of `create` for people, with every secret withheld."""
        ...

    def show_update(self, remote: Remote, wish: Wish) -> str:
        """Give the request of `update` likewise."""
        ...

    def show_tunnel_key(self, remote: Remote, wish: Wish) -> str:
        """Give the request of `give_tunnel_key` likewise."""
        ...

    def show_renewal(self, remote: Remote, wish: Wish, public_key: str) -> str:
        """Give the request of `renew_as_transport_key` likewise."""
        ...

    def show_default(self, ref: str) -> str:
        """Give the request of `make_default` likewise."""
        ...

    def show_delete(self, ref: str) -> str:
        """Give the request of `delete` likewise."""
        ...


def push_url_of(public_url: str, name: str) -> str:
    """Give the URL that the network is to push a connection's reports to.

    Raises:
        SettingsError: `public_url` is none that a network can push to.
    """
    try:
        parts = urlsplit(public_url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in public_url) or not public_url.isascii():
        raise SettingsError(
            f"{shorten(public_url, 80)!r} is not a public URL: it must be like https://lora.example.com, as the"
            " network reaches this receiver."
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError("A public URL must have no user name, query or fragment: the network adds its own query.")
    if parts.scheme == "http":
        raise SettingsError(
            "A public URL must begin with https://: networks push to no other, and want a certificate that is publicly"
            " trusted."
        )
    return f"{public_url.rstrip('/')}/push/{name}"


def differences(remote: Remote, wish: Wish) -> list[Difference]:
    """Give what is not as it is to be, of what the network tells; nothing is told of keys."""
    pairs: list[tuple[str, object, object]] = [
        ("name", remote.name, wish.name),
        ("address", ", ".join(remote.addresses) or None, wish.push_url),
        ("AS_ID", remote.as_id, wish.as_id),
        ("content type", remote.content_type, wish.content_type),
        ("max deviation", _seconds(remote.max_deviation_s), _seconds(wish.max_deviation_s)),
    ]
    if wish.hsm_group is not None:
        pairs.append(("HSM group", remote.hsm_group, wish.hsm_group))
    found = [
        Difference(what, str(there), str(wanted))
        for what, there, wanted in pairs
        if there is not None and there != wanted
    ]
    if wish.default and remote.is_default is False:
        found.append(Difference("default", "no", "yes"))
    if remote.is_active is False:
        found.append(Difference("state", "deactivated", "active"))
    wanted_names = [name for name, _ in wish.headers]
    if wanted_names and remote.header_names is not None and _folded(remote.header_names) != _folded(wanted_names):
        found.append(Difference("headers", ", ".join(remote.header_names) or "none", ", ".join(wanted_names)))
    return found


def _seconds(value: int | None) -> str | None:
    return None if value is None else f"{value} s"


def _folded(names: Sequence[str]) -> set[str]:
    return {name.lower() for name in names}
