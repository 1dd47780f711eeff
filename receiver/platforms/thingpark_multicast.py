"""ThingPark's multicast groups.

The tutorial of docs.thingpark.com makes a group by a POST to `devices`; the contract, and all else in it, has
`multicastGroups`, which is used here. Source: Device Manager contract 7.3, `MulticastGroup`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from receiver.errors import NotFoundError
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.platforms.calls import PlatformCall
from receiver.platforms.thingpark_records import read_multicast_group
from receiver.platforms.thingpark_subscription import SubscriptionCalls, device_ref, refuse_forbidden, uid_of
from receiver.platforms.thingpark_wishes import write_multicast_group

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.platforms.calls import PlatformAnswer
    from receiver.platforms.members import Members
    from receiver.platforms.thingpark_records import MulticastGroup
    from receiver.platforms.thingpark_wishes import MulticastGroupWish

MULTICAST_FIXED = frozenset({"EUI", "nwAddress", "bss", "occContext", "href", "now", "creationDate"})
"""What no update may carry: what the contract forbids, and what is only read."""

_MODE = "networkSubscriptionsHandlingMode"


class MulticastCalls(SubscriptionCalls):
    """The calls of multicast groups, each told by its EUI."""

    async def list_multicast_groups(self) -> list[MulticastGroup]:
        """Give all groups."""
        call = PlatformCall("GET", self.path("multicastGroups"))
        return [read_multicast_group(one) async for one in self.pages_by_number(call, "EUI")]

    async def find_multicast_group(self, eui: str) -> MulticastGroup | None:
        """Give one, whole; None: there is none."""
        members = await self.find_members(PlatformCall("GET", self._group_path(eui)))
        return None if members is None else read_multicast_group(members)

    async def get_multicast_group(self, eui: str) -> MulticastGroup:
        """Give one, whole.

        Raises:
            NotFoundError: there is none.
        """
        found = await self.find_multicast_group(eui)
        if found is None:
            raise NotFoundError(f"{self.caller.platform} has no multicast group {device_ref(eui)[1:]} here.")
        return found

    def build_create_multicast_group_call(self, wish: MulticastGroupWish) -> PlatformCall:
        """Give the request that makes one.

        Raises:
            IdentifierError, SettingsError: the wish cannot be written.
        """
        query = ((_MODE, wish.handling_mode),) if wish.handling_mode is not None else ()
        return PlatformCall("POST", self.path("multicastGroups"), query, write_multicast_group(wish))

    async def create_multicast_group(self, wish: MulticastGroupWish) -> MulticastGroup:
        """Make one; where the answer is lost it is looked for before it is made again."""
        call = self.build_create_multicast_group_call(wish)
        made = await self.make(call, _read_made, lambda: self.find_multicast_group(wish.eui))
        return replace(made, eui=made.eui or parse_dev_eui(wish.eui))

    def build_update_multicast_group_call(self, eui: str, changes: Mapping[str, object]) -> PlatformCall:
        """Give the request that changes one, still without its `occContext`.

        Raises:
            ConflictError: a member of `changes` cannot be changed.
        """
        refuse_forbidden(changes, MULTICAST_FIXED, "a multicast group")
        return PlatformCall("PUT", self._group_path(eui), body=dict(changes))

    async def update_multicast_group(self, eui: str, changes: Mapping[str, object]) -> MulticastGroup:
        """Change what `changes` has, by ThingPark's names; a list takes the place of the one before."""
        return read_multicast_group(await self.update(self.build_update_multicast_group_call(eui, changes)))

    def build_delete_multicast_group_call(self, eui: str) -> PlatformCall:
        """Give the request that deletes one."""
        return PlatformCall("DELETE", self._group_path(eui))

    async def delete_multicast_group(self, eui: str) -> bool:
        """Delete one; False: there was none."""
        return await self.remove(self.build_delete_multicast_group_call(eui))

    async def get_multicast_history(self, eui: str, *, duration: str = "P7D", step: str = "P1D") -> Members:
        """Give a group's transmissions in slots: counts and sizes by the share of base stations that sent them.

        `briefs[].successfulTransmissionValues` are in the order of `ratioRangeDefinitions`.
        """
        query = (("duration", duration), ("step", step))
        return await self.get_members(PlatformCall("GET", self._group_path(eui, "frames", "aggregated"), query))

    def _group_path(self, eui: str, *parts: str) -> str:
        return self.path("multicastGroups", device_ref(eui), *parts)


def _read_made(answer: PlatformAnswer) -> MulticastGroup:
    group = read_multicast_group(answer.members)
    return replace(group, uid=group.uid or uid_of(answer.headers.get("location", "")))
