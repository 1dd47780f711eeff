"""KPN LoRa as provisioning sees it: a connection is a routing profile, whose HSM makes the AS transport key.

Source: KPN LoRa Device Management API 1.2, RoutingProfile and Route.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import ConflictError, NotFoundError, PlatformRefusedError, SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.platforms.kpn_lora_calls import (
    RouteWish,
    RoutingProfileChanges,
    RoutingProfileWish,
    build_create_routing_profile_call,
    build_delete_routing_profile_call,
    build_update_routing_profile_call,
)
from receiver.platforms.kpn_lora_records import RoutingProfile
from receiver.services.provisioning_network import Made, Remote, Users

if TYPE_CHECKING:
    from receiver.platforms.calls import PlatformCall
    from receiver.platforms.kpn_lora import KpnLoraClient
    from receiver.platforms.kpn_lora_records import KpnDevice
    from receiver.services.provisioning_network import GivenKeys, Wish

WITHOUT_HSM = "v1.1"
"""How the versions of the interface begin that are for customers without HSM: `api-version: v1.1.1`."""

SHOWN_USERS = 5
DEFAULT_RP = "DEFAULTRP"
"""The processing strategy of devices that follow the default routing profile, whichever that is."""

_NOT_SHOWN_KEY = "0" * 32  # in a request that is only shown, where every tunnel key is withheld


class KpnLoraNetwork:
    """The `Network` of an account at KPN LoRa. `api_version` is the account's."""

    surface = "kpn-lora"
    title = "KPN LoRa"
    noun = "routing profile"
    content_types: tuple[str, ...] = ("JSON", "XML")

    def __init__(self, client: KpnLoraClient, api_version: str = "") -> None:
        self._client = client
        self._api_version = api_version

    def __repr__(self) -> str:
        return f"KpnLoraNetwork({self._client!r})"

    async def choose_hsm_group(self, wanted: str | None) -> str | None:
        """As `Network.choose_hsm_group`; None only at an interface for customers without HSM."""
        if wanted is None and self._api_version.startswith(WITHOUT_HSM):
            return None
        groups = [group.id for group in await self._client.list_hsm_groups() if group.id]
        known = ", ".join(groups[:10])
        if wanted is not None and wanted not in groups:
            raise NotFoundError(f"KPN LoRa has no HSM group {shorten(wanted)!r} for you; there are: {known or 'none'}.")
        if not groups:
            raise NotFoundError(
                "KPN LoRa has no HSM group for this account, and without one no AS transport key can be made: ask KPN"
                " for it, or give the account the setting api_version v1.1.1 if your devices do without HSM."
            )
        if wanted is None and len(groups) > 1:
            raise SettingsError(f"KPN LoRa has several HSM groups: say which with --hsm-group ({known}).")
        return wanted or groups[0]

    async def get(self, ref: str) -> Remote | None:
        """As `Network.get`."""
        try:
            return _remote(await self._client.get_routing_profile(ref), ref)
        except PlatformRefusedError as exc:
            if exc.status == 404:
                return None
            raise

    async def find(self, name: str) -> list[Remote]:
        """As `Network.find`."""
        return [_remote(one) for one in await self._client.list_routing_profiles() if one.name == name]

    async def create(self, wish: Wish, keys: GivenKeys) -> Made:
        """As `Network.create`. Without its answer there is no wrapped key: that is shown once."""
        made = await self._client.create_routing_profile(_profile(wish, keys.tunnel_key, keys.public_key))
        if made.ref is None:
            raise PlatformRefusedError(
                f"KPN LoRa answered without a routing profile, so it is not known whether {wish.name} was made: run"
                " it again.",
                status=200,
            )
        return Made(_remote(made), made.rsa_encrypted_as_key)

    async def update(self, remote: Remote, wish: Wish, tunnel_key: str) -> None:
        """As `Network.update`. Routes are replaced as a whole, so the tunnel key goes with them."""
        await self._client.update_routing_profile(remote.ref, _changes(remote, wish, tunnel_key))

    async def give_tunnel_key(self, remote: Remote, wish: Wish, tunnel_key: str) -> None:
        """As `Network.give_tunnel_key`; the rest of its routes stays as it is."""
        await self._client.update_routing_profile(remote.ref, _signed(remote, wish, tunnel_key))

    async def renew_as_transport_key(self, remote: Remote, wish: Wish, public_key: str) -> str | None:
        """As `Network.renew_as_transport_key`."""
        changed = await self._client.update_routing_profile(remote.ref, _renewal(wish, public_key))
        return changed.rsa_encrypted_as_key

    async def make_default(self, remote: Remote) -> None:
        """As `Network.make_default`."""
        await self._client.update_routing_profile(remote.ref, RoutingProfileChanges(is_default=True))

    async def count_users(self, remote: Remote) -> Users:
        """As `Network.count_users`; devices that follow the default routing profile use that."""
        count = 0
        some: list[str] = []
        async for device in self._client.list_devices(is_extended=True):
            if _uses(device, remote):
                count += 1
                if len(some) < SHOWN_USERS:
                    some.append(device.dev_eui or device.ref or "?")
        return Users(count, tuple(some))

    async def delete(self, ref: str) -> None:
        """As `Network.delete`."""
        await self._client.delete_routing_profile(ref)

    def show_create(self, wish: Wish, public_key: str | None) -> str:
        """As `Network.show_create`."""
        return self._show(build_create_routing_profile_call(_profile(wish, _NOT_SHOWN_KEY, public_key)))

    def show_update(self, remote: Remote, wish: Wish) -> str:
        """As `Network.show_update`."""
        return self._show(build_update_routing_profile_call(remote.ref, _changes(remote, wish, _NOT_SHOWN_KEY)))

    def show_tunnel_key(self, remote: Remote, wish: Wish) -> str:
        """As `Network.show_tunnel_key`."""
        return self._show(build_update_routing_profile_call(remote.ref, _signed(remote, wish, _NOT_SHOWN_KEY)))

    def show_renewal(self, remote: Remote, wish: Wish, public_key: str) -> str:
        """As `Network.show_renewal`."""
        return self._show(build_update_routing_profile_call(remote.ref, _renewal(wish, public_key)))

    def show_default(self, ref: str) -> str:
        """As `Network.show_default`."""
        return self._show(build_update_routing_profile_call(ref, RoutingProfileChanges(is_default=True)))

    def show_delete(self, ref: str) -> str:
        """As `Network.show_delete`."""
        return self._show(build_delete_routing_profile_call(ref))

    def _show(self, call: PlatformCall) -> str:
        return call.shown(self._client.base_url)


