"""Alarms, traffic and health as one shape, whichever network they come from.

What a network writes is bounded and cleaned here: it goes into the database, and from there to terminals and streams.
Sources: KPN LoRa Device Management API 1.2, `DeviceAlarm`, `FrameStatistics`, `DeviceHealthStatistics`; ThingPark
Device Manager contract 7.3, `AlarmBrief`, `FramesDeviceAggregation`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from receiver.errors import IdentifierError, PlatformRefusedError
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.platforms.thingpark_refusals import is_absent
from receiver.storage.alarms import AlarmState, SeenAlarm
from receiver.storage.traffic import SeenTraffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from datetime import datetime

    from receiver.platforms.kpn_lora import KpnLoraClient
    from receiver.platforms.kpn_lora_records import FrameStatistics, KpnAlarm
    from receiver.platforms.thingpark import ThingParkClient
    from receiver.platforms.thingpark_alarms import Alarm as ThingParkAlarm
    from receiver.platforms.thingpark_traffic import FrameSlot

STEP_S = 3600
"""An hour: the least span that both networks sum up."""

LONGEST_DAYS = 7
"""Of traffic asked for at a time: what both networks give where nothing is said."""

MOST_INFO = 500
"""Characters of each text of an alarm that are kept; the longest that is documented has some twenty."""

MOST_COUNT = 2**31 - 1
"""More of anything is not counted: it is the greatest number of the column."""

_NO_DEVICE = re.compile(r"\bno device\b", re.IGNORECASE)
"""KPN's words for what is not there are like "No ConnectivityPlan for ID: …", with status 400."""

T = TypeVar("T")


class AlarmSource(Protocol):
    """What polling asks of a network, for one account.

    All methods raise `PlatformRefusedError`, `LoginRefusedError` or `NoAnswerError`.
    """

    acks_at_once: int
    """How many alarms one acknowledgement may name."""

    def list_alarms(self) -> AsyncIterator[SeenAlarm]:
        """Give all alarms of the account, page by page, each at least once."""
        ...

    async def find_alarm(self, remote_id: str) -> SeenAlarm | None:
        """Give one alarm, or None: the network knows it no more."""
        ...

    async def find_dev_eui(self, device_ref: str) -> str | None:
        """Give the DevEUI of a device that an alarm names by the network's own number, or None."""
        ...

    async def acknowledge(self, remote_ids: Sequence[str]) -> None:
        """Acknowledge up to `acks_at_once` alarms. To do it again is harmless, so a lost answer is asked for again."""
        ...

    async def list_traffic(self, dev_eui: str, days: int, now: datetime) -> list[SeenTraffic] | None:
        """Give what was counted of a device in the last days (1 to 7), in steps of an hour, but for empty ones.

        None: the account has no such device.
        """
        ...

    async def get_health(self) -> Mapping[str, int] | None:
        """Give how many devices are in which health; None: this network does not tell."""
        ...


class KpnSource:
    """The source of an account at KPN LoRa."""

    acks_at_once = 1

    def __init__(self, client: KpnLoraClient) -> None:
        self._client = client

    async def list_alarms(self) -> AsyncIterator[SeenAlarm]:
        """Give all alarms. KPN gives those of a whole subscription in one piece."""
        async for alarm in self._client.list_alarms():
            seen = _of_kpn(alarm)
            if seen is not None:
                yield seen

    async def find_alarm(self, remote_id: str) -> SeenAlarm | None:
        """Give one alarm, or None."""
        try:
            return _of_kpn(await self._client.get_alarm(remote_id))
        except PlatformRefusedError as exc:
            if is_absent(exc):
                return None
            raise

    async def find_dev_eui(self, device_ref: str) -> str | None:
        """Give the DevEUI of a device by its `ref`, or None."""
        try:
            return (await self._client.get_device(device_ref)).dev_eui
        except (PlatformRefusedError, IdentifierError) as exc:
            if isinstance(exc, IdentifierError) or is_absent(exc):
                return None
            raise

    async def acknowledge(self, remote_ids: Sequence[str]) -> None:
        """Acknowledge an alarm."""
        for remote_id in remote_ids:
            await self._client.acknowledge_alarm(remote_id)

    async def list_traffic(self, dev_eui: str, days: int, now: datetime) -> list[SeenTraffic] | None:
        """Give what was counted of a device. The statistics do not name it, so it is asked for alone."""
        start = window_start(now, days)
        try:
            found = await self._client.list_frame_statistics(
                [parse_dev_eui(dev_eui)], start=start, duration_days=days, aggregation_h=STEP_S // 3600
            )
        except PlatformRefusedError as exc:
            if is_absent(exc) or _NO_DEVICE.search(exc.said):
                return None
            raise
        return merge_kpn_statistics(found, start)

    async def get_health(self) -> Mapping[str, int] | None:
        """Give how many devices are in which health."""
        health = await self._client.get_health_statistics()
        found = {
            "init": health.init,
            "active": health.active,
            "rf_connection_error": health.rf_connection_error,
            "total": health.total,
        }
        return {name: count for name, count in found.items() if count is not None}


