"""SQL that finds which downlink a report is about, and which uplink acknowledges one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import exists, select

from receiver.storage.downlink_events import DownlinkState
from receiver.storage.downlink_tables import downlink_events, downlinks
from receiver.storage.tables import uplinks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection, Row

NEWEST_CONFIRMED = 5
"""Of a device's confirmed downlinks, so many are looked at for an acknowledgement: it comes with the next uplink."""


class ToldDownlink(NamedTuple):
    """A downlink that a report is about, as it stands."""

    id: int
    dev_eui: str
    state: DownlinkState
    confirmed: bool
    f_cnt_down: int | None


class ConfirmedDownlink(NamedTuple):
    """A confirmed one that a gateway transmitted at `sent_at`."""

    id: int
    state: DownlinkState
    sent_at: datetime


_COLUMNS = tuple(downlinks.c[name] for name in ToldDownlink._fields)

_WAITING = [DownlinkState.ACCEPTED.value, DownlinkState.UNKNOWN.value, DownlinkState.UNCONFIRMED.value]


def find_by_correlation(connection: Connection, dev_eui: str, correlation_id: str) -> ToldDownlink | None:
    """Give the downlink of this CorrelationID, whatever its state, if it is of that device."""
    mine = (downlinks.c.correlation_id == correlation_id) & (downlinks.c.dev_eui == dev_eui)
    return _told(connection.execute(select(*_COLUMNS).where(mine).with_for_update()).one_or_none())


def find_by_counter(connection: Connection, dev_eui: str, f_port: int, f_cnt_down: int) -> ToldDownlink | None:
    """Give the newest downlink of a device with this FPort and counter that a report is waited for, or was."""
    statement = select(*_COLUMNS).where(
        downlinks.c.dev_eui == dev_eui,
        downlinks.c.f_port == f_port,
        downlinks.c.f_cnt_down == f_cnt_down,
        downlinks.c.state.in_(_WAITING),
    )
    return _told(connection.execute(statement.order_by(downlinks.c.id.desc()).limit(1).with_for_update()).one_or_none())


def find_oldest_waiting(
    connection: Connection, dev_eui: str, f_port: int, *, of_any_counter: bool
) -> ToldDownlink | None:
    """Give the oldest downlink of a device with this FPort that the network has.

    Of those whose counter it chose itself, or `of_any_counter`, where a report does not say which.
    """
    statement = select(*_COLUMNS).where(
        downlinks.c.dev_eui == dev_eui,
        downlinks.c.f_port == f_port,
        downlinks.c.state.in_([DownlinkState.ACCEPTED.value, DownlinkState.UNKNOWN.value]),
    )
    if not of_any_counter:
        statement = statement.where(downlinks.c.f_cnt_down.is_(None))
    return _told(connection.execute(statement.order_by(downlinks.c.id).limit(1).with_for_update()).one_or_none())


def has_event_of_report(connection: Connection, downlink_id: int, report_id: int) -> bool:
    """Say whether a report was taken into account before."""
    events = downlink_events.c
    return bool(
        connection.scalar(select(exists().where(events.downlink_id == downlink_id, events.report_id == report_id)))
    )


def list_newest_confirmed(connection: Connection, dev_eui: str) -> Sequence[ConfirmedDownlink]:
    """Give the confirmed downlinks of a device that were transmitted last, the oldest of these first."""
    statement = select(downlinks.c.id, downlinks.c.state, downlinks.c.sent_at).where(
        downlinks.c.dev_eui == dev_eui, downlinks.c.confirmed, downlinks.c.sent_at.is_not(None)
    )
    newest = connection.execute(statement.order_by(downlinks.c.sent_at.desc()).limit(NEWEST_CONFIRMED))
    return [ConfirmedDownlink(row.id, DownlinkState(row.state), row.sent_at) for row in newest][::-1]


def find_acknowledging_report(
    connection: Connection, dev_eui: str, after: datetime, before: datetime | None
) -> tuple[datetime, int | None] | None:
    """Give the time of a device's first uplink with ACK after `after` and before `before`, and its report's id."""
    is_between = uplinks.c.at > after
    if before is not None:
        is_between &= uplinks.c.at <= before
    statement = select(uplinks.c.at, uplinks.c.report_id).where(uplinks.c.dev_eui == dev_eui, uplinks.c.ack, is_between)
    row = connection.execute(statement.order_by(uplinks.c.at).limit(1)).one_or_none()
    return None if row is None else (row.at, row.report_id)


def _told(row: Row[Any] | None) -> ToldDownlink | None:
    if row is None:
        return None
    return ToldDownlink(row.id, row.dev_eui, DownlinkState(row.state), row.confirmed, row.f_cnt_down)
