"""What the inbox's writer does with the database: one transaction for a batch, and harm to nobody for one row's sake.

Every report of a batch gets an answer of its own. A database that is away answers StorageUnavailableError, a row that
it refuses for itself RowRefusedError; only the first is worth another place on the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from receiver.errors import StorageUnavailableError
from receiver.logs import get_logger
from receiver.storage.driver_session import DriverSession
from receiver.storage.engine import write
from receiver.storage.inbox_batch import RowRefusedError
from receiver.storage.inbox_rows import Outcome, insert_new_reports, note_deliveries
from receiver.storage.rejections import PRUNE_EVERY, insert_rejections, prune_rejections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Engine

    from receiver.storage.inbox_batch import Answer
    from receiver.storage.rejections import NewRejection, RejectionLimits
    from receiver.storage.reports import NewReport

DEADLOCK_TRIES = 3
"""PostgreSQL ends one of two transactions that wait for each other; that one only has to come again."""

_DEADLOCK_DETECTED = "40P01"  # PostgreSQL appendix A, error codes

_NEVER_LOOKED = (PRUNE_EVERY, 0)
"""What stands there from an earlier run is not known: the first rejection of a connection brings a look."""

Item = TypeVar("Item")

_log = get_logger(__name__)


class InboxWriter:
    """Stores batches in the database. One thread uses it."""

    def __init__(self, engine: Engine, rejection_limits: RejectionLimits) -> None:
        self._engine = engine
        self._session = DriverSession(engine)
        self._limits = rejection_limits
        self._unpruned: dict[int | None, tuple[int, int]] = {}  # rows and bytes since the last look

    def store_reports(self, new_reports: Sequence[NewReport], is_taken_over: Callable[[], bool]) -> list[Answer]:
        """Commit the reports together, or one by one if one is refused; give an answer for each.

        Once `is_taken_over()` no further delivery is counted: whoever has the batch then counts them.
        """
        return self._store(new_reports, lambda reports: self._insert(reports, is_taken_over))

    def count_copies(self, copies: Sequence[NewReport], is_taken_over: Callable[[], bool]) -> list[Answer]:
        """Count further deliveries of reports that are in the database already."""
        self._note(list(copies), is_taken_over)
        return [Outcome.DUPLICATE] * len(copies)

    def keep_rejections(self, refused: Sequence[NewRejection]) -> list[Answer]:
        """Commit refused pushes in the same manner, and keep them within their bounds."""
        return self._store(refused, self._keep)

    def distrust_connection(self) -> None:
        """Have its connection tried before the next batch: the database was away. From any thread."""
        self._session.distrust()

    def close(self) -> None:
        """Give the connection back. For the thread that stored, at its end."""
        self._session.close()

    def _store(
        self, items: Sequence[Item], write_all: Callable[[Sequence[Item]], list[Outcome]], tries: int = DEADLOCK_TRIES
    ) -> list[Answer]:
        try:
            return list(write_all(items))
        except StorageUnavailableError as exc:
            if tries > 1 and _was_deadlock(exc):
                return self._store(items, write_all, tries - 1)
            return [exc] * len(items)
        except Exception as exc:  # noqa: BLE001 - whatever one row does, the writer must go on
            if len(items) == 1:
                _log.error("inbox_row_refused", error=_describe(exc))
                return [RowRefusedError("The database refused to store this push.")]
            return [answer for item in items for answer in self._store([item], write_all)]

    def _insert(self, new_reports: Sequence[NewReport], is_taken_over: Callable[[], bool]) -> list[Outcome]:
        """Insert and commit with one statement, so that the interpreter's lock changes hands but once."""
        with self._session.cursor() as cursor:
            are_new = insert_new_reports(cursor, self._engine.dialect.name, new_reports)
        copies = [report for report, is_new in zip(new_reports, are_new, strict=True) if not is_new]
        if copies:
            self._note(copies, is_taken_over)
        return [Outcome.STORED if is_new else Outcome.DUPLICATE for is_new in are_new]

    def _note(self, copies: list[NewReport], is_taken_over: Callable[[], bool], tries: int = DEADLOCK_TRIES) -> None:
        """Count further deliveries. What they bring is stored already, so that a fault here refuses no push."""
        try:
            with write(self._engine) as connection:
                note_deliveries(connection, copies)
                if is_taken_over():  # asked with the rows locked: who has the batch now comes after us
                    connection.rollback()
        except Exception as exc:  # noqa: BLE001 - the push is in the database; only its count is not
            if tries > 1 and _was_deadlock(exc):
                self._note(copies, is_taken_over, tries - 1)
            else:
                _log.warning("deliveries_not_counted", count=len(copies), error=_describe(exc))

    def _keep(self, refused: Sequence[NewRejection]) -> list[Outcome]:
        with write(self._engine) as connection:
            insert_rejections(connection, refused)
            self._prune(connection, refused)
        return [Outcome.STORED] * len(refused)

    def _prune(self, connection: Connection, refused: Sequence[NewRejection]) -> None:
        """Look at the bounds of each connection before more has come than the last look left room for."""
        for rejection in refused:
            rows, size_bytes = self._unpruned.get(rejection.connection_id, _NEVER_LOOKED)
            self._unpruned[rejection.connection_id] = rows + 1, size_bytes + rejection.size_bytes
        for owner in {rejection.connection_id for rejection in refused}:
            (rows, size_bytes), (room_rows, room_bytes) = self._unpruned[owner], self._limits.room(owner)
            if rows >= room_rows or size_bytes > room_bytes:
                prune_rejections(connection, owner, self._limits)
                self._unpruned[owner] = 0, 0


def _was_deadlock(exc: Exception) -> bool:
    return getattr(getattr(exc.__cause__, "orig", None), "sqlstate", None) == _DEADLOCK_DETECTED


def _describe(exc: Exception) -> str:
    """Name the fault without the parameters, which hold bodies."""
    origin = getattr(exc, "orig", None)
    return f"{type(origin or exc).__name__}" if isinstance(exc, SQLAlchemyError) else type(exc).__name__
