"""ThingPark as provisioning sees it: a connection is a Basic HTTPS connection, an `appServer` of type HTTP.

Source: ThingPark Device Manager contract 7.3, AppServer; its tutorial.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from receiver.errors import NotFoundError, PlatformRefusedError, SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.platforms.calls import WITHHELD
from receiver.platforms.thingpark_app_servers import AppServerWish, write_destinations
from receiver.platforms.thingpark_refusals import is_absent
from receiver.services.provisioning_network import Made, Remote, Users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.platforms.calls import PlatformCall
    from receiver.platforms.thingpark import ThingParkClient
    from receiver.platforms.thingpark_records import AppServer
    from receiver.services.provisioning_network import GivenKeys, Wish

MOST_HEADERS = 5
"""Of a connection. Source: Device Manager contract 7.3, `customHttpHeaders`."""

RESERVED_HEADERS = frozenset({"accept", "host", "user-agent", "content-length", "content-type"})
"""Names that no custom header may have. Source: likewise."""

SHOWN_USERS = 5

_HTTP_TYPES = frozenset({None, "HTTP"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110 section 5.6.2, token
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
_NOT_SHOWN_KEY = "0" * 32  # in a request that is only shown, where every tunnel key is withheld


class ThingParkNetwork:
    """The `Network` of an account at ThingPark."""

    surface = "thingpark"
    title = "ThingPark"
    noun = "connection"
    content_types: tuple[str, ...] = ("jsontyped", "json", "xml")

    def __init__(self, client: ThingParkClient) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"ThingParkNetwork({self._client!r})"

    async def choose_hsm_group(self, wanted: str | None) -> str | None:
        """As `Network.choose_hsm_group`: there are none in this interface."""
        if wanted is not None:
            raise NotFoundError(
                "ThingPark's interface hands out no AS transport keys: its connections have no HSM group."
            )
        return None

    async def get(self, ref: str) -> Remote | None:
        """As `Network.get`."""
        try:
            return _remote(await self._client.get_app_server(ref), ref)
        except PlatformRefusedError as exc:
            if is_absent(exc):
                return None
            raise

    async def find(self, name: str) -> list[Remote]:
        """As `Network.find`. ThingPark finds by the beginning of a name, and lists do not tell all."""
        found = [one for one in await self._client.list_app_servers(name=name) if one.name == name]
        remotes = [await self.get(one.uid or one.id or "") for one in found]
        return [remote for remote in remotes if remote is not None]

    async def create(self, wish: Wish, keys: GivenKeys) -> Made:
        """As `Network.create`."""
        made = await self._client.create_app_server(_app_server(wish, keys.tunnel_key, wish.headers))
        if not (made.uid or made.id):
            raise PlatformRefusedError(
                f"ThingPark answered without a connection: whether {wish.name} was made is not known; run it again.",
                status=200,
            )
        return Made(_remote(made))

    async def update(self, remote: Remote, wish: Wish, tunnel_key: str) -> None:
        """As `Network.update`: only what differs is sent, as ThingPark refuses some members in some accounts."""
        changes = _changes(remote, wish, wish.headers)
        if changes:
            await self._client.update_app_server(remote.ref, changes)
        if _is_signed_otherwise(remote, wish):
            await self.give_tunnel_key(remote, wish, tunnel_key)

    async def give_tunnel_key(self, remote: Remote, wish: Wish, tunnel_key: str) -> None:
        """As `Network.give_tunnel_key`."""
        await self._client.set_app_server_security(
            remote.ref, tunnel_key, as_id=wish.as_id, max_timestamp_deviation_s=wish.max_deviation_s
        )

    async def renew_as_transport_key(self, remote: Remote, wish: Wish, public_key: str) -> str | None:  # noqa: ARG002 - of the protocol
        """As `Network.renew_as_transport_key`: this interface makes none."""
        return None

    async def make_default(self, remote: Remote) -> None:
        """As `Network.make_default`: there is no default connection."""
        raise SettingsError(f"ThingPark has no default connection: name {remote.id} in each device.")

    async def count_users(self, remote: Remote) -> Users:
        """As `Network.count_users`: devices and multicast groups that name it."""
        now = await self._client.get_app_server(remote.ref)
        counts = [now.device_count, now.multicast_group_count]
        if now.device_count == 0:
            return Users(now.multicast_group_count or 0)
        some: list[str] = []
        found = 0
        async for device in self._client.list_devices((("appServerID", remote.id or remote.ref),)):
            found += 1
            some += [device.eui] if device.eui and len(some) < SHOWN_USERS else []
            if counts[0] is not None and len(some) == min(SHOWN_USERS, counts[0]):
                break
        devices = found if counts[0] is None else counts[0]
        return Users(devices + (counts[1] or 0), tuple(some))

    async def delete(self, ref: str) -> None:
        """As `Network.delete`."""
        await self._client.delete_app_server(ref)

    def show_create(self, wish: Wish, public_key: str | None) -> str:  # noqa: ARG002 - of the protocol
        """As `Network.show_create`."""
        return self._show(self._client.build_create_app_server_call(_app_server(wish, _NOT_SHOWN_KEY, _hidden(wish))))

    def show_update(self, remote: Remote, wish: Wish) -> str:
        """As `Network.show_update`."""
        changes = _changes(remote, wish, _hidden(wish))
        shown = [self._show(self._client.build_update_app_server_call(remote.ref, changes))] if changes else []
        if _is_signed_otherwise(remote, wish):
            shown.append(self.show_tunnel_key(remote, wish))
        return "\n".join(shown)

    def show_tunnel_key(self, remote: Remote, wish: Wish) -> str:
        """As `Network.show_tunnel_key`."""
        call = self._client.build_set_app_server_security_call(
            remote.ref, _NOT_SHOWN_KEY, as_id=wish.as_id, max_timestamp_deviation_s=wish.max_deviation_s
        )
        return self._show(call)

    def show_renewal(self, remote: Remote, wish: Wish, public_key: str) -> str:  # noqa: ARG002 - of the protocol
        """As `Network.show_renewal`: there is none."""
        return ""

    def show_default(self, ref: str) -> str:  # noqa: ARG002 - of the protocol
        """As `Network.show_default`: there is none."""
        return ""

    def show_delete(self, ref: str) -> str:
        """As `Network.show_delete`."""
        return self._show(self._client.build_delete_app_server_call(ref))

    def _show(self, call: PlatformCall) -> str:
        return call.shown(self._client.caller.base_url)


def parse_headers(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Give the headers in texts like `Name: value`.

    Raises:
        SettingsError: one is not of that form, or ThingPark takes no such header; a value is never shown.
    """
    headers = []
    for text in given:
        name, colon, value = text.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _HEADER_NAME.match(name) or not _HEADER_VALUE.match(value):
            raise SettingsError(
                f"A header must be like 'X-Site: north', in printable ASCII; the one that begins with"
                f" {shorten(name)!r} is not."
            )
        if name.lower() in RESERVED_HEADERS:
            raise SettingsError(f"The header {name} is the network's own: choose another name.")
        headers.append((name, value))
    if len(headers) > MOST_HEADERS:
        raise SettingsError(f"ThingPark adds at most {MOST_HEADERS} headers; {len(headers)} are given.")
    if len({name.lower() for name, _ in headers}) < len(headers):
        raise SettingsError("Each header can be given once; case does not count.")
    return tuple(headers)


