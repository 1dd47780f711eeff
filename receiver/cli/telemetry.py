"""`receiver telemetry`: what codecs made of payloads, over time or the latest."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.export import export_telemetry
from receiver.cli.store import JsonOption, open_store, print_rows, utc_now
from receiver.cli.time_option import parse_optional_moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receiver.cli.store import Store
    from receiver.storage.telemetry_queries import TelemetryValue

app = typer.Typer(no_args_is_help=True, help="Telemetry: the measurements that codecs made of payloads.")

_COLUMNS = ("at", "dev_eui", "name", "value", "unit", "uplink_id")
_PAGE = 1000


@app.command("list")
def list_(
    *,
    device: Annotated[str, typer.Option("--device", metavar="EUI", help="Of this device.", show_default=False)],
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Only of this name; may be given several times.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="From this moment on: a time in ISO 8601, or 24h, 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Before this moment.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many, newest first.")] = 50,
    json: JsonOption = False,
) -> None:
    """List the measurements of a device, newest first."""
    from receiver.lorawan.identifiers import parse_device
    from receiver.storage.engine import read
    from receiver.storage.telemetry_queries import list_series, list_values

    dev_eui = parse_device(device)
    start, end = parse_optional_moment(since, utc_now()), parse_optional_moment(until, utc_now())

    def values(store: Store) -> Iterator[TelemetryValue]:
        left, cursor = limit, None
        with read(store.engine) as tx:
            wanted = list_series(tx, dev_eui, name)
        while left:
            with read(store.engine) as tx:
                page, cursor = list_values(tx, wanted, limit=min(left, _PAGE), since=start, until=end, before=cursor)
            yield from page
            left -= len(page)
            if cursor is None:
                return

    with open_store() as store:
        print_rows((asdict(value) for value in values(store)), _COLUMNS, json)


@app.command()
def latest(
    *,
    device: Annotated[str | None, typer.Option("--device", metavar="EUI", help="Only of this device.")] = None,
    json: JsonOption = False,
) -> None:
    """List the newest value of each measurement, of one device or all."""
    from receiver.lorawan.identifiers import parse_device
    from receiver.storage.engine import read
    from receiver.storage.telemetry_queries import list_latest

    dev_eui = None if device is None else parse_device(device)

    def values(store: Store) -> Iterator[TelemetryValue]:
        after = ("", "", "")
        while True:
            with read(store.engine) as tx:
                page = list_latest(tx, dev_eui=dev_eui, after=after, limit=_PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].dev_eui, page[-1].name, page[-1].unit or ""

    with open_store() as store:
        print_rows((asdict(value) for value in values(store)), _COLUMNS, json)


app.command("export")(export_telemetry)
