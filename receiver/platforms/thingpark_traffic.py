"""What ThingPark knows of a device's traffic: single frames, sums by hour or day, positions, batteries.

Source: Device Manager contract 7.3, `FramesDevice`, `FramesDeviceAggregation`; the tutorial of docs.thingpark.com.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.platforms.calls import PlatformCall
from receiver.platforms.thingpark_subscription import SubscriptionCalls, device_ref

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from receiver.platforms.members import Members

UPLINK_FRAME, DOWNLINK_FRAME, MICROFLOW = 0, 1, 4
JOIN_REQUEST, JOIN_ACCEPT = 4, 1004
"""Subtypes in sums of uplinks and of downlinks."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. Signal levels are in dBm and dB as is customary; the contract names no units."""

    at: datetime | None
    type: int | None
    """0 uplink, 1 downlink, 4 microflow of a cellular device."""
    spreading_factor: int | None
    rssi_dbm: float | None
    snr_db: float | None
    esp_dbm: float | None
    size_bytes: int | None
    instant_per: float | None
    mean_per: float | None
    is_late: bool | None
    is_over_limit: bool | None
    is_sent: bool | None
    """Of a downlink: whether it went out."""
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FrameSlot:
    """The traffic of one device in one slot of time, which begins at `at`; sizes are of payloads, in bytes."""

    at: datetime | None
    instant_per_mean: float | None
    mean_per_mean: float | None
    rssi_dbm_mean: float | None
    snr_db_mean: float | None
    esp_dbm_mean: float | None
    up_count: int | None
    up_bytes: int | None
    up_on_time: int | None
    up_late: int | None
    up_lost: int | None
    join_requests: int | None
    down_count: int | None
    down_bytes: int | None
    down_sent: int | None
    down_failed: int | None
    join_accepts: int | None
    microflow_count: int | None
    microflow_bytes_up: int | None
    microflow_bytes_down: int | None
    microflow_s: int | None
    raw: Mapping[str, object] = field(repr=False)


class TrafficCalls(SubscriptionCalls):
    """The calls of traffic. Durations are like `P7D` or `PT24H`, steps `PT1H` to `PT24H` or `P1D`, zones IANA's."""

    async def list_frames(
        self,
        dev_eui: str,
        *,
        begin: datetime | None = None,
        duration: str = "P7D",
        types: tuple[int, ...] = (),
        lrr_id: str | None = None,
    ) -> list[Frame]:
        """Give the single frames of a device; without `begin` the last ones."""
        query = (*_window(begin, duration), *_types(types), *_given("lrrID", lrr_id))
        call = PlatformCall("GET", self.path("devices", device_ref(dev_eui), "frames"), query)
        return [_read_frame(one) for one in (await self.get_members(call)).objects("briefs")]

    def build_list_aggregated_frames_call(
        self,
        dev_eui: str,
        *,
        begin: datetime | None = None,
        duration: str = "P7D",
        step: str = "PT1H",
        timezone: str = "UTC",
        types: tuple[int, ...] = (),
        lrr_id: str | None = None,
    ) -> PlatformCall:
        """Give the request for a device's traffic history."""
        slots = (("step", step), ("timezone", timezone))
        query = (*_window(begin, duration), *slots, *_types(types), *_given("lrrID", lrr_id))
        return PlatformCall("GET", self.path("devices", device_ref(dev_eui), "frames", "aggregated"), query)

    async def list_aggregated_frames(
        self,
        dev_eui: str,
        duration: str = "P7D",
        step: str = "PT1H",
        timezone: str = "UTC",
        *,
        begin: datetime | None = None,
        types: tuple[int, ...] = (),
        lrr_id: str | None = None,
    ) -> list[FrameSlot]:
        """Give a device's traffic history in slots, aligned to midnight of 1970 in `timezone`, oldest first.

        A step of `P1D` follows the zone's summer time. Slots without traffic may be missing.
        """
        call = self.build_list_aggregated_frames_call(
            dev_eui, begin=begin, duration=duration, step=step, timezone=timezone, types=types, lrr_id=lrr_id
        )
        slots = [read_frame_slot(one) for one in (await self.get_members(call)).objects("briefs")]
        return sorted(slots, key=lambda slot: slot.at.timestamp() if slot.at else 0.0)

    async def list_locations(self, dev_eui: str, *, duration: str = "P7D") -> list[Members]:
        """Give positions of a device that the network knows: `timestamp`, `lat`, `lon`, `alt`, `hRadius` …, in m."""
        call = PlatformCall("GET", self.path("devices", device_ref(dev_eui), "locations"), (("duration", duration),))
        return [one async for one in self.pages_by_number(call, "timestamp")]

    async def list_battery_levels(self, dev_eui: str, *, duration: str = "P1Y") -> list[Members]:
        """Give a device's battery levels by day: `timestamp`, `level` (0 external power, 1–254, 255 unknown)."""
        call = PlatformCall("GET", self.path("devices", device_ref(dev_eui), "batLevels"), (("duration", duration),))
        return list((await self.get_members(call)).objects("briefs"))

    async def list_spreading_factors(self, dev_eui: str) -> list[Members]:
        """Give how many frames of a device had which spreading factor: `sf`, `up.count`, `dw.count`."""
        path = self.path("devices", device_ref(dev_eui), "spreadingFactors", "sfDistributions")
        return list((await self.get_members(PlatformCall("GET", path))).objects("briefs"))


