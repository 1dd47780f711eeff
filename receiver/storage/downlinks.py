"""SQL for the ledger of downlinks: what is put in, taken back, expires, and is looked up.

States are changed by `receiver.storage.downlink_events` only. What is said to lock needs `lock_reading` held by the
transaction; rows are locked too, so that whoever claims a downlink and whoever takes it back cannot both succeed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, insert, literal_column, select

from receiver.storage.downlink_events import DownlinkState
from receiver.storage.downlink_tables import downlink_events, downlink_keys, downlinks
from receiver.storage.tables import connections, devices, reports, uplinks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

ID_MAX = 2**63 - 1
"""An id of more bits is in no table, and in no parameter of a statement either."""


MULTICAST_SUMMARY = "DevEUI_multicast_summary"
"""The kind of the report that sums up a multicast. Source: ThingPark LRC–AS tunnel interface, reports."""


@dataclass(frozen=True, slots=True, repr=False)
class NewDownlink:
    """A downlink to be put in, queued; `payload` None: only the network's queue is flushed."""

    dev_eui: str
    connection_id: int
    created_at: datetime
    created_by: str
    reference: str | None
    f_port: int | None
    payload: bytes | None
    object: str | None
    codec_version_id: int | None
    confirmed: bool
    flush: bool
    priority: int
    not_before: datetime | None
    expires_at: datetime | None
    detail: str | None
    correlation_id: str


@dataclass(frozen=True, slots=True, repr=False)
class DownlinkView:
    """A downlink as it stands. `payload_hex` is clear; null: it only empties the network's queue (`flush`).

    `due_at` is when something is to be done with it next; null: nothing is. `f_cnt_down` and `sent_at` are the
    counter it went under and when a gateway transmitted it.
    """

    id: int
    created_at: datetime
    created_by: str
    dev_eui: str
    device: str | None
    connection: str | None
    f_port: int | None
    payload_hex: str | None
    confirmed: bool
    flush: bool
    priority: int
    reference: str | None
    not_before: datetime | None
    expires_at: datetime | None
    state: DownlinkState
    state_at: datetime
    cause: str | None
    detail: str | None
    attempts: int
    due_at: datetime | None
    f_cnt_down: int | None
    sent_at: datetime | None
    correlation_id: str


@dataclass(frozen=True, slots=True, repr=False)
class DownlinkEventView:
    """A step of a downlink. `request` is the one that was sent, its token withheld; `answer` what came back."""

    id: int
    at: datetime
    state: DownlinkState
    cause: str | None
    detail: str | None
    request: str | None
    answer: str | None
    report_id: int | None


@dataclass(frozen=True, slots=True)
class DownlinkStep:
    """A step of a downlink as it is told to those who follow events: `id` is the downlink's; no payload is in it."""

    id: int
    dev_eui: str
    device: str | None
    connection: str | None
    f_port: int | None
    confirmed: bool
    flush: bool
    reference: str | None
    state: DownlinkState
    at: datetime
    cause: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class DownlinkFilter:
    """Which downlinks are meant; None: any. The times are those of their making; `until` itself is not in it."""

    dev_eui: str | None = None
    state: DownlinkState | None = None
    connection: str | None = None
    reference: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Give what a row must meet; the table `connections` is joined to it."""
        wanted: list[tuple[ColumnElement[Any], object]] = [
            (downlinks.c.dev_eui, self.dev_eui),
            (downlinks.c.state, None if self.state is None else self.state.value),
            (connections.c.name, self.connection),
            (downlinks.c.reference, self.reference),
        ]
        conditions: list[ColumnElement[bool]] = [column == value for column, value in wanted if value is not None]
        if self.since is not None:
            conditions.append(downlinks.c.created_at >= self.since)
        if self.until is not None:
            conditions.append(downlinks.c.created_at < self.until)
        return conditions


class Target(NamedTuple):
    """A device that was heard or set up, as far as downlinks need to know it."""

    name: str | None
    connection: str | None
    model: str | None
    driver: str | None


class LastDataRate(NamedTuple):
    """With which spreading factor a device was heard last, and when."""

    at: datetime
    spreading_factor: int


class StoredKey(NamedTuple):
    """What a caller's Idempotency-Key stands for."""

    downlink_id: int
    digest: bytes


class ExpiredDownlink(NamedTuple):
    """A queued downlink whose time is over."""

    id: int
    expires_at: datetime
    attempts: int


# A literal, and no parameter: only so do both databases see that the partial index serves.
_IS_QUEUED = downlinks.c.state == literal_column(f"'{DownlinkState.QUEUED.value}'")

_STATE = DownlinkStep.__slots__.index("state")

