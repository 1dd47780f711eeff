"""A file that appears whole or not at all: written as a draft beside its place, then named."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.errors import ConflictError, ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_BUFFER_BYTES = 1 << 20


@contextmanager
def open_draft(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Give a file to write into, which is at `path` when the block ends, on the disk, and gone when it fails.

    Raises:
        ConflictError: there is a file of that name and it is not to be overwritten, or it is no plain file.
        ExportError: it cannot be written.
    """
    place = Path(os.path.realpath(path))  # what a link points to is overwritten, not the link
    _refuse(path, place, overwrite=overwrite)
    draft = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        try:
            with draft.open("xb", buffering=_BUFFER_BYTES) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if not overwrite:
                _refuse(path, place, overwrite=False)  # it may have come in the meantime
            draft.replace(place)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
    except OSError as exc:
        raise ExportError(f"{path} cannot be written: {exc.strerror or exc}.") from exc


def _refuse(path: Path, place: Path, *, overwrite: bool) -> None:
    if place.exists() and not place.is_file():
        raise ConflictError(f"{path} is not a file: give the name of one with --out.")
    if place.exists() and not overwrite:
        raise ConflictError(f"{path} is there already: give another name with --out, or --overwrite.")
