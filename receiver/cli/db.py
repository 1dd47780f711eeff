"""`receiver db`: brings the database to the newest schema, says where it stands, and deletes what is old."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from receiver.cli.store import JsonOption, counted, open_store, print_record, utc_now
from receiver.errors import SchemaError

app = typer.Typer(no_args_is_help=True, help="Upgrade the database, check its schema, delete what is old.")


@app.command()
def upgrade(json: JsonOption = False) -> None:
    """Bring the database to the newest schema. A SQLite database that holds data is copied first."""
    from receiver.config import load_settings
    from receiver.storage import schema

    result = schema.upgrade(load_settings().resolved_database_url, utc_now())
    backup = None if result.backup is None else str(result.backup)
    if json:
        print_record({**asdict(result), "backup": backup}, json)
    elif result.before == result.after:
        typer.echo(f"The database has schema {result.after} already.")
    elif result.before is None:
        typer.echo(f"The database was empty and now has schema {result.after}.")
    else:
        copied = f" The database as it was is in {backup}." if backup else ""
        typer.echo(f"The database had schema {result.before} and now has {result.after}.{copied}")


@app.command()
def check(json: JsonOption = False) -> None:
    """Say whether the database has the newest schema. Changes nothing; exits 1 if it has not."""
    from receiver.config import load_settings
    from receiver.storage import schema
    from receiver.storage.engine import open_engine

    engine = open_engine(load_settings().resolved_database_url)
    try:
        status = schema.check(engine)
    finally:
        engine.dispose()
    problem = schema.explain(status)
    if json:
        print_record(asdict(status), json)
    elif problem is None:
        typer.echo(f"The database has schema {status.current}, the newest.")
    if problem is not None:
        raise SchemaError(problem)


@app.command("prune")
def prune_(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be deleted, and delete nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Delete now what is older than RECEIVER_REPORTS_KEEP_DAYS and its like say. The worker does this by itself."""
    from receiver.services.retention import prune
    from receiver.worker import pause_after

    with open_store() as store:
        ages = store.settings.keep_ages
        rows = Counter(dict.fromkeys(ages, 0))
        began = time.monotonic()
        for step in prune(store.engine, utc_now(), ages, dry_run=dry_run):
            rows[step.noun] += step.rows
            if not dry_run:
                time.sleep(pause_after(store.engine, time.monotonic() - began))
            began = time.monotonic()
    if json:
        print_record({"dry_run": dry_run, **rows}, json)
        return
    for noun, number in rows.items():
        deleted = "would be deleted" if dry_run else "deleted"
        what = {"telemetry": "measurement", "traffic": "traffic hour"}.get(noun) or noun.removesuffix("s")
        typer.echo(f"{counted(number, what)} older than {counted(ages[noun].days, 'day')} {deleted}.")
