"""`receiver uplinks`: the newest uplinks, one with all its deliveries, or each as it comes."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.export import export_uplinks
from receiver.cli.store import JsonOption, as_json, as_text, open_store, print_record, print_rows, utc_now
from receiver.cli.time_option import parse_optional_moment

if TYPE_CHECKING:
    from receiver.storage.uplink_queries import UplinkView

app = typer.Typer(no_args_is_help=True, help="Uplinks: list the newest, show one, or follow them as they come.")

DeviceOption = Annotated[str | None, typer.Option("--device", metavar="EUI", help="Only of this device.")]

TAIL_S = 0.2
_PAGE = 500
_COLUMNS = (
    "id",
    "at",
    "dev_eui",
    "device",
    "f_port",
    "f_cnt_up",
    "payload_state",
    "frm_payload",
    "rssi_dbm",
    "spreading_factor",
)
_GAP_COLUMNS = ("dev_eui", "device", "after_f_cnt_up", "before_f_cnt_up", "missing", "from_at", "until_at")
_RECEPTION_COLUMNS = ("lrr_id", "chain", "rssi_dbm", "snr_db", "esp_dbm")
_DELIVERY_COLUMNS = ("first_received_at", "last_received_at", "times", "connection", "key_id")


@app.command("list")
def list_(
    *,
    device: DeviceOption = None,
    connection: Annotated[str | None, typer.Option(metavar="NAME", help="Only by this connection.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    before: Annotated[int | None, typer.Option(metavar="ID", help="Only older ones than this: the next page.")] = None,
    json: JsonOption = False,
) -> None:
    """List the newest uplinks, with their decrypted payloads in hex."""
    from receiver.storage.engine import read
    from receiver.storage.uplink_queries import list_uplinks

    dev_eui = _dev_eui(device)
    with open_store() as store:
        if connection is not None:
            from receiver.services.connections import get_connection

            get_connection(store.engine, connection)  # a name that is wrong is told, not answered with nothing
        with read(store.engine) as tx:
            rows = list_uplinks(tx, limit=limit, dev_eui=dev_eui, connection_name=connection, before_id=before)
    print_rows((asdict(row) for row in rows), _COLUMNS, json)


@app.command()
def show(
    uplink_id: Annotated[int, typer.Argument(metavar="ID", help="The id that `list` shows.", show_default=False)],
    *,
    json: JsonOption = False,
) -> None:
    """Show one uplink with the gateways that heard it, and with all deliveries that brought it."""
    from receiver.storage.engine import read
    from receiver.storage.uplink_details import get_uplink

    with open_store() as store, read(store.engine) as tx:
        uplink = get_uplink(tx, uplink_id)
    heard_by = [asdict(reception) for reception in uplink.receptions]
    delivered = [asdict(delivery) for delivery in uplink.deliveries]
    if json:
        decoding = None if uplink.decoding is None else asdict(uplink.decoding)
        whole = {**uplink.columns, "decoding": decoding, "receptions": heard_by, "deliveries": delivered}
        typer.echo(as_json(whole))
        return
    print_record(uplink.columns, json=False)
    if uplink.decoding is not None:
        typer.echo("\nDecoding:")
        print_record({**asdict(uplink.decoding), "decoded": as_json(uplink.decoding.decoded)}, json=False)
    typer.echo("\nReceptions, best first:")
    print_rows(heard_by, _RECEPTION_COLUMNS, json=False)
    typer.echo("\nDeliveries, oldest first; `times` counts a retry of the same delivery:")
    print_rows(delivered, _DELIVERY_COLUMNS, json=False)


@app.command()
def tail(
    *,
    device: DeviceOption = None,
    lines: Annotated[int, typer.Option(min=0, max=10_000, help="How many older ones to begin with.")] = 10,
    for_: Annotated[float | None, typer.Option("--for", metavar="S", help="End after so many seconds.")] = None,
    json: JsonOption = False,
) -> None:
    """Show each uplink as soon as it is read; Ctrl-C ends it. With --json, one object a line."""
    from receiver.storage.engine import read
    from receiver.storage.uplink_queries import list_uplinks, list_uplinks_since, newest_uplink_id

    dev_eui = _dev_eui(device)
    deadline = None if for_ is None else time.monotonic() + for_
    with open_store() as store:
        with read(store.engine) as tx:
            cursor = newest_uplink_id(tx)
            older = list_uplinks(tx, limit=lines, dev_eui=dev_eui) if lines else []
        for uplink in reversed(older):
            show_uplink(uplink, json=json)
        while deadline is None or time.monotonic() < deadline:
            with read(store.engine) as tx:
                newer = list_uplinks_since(tx, cursor, limit=_PAGE, dev_eui=dev_eui)
            for uplink in newer:
                show_uplink(uplink, json=json)
                cursor = uplink.id
            if len(newer) < _PAGE:
                time.sleep(TAIL_S)


@app.command()
def gaps(
    *,
    device: DeviceOption = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="Only holes that ended since: a time in ISO 8601, or 24h, 7d.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 100,
    json: JsonOption = False,
) -> None:
    """List the holes in frame counters: uplinks that a device sent and nobody heard."""
    from receiver.storage.engine import read
    from receiver.storage.gaps import list_gaps

    dev_eui = _dev_eui(device)
    start = parse_optional_moment(since, utc_now())
    with open_store() as store, read(store.engine) as tx:
        found = list_gaps(tx, limit=limit, dev_eui=dev_eui, since=start)
    print_rows((asdict(gap) for gap in found), _GAP_COLUMNS, json)


app.command("export")(export_uplinks)


def show_uplink(uplink: UplinkView, *, json: bool) -> None:
    """Print one uplink: a JSON object, or a line for a person."""
    typer.echo(as_json(asdict(uplink)) if json else uplink_line(uplink))


def uplink_line(uplink: UplinkView) -> str:
    """Give the line: time, device, port and counter, payload, and how well it was heard."""
    payload = {
        "waiting_for_key": "(waits for its key)",
        "none": "(no payload)",
    }.get(uplink.payload_state, uplink.frm_payload or "")
    name = as_text(uplink.device or uplink.dev_eui)
    heard = f"SF{as_text(uplink.spreading_factor)} {as_text(uplink.rssi_dbm)} dBm"
    flags = " late" * uplink.late + " conflicting" * uplink.conflicting
    return (
        f"{uplink.at:%H:%M:%S}  {uplink.dev_eui}  {name:<22.22}  port {as_text(uplink.f_port):>3}"
        f"  #{as_text(uplink.f_cnt_up):<7} {payload:<26} {heard}{flags}"
    )


def _dev_eui(text: str | None) -> str | None:
    from receiver.lorawan.identifiers import parse_device

    return None if text is None else parse_device(text)
