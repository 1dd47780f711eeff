"""SQL for alarms: what a network listed is upserted, compared with what was known, acknowledged, looked up, pruned."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, delete, func, insert, select, update

from receiver.storage.alarm_tables import alarms
from receiver.storage.platform_tables import platform_accounts
from receiver.storage.tables import devices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Select

ID_MAX = 2**63 - 1
"""An id of more bits is in no table, and in no parameter of a statement either."""


class AlarmState(StrEnum):
    """How grave an alarm is, from the least on; one scale for both networks. KPN calls INDETERMINATE "UNCLEARED".

    Sources: ThingPark Device Manager contract 7.3, `AlarmBrief`; KPN LoRa Device Management API 1.2, `DeviceAlarm`.
    """

    CLEARED = "CLEARED"
    INDETERMINATE = "INDETERMINATE"
    WARNING = "WARNING"
    MINOR = "MINOR"
    MAJOR = "MAJOR"
    CRITICAL = "CRITICAL"

    @property
    def gravity(self) -> int:
        """A number from 1 for CLEARED to 6 for CRITICAL, as ThingPark counts."""
        return list(AlarmState).index(self) + 1

    @property
    def and_graver(self) -> list[str]:
        """This one and all graver ones."""
        states = [state.value for state in AlarmState]
        return states[states.index(self.value) :]


class SeenAlarm(NamedTuple):
    """An alarm as a network lists it; `device_ref` where it names the device by a number of its own."""

    remote_id: str
    dev_eui: str | None
    device_ref: str | None
    type_id: int | None
    state: AlarmState
    occurrence: int | None
    acked: bool
    acked_by: str | None
    acked_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    infos: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredAlarm:
    """An alarm as it is known here, with the name of its account and, where it has one, of its device."""

    id: int
    account: str
    dev_eui: str | None
    device: str | None
    type_id: int | None
    state: AlarmState
    occurrence: int | None
    acked: bool
    acked_by: str | None
    acked_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    infos: tuple[str, ...]
    first_seen_at: datetime
    changed_at: datetime
    polled_at: datetime
    gone_at: datetime | None
    remote_id: str


@dataclass(frozen=True, slots=True)
class AlarmFilter:
    """Which alarms are meant; None: any. The times are those of their last change; `until` itself is not in it."""

    dev_eui: str | None = None
    account: str | None = None
    type_id: int | None = None
    least_state: AlarmState | None = None
    acked: bool | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Give what a row must meet; the table `platform_accounts` is joined to it."""
        wanted: list[tuple[ColumnElement[Any], object]] = [
            (alarms.c.dev_eui, self.dev_eui),
            (platform_accounts.c.name, self.account),
            (alarms.c.type_id, self.type_id),
            (alarms.c.acked, self.acked),
        ]
        conditions: list[ColumnElement[bool]] = [column == value for column, value in wanted if value is not None]
        if self.least_state is not None and self.least_state is not AlarmState.CLEARED:
            conditions.append(alarms.c.state.in_(self.least_state.and_graver))
        if self.since is not None:
            conditions.append(alarms.c.changed_at >= self.since)
        if self.until is not None:
            conditions.append(alarms.c.changed_at < self.until)
        return conditions


class AlarmToAck(NamedTuple):
    """What an acknowledgement needs to know of an alarm."""

    id: int
    account_id: int
    remote_id: str
    dev_eui: str | None
    acked: bool


class Upserted(NamedTuple):
    """What an upsert came to: ids of the alarms that are new, that changed, and of these that are new or graver."""

    new: list[int]
    changed: list[int]
    to_tell: list[int]


_SEEN = ("dev_eui", "device_ref", "type_id", "state", "occurrence", "acked", "acked_by", "acked_at")
_ALL_SEEN = (*_SEEN, "created_at", "updated_at", "infos")


