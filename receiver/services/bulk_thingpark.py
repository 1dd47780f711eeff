"""ThingPark as a network of many devices: `NetworkDevices` over the client of its Device Manager API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import IdentifierError
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.platforms.thingpark_records import ADVANCED, BASIC
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

_MEMBERS = {
    "name": "name",
    "motion": "motionIndicator",
    "latitude": "adminLat",
    "longitude": "adminLon",
    "info": "customerAdminData",
}


class ThingParkDevices:
    """`NetworkDevices` for an account of `thingpark`."""

    platform = "ThingPark"

    def __init__(self, client: ThingParkClient) -> None:
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
        """Change those columns of a device."""
        changes: dict[str, object] = {_MEMBERS[name]: getattr(row, name) for name in names if name in _MEMBERS}
        if "routing" in names:
            changes["appServers"] = [{"ID": one} for one in _app_servers(row)]
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
        """Give the ids of the connections."""
        return {one.id for one in await self._client.list_app_servers() if one.id}


def _key(key: AesKey | None) -> str | None:
    return None if key is None else key.reveal().hex()


def _app_servers(row: DeviceRow) -> tuple[str, ...]:
    return () if row.routing in {None, NO_ROUTING} else (str(row.routing),)


def _read(device: Device) -> NetworkDevice | None:
    """Give a LoRaWAN device; None for another. A list tells of a device's connections only where there are any."""
    try:
        dev_eui = parse_dev_eui(device.eui or "")
        join_eui = parse_dev_eui(device.join_eui) if device.join_eui else None
    except IdentifierError:
        return None
    raw = device.raw
    routing = device.app_server_ids if "appServers" in raw else None
    latitude, longitude = (raw.get(name) for name in ("adminLat", "adminLon"))
    motion, info = (raw.get(name) for name in ("motionIndicator", "customerAdminData"))
    return NetworkDevice(
        dev_eui=dev_eui,
        ref=device.uid or dev_eui,
        name=device.name,
        join_eui=join_eui,
        device_profile=device.model_id,
        connectivity_plan=device.network_subscription_id,
        routing=routing,
        motion=motion if isinstance(motion, str) else None,
        latitude=float(latitude) if isinstance(latitude, (int, float)) else None,
        longitude=float(longitude) if isinstance(longitude, (int, float)) else None,
        info=info if isinstance(info, str) else None,
    )
