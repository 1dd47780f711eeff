"""What `receiver bulk` shows: plans, runs, bad files, and the file of results."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, NoReturn

import typer

from receiver.cli.store import as_json, print_rows
from receiver.errors import ConflictError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from receiver.services.bulk_plan import BulkPlan
    from receiver.services.bulk_runs import BadFileError
    from receiver.storage.device_runs import Run, RunRow

RESULT_COLUMNS = ("line", "dev_eui", "action", "outcome", "ref", "error")

SHOWN_PROBLEMS = 1000
"""Problems of a file that are printed; a result file has all of them."""

_NDJSON = {".ndjson", ".jsonl"}
_MEANING = {
    "create": "to be created",
    "update": "to be changed",
    "move": "to be moved",
    "delete": "to be deleted",
    "same": "there already, and so",
    "different": "there already, and otherwise: left as they are",
    "absent": "not there, so nothing to delete",
    "unknown": "not there, so nothing to change",
}


def print_plan(plan: BulkPlan, action: str, *, dry_run: bool) -> None:
    """Print what is to be done, and which licences that takes."""
    rows = [{"devices": f"{number:,}", "plan": _MEANING[step]} for step, number in plan.counts.items()]
    print_rows(rows, ("devices", "plan"), json=False)
    for use in plan.uses:
        free = "does not say how many licences are free" if use.free is None else f"has {use.free:,} free licences"
        typer.echo(f"The connectivity plan {use.plan} {free}; needed: {use.needed:,}.")
    if plan.keys_left_out:
        typer.echo(f"The keys in the file are not sent: {action} does not change them at a network.")
    if dry_run:
        typer.echo("This was a dry run: nothing was sent.")


def plan_record(plan: BulkPlan) -> dict[str, object]:
    """Give a plan for JSON."""
    uses = [{"connectivity_plan": use.plan, "needed": use.needed, "free": use.free} for use in plan.uses]
    return {"plan": plan.counts, "licences": uses}


def run_record(run: Run) -> dict[str, object]:
    """Give a run for tables and JSON."""
    return {
        "id": run.id,
        "account": run.account,
        "surface": run.surface,
        "action": run.action,
        "file_name": run.file_name,
        "state": run.state,
        "stop_reason": run.stop_reason,
        "began_at": run.began_at,
        "ended_at": run.ended_at,
        "options": dict(run.options),
        "rows": sum(run.outcomes.values()),
        "open": run.open_rows,
        "failed": run.bad_rows,
        "outcomes": dict(run.outcomes),
    }


def print_summary(run: Run, result: Path | None) -> None:
    """Print how a run ended: on standard error what did not come to what was asked for."""
    outcomes = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(run.outcomes.items()))
    typer.echo(f"Run {run.id}: {outcomes}.")
    if result is not None:
        typer.echo(f"Row by row in {result}.")
    bad = run.bad_rows
    if bad:
        typer.echo(f"receiver: {bad:,} failed: `receiver bulk show {run.id} --failed` has them.", err=True)
    if run.state != "done":
        typer.echo(
            f"receiver: Run {run.id} was stopped. {run.stop_reason or ''}\n"
            f"receiver: `receiver bulk resume {run.id} FILE` goes on with it.",
            err=True,
        )


def refuse_bad_file(error: BadFileError, result: Path | None, *, json: bool) -> NoReturn:
    """Say all that is wrong with a file, by line and column, and exit with 1.

    Raises:
        ExportError: the result file cannot be written.
    """
    problems = error.problems
    if result is not None:
        rows = (
            {"line": one.line, "outcome": "bad-row", "error": ": ".join(filter(None, (one.column, one.said)))}
            for one in problems
        )
        _write(result, rows)
    if json:
        found = [{"line": one.line, "column": one.column, "error": one.said} for one in problems[:SHOWN_PROBLEMS]]
        typer.echo(as_json({"sent": 0, "problems": len(problems), "first_problems": found}))
    for problem in () if json else problems[:SHOWN_PROBLEMS]:
        typer.echo(str(problem), err=True)
    typer.echo(f"receiver: {error}", err=True)
    raise typer.Exit(1)


def refuse_result(result: Path | None, file: Path, *, overwrite: bool) -> None:
    """Return if the result may be written there.

    Raises:
        ConflictError: it is the file of devices itself, or there is one already.
        SettingsError: its name does not say which kind of file it is.
    """
    if result is None:
        return
    if result.suffix.lower() not in {".csv", *_NDJSON}:
        raise SettingsError(f"{result} must end in .csv, .ndjson or .jsonl, which says what it is to be.")
    if result.exists() and file.exists() and result.samefile(file):
        raise ConflictError(f"{result} is the file of devices itself: give another name with --result.")
    if not result.parent.is_dir():
        raise SettingsError(f"{result} cannot be written: there is no directory {result.parent}.")
    if result.exists() and not overwrite:
        raise ConflictError(f"{result} is there already: give another name with --result, or --overwrite.")


def write_result(result: Path, action: str, rows: Iterable[RunRow]) -> None:
    """Write the result of a run, a row for each device.

    Raises:
        ExportError: it cannot be written.
    """
    _write(
        result,
        (
            {
                "line": row.line,
                "dev_eui": row.dev_eui,
                "action": action,
                "outcome": row.outcome.value,
                "ref": row.ref,
                "error": row.error,
            }
            for row in rows
        ),
    )


def _write(result: Path, rows: Iterable[Mapping[str, object]]) -> None:
    from receiver.services.export_files import open_draft

    is_ndjson = result.suffix.lower() in _NDJSON
    with open_draft(result, overwrite=True) as draft:
        text = io.TextIOWrapper(draft, encoding="utf-8", newline="")
        if is_ndjson:
            text.writelines(f"{as_json({name: row.get(name) for name in RESULT_COLUMNS})}\n" for row in rows)
        else:
            writer = csv.DictWriter(text, RESULT_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        text.detach()  # flushed, and the draft left open: it is brought to the disk and named then
