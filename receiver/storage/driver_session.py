"""A connection to the database that is kept from one batch to the next.

To take one from the pool costs as much as a batch: it is tried by a question of its own, and each step lets go of the
interpreter's lock and has to wait for it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from receiver.storage.engine import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine, Pool

KEPT_S = 1.0
"""What was used a moment ago is used again as it is; after this long without use it goes back to the pool, which tries
a connection before it gives it out."""


class DriverSession:
    """Gives a cursor of the driver outside any transaction: each statement commits when it returns.

    One thread uses it. After any fault the connection goes back to the pool.
    """

    def __init__(self, engine: Engine, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._monotonic = monotonic
        self._opened: AbstractContextManager[Any] | None = None
        self._cursor: Any = None
        self._pool: Pool | None = None
        self._used_at = 0.0

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Give the cursor, for statements whose results are fetched before the next one.

        Raises:
            StorageUnavailableError: the database is away, locked, full or read-only.
            DBAPIError: another fault of the driver, as SQLAlchemy would have raised it, without the parameters.
        """
        is_old = self._monotonic() - self._used_at > KEPT_S or self._pool is not self._engine.pool
        if is_old and self._opened is not None:  # another pool: the engine was told to let go of its connections
            self.close()
        opened = self._opened
        if opened is None:
            opened = driver_cursor(self._engine)
            self._cursor = opened.__enter__()
            self._opened, self._pool = opened, self._engine.pool
        try:
            yield self._cursor
        except BaseException as exc:
            self._opened = None
            opened.__exit__(type(exc), exc, exc.__traceback__)  # raises what the fault is called here
            raise
        self._used_at = self._monotonic()

    def distrust(self) -> None:
        """Have the connection tried before it is used again: others were just lost. From any thread."""
        self._used_at = 0.0

    def close(self) -> None:
        """Give the connection back. It may be used again afterwards."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.__exit__(None, None, None)
