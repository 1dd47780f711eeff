"""`receiver connection downlinks` and `resume`: where a connection's downlinks go, and what keeps them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from receiver.cli.store import JsonOption, open_store, print_record, utc_now

_NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The connection's name.", show_default=False)]


def downlinks(
    name: _NameArgument,
    *,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where they go from now on, like https://…/thingpark/lrc/rest/downlink."),
    ] = None,
    time: Annotated[
        Literal["offset", "bare"] | None,
        typer.Option(help="How Time is spelled: with its offset, or bare, as older KPN servers want it."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show where a connection's downlinks go and what keeps them; with an option, change it."""
    from receiver.services.downlink_passages import change_downlink_passage, get_downlink_passage

    with open_store() as store:
        if url is None and time is None:
            passage = get_downlink_passage(store.engine, name)
        else:
            passage = change_downlink_passage(store.engine, name, url=url, time_form=time)
    print_record(asdict(passage), json)


def resume(name: _NameArgument) -> None:
    """Let a connection's downlinks go again at once, after a key, an AS_ID or a clock was mended."""
    from receiver.services.downlink_passages import resume_downlinks

    with open_store() as store:
        was_kept = resume_downlinks(store.engine, utc_now(), name)
    typer.echo(f"{name}'s downlinks go again." if was_kept else f"Nothing kept {name}'s downlinks.")