def _app_server(wish: Wish, tunnel_key: str, headers: tuple[tuple[str, str], ...]) -> AppServerWish:
    return AppServerWish(
        name=wish.name,
        url=wish.push_url,
        tunnel_key=tunnel_key,
        content_type=wish.content_type,
        as_id=wish.as_id,
        max_timestamp_deviation_s=wish.max_deviation_s,
        headers=headers,
    )


def _changes(remote: Remote, wish: Wish, headers: tuple[tuple[str, str], ...]) -> dict[str, object]:
    changes: dict[str, object] = {}
    if remote.name != wish.name:
        changes["name"] = wish.name
    if remote.content_type not in {None, wish.content_type}:
        changes["contentType"] = wish.content_type
    if remote.addresses and remote.addresses != (wish.push_url,):
        changes["destinations"] = write_destinations(wish.push_url)
    if headers:
        changes["customHttpHeaders"] = [{"name": name, "value": value} for name, value in headers]
    if remote.is_active is False:
        changes["state"] = "ACTIVE"
    return changes


def _is_signed_otherwise(remote: Remote, wish: Wish) -> bool:
    return remote.as_id != wish.as_id or remote.max_deviation_s != wish.max_deviation_s


def _hidden(wish: Wish) -> tuple[tuple[str, str], ...]:
    """Give the headers with their values withheld, which may be secrets."""
    return tuple((name, WITHHELD) for name, _ in wish.headers)


def _remote(server: AppServer, ref: str | None = None) -> Remote:
    return Remote(
        ref=server.uid or ref or server.id or "",
        id=server.id,
        name=server.name or "",
        addresses=tuple(address for one in server.destinations for address in one.addresses),
        as_id=server.as_id,
        content_type=None if server.content_type is None else server.content_type.lower(),
        max_deviation_s=server.max_timestamp_deviation_s,
        header_names=server.header_names,
        is_active=None if server.state is None else server.state != "DEACTIVATED",
        record=server,
    )
