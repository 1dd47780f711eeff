"""What every command begins and ends with: the settings, the database and the keyring; tables or JSON."""

from __future__ import annotations

import json
import sys
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Engine

    from receiver.config import Settings
    from receiver.keyring import Keyring

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_WIDE = 10_000


@dataclass(frozen=True, slots=True)
class Store:
    """What commands work on."""

    settings: Settings
    engine: Engine
    keyring: Keyring


@contextmanager
def open_store() -> Iterator[Store]:
    """Give the store of the settings at hand, with a current schema; its database is closed at the end.

    A SQLite database is made, or upgraded after a copy; PostgreSQL must be current already.

    Raises:
        SettingsError: a setting is wrong.
        SchemaError: the database's schema is not one to work with.
        KeyringError: the key-encryption key cannot be had.
        StorageUnavailableError: the database is away.
    """
    from receiver.config import load_settings
    from receiver.storage.engine import open_engine
    from receiver.storage.schema import prepare_schema

    settings = load_settings()
    prepare_schema(settings.resolved_database_url, utc_now())
    keyring = settings.open_keyring()
    engine = open_engine(settings.resolved_database_url)
    try:
        yield Store(settings, engine, keyring)
    finally:
        engine.dispose()


def utc_now() -> datetime:
    """Give the time of this machine's clock."""
    return datetime.now(UTC)


def print_rows(rows: Iterable[Mapping[str, object]], columns: Sequence[str], json: bool) -> None:
    """Print rows as a table of `columns`, or as a JSON array of whole rows."""
    if json:
        _print_json_array(rows)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(as_text(row.get(column))) for column in columns))
    if table.row_count:
        # Where no terminal folds the lines, a table takes the width it needs.
        Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE).print(table)
    else:
        typer.echo("Nothing to show.")


def print_record(record: Mapping[str, object], json: bool) -> None:
    """Print one record: a line for each value, or a JSON object."""
    if json:
        typer.echo(as_json(record))
        return
    width = max(map(len, record), default=0)
    for name, value in record.items():
        typer.echo(f"{name:<{width}}  {as_text(value)}")


def as_json(value: object) -> str:
    """Give `value` as JSON: times as ISO 8601 with `Z`, bytes as hex. ASCII only, so safe on any terminal."""
    return json.dumps(value, default=_jsonable)


def as_text(value: object) -> str:
    """Give `value` for a person. What came from a network cannot move a terminal's cursor: no control characters."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        case bytes():
            return value.hex()
    return "".join("\N{REPLACEMENT CHARACTER}" if _moves_cursor(character) else character for character in str(value))


def counted(number: int, noun: str) -> str:
    """Give `1 report`, `2 reports`: for nouns that take an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _moves_cursor(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs"} and character != "\n"


def _print_json_array(rows: Iterable[Mapping[str, object]]) -> None:
    """Write row by row, so that a long listing needs no memory."""
    separator = "["
    for row in rows:
        sys.stdout.write(separator + as_json(row))
        separator = ",\n "
    sys.stdout.write("[]\n" if separator == "[" else "]\n")


def _jsonable(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no form in JSON here.")