def _profile(wish: Wish, tunnel_key: str, public_key: str | None) -> RoutingProfileWish:
    """Never the default from the start: a device must not come to it before its AS transport key is stored here."""
    return RoutingProfileWish(wish.name, (_route(wish, tunnel_key),), wish.hsm_group, public_key)


def _route(wish: Wish, tunnel_key: str) -> RouteWish:
    return RouteWish(
        (wish.push_url,),
        as_id=wish.as_id,
        as_key=tunnel_key,
        content_type=wish.content_type,
        max_deviation_s=wish.max_deviation_s,
    )


def _changes(remote: Remote, wish: Wish, tunnel_key: str) -> RoutingProfileChanges:
    if remote.hsm_group is not None and wish.hsm_group not in {None, remote.hsm_group}:
        raise ConflictError(
            f"{remote.id} is of the HSM group {remote.hsm_group}, which cannot be changed in a routing profile that is"
            f" there: `receiver kpn-lora disconnect {wish.name}` and connect it anew."
        )
    name = wish.name if remote.name != wish.name else None
    default = True if wish.default and not remote.is_default else None
    return RoutingProfileChanges(name, (_route(wish, tunnel_key),), is_default=default)


def _signed(remote: Remote, wish: Wish, tunnel_key: str) -> RoutingProfileChanges:
    """Give the routes that are there with another tunnel key."""
    profile = remote.record
    found = profile.routes if isinstance(profile, RoutingProfile) else ()
    routes = tuple(
        RouteWish(
            route.addresses,
            as_id=wish.as_id,
            as_key=tunnel_key,
            content_type=route.content_type or "XML",
            strategy=route.strategy or "SEQUENTIAL",
            source_ports=route.source_ports or "*",
            max_deviation_s=route.max_deviation_s,
        )
        for route in found
    )
    return RoutingProfileChanges(routes=routes or (_route(wish, tunnel_key),))


def _renewal(wish: Wish, public_key: str) -> RoutingProfileChanges:
    return RoutingProfileChanges(hsm_group_id=wish.hsm_group, rsa_public_key=public_key)


def _remote(profile: RoutingProfile, ref: str | None = None) -> Remote:
    routes = profile.routes
    first = routes[0] if routes else None
    return Remote(
        ref=profile.ref or ref or "",
        id=profile.id,
        name=profile.name or "",
        addresses=tuple(address for route in routes for address in route.addresses),
        as_id=None if first is None else first.as_id,
        content_type=None if first is None else (first.content_type or "XML").upper(),
        max_deviation_s=None if first is None else first.max_deviation_s,
        is_default=profile.is_default,
        hsm_group=profile.hsm_group_id,
        record=profile,
    )


def _uses(device: KpnDevice, remote: Remote) -> bool:
    if device.routing_profile_id is not None:
        return device.routing_profile_id in {remote.id, remote.ref}
    return device.processing_strategy_id == DEFAULT_RP and bool(remote.is_default)