_VIEW = (
    downlinks.c.id,
    downlinks.c.created_at,
    downlinks.c.created_by,
    downlinks.c.dev_eui,
    devices.c.name.label("device"),
    connections.c.name.label("connection"),
    downlinks.c.f_port,
    downlinks.c.payload.label("payload_hex"),
    downlinks.c.confirmed,
    downlinks.c.flush,
    downlinks.c.priority,
    downlinks.c.reference,
    downlinks.c.not_before,
    downlinks.c.expires_at,
    downlinks.c.state,
    downlinks.c.state_at,
    downlinks.c.cause,
    downlinks.c.detail,
    downlinks.c.attempts,
    downlinks.c.due_at,
    downlinks.c.f_cnt_down,
    downlinks.c.sent_at,
    downlinks.c.correlation_id,
)


def insert_downlink(connection: Connection, new: NewDownlink) -> int:
    """Put a downlink in, queued and due when it may go first, and give its id; its first event is the caller's."""
    row = {name: getattr(new, name) for name in NewDownlink.__slots__}
    row |= {"state": DownlinkState.QUEUED.value, "state_at": new.created_at, "attempts": 0}
    row["due_at"] = new.created_at if new.not_before is None else max(new.created_at, new.not_before)
    downlink_id: int = connection.execute(insert(downlinks).values(row).returning(downlinks.c.id)).scalar_one()
    return downlink_id


def find_downlink(connection: Connection, downlink_id: int) -> DownlinkView | None:
    """Give the downlink, or None."""
    if not 0 <= downlink_id <= ID_MAX:
        return None
    row = connection.execute(_select(*_VIEW).where(downlinks.c.id == downlink_id)).one_or_none()
    return None if row is None else _view(row)


def find_downlink_object(connection: Connection, downlink_id: int) -> tuple[str | None, int | None]:
    """Give the JSON of the object that a downlink's payload was made of, and the codec version that made it."""
    query = select(downlinks.c.object, downlinks.c.codec_version_id).where(downlinks.c.id == downlink_id)
    made_of, version_id = connection.execute(query).one()
    return made_of, version_id


