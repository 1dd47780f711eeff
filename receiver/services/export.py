"""Exports: telemetry, long or wide, and uplinks, as CSV, NDJSON or Parquet, of any size in the same memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import ExportError, NotFoundError
from receiver.services.export_long import long_table
from receiver.services.export_parquet import ParquetWriter
from receiver.services.export_selection import check_devices
from receiver.services.export_table import Column, ExportTable, Form, Kind, Shape, gather
from receiver.services.export_wide import wide_table
from receiver.services.export_writers import CsvWriter, NdjsonWriter, other_than_utc
from receiver.storage.engine import read
from receiver.storage.export_reader import open_reader
from receiver.storage.export_uplinks import UPLINK_COLUMNS, list_exported_uplinks
from receiver.storage.uplink_pages import find_connection_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, BinaryIO
    from zoneinfo import ZoneInfo

    from sqlalchemy import Engine

    from receiver.services.export_selection import Selection
    from receiver.services.export_writers import ExportWriter
    from receiver.storage.export_reader import ExportReader, Narrowing


_KINDS = {
    **dict.fromkeys(("id", "f_port", "f_cnt_up", "spreading_factor", "gateway_count"), Kind.WHOLE),
    **dict.fromkeys(("at", "received_at"), Kind.TIME),
    **dict.fromkeys(("rssi_dbm", "snr_db"), Kind.NUMBER),
    **dict.fromkeys(("late", "conflicting"), Kind.FLAG),
}
"""Of uplinks; the other columns are text."""

_UPLINKS = tuple(Column(name, _KINDS.get(name, Kind.TEXT)) for name in UPLINK_COLUMNS)
_FLAGS = [place for place, column in enumerate(_UPLINKS) if column.kind is Kind.FLAG]


def export_telemetry(
    engine: Engine, selection: Selection, shape: Shape, form: Form, file: BinaryIO, zone: ZoneInfo
) -> Iterator[int]:
    """Write telemetry into `file`; give after each chunk how many rows there are so far.

    Times stand in `zone`. Nothing is written where nothing is there.

    Raises:
        NotFoundError: a device or a name is not known.
        ExportError: there is nothing to export, or too much for a column each.
        SettingsError: Parquet cannot be written here.
        ConflictError: in a wide Parquet file a measurement changed its kind amid the export.
        StorageUnavailableError: the database is away.
    """
    with open_reader(engine) as reader:
        selection.check(reader)
        if shape is Shape.WIDE:
            table = wide_table(reader, selection, typed=form is Form.PARQUET)
        else:
            table = long_table(reader, selection, one_value=form is Form.NDJSON)
        yield from _write(table, form, file, zone, "measurement")


def export_uplinks(
    engine: Engine, dev_euis: tuple[str, ...], narrowing: Narrowing, form: Form, file: BinaryIO, zone: ZoneInfo
) -> Iterator[int]:
    """Write uplinks into `file`, the oldest first; give after each chunk how many rows there are so far.

    Columns are those of the API's list. It raises what `export_telemetry` does.
    """
    with open_reader(engine) as reader:
        check_devices(reader, dev_euis)
        parts = _uplink_parts(reader, narrowing, dev_euis)
        yield from _write(ExportTable(_UPLINKS, gather(parts, len(_UPLINKS))), form, file, zone, "uplink")


def get_connection_id(engine: Engine, name: str) -> int:
    """Give the id of the connection of that name.

    Raises:
        NotFoundError: there is none.
    """
    with read(engine) as tx:
        found = find_connection_id(tx, name)
    if found is None:
        raise NotFoundError(f"There is no connection {name[:40]!r}. `receiver connection list` shows all.")
    return found


def _write(table: ExportTable, form: Form, file: BinaryIO, zone: ZoneInfo, noun: str) -> Iterator[int]:
    writers: dict[Form, Any] = {Form.CSV: CsvWriter, Form.NDJSON: NdjsonWriter, Form.PARQUET: ParquetWriter}
    writer: ExportWriter | None = None
    rows = 0
    for chunk in table.chunks:
        if writer is None:
            writer = writers[form](file, table.columns, other_than_utc(zone))
        rows += len(chunk[0])
        writer.write(chunk)
        yield rows
    if writer is None:
        raise ExportError(f"There is nothing to export: no {noun} is of what was asked for.")
    writer.close()


def _uplink_parts(
    reader: ExportReader, narrowing: Narrowing, dev_euis: Sequence[str]
) -> Iterator[Sequence[Sequence[object]]]:
    for page in list_exported_uplinks(reader, narrowing, dev_euis):
        if page:
            columns: list[Sequence[object]] = list(zip(*page, strict=True))
            for place in _FLAGS:  # of SQLite they come as 0 and 1
                columns[place] = [bool(value) for value in columns[place]]
            yield columns
