"""Traffic and alarms of devices at a simulated ThingPark: what is put in here is answered as ThingPark would.

Sources: Device Manager contract 7.3, `FramesDevice`, `FramesDeviceAggregation`, `AlarmDeviceBrief`; the tutorial of
docs.thingpark.com for paging alarms by cursor.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from receiver.simulator.management_thingpark_book import ThingParkRefusalError, to_ms
from receiver.simulator.management_thingpark_paging import cursor_page, list_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from receiver.simulator.management_thingpark_book import (
        Json,
        ManagedDevice,
        SimulatedAlarm,
        SimulatedFrame,
        ThingParkBook,
    )
    from receiver.simulator.management_thingpark_paging import Query

UPLINK, DOWNLINK = 0, 1
JOIN_REQUEST, JOIN_ACCEPT = 4, 1004
CLEARED = 1

_DURATION = re.compile(r"P(?:(\d{1,4})D|T(\d{1,5})H)\Z")
_STEP = re.compile(r"P(?:1D|T(\d{1,2})H)\Z")
_INFO_NAMES = ("addInfo", "addInfo2", "addInfo3", "addInfo4", "addInfo5")


def list_frames(book: ThingParkBook, device: ManagedDevice, query: Query) -> Json:
    """Answer the single frames of a device, the newest first."""
    frames = _in_window(book, device, query)
    return {"briefs": [_show_frame(one) for one in reversed(frames)], "lrrs": [], "now": to_ms(book.clock())}


def list_aggregated_frames(book: ThingParkBook, device: ManagedDevice, query: Query) -> Json:
    """Answer the traffic history of a device in slots, the newest first."""
    try:
        zone = ZoneInfo(query.one("timezone") or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise ThingParkRefusalError("Invalid query parameter timezone") from exc
    slot_of = _slots(query.one("step") or "PT1H", zone)
    slots: dict[datetime, list[SimulatedFrame]] = {}
    if book.rules.shows_empty_slots:
        begin, end = _window(book, query)
        while begin < end:
            slots.setdefault(slot_of(begin), [])
            begin += timedelta(hours=1)
    for frame in _in_window(book, device, query):
        slots.setdefault(slot_of(frame.at), []).append(frame)
    briefs = [_show_slot(at, slots[at]) for at in sorted(slots, reverse=True)]
    return {"now": to_ms(book.clock()), "briefs": briefs}


def count_spreading_factors(device: ManagedDevice) -> Json:
    """Answer how many frames had which spreading factor."""

    def count(type_: int, sf: int | None = None) -> int:
        return sum(one.type == type_ and sf in {None, one.sf} for one in device.frames)

    briefs = [
        {"sf": sf, "up": {"count": count(UPLINK, sf)}, "dw": {"count": count(DOWNLINK, sf)}} for sf in range(7, 13)
    ]
    return {"briefs": briefs, "up": {"totalCount": count(UPLINK)}, "dw": {"totalCount": count(DOWNLINK)}}


def list_alarms(book: ThingParkBook, query: Query, device: ManagedDevice | None = None) -> Json:
    """Answer the alarms of all devices, by cursor where sorted by alarmUid; or of one, by number."""
    since, least = _time(query, "from"), query.number("state", 1, 1)
    until, acked, type_, uid = _time(query, "to"), query.one("acked"), query.one("ID"), query.one("alarmUid")
    is_equal = query.one("stateFiltering") == "EQUAL"
    euis = query.all("devEUI")
    found = [
        one
        for one in book.alarms.values()
        if (device is None or one.dev_eui == device.eui)
        and (since is None or one.created_at >= since)
        and (until is None or one.updated_at <= until)
        and (one.state == least if is_equal else one.state >= least)
        and acked in {None, str(one.acked_at is not None).lower()}
        and type_ in {None, str(one.id)}
        and uid in {None, one.uid}
        and (not euis or any(one.dev_eui.startswith(eui.upper()) for eui in euis))
    ]

    def show(one: SimulatedAlarm) -> Json:
        return show_alarm(book, one)

    if device is not None:
        return list_page(query, book.rules, found, show)
    if not book.rules.has_alarm_cursors:
        if (query.one("sort") or "").startswith("alarmUid"):
            raise ThingParkRefusalError("Invalid query parameter sort")
        return list_page(query, book.rules, found, show, counted=True)
    return cursor_page(query, book.rules, found, show, "alarmUid", lambda one: one.uid)


def acknowledge(book: ThingParkBook, alarms: Iterable[SimulatedAlarm]) -> None:
    """Acknowledge alarms: their state stays."""
    for alarm in alarms:
        alarm.acked_by, alarm.acked_at = book.who, book.clock()


def find_alarms(book: ThingParkBook, uids: object) -> list[SimulatedAlarm]:
    """Give alarms by their uids, or refuse it."""
    if not isinstance(uids, list) or any(str(uid) not in book.alarms for uid in uids):
        raise ThingParkRefusalError("Alarm not found")
    return [book.alarms[str(uid)] for uid in uids]


def show_alarm(book: ThingParkBook, one: SimulatedAlarm) -> Json:
    """Give an alarm as a list shows it."""
    device = book.devices.get(one.dev_eui)
    uid = device.uid if device is not None else 0
    alarm: Json = {
        "ID": one.id,
        "alarmUid": one.uid,
        "state": one.state,
        "level": one.state - 1,
        "occurrence": one.occurrence,
        "acked": one.acked_at is not None,
        "creationTimestamp": to_ms(one.created_at),
        "updateTimestamp": to_ms(one.updated_at),
        "device": {"EUI": one.dev_eui, "name": device.members.get("name") if device is not None else None},
        "href": book.href("devices", uid, "alarms", one.uid),
    }
    if one.acked_at is not None:
        alarm |= {"ackedInfo": one.acked_by, "ackedTimestamp": to_ms(one.acked_at)}
    return alarm | dict(zip(_INFO_NAMES, one.additional, strict=False))


def _in_window(book: ThingParkBook, device: ManagedDevice, query: Query) -> list[SimulatedFrame]:
    begin, end = _window(book, query)
    types = query.all("type")
    return [one for one in device.frames if begin <= one.at < end and (not types or str(one.type) in types)]


def _window(book: ThingParkBook, query: Query) -> tuple[datetime, datetime]:
    found = _DURATION.match(query.one("duration") or "P7D")
    if found is None:
        raise ThingParkRefusalError("Invalid query parameter duration")
    duration = timedelta(days=int(found[1] or 0), hours=int(found[2] or 0))
    begin = _time(query, "begin")
    if begin is None:
        end = book.clock() + timedelta(milliseconds=1)
        return end - duration, end
    return begin, begin + duration


def _time(query: Query, name: str) -> datetime | None:
    text = query.one(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ThingParkRefusalError(f"Invalid query parameter {name}") from exc
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _slots(step: str, zone: ZoneInfo) -> Callable[[datetime], datetime]:
    """Give what tells the slot of a time: they are counted from midnight of 1970-01-01 in the zone."""
    found = _STEP.match(step)
    if found is None or (found[1] is not None and not 1 <= int(found[1]) <= 24):
        raise ThingParkRefusalError("Invalid query parameter step")
    if found[1] is None:
        return lambda at: at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    origin, length = datetime(1970, 1, 1, tzinfo=zone).astimezone(UTC), timedelta(hours=int(found[1]))
    return lambda at: origin + (at - origin) // length * length


def _show_frame(one: SimulatedFrame) -> Json:
    frame: Json = {"type": one.type, "timestamp": to_ms(one.at), "sf": one.sf, "size": one.size}
    if one.type == UPLINK:
        return frame | {"rssi": one.rssi, "snr": one.snr, "esp": one.rssi - 1.0, "late": one.is_late, "overflow": False}
    return frame | {"deliveryStatus": int(one.is_sent), "overflow": False}


def _show_slot(at: datetime, frames: Sequence[SimulatedFrame]) -> Json:
    ups = [one for one in frames if one.type == UPLINK]
    downs = [one for one in frames if one.type == DOWNLINK]
    late, failed = [one for one in ups if one.is_late], [one for one in downs if not one.is_sent]
    lost = sum(one.lost_before for one in ups)
    per = lost / (lost + len(ups)) if ups else 0.0
    rssi = _mean([one.rssi for one in ups])
    return {
        "timestamp": to_ms(at),
        "instantPerMean": per,
        "meanPerMean": per,
        "rssiMean": rssi,
        "snrMean": _mean([one.snr for one in ups]),
        "espMean": rssi - 1.0,
        "mf": {"count": 0, "size": 0, "sizeUp": 0, "sizeDown": 0, "duration": 0},
        "up": {
            "count": len(ups),
            "size": _bytes(ups),
            "countOnTime": len(ups) - len(late),
            "sizeOnTime": _bytes(ups) - _bytes(late),
            "countLate": len(late),
            "sizeLate": _bytes(late),
            "countLost": lost,
            "subTypes": _subtypes(ups, JOIN_REQUEST, ("countOnTime", "countLate"), lambda one: not one.is_late),
        },
        "dw": {
            "count": len(downs),
            "size": _bytes(downs),
            "countSent": len(downs) - len(failed),
            "sizeSent": _bytes(downs) - _bytes(failed),
            "countFailed": len(failed),
            "sizeFailed": _bytes(failed),
            "subTypes": _subtypes(downs, JOIN_ACCEPT, ("countSent", "countFailed"), lambda one: one.is_sent),
        },
    }


def _subtypes(
    frames: Sequence[SimulatedFrame], subtype: int, names: tuple[str, str], is_good: Callable[[SimulatedFrame], bool]
) -> list[Json]:
    of_it = [one for one in frames if one.subtype == subtype]
    good = sum(is_good(one) for one in of_it)
    return [{"subType": subtype, names[0]: good, names[1]: len(of_it) - good}] if of_it else []


def _bytes(frames: Iterable[SimulatedFrame]) -> int:
    return sum(one.size for one in frames)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