def list_downlinks(
    connection: Connection, wanted: DownlinkFilter, *, limit: int, before_id: int | None = None
) -> list[DownlinkView]:
    """Give downlinks, newest first, at most `limit`; `before_id`: only older ones than this, the next page."""
    query = _select(*_VIEW).where(*wanted.conditions()).order_by(downlinks.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(downlinks.c.id < before_id)
    return [_view(row) for row in connection.execute(query)]


def list_events_of_downlink(connection: Connection, downlink_id: int) -> list[DownlinkEventView]:
    """Give every step of a downlink, oldest first."""
    names = [name for name in DownlinkEventView.__slots__ if name != "state"]
    query = (
        select(downlink_events.c.state, *(downlink_events.c[name] for name in names))
        .where(downlink_events.c.downlink_id == downlink_id)
        .order_by(downlink_events.c.id)
    )
    return [
        DownlinkEventView(state=DownlinkState(row.state), **{name: getattr(row, name) for name in names})
        for row in connection.execute(query)
    ]


def list_downlink_events_by_id(connection: Connection, ids: Sequence[int]) -> dict[int, DownlinkStep]:
    """Give, by their ids, the steps of these ids that are there."""
    if not ids:
        return {}
    joined = (
        downlink_events.join(downlinks, downlinks.c.id == downlink_events.c.downlink_id)
        .outerjoin(connections, connections.c.id == downlinks.c.connection_id)
        .outerjoin(devices, devices.c.dev_eui == downlinks.c.dev_eui)
    )
    query = (
        select(
            downlink_events.c.id,
            downlinks.c.id,
            downlinks.c.dev_eui,
            devices.c.name,
            connections.c.name,
            downlinks.c.f_port,
            downlinks.c.confirmed,
            downlinks.c.flush,
            downlinks.c.reference,
            downlink_events.c.state,
            downlink_events.c.at,
            downlink_events.c.cause,
            downlink_events.c.detail,
        )
        .select_from(joined)
        .where(downlink_events.c.id.in_(ids))
    )
    steps = {}
    for event_id, *values in connection.execute(query):
        values[_STATE] = DownlinkState(values[_STATE])
        steps[event_id] = DownlinkStep(*values)
    return steps


def count_downlinks_by_state(connection: Connection) -> dict[DownlinkState, int]:
    """Count all downlinks by state; a state that none is in counts 0."""
    counted = select(downlinks.c.state, func.count()).group_by(downlinks.c.state)
    counts = dict.fromkeys(DownlinkState, 0)
    return counts | {DownlinkState(state): number for state, number in connection.execute(counted)}


def hold_connection(connection: Connection, connection_id: int) -> bool:
    """Keep a connection from being removed until the transaction ends; False: it was removed.

    Pushes to it do not wait meanwhile.
    """
    query = select(connections.c.id).where(connections.c.id == connection_id)
    return connection.execute(query.with_for_update(read=True, key_share=True)).first() is not None


def lock_state(connection: Connection, downlink_id: int) -> DownlinkState | None:
    """Give where a downlink stands, which stays so until the transaction ends; None: there is none."""
    if not 0 <= downlink_id <= ID_MAX:
        return None
    query = select(downlinks.c.state).where(downlinks.c.id == downlink_id).with_for_update()
    state = connection.execute(query).scalar_one_or_none()
    return None if state is None else DownlinkState(state)


def lock_queued(connection: Connection, dev_eui: str) -> list[int]:
    """Give the ids of a device's queued downlinks, oldest first; they stay queued until the transaction ends."""
    mine = (downlinks.c.dev_eui == dev_eui) & _IS_QUEUED
    return list(connection.scalars(select(downlinks.c.id).where(mine).order_by(downlinks.c.id).with_for_update()))


def count_queued(connection: Connection, dev_eui: str) -> int:
    """Count a device's queued downlinks."""
    mine = (downlinks.c.dev_eui == dev_eui) & _IS_QUEUED
    return connection.scalar(select(func.count()).select_from(downlinks).where(mine)) or 0


def list_expired(connection: Connection, now: datetime, limit: int, *, lock: bool = False) -> list[ExpiredDownlink]:
    """Give up to `limit` queued downlinks whose time is over; with `lock` they stay so until the transaction ends."""
    is_over = _IS_QUEUED & (downlinks.c.expires_at <= now)
    query = select(downlinks.c.id, downlinks.c.expires_at, downlinks.c.attempts).where(is_over)
    query = query.order_by(downlinks.c.id).limit(limit)
    rows = connection.execute(query.with_for_update() if lock else query)
    return [ExpiredDownlink(*row) for row in rows]


def find_downlink_key(connection: Connection, creator: str, key: str) -> StoredKey | None:
    """Give what a caller's Idempotency-Key stands for, or None: it was not used yet."""
    mine = (downlink_keys.c.creator == creator) & (downlink_keys.c.key == key)
    row = connection.execute(select(downlink_keys.c.downlink_id, downlink_keys.c.digest).where(mine)).one_or_none()
    return None if row is None else StoredKey(row.downlink_id, bytes(row.digest))


def insert_downlink_key(
    connection: Connection, creator: str, key: str, downlink_id: int, digest: bytes, now: datetime
) -> None:
    """Keep what a caller's Idempotency-Key stands for, as long as that downlink is kept."""
    row = {"creator": creator, "key": key, "downlink_id": downlink_id, "digest": digest, "created_at": now}
    connection.execute(insert(downlink_keys).values(row))


def is_multicast_group(connection: Connection, dev_eui: str) -> bool:
    """Say whether the network has summed up a multicast under this DevEUI, by the reports that are kept."""
    summaries = select(reports.c.id).where(reports.c.kind == MULTICAST_SUMMARY, reports.c.dev_eui == dev_eui)
    return connection.scalar(summaries.limit(1)) is not None


def find_target(connection: Connection, dev_eui: str) -> Target | None:
    """Give the device, or None: it was neither heard nor set up."""
    query = (
        select(devices.c.name, connections.c.name, devices.c.model, devices.c.driver)
        .select_from(devices.outerjoin(connections, connections.c.id == devices.c.connection_id))
        .where(devices.c.dev_eui == dev_eui)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Target(*row)


def find_last_data_rate(connection: Connection, dev_eui: str) -> LastDataRate | None:
    """Give how a device's newest uplink was sent; None: there is none, or it does not say so."""
    query = select(uplinks.c.at, uplinks.c.spreading_factor).where(uplinks.c.dev_eui == dev_eui)
    row = connection.execute(query.order_by(uplinks.c.at.desc()).limit(1)).one_or_none()
    return None if row is None or row.spreading_factor is None else LastDataRate(*row)


def _view(row: Any) -> DownlinkView:  # noqa: ANN401 - a row of `_VIEW`
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    payload = values["payload_hex"]
    values["payload_hex"] = None if payload is None else bytes(payload).hex()
    values["state"] = DownlinkState(values["state"])
    return DownlinkView(**values)


def _select(*columns: ColumnElement[Any]) -> Select[Any]:
    joined = downlinks.outerjoin(connections, connections.c.id == downlinks.c.connection_id).outerjoin(
        devices, devices.c.dev_eui == downlinks.c.dev_eui
    )
    return select(*columns).select_from(joined)
