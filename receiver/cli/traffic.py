"""`receiver traffic`: how many frames of devices the networks counted, hour by hour."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.store import JsonOption, counted, open_store, print_rows, utc_now
from receiver.cli.time_option import parse_optional_moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receiver.cli.store import Store
    from receiver.services.traffic import TrafficBucketView
    from receiver.storage.traffic import TrafficFilter, TrafficView

app = typer.Typer(no_args_is_help=True, help="Traffic of devices as the networks count it, hour by hour.")

_COUNTS = ("up_count", "up_late_count", "up_lost_count", "down_count", "down_failed_count")
_COLUMNS = ("at", "dev_eui", *_COUNTS, "mean_per", "rssi_dbm", "snr_db", "account")
_BUCKET_COLUMNS = ("start", "dev_eui", "spans", *_COUNTS, "mean_per", "rssi_dbm", "snr_db")
_PAGE = 1000


@app.callback()
def _group() -> None:
    """Keep `list` a command of its own: a group of one would else lose its name."""


@app.command("list")
def list_(
    eui: Annotated[
        str | None, typer.Argument(metavar="[DEV_EUI]", help="Only of this device.", show_default=False)
    ] = None,
    *,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Only as this account tells.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="From this moment on: a time in ISO 8601, or 24h, 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Before this moment.")] = None,
    bucket: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Sums of each bucket, such as 1d or 1w; of one device.")
    ] = None,
    tz: Annotated[str, typer.Option(metavar="ZONE", help="The zone whose clock buckets follow.")] = "UTC",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many, newest first.")] = 50,
    poll: Annotated[bool, typer.Option("--poll", help="Ask the networks for this device first.")] = False,
    json: JsonOption = False,
) -> None:
    """List traffic, newest first. Hours in which nothing happened are left out."""
    from receiver.lorawan.identifiers import parse_device
    from receiver.services.traffic_polling import poll_traffic_of, polled_accounts
    from receiver.storage.traffic import TrafficFilter

    now = utc_now()
    dev_eui = None if eui is None else parse_device(eui)
    if dev_eui is None and (poll or bucket is not None):
        option = "--poll" if poll else "--bucket"
        raise typer.BadParameter(f"{option} is for one device: say which. The worker goes through all of them.")
    wanted = TrafficFilter(
        dev_eui=dev_eui,
        account=account,
        since=parse_optional_moment(since, now),
        until=parse_optional_moment(until, now),
    )
    with open_store() as store:
        if account is not None:
            polled_accounts(store.engine, account)
        if poll and dev_eui is not None:
            spans = poll_traffic_of(store.engine, store.keyring, utc_now, dev_eui, account)
            typer.echo(f"receiver: {counted(spans, 'hour')} with traffic came from the network.", err=True)
        if bucket is None:
            print_rows((asdict(row) for row in _spans(store, wanted, limit)), _COLUMNS, json)
        else:
            print_rows((asdict(row) for row in _buckets(store, wanted, bucket, tz, limit)), _BUCKET_COLUMNS, json)


def _spans(store: Store, wanted: TrafficFilter, limit: int) -> Iterator[TrafficView]:
    from receiver.storage.engine import read
    from receiver.storage.traffic import list_traffic

    left, after = limit, None
    while left:
        with read(store.engine) as tx:
            page, after = list_traffic(tx, wanted, limit=min(left, _PAGE), after=after)
        yield from page
        left -= len(page)
        if after is None:
            return


def _buckets(store: Store, wanted: TrafficFilter, size: str, zone: str, limit: int) -> Iterator[TrafficBucketView]:
    from receiver.services.traffic import BUCKET_SIZES, list_traffic_buckets, parse_traffic_buckets
    from receiver.storage.engine import read

    try:
        buckets = parse_traffic_buckets(size, zone)
    except ValueError as exc:
        raise typer.BadParameter(f"{size[:40]!r} is not a size of buckets: give {BUCKET_SIZES}.") from exc
    except KeyError as exc:  # ZoneInfoNotFoundError
        raise typer.BadParameter(f"There is no zone {zone[:40]!r}: give one like Europe/Amsterdam.") from exc
    left = limit
    while left:
        with read(store.engine) as tx:
            page, edge = list_traffic_buckets(tx, wanted, buckets, limit=min(left, _PAGE))
        yield from page
        left -= len(page)
        if edge is None:
            return
        wanted = replace(wanted, until=edge)
