"""Uplinks, their receptions, and what else a report leaves behind: locations and notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import bindparam, func, select, update

from receiver.storage import pg_arrays
from receiver.storage.batch_statements import insert_statement, select_by, time_writer
from receiver.storage.engine import dialect_insert
from receiver.storage.tables import deliveries, locations, notifications, receptions, reports, uplinks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection


class KnownUplink(NamedTuple):
    """An uplink that stands already: what tells a copy of a frame from a conflict."""

    id: int
    report_id: int | None
    session_id: int | None
    f_cnt_up: int | None
    frame_check: str | None


class NewUplink(NamedTuple):
    """A row of `uplinks`, whose columns have these names; its id is given when it is inserted."""

    at: datetime
    received_at: datetime
    report_id: int
    connection_id: int | None
    session_id: int | None
    dev_eui: str
    dev_addr: str | None
    f_port: int | None
    f_cnt_up: int | None
    payload_state: str
    frm_payload: bytes | None
    payload_size_bytes: int
    frame_check: str
    conflicting: bool
    late: bool
    m_type: int | None
    adr: bool
    ack: bool
    f_cnt_down: int | None
    spreading_factor: int | None
    frequency_mhz: float | None
    sub_band: str | None
    channel: str | None
    rssi_dbm: float | None
    snr_db: float | None
    esp_dbm: float | None
    lrr_id: str | None
    gateway_count: int | None
    lost_uplinks: int | None
    instant_per: float | None
    mean_per: float | None
    tx_power_dbm: float | None
    nb_trans: int | None
    device_class: str | None

    def __repr__(self) -> str:
        return f"NewUplink({self.dev_eui}, f_cnt_up={self.f_cnt_up}, {self.payload_state})"


NewReception: TypeAlias = (
    "tuple[int, int, str, int | None, float | None, float | None, float | None, float | None, float | None]"
)
"""A row of `receptions`: `_RECEPTION` and `_PLACE` of it. No class: seven are made of each uplink."""

_RECEPTION = ("uplink_id", "position", "lrr_id", "chain", "rssi_dbm", "snr_db", "esp_dbm")
_PLACE = ("latitude", "longitude")

_INSERT_UPLINKS = insert_statement(uplinks, ("id", *NewUplink._fields))
_INSERT_RECEPTIONS = insert_statement(receptions, _RECEPTION)
_INSERT_PLACED_RECEPTIONS = insert_statement(receptions, _RECEPTION + _PLACE)

_KNOWN = "uplinks.id, uplinks.report_id, uplinks.session_id, uplinks.f_cnt_up, uplinks.frame_check"

# CROSS JOIN: SQLite then keeps to this order, a search in an index for each frame.
_OF_FRAMES_SQLITE = (
    f"SELECT {_KNOWN} FROM json_each(?) AS frame CROSS JOIN uplinks"  # noqa: S608 - constants only
    " ON uplinks.session_id = json_extract(frame.value, '$[0]')"
    " AND uplinks.f_cnt_up = json_extract(frame.value, '$[1]')"
)
_OF_FRAMES_POSTGRESQL = (
    f"SELECT {_KNOWN} FROM unnest(%b, %b) AS frame (session_id, f_cnt_up) JOIN uplinks"  # noqa: S608
    " ON uplinks.session_id = frame.session_id AND uplinks.f_cnt_up = frame.f_cnt_up"
)
_OF_REPORTS_SQLITE = f"SELECT {_KNOWN} FROM uplinks WHERE report_id IN (SELECT value FROM json_each(?))"  # noqa: S608
_OF_REPORTS_POSTGRESQL = f"SELECT {_KNOWN} FROM uplinks WHERE report_id = ANY(%b)"  # noqa: S608


def find_uplinks_of_reports(connection: Connection, report_ids: Sequence[int]) -> dict[int, KnownUplink]:
    """Give the uplinks that were made from these reports before, by report id."""
    rows = select_by(connection, _OF_REPORTS_SQLITE, _OF_REPORTS_POSTGRESQL, report_ids, pg_arrays.int8s)
    return {row[1]: KnownUplink(*row) for row in rows}


def find_uplinks_of_frames(connection: Connection, frames: Sequence[tuple[int, int]]) -> list[KnownUplink]:
    """Give the uplinks that stand under any of these (session id, FCntUp), which differ."""
    pack = (pg_arrays.int8s, pg_arrays.int8s)
    return [KnownUplink(*row) for row in select_by(connection, _OF_FRAMES_SQLITE, _OF_FRAMES_POSTGRESQL, frames, *pack)]


_NEXT_IDS = "SELECT nextval('uplinks_id_seq') FROM generate_series(1, %s)"


def insert_uplinks(connection: Connection, rows: Sequence[NewUplink]) -> list[int]:
    """Insert uplinks; give their ids in the same order, which is that of the ids."""
    if not rows:
        return []
    if connection.dialect.name == "sqlite":
        # As SQLite itself gives ids; within the write transaction nobody else takes one.
        first = connection.exec_driver_sql("SELECT coalesce(max(id), 0) + 1 FROM uplinks").scalar_one()
        ids = list(range(first, first + len(rows)))
        time = time_writer(connection)
        values = [
            (row_id, time(row.at), time(row.received_at), *row[2:]) for row_id, row in zip(ids, rows, strict=True)
        ]
        _INSERT_UPLINKS.run(connection, values)
    else:
        ids = sorted(connection.exec_driver_sql(_NEXT_IDS, (len(rows),)).scalars())
        _INSERT_UPLINKS.run(connection, [(row_id, *row) for row_id, row in zip(ids, rows, strict=True)])
    return ids


_PAYLOAD = (
    update(uplinks)
    .where(uplinks.c.id == bindparam("uplink_id"))
    .values(
        payload_state=bindparam("new_state"),
        frm_payload=bindparam("new_payload"),
        session_id=bindparam("new_session_id"),
    )
)


def update_payloads(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write what reading again found: `uplink_id`, `new_state`, `new_payload`, `new_session_id`."""
    if rows:
        connection.execute(_PAYLOAD, rows)


