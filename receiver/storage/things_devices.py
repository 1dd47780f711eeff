"""SQL for devices that KPN Things names by a UUID, and for messages of it that stand already."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from receiver.storage import pg_arrays
from receiver.storage.batch_statements import select_by, time_writer
from receiver.storage.downlink_tables import downlinks
from receiver.storage.engine import bump_revision, dialect_insert
from receiver.storage.redecoding import SERIES_REVISION
from receiver.storage.tables import devices, locations, notifications, reports, sessions, uplinks
from receiver.storage.telemetry_tables import codec_assignments, series, telemetry_values
from receiver.storage.things_tables import things_devices

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime


class MappedDevice(NamedTuple):
    """A device of KPN Things, and the LoRaWAN device that it is."""

    uuid: str
    dev_eui: str
    mapped_at: datetime


class Content(NamedTuple):
    """What tells a message without a frame counter: its device, its time, and the check of its frame."""

    dev_eui: str
    at: datetime
    frame_check: str


def find_dev_euis(connection: sa.Connection, uuids: Collection[str]) -> dict[str, str]:
    """Give the DevEUIs of those of the UUIDs that are mapped."""
    if not uuids:
        return {}
    query = sa.select(things_devices.c.uuid, things_devices.c.dev_eui).where(things_devices.c.uuid.in_(uuids))
    return {row.uuid: row.dev_eui for row in connection.execute(query)}


def list_mapped(connection: sa.Connection) -> list[MappedDevice]:
    """Give all devices that are mapped, by UUID."""
    query = sa.select(things_devices.c.uuid, things_devices.c.dev_eui, things_devices.c.mapped_at)
    return [MappedDevice(*row) for row in connection.execute(query.order_by(things_devices.c.uuid))]


def put_mapping(connection: sa.Connection, uuid: str, dev_eui: str, now: datetime) -> str | None:
    """Map a UUID to a DevEUI; give the one that it was mapped to before."""
    before = find_dev_euis(connection, [uuid]).get(uuid)
    values = {"dev_eui": dev_eui, "mapped_at": now}
    insert = dialect_insert(things_devices, connection).values(uuid=uuid, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["uuid"], set_=values))
    return before


_OF_CONTENTS_SQLITE = (
    "SELECT wanted.key, uplinks.report_id FROM json_each(?) AS wanted CROSS JOIN uplinks"
    " ON uplinks.dev_eui = json_extract(wanted.value, '$[0]') AND uplinks.at = json_extract(wanted.value, '$[1]')"
    " WHERE uplinks.frame_check = json_extract(wanted.value, '$[2]') AND uplinks.f_cnt_up IS NULL ORDER BY uplinks.id"
)
_OF_CONTENTS_POSTGRESQL = (
    "SELECT wanted.place - 1, uplinks.report_id FROM unnest(%b, %b, %b) WITH ORDINALITY"
    " AS wanted (dev_eui, at, frame_check, place) JOIN uplinks"
    " ON uplinks.dev_eui = wanted.dev_eui AND uplinks.at = wanted.at"
    " WHERE uplinks.frame_check = wanted.frame_check AND uplinks.f_cnt_up IS NULL ORDER BY uplinks.id"
)


def find_contents(connection: sa.Connection, contents: Sequence[Content]) -> dict[Content, int | None]:
    """Give those messages that stand already, each with the report that brought it first, where that is kept."""
    time = time_writer(connection)
    keys = [(one.dev_eui, time(one.at), one.frame_check) for one in contents]
    pack = (pg_arrays.texts, pg_arrays.timestamptzs, pg_arrays.texts)
    found: dict[Content, int | None] = {}
    for place, report_id in select_by(connection, _OF_CONTENTS_SQLITE, _OF_CONTENTS_POSTGRESQL, keys, *pack):
        found.setdefault(contents[int(place)], report_id)
    return found


def rename_device(connection: sa.Connection, old: str, new: str) -> int:
    """Give all that stands of the device `old` to `new`; give how many uplinks. The caller holds `lock_reading`.

    What both have is one afterwards: a fix of one time, a series of one name and unit.
    """
    read = sa.select(uplinks.c.report_id).where(uplinks.c.dev_eui == old)
    placed = sa.select(locations.c.report_id).where(locations.c.dev_eui == old)
    of_old = sa.or_(reports.c.id.in_(read), reports.c.id.in_(placed))
    connection.execute(sa.update(reports).where(of_old).values(dev_eui=new))
    for table, same in ((locations, ("at",)), (notifications, ("type", "at"))):
        other = table.alias()
        stands = sa.exists().where(other.c.dev_eui == new, *(other.c[name] == table.c[name] for name in same))
        connection.execute(sa.delete(table).where(table.c.dev_eui == old, stands))
    moved: int = connection.execute(sa.update(uplinks).where(uplinks.c.dev_eui == old).values(dev_eui=new)).rowcount
    for table in (locations, notifications, sessions, downlinks, codec_assignments):
        connection.execute(sa.update(table).where(table.c.dev_eui == old).values(dev_eui=new))
    _rename_series(connection, old, new)
    _rename_row(connection, old, new)
    bump_revision(connection, "codecs")
    return moved


def _rename_series(connection: sa.Connection, old: str, new: str) -> None:
    theirs = {
        (row.name, row.unit): row.id for row in connection.execute(sa.select(series).where(series.c.dev_eui == new))
    }
    for row in connection.execute(sa.select(series).where(series.c.dev_eui == old)).all():
        other = theirs.get((row.name, row.unit))
        if other is None:
            connection.execute(sa.update(series).where(series.c.id == row.id).values(dev_eui=new))
            continue
        values = sa.update(telemetry_values).where(telemetry_values.c.series_id == row.id)
        connection.execute(values.values(series_id=other))  # no two are of the same uplink, so none are in the way
        connection.execute(sa.delete(series).where(series.c.id == row.id))
    bump_revision(connection, SERIES_REVISION)


def _rename_row(connection: sa.Connection, old: str, new: str) -> None:
    row = connection.execute(sa.select(devices).where(devices.c.dev_eui == old)).one_or_none()
    if row is None:
        return
    insert = dialect_insert(devices, connection).values({**row._mapping, "dev_eui": new})  # noqa: SLF001 - a public name
    earlier = insert.excluded.first_seen_at < devices.c.first_seen_at
    later = insert.excluded.last_seen_at > devices.c.last_seen_at
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["dev_eui"],
            set_={
                "first_seen_at": sa.case((earlier, insert.excluded.first_seen_at), else_=devices.c.first_seen_at),
                "last_seen_at": sa.case((later, insert.excluded.last_seen_at), else_=devices.c.last_seen_at),
                "name": sa.func.coalesce(devices.c.name, insert.excluded.name),
            },
        )
    )
    connection.execute(sa.delete(devices).where(devices.c.dev_eui == old))