def upsert_alarms(
    connection: Connection, account_id: int, now: datetime, seen: Sequence[SeenAlarm], asked_at: datetime
) -> Upserted:
    """Write what a network listed, and say what is new in it. The same again changes nothing but `polled_at`.

    What was written since `asked_at`, such as an acknowledgement, is younger than the list, and stays. To be told of:
    alarms that are new or raised again, those graver than before, and those that lost their acknowledgement or occurred
    more often without one; but none that is cleared.
    """
    found = Upserted([], [], [])
    by_remote_id = {alarm.remote_id: alarm for alarm in seen}  # a page that names one twice: the last counts
    mine = alarms.c.account_id == account_id
    rows = connection.execute(
        select(alarms).where(mine, alarms.c.remote_id.in_(by_remote_id)).order_by(alarms.c.id).with_for_update()
    )
    known: dict[str, Row[Any]] = {row.remote_id: row for row in rows}
    same: list[int] = []
    for remote_id, alarm in by_remote_id.items():
        row = known.get(remote_id)
        values = _values(alarm)
        if row is None:
            times = {"first_seen_at": now, "changed_at": now, "polled_at": now}
            statement = insert(alarms).values(account_id=account_id, remote_id=remote_id, **values, **times)
            alarm_id = connection.execute(statement.returning(alarms.c.id)).scalar_one()
            found.new.append(alarm_id)
            if alarm.state is not AlarmState.CLEARED:
                found.to_tell.append(alarm_id)
            continue
        values["dev_eui"] = values["dev_eui"] or row.dev_eui  # learnt once, it stays
        is_same = row.gone_at is None and all(getattr(row, name) == values[name] for name in _ALL_SEEN)
        if is_same or row.changed_at > asked_at:
            same.append(row.id)
            continue
        changes = {**values, "changed_at": now, "polled_at": now, "gone_at": None}
        connection.execute(update(alarms).where(alarms.c.id == row.id).values(**changes))
        found.changed.append(row.id)
        if _is_worse(row, alarm):
            found.to_tell.append(row.id)
    if same:
        connection.execute(update(alarms).where(alarms.c.id.in_(same)).values(polled_at=now))
    return found


def list_unlisted(connection: Connection, account_id: int, before: datetime, after_id: int, limit: int) -> list[Any]:
    """Give `id` and `remote_id` of alarms that the network did not list since `before`, and that are not gone yet."""
    statement = select(alarms.c.id, alarms.c.remote_id).where(
        alarms.c.account_id == account_id,
        alarms.c.polled_at < before,
        alarms.c.gone_at.is_(None),
        alarms.c.id > after_id,
    )
    return list(connection.execute(statement.order_by(alarms.c.id).limit(limit)))


def mark_gone(connection: Connection, now: datetime, alarm_ids: Sequence[int]) -> None:
    """Note that the network knows these no more: they are cleared."""
    values = {"state": AlarmState.CLEARED.value, "gone_at": now, "changed_at": now}
    connection.execute(update(alarms).where(alarms.c.id.in_(alarm_ids), alarms.c.gone_at.is_(None)).values(**values))


def list_device_refs(connection: Connection, account_id: int, refs: Sequence[str]) -> dict[str, str]:
    """Give the DevEUIs that are known for a network's own references to devices."""
    statement = select(alarms.c.device_ref, alarms.c.dev_eui).where(
        alarms.c.account_id == account_id, alarms.c.device_ref.in_(refs), alarms.c.dev_eui.is_not(None)
    )
    return {row.device_ref: row.dev_eui for row in connection.execute(statement.distinct())}


def list_to_ack(
    connection: Connection, wanted: AlarmFilter, limit: int, *, ids: Sequence[int] | None = None, after_id: int = 0
) -> list[AlarmToAck]:
    """Give the alarms of these ids, or those that a filter leaves and are not gone, by id."""
    columns = (alarms.c.id, alarms.c.account_id, alarms.c.remote_id, alarms.c.dev_eui, alarms.c.acked)
    statement = _from(select(*columns)).where(alarms.c.id > after_id, *wanted.conditions())
    statement = statement.where(alarms.c.gone_at.is_(None)) if ids is None else statement.where(alarms.c.id.in_(ids))
    return [AlarmToAck(*row) for row in connection.execute(statement.order_by(alarms.c.id).limit(limit))]


