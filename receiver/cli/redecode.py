"""`receiver redecode`: decodes history again, and shows before what would change."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.store import JsonOption, as_json, as_text, counted, open_store, print_rows, utc_now
from receiver.cli.time_option import parse_optional_moment

if TYPE_CHECKING:
    from receiver.cli.store import Store
    from receiver.codecs.engine import CodecEngine
    from receiver.services.codecs import Scope
    from receiver.services.redecoding import Redecoding
    from receiver.services.redecoding_differences import Difference, RedecodingCounts

SHOWN = 20
"""Differences that a dry run shows: a screenful."""

TELL_EVERY_S = 5.0
"""How often a long run says how far it came."""

_COLUMNS = ("at", "device", "name", "before", "after")


def redecode(
    *,
    device: Annotated[str | None, typer.Option("--device", metavar="EUI", help="Frames of this device.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Of devices of this ThingPark model.")] = None,
    driver: Annotated[
        str | None, typer.Option("--driver", metavar="P:M:V", help="Of devices of this DriverCfg.")
    ] = None,
    connection: Annotated[str | None, typer.Option("--connection", metavar="NAME", help="By this connection.")] = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=255, help="On this FPort.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="From this moment on: a time in ISO 8601, or 24h, 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Before this moment.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All frames there are.")] = False,
    codec: Annotated[
        str | None,
        typer.Option(
            "--codec", metavar="NAME[@VERSION]", help="By this codec; unset: by the one assigned to each frame now."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that was stopped last.")] = False,
    json: JsonOption = False,
) -> None:
    """Decode stored frames again, in place of what earlier codecs made of them.

    A frame that no codec is for keeps what it has; one that its codec refuses keeps no measurements.
    """
    from receiver.codecs.engine import CodecEngine
    from receiver.services.codecs import Scope

    scope = Scope(device, driver, model, connection, port)
    is_chosen = scope != Scope() or since is not None or until is not None
    if resume and (is_chosen or all_ or codec is not None or dry_run):
        raise typer.BadParameter("--resume goes on with a run as it was begun: give nothing else.")
    if not resume and is_chosen == all_:
        raise typer.BadParameter(
            "Say which frames: --device, --model, --driver, --connection, --port, --since, --until, or --all."
        )
    with open_store() as store, CodecEngine() as codec_engine:
        run = _begin(store, codec_engine, scope, since, until, codec, dry_run=dry_run, resume=resume)
        if not json:
            again = "Decoding again, from where it stopped" if resume else "Decoding again"
            typer.echo(f"{again}: {as_text(run.told)}.", err=True)
        try:
            counts, samples = _walk(store, codec_engine, run, quiet=json)
        except KeyboardInterrupt:
            goes_on = "" if dry_run else " `receiver redecode --resume` goes on."
            typer.echo(f"receiver: Stopped.{goes_on}", err=True)
            raise typer.Exit(1) from None
    if json:
        told = {"samples": [_sample(one) for one in samples]} if dry_run else {}
        typer.echo(as_json({"dry_run": dry_run, "run_id": run.run_id, **asdict(counts), **told}))
        return
    _print(counts, samples, dry_run=dry_run)


def _begin(
    store: Store,
    codec_engine: CodecEngine,
    scope: Scope,
    since: str | None,
    until: str | None,
    codec: str | None,
    *,
    dry_run: bool,
    resume: bool,
) -> Redecoding:
    from receiver.services.redecoding import begin_redecoding, resume_redecoding

    if resume:
        return resume_redecoding(store.engine, codec_engine)
    now = utc_now()
    start, end = parse_optional_moment(since, now), parse_optional_moment(until, now)
    return begin_redecoding(
        store.engine, codec_engine, now, scope, since=start, until=end, codec_name=codec, dry_run=dry_run
    )


def _walk(
    store: Store, codec_engine: CodecEngine, run: Redecoding, *, quiet: bool
) -> tuple[RedecodingCounts, list[Difference]]:
    from receiver.services.redecoding import redecode as walk
    from receiver.worker import pause_after

    counts = run.counts
    samples: list[Difference] = []
    began = told = time.monotonic()
    for step in walk(store.engine, codec_engine, run, utc_now):
        counts += step.counts
        samples += step.samples[: SHOWN - len(samples)]
        if not quiet and began - told > TELL_EVERY_S:
            told = began
            typer.echo(f"up to {as_text(step.at)}: {counts.decoded + counts.failed:,} frames", err=True)
        if run.run_id is not None:
            time.sleep(pause_after(store.engine, time.monotonic() - began))
        began = time.monotonic()
    return counts, samples


def _print(counts: RedecodingCounts, samples: list[Difference], *, dry_run: bool) -> None:
    typer.echo(f"{counted(counts.decoded, 'frame')} decoded, {counts.failed} failed.")
    if counts.left:
        typer.echo(f"{counted(counts.left, 'frame')} left as they were: no codec is for them.")
    typer.echo(
        f"Measurements: {counts.added} added, {counts.removed} removed, {counts.changed} changed,"
        f" {counts.unchanged} unchanged."
    )
    if not dry_run:
        return
    typer.echo("This was a dry run: nothing was changed.")
    if samples:
        typer.echo(f"\nThe first {counted(len(samples), 'difference')}:")
        rows = (
            {"at": one.at, "device": one.dev_eui, "name": one.name, "before": one.before, "after": one.after}
            for one in samples
        )
        print_rows(rows, _COLUMNS, json=False)


def _sample(one: Difference) -> dict[str, object]:
    return {
        **asdict(one),
        "before": None if one.before is None else one.before._asdict(),
        "after": None if one.after is None else one.after._asdict(),
    }
