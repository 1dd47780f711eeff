"""When devices and connections were heard last: a few newest times of each, by index, however many uplinks stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, literal_column, select, true

from receiver.storage.tables import connections, devices, reports, tunnel_key_uses, tunnel_keys, uplinks

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


NEWEST_UNREAD = 1000
"""Unread reports that are looked at, however many wait: they are there when the worker has stopped."""


@dataclass(slots=True)
class HeardDevice:
    """A device with the network's times of its newest uplinks, newest first."""

    dev_eui: str
    name: str | None
    connection: str | None
    times: list[datetime]


@dataclass(frozen=True, slots=True)
class HeardConnection:
    """A connection, and when its last report came: None if none ever did."""

    name: str
    created_at: datetime
    last_report_at: datetime | None


def list_heard_devices(connection: Connection, *, after: str, limit: int, newest: int) -> list[HeardDevice]:
    """Give up to `limit` devices by DevEUI, those behind `after`, each with up to `newest` times, or none.

    The times are asked device by device, each a short walk along `ix_uplinks_dev_eui_at`.
    """
    page = (
        select(devices.c.dev_eui, devices.c.name, connections.c.name.label("connection"))
        .select_from(devices.outerjoin(connections, connections.c.id == devices.c.connection_id))
        .where(devices.c.dev_eui > after)
        .order_by(devices.c.dev_eui)
        .limit(limit)
        .subquery()
    )
    mine = select(uplinks.c.at).where(uplinks.c.dev_eui == page.c.dev_eui).order_by(uplinks.c.at.desc()).limit(newest)
    if connection.dialect.name == "postgresql":
        times = mine.lateral()
        rows = connection.execute(
            select(page.c.dev_eui, page.c.name, page.c.connection, times.c.at)
            .select_from(page.outerjoin(times, true()))
            .order_by(page.c.dev_eui)
        )
        found: dict[str, HeardDevice] = {}
        for row in rows:
            device = found.setdefault(row.dev_eui, HeardDevice(row.dev_eui, row.name, row.connection, []))
            if row.at is not None:
                device.times.append(row.at)
        for device in found.values():
            device.times.sort(reverse=True)
        return list(found.values())
    heard = [HeardDevice(row.dev_eui, row.name, row.connection, []) for row in connection.execute(select(page))]
    of_one = (  # SQLite knows no LATERAL; it is in this process, so that a statement for each costs no round trip
        select(uplinks.c.at).where(uplinks.c.dev_eui == bindparam("eui")).order_by(uplinks.c.at.desc()).limit(newest)
    )
    for device in heard:
        device.times = list(connection.execute(of_one, {"eui": device.dev_eui}).scalars())
    return heard


def list_heard_connections(connection: Connection) -> list[HeardConnection]:
    """Give all connections by name, each with the arrival of its newest report, read or among the newest unread.

    Reports of read ones are not asked, which have no index by connection: the uses of the keys tell.
    """
    read_at = (
        select(tunnel_keys.c.connection_id, func.max(tunnel_key_uses.c.last_used_at).label("at"))
        .select_from(tunnel_keys.join(tunnel_key_uses, tunnel_key_uses.c.tunnel_key_id == tunnel_keys.c.id))
        .group_by(tunnel_keys.c.connection_id)
        .subquery()
    )
    newest_unread = (
        select(reports.c.connection_id, reports.c.received_at)
        .where(reports.c.state == literal_column("'unread'"))  # a literal: only so does the partial index serve
        .order_by(reports.c.id.desc())
        .limit(NEWEST_UNREAD)
        .subquery()
    )
    unread_at = (
        select(newest_unread.c.connection_id, func.max(newest_unread.c.received_at).label("at"))
        .group_by(newest_unread.c.connection_id)
        .subquery()
    )
    rows = connection.execute(
        select(connections.c.name, connections.c.created_at, read_at.c.at, unread_at.c.at)
        .select_from(
            connections.outerjoin(read_at, read_at.c.connection_id == connections.c.id).outerjoin(
                unread_at, unread_at.c.connection_id == connections.c.id
            )
        )
        .order_by(connections.c.name)
    )
    return [
        HeardConnection(name, created_at, max((at for at in (read_last, unread_last) if at), default=None))
        for name, created_at, read_last, unread_last in rows
    ]
