"""Compares the devices of a network's account with those in the database, both ways, and takes over what is wished.

Nothing is deleted, and nothing is changed at the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from receiver.services.bulk_access import platforms_of
from receiver.services.devices import MAX_NAME_CHARACTERS
from receiver.storage.device_sync import (
    insert_known_devices,
    list_local_devices,
    list_provisioned,
    set_network_names,
)
from receiver.storage.engine import read, write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from receiver.services.bulk_networks import NetworkDevice, NetworkDevices
    from receiver.services.platform_accounts import PlatformAccount
    from receiver.storage.device_sync import LocalDevice, Provisioned

_WRITTEN_AT_ONCE = 1000


class Difference(StrEnum):
    """How a device differs."""

    ONLY_THERE = "only-there"
    """The network has it, and it is not known here."""
    ONLY_HERE = "only-here"
    """It is known here, by a connection of this network, and the network does not have it."""
    NAME = "name"
    """It has another name there."""
    OTHER_CONNECTION = "other-connection"
    """It is on another connection there than it came by last."""
    NO_CONNECTION = "no-connection"
    """It is on none there: what it sends goes to nobody. KPN calls this DATAFLOW and says nothing of it."""


class Take(StrEnum):
    """What is taken over from the network."""

    NAMES = "names"
    DEVICES = "devices"


@dataclass(frozen=True, slots=True)
class SyncRow:
    """One difference; `here` and `there` are the names, or the connections."""

    difference: Difference
    dev_eui: str
    here: str | None = None
    there: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences, by kind and DevEUI; how many devices there are on each side, and in both."""

    rows: tuple[SyncRow, ...]
    there: int
    here: int
    both: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken over. `left`: names that differ and stay, since they were given by hand."""

    devices: int
    names: int
    left: int


async def fetch_devices(network: NetworkDevices) -> list[NetworkDevice]:
    """Give all devices of a network's account.

    Raises:
        PlatformRefusedError, LoginRefusedError, NoAnswerError: as the network.
    """
    return [device async for device in network.list_devices()]


def compare(engine: sa.Engine, account: PlatformAccount, found: Iterable[NetworkDevice]) -> Comparison:
    """Compare what the network has with what is here: of devices here those that may be of this account."""
    with read(engine) as tx:
        local = list_local_devices(tx)
        platforms = platforms_of(account.surface)
        provisioned = [one for platform in platforms for one in list_provisioned(tx, platform)]
    account_id = account.id if account.surface in platforms else None
    return compare_devices(found, local, provisioned, platforms, account_id)


def compare_devices(
    found: Iterable[NetworkDevice],
    local: Sequence[LocalDevice],
    provisioned: Sequence[Provisioned],
    platforms: Collection[str],
    account_id: int | None,
) -> Comparison:
    """Give the differences. Pure.

    A device here is looked for at the network if it came by a connection of these platforms that no other account has
    set up; with None, whoever has set it up. The network's connection is compared where `connect` has noted what it
    calls the one here.
    """
    there = {device.dev_eui: device for device in found}
    here = {device.dev_eui: device for device in local}
    remote = {one.connection: one.remote_id for one in provisioned}
    others = {one.connection for one in provisioned if account_id and one.account_id not in {None, account_id}}
    known = {one.remote_id: one.connection for one in provisioned}
    rows: list[SyncRow] = []
    for dev_eui, device in there.items():
        if device.routing == ():
            rows.append(SyncRow(Difference.NO_CONNECTION, dev_eui, _connection_of(here.get(dev_eui)), None))
        mine = here.get(dev_eui)
        if mine is None:
            rows.append(SyncRow(Difference.ONLY_THERE, dev_eui, None, device.name))
            continue
        if device.name and device.name != mine.name:
            rows.append(SyncRow(Difference.NAME, dev_eui, mine.name, device.name))
        wanted = remote.get(mine.connection or "")
        if device.routing and wanted is not None and wanted not in device.routing:
            names = ", ".join(known.get(one, one) for one in device.routing)
            rows.append(SyncRow(Difference.OTHER_CONNECTION, dev_eui, mine.connection, names))
    ours = [one for one in local if one.platform in platforms and one.connection not in others]
    rows += [SyncRow(Difference.ONLY_HERE, one.dev_eui, one.name, None) for one in ours if one.dev_eui not in there]
    order = list(Difference)
    rows.sort(key=lambda row: (order.index(row.difference), row.dev_eui))
    return Comparison(tuple(rows), len(there), len(ours), sum(dev_eui in there for dev_eui in here))


def take_over(
    engine: sa.Engine, comparison: Comparison, take: Collection[Take], now: datetime, *, dry_run: bool = False
) -> Taken:
    """Make the network's devices known here and give devices here the network's names, as wished.

    A name that was given by hand stays. With `dry_run` only what would be done is counted.
    """
    devices = [(row.dev_eui, _name(row.there)) for row in comparison.rows if row.difference is Difference.ONLY_THERE]
    differing = {row.dev_eui: row.there for row in comparison.rows if row.difference is Difference.NAME}
    by_hand = _named_by_hand(engine, differing) if Take.NAMES in take else set()
    names = [
        (dev_eui, name) for dev_eui, there in differing.items() if dev_eui not in by_hand and (name := _name(there))
    ]
    devices = devices if Take.DEVICES in take else []
    names = names if Take.NAMES in take else []
    made = len(devices)
    if not dry_run:
        made = 0
        for start in range(0, max(len(devices), len(names)), _WRITTEN_AT_ONCE):
            part = slice(start, start + _WRITTEN_AT_ONCE)
            with write(engine) as tx:
                made += insert_known_devices(tx, devices[part], now)
                set_network_names(tx, names[part])
    return Taken(made, len(names), len(by_hand))


def _named_by_hand(engine: sa.Engine, differing: Mapping[str, str | None]) -> set[str]:
    with read(engine) as tx:
        return {one.dev_eui for one in list_local_devices(tx) if one.name_by_hand and one.dev_eui in differing}


def _name(there: str | None) -> str | None:
    """Give a name as it may stand here: printable, and not too long."""
    name = "".join(character for character in there or "" if character.isprintable()).strip()
    return name[:MAX_NAME_CHARACTERS] or None


def _connection_of(mine: LocalDevice | None) -> str | None:
    return None if mine is None else mine.connection
