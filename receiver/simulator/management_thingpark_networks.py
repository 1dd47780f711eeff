"""Makes networks out of what a simulated ThingPark was told: one for each application server, signed with its key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from receiver.lorawan.keys import AesKey
from receiver.simulator.management_thingpark_book import ThingParkRefusalError
from receiver.simulator.network import SimulatedNetwork

if TYPE_CHECKING:
    from receiver.simulator.device import DeviceOptions, SimulatedDevice
    from receiver.simulator.management_thingpark_book import ManagedDevice, SimulatedAppServer, ThingParkBook

_APP_S_KEY = re.compile(r'<AppSKey Port="\*">([0-9A-Fa-f]{32})</AppSKey>')


class SimulatedNetworks:
    """The networks of one subscription. Whoever uses it holds the book's lock."""

    def __init__(self, book: ThingParkBook) -> None:
        self._book = book
        self._devices: dict[str, tuple[ManagedDevice, SimulatedDevice]] = {}

    def network_of(self, app_server: SimulatedAppServer, as_transport_key: AesKey | None) -> SimulatedNetwork:
        """Give a network with the key and the devices that the application server has now.

        Raises:
            ThingParkRefusalError: it signs nothing.
        """
        if app_server.tunnel_key is None:
            raise ThingParkRefusalError(f"{app_server.id} has no tunnel key: nothing that it gets is signed")
        network = SimulatedNetwork(
            key=app_server.tunnel_key,
            as_id=app_server.as_id,
            clock=self._book.clock,
            as_transport_key=as_transport_key,
            seed=app_server.uid,
            content_type=str(app_server.members.get("contentType")),
            customer_id=self._book.subscriber_id,
        )
        for managed in self._book.devices.values():
            if app_server.id in managed.app_server_ids and managed.members["connectivity"] == "LORAWAN":
                network.devices.append(self._device_of(network, managed))
        return network

    def _device_of(self, network: SimulatedNetwork, managed: ManagedDevice) -> SimulatedDevice:
        """Give the device as it was at another network of the subscription, or a new one."""
        known = self._devices.get(managed.eui)
        if known is None or known[0] is not managed:
            device = network.add_device(**_options(managed))
            network.devices.remove(device)
            self._devices[managed.eui] = known = managed, device
        return known[1]


def _options(managed: ManagedDevice) -> DeviceOptions:
    options: DeviceOptions = {"dev_eui": managed.eui, "name": str(managed.members["name"])}
    if managed.members["activation"] == "ABP":
        options["activation"] = "abp"
        options["dev_addr"] = str(managed.members["nwAddress"])
        found = _APP_S_KEY.search(managed.keys["appKeys"])
        if found is not None:
            options["app_s_key"] = AesKey(bytes.fromhex(found[1]))
    if str(managed.members.get("model")).find("GenericC") >= 0:
        options["device_class"] = "C"
    return options
