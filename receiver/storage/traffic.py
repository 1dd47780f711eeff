"""SQL for traffic: what a network counted of a device in a span of time, upserted and looked up by time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, tuple_

from receiver.storage.alarm_tables import traffic
from receiver.storage.engine import dialect_insert
from receiver.storage.platform_tables import platform_accounts
from receiver.storage.tables import connections, devices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection


class SeenTraffic(NamedTuple):
    """What a network counted in the span of `step_s` seconds from `at` on; None: it does not say.

    `up_count` has those that came late in it and not those that were lost; `down_count` those that failed, too. Sizes
    are payloads in bytes, PER is from 0 to 1, RSSI and ESP in dBm, SNR in dB: means over the span.
    """

    at: datetime
    step_s: int
    up_count: int | None = None
    up_size_bytes: int | None = None
    up_late_count: int | None = None
    up_lost_count: int | None = None
    up_join_count: int | None = None
    down_count: int | None = None
    down_size_bytes: int | None = None
    down_failed_count: int | None = None
    flow_count: int | None = None
    flow_up_bytes: int | None = None
    flow_down_bytes: int | None = None
    instant_per: float | None = None
    mean_per: float | None = None
    rssi_dbm: float | None = None
    snr_db: float | None = None
    esp_dbm: float | None = None

    @property
    def is_empty(self) -> bool:
        """Say whether nothing happened in it."""
        return not any((self.up_count, self.up_lost_count, self.up_join_count, self.down_count, self.flow_count))


@dataclass(frozen=True, slots=True)
class TrafficView:
    """What a network counted of a device in the `step_s` seconds from `at` on; null: it does not say.

    `up_count` has those that came late in it and not those that were lost; `down_count` those that failed, too. Sizes
    are payloads in bytes, PER is from 0 to 1, RSSI and ESP in dBm, SNR in dB: means over the span. `account` is null
    where it was removed since.
    """

    dev_eui: str
    device: str | None
    account: str | None
    at: datetime
    step_s: int
    up_count: int | None
    up_size_bytes: int | None
    up_late_count: int | None
    up_lost_count: int | None
    up_join_count: int | None
    down_count: int | None
    down_size_bytes: int | None
    down_failed_count: int | None
    flow_count: int | None
    flow_up_bytes: int | None
    flow_down_bytes: int | None
    instant_per: float | None
    mean_per: float | None
    rssi_dbm: float | None
    snr_db: float | None
    esp_dbm: float | None


class TrafficPlace(NamedTuple):
    """Where a page of traffic ended."""

    at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class TrafficFilter:
    """Which traffic is meant; None: any. `until` itself is not in it."""

    dev_eui: str | None = None
    account: str | None = None
    step_s: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    oldest_first: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        """Give what a row must meet; the table `platform_accounts` is joined to it."""
        wanted: list[tuple[ColumnElement[Any], object]] = [
            (traffic.c.dev_eui, self.dev_eui),
            (platform_accounts.c.name, self.account),
            (traffic.c.step_s, self.step_s),
        ]
        conditions: list[ColumnElement[bool]] = [column == value for column, value in wanted if value is not None]
        if self.since is not None:
            conditions.append(traffic.c.at >= self.since)
        if self.until is not None:
            conditions.append(traffic.c.at < self.until)
        return conditions


_COUNTED = SeenTraffic._fields[2:]
_VIEW = (
    traffic.c.dev_eui,
    devices.c.name.label("device"),
    platform_accounts.c.name.label("account"),
    *(traffic.c[name] for name in SeenTraffic._fields),
)


def upsert_traffic(
    connection: Connection, account_id: int, dev_eui: str, now: datetime, seen: Sequence[SeenTraffic]
) -> None:
    """Write spans; one that is known takes what is counted of it now, since a frame may have come late."""
    if not seen:
        return
    insert = dialect_insert(traffic, connection)
    names = (*_COUNTED, "polled_at")
    statement = insert.on_conflict_do_update(
        index_elements=["dev_eui", "at", "step_s", "account_id"],
        set_={name: insert.excluded[name] for name in names},
    )
    fixed = {"account_id": account_id, "dev_eui": dev_eui, "polled_at": now}
    by_span = {(one.at, one.step_s): one for one in seen}
    connection.execute(statement, [{**one._asdict(), **fixed} for one in by_span.values()])


def list_traffic(
    connection: Connection, wanted: TrafficFilter, *, limit: int, after: TrafficPlace | None = None
) -> tuple[list[TrafficView], TrafficPlace | None]:
    """Give up to `limit` spans by time, and where the next page goes on behind `after`; None: that was all."""
    joined = traffic.outerjoin(platform_accounts, platform_accounts.c.id == traffic.c.account_id)
    joined = joined.outerjoin(devices, devices.c.dev_eui == traffic.c.dev_eui)
    statement = select(traffic.c.id, *_VIEW).select_from(joined).where(*wanted.conditions())
    place = tuple_(traffic.c.at, traffic.c.id)
    if wanted.oldest_first:
        statement = statement.order_by(traffic.c.at, traffic.c.id)
    else:
        statement = statement.order_by(traffic.c.at.desc(), traffic.c.id.desc())
    if after is not None:
        statement = statement.where(place > after if wanted.oldest_first else place < after)
    rows = connection.execute(statement.limit(limit + 1)).all()
    shown = [TrafficView(*row[1:]) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return shown, None if last is None else TrafficPlace(last.at, last.id)


def list_devices_by_platform(connection: Connection, platform: str, after: str, limit: int) -> list[str]:
    """Give DevEUIs behind `after` of devices that were heard by connections of a platform last."""
    statement = (
        select(devices.c.dev_eui)
        .join(connections, connections.c.id == devices.c.connection_id)
        .where(connections.c.platform == platform, devices.c.dev_eui > after)
        .order_by(devices.c.dev_eui)
    )
    return list(connection.scalars(statement.limit(limit)))
