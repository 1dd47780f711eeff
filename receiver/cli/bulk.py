"""`receiver bulk`: devices by the file at a network: made, changed, deleted, moved, compared."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.bulk_sync import sync
from receiver.cli.bulk_view import (
    plan_record,
    print_plan,
    print_summary,
    refuse_bad_file,
    refuse_result,
    run_record,
    write_result,
)
from receiver.cli.platform_use import AccountOption
from receiver.cli.store import JsonOption, as_json, open_store, print_record, print_rows, utc_now
from receiver.services.bulk_columns import Action

if TYPE_CHECKING:
    from receiver.cli.store import Store
    from receiver.services.bulk_plan import BulkPlan
    from receiver.services.bulk_runs import Lease
    from receiver.services.bulk_work import WorkDone

app = typer.Typer(no_args_is_help=True, help="Devices by the file: create, update, delete, move, compare.")


class Form(StrEnum):
    """Of a template."""

    CSV = "csv"
    JSON = "json"


class SurfaceName(StrEnum):
    """Where devices are made."""

    KPN_LORA = "kpn-lora"
    THINGPARK = "thingpark"
    DEVICE_MANAGER = "device-manager"


FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The devices, CSV or JSON.", show_default=False)]
RunArgument = Annotated[int, typer.Argument(metavar="RUN", help="The number of the run.", show_default=False)]
SurfaceOption = Annotated[SurfaceName | None, typer.Option("--surface", help="Where, if accounts are of several.")]
ResultOption = Annotated[
    Path | None, typer.Option("--result", metavar="FILE", help="A row for each device: .csv, .ndjson or .jsonl.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Write over a result file that is there.")]
AtOnceOption = Annotated[int, typer.Option("--at-once", min=1, max=8, help="Requests under way at a time.")]

_RUN_COLUMNS = ("id", "began_at", "account", "action", "file_name", "state", "rows", "open", "failed")
_ROW_COLUMNS = ("line", "dev_eui", "outcome", "ref", "error")


@app.command()
def template(
    *,
    surface: Annotated[SurfaceName, typer.Option("--surface", help="For which network.")] = SurfaceName.KPN_LORA,
    form: Annotated[Form, typer.Option("--format", help="As which kind of file.")] = Form.CSV,
) -> None:
    """Print a template: every column, what is required, and an example row."""
    from receiver.services.bulk_columns import write_template

    typer.echo(write_template(surface, form), nl=False)


@app.command()
def run(
    file: FileArgument,
    *,
    account: AccountOption = None,
    surface: SurfaceOption = None,
    action: Annotated[Action, typer.Option("--action", help="What to do with each device.")] = Action.CREATE,
    to: Annotated[
        str | None, typer.Option("--to", metavar="CONNECTION", help="The connection of this receiver to put them on.")
    ] = None,
    to_remote: Annotated[
        str | None, typer.Option("--to-remote", metavar="ID", help="The same, by what the network calls it.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="COLUMN=VALUE", help="What stands where a row's column is empty."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and send nothing.")] = False,
    result: ResultOption = None,
    overwrite: OverwriteOption = False,
    at_once: AtOnceOption = 4,
    json: JsonOption = False,
) -> None:
    """Create, update, delete or move the devices of a file. It can be stopped at any time, and gone on with."""
    from receiver.services.bulk_access import find_remote_routing, open_bulk_account, parse_defaults
    from receiver.services.bulk_file import FileRules
    from receiver.services.bulk_plan import refuse_full_plans
    from receiver.services.bulk_runs import BadFileError, begin_run, hash_file, read_rows
    from receiver.storage.device_runs import NewRun

    if to is not None and to_remote is not None:
        raise typer.BadParameter("Give --to or --to-remote, not both.")
    refuse_result(result, file, overwrite=overwrite)
    options = parse_defaults(set_ or ())
    content = _read(file)
    with open_store() as store:
        opened = open_bulk_account(store.engine, store.keyring, account, surface)
        if to is not None:
            to_remote = find_remote_routing(store.engine, opened, to)
        if to_remote is not None:
            options["routing"] = to_remote
        try:
            rows = read_rows(content, FileRules(opened.surface, action, options))
        except BadFileError as exc:
            refuse_bad_file(exc, result, json=json)

        def begin(plan: BulkPlan) -> Lease | None:
            if not json:
                print_plan(plan, action, dry_run=dry_run)
            if dry_run:
                return None
            refuse_full_plans(plan)
            new = NewRun(opened.name, opened.surface, action, options, file.name, hash_file(content))
            return begin_run(store.engine, new, rows, utc_now())

        from receiver.cli.bulk_carry_out import Errand, carry_out

        done = carry_out(store, opened, Errand(rows, action, begin), at_once=at_once, quiet=json)
        if done.lease is not None and done.work is not None:
            _end(store, done.lease.run_id, done.work, result, json=json)
        elif json:
            typer.echo(as_json({"dry_run": True, **plan_record(done.plan)}))


@app.command()
def resume(
    run_id: RunArgument,
    file: FileArgument,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Also try rows again that failed.")] = False,
    result: ResultOption = None,
    overwrite: OverwriteOption = False,
    at_once: AtOnceOption = 4,
    json: JsonOption = False,
) -> None:
    """Go on with a run that was stopped or broke off, with the same file: keys are never kept here."""
    from receiver.cli.bulk_carry_out import Errand, carry_out
    from receiver.services.bulk_access import open_bulk_account
    from receiver.services.bulk_runs import open_run, require_idle, take_run

    refuse_result(result, file, overwrite=overwrite)
    content = _read(file)
    with open_store() as store:
        left = open_run(store.engine, run_id, content, failed_too=failed)
        require_idle(left.run, utc_now())  # said before the network is looked at
        opened = open_bulk_account(store.engine, store.keyring, left.run.account, left.run.surface)

        def begin(_plan: BulkPlan) -> Lease:
            return take_run(store.engine, left.run, utc_now(), failed_too=failed)

        errand = Errand(left.rows, Action(left.run.action), begin, left.doubtful)
        done = carry_out(store, opened, errand, at_once=at_once, quiet=json)
        if done.work is not None:
            _end(store, run_id, done.work, result, json=json)


@app.command("list")
def list_(*, json: JsonOption = False) -> None:
    """List the newest runs."""
    from receiver.services.bulk_runs import list_runs

    with open_store() as store:
        print_rows([run_record(one) for one in list_runs(store.engine)], _RUN_COLUMNS, json)


@app.command()
def show(
    run_id: RunArgument,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Only rows that failed.")] = False,
    json: JsonOption = False,
) -> None:
    """Show a run, and what became of each row."""
    from dataclasses import asdict

    from receiver.services.bulk_runs import get_run, iterate_run_rows
    from receiver.storage.device_runs import BAD

    with open_store() as store:
        record = run_record(get_run(store.engine, run_id))
        rows = (asdict(row) for row in iterate_run_rows(store.engine, run_id, BAD if failed else ()))
        if json:
            typer.echo(as_json({**record, "device_rows": list(rows)}))
            return
        print_record({name: value for name, value in record.items() if not isinstance(value, dict)}, json=False)
        typer.echo()
        print_rows(rows, _ROW_COLUMNS, json=False)


app.command()(sync)


def _read(file: Path) -> bytes:
    from receiver.cli.secret_io import read_file
    from receiver.services.bulk_file import MAX_FILE_BYTES

    return read_file(file, "file of devices", MAX_FILE_BYTES)


def _end(store: Store, run_id: int, work: WorkDone, result: Path | None, *, json: bool) -> None:
    """Write the result file, say how it ended, and exit with 1 unless every row came to what was asked for."""
    from receiver.services.bulk_runs import get_run, iterate_run_rows

    ended = get_run(store.engine, run_id)
    if result is not None:
        write_result(result, ended.action, iterate_run_rows(store.engine, run_id))
    record = run_record(ended)
    if json:
        typer.echo(as_json(record))
    else:
        print_summary(ended, result)
    if work.stop_reason is not None or record["failed"]:
        raise typer.Exit(1)
