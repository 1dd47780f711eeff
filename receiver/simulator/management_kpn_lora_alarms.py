"""Alarms and frames of a simulated KPN LoRa: raised and counted by whoever drives it, shown as KPN does.

Source: KPN LoRa Device Management API 1.2, DeviceAlarm and FrameStatistics with their operations.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from receiver.simulator.management_kpn_lora_profiles import KpnRefusalError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from receiver.lorawan.identifiers import DevEui

MAX_FRAMES = 100_000
"""Frames that are kept, the newest of them."""

USUAL_DURATION = timedelta(days=7)
_LONGEST_STEP_H = 24


@dataclass(slots=True)
class SimulatedAlarm:
    """An alarm of a device."""

    ref: str
    device_ref: str
    dev_eui: DevEui
    type_id: int
    state: str
    created_at: datetime
    info: tuple[str, ...] = ()
    occurrence: int = 1
    updated_at: datetime | None = None
    acked_at: datetime | None = None
    acked_by: str | None = None

    def shown(self) -> dict[str, object]:
        """Give the alarm as answers show it."""
        shown: dict[str, object] = {
            "ref": self.ref,
            "alarmState": self.state,
            "occurrence": self.occurrence,
            "acked": self.acked_at is not None,
            "creationTime": write_time(self.created_at),
            "lastUpdateTime": write_time(self.updated_at or self.created_at),
        }
        if self.acked_at is not None:
            shown |= {"lastAckTime": write_time(self.acked_at), "ackAuthor": self.acked_by}
        shown |= {f"additionalInfo{number}": one for number, one in enumerate(self.info, 1)}
        return shown | {"deviceRef": self.device_ref, "deviceAlarmTypeId": self.type_id}


@dataclass(frozen=True, slots=True)
class SimulatedFrame:
    """A frame, up or down, as statistics count it."""

    dev_eui: DevEui
    at: datetime
    is_up: bool
    payload_bytes: int
    rssi_dbm: float = -100.0
    snr_db: float = 5.0
    is_good: bool = True
    """Up: it came in time. Down: it was sent."""
    base_station: str = "FF0109A4"


@dataclass(slots=True)
class AlarmBook:
    """The alarms and frames of one subscriber. Not for several threads at a time."""

    random: Random
    by_ref: dict[str, SimulatedAlarm] = field(default_factory=dict)
    frames: deque[SimulatedFrame] = field(default_factory=lambda: deque(maxlen=MAX_FRAMES))

    def get(self, ref: str) -> SimulatedAlarm:
        """Give the alarm of a ref. Raises KpnRefusalError."""
        found = self.by_ref.get(ref)
        if found is None:
            raise KpnRefusalError(404, f"Not found: No DeviceAlarm for ref: {ref}")
        return found

    def add(
        self, device_ref: str, dev_eui: DevEui, type_id: int, state: str, at: datetime, info: Sequence[str]
    ) -> SimulatedAlarm:
        """Raise an alarm."""
        ref = self.random.randbytes(12).hex()
        alarm = SimulatedAlarm(ref, device_ref, dev_eui, type_id, state, at, tuple(info))
        self.by_ref[ref] = alarm
        return alarm

    def select(self, query: Mapping[str, str]) -> list[SimulatedAlarm]:
        """Give the alarms that a query asks for. Raises KpnRefusalError."""
        eui = query.get("deviceEUI")
        if "pageIndex" in query and eui is None:
            raise KpnRefusalError(400, "Bad request: pageIndex needs deviceEUI")
        return [one for one in self.by_ref.values() if eui is None or one.dev_eui == eui.upper()]

    def statistics(self, query: Mapping[str, str], known: frozenset[str]) -> list[dict[str, object]]:
        """Give the frame statistics that a query asks for. Raises KpnRefusalError."""
        euis = {eui.strip().upper() for eui in query.get("deviceEUIList", "").split(",") if eui.strip()}
        if unknown := euis - known:
            raise KpnRefusalError(400, f"Bad request: No Device for EUI: {min(unknown)}")
        frames = [
            frame
            for frame in self.frames
            if (not euis or frame.dev_eui in euis)
            and query.get("baseStationId", frame.base_station) == frame.base_station
        ]
        start = query.get("startDate")
        if start is None:
            newest = max(frames, key=lambda frame: frame.at, default=None)
            frames = [] if newest is None else [newest]
        else:
            begin = _read_time(start)
            end = begin + timedelta(days=_read_number(query, "duration", 10_000) or USUAL_DURATION.days)
            frames = [frame for frame in frames if begin <= frame.at < end]
        step_h = _read_number(query, "aggregationStep", _LONGEST_STEP_H)
        slots: dict[tuple[bool, datetime, int], list[SimulatedFrame]] = defaultdict(list)
        for number, frame in enumerate(frames):
            at = frame.at if step_h is None else _slot(frame.at, step_h)
            slots[not frame.is_up, at, number if step_h is None else 0].append(frame)
        ordered = sorted(slots.items(), key=lambda slot: (slot[0][1], slot[0][0], slot[0][2]))
        return [_shown_slot(at, one) for (_, at, _), one in ordered]


def write_time(at: datetime) -> str:
    """Give a time as KPN writes it, to the millisecond and with its zone."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def _shown_slot(at: datetime, frames: list[SimulatedFrame]) -> dict[str, object]:
    good, bad = [one for one in frames if one.is_good], [one for one in frames if not one.is_good]
    good_bytes, bad_bytes = (sum(one.payload_bytes for one in some) for some in (good, bad))
    is_up = frames[0].is_up
    shown: dict[str, object] = {
        "type": "UPLINK" if is_up else "DOWNLINK",
        "date": write_time(at),
        "frameCount": len(frames),
        "payloadSize": good_bytes + bad_bytes,
    }
    if not is_up:
        return shown | {
            "payloadSentWithSuccess": len(good),
            "payloadSentWithSuccessSize": good_bytes,
            "payloadSentWithFailure": len(bad),
            "payloadSentWithFailureSize": bad_bytes,
        }
    return shown | {
        "baseStationRSSI": round(sum(one.rssi_dbm for one in frames) / len(frames), 6),
        "baseStationSNR": round(sum(one.snr_db for one in frames) / len(frames), 6),
        "payloadReceivedOnTime": len(good),
        "payloadReceivedLate": len(bad),
        "payloadReceivedOnTimeSize": good_bytes,
        "payloadReceivedLateSize": bad_bytes,
        "averagePER": 0.0,
    }


def _slot(at: datetime, step_h: int) -> datetime:
    seconds = step_h * 3600
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)


def _read_time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise KpnRefusalError(400, "Bad request: startDate is not in ISO 8601 format") from exc
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _read_number(query: Mapping[str, str], name: str, most: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise KpnRefusalError(400, f"Bad request: {name} is out of range")
    return int(text)