class ThingParkSource:
    """The source of an account at ThingPark."""

    acks_at_once = 100

    def __init__(self, client: ThingParkClient) -> None:
        self._client = client

    async def list_alarms(self) -> AsyncIterator[SeenAlarm]:
        """Give all alarms, sorted by uid and paged by cursor."""
        async for alarm in self._client.list_alarms():
            seen = _of_thingpark(alarm)
            if seen is not None:
                yield seen

    async def find_alarm(self, remote_id: str) -> SeenAlarm | None:
        """Give one alarm, or None."""
        alarm = await self._client.find_alarm(remote_id)
        return None if alarm is None else _of_thingpark(alarm)

    async def find_dev_eui(self, device_ref: str) -> str | None:  # noqa: ARG002 - the Protocol's
        """Give None: ThingPark's alarms have the DevEUI."""
        return None

    async def acknowledge(self, remote_ids: Sequence[str]) -> None:
        """Acknowledge alarms, all by one request."""
        await self._client.acknowledge_alarms(remote_ids)

    async def list_traffic(self, dev_eui: str, days: int, now: datetime) -> list[SeenTraffic] | None:
        """Give what was counted of a device."""
        begin = window_start(now, days)
        try:
            slots = await self._client.list_aggregated_frames(dev_eui, f"P{days}D", "PT1H", "UTC", begin=begin)
        except PlatformRefusedError as exc:
            if is_absent(exc):
                return None
            raise
        spans = [_of_slot(slot) for slot in slots if slot.at is not None and slot.at >= begin]
        return [span for span in spans if not span.is_empty]

    async def get_health(self) -> Mapping[str, int] | None:
        """Give None: ThingPark tells the health of single devices only."""
        return None


def merge_kpn_statistics(found: Iterable[FrameStatistics], start: datetime) -> list[SeenTraffic]:
    """Give spans of an hour out of KPN's statistics, which have one object for each direction.

    What began before `start` is left out, as it is not whole. The size of an aggregated slot is documented as a total
    and as an average, so it is summed from those on time and late, and taken as it stands only without these.
    """
    spans: dict[datetime, SeenTraffic] = {}
    for one in found:
        if one.at is None or one.at < start:
            continue
        span = spans.get(one.at, SeenTraffic(one.at, STEP_S))
        if (one.type or "").upper() == "DOWNLINK":
            counts = (one.sent, one.not_sent)
            spans[one.at] = span._replace(
                down_count=count(one.frame_count if one.frame_count is not None else _sum(*counts)),
                down_size_bytes=count(_first(_sum(one.sent_bytes, one.not_sent_bytes), one.payload_bytes)),
                down_failed_count=count(one.not_sent),
            )
            continue
        spans[one.at] = span._replace(
            up_count=count(one.frame_count if one.frame_count is not None else _sum(one.on_time, one.late)),
            up_size_bytes=count(_first(_sum(one.on_time_bytes, one.late_bytes), one.payload_bytes)),
            up_late_count=count(one.late),
            mean_per=ratio(one.average_per),
            rssi_dbm=one.rssi_dbm,
            snr_db=one.snr_db,
        )
    return [span for span in spans.values() if not span.is_empty]


