"""ThingPark's devices, LoRaWAN and cellular: lists, one by its EUI, make, change, delete, and what belongs to them.

Sources: Device Manager contract 7.3, devices; the tutorial of docs.thingpark.com (8.1 or later).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from receiver.errors import ConflictError, NotFoundError
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.platforms.calls import PlatformCall
from receiver.platforms.members import Members
from receiver.platforms.thingpark_import import CsvImport, build_import_call, read_import
from receiver.platforms.thingpark_records import read_device
from receiver.platforms.thingpark_subscription import SubscriptionCalls, device_ref, refuse_forbidden, uid_of
from receiver.platforms.thingpark_wishes import write_cellular_device, write_lorawan_device

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from receiver.platforms.calls import PlatformAnswer
    from receiver.platforms.thingpark_records import Device
    from receiver.platforms.thingpark_wishes import CellularDeviceWish, LorawanDeviceWish

DEVICE_FIXED = frozenset(
    {
        *("EUI", "nwAddress", "activation", "connectivity", "imsi", "ki", "ownerToken"),
        *("occContext", "href", "now", "sim", "healthState", "creationDate"),
    }
)
"""What no update may carry: what the contract forbids, and what is only read."""

SUSPENDED, RESUMED = "SUBSCRIBER_SUSPENDED", "NONE"

_MODE = "networkSubscriptionsHandlingMode"
_NEW_FOR = timedelta(minutes=10)
"""How old, by ThingPark's own clock, a device may be that was just asked for: more than all repeats take."""

_MOST_CANDIDATES = 20  # devices of one name that are looked at for a SIM


