"""`receiver downlink`: sends to devices, says what became of each, takes back what still waits."""

from __future__ import annotations

import json as json_text
import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.store import JsonOption, as_json, as_text, counted, open_store, print_record, print_rows, utc_now
from receiver.cli.time_option import parse_optional_moment

if TYPE_CHECKING:
    from receiver.services.downlink_checks import DownlinkWish, When
    from receiver.services.downlink_views import DownlinkDetails
    from receiver.services.downlinks import Enqueued

app = typer.Typer(no_args_is_help=True, help="Downlinks: send to a device, see what became of it, take it back.")

IdArgument = Annotated[
    int, typer.Argument(metavar="ID", min=0, max=2**63 - 1, help="As `downlink list` has it.", show_default=False)
]

_BY = "command"
_COLUMNS = ("id", "created_at", "dev_eui", "device", "f_port", "payload_hex", "state", "state_at", "detail")
_EVENT_COLUMNS = ("at", "state", "cause", "detail", "answer")


@app.command()
def send(
    eui: Annotated[str, typer.Argument(metavar="EUI", help="The DevEUI, or that of a multicast group.")],
    *,
    port: Annotated[
        int | None, typer.Option(metavar="N", help="The FPort, 1 to 223; of an --object the codec may choose it.")
    ] = None,
    hex_: Annotated[str | None, typer.Option("--hex", metavar="HEX", help="The payload in hexadecimal.")] = None,
    base64: Annotated[str | None, typer.Option("--base64", metavar="B", help="The payload in base64.")] = None,
    object_: Annotated[
        str | None, typer.Option("--object", metavar="JSON", help="An object that the device's codec encodes.")
    ] = None,
    confirmed: Annotated[bool, typer.Option("--confirmed", help="The device shall acknowledge it.")] = False,
    expires: Annotated[
        str | None, typer.Option(metavar="T", help="Not after: a span from now like 10m, or a time in ISO 8601.")
    ] = None,
    not_before: Annotated[str | None, typer.Option(metavar="T", help="Not before: likewise.")] = None,
    priority: Annotated[int, typer.Option(metavar="N", help="-100 to 100; of one device the greater goes first.")] = 0,
    reference: Annotated[str | None, typer.Option(metavar="R", help="A reference of your own, to find it by.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="K", help="The same command again with the same key sends nothing more.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Cancel what is queued here for the device.")] = False,
    flush: Annotated[bool, typer.Option("--flush", help="Empty the network's queue for the device first.")] = False,
    connection: Annotated[
        str | None, typer.Option(metavar="NAME", help="By this connection; else as the device was heard last.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Queue a downlink for a device; a worker sends it. With --flush alone, empty the network's queue for it."""
    from receiver.lorawan.identifiers import parse_dev_eui
    from receiver.services.downlink_checks import DownlinkWish, parse_payload
    from receiver.services.downlink_encoding import ObjectEncoder
    from receiver.services.downlinks import CORRELATION_BITS, enqueue

    payloads = sum(one is not None for one in (hex_, base64, object_))
    if payloads > 1 or not (payloads or flush):
        raise typer.BadParameter("Give one of --hex, --base64 and --object; or none of them with --flush.")
    wish = DownlinkWish(
        dev_eui=parse_dev_eui(eui),
        f_port=port,
        payload=parse_payload(hex_, base64),
        object=_object(object_),
        connection=connection,
        confirmed=confirmed,
        flush=flush,
        replace=replace,
        priority=priority,
        not_before=_when("--not-before", not_before),
        expires_at=_when("--expires", expires),
        reference=reference,
    )
    with open_store() as store, ObjectEncoder() as encoder:
        done = enqueue(
            store.engine,
            encoder,
            utc_now(),
            secrets.randbits(CORRELATION_BITS),
            wish,
            creator=_BY,
            idempotency_key=idempotency_key,
        )
    if json:
        typer.echo(as_json(asdict(done.downlink)))
        return
    typer.echo(_say(done, wish))
    for warning in done.downlink.warnings:
        typer.echo(f"receiver: {as_text(warning)}", err=True)


@app.command("list")
def list_(
    *,
    device: Annotated[str | None, typer.Option(metavar="EUI", help="Only those of this device.")] = None,
    state: Annotated[str | None, typer.Option(metavar="S", help="Only those that are in this state now.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="NAME", help="Only those by this connection.")] = None,
    reference: Annotated[str | None, typer.Option(metavar="R", help="Only those with this reference.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="Only those made since: ISO 8601, or a span like 2h or 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Only those made before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    before: Annotated[
        int | None, typer.Option(metavar="ID", min=0, max=2**63 - 1, help="Only older ones than this: the next page.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List downlinks, newest first, and where each stands."""
    from receiver.lorawan.identifiers import parse_dev_eui
    from receiver.services.connections import get_connection
    from receiver.services.downlink_views import DownlinkFilter, list_downlinks
    from receiver.storage.downlink_events import DownlinkState

    states = [one.value for one in DownlinkState]
    if state is not None and state not in states:
        raise typer.BadParameter(f"{state[:40]!r} is not a state: there are {', '.join(states)}.")
    now = utc_now()
    wanted = DownlinkFilter(
        dev_eui=None if device is None else parse_dev_eui(device),
        state=None if state is None else DownlinkState(state),
        connection=connection,
        reference=reference,
        since=parse_optional_moment(since, now),
        until=parse_optional_moment(until, now),
    )
    with open_store() as store:
        if connection is not None:
            get_connection(store.engine, connection)  # a name that is wrong is told, not answered with nothing
        rows = list_downlinks(store.engine, wanted, limit=limit, before_id=before)
    print_rows((asdict(row) for row in rows), _COLUMNS, json)


@app.command()
def show(downlink_id: IdArgument, *, json: JsonOption = False) -> None:
    """Show one downlink with every step, the requests that were sent and what was answered."""
    from receiver.services.downlink_views import get_downlink

    with open_store() as store:
        downlink = get_downlink(store.engine, downlink_id)
    if json:
        typer.echo(as_json(asdict(downlink)))
        return
    record = asdict(downlink)
    for name in ("events", "warnings", "object"):
        del record[name]
    made_of = {} if downlink.object is None else {"object": as_json(downlink.object)}
    print_record({**record, **made_of}, json=False)
    for warning in downlink.warnings:
        typer.echo(f"warning: {as_text(warning)}")
    typer.echo("\nSteps, oldest first:")
    print_rows([asdict(event) for event in downlink.events], _EVENT_COLUMNS, json=False)
    for event in downlink.events:
        if event.request is not None:
            typer.echo(f"Sent at {as_text(event.at)}: {as_text(event.request)}")


@app.command("cancel")
def cancel_(downlink_id: IdArgument, *, json: JsonOption = False) -> None:
    """Take a downlink back that is still queued here. What the network has is emptied with `send EUI --flush`."""
    from receiver.services.downlinks import cancel

    with open_store() as store:
        downlink = cancel(store.engine, utc_now(), downlink_id, by=_BY)
    typer.echo(as_json(asdict(downlink)) if json else f"Downlink {downlink.id} is cancelled.")


def _say(done: Enqueued, wish: DownlinkWish) -> str:
    downlink: DownlinkDetails = done.downlink
    if not done.is_new:
        return f"This was put in before as downlink {downlink.id}, which is {downlink.state.value}."
    if downlink.payload_hex is None:
        what = "which empties the network's queue,"
    else:
        what = f"{counted(len(downlink.payload_hex) // 2, 'byte')} on FPort {downlink.f_port},"
    lines = [f"Downlink {downlink.id} to {downlink.dev_eui}, {what} is queued by connection {downlink.connection}."]
    if wish.replace:
        lines.append(f"In its place {counted(len(done.replaced_ids), 'queued downlink')} went.")
    return "\n".join([*lines, f"What becomes of it: receiver downlink show {downlink.id}"])


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        given = json_text.loads(text)
    except (ValueError, RecursionError) as exc:
        raise typer.BadParameter("--object is not JSON; it must be an object like '{\"period\": 60}'.") from exc
    if not isinstance(given, dict):
        raise typer.BadParameter("--object must be a JSON object like '{\"period\": 60}'.")
    return given


def _when(option: str, text: str | None) -> When | None:
    from receiver.services.downlink_checks import DownlinkRefusedError, parse_when

    if text is None:
        return None
    try:
        return parse_when(option, text)
    except DownlinkRefusedError as exc:
        raise typer.BadParameter(str(exc)) from exc
