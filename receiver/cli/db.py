"""`receiver db`: brings the database to the newest schema, or says where it stands."""

from __future__ import annotations

from dataclasses import asdict

import typer

from receiver.cli.store import JsonOption, print_record, utc_now
from receiver.errors import SchemaError

app = typer.Typer(no_args_is_help=True, help="Upgrade the database, or check its schema.")


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
