"""The uplinks that are exported, by the network's time, oldest first, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.storage.export_reader import BEFORE_ALL_IDS, Place, marks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from receiver.storage.export_reader import ExportReader, Narrowing

UPLINK_COLUMNS = (
    *("id", "at", "received_at", "connection", "dev_eui", "device", "dev_addr", "f_port", "f_cnt_up"),
    *("payload_state", "frm_payload", "rssi_dbm", "snr_db", "spreading_factor", "lrr_id", "gateway_count"),
    *("late", "conflicting"),
)
"""What `list_exported_uplinks` gives: the same as an `UplinkView` of `uplink_queries` has."""

_PAGE_ROWS = 5000  # some 20 ms of the database
_TIMES = {"at", "received_at"}


def list_exported_uplinks(
    reader: ExportReader, narrowing: Narrowing, dev_euis: Sequence[str] = ()
) -> Iterator[list[tuple[Any, ...]]]:
    """Give pages of uplinks as tuples of `UPLINK_COLUMNS`, of these devices only, where they are given.

    Payloads are clear hex. A page looks at so many uplinks of the range, however few of them a filter leaves.
    """
    since, until = narrowing.range
    place = Place(since, BEFORE_ALL_IDS)
    statement = _statement(reader, narrowing, dev_euis)
    wanted = [value for _, value in narrowing.wanted_columns]
    while True:
        page = reader.fetch(statement, (*wanted, *dev_euis, place.at, until, *place))
        if not page:
            return
        place = Place(page[-1][1], page[-1][0])
        yield [row[:-1] for row in page if row[-1]] if wanted else page
        if len(page) < _PAGE_ROWS:
            return


def _statement(reader: ExportReader, narrowing: Narrowing, dev_euis: Sequence[str]) -> str:
    match = " AND ".join(f"v.{name} = ?" for name, _ in narrowing.wanted_columns)
    columns = ", ".join(_expression(reader, name) for name in UPLINK_COLUMNS) + (f", {match}" if match else "")
    of_these = f"v.dev_eui IN ({marks(dev_euis)}) AND " if dev_euis else ""
    moment = reader.moment
    return (
        f"SELECT {columns} FROM uplinks AS v LEFT JOIN connections ON connections.id = v.connection_id"  # noqa: S608
        f" LEFT JOIN devices ON devices.dev_eui = v.dev_eui"
        f" WHERE {of_these}v.at >= {moment} AND v.at < {moment} AND (v.at, v.id) > ({moment}, ?)"
        f" ORDER BY v.at, v.id LIMIT {_PAGE_ROWS}"
    )


def _expression(reader: ExportReader, name: str) -> str:
    if name in _TIMES:
        return reader.time(f"v.{name}")
    if name == "frm_payload":
        return reader.hex("v.frm_payload")
    return {"connection": "connections.name", "device": "devices.name"}.get(name, f"v.{name}")
