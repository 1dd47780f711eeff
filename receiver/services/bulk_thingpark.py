"""ThingPark as a network of many devices: `NetworkDevices` over the client of its Device Manager API.

A device is on connections, whose ids end in `.AS`, or at ThingPark Wireless on an AS routing profile, whose id does
not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import ConflictError, IdentifierError, PlatformRefusedError
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.platforms.members import Members
from receiver.platforms.thingpark_records import ADVANCED, BASIC
from receiver.platforms.thingpark_refusals import is_absent
from receiver.platforms.thingpark_wishes import LORAWAN, LorawanDeviceWish
from receiver.services.bulk_columns import NO_ROUTING
from receiver.services.bulk_networks import NetworkDevice, NetworkPlan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from receiver.lorawan.identifiers import DevEui
    from receiver.lorawan.keys import AesKey
    from receiver.platforms.thingpark import ThingParkClient
    from receiver.platforms.thingpark_records import Device
    from receiver.services.bulk_file import DeviceRow

_OF_CONNECTIONS = ".AS"
_MEMBERS = {
    "name": "name",
    "motion": "motionIndicator",
    "latitude": "adminLat",
    "longitude": "adminLon",
    "info": "customerAdminData",
}


class ThingParkDevices:
    """`NetworkDevices` for an account of `thingpark`, or within a session of `device-manager`."""

    def __init__(self, client: ThingParkClient) -> None:
        self.platform = client.caller.platform
        self._client = client

    async def list_devices(self) -> AsyncIterator[NetworkDevice]:
        """Give all LoRaWAN devices, page by page with the cursor."""
        async for device in self._client.list_devices((("connectivity", LORAWAN),)):
            read = _read(device)
            if read is not None:
                yield read

    async def find(self, dev_eui: DevEui) -> NetworkDevice | None:
        """Give one device, or None."""
        found = await self._client.find_device(dev_eui)
        return None if found is None else _read(found)

    async def create(self, row: DeviceRow) -> str:
        """Make a device by OTAA, and give its reference: its number, or where that is not told its DevEUI."""
        wish = LorawanDeviceWish(
            dev_eui=row.dev_eui,
            model_id=row.device_profile or "",
            name=row.name,
            join_eui=row.join_eui,
            app_key=_key(row.app_key),
            nwk_key=_key(row.nwk_key),
            app_server_ids=_app_servers(row),
            routing_profile_id=_routing_profile(row),
            network_subscription_id=row.connectivity_plan,
            handling_mode=BASIC if row.connectivity_plan is None else ADVANCED,
            admin_data=row.info,
            latitude=row.latitude,
            longitude=row.longitude,
            motion=row.motion,
        )
        made = await self._client.create_lorawan_device(wish)
        return made.uid or row.dev_eui

    async def update(self, device: NetworkDevice, row: DeviceRow, names: Sequence[str]) -> None:
        """Change those columns of a device.

        Raises:
            ConflictError: it is to be off the AS routing profile that it is on, and no document says how.
        """
        changes: dict[str, object] = {_MEMBERS[name]: getattr(row, name) for name in names if name in _MEMBERS}
        if "routing" in names:
            changes |= _write_routing(device, row)
        if "device_profile" in names:
            changes["model"] = {"ID": row.device_profile}
        mode = None
        if "connectivity_plan" in names:
            changes["networkSubscription"] = {"ID": row.connectivity_plan}
            mode = ADVANCED
        await self._client.update_device(device.dev_eui, changes, mode)

    async def delete(self, device: NetworkDevice) -> None:
        """Delete a device, with its history at the network."""
        await self._client.delete_device(device.dev_eui)

    async def plans(self) -> list[NetworkPlan]:
        """Give the connectivity plans."""
        found = await self._client.list_network_subscriptions(LORAWAN)
        return [NetworkPlan(one.id, one.commercial_name, one.free) for one in found if one.id]

    async def profiles(self) -> set[str]:
        """Give the ids of the device profiles."""
        return {one.id for one in await self._client.list_device_profiles(LORAWAN) if one.id}

    async def routings(self) -> set[str]:
        """Give the ids of the connections, and of the AS routing profiles where the network has such."""
        found = {one.id for one in await self._client.list_app_servers() if one.id}
        try:
            profiles = await self._client.list_routing_profiles()
        except PlatformRefusedError as exc:
            if not is_absent(exc):
                raise
            return found
        return found | {one.id for one in profiles if one.id}


def _key(key: AesKey | None) -> str | None:
    return None if key is None else key.reveal().hex()


def _app_servers(row: DeviceRow) -> tuple[str, ...]:
    return (row.routing,) if row.routing is not None and row.routing.endswith(_OF_CONNECTIONS) else ()


def _routing_profile(row: DeviceRow) -> str | None:
    return None if row.routing in {None, NO_ROUTING} or _app_servers(row) else row.routing


def _write_routing(device: NetworkDevice, row: DeviceRow) -> dict[str, object]:
    profile = _routing_profile(row)
    if profile is not None:
        return {"appServersRoutingProfile": {"ID": profile}}
    if device.routing and not device.routing[0].endswith(_OF_CONNECTIONS):
        raise ConflictError(
            f"{device.dev_eui} is on the AS routing profile {device.routing[0]}, and no document says how one is taken"
            " off: give it another profile, or delete the device and make it anew."
        )
    return {"appServers": [{"ID": one} for one in _app_servers(row)]}


def _read(device: Device) -> NetworkDevice | None:
    """Give a LoRaWAN device; None for another. A list tells of a device's connections only where there are any."""
    try:
        dev_eui = parse_dev_eui(device.eui or "")
        join_eui = parse_dev_eui(device.join_eui) if device.join_eui else None
    except IdentifierError:
        return None
    told = Members(device.raw)
    routing = device.app_server_ids if "appServers" in told else None
    if device.routing_profile_id:
        routing = (device.routing_profile_id,)
    return NetworkDevice(
        dev_eui=dev_eui,
        ref=device.uid or dev_eui,
        name=device.name,
        join_eui=join_eui,
        device_profile=device.model_id,
        connectivity_plan=device.network_subscription_id,
        routing=routing,
        motion=told.text("motionIndicator"),
        latitude=told.number("adminLat"),
        longitude=told.number("adminLon"),
        info=told.text("customerAdminData"),
    )
