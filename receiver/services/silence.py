"""Who has been silent for longer than its own habit: devices, and connections from which nothing arrives."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import nlargest
from typing import TYPE_CHECKING, Literal

from receiver.lorawan.rhythm import FACTOR, NEWEST_TIMES, find_rhythm
from receiver.storage.engine import read
from receiver.storage.silence import list_heard_connections, list_heard_devices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.storage.silence import HeardDevice

PAGE_DEVICES = 500
"""Devices of one read: each is a short snapshot, which holds up no checkpoint of SQLite's write-ahead log."""

Verdict = Literal["heard", "silent", "too_few", "never"]
"""heard within its habit · silent for longer · too few uplinks to know a habit · never heard at all."""


@dataclass(frozen=True, slots=True)
class DeviceSilence:
    """A device against its own rhythm; all durations in seconds. `last_at` is the network's time of its last uplink."""

    dev_eui: str
    name: str | None
    connection: str | None
    verdict: Verdict
    last_at: datetime | None
    silent_s: float | None
    median_s: float | None
    usual_s: float | None
    allowed_s: float | None


@dataclass(frozen=True, slots=True)
class ConnectionSilence:
    """A connection against its own rhythm, which is that of all its devices' uplinks together."""

    name: str
    verdict: Verdict
    last_report_at: datetime | None
    silent_s: float | None
    usual_s: float | None
    allowed_s: float | None


@dataclass(frozen=True, slots=True)
class Silence:
    """One look at everything that sends."""

    devices: list[DeviceSilence]  # without those that were heard
    heard_devices: int
    connections: list[ConnectionSilence]


def look_for_silence(engine: Engine, now: datetime, factor: float = FACTOR) -> Silence:
    """Judge all devices and connections as of `now`; `factor` is how many of its usual intervals each may miss.

    Devices that were heard are only counted, so that what is kept in memory is what is to be told.

    Raises:
        StorageUnavailableError: the database is away.
    """
    silent: list[DeviceSilence] = []
    heard = 0
    times_of: dict[str, list[datetime]] = {}
    for page in _pages(engine):
        for device in page:
            judged = _judge_device(device, now, factor)
            if judged.verdict == "heard":
                heard += 1
            else:
                silent.append(judged)
            if device.connection is not None:
                known = times_of.get(device.connection, [])
                times_of[device.connection] = nlargest(NEWEST_TIMES, {*known, *device.times})
    with read(engine) as tx:
        found = list_heard_connections(tx)
    connections = [
        _judge_connection(one.name, one.last_report_at, times_of.get(one.name, []), now, factor) for one in found
    ]
    return Silence(silent, heard, connections)


def _pages(engine: Engine) -> Iterator[list[HeardDevice]]:
    after = ""
    while True:
        with read(engine) as tx:
            page = list_heard_devices(tx, after=after, limit=PAGE_DEVICES, newest=NEWEST_TIMES)
        yield page
        if len(page) < PAGE_DEVICES:
            return
        after = page[-1].dev_eui


def _judge_device(device: HeardDevice, now: datetime, factor: float) -> DeviceSilence:
    last_at = device.times[0] if device.times else None
    verdict, silent_s, median_s, usual_s, allowed_s = _judge(last_at, device.times, now, factor)
    return DeviceSilence(
        device.dev_eui, device.name, device.connection, verdict, last_at, silent_s, median_s, usual_s, allowed_s
    )


def _judge_connection(
    name: str, last_report_at: datetime | None, times: list[datetime], now: datetime, factor: float
) -> ConnectionSilence:
    verdict, silent_s, _, usual_s, allowed_s = _judge(last_report_at, times, now, factor)
    return ConnectionSilence(name, verdict, last_report_at, silent_s, usual_s, allowed_s)


def _judge(
    last_at: datetime | None, times: list[datetime], now: datetime, factor: float
) -> tuple[Verdict, float | None, float | None, float | None, float | None]:
    if last_at is None:
        return "never", None, None, None, None
    silent_s = max((now - last_at).total_seconds(), 0.0)
    rhythm = find_rhythm(times)
    if rhythm is None:
        return "too_few", silent_s, None, None, None
    allowed_s = rhythm.allowed_s(factor)
    return ("silent" if silent_s > allowed_s else "heard"), silent_s, rhythm.median_s, rhythm.usual_s, allowed_s