def window_start(now: datetime, days: int) -> datetime:
    """Give the full hour at which a window of so many days begins that has the present hour in it."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1) - timedelta(days=days)


def parse_state(text: str | None) -> AlarmState:
    """Give a state by KPN's name for it; one that is unknown is INDETERMINATE, which says that it is not cleared."""
    try:
        return AlarmState((text or "").strip().upper())
    except ValueError:
        return AlarmState.INDETERMINATE


def state_of(number: int | None) -> AlarmState:
    """Give a state by ThingPark's number for it, likewise."""
    states = list(AlarmState)
    return states[number - 1] if number is not None and 1 <= number <= len(states) else AlarmState.INDETERMINATE


def clean(text: str | None) -> str | None:
    """Give a text that both databases take: without NUL and half characters, and of a bounded length."""
    if text is None:
        return None
    return text[:MOST_INFO].replace("\0", "").encode("utf-8", "replace").decode()


def clean_infos(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Give the additional texts of an alarm without the empty ones at their end."""
    infos = [clean(text) or "" for text in texts]
    while infos and not infos[-1]:
        infos.pop()
    return tuple(infos)


def count(number: int | None) -> int | None:
    """Give a count that fits its column; None for what is none."""
    return None if number is None or number < 0 else min(number, MOST_COUNT)


def ratio(number: float | None) -> float | None:
    """Give a ratio from 0 to 1; None for what is none."""
    return number if number is not None and 0 <= number <= 1 else None


def remote_id_of(text: str | None) -> str | None:
    """Give what names an alarm at its network, or None for what cannot: it is printable ASCII, and short."""
    return text if text and len(text) <= 100 and text.isascii() and text.isprintable() else None


def dev_eui_of(text: str | None) -> str | None:
    """Give a DevEUI in the house's spelling, or None."""
    try:
        return None if text is None else parse_dev_eui(text)
    except IdentifierError:
        return None


def _of_kpn(alarm: KpnAlarm) -> SeenAlarm | None:
    remote_id = remote_id_of(alarm.ref)
    if remote_id is None:
        return None
    return SeenAlarm(
        remote_id=remote_id,
        dev_eui=None,
        device_ref=remote_id_of(alarm.device_ref),
        type_id=count(alarm.alarm_type_id),
        state=parse_state(alarm.state),
        occurrence=count(alarm.occurrence),
        acked=bool(alarm.acked),
        acked_by=clean(alarm.acked_by),
        acked_at=alarm.acked_at,
        created_at=alarm.created_at,
        updated_at=alarm.updated_at,
        infos=clean_infos(alarm.additional_info),
    )


def _of_thingpark(alarm: ThingParkAlarm) -> SeenAlarm | None:
    remote_id = remote_id_of(alarm.uid)
    if remote_id is None:
        return None
    return SeenAlarm(
        remote_id=remote_id,
        dev_eui=dev_eui_of(alarm.dev_eui),
        device_ref=None,
        type_id=count(alarm.type_id),
        state=state_of(alarm.state),
        occurrence=count(alarm.occurrence),
        acked=bool(alarm.is_acknowledged),
        acked_by=clean(alarm.acknowledged_by),
        acked_at=alarm.acknowledged_at,
        created_at=alarm.created_at,
        updated_at=alarm.updated_at,
        infos=clean_infos(alarm.additional),
    )


def _of_slot(slot: FrameSlot) -> SeenTraffic:
    assert slot.at is not None  # noqa: S101 - those without a time were left out
    return SeenTraffic(
        at=slot.at,
        step_s=STEP_S,
        up_count=count(slot.up_count),
        up_size_bytes=count(slot.up_bytes),
        up_late_count=count(slot.up_late),
        up_lost_count=count(slot.up_lost),
        up_join_count=count(slot.join_requests),
        down_count=count(slot.down_count),
        down_size_bytes=count(slot.down_bytes),
        down_failed_count=count(slot.down_failed),
        flow_count=count(slot.microflow_count),
        flow_up_bytes=count(slot.microflow_bytes_up),
        flow_down_bytes=count(slot.microflow_bytes_down),
        instant_per=ratio(slot.instant_per_mean),
        mean_per=ratio(slot.mean_per_mean),
        rssi_dbm=slot.rssi_dbm_mean,
        snr_db=slot.snr_db_mean,
        esp_dbm=slot.esp_dbm_mean,
    )


def _sum(*numbers: int | None) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _first(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)
