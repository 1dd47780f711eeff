"""One walk through what a network has of an account: its alarms, its devices' traffic, its health.

A walk may be broken off at any moment and begun again: the same again changes nothing. Alarms are begun anew, as a
page costs one request; traffic, which takes hours, goes on behind the last device.
"""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import ConflictError, NoAnswerError, PlatformRefusedError
from receiver.services.alarm_sources import LONGEST_DAYS
from receiver.storage import alarms as stored
from receiver.storage import platform_polls as polls
from receiver.storage.engine import read, write
from receiver.storage.events import EventKind, NewEvent, tell
from receiver.storage.platform_polls import Polled
from receiver.storage.reports import lock_reading
from receiver.storage.traffic import list_devices_by_platform, upsert_traffic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from receiver.services.alarm_sources import AlarmSource
    from receiver.storage.alarms import SeenAlarm

BATCH = 100
"""Alarms written in one transaction: a page of either network."""

LOOKS = 100
"""Alarms that a network listed once and lists no more, looked at in one walk; the others in the next."""

REF_LOOKS = 100
"""Devices that are looked up by a network's own number in one walk; the alarms of the others have no DevEUI yet."""

DEVICES_PER_MINUTE = 10.0
"""Traffic is asked for device by device, and the networks do not say how often they may be asked. So 3600 devices are
gone through in 6 hours; of 100,000 each is asked for once a week, and nothing is lost, as a week is what is given."""

MOST_REFUSED = 20
"""Devices refused one after another, without any that was not, before a walk is broken off: then it is not a device."""

PASS_OVER_AFTER = 3
"""Failures at one device, some minutes apart and each of six tries, before it is passed over."""

LEASE = timedelta(minutes=5)
"""So long after its last sign of life another process takes a walk over. A request with all its repetitions takes less;
where it does not, or two clocks differ by more, both poll for a while, which harms nothing."""

_FORBIDDEN = frozenset({401, 403})


class Walk(NamedTuple):
    """What walks: for which account, and who holds the lease."""

    engine: Engine
    source: AlarmSource
    account_id: int
    surface: str
    holder: str
    clock: Callable[[], datetime]


class LeaseLostError(ConflictError):
    """Another process polls this account now, or it was removed."""


async def walk_alarms(walk: Walk) -> dict[str, int]:
    """List all alarms and write what is new in them; what is listed no more is looked at, and gone if it is not there.

    Raises:
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the network; what came before is written.
        LeaseLostError: another process does it.
        StorageUnavailableError: the database is away.
    """
    began_at = asked_at = walk.clock()
    counts = dict.fromkeys(("listed", "new", "changed", "gone"), 0)
    refs = _DeviceRefs(walk)
    batch: list[SeenAlarm] = []
    async for alarm in walk.source.list_alarms():
        batch.append(alarm)
        if len(batch) >= BATCH:
            await _write(walk, batch, refs, asked_at, counts)
            batch, asked_at = [], walk.clock()
    await _write(walk, batch, refs, asked_at, counts)
    with read(walk.engine) as tx:
        unlisted = stored.list_unlisted(tx, walk.account_id, began_at, 0, LOOKS)
    gone: list[int] = []
    for alarm_id, remote_id in unlisted:
        asked_at = walk.clock()
        found = await walk.source.find_alarm(remote_id)
        if found is None:
            gone.append(alarm_id)
        else:
            await _write(walk, [found], refs, asked_at, counts)
    if gone:
        with write(walk.engine) as tx:
            _hold(walk, Polled.ALARMS, tx)
            stored.mark_gone(tx, walk.clock(), gone)
    counts["gone"] = len(gone)
    return counts


