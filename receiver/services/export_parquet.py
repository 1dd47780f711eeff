"""Writes chunks of columns as Parquet, a row group at a time, by pyarrow, which is an extra.

Types: text string, time timestamp in microseconds with the zone, number double, whole number int64, true or false bool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import ConflictError, SettingsError
from receiver.services.export_table import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO
    from zoneinfo import ZoneInfo

    from receiver.services.export_table import Chunk, Column

GROUP_CELLS = 1_000_000
"""Of a row group: readers take one at a time, and it is held in memory until it is whole, some ten megabytes."""

COMPRESSION = "zstd"
"""Half of the size that snappy, the usual one, gives these columns; every reader of the last years knows it."""


def load_pyarrow() -> tuple[Any, Any]:
    """Give the modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        SettingsError: they are not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise SettingsError(
            "Parquet needs pyarrow, which is not installed: `pip install 'lora-receiver[parquet]'` brings it."
        ) from exc
    return pa, pq


class ParquetWriter:
    """Writes Parquet into a file that is open; the file is whole when `close` returned."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column], zone: ZoneInfo | None) -> None:
        self._pa, pq = load_pyarrow()
        types = _types(self._pa, zone)
        self._columns = columns
        self._schema = self._pa.schema([(column.name, types[column.kind]) for column in columns])
        self._writer = pq.ParquetWriter(file, self._schema, compression=COMPRESSION)
        self._waiting: list[Any] = []
        self._rows = 0

    def write(self, chunk: Chunk) -> None:
        """Write the rows of a chunk, or keep them until a row group is together.

        Raises:
            ConflictError: a value is of another kind than its column.
        """
        arrays = [
            self._array(column, values, field.type)
            for column, values, field in zip(self._columns, chunk, self._schema, strict=True)
        ]
        self._waiting.append(self._pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows += len(chunk[0])
        if self._rows * len(self._columns) >= GROUP_CELLS:
            self._write_group()

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        if self._waiting:
            self._write_group()
        self._writer.close()

    def _array(self, column: Column, values: list[object], of_type: Any) -> Any:  # noqa: ANN401 - pyarrow's types
        try:
            if column.kind is Kind.TIME:
                return self._pa.array(values, self._pa.string()).cast(of_type)
            return self._pa.array(values, of_type)
        except (ValueError, TypeError) as exc:
            raise ConflictError(
                f"{column.name!r} got a value of another kind while it was exported: run it again."
            ) from exc

    def _write_group(self) -> None:
        group = self._pa.Table.from_batches(self._waiting, self._schema)
        self._writer.write_table(group, row_group_size=self._rows)
        self._waiting, self._rows = [], 0


def _types(pa: Any, zone: ZoneInfo | None) -> dict[Kind, Any]:  # noqa: ANN401 - a module
    return {
        Kind.TEXT: pa.string(),
        Kind.TIME: pa.timestamp("us", tz="UTC" if zone is None else zone.key),
        Kind.NUMBER: pa.float64(),
        Kind.WHOLE: pa.int64(),
        Kind.FLAG: pa.bool_(),
    }
