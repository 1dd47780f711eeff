"""SQL for the counters of key streams: each is given out once, and the database refuses to give it out again.

A lane names a key stream; `receiver.services.downlink_counters` makes it. Its row is locked by who takes a counter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, insert, select, update

from receiver.lorawan.frame_counter import F_CNT_MAX
from receiver.storage import pg_arrays
from receiver.storage.batch_statements import as_utc, select_by
from receiver.storage.downlink_tables import downlink_counter_uses, downlink_counters, downlink_events
from receiver.storage.engine import dialect_insert
from receiver.storage.seen_devices import LORAWAN_1_1
from receiver.storage.tables import devices

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from sqlalchemy import Connection

USES_AT_ONCE = 500
"""Rows that are looked through at a time for a free counter; the first one is nearly always free."""


class UplinkFact(NamedTuple):
    """What an uplink says of its device's downlinks; the columns are those of `uplinks`."""

    session_id: int | None
    payload_state: str
    f_cnt_down: int | None
    received_at: datetime
    device_class: str | None


NEWEST_UPLINKS = 20
"""Of a device, that are asked whether its payloads are encrypted; one of them has a payload, as nearly all have."""

_FACTS = "uplink.dev_eui, uplink.session_id, uplink.payload_state, uplink.f_cnt_down, uplink.received_at"

_NEWEST_SQLITE = (
    f"SELECT {_FACTS}, uplink.device_class FROM json_each(?) AS device"  # noqa: S608 - constants only
    " CROSS JOIN uplinks AS uplink ON uplink.id IN"
    f" (SELECT id FROM uplinks WHERE dev_eui = device.value ORDER BY at DESC LIMIT {NEWEST_UPLINKS})"
    " ORDER BY uplink.at DESC"
)
_NEWEST_POSTGRESQL = (
    f"SELECT {_FACTS}, uplink.device_class FROM unnest(%b) AS device (dev_eui) CROSS JOIN LATERAL"  # noqa: S608
    f" (SELECT * FROM uplinks WHERE dev_eui = device.dev_eui ORDER BY at DESC LIMIT {NEWEST_UPLINKS}) AS uplink"
    " ORDER BY uplink.at DESC"
)


def list_newest_uplinks(connection: Connection, dev_euis: Iterable[str]) -> dict[str, list[UplinkFact]]:
    """Give the newest uplinks of each device, the newest first, at most `NEWEST_UPLINKS` each."""
    found: dict[str, list[UplinkFact]] = {}
    rows = select_by(connection, _NEWEST_SQLITE, _NEWEST_POSTGRESQL, sorted(set(dev_euis)), pg_arrays.texts)
    for dev_eui, session_id, payload_state, f_cnt_down, received_at, device_class in rows:
        fact = UplinkFact(session_id, payload_state, f_cnt_down, as_utc(received_at), device_class)
        found.setdefault(dev_eui, []).append(fact)
    return found


def list_lorawan_1_1(connection: Connection, dev_euis: Iterable[str]) -> set[str]:
    """Give those of the devices that are of LoRaWAN 1.1."""
    wanted = sorted(set(dev_euis))
    if not wanted:
        return set()
    of_them = select(devices.c.dev_eui).where(devices.c.dev_eui.in_(wanted), devices.c.lorawan_version == LORAWAN_1_1)
    return set(connection.scalars(of_them))


def lock_lane(connection: Connection, lane: bytes) -> int:
    """Give the next counter of a lane as it stands here, and keep others from it until the transaction ends."""
    fresh = dialect_insert(downlink_counters, connection).values(lane=lane, next=0)
    connection.execute(fresh.on_conflict_do_nothing())
    statement = select(downlink_counters.c.next).where(downlink_counters.c.lane == lane)
    following: int = connection.execute(statement.with_for_update()).scalar_one()
    return following


def set_next_counter(connection: Connection, lane: bytes, following: int) -> None:
    """Write which counter comes next; one that is used is passed over all the same."""
    connection.execute(update(downlink_counters).where(downlink_counters.c.lane == lane).values(next=following))


def use_counter(connection: Connection, lane: bytes, f_cnt_down: int, downlink_id: int, now: datetime) -> None:
    """Give a counter out, for ever.

    Raises:
        IntegrityError: it was given out before.
    """
    values = {"lane": lane, "f_cnt_down": f_cnt_down, "downlink_id": downlink_id, "used_at": now}
    connection.execute(insert(downlink_counter_uses).values(values))
    set_next_counter(connection, lane, f_cnt_down + 1)


def find_counter_user(connection: Connection, lane: bytes, f_cnt_down: int) -> int | None:
    """Give the id of the downlink that a counter was given out for; None if it never was."""
    uses = downlink_counter_uses.c
    return connection.scalar(select(uses.downlink_id).where(uses.lane == lane, uses.f_cnt_down == f_cnt_down))


def find_lane_of(connection: Connection, downlink_id: int, f_cnt_down: int) -> bytes | None:
    """Give the lane in which a downlink has a counter."""
    uses = downlink_counter_uses.c
    lane = connection.scalar(
        select(uses.lane)
        .where(uses.downlink_id == downlink_id, uses.f_cnt_down == f_cnt_down)
        .order_by(uses.used_at.desc())
        .limit(1)
    )
    return None if lane is None else bytes(lane)


def find_free_counter(connection: Connection, lane: bytes, least: int) -> int | None:
    """Give the first counter from `least` on that was never given out; None if there is none."""
    uses = downlink_counter_uses.c
    candidate = least
    while candidate <= F_CNT_MAX:
        statement = (
            select(uses.f_cnt_down)
            .where(uses.lane == lane, uses.f_cnt_down >= candidate)
            .order_by(uses.f_cnt_down)
            .limit(USES_AT_ONCE)
        )
        used = connection.scalars(statement).all()
        for counter in used:
            if counter != candidate:
                return candidate
            candidate += 1
        if len(used) < USES_AT_ONCE:
            break
    return candidate if candidate <= F_CNT_MAX else None


def newest_use_at(connection: Connection, lane: bytes) -> datetime | None:
    """Give when a counter of the lane was given out last."""
    newest: datetime | None = connection.scalar(
        select(func.max(downlink_counter_uses.c.used_at)).where(downlink_counter_uses.c.lane == lane)
    )
    return newest


def count_steps(connection: Connection, downlink_id: int, causes: Collection[str]) -> int:
    """Count the events of a downlink that have one of these causes."""
    events = downlink_events.c
    statement = select(func.count()).where(events.downlink_id == downlink_id, events.cause.in_(causes))
    return connection.execute(statement).scalar_one()
