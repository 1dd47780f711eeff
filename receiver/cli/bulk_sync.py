"""`receiver bulk sync`: devices here and at a network, compared both ways."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.platform_use import AccountOption
from receiver.cli.store import JsonOption, as_json, counted, open_store, print_rows, utc_now

if TYPE_CHECKING:
    from receiver.cli.store import Store
    from receiver.services.bulk_networks import NetworkDevice
    from receiver.services.bulk_sync import Comparison, Taken
    from receiver.services.platform_accounts import PlatformAccount

SHOWN = 100
"""Differences of one kind that are printed; `--json` has all."""

_MEANING = {  # by the values of `Difference`
    "only-there": "only at the network",
    "only-here": "only here",
    "name": "another name at the network",
    "other-connection": "on another connection at the network",
    "no-connection": "on no connection at the network: what they send goes to nobody",
}


class TakeName(StrEnum):
    """What --apply takes over."""

    NAMES = "names"
    DEVICES = "devices"


def sync(
    *,
    account: AccountOption = None,
    apply: Annotated[
        list[TakeName] | None,
        typer.Option("--apply", help="Take this over from the network; may be given twice."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what --apply would take over.")] = False,
    json: JsonOption = False,
) -> None:
    """Compare the devices of an account with those here. Nothing is deleted, and nothing is changed at the network."""
    from receiver.services.bulk_access import open_bulk_account
    from receiver.services.bulk_sync import Take, compare, take_over

    takes = [Take(one.value) for one in apply or ()]
    with open_store() as store:
        opened = open_bulk_account(store.engine, store.keyring, account, None)
        comparison = compare(store.engine, opened, _fetch(store, opened))
        taken = take_over(store.engine, comparison, takes, utc_now(), dry_run=dry_run) if takes else None
    if json:
        told = None if taken is None else {**asdict(taken), "dry_run": dry_run}
        rows = [asdict(row) for row in comparison.rows]
        counts = {"there": comparison.there, "here": comparison.here, "both": comparison.both}
        typer.echo(as_json({**counts, "taken": told, "differences": rows}))
        return
    _print(comparison)
    if taken is not None:
        _print_taken(taken, dry_run=dry_run)


def _fetch(store: Store, account: PlatformAccount) -> list[NetworkDevice]:
    from receiver.services.bulk_access import network_devices
    from receiver.services.bulk_sync import fetch_devices
    from receiver.services.platform_clients import platform_http

    with platform_http() as http:

        async def fetch() -> list[NetworkDevice]:
            async with network_devices(store.engine, http, account) as network:
                return await fetch_devices(network)

        return asyncio.run(fetch())


def _print(comparison: Comparison) -> None:
    typer.echo(
        f"{counted(comparison.there, 'device')} at the network, {comparison.here:,} here by its connections;"
        f" {comparison.both:,} on both sides."
    )
    counts = Counter(row.difference for row in comparison.rows)
    for difference, number in counts.items():
        typer.echo(f"\n{counted(number, 'device')} {_MEANING[difference.value]}:")
        rows = [asdict(row) for row in comparison.rows if row.difference is difference][:SHOWN]
        print_rows(rows, ("dev_eui", "here", "there"), json=False)
        if number > SHOWN:
            typer.echo(f"… and {number - SHOWN:,} more; --json has them all.")
    if not counts:
        typer.echo("There is no difference.")


def _print_taken(taken: Taken, *, dry_run: bool) -> None:
    would = "Would be made" if dry_run else "Made"
    names = "names that would be taken" if dry_run else "names taken"
    typer.echo(f"\n{would} known here: {counted(taken.devices, 'device')}; {names} from the network: {taken.names:,}.")
    if taken.left:
        typer.echo(f"Names that differ and stay, since they were given by hand: {taken.left:,}.")
