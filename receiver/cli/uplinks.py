"""`receiver uplinks`: the newest uplinks, or each as it comes."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.store import JsonOption, as_json, as_text, open_store, print_rows

if TYPE_CHECKING:
    from receiver.storage.uplink_queries import UplinkView

app = typer.Typer(no_args_is_help=True, help="Uplinks: list the newest, or follow them as they come.")

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
    from receiver.lorawan.identifiers import parse_dev_eui

    return None if text is None else parse_dev_eui(text)
