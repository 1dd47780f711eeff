"""What people ask of uplinks: newest first by cursor, or whatever has come since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from receiver.storage.tables import connections, devices, uplinks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select


@dataclass(frozen=True, slots=True)
class UplinkView:
    """An uplink as it is shown to a person. `frm_payload` is clear hex, None while its key is awaited."""

    id: int
    at: datetime
    received_at: datetime
    connection: str | None
    dev_eui: str
    device: str | None
    dev_addr: str | None
    f_port: int | None
    f_cnt_up: int | None
    payload_state: str
    frm_payload: str | None
    rssi_dbm: float | None
    snr_db: float | None
    spreading_factor: int | None
    lrr_id: str | None
    gateway_count: int | None
    late: bool
    conflicting: bool

    def __repr__(self) -> str:
        return f"UplinkView({self.dev_eui}, f_cnt_up={self.f_cnt_up})"


def list_uplinks(
    connection: Connection,
    *,
    limit: int,
    dev_eui: str | None = None,
    connection_name: str | None = None,
    before_id: int | None = None,
) -> list[UplinkView]:
    """Give up to `limit` uplinks, newest stored first, before the cursor `before_id`."""
    statement = select_views().order_by(uplinks.c.id.desc()).limit(limit)
    if dev_eui is not None:
        statement = statement.where(uplinks.c.dev_eui == dev_eui)
    if connection_name is not None:
        statement = statement.where(connections.c.name == connection_name)
    if before_id is not None:
        statement = statement.where(uplinks.c.id < before_id)
    return fetch_views(connection, statement)


def list_uplinks_since(
    connection: Connection, after_id: int, *, limit: int, dev_eui: str | None = None
) -> list[UplinkView]:
    """Give up to `limit` uplinks that were stored after the cursor `after_id`, oldest first."""
    statement = select_views().where(uplinks.c.id > after_id).order_by(uplinks.c.id).limit(limit)
    if dev_eui is not None:
        statement = statement.where(uplinks.c.dev_eui == dev_eui)
    return fetch_views(connection, statement)


def list_uplinks_by_id(connection: Connection, ids: Sequence[int]) -> list[UplinkView]:
    """Give the uplinks of these ids that are there, in no order."""
    return fetch_views(connection, select_views().where(uplinks.c.id.in_(ids))) if ids else []


def newest_uplink_id(connection: Connection) -> int:
    """Give the cursor at the end: 0 if there are no uplinks."""
    return connection.scalar(select(func.max(uplinks.c.id))) or 0


def select_views() -> Select[Any]:
    """Give the SELECT of the columns that `fetch_views` reads, over `uplinks` with its connection and device."""
    return select(
        uplinks.c.id,
        uplinks.c.at,
        uplinks.c.received_at,
        connections.c.name,
        uplinks.c.dev_eui,
        devices.c.name,
        uplinks.c.dev_addr,
        uplinks.c.f_port,
        uplinks.c.f_cnt_up,
        uplinks.c.payload_state,
        uplinks.c.frm_payload,
        uplinks.c.rssi_dbm,
        uplinks.c.snr_db,
        uplinks.c.spreading_factor,
        uplinks.c.lrr_id,
        uplinks.c.gateway_count,
        uplinks.c.late,
        uplinks.c.conflicting,
    ).select_from(
        uplinks.outerjoin(connections, connections.c.id == uplinks.c.connection_id).outerjoin(
            devices, devices.c.dev_eui == uplinks.c.dev_eui
        )
    )


def fetch_views(connection: Connection, statement: Select[Any]) -> list[UplinkView]:
    """Run a SELECT that `select_views` began."""
    views = []
    for row in connection.execute(statement):
        values = list(row)
        payload = values[10]
        values[10] = None if payload is None else bytes(payload).hex()
        views.append(UplinkView(*values))
    return views
