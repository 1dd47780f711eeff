"""KPN LoRa as a network of many devices: `NetworkDevices` over the client of its Device Management API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import SettingsError
from receiver.platforms.kpn_lora_calls import RESET, KpnDeviceChanges, KpnDeviceWish
from receiver.services.bulk_columns import NO_ROUTING
from receiver.services.bulk_networks import NetworkDevice, NetworkPlan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from receiver.lorawan.identifiers import DevEui
    from receiver.platforms.kpn_lora import KpnLoraClient
    from receiver.platforms.kpn_lora_records import KpnDevice
    from receiver.services.bulk_file import DeviceRow

LEGACY_VERSION = "v1.1.1"
"""The interface for customers without an HSM. Source: KPN LoRa Device Management API, definitions, HSM group."""

_TO_NOBODY = "DATAFLOW"  # what KPN makes of a device for which no routing profile is named
_BY_DEFAULT = "DEFAULTRP"  # the default routing profile, which is one of the account's


class KpnLoraDevices:
    """`NetworkDevices` for an account of `kpn-lora`."""

    platform = "KPN LoRa"

    def __init__(self, client: KpnLoraClient, api_version: str = "") -> None:
        self._client = client
        self._wants_hsm = api_version != LEGACY_VERSION
        self._only_hsm_group: str | None = None

    async def list_devices(self) -> AsyncIterator[NetworkDevice]:
        """Give all devices, 100 with each request."""
        async for device in self._client.list_devices(is_extended=True):
            read = _read(device)
            if read is not None:
                yield read

    async def find(self, dev_eui: DevEui) -> NetworkDevice | None:
        """Give one device, or None."""
        found = await self._client.find_device(dev_eui, is_extended=True)
        return None if found is None else _read(found)

    async def create(self, row: DeviceRow) -> str:
        """Make a device by OTAA, and give its reference.

        Raises:
            SettingsError: there are several HSM groups and the row names none.
        """
        if row.app_key is None or row.join_eui is None:  # the file's reader sees to it
            raise SettingsError(f"Line {row.line}: a device of KPN needs its JoinEUI and AppKey.")
        is_routed = row.routing != NO_ROUTING
        wish = KpnDeviceWish(
            dev_eui=row.dev_eui,
            join_eui=row.join_eui,
            app_key=row.app_key,
            name=row.name or row.dev_eui,
            device_profile_id=row.device_profile or "",
            connectivity_plan_id=row.connectivity_plan or "",
            routing_profile_id=row.routing if is_routed else None,
            processing_strategy_id=None if is_routed else _TO_NOBODY,
            hsm_group_id=row.hsm_group or await self._hsm_group(),
            administrative_info=row.info,
            motion_indicator=row.motion,
            latitude=row.latitude,
            longitude=row.longitude,
        )
        made = await self._client.create_device(wish)
        return made.ref or ""

    async def update(self, device: NetworkDevice, row: DeviceRow, names: Sequence[str]) -> None:
        """Change those columns of a device."""
        routing = row.routing if "routing" in names else None
        changes = KpnDeviceChanges(
            name=row.name if "name" in names else None,
            routing_profile_id=RESET if routing == NO_ROUTING else routing,
            connectivity_plan_id=row.connectivity_plan if "connectivity_plan" in names else None,
            device_profile_id=row.device_profile if "device_profile" in names else None,
            join_eui=row.join_eui if "join_eui" in names else None,
        )
        await self._client.update_device(device.ref, changes, device.dev_eui)

    async def delete(self, device: NetworkDevice) -> None:
        """Delete a device."""
        await self._client.delete_device(device.ref)

    async def plans(self) -> list[NetworkPlan]:
        """Give the connectivity plans for single devices."""
        found = await self._client.list_connectivity_plans()
        return [NetworkPlan(one.id, one.name, one.free_connections) for one in found if one.id]

    async def profiles(self) -> set[str]:
        """Give the ids of the device profiles."""
        return {one.id for one in await self._client.list_device_profiles() if one.id}

    async def routings(self) -> set[str]:
        """Give the ids of the routing profiles."""
        return {one.id for one in await self._client.list_routing_profiles() if one.id}

    async def _hsm_group(self) -> str | None:
        if not self._wants_hsm:
            return None
        if self._only_hsm_group is None:
            groups = [one.id for one in await self._client.list_hsm_groups() if one.id]
            if len(groups) != 1:
                names = ", ".join(groups[:10]) or "none"
                raise SettingsError(f"KPN LoRa has several HSM groups or none ({names}): name one in column HsmGroup.")
            self._only_hsm_group = groups[0]
        return self._only_hsm_group


def _read(device: KpnDevice) -> NetworkDevice | None:
    if device.dev_eui is None or device.ref is None:
        return None
    routing: tuple[str, ...] | None = None
    if device.routing_profile_id:
        routing = (device.routing_profile_id,)
    elif device.processing_strategy_id and device.processing_strategy_id != _BY_DEFAULT:
        routing = ()
    return NetworkDevice(
        dev_eui=device.dev_eui,
        ref=device.ref,
        name=device.name,
        join_eui=device.join_eui,
        device_profile=device.device_profile_id,
        connectivity_plan=device.connectivity_plan_id,
        routing=routing,
        motion=device.motion_indicator,
        latitude=device.latitude,
        longitude=device.longitude,
        info=device.administrative_info,
    )
