"""Alarms as people see them: with the names of their types. Read only; `alarm_acks` acknowledges, `polling` polls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import NotFoundError
from receiver.platforms.alarm_types import alarm_name
from receiver.storage import alarms as stored
from receiver.storage.alarms import AlarmState  # noqa: TC001 - the description of the API reads the types of members
from receiver.storage.engine import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from receiver.storage.alarms import AlarmFilter, StoredAlarm


@dataclass(frozen=True, slots=True)
class AlarmView:
    """An alarm of a device, as its network tells of it. `info` are the network's additional texts, `; ` between them.

    `alarm` is what its type is called. `occurrence` counts since it was raised. `created_at` and `updated_at` are by
    the network's clock, the others by this receiver's: `changed_at` is when anything of it changed last, `polled_at`
    when the network listed it last, and `gone_at` since when the network knows it no more, because it was cleared and
    put away, or its device deleted. `dev_eui` is null where the network named a device that it does not know any more.
    """

    id: int
    account: str
    dev_eui: str | None
    device: str | None
    type: int | None
    alarm: str
    state: AlarmState
    occurrence: int | None
    acked: bool
    acked_by: str | None
    acked_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    info: str
    first_seen_at: datetime
    changed_at: datetime
    polled_at: datetime
    gone_at: datetime | None


@dataclass(frozen=True, slots=True)
class AlarmDetails(AlarmView):
    """One alarm with its additional texts one by one, and the id that its network gives it."""

    infos: list[str]
    remote_id: str


def list_alarms(engine: Engine, wanted: AlarmFilter, *, limit: int, before_id: int | None = None) -> list[AlarmView]:
    """Give alarms, those that were seen last first, at most `limit`; `before_id`: older ones only, the next page."""
    with read(engine) as tx:
        return [_view(row) for row in stored.list_alarms(tx, wanted, limit=limit, before_id=before_id)]


def list_alarms_by_id(connection: Connection, ids: Sequence[int]) -> dict[int, AlarmView]:
    """Give the alarms of these ids that are there, by id."""
    return {row.id: _view(row) for row in stored.list_alarms_by_id(connection, ids)}


def get_alarm(engine: Engine, alarm_id: int) -> AlarmDetails:
    """Give one alarm.

    Raises:
        NotFoundError: there is none of that id.
    """
    with read(engine) as tx:
        row = stored.find_alarm(tx, alarm_id)
    if row is None:
        raise NotFoundError(f"There is no alarm {alarm_id}; `receiver alarms list` shows those there are.")
    view = _view(row)
    values = {name: getattr(view, name) for name in AlarmView.__slots__}
    return AlarmDetails(**values, infos=list(row.infos), remote_id=row.remote_id)


def _view(row: StoredAlarm) -> AlarmView:
    return AlarmView(
        id=row.id,
        account=row.account,
        dev_eui=row.dev_eui,
        device=row.device,
        type=row.type_id,
        alarm=alarm_name(row.type_id),
        state=row.state,
        occurrence=row.occurrence,
        acked=row.acked,
        acked_by=row.acked_by,
        acked_at=row.acked_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        info="; ".join(row.infos),
        first_seen_at=row.first_seen_at,
        changed_at=row.changed_at,
        polled_at=row.polled_at,
        gone_at=row.gone_at,
    )
