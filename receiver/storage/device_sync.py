"""SQL for comparing devices here with those at a network, and for taking over what the network knows of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from receiver.storage.engine import dialect_insert
from receiver.storage.provisioning_tables import provisionings
from receiver.storage.tables import connections, devices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class Provisioned(NamedTuple):
    """A connection here, and what the network calls it; `account_id` None: its account was removed."""

    connection: str
    account_id: int | None
    remote_id: str


class LocalDevice(NamedTuple):
    """What is compared of a device here; `platform` is that of its connection."""

    dev_eui: str
    name: str | None
    name_by_hand: bool
    connection: str | None
    platform: str | None


def list_provisioned(tx: sa.Connection, surface: str) -> list[Provisioned]:
    """Give the connections of a surface that the network has told the id of, by name."""
    known = (provisionings.c.surface == surface, provisionings.c.remote_id.is_not(None))
    query = (
        sa.select(connections.c.name, provisionings.c.account_id, provisionings.c.remote_id)
        .select_from(provisionings.join(connections, connections.c.id == provisionings.c.connection_id))
        .where(*known, provisionings.c.state != "removed")
        .order_by(connections.c.name)
    )
    return [Provisioned(*row) for row in tx.execute(query)]


def list_local_devices(tx: sa.Connection) -> list[LocalDevice]:
    """Give all devices by DevEUI, with the platform of the connection that they came by last."""
    query = (
        sa.select(devices.c.dev_eui, devices.c.name, devices.c.name_by_hand, connections.c.name, connections.c.platform)
        .select_from(devices.outerjoin(connections, connections.c.id == devices.c.connection_id))
        .order_by(devices.c.dev_eui)
    )
    return [LocalDevice(*row) for row in tx.execute(query)]


def insert_known_devices(tx: sa.Connection, found: Sequence[tuple[str, str | None]], now: datetime) -> int:
    """Insert devices (DevEUI, name) that are not here yet, and give how many they were."""
    if not found:
        return 0
    rows = [
        {"dev_eui": dev_eui, "name": name, "name_by_hand": False, "first_seen_at": now, "last_seen_at": now}
        for dev_eui, name in found
    ]
    before = tx.execute(sa.select(sa.func.count()).select_from(devices)).scalar_one()
    tx.execute(dialect_insert(devices, tx).on_conflict_do_nothing(index_elements=["dev_eui"]), rows)
    return int(tx.execute(sa.select(sa.func.count()).select_from(devices)).scalar_one() - before)


def set_network_names(tx: sa.Connection, named: Sequence[tuple[str, str]]) -> None:
    """Give devices (DevEUI, name) the network's name, except those that were named by hand."""
    if not named:
        return
    row = (devices.c.dev_eui == sa.bindparam("at_dev_eui"), devices.c.name_by_hand.is_(False))
    tx.execute(
        sa.update(devices).where(*row).values(name=sa.bindparam("new_name")),
        [{"at_dev_eui": dev_eui, "new_name": name} for dev_eui, name in named],
    )
