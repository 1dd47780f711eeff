"""How `receiver codec test` tells what the examples of a codec came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from receiver.cli.store import as_json, as_text, counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from receiver.services.codecs import ExampleResult


def print_results(results: Iterable[ExampleResult], *, json: bool) -> int:
    """Print each result as it comes, or all as JSON; give how many examples differed. None at all counts as none."""
    records = []
    failed = 0
    for result in results:
        failed += bool(result.differences)
        if json:
            records.append(
                {
                    "description": result.example.description,
                    "operation": result.example.operation.value,
                    "passed": not result.differences,
                    "differences": [str(difference) for difference in result.differences],
                    "console": list(result.console),
                }
            )
            continue
        records.append({})
        state = "differs" if result.differences else "ok"
        typer.echo(f"{state:<8}{result.example.operation.value}: {as_text(result.example.description)}")
        for difference in result.differences:
            typer.echo(f"        {as_text(str(difference))}")
        for line in result.console:
            typer.echo(f"        console: {as_text(line)}")
    if json:
        typer.echo(as_json(records))
    elif not records:
        typer.echo("It came with no examples.")
    else:
        typer.echo(f"{counted(len(records), 'example')}, {failed or 'none'} of them with differences.")
    return failed
