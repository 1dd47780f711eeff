"""SQL for what people look up and set by hand on devices. What reading learns of them is written elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from receiver.storage.engine import dialect_insert
from receiver.storage.tables import connections, devices, reports, session_keys, sessions

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Device:
    """One device as stored; `battery_level` is 0 on mains power, 1–254 of 254, 255 not measurable."""

    dev_eui: str
    name: str | None
    name_by_hand: bool
    connection: str | None
    customer_id: str | None
    model: str | None
    model_version: str | None
    lorawan_version: str | None
    driver: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    last_f_cnt_up: int | None
    battery_level: int | None
    margin_db: float | None
    status_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredSession:
    """One session of a device with its sealed AppSKey, if it is known."""

    id: int
    dev_addr: str | None
    began_by: str
    started_at: datetime
    last_at: datetime | None
    last_f_cnt_up: int | None
    key_source: str | None
    sealed_app_s_key: bytes | None


_DEVICE = sa.select(
    devices.c.dev_eui,
    devices.c.name,
    devices.c.name_by_hand,
    connections.c.name.label("connection"),
    devices.c.customer_id,
    devices.c.model,
    devices.c.model_version,
    devices.c.lorawan_version,
    devices.c.driver,
    devices.c.first_seen_at,
    devices.c.last_seen_at,
    devices.c.last_f_cnt_up,
    devices.c.battery_level,
    devices.c.margin_db,
    devices.c.status_at,
).select_from(devices.outerjoin(connections, connections.c.id == devices.c.connection_id))


def set_lorawan_version(tx: sa.Connection, dev_eui: str, version: str) -> bool:
    """Write which version of LoRaWAN a device speaks; say whether there is such a device."""
    statement = sa.update(devices).where(devices.c.dev_eui == dev_eui).values(lorawan_version=version)
    return tx.execute(statement).rowcount == 1


def list_devices(tx: sa.Connection, *, after: str = "", limit: int) -> list[Device]:
    """Give at most `limit` devices by DevEUI, those behind `after`: the DevEUI that ended the page before."""
    rows = tx.execute(_DEVICE.where(devices.c.dev_eui > after).order_by(devices.c.dev_eui).limit(limit))
    return [Device(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def find_device(tx: sa.Connection, dev_eui: str) -> Device | None:
    """Give the device, or None."""
    row = tx.execute(_DEVICE.where(devices.c.dev_eui == dev_eui)).one_or_none()
    return Device(**row._mapping) if row else None  # noqa: SLF001


def insert_device_unless_known(tx: sa.Connection, dev_eui: str, now: datetime) -> None:
    """Insert a device that was not heard yet; one that is known stays as it is."""
    insert = dialect_insert(devices, tx).values(
        dev_eui=dev_eui, name_by_hand=False, first_seen_at=now, last_seen_at=now
    )
    tx.execute(insert.on_conflict_do_nothing(index_elements=["dev_eui"]))


def set_name(tx: sa.Connection, dev_eui: str, name: str | None) -> bool:
    """Set a name by hand, or with None leave the naming to the network again; False if there is no such device."""
    result = tx.execute(
        sa.update(devices).where(devices.c.dev_eui == dev_eui).values(name=name, name_by_hand=name is not None)
    )
    return bool(result.rowcount)


def list_sessions_to_key(tx: sa.Connection, dev_eui: str, dev_addr: str) -> list[int]:
    """Give the ids of the device's sessions under that DevAddr that a key set by hand is for, newest first.

    The newest is, whatever it has. Older ones are if the network sent no key for them: a device that is
    personalised by hand begins a session with each counter reset and keeps its key.
    """
    rows = tx.execute(
        sa.select(sessions.c.id, session_keys.c.source)
        .select_from(sessions.outerjoin(session_keys, session_keys.c.session_id == sessions.c.id))
        .where(sessions.c.dev_eui == dev_eui, sessions.c.dev_addr == dev_addr)
        .order_by(sessions.c.id.desc())
    ).all()
    return [row.id for number, row in enumerate(rows) if number == 0 or row.source in {None, "manual"}]


def insert_manual_session(tx: sa.Connection, dev_eui: str, dev_addr: str, now: datetime) -> int:
    """Insert a session that begins by hand and give its id."""
    insert = (
        sa.insert(sessions)
        .values(dev_eui=dev_eui, dev_addr=dev_addr, began_by="manual", started_at=now)
        .returning(sessions.c.id)
    )
    session_id: int = tx.execute(insert).scalar_one()
    return session_id


def set_manual_session_key(tx: sa.Connection, session_id: int, sealed_app_s_key: bytes, now: datetime) -> None:
    """Set the AppSKey of a session by hand, in the place of any that the network sent."""
    values = {
        "source": "manual",
        "wrapped_field": None,
        "as_transport_key_id": None,
        "sealed_app_s_key": sealed_app_s_key,
        "set_at": now,
    }
    insert = dialect_insert(session_keys, tx).values(session_id=session_id, **values)
    tx.execute(insert.on_conflict_do_update(index_elements=["session_id"], set_=values))


def list_sessions(tx: sa.Connection, dev_eui: str, limit: int) -> list[StoredSession]:
    """Give the newest sessions of a device, newest first."""
    query = (
        sa.select(
            sessions.c.id,
            sessions.c.dev_addr,
            sessions.c.began_by,
            sessions.c.started_at,
            sessions.c.last_at,
            sessions.c.last_f_cnt_up,
            session_keys.c.source.label("key_source"),
            session_keys.c.sealed_app_s_key,
        )
        .select_from(sessions.outerjoin(session_keys, session_keys.c.session_id == sessions.c.id))
        .where(sessions.c.dev_eui == dev_eui)
        .order_by(sessions.c.id.desc())
        .limit(limit)
    )
    return [StoredSession(**row._mapping) for row in tx.execute(query)]  # noqa: SLF001


def count_waiting_reports(tx: sa.Connection, dev_eui: str) -> int:
    """Count the reports of a device that wait for a key."""
    query = (
        sa.select(sa.func.count())
        .select_from(reports)
        .where(
            # The state as a literal, so that both databases see that the partial index serves.
            reports.c.state == sa.literal_column("'waiting_for_key'"),
            reports.c.dev_eui == dev_eui,
        )
    )
    return tx.execute(query).scalar_one()
