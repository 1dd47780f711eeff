"""Devices that KPN Things names by a UUID of its own: which LoRaWAN device each of them is.

Until a person says so, such a device stands under the name `DVNUUID:` and its UUID, as if that were its DevEUI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import IdentifierError
from receiver.kpn_things.records import UUID_PREFIX
from receiver.kpn_things.token import parse_plug_uuid
from receiver.lorawan.identifiers import parse_dev_eui, shorten
from receiver.storage import things_devices as stored
from receiver.storage.engine import read, write
from receiver.storage.reports import lock_reading

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from receiver.storage.things_devices import MappedDevice


class MappedNow(NamedTuple):
    """What mapping did: `before` is the DevEUI that the UUID was mapped to, `uplinks_moved` those of it that moved."""

    uuid: str
    dev_eui: str
    before: str | None
    uplinks_moved: int


def map_things_device(engine: sa.Engine, now: datetime, uuid: str, dev_eui: str) -> MappedNow:
    """Map a UUID to a DevEUI, for messages that are read from now on and for all that stands under the UUID.

    What was read while it was mapped to another DevEUI stays with that: nobody can tell it from that device's own.

    Raises:
        IdentifierError: one of the two is not of its form.
    """
    device = parse_dev_eui(dev_eui)
    name = parse_plug_uuid(uuid.strip().removeprefix(UUID_PREFIX))
    if name is None:
        raise IdentifierError(
            f"{shorten(uuid)!r} is not a UUID: give it as KPN Things does, such as"
            " 737b588b-547e-45d3-96d0-f79723291bf1."
        )
    with write(engine) as tx:
        lock_reading(tx)
        before = stored.put_mapping(tx, name, device, now)
        moved = stored.rename_device(tx, UUID_PREFIX + name, device)
    return MappedNow(name, device, before, moved)


def list_mapped_devices(engine: sa.Engine) -> list[MappedDevice]:
    """Give all devices that are mapped, by UUID."""
    with read(engine) as tx:
        return stored.list_mapped(tx)
