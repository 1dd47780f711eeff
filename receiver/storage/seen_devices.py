"""Devices as reports show them: made on first sight, named by the network unless a person named them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, func, select, update

from receiver.storage.engine import dialect_insert
from receiver.storage.tables import devices, tunnel_key_uses, tunnel_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection


@dataclass(slots=True)
class DeviceSighting:
    """What a batch of reports says of one device, newest value last. None: it says nothing of it."""

    dev_eui: str
    first_at: datetime
    last_at: datetime
    connection_id: int | None = None
    name: str | None = None
    customer_id: str | None = None
    model: str | None = None
    model_version: str | None = None
    last_f_cnt_up: int | None = None
    battery_level: int | None = None
    margin_db: float | None = None
    status_at: datetime | None = None


_STATUS = ("battery_level", "margin_db", "status_at")
_KEPT = ("connection_id", "customer_id", "model", "model_version", "last_f_cnt_up", *_STATUS)


def record_sightings(connection: Connection, sightings: Sequence[DeviceSighting]) -> None:
    """Insert or update the devices seen. A name given by hand stays, and so does a newer status."""
    if not sightings:
        return
    statement = dialect_insert(devices, connection).values(
        dev_eui=bindparam("eui"),
        name=bindparam("seen_name"),
        name_by_hand=False,
        first_seen_at=bindparam("first_at"),
        last_seen_at=bindparam("last_at"),
        **{column: bindparam(f"seen_{column}") for column in _KEPT},
    )
    new = statement.excluded
    rows: list[dict[str, Any]] = [
        {
            "eui": seen.dev_eui,
            "seen_name": seen.name,
            "first_at": seen.first_at,
            "last_at": seen.last_at,
            **{f"seen_{column}": getattr(seen, column) for column in _KEPT},
        }
        for seen in sorted(sightings, key=lambda seen: seen.dev_eui)
    ]
    is_older = new.status_at < devices.c.status_at
    values: dict[str, ColumnElement[Any]] = {column: func.coalesce(new[column], devices.c[column]) for column in _KEPT}
    for column in _STATUS:
        values[column] = case((is_older, devices.c[column]), else_=values[column])
    values["last_seen_at"] = case(
        (new.last_seen_at < devices.c.last_seen_at, devices.c.last_seen_at), else_=new.last_seen_at
    )
    connection.execute(statement.on_conflict_do_update(index_elements=["dev_eui"], set_=values), rows)
    named = [{"eui": row["eui"], "seen_name": row["seen_name"]} for row in rows if row["seen_name"]]
    if named:
        connection.execute(
            update(devices)
            .where(devices.c.dev_eui == bindparam("eui"), devices.c.name_by_hand.is_(False))
            .values(name=bindparam("seen_name")),
            named,
        )


def record_key_uses(connection: Connection, uses: Iterable[tuple[int, int, datetime]]) -> None:
    """Add to the hit counts of tunnel keys: (key row id, hits, newest use). Keys since deleted are passed over."""
    for key_id, hits, last_used_at in sorted(uses):
        known = select(
            tunnel_keys.c.id,
            bindparam("hits", hits),
            bindparam("used_at", last_used_at, tunnel_key_uses.c.last_used_at.type),
        ).where(tunnel_keys.c.id == key_id)
        statement = dialect_insert(tunnel_key_uses, connection).from_select(
            ["tunnel_key_id", "hits", "last_used_at"], known
        )
        new = statement.excluded
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["tunnel_key_id"],
                set_={"hits": tunnel_key_uses.c.hits + new.hits, "last_used_at": new.last_used_at},
            )
        )
