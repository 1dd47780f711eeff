"""Devices as reports show them: made on first sight, named by the network unless a person named them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from receiver.storage.batch_statements import insert_statement, time_writer
from receiver.storage.engine import dialect_insert
from receiver.storage.tables import devices, tunnel_key_uses, tunnel_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

LORAWAN_1_1 = "1.1"
"""What stands in `devices.lorawan_version` of a device with a counter of its own for applications' downlinks."""


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
    lorawan_version: str | None = None
    driver: str | None = None
    last_f_cnt_up: int | None = None
    battery_level: int | None = None
    margin_db: float | None = None
    status_at: datetime | None = None


_STATUS = ("battery_level", "margin_db", "status_at")
_NEWEST_TOLD = ("connection_id", "customer_id", "model", "model_version", "lorawan_version", "driver", "last_f_cnt_up")

_SET = {
    **{name: f"coalesce(excluded.{name}, devices.{name})" for name in _NEWEST_TOLD},
    **{
        name: f"CASE WHEN excluded.status_at < devices.status_at THEN devices.{name}"
        f" ELSE coalesce(excluded.{name}, devices.{name}) END"
        for name in _STATUS
    },
    "last_seen_at": "CASE WHEN excluded.last_seen_at < devices.last_seen_at THEN devices.last_seen_at"
    " ELSE excluded.last_seen_at END",
    "name": "CASE WHEN devices.name_by_hand THEN devices.name ELSE coalesce(excluded.name, devices.name) END",
}

_RECORD = insert_statement(
    devices,
    ("dev_eui", "name", "name_by_hand", "first_seen_at", "last_seen_at", *_NEWEST_TOLD, *_STATUS),
    f"ON CONFLICT (dev_eui) DO UPDATE SET {', '.join(f'{name} = {value}' for name, value in _SET.items())}",
)


def record_sightings(connection: Connection, sightings: Sequence[DeviceSighting]) -> None:
    """Insert or update the devices seen. A name given by hand stays, and so does a newer status."""
    time = time_writer(connection)
    _RECORD.run(
        connection,
        [
            (
                seen.dev_eui,
                seen.name or None,
                False,
                time(seen.first_at),
                time(seen.last_at),
                seen.connection_id,
                seen.customer_id,
                seen.model,
                seen.model_version,
                seen.lorawan_version,
                seen.driver,
                seen.last_f_cnt_up,
                seen.battery_level,
                seen.margin_db,
                None if seen.status_at is None else time(seen.status_at),
            )
            for seen in sorted(sightings, key=lambda seen: seen.dev_eui)
        ],
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
