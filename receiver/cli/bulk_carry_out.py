"""Carries a run of `receiver bulk` out: looks, plans, sends, shows how far it is, and stops when asked to."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from receiver.cli.store import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from receiver.cli.store import Store
    from receiver.services.bulk_columns import Action
    from receiver.services.bulk_file import DeviceRow
    from receiver.services.bulk_plan import BulkPlan
    from receiver.services.bulk_runs import Lease
    from receiver.services.bulk_work import BulkWork, Progress, WorkDone
    from receiver.services.platform_accounts import PlatformAccount

TELL_EVERY_S = 5.0
"""How often a run says how far it is, where no terminal shows a bar."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What to do: `begin` sees the plan and gives the right to do it, or None to leave it at that."""

    rows: tuple[DeviceRow, ...]
    action: Action
    begin: Callable[[BulkPlan], Lease | None]
    doubtful: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """The plan, and what came of it unless it was left at that."""

    plan: BulkPlan
    lease: Lease | None = None
    work: WorkDone | None = None


def carry_out(store: Store, account: PlatformAccount, errand: Errand, *, at_once: int, quiet: bool) -> CarriedOut:
    """Plan and do an errand.

    Raises:
        SettingsError: the network does not have what the rows name, or no room for them; nothing was sent.
        PlatformRefusedError, LoginRefusedError, NoAnswerError: the network, while it was looked at.
        ConflictError, StorageUnavailableError: as `BulkWork.do`.
    """
    from receiver.services.bulk_access import network_devices, survey
    from receiver.services.bulk_work import BulkWork
    from receiver.services.platform_clients import platform_http

    with platform_http() as http:

        async def run() -> CarriedOut:
            async with network_devices(store.engine, http, account) as network:
                plan = await survey(network, errand.rows, errand.action, account.surface, at_once)
                lease = errand.begin(plan)
                if lease is None:
                    return CarriedOut(plan)
                with _show_progress(len(errand.rows), quiet=quiet) as told:
                    work = BulkWork(store.engine, network, lease, utc_now, at_once=at_once, told=told)
                    with _stopped_by_signals(work):
                        return CarriedOut(plan, lease, await work.do(plan, errand.action, errand.doubtful))

        try:
            return asyncio.run(run())
        except asyncio.CancelledError:
            typer.echo("receiver: Stopped at once: `receiver bulk list` has the number to go on with.", err=True)
            raise typer.Exit(1) from None


@contextmanager
def _stopped_by_signals(work: BulkWork) -> Iterator[None]:
    """Let Ctrl-C or a `kill` end a run after what is under way; a second one at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked and task is not None:
            task.cancel()
        asked = True
        work.stop("It was interrupted.")

    with suppress(NotImplementedError, RuntimeError, ValueError):  # no such signals, or not the main thread
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        with suppress(NotImplementedError, RuntimeError, ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


@contextmanager
def _show_progress(total: int, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    if quiet:
        yield lambda _progress: None
    elif sys.stderr.isatty():
        with _bar(total) as told:
            yield told
    else:
        yield _lines()


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[bad]} failed"), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, bad=0)
        yield lambda progress: bar.update(task, completed=progress.done, bad=progress.bad)


def _lines() -> Callable[[Progress], None]:
    told_at = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > TELL_EVERY_S:
            told_at = time.monotonic()
            typer.echo(f"{progress.done:,} of {progress.total:,} devices, {progress.bad:,} failed", err=True)

    return tell