def read_frame_slot(members: Members) -> FrameSlot:
    """Read one slot of a traffic history; its time may be in milliseconds or seconds."""
    up, down, microflow = members.object("up"), members.object("dw"), members.object("mf")
    return FrameSlot(
        at=members.time("timestamp"),
        instant_per_mean=members.number("instantPerMean"),
        mean_per_mean=members.number("meanPerMean"),
        rssi_dbm_mean=members.number("rssiMean"),
        snr_db_mean=members.number("snrMean"),
        esp_dbm_mean=members.number("espMean"),
        up_count=up.integer("count"),
        up_bytes=up.integer("size"),
        up_on_time=up.integer("countOnTime"),
        up_late=up.integer("countLate"),
        up_lost=up.integer("countLost"),
        join_requests=_of_subtype(up, JOIN_REQUEST, ("countOnTime", "countLate")),
        down_count=down.integer("count"),
        down_bytes=down.integer("size"),
        down_sent=down.integer("countSent"),
        down_failed=down.integer("countFailed"),
        join_accepts=_of_subtype(down, JOIN_ACCEPT, ("countSent", "countFailed")),
        microflow_count=microflow.integer("count"),
        microflow_bytes_up=microflow.integer("sizeUp"),
        microflow_bytes_down=microflow.integer("sizeDown"),
        microflow_s=microflow.integer("duration"),
        raw=members.as_dict,
    )


def iso_time(at: datetime) -> str:
    """Give a time as queries want it: ISO 8601 with its offset, without which ThingPark would take its own."""
    return at.isoformat(timespec="milliseconds")


def _read_frame(members: Members) -> Frame:
    status = members.integer("deliveryStatus")
    return Frame(
        members.time("timestamp"),
        members.integer("type"),
        members.integer("sf"),
        members.number("rssi"),
        members.number("snr"),
        members.number("esp"),
        members.integer("size"),
        members.number("instantPER"),
        members.number("meanPER"),
        members.flag("late"),
        members.flag("overflow"),
        None if status is None else status == 1,
        members.as_dict,
    )


def _of_subtype(sums: Members, subtype: int, names: tuple[str, str]) -> int | None:
    if "subTypes" not in sums:
        return None
    of_it = [one for one in sums.objects("subTypes") if one.integer("subType") == subtype]
    return sum(one.integer(name) or 0 for one in of_it for name in names)


def _window(begin: datetime | None, duration: str) -> tuple[tuple[str, str], ...]:
    return (*_given("begin", None if begin is None else iso_time(begin)), ("duration", duration))


def _types(types: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(("type", str(one)) for one in types)


def _given(name: str, value: str | None) -> tuple[tuple[str, str], ...]:
    return () if value is None else ((name, value),)