def mark_conflicting(connection: Connection, uplink_ids: Sequence[int]) -> None:
    """Flag uplinks whose counter another frame of the same session has too."""
    if uplink_ids:
        connection.execute(update(uplinks).where(uplinks.c.id.in_(uplink_ids)).values(conflicting=True))


def insert_receptions(connection: Connection, rows: Sequence[NewReception]) -> None:
    """Insert one row per gateway and uplink.

    Reports place one gateway in ten, and the drivers take as long for a NULL as for a third of a row.
    """
    nowhere = (None,) * len(_PLACE)
    _INSERT_RECEPTIONS.run(connection, [row[:7] for row in rows if row[7:] == nowhere])
    _INSERT_PLACED_RECEPTIONS.run(connection, [row for row in rows if row[7:] != nowhere])


def insert_locations(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert fixes that are not known yet: one row per device and time of the fix."""
    if rows:
        statement = dialect_insert(locations, connection)
        connection.execute(statement.on_conflict_do_nothing(index_elements=["dev_eui", "at"]), rows)


def insert_notifications(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert notifications that are not known yet: one row per device, type and time."""
    if rows:
        statement = dialect_insert(notifications, connection)
        connection.execute(statement.on_conflict_do_nothing(index_elements=["dev_eui", "type", "at"]), rows)


def note_copy(connection: Connection, first_report_id: int, copy_report_id: int) -> None:
    """Count a report that turned out to be another delivery of a frame, on the report that brought it first.

    What was counted on the copy before it was read goes over with it. Noting a copy again changes nothing.
    """
    copy = select(
        bindparam("first", first_report_id),
        reports.c.connection_id,
        reports.c.tunnel_key_id,
        reports.c.delivery_id,
        reports.c.received_at,
        reports.c.received_at,
        1,
        reports.c.query,
    ).where(reports.c.id == copy_report_id)
    columns = [
        "report_id",
        "connection_id",
        "tunnel_key_id",
        "delivery_id",
        "first_received_at",
        "last_received_at",
        "times",
        "query",
    ]
    own = deliveries.c.report_id == copy_report_id
    counted = connection.scalar(select(func.coalesce(func.sum(deliveries.c.times), 0)).where(own))
    statement = dialect_insert(deliveries, connection).from_select(columns, copy)
    statement = statement.on_conflict_do_update(  # a retry of the copy itself was counted on it before
        index_elements=["delivery_id"],
        set_={"times": deliveries.c.times + 1, "first_received_at": statement.excluded.first_received_at},
        where=own,
    )
    if connection.execute(statement).rowcount:
        connection.execute(update(deliveries).where(own).values(report_id=first_report_id))
        connection.execute(
            update(reports).where(reports.c.id == first_report_id).values(deliveries=reports.c.deliveries + 1 + counted)
        )
