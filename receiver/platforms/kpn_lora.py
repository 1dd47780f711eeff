"""The client of KPN's LoRa Device Management API (KPN Store): the subscription, routing profiles and devices.

Alarms and statistics are in `KpnLoraReader`, which the client is too.
Source: KPN LoRa Device Management API 1.2, operations; its documentation page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import ConflictError, LoginRefusedError, PlatformRefusedError
from receiver.platforms import kpn_lora_calls as calls
from receiver.platforms.kpn_lora_reading import KpnLoraReader
from receiver.platforms.kpn_lora_records import KpnDevice, RoutingProfile
from receiver.platforms.kpn_lora_refusals import explain, refuse_full_plan
from receiver.platforms.members import Members

if TYPE_CHECKING:
    from receiver.lorawan.identifiers import DevEui
    from receiver.platforms.calls import PlatformAnswer, PlatformCall
    from receiver.platforms.kpn_lora_calls import (
        KpnDeviceChanges,
        KpnDeviceWish,
        RouteWish,
        RoutingProfileChanges,
        RoutingProfileWish,
    )

_GONE = 404


class KpnLoraClient(KpnLoraReader):
    """All calls of one project at KPN's LoRa Device Management API. For one event loop.

    Args:
        caller: what sends, for this account.
        api_version: sent as `api-version` where not empty: `v1.1.1` is the interface for customers without HSM.
        eui_separator: between the DevEUIs of `list_frame_statistics`; not documented.
        most_pages: of one list; a server that has more gives pages without end.

    All methods raise `PlatformRefusedError`, `LoginRefusedError` or `NoAnswerError`, each with what to do.
    """

    async def activate(self, username: str, password: str) -> str | None:
        """Tie this project to a ThingPark login, once; give the status that KPN answers with.

        A refused password is not tried a second time.
        """
        call = calls.build_activate_call(username, password)
        try:
            answer = await self._send(call, may_renew=False)
        except (LoginRefusedError, PlatformRefusedError) as exc:
            said = exc.said if isinstance(exc, PlatformRefusedError) else str(exc)
            raise LoginRefusedError(
                "KPN LoRa did not activate the project: check user name and password at the ThingPark portal before"
                f" another try, since a few wrong ones lock the login. {said}"
            ) from exc
        return answer.members.text("status")

    # --- routing profiles

    async def create_routing_profile(self, wish: RoutingProfileWish) -> RoutingProfile:
        """Create a routing profile and give it, with `rsa_encrypted_as_key` where an RSA key was wished.

        Where KPN's answer was lost and the profile was made, it is given as it can be read again: then without
        `rsa_encrypted_as_key`, which is shown once. `update_routing_profile` with the RSA key asks for a new one.
        """
        call = calls.build_create_routing_profile_call(wish)

        async def find() -> RoutingProfile | None:
            return next((one for one in await self.list_routing_profiles() if _is_as_wished(one, wish)), None)

        try:
            created = await self._caller.create(self.versioned(call), find)
        except PlatformRefusedError as exc:
            raise explain(exc, profile=wish.name, addresses=_addresses(wish.routes)) from exc
        if isinstance(created.found, RoutingProfile):
            return created.found
        made = RoutingProfile.read(_members(created.answer))
        return made if made.ref is not None else await find() or made

    async def update_routing_profile(self, ref: str, changes: RoutingProfileChanges) -> RoutingProfile:
        """Change a routing profile and give it, with `rsa_encrypted_as_key` where an RSA key was sent.

        Routes are replaced as a whole, their tunnel keys with them.
        """
        call = calls.build_update_routing_profile_call(ref, changes)
        try:
            answer = await self._send(call)
        except PlatformRefusedError as exc:
            name = changes.name or f"of {ref}"
            raise explain(exc, profile=name, addresses=_addresses(changes.routes or ())) from exc
        return RoutingProfile.read(answer.members)

    async def delete_routing_profile(self, ref: str) -> bool:
        """Delete a routing profile; False: it was not there any more."""
        return await self._delete(calls.build_delete_routing_profile_call(ref))

    # --- devices

    async def create_device(self, wish: KpnDeviceWish) -> KpnDevice:
        """Create a device and give it. See `KpnDeviceWish` for what must be said.

        Where KPN's answer was lost, it is looked up by its DevEUI and name before it is asked for again.
        """
        call = calls.build_create_device_call(wish)

        async def find() -> KpnDevice | None:
            found = await self.find_device(wish.dev_eui)
            if found is not None and (found.name or wish.name).strip() != wish.name.strip():
                raise PlatformRefusedError(
                    f"A device with DevEUI {wish.dev_eui} is there already, with the name {found.name}.", status=409
                )
            return found

        try:
            created = await self._caller.create(self.versioned(call), find)
        except PlatformRefusedError as exc:
            raise explain(exc, plan=wish.connectivity_plan_id, dev_eui=wish.dev_eui) from exc
        if isinstance(created.found, KpnDevice):
            return created.found
        made = KpnDevice.read(_members(created.answer))
        return made if made.ref is not None else await find() or made

    async def update_device(self, ref: str, changes: KpnDeviceChanges, dev_eui: DevEui | None = None) -> KpnDevice:
        """Change a device and give it. `dev_eui` is for the sentence of a refusal alone."""
        call = calls.build_update_device_call(ref, changes)
        try:
            answer = await self._send(call)
        except PlatformRefusedError as exc:
            raise explain(exc, plan=changes.connectivity_plan_id, dev_eui=dev_eui or f"of {ref}") from exc
        return KpnDevice.read(answer.members)

    async def delete_device(self, ref: str) -> bool:
        """Delete a device; False: it was not there any more."""
        return await self._delete(calls.build_delete_device_call(ref))

    async def require_free_connections(self, plan: str, wanted: int = 1) -> None:
        """Return if the connectivity plan (its id) has room for so many more devices, as far as it says.

        Raises:
            PlatformRefusedError: it has not, or there is no such plan. Nothing was changed.
        """
        refuse_full_plan(await self.list_connectivity_plans(), plan, wanted)

    # --- alarms

    async def acknowledge_alarm(self, ref: str) -> None:
        """Acknowledge an alarm."""

        async def find() -> bool | None:
            return (await self.get_alarm(ref)).acked or None

        call = calls.build_acknowledge_alarm_call(ref)
        try:
            await self._caller.create(self.versioned(call), find)
        except PlatformRefusedError as exc:
            raise explain(exc) from exc

    async def find_routing_profile(self, name: str) -> RoutingProfile | None:
        """Give the routing profile of that name, or None.

        Raises:
            ConflictError: there are several.
        """
        found = [one for one in await self.list_routing_profiles() if one.name == name]
        if len(found) > 1:
            refs = ", ".join(str(one.ref) for one in found[:10])
            raise ConflictError(f"There are {len(found)} routing profiles named {name} ({refs}): rename all but one.")
        return found[0] if found else None

    async def _delete(self, call: PlatformCall) -> bool:
        try:
            await self._send(call)
        except PlatformRefusedError as exc:
            if exc.status == _GONE:
                return False
            raise
        return True


def _is_as_wished(profile: RoutingProfile, wish: RoutingProfileWish) -> bool:
    wished = [(route.as_id, route.addresses) for route in wish.routes]
    return profile.name == wish.name.strip() and [(one.as_id, one.addresses) for one in profile.routes] == wished


def _addresses(routes: tuple[RouteWish, ...]) -> tuple[str, ...]:
    return tuple(address for route in routes for address in route.addresses)


def _members(answer: PlatformAnswer | None) -> Members:
    return Members() if answer is None else answer.members
