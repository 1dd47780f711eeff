"""`receiver doctor`: looks at everything that keeps a receiver working, and says what to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.store import JsonOption, as_json, as_text, utc_now
from receiver.errors import KeyringError, SettingsError

if TYPE_CHECKING:
    from receiver.config import Settings
    from receiver.keyring import Keyring
    from receiver.services.checkup import Finding

_COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(
    *,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Also ask this public URL, as the network would.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Look at everything that keeps this receiver working; one line each, with what to do. Changes nothing."""
    findings = _look(url)
    failed = any(finding.level == "fail" for finding in findings)
    if json:
        typer.echo(as_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]}))
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            advice = f" {finding.advice}" if finding.advice else ""
            level = typer.style(f"{finding.level:<4}", fg=_COLOURS[finding.level])
            typer.echo(f"{level}  {as_text(f'{finding.check:<{width}}  {finding.sentence}{advice}')}")
    if failed:
        raise typer.Exit(1)


def _look(url: str | None) -> list[Finding]:
    from receiver.config import load_settings
    from receiver.services.checkup import Finding
    from receiver.services.checkup_machine import check_public_url

    outside = check_public_url(url, utc_now()) if url is not None else []
    try:
        settings = load_settings()
    except SettingsError as exc:
        return [Finding("settings", "fail", str(exc), "Nothing else was looked at here."), *outside]
    return [Finding("settings", "ok", "They are in order."), *_look_here(settings), *outside]


def _look_here(settings: Settings) -> list[Finding]:
    from receiver.services.checkup import check_database
    from receiver.services.checkup_machine import check_directory, check_room, check_spool
    from receiver.storage.engine import open_engine, sqlite_path

    key_finding, keyring = _find_keyring(settings)
    engine = open_engine(settings.resolved_database_url)
    try:
        now = utc_now()
        findings = [check_directory(settings.data_dir), key_finding, *check_database(engine, keyring, now)]
        findings.append(check_spool(settings.data_dir / "spool.db", now))
        database = sqlite_path(engine)
    finally:
        engine.dispose()
    places = dict.fromkeys((settings.data_dir, *([database.parent] if database else [])))
    return [*findings, *(check_room(place) for place in places)]


def _find_keyring(settings: Settings) -> tuple[Finding, Keyring | None]:
    """Give the keyring if it can be had; one that is not there is not made here."""
    from receiver.services.checkup import Finding
    from receiver.services.checkup_machine import check_key_file

    if settings.kek is not None:
        return Finding("key-encryption key", "ok", "RECEIVER_KEK gives it."), settings.open_keyring()
    path: Path = settings.kek_file or settings.data_dir / "kek"
    finding = check_key_file(path)
    if not path.exists():
        return finding, None
    try:
        return finding, settings.open_keyring()
    except (KeyringError, SettingsError) as exc:
        return Finding("key-encryption key", "fail", str(exc)), None