class DeviceCalls(SubscriptionCalls):
    """The calls of devices. `dev_eui` is a DevEUI in any spelling, or the EUI or IMEI of a cellular device."""

    async def list_devices(self, filters: tuple[tuple[str, str], ...] = ()) -> AsyncIterator[Device]:
        """Give all devices in the order of their EUIs, page by page as they are taken.

        `filters` are ThingPark's parameters, such as `("appServerID", "TWA_…")`, `("name", "begins with")`,
        `("connectivity", "CELLULAR")`, `("healthState", "ACTIVE")`, `("tag", …)`.
        """
        call = PlatformCall("GET", self.path("devices"), filters)
        async for one in self.pages_by_cursor(call, "EUI"):
            yield read_device(one)

    async def count_devices(self) -> dict[str, int]:
        """Give how many devices there are in each state of health."""
        counters = await self.get_members(PlatformCall("GET", self.path("devices", "counters")))
        return {one.text("healthState") or "": one.integer("count") or 0 for one in counters.objects("briefs")}

    async def find_device(self, dev_eui: str) -> Device | None:
        """Give one, whole; None: there is none in this subscription."""
        members = await self.find_members(PlatformCall("GET", self._device_path(dev_eui)))
        return None if members is None else read_device(members)

    async def get_device(self, dev_eui: str) -> Device:
        """Give one, whole.

        Raises:
            NotFoundError: there is none in this subscription.
        """
        found = await self.find_device(dev_eui)
        if found is None:
            raise NotFoundError(f"{self.caller.platform} has no device {device_ref(dev_eui)[1:]} in this subscription.")
        return found

    def build_create_lorawan_device_call(self, wish: LorawanDeviceWish) -> PlatformCall:
        """Give the request that makes a LoRaWAN device.

        Raises:
            IdentifierError, SettingsError: the wish cannot be written.
        """
        query = ((_MODE, wish.handling_mode),) if wish.handling_mode is not None else ()
        return PlatformCall("POST", self.path("devices"), query, write_lorawan_device(wish))

    async def create_lorawan_device(self, wish: LorawanDeviceWish) -> Device:
        """Make a LoRaWAN device; where the answer is lost it is looked for before it is made again.

        Raises:
            PlatformRefusedError: there is one of that DevEUI already, the plan has no licences left, and so on.
            ConflictError: the answer was lost, and there is a device of that DevEUI that is too old to be this one.
        """
        call = self.build_create_lorawan_device_call(wish)
        made = await self.make(call, _read_made, lambda: self._find_new(wish.dev_eui))
        return replace(made, eui=made.eui or parse_dev_eui(wish.dev_eui))

    def build_create_cellular_device_call(self, wish: CellularDeviceWish) -> PlatformCall:
        """Give the request that makes a cellular device.

        Raises:
            IdentifierError, SettingsError: the wish cannot be written.
        """
        return PlatformCall("POST", self.path("devices"), body=write_cellular_device(wish))

    async def create_cellular_device(self, wish: CellularDeviceWish) -> Device:
        """Make a cellular device; where the answer is lost its SIM (7.3: its IMEI) is looked for first."""
        call = self.build_create_cellular_device_call(wish)
        return await self.make(call, _read_made, lambda: self._find_cellular(wish))

    def build_update_device_call(
        self, dev_eui: str, changes: Mapping[str, object], handling_mode: str | None = None
    ) -> PlatformCall:
        """Give the request that changes one, still without its `occContext`.

        Raises:
            ConflictError: a member of `changes` cannot be changed.
        """
        refuse_forbidden(changes, DEVICE_FIXED, "a device")
        query = ((_MODE, handling_mode),) if handling_mode is not None else ()
        return PlatformCall("PUT", self._device_path(dev_eui), query, dict(changes))

    async def update_device(
        self, dev_eui: str, changes: Mapping[str, object], handling_mode: str | None = None
    ) -> Device:
        """Change what `changes` has, by ThingPark's names; a list takes the place of the one before."""
        return read_device(await self.update(self.build_update_device_call(dev_eui, changes, handling_mode)))

    async def set_device_app_servers(self, dev_eui: str, app_server_ids: tuple[str, ...]) -> Device:
        """Let a device's messages go to these application servers, and no other."""
        return await self.update_device(dev_eui, {"appServers": [{"ID": one} for one in app_server_ids]})

    async def suspend_device(self, dev_eui: str, *, resume: bool = False) -> Device:
        """Let ThingPark ignore a device's messages, or take them again."""
        return await self.update_device(dev_eui, {"suspension": RESUMED if resume else SUSPENDED})

    def build_delete_device_call(self, dev_eui: str) -> PlatformCall:
        """Give the request that deletes one, with its history and alarms."""
        return PlatformCall("DELETE", self._device_path(dev_eui))

    async def delete_device(self, dev_eui: str) -> bool:
        """Delete one, with its history and alarms; False: there was none."""
        return await self.remove(self.build_delete_device_call(dev_eui))

    def build_import_devices_call(self, csv: str, handling_mode: str | None = None) -> PlatformCall:
        """Give the request that imports a CSV, in ThingPark's own form."""
        query = ((_MODE, handling_mode),) if handling_mode is not None else ()
        return build_import_call(self.path("devices", "import"), csv, query)

    async def import_devices(self, csv: str, handling_mode: str | None = None) -> CsvImport:
        """Import a CSV in ThingPark's own form, and give what is wrong with which line; the other lines are done.

        The answer may get lost: then nothing is repeated, and `NoAnswerError.was_sent` says so.
        """
        call = self.build_import_devices_call(csv, handling_mode)
        return read_import(await self.send(call, reads_refusals=True))

    async def reset_device(self, dev_eui: str) -> None:
        """Forget a device's LoRaWAN session and counters in the network."""
        await self.send(PlatformCall("POST", self._device_path(dev_eui, "admins", "reset")))

    async def send_device_downlink(
        self, dev_eui: str, f_port: int, payload: bytes, *, confirmed: bool = False, flush: bool = False
    ) -> None:
        """Queue a downlink, in clear for the network to encrypt. It has no CorrelationID."""
        query = [("payload", payload.hex().upper()), ("fPort", str(f_port))]
        query += [("confirmed", "true")] if confirmed else []
        query += [("flushDownlinkQueue", "true")] if flush else []
        await self.send(PlatformCall("POST", self._device_path(dev_eui, "admins", "downlink"), tuple(query)))

    async def set_device_debug(self, dev_eui: str, *, lorawan: bool) -> None:
        """Let the network keep debug logs of a device, or not."""
        path = self._device_path(dev_eui)
        occ = (await self.get_members(PlatformCall("GET", path))).as_dict.get("occContext")
        body = {"occContext": occ, "debug": {"lorawan": lorawan}}
        await self.send(PlatformCall("PUT", f"{path}/restricted", body=body))

    async def list_device_tags(self, dev_eui: str) -> list[Members]:
        """Give the tags of a device: `name`, and `href` with their number."""
        tags = await self.get_members(PlatformCall("GET", self._device_path(dev_eui, "tags")))
        return list(tags.objects("briefs"))

    async def add_device_tag(self, dev_eui: str, name: str) -> None:
        """Tag a device."""
        await self.send(PlatformCall("POST", self._device_path(dev_eui, "tags"), body={"name": name}))

    async def remove_device_tag(self, dev_eui: str, tag_uid: str) -> bool:
        """Take a tag off a device; False: it had none of that number."""
        return await self.remove(PlatformCall("DELETE", self._device_path(dev_eui, "tags", tag_uid)))

    async def _find_new(self, dev_eui: str) -> Device | None:
        found = await self.find_device(dev_eui)
        if found is not None and found.created_at is not None:
            now = Members(found.raw).time("now")
            if now is not None and now - found.created_at > _NEW_FOR:
                raise ConflictError(
                    f"{self.caller.platform} has had a device {found.eui} since {found.created_at:%Y-%m-%d %H:%M} UTC:"
                    " change that one, or delete it first."
                )
        return found

    async def _find_cellular(self, wish: CellularDeviceWish) -> Device | None:
        if wish.sim_id is None:
            return await self.find_device((wish.imei or "")[:14])
        filters = (("connectivity", "CELLULAR"), *((("name", wish.name),) if wish.name else ()))
        looked_at = 0
        async for device in self.list_devices(filters):
            if device.sim_id == wish.sim_id:
                return device
            if device.sim_id is None and device.eui is not None and device.name == wish.name:
                looked_at += 1
                whole = await self.find_device(device.eui)
                if whole is not None and whole.sim_id == wish.sim_id:
                    return whole
            if looked_at == _MOST_CANDIDATES:
                break
        return None

    def _device_path(self, dev_eui: str, *parts: str) -> str:
        return self.path("devices", device_ref(dev_eui), *parts)


def _read_made(answer: PlatformAnswer) -> Device:
    device = read_device(answer.members)
    return replace(device, uid=device.uid or uid_of(answer.headers.get("location", "")))
