"""Holds a name against all other processes that use the same database, while something is done that must not be twice.

What is held ends with its process, however that ends: on PostgreSQL it is an advisory lock of a transaction that stays
open, which poolers in between know too; on SQLite, whose users are all on one machine, a lock of a file beside the
database's. Neither keeps a reader or a writer of the database waiting.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from receiver.errors import StorageUnavailableError
from receiver.storage.engine import sqlite_path, translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine


@contextmanager
def hold_name(engine: Engine, name: str) -> Iterator[bool]:
    """Hold a name until the block ends; gives False where someone else holds it, and waits for nobody.

    Raises:
        StorageUnavailableError: the database is away, or the file beside it cannot be made.
    """
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    path = sqlite_path(engine)
    if path is None:
        with _hold_in_postgresql(engine, number) as is_held:
            yield is_held
    else:
        with _hold_by_file(path.with_name(f"{path.name}.held-{number & (2**64 - 1):016x}")) as is_held:
            yield is_held


@contextmanager
def _hold_in_postgresql(engine: Engine, number: int) -> Iterator[bool]:
    with translated():
        connection = engine.connect()
    try:
        with translated():
            is_held = bool(connection.scalar(select(func.pg_try_advisory_xact_lock(number))))
        yield is_held
    finally:
        with suppress(DBAPIError):  # the server is gone, and the lock with it
            connection.close()


@contextmanager
def _hold_by_file(path: Path) -> Iterator[bool]:
    descriptor = _lock_file(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            with suppress(OSError):
                path.unlink()  # before it is given free: who opened it meanwhile sees that it is not that file any more
            os.close(descriptor)


def _lock_file(path: Path) -> int | None:
    """Give the descriptor of the file, made and locked; None: someone else has it."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StorageUnavailableError(f"The file {path} cannot be made: {exc.strerror}.") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # it was taken away between the two: what has its name now is another file
