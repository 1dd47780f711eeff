"""Secrets on their way in and out of commands: from standard input, a prompt or a file; into a file of one owner."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from receiver.errors import AsTransportKeyError, ConflictError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

PASSPHRASE_VARIABLE = "RECEIVER_ESCROW_PASSPHRASE"  # noqa: S105 - the name of it
STANDARD_INPUT = "-"
_MAX_TYPED = 65_536


def read_secret(value: str, what: str) -> str:
    """Give `value`, or for `-` the text on standard input, which a terminal is asked for without showing it.

    Raises:
        SettingsError: nothing came.
    """
    if value != STANDARD_INPUT:
        return value
    if sys.stdin.isatty():
        text = str(typer.prompt(what[0].upper() + what[1:], hide_input=True, err=True))
    else:
        text = sys.stdin.read(_MAX_TYPED)
    if not text.strip():
        raise SettingsError(f"No {what} came on standard input.")
    return text.strip()


def read_passphrase(file: Path | None, *, twice: bool) -> str:
    """Give the escrow passphrase: from `file`, else from its variable, else from the terminal.

    Raises:
        SettingsError: none is given and there is no terminal to ask, or the file cannot be read.
    """
    if file is not None:
        try:
            return read_file(file, "passphrase file", _MAX_TYPED).decode().rstrip("\r\n")
        except UnicodeDecodeError as exc:
            raise SettingsError(f"The passphrase file {file} is not UTF-8 text.") from exc
    passphrase = os.environ.get(PASSPHRASE_VARIABLE)
    if passphrase:
        return passphrase
    if not sys.stdin.isatty():
        raise SettingsError(
            f"There is no terminal to ask for the passphrase: give it in {PASSPHRASE_VARIABLE} or with"
            " --passphrase-file."
        )
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True))


def read_file(path: Path, what: str, limit_bytes: int) -> bytes:
    """Give the bytes of a file.

    Raises:
        SettingsError: it cannot be read, or has more than `limit_bytes`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as exc:
        raise SettingsError(f"The {what} {path} cannot be read: {exc.strerror}.") from exc
    if len(data) > limit_bytes:
        raise SettingsError(f"The {what} {path} is larger than {limit_bytes} bytes: it is another file.")
    return data


def refuse_existing(path: Path) -> None:
    """Return if there is nothing at `path` yet.

    Raises:
        ConflictError: there is.
    """
    if path.exists() or path.is_symlink():
        raise ConflictError(f"{path} is there already and is not overwritten: give another name with --out.")


def write_secret_file(path: Path, data: bytes) -> None:
    """Write `data` into a new file that only its owner can read; it is on the disk at the end.

    Raises:
        ConflictError: there is a file of that name.
        AsTransportKeyError: it cannot be written; nothing is left of it.
    """
    refuse_existing(path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise AsTransportKeyError(f"{path} cannot be written: {exc.strerror}.") from exc
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        path.unlink(missing_ok=True)
        raise AsTransportKeyError(f"{path} cannot be written: {exc.strerror}.") from exc
