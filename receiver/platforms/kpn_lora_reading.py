"""What can be read at KPN's LoRa Device Management API: lists with and without pages, single objects, statistics.

Source: KPN LoRa Device Management API 1.2, operations. Pages have 100 objects and count from 1; nothing says how many
there are, so the first page with fewer is the last one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from receiver.errors import LoginRefusedError, PlatformRefusedError, SettingsError
from receiver.platforms.calls import PlatformCall
from receiver.platforms.kpn_lora_calls import build_get_call
from receiver.platforms.kpn_lora_records import (
    ConnectivityPlan,
    FrameStatistics,
    HealthStatistics,
    HsmGroup,
    KpnAlarm,
    KpnDevice,
    KpnDeviceProfile,
    RoutingProfile,
)
from receiver.platforms.kpn_lora_refusals import explain, explain_login
from receiver.platforms.members import objects_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from datetime import datetime

    from receiver.lorawan.identifiers import DevEui
    from receiver.platforms.caller import PlatformCaller
    from receiver.platforms.calls import PlatformAnswer
    from receiver.platforms.members import Members

PAGE_SIZE = 100
"""Objects of a page, as KPN fixes it."""

MOST_PAGES = 10_000
"""Read of one list: a million devices. A server that has more gives pages without end."""

NO_PLAN, ANY_PLAN = "_NOCP", "_CP"
"""As `plan` of `list_devices`: those without a connectivity plan, and those with any."""

LONGEST_AGGREGATION_H = 24


class KpnLoraReader:
    """The calls that change nothing."""

    def __init__(
        self, caller: PlatformCaller, api_version: str = "", eui_separator: str = ",", most_pages: int = MOST_PAGES
    ) -> None:
        self._caller = caller
        self._most_pages = most_pages
        self._api_version = api_version
        self._eui_separator = eui_separator

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._caller.base_url})"

    @property
    def base_url(self) -> str:
        """Where it asks; for `PlatformCall.shown`."""
        return self._caller.base_url

    def versioned(self, call: PlatformCall) -> PlatformCall:
        """Give the call with `api-version`, where one is set."""
        return call.with_headers(("api-version", self._api_version)) if self._api_version else call

    # --- the subscription

    async def list_connectivity_plans(self) -> list[ConnectivityPlan]:
        """Give the connectivity plans."""
        return [ConnectivityPlan.read(one) for one in await self._list(PlatformCall("GET", "/connectivityPlans"))]

    async def list_device_profiles(self) -> list[KpnDeviceProfile]:
        """Give the device profiles."""
        return [KpnDeviceProfile.read(one) for one in await self._list(PlatformCall("GET", "/deviceProfiles"))]

    async def list_hsm_groups(self) -> list[HsmGroup]:
        """Give the HSM groups."""
        return [HsmGroup.read(one) async for one in self._pages(PlatformCall("GET", "/hsmGroups"))]

    # --- routing profiles

    async def list_routing_profiles(self, routing_profile_id: str | None = None) -> list[RoutingProfile]:
        """Give the routing profiles, or the one of that id (such as `TWA_100001135.2647`)."""
        call = PlatformCall("GET", "/routingProfiles")
        if routing_profile_id is not None:
            call = call.with_query(("routingProfileId", routing_profile_id))
        return [RoutingProfile.read(one) for one in await self._list(call)]

    async def get_routing_profile(self, ref: str) -> RoutingProfile:
        """Give one routing profile."""
        return RoutingProfile.read(await self._get(build_get_call("routingProfiles", ref)))

    # --- devices

    async def list_devices(
        self,
        *,
        health_state: str | None = None,
        plan: str | None = None,
        is_extended: bool = False,
        has_statistics: bool = False,
        has_commercial_details: bool = False,
    ) -> AsyncIterator[KpnDevice]:
        """Give the devices, page by page. Without more asked for each has ref, name, DevEUI and DevAddr alone.

        `plan` is a connectivity plan's id, `NO_PLAN` or `ANY_PLAN`.
        """
        query = [("healthState", health_state or ""), ("connectivityPlanId", plan or "")]
        query += [("statistics", "true" if has_statistics else "")]
        query += [("commercialDetails", "true" if has_commercial_details else "")]
        query += [("extendedInfo", "true" if is_extended else "")]
        call = PlatformCall("GET", "/devices", tuple((name, value) for name, value in query if value))
        async for one in self._pages(call):
            yield KpnDevice.read(one)

    async def find_device(self, dev_eui: DevEui, *, is_extended: bool = False) -> KpnDevice | None:
        """Give the device of that DevEUI, or None."""
        call = PlatformCall("GET", "/devices", (("deviceEUI", dev_eui),))
        if is_extended:
            call = call.with_query(("extendedInfo", "true"))
        try:
            devices = [KpnDevice.read(one) for one in await self._list(call)]
        except PlatformRefusedError as exc:
            if exc.status == 404:
                return None
            raise
        return next((device for device in devices if device.dev_eui == dev_eui), None)

    async def get_device(self, ref: str) -> KpnDevice:
        """Give one device, with all that KPN has of it but its keys."""
        return KpnDevice.read(await self._get(build_get_call("devices", ref)))

    # --- alarms and statistics

    async def list_alarms(self, dev_eui: DevEui | None = None) -> AsyncIterator[KpnAlarm]:
        """Give the alarms of all devices, in one piece, or those of one device, page by page."""
        call = PlatformCall("GET", "/deviceAlarms")
        if dev_eui is None:  # there are no pages of all alarms
            for one in await self._list(call):
                yield KpnAlarm.read(one)
            return
        async for one in self._pages(call.with_query(("deviceEUI", dev_eui))):
            yield KpnAlarm.read(one)

    async def get_alarm(self, ref: str) -> KpnAlarm:
        """Give one alarm."""
        return KpnAlarm.read(await self._get(build_get_call("deviceAlarms", ref)))

    async def list_frame_statistics(
        self,
        dev_euis: Sequence[DevEui] = (),
        *,
        base_station_id: str | None = None,
        start: datetime | None = None,
        duration_days: int | None = None,
        aggregation_h: int | None = None,
    ) -> list[FrameStatistics]:
        """Give statistics of frames, of these devices or of all.

        Without `start` KPN gives the newest ones alone; without `duration_days`, 7 days from `start` on; without
        `aggregation_h` (1 to 24), no sums of slots.

        Raises:
            SettingsError: a number is out of range.
        """
        if aggregation_h is not None and not 1 <= aggregation_h <= LONGEST_AGGREGATION_H:
            raise SettingsError(f"Frames are summed over 1 to {LONGEST_AGGREGATION_H} hours, not {aggregation_h}.")
        if duration_days is not None and duration_days < 1:
            raise SettingsError(f"Statistics are of 1 day or more, not {duration_days}.")
        query = {
            "deviceEUIList": self._eui_separator.join(dev_euis),
            "baseStationId": base_station_id or "",
            "startDate": "" if start is None else start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "duration": "" if duration_days is None else str(duration_days),
            "aggregationStep": "" if aggregation_h is None else str(aggregation_h),
        }
        given = tuple((name, value) for name, value in query.items() if value)
        found = await self._list(PlatformCall("GET", "/deviceFrameStatistics", given))
        return [FrameStatistics.read(one) for one in found]

    async def get_health_statistics(self) -> HealthStatistics:
        """Give how many devices are in which health."""
        return HealthStatistics.read(await self._get(PlatformCall("GET", "/deviceHealthStatistics")))

    # --- what all of them do

    async def _send(self, call: PlatformCall, *, may_renew: bool = True) -> PlatformAnswer:
        try:
            return await self._caller.call(self.versioned(call), may_renew=may_renew)
        except LoginRefusedError as exc:
            raise explain_login(exc) from exc
        except PlatformRefusedError as exc:
            if call.method == "GET":
                raise explain(exc) from exc
            raise

    async def _get(self, call: PlatformCall) -> Members:
        answer = await self._send(call)
        if not isinstance(answer.value, dict):
            raise self._other(answer, "one object")
        return answer.members

    async def _list(self, call: PlatformCall) -> Iterable[Members]:
        answer = await self._send(call)
        if not isinstance(answer.value, list):
            raise self._other(answer, "a list")
        return objects_in(answer.value)

    async def _pages(self, call: PlatformCall) -> AsyncIterator[Members]:
        """Give what is in all pages, each object once.

        A server that does not know pages answers with all at once, and again: a page with nothing new is the last.
        """
        seen: set[str] = set()
        for number in range(1, self._most_pages + 1):
            page = list(await self._list(call.with_query(("pageIndex", str(number)))))
            new = 0
            for one in page:
                key = one.text("ref") or json.dumps(one.as_dict, sort_keys=True)
                if key not in seen:
                    seen.add(key)
                    new += 1
                    yield one
            if len(page) < PAGE_SIZE or not new:
                return
        raise PlatformRefusedError(
            f"KPN LoRa gave {self._most_pages} pages of {call.path} and has still more: that is no list.", status=200
        )

    @staticmethod
    def _other(answer: PlatformAnswer, wanted: str) -> PlatformRefusedError:
        return PlatformRefusedError(
            f"KPN LoRa answered with status {answer.status} and something else than {wanted}: the account's API URL is"
            " another one.",
            status=answer.status,
        )