def mark_acked(connection: Connection, now: datetime, by: str, alarm_ids: Sequence[int]) -> None:
    """Note that the network took an acknowledgement; what it says of it replaces this with the next poll."""
    values = {"acked": True, "acked_by": by, "acked_at": now, "changed_at": now}
    connection.execute(update(alarms).where(alarms.c.id.in_(alarm_ids), ~alarms.c.acked).values(**values))


def list_alarms(
    connection: Connection, wanted: AlarmFilter, *, limit: int, before_id: int | None = None
) -> list[StoredAlarm]:
    """Give alarms, those first that were seen last, at most `limit`; `before_id`: older ones only, the next page."""
    statement = _SELECT.where(*wanted.conditions()).order_by(alarms.c.id.desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(alarms.c.id < before_id)
    return [_view(row) for row in connection.execute(statement)]


def list_alarms_by_id(connection: Connection, ids: Sequence[int]) -> list[StoredAlarm]:
    """Give the alarms of these ids that are there."""
    if not ids:
        return []
    return [_view(row) for row in connection.execute(_SELECT.where(alarms.c.id.in_(ids)))]


def find_alarm(connection: Connection, alarm_id: int) -> StoredAlarm | None:
    """Give one alarm, or None."""
    found = list_alarms_by_id(connection, [alarm_id]) if 0 <= alarm_id <= ID_MAX else []
    return found[0] if found else None


def count_open(connection: Connection, account_id: int) -> dict[str, int]:
    """Count the alarms of an account that are not cleared, by state."""
    statement = select(alarms.c.state, func.count()).where(
        alarms.c.account_id == account_id, alarms.c.state != AlarmState.CLEARED.value
    )
    return {row[0]: row[1] for row in connection.execute(statement.group_by(alarms.c.state))}


def count_old_alarms(connection: Connection, before: datetime) -> int:
    """Count the alarms that `delete_old_alarms` would delete."""
    return connection.scalar(select(func.count()).select_from(alarms).where(_is_old(before))) or 0


def delete_old_alarms(connection: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` alarms that are cleared and that no network has listed since `before`; give how many."""
    ids = connection.scalars(select(alarms.c.id).where(_is_old(before)).order_by(alarms.c.id).limit(limit)).all()
    return connection.execute(delete(alarms).where(alarms.c.id.in_(ids), _is_old(before))).rowcount if ids else 0


def _is_old(before: datetime) -> ColumnElement[bool]:
    return and_(alarms.c.state == AlarmState.CLEARED.value, alarms.c.polled_at < before, alarms.c.changed_at < before)


def _is_worse(row: Row[Any], alarm: SeenAlarm) -> bool:
    if alarm.state is AlarmState.CLEARED:
        return False
    was = AlarmState(row.state)
    more = alarm.occurrence is not None and row.occurrence is not None and alarm.occurrence > row.occurrence
    return alarm.state.gravity > was.gravity or (row.acked and not alarm.acked) or (more and not alarm.acked)


def _values(alarm: SeenAlarm) -> dict[str, Any]:
    values = alarm._asdict()
    del values["remote_id"]
    return {**values, "state": alarm.state.value, "infos": json.dumps(list(alarm.infos))}


_VIEW = (
    alarms.c.id,
    platform_accounts.c.name.label("account"),
    alarms.c.dev_eui,
    devices.c.name.label("device"),
    *(alarms.c[name] for name in ("type_id", "state", "occurrence", "acked", "acked_by", "acked_at")),
    *(alarms.c[name] for name in ("created_at", "updated_at", "infos", "first_seen_at", "changed_at", "polled_at")),
    *(alarms.c.gone_at, alarms.c.remote_id),
)


def _from(statement: Select[Any]) -> Select[Any]:
    joined = alarms.join(platform_accounts, platform_accounts.c.id == alarms.c.account_id)
    return statement.select_from(joined.outerjoin(devices, devices.c.dev_eui == alarms.c.dev_eui))


_SELECT = _from(select(*_VIEW))


def _view(row: Row[Any]) -> StoredAlarm:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    infos = tuple(json.loads(values["infos"]))
    return StoredAlarm(**{**values, "state": AlarmState(values["state"]), "infos": infos})
