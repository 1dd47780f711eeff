"""ThingPark's device alarms: listed by cursor, acknowledged by their uid.

Sources: Device Manager contract 7.3, `AlarmDeviceBrief`; the tutorial of docs.thingpark.com (8.1 or later).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.platforms.alarm_types import alarm_name, alarm_state_name
from receiver.platforms.calls import PlatformCall
from receiver.platforms.thingpark_subscription import SubscriptionCalls, device_ref
from receiver.platforms.thingpark_traffic import iso_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from receiver.platforms.calls import PlatformAnswer
    from receiver.platforms.members import Members

MOST_AT_ONCE = 500
"""Alarms that are acknowledged by one request; the contract names no bound."""

_ADDITIONAL = ("addInfo", "addInfo2", "addInfo3", "addInfo4", "addInfo5")


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm of a device. What tells alarms apart is `uid`: `type_id` is the same for all of a kind."""

    uid: str | None
    type_id: int | None
    state: int | None
    """1 cleared, 2 indeterminate, 3 warning, 4 minor, 5 major, 6 critical."""
    level: int | None
    occurrence: int | None
    is_acknowledged: bool | None
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    additional: tuple[str, ...]
    """What the type says besides, in its order; empty ones at the end are left out."""
    dev_eui: str | None
    device_name: str | None
    href: str | None
    raw: Mapping[str, object] = field(repr=False)

    @property
    def name(self) -> str:
        """Give the name of its type."""
        return alarm_name(self.type_id)

    @property
    def state_name(self) -> str:
        """Give the name of its state."""
        return alarm_state_name(self.state)


class AlarmCalls(SubscriptionCalls):
    """The calls of device alarms."""

    async def list_alarms(
        self,
        dev_eui: str | None = None,
        *,
        since: datetime | None = None,
        min_state: int | None = None,
        acknowledged: bool | None = None,
    ) -> AsyncIterator[Alarm]:
        """Give the alarms of all devices by uid, or those of one device, page by page as they are taken.

        `since`: those that were raised at that time or later. Cleared ones are among them (state 1).
        """
        query = [("from", iso_time(since))] if since is not None else []
        query += [("state", str(min_state))] if min_state is not None else []
        query += [("acked", str(acknowledged).lower())] if acknowledged is not None else []
        if dev_eui is not None:
            call = PlatformCall("GET", self.path("devices", device_ref(dev_eui), "alarms"), tuple(query))
            pages = self.pages_by_number(call, "alarmUid")
        else:
            call = PlatformCall("GET", self.path("devices", "alarms"), tuple(query))
            pages = self.pages_by_cursor(call, "alarmUid")
        async for one in pages:
            yield read_alarm(one, dev_eui)

    async def find_alarm(self, uid: str) -> Alarm | None:
        """Give one alarm, or None. There is no address of a single one, but the list can be asked for its uid."""
        call = PlatformCall("GET", self.path("devices", "alarms"), (("alarmUid", uid),))
        members = await self.find_members(call)
        found = () if members is None else members.objects("briefs")
        return next((alarm for one in found if (alarm := read_alarm(one)).uid == uid), None)

    async def list_alarm_histories(self, since: datetime | None = None) -> AsyncIterator[Alarm]:
        """Give the alarms that are over, as ThingPark keeps them."""
        query = (("from", iso_time(since)),) if since is not None else ()
        call = PlatformCall("GET", self.path("devices", "alarms", "histories"), query)
        async for one in self.pages_by_number(call, "alarmUid"):
            yield read_alarm(one)

    async def count_alarms(self) -> Members:
        """Give how many alarms there are in each state, as ThingPark answers it."""
        return await self.get_members(PlatformCall("GET", self.path("devices", "alarms", "stateDistributions")))

    def build_acknowledge_alarms_call(self, uids: Sequence[str]) -> PlatformCall:
        """Give the request that acknowledges alarms: `MOST_AT_ONCE` at most."""
        return PlatformCall("POST", self.path("devices", "alarms", "ack"), body={"alarmUids": list(uids)})

    async def acknowledge_alarms(self, uids: Sequence[str]) -> None:
        """Acknowledge alarms; to do it twice is harmless. Their state stays."""
        for first in range(0, len(uids), MOST_AT_ONCE):
            call = self.build_acknowledge_alarms_call(uids[first : first + MOST_AT_ONCE])
            await self.make(call, _nothing, _not_known)

    async def acknowledge_device_alarm(self, dev_eui: str, uid: str) -> None:
        """Acknowledge one alarm of a device."""
        await self.make(
            PlatformCall("POST", self.path("devices", device_ref(dev_eui), "alarms", uid, "ack")), _nothing, _not_known
        )

    async def acknowledge_all_of_device(self, dev_eui: str) -> None:
        """Acknowledge all alarms of a device."""
        await self.make(
            PlatformCall("POST", self.path("devices", device_ref(dev_eui), "alarms", "ack")), _nothing, _not_known
        )


def read_alarm(members: Members, dev_eui: str | None = None) -> Alarm:
    """Read an alarm; `dev_eui` is whose it is, where the answer does not say."""
    device = members.object("device")
    additional = [members.text(name) or "" for name in _ADDITIONAL]
    while additional and not additional[-1]:
        additional.pop()
    return Alarm(
        uid=members.text("alarmUid"),
        type_id=members.integer("ID"),
        state=members.integer("state"),
        level=members.integer("level"),
        occurrence=members.integer("occurrence"),
        is_acknowledged=members.flag("acked"),
        acknowledged_by=members.text("ackedInfo"),
        acknowledged_at=members.time("ackedTimestamp"),
        created_at=members.time("creationTimestamp"),
        updated_at=members.time("updateTimestamp"),
        additional=tuple(additional),
        dev_eui=device.text("EUI") or (None if dev_eui is None else device_ref(dev_eui)[1:]),
        device_name=device.text("name"),
        href=members.text("href"),
        raw=members.as_dict,
    )


def _nothing(_answer: PlatformAnswer) -> None:
    """Read nothing: the answer is empty."""


async def _not_known() -> None:
    """Say that nothing is known of a lost acknowledgement, so that it is sent again."""
