"""`receiver rejections`: what was refused, why, and how to take it after all."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.store import JsonOption, as_json, as_text, open_store, print_rows, utc_now
from receiver.cli.time_option import parse_optional_moment

if TYPE_CHECKING:
    from receiver.services.explaining import Explanation
    from receiver.services.replay import ReplayOutcome, ReplayResult
    from receiver.storage.rejections import RejectionFilter

app = typer.Typer(no_args_is_help=True, help="Refused pushes: list them, explain one, replay them.")

SinceOption = Annotated[
    str | None, typer.Option(metavar="T", help="Only those that came since: ISO 8601, or a span like 2h or 7d.")
]
UntilOption = Annotated[str | None, typer.Option(metavar="T", help="Only those that came before.")]
ReasonOption = Annotated[str | None, typer.Option(metavar="R", help="Only those refused for this reason.")]
ConnectionOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only those of this connection, or called by this name.")
]
AsOption = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Judge as pushes to this connection, wherever they went.")
]

_COLUMNS = ("id", "received_at", "connection", "path_name", "reason", "detail", "replayed_report_id")
_RESULT_COLUMNS = ("rejection_id", "outcome", "connection", "report_id", "sentence")
_MAX_ID = 2**63 - 1


@app.command("list")
def list_(
    *,
    since: SinceOption = None,
    until: UntilOption = None,
    reason: ReasonOption = None,
    connection: ConnectionOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    before: Annotated[int | None, typer.Option(metavar="ID", help="Only older ones than this: the next page.")] = None,
    json: JsonOption = False,
) -> None:
    """List refused pushes, newest first, with the reason and the numbers."""
    from receiver.services.rejections import list_rejections

    wanted = _filter(since, until, reason, connection)
    with open_store() as store:
        rows = list_rejections(store.engine, wanted, limit=limit, before_id=before)
    print_rows((asdict(row) for row in rows), _COLUMNS, json)


@app.command()
def explain(
    rejection_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=_MAX_ID, help="As `rejections list` has it.")],
    *,
    as_name: AsOption = None,
    json: JsonOption = False,
) -> None:
    """Say which check refused a push, and which known mistake would make its token right. Shows no key."""
    from receiver.services.explaining import explain_rejection

    with open_store() as store:
        explanation = explain_rejection(store.engine, store.keyring, rejection_id, as_name=as_name)
    typer.echo(as_json(asdict(explanation)) if json else "\n".join(_lines(explanation)))


@app.command()
def replay(
    rejection_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", min=1, max=_MAX_ID, help="Which ones.", show_default=False)
    ] = None,
    *,
    since: SinceOption = None,
    until: UntilOption = None,
    reason: ReasonOption = None,
    connection: ConnectionOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    as_name: AsOption = None,
    max_deviation: Annotated[
        int | None,
        typer.Option(metavar="S", min=1, help="Allow Time this far from the arrival, for a clock that was wrong."),
    ] = None,
    with_retired_keys: Annotated[
        bool, typer.Option("--with-retired-keys", help="Also take what retired keys of the connection signed.")
    ] = False,
    repair_query: Annotated[
        bool, typer.Option("--repair-query", help="Undo what proxies do to a query: `+` to space, encoding twice.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Verify refused pushes again, as of their arrival, and store those that are in order now, once.

    Exit code 1: a push that was named by its ID is not stored.
    """
    from receiver.services.replay import ReplayOptions, ReplayOutcome, replay_by_filter, replay_by_ids

    wanted = _filter(since, until, reason, connection)
    is_filtered = any(value is not None for value in (since, until, reason, connection))
    if bool(rejection_ids) == is_filtered:
        raise typer.BadParameter("Give either IDs, or at least one of --since, --until, --reason and --connection.")
    options = ReplayOptions(
        dry_run=dry_run,
        as_name=as_name,
        max_deviation_s=max_deviation,
        with_retired_keys=with_retired_keys,
        repair_query=repair_query,
    )
    counts: Counter[ReplayOutcome] = Counter()
    with open_store() as store:
        results = (
            replay_by_ids(store.engine, store.keyring, utc_now(), rejection_ids, options)
            if rejection_ids
            else replay_by_filter(store.engine, store.keyring, utc_now(), wanted, options)
        )
        rows = (_counted_row(result, counts) for result in results)
        print_rows(rows, _RESULT_COLUMNS, json)
    if not json and counts:
        told = ", ".join(f"{number} {outcome.value}" for outcome, number in sorted(counts.items()))
        typer.echo(f"{'Nothing was changed; it would be: ' if dry_run else ''}{told}.")
    if rejection_ids and (counts[ReplayOutcome.REFUSED] or counts[ReplayOutcome.NOT_KEPT]):
        raise typer.Exit(1)


def _counted_row(result: ReplayResult, counts: Counter[ReplayOutcome]) -> dict[str, object]:
    counts[result.outcome] += 1
    return asdict(result)


def _filter(since: str | None, until: str | None, reason: str | None, connection: str | None) -> RejectionFilter:
    from receiver.errors import Reason
    from receiver.storage.rejections import RejectionFilter

    reasons = [known.value for known in Reason]
    if reason is not None and reason not in reasons:
        raise typer.BadParameter(f"{reason[:40]!r} is not a reason: there are {', '.join(reasons)}.")
    now = utc_now()
    return RejectionFilter(parse_optional_moment(since, now), parse_optional_moment(until, now), reason, connection)


def _lines(explanation: Explanation) -> list[str]:
    view = explanation.rejection
    judged = f", judged as {explanation.connection}" if explanation.connection else ""
    came = f"It came to /push/{as_text(view.path_name)} on {as_text(view.received_at)}{judged}."
    lines = [
        f"Rejection {view.id}: {view.reason}. {came}",
        f"  {as_text(view.detail)}",
        "",
        "The checks, as of its arrival, with the connections and keys of today:",
        *(f"  {check.outcome:<11}  {check.name:<10}  {as_text(check.sentence)}" for check in explanation.checks),
    ]
    for finding in explanation.findings:
        lines += [
            "",
            f"Found ({', '.join(finding.codes) or 'token'}): {as_text(finding.sentence)}",
            f"What to do: {as_text(finding.advice)}",
        ]
    if explanation.note:
        lines += ["", as_text(explanation.note)]
    return [*lines, "", explanation.verdict]
