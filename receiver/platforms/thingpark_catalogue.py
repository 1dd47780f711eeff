"""What a ThingPark subscription has to choose from: itself, device profiles, plans, cellular network contexts.

Sources: Device Manager contract 7.3; the tutorial of docs.thingpark.com (8.1 or later).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.platforms.calls import PlatformCall
from receiver.platforms.thingpark_records import (
    read_cellular_network_context,
    read_device_profile,
    read_network_subscription,
    read_subscription,
)
from receiver.platforms.thingpark_subscription import SubscriptionCalls

if TYPE_CHECKING:
    from receiver.platforms.members import Members
    from receiver.platforms.thingpark_records import (
        CellularNetworkContext,
        DeviceProfile,
        NetworkSubscription,
        Subscription,
    )

PEM = "application/x-pem-file"


class CatalogueCalls(SubscriptionCalls):
    """The calls of what is there to be chosen."""

    async def get_subscription(self) -> Subscription:
        """Give the subscription itself: the first thing to ask, as it shows that the login is good."""
        return read_subscription(await self.get_members(PlatformCall("GET", self.path())))

    async def get_public_exchange_key(self) -> str:
        """Give the RSA public key, as PEM, under which AppKeys may be encrypted for this subscription."""
        answer = await self.send(PlatformCall("GET", self.path("publicExchangeKey"), accept=PEM))
        return answer.body.decode("utf-8", "replace")

    async def list_device_profiles(self, connectivity: str | None = None) -> list[DeviceProfile]:
        """Give the device profiles, all or those of `LORAWAN` or `CELLULAR`."""
        return [read_device_profile(one) for one in await self._list("deviceProfiles", connectivity)]

    async def list_network_subscriptions(self, connectivity: str | None = None) -> list[NetworkSubscription]:
        """Give the connectivity plans with their licences, all or those of `LORAWAN` or `CELLULAR`."""
        return [read_network_subscription(one) for one in await self._list("networkSubscriptions", connectivity)]

    async def get_network_subscription(self, uid: str) -> NetworkSubscription:
        """Give one plan, whole: its rates are in `raw`."""
        return read_network_subscription(
            await self.get_members(PlatformCall("GET", self.path("networkSubscriptions", uid)))
        )

    async def list_cellular_network_contexts(self) -> list[CellularNetworkContext]:
        """Give how cellular devices may be routed; networks before 8.1 refuse this."""
        return [read_cellular_network_context(one) for one in await self._list("cellularNetworkContexts")]

    async def list_device_vendors(self) -> list[Members]:
        """Give the vendors of devices: `ID`, `commercialName`."""
        return await self._list("deviceVendors")

    async def list_ism_bands(self) -> list[Members]:
        """Give the ISM bands: `ID`, `name`."""
        return await self._list("ismBands")

    async def _list(self, resource: str, connectivity: str | None = None) -> list[Members]:
        query = (("connectivity", connectivity),) if connectivity is not None else ()
        return [one async for one in self.pages_by_number(PlatformCall("GET", self.path(resource), query), "ID")]