async def walk_traffic(
    walk: Walk,
    *,
    began_at: datetime,
    position: str,
    last_from: datetime | None,
    failures: int = 0,
    per_minute: float = DEVICES_PER_MINUTE,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> dict[str, int]:
    """Ask for the traffic of each device behind `position` that was heard by this platform, and write it.

    What is asked for begins where the walk before began (`last_from`), a day at least and a week at most. After some
    `failures` in a row the device that it stands at is passed over: it may be the only one that gets no answer.

    Raises:
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the network; what came before is written.
        LeaseLostError: another process does it.
        StorageUnavailableError: the database is away.
    """
    counts = dict.fromkeys(("devices", "spans", "unknown", "refused"), 0)
    while True:
        with read(walk.engine) as tx:
            dev_euis = list_devices_by_platform(tx, walk.surface, position, 1)
        if not dev_euis:
            return counts
        now = walk.clock()
        try:
            found = await walk.source.list_traffic(dev_euis[0], days_since(last_from, now), now)
        except PlatformRefusedError as exc:
            counts["refused"] += 1
            if exc.status in _FORBIDDEN or MOST_REFUSED <= counts["refused"] > counts["devices"]:
                raise
            found = []
        except NoAnswerError:
            if counts["devices"] or failures < PASS_OVER_AFTER:
                raise
            counts["refused"] += 1
            found = []
        position = dev_euis[0]
        with write(walk.engine) as tx:
            _hold(walk, Polled.TRAFFIC, tx)
            upsert_traffic(tx, walk.account_id, position, walk.clock(), found or [])
            polls.note_progress(tx, walk.account_id, Polled.TRAFFIC, began_at=began_at, position=position)
        counts["devices"] += 1
        counts["spans"] += len(found or ())
        counts["unknown"] += found is None
        await sleep(60 / per_minute)


def days_since(last_from: datetime | None, now: datetime) -> int:
    """Give how many days to ask for, so that the hour amid which the walk before began is whole."""
    if last_from is None or last_from > now:
        return LONGEST_DAYS
    return min(LONGEST_DAYS, max(1, math.ceil((now - last_from + timedelta(hours=2)) / timedelta(days=1))))


class _DeviceRefs:
    """Learns the DevEUIs of devices that a network names by its own numbers, each asked for once in a walk."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._known: dict[str, str | None] = {}
        self._asked = 0

    async def fill(self, seen: Sequence[SeenAlarm]) -> list[SeenAlarm]:
        """Give the alarms with their DevEUIs, as far as these can be had."""
        refs = {alarm.device_ref for alarm in seen if alarm.dev_eui is None and alarm.device_ref is not None}
        unknown = sorted(refs - self._known.keys())
        if unknown:
            with read(self._walk.engine) as tx:
                self._known |= stored.list_device_refs(tx, self._walk.account_id, unknown)
        for ref in unknown:
            if ref not in self._known and self._asked < REF_LOOKS:
                self._asked += 1
                self._known[ref] = await self._walk.source.find_dev_eui(ref)
        return [
            alarm._replace(dev_eui=self._known.get(alarm.device_ref))
            if alarm.dev_eui is None and alarm.device_ref is not None
            else alarm
            for alarm in seen
        ]


async def _write(
    walk: Walk, batch: list[SeenAlarm], refs: _DeviceRefs, asked_at: datetime, counts: dict[str, int]
) -> None:
    """Write a batch, and tell of what is new or worse in it."""
    seen = await refs.fill(batch)
    with write(walk.engine) as tx:
        _hold(walk, Polled.ALARMS, tx)
        now = walk.clock()
        found = stored.upsert_alarms(tx, walk.account_id, now, seen, asked_at)
        if found.to_tell:
            lock_reading(tx)
            by_id = {row.id: row.dev_eui for row in stored.list_alarms_by_id(tx, found.to_tell)}
            told = [NewEvent(EventKind.ALARM, alarm_id, by_id[alarm_id], None) for alarm_id in found.to_tell]
            tell(tx, now, told)
    counts["listed"] += len(seen)
    counts["new"] += len(found.new)
    counts["changed"] += len(found.changed)


def _hold(walk: Walk, what: Polled, tx: Connection) -> None:
    """Renew the lease within the transaction, so that what is written is written by who holds it."""
    now = walk.clock()
    if not polls.take_lease(tx, walk.account_id, what, holder=walk.holder, now=now, until=now + LEASE):
        raise LeaseLostError("Another process polls this account just now, or it was removed.")
