"""What `receiver forwarder` shows: a forwarder, its dead letters, a new secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import typer

from receiver.cli.store import as_json, as_text, counted

if TYPE_CHECKING:
    from receiver.services.forwarders import ForwarderDetails, ForwarderView
    from receiver.services.tunnel_keys import SecretText
    from receiver.storage.forwarder_progress import Retry

LIST_COLUMNS = ("name", "kind", "state", "delivered", "lag_events", "lag_s", "retries", "dead_letters", "last_error")
LETTER_COLUMNS = ("event_id", "kind", "dev_eui", "attempts", "first_failed_at", "dead_at", "error")


def as_row(view: ForwarderView) -> dict[str, object]:
    """Give a forwarder as a row of a listing."""
    return {name: getattr(view, name) for name in view.__dataclass_fields__}


def as_record(details: ForwarderDetails) -> dict[str, Any]:
    """Give all of a forwarder but its secrets."""
    record: dict[str, Any] = as_row(details.view)
    record["wants"] = msgspec.to_builtins(details.wants)
    record["options"] = msgspec.to_builtins(details.options)
    record["give_up_after_s"] = details.give_up_after_s
    record["created_at"] = details.created_at
    record["secrets"] = [{"created_at": at} for at in details.secrets_since]
    return record


def print_details(details: ForwarderDetails) -> None:
    """Print a forwarder, a line for each thing; lists that mean everything are left out."""
    record = as_record(details)
    since = ", ".join(f"of {as_text(at)}" for at in details.secrets_since)
    record["secrets"] = since or "none"
    for name in ("wants", "options"):
        told = [f"{key}: {_told(value)}" for key, value in record[name].items() if value not in (None, [], False)]
        record[name] = "; ".join(told) or ("everything" if name == "wants" else "none")
    width = max(map(len, record))
    for name, value in record.items():
        typer.echo(f"{name:<{width}}  {as_text(value)}")


def letter_row(letter: Retry) -> dict[str, object]:
    """Give a dead letter as a row of a listing."""
    return {name: getattr(letter, name) for name in LETTER_COLUMNS}


def print_secret(name: str, secret: SecretText, json: bool) -> None:
    """Show a signing secret, this once."""
    if json:
        typer.echo(as_json({"name": name, "secret": secret.reveal()}))
        return
    typer.echo(
        f"Webhooks of {name} are signed with\n\n  {secret.reveal()}\n\nIt is not shown again: give it to who receives"
        " them, to verify each with a library of standardwebhooks.com."
    )


def print_replayed(events: int, missing: tuple[int, ...], json: bool, dry_run: bool) -> None:
    """Say what is sent again."""
    if json:
        typer.echo(as_json({"events": events, "not_found": list(missing), "dry_run": dry_run}))
        return
    if missing:
        typer.echo(f"Not a dead letter: {', '.join(map(str, missing))}.")
    is_sent = "would be sent again; nothing was changed" if dry_run else "will be sent again by the worker"
    typer.echo(f"{counted(events, 'event')} {is_sent}.")


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else as_text(value)
