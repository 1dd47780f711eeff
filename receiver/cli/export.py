"""`receiver telemetry export` and `receiver uplinks export`: everything there is into a file, for analysts."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.store import counted, open_store, utc_now
from receiver.cli.time_option import parse_optional_moment
from receiver.services.export_table import Form, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO
    from zoneinfo import ZoneInfo

    from receiver.cli.store import Store
    from receiver.storage.export_reader import Narrowing

STANDARD_OUTPUT = "-"

TELL_EVERY_S = 1.0
"""How often a terminal is told how far it came."""

_ENDINGS = {".csv": Form.CSV, ".ndjson": Form.NDJSON, ".jsonl": Form.NDJSON, ".parquet": Form.PARQUET}

DeviceOption = Annotated[
    list[str] | None, typer.Option("--device", metavar="EUI", help="Only of this device; may be given several times.")
]
ConnectionOption = Annotated[
    str | None, typer.Option("--connection", metavar="NAME", help="Only of uplinks that came by this connection.")
]
PortOption = Annotated[int | None, typer.Option("--port", min=0, max=255, help="Only of uplinks on this FPort.")]
SinceOption = Annotated[
    str | None, typer.Option(metavar="T", help="From this moment on: a time in ISO 8601, or 24h, 7d.")
]
UntilOption = Annotated[str | None, typer.Option(metavar="T", help="Before this moment.")]
ZoneOption = Annotated[
    str, typer.Option("--tz", metavar="ZONE", help="The zone of times, given and written, like Europe/Amsterdam.")
]
FormOption = Annotated[Form | None, typer.Option("--format", help="Unset: by the ending of --out, else csv.")]
OutOption = Annotated[str, typer.Option("--out", metavar="FILE", help="Where to; - is standard output.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Write over a file that is there.")]


def export_telemetry(
    *,
    out: OutOption = STANDARD_OUTPUT,
    form: FormOption = None,
    shape: Annotated[
        Shape, typer.Option("--shape", help="A row for each measurement, or one for all of an uplink's.")
    ] = Shape.LONG,
    zone: ZoneOption = "UTC",
    since: SinceOption = None,
    until: UntilOption = None,
    device: DeviceOption = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Only of this name; may be given several times.")
    ] = None,
    lorawan: Annotated[
        bool, typer.Option("--lorawan", help="Also what LoRaWAN itself measures: lorawan.rssi_dbm and so on.")
    ] = False,
    connection: ConnectionOption = None,
    port: PortOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Export measurements as CSV, NDJSON or Parquet, device by device."""
    from receiver.services.export import export_telemetry as write
    from receiver.services.export_selection import Selection

    chosen = _choose(form, out)
    in_zone = _zone(zone)
    dev_euis = _dev_euis(device)

    def rows(store: Store, file: BinaryIO) -> Iterator[int]:
        narrowing = _narrowing(store, in_zone, since, until, connection, port)
        selection = Selection(dev_euis, tuple(dict.fromkeys(name or ())), lorawan, narrowing)
        return write(store.engine, selection, shape, chosen, file, in_zone)

    _export(rows, out, overwrite=overwrite)


def export_uplinks(
    *,
    out: OutOption = STANDARD_OUTPUT,
    form: FormOption = None,
    zone: ZoneOption = "UTC",
    since: SinceOption = None,
    until: UntilOption = None,
    device: DeviceOption = None,
    connection: ConnectionOption = None,
    port: PortOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Export uplinks with their decrypted payloads in hex as CSV, NDJSON or Parquet, the oldest first."""
    from receiver.services.export import export_uplinks as write

    chosen = _choose(form, out)
    in_zone = _zone(zone)
    dev_euis = _dev_euis(device)

    def rows(store: Store, file: BinaryIO) -> Iterator[int]:
        narrowing = _narrowing(store, in_zone, since, until, connection, port)
        return write(store.engine, dev_euis, narrowing, chosen, file, in_zone)

    _export(rows, out, overwrite=overwrite)


def _choose(form: Form | None, out: str) -> Form:
    chosen = form or _ENDINGS.get(Path(out).suffix.lower(), Form.CSV)
    if chosen is Form.PARQUET:
        from receiver.services.export_parquet import load_pyarrow

        if out == STANDARD_OUTPUT:
            raise typer.BadParameter("Parquet needs a file: say which with --out.")
        load_pyarrow()
    return chosen


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfoNotFoundError

    from receiver.errors import NotFoundError
    from receiver.services.buckets import find_zone

    try:
        return find_zone(name)
    except ZoneInfoNotFoundError as exc:
        raise NotFoundError(f"There is no zone {name[:40]!r}; give one like Europe/Amsterdam or UTC.") from exc


def _dev_euis(device: list[str] | None) -> tuple[str, ...]:
    from receiver.lorawan.identifiers import parse_device

    return tuple(sorted({parse_device(one) for one in device or ()}))


def _narrowing(
    store: Store, zone: ZoneInfo, since: str | None, until: str | None, connection: str | None, port: int | None
) -> Narrowing:
    from receiver.services.export import get_connection_id
    from receiver.storage.export_reader import Narrowing

    now = utc_now()
    connection_id = None if connection is None else get_connection_id(store.engine, connection)
    start, end = parse_optional_moment(since, now, zone), parse_optional_moment(until, now, zone)
    return Narrowing(start, end, connection_id, port)


def _export(rows_of: Callable[[Store, BinaryIO], Iterator[int]], out: str, *, overwrite: bool) -> None:
    """Write into a draft or standard output, and say how far it is, and in the last line how many rows it was."""
    from receiver.services.export_files import open_draft

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a draft is removed then, too
    is_file = out != STANDARD_OUTPUT
    rows, told = 0, time.monotonic()
    tells = sys.stderr.isatty()
    draft = open_draft(Path(out), overwrite=overwrite) if is_file else _standard_output()
    try:
        with draft as file, open_store() as store:
            for rows in rows_of(store, file):
                if tells and time.monotonic() - told > TELL_EVERY_S:
                    told = time.monotonic()
                    sys.stderr.write(f"\r{counted_rows(rows)}")
                    sys.stderr.flush()
    except KeyboardInterrupt:
        kept = "nothing was written" if is_file else f"{counted_rows(rows)} were written"
        typer.echo(f"receiver: Stopped; {kept}.", err=True)
        raise typer.Exit(1) from None
    where = f" in {out}" if is_file else ""
    again = "\r" if tells else ""
    typer.echo(f"{again}{counted_rows(rows)}{where}.", err=True)


def counted_rows(rows: int) -> str:
    """Give `1 row`, `1,000 rows`."""
    return counted(rows, "row").replace(str(rows), f"{rows:,}")


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    from receiver.errors import ExportError

    file = sys.stdout.buffer
    try:
        yield file
        file.flush()
    except OSError as exc:
        # What could not be written is still in the buffer, and would be tried again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ExportError(f"Standard output was not written to its end: {exc.strerror or exc}.") from exc
