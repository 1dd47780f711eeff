"""The connections and their live tunnel keys, in memory, as fresh as a second ago.

Other processes add connections and retire keys. They bump a revision in the database; this looks at it
once a second, and at once when a push names an unknown connection or no key fits, so that the first push
after `receiver connection add` is taken and not lost.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import ReceiverError
from receiver.logs import get_logger
from receiver.services.connections import load_live_connections
from receiver.storage.engine import get_revision, read
from receiver.thingpark.token import key_spellings

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.services.connections import LiveConnection

POLL_S = 1.0
"""How long a retired key may still be accepted by a running receiver."""

ASKED_AGAIN_S = 0.2
"""Strangers can make us look no more often than this."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VerifyingConnection:
    """A connection with the spellings of each live key, ready for the hash."""

    id: int
    name: str
    as_id: str
    max_deviation_s: int
    key_row_ids: tuple[int, ...]
    key_spellings: tuple[tuple[bytes, ...], ...]

    def __repr__(self) -> str:
        return f"VerifyingConnection({self.name!r}, {len(self.key_row_ids)} keys)"


class ConnectionDirectory:
    """Finds a connection by the name in the push path."""

    def __init__(self, engine: Engine, keyring: Keyring, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._keyring = keyring
        self._monotonic = monotonic
        self.revision = -1
        """Of what is in memory. It tells a push that was refused whether to look again, whoever looked."""
        self._connections: dict[str, VerifyingConnection] = {}
        self._looked_at = float("-inf")
        self._lock = asyncio.Lock()

    def find(self, name: str) -> VerifyingConnection | None:
        """Give the connection of that name, or None, without asking the database."""
        return self._connections.get(name)

    async def refresh(self) -> None:
        """Look for changes now, unless that was done a moment ago."""
        async with self._lock:
            if self._monotonic() - self._looked_at >= ASKED_AGAIN_S:
                try:
                    await asyncio.to_thread(self.load)
                finally:  # a database that is away is not asked once for each push that waits here
                    self._looked_at = self._monotonic()

    def load(self) -> bool:
        """Look for changes and take them over; say whether there were any. Blocks.

        Raises:
            StorageUnavailableError: the database is away; what was known stays in force.
            KeyringError: a tunnel key does not open.
        """
        with read(self._engine) as connection:
            if get_revision(connection, "connections") == self.revision:
                return False
        revision, live = load_live_connections(self._engine, self._keyring)
        self._connections = {name: _prepare(connection) for name, connection in live.items()}
        self.revision = revision
        return True

    async def keep_fresh(self) -> None:
        """Look for changes once a second until cancelled. A database that is away is asked again."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await asyncio.to_thread(self.load)
            except ReceiverError as exc:
                _log.warning("connections_not_refreshed", error=str(exc))
            except Exception as exc:  # noqa: BLE001 - this loop must outlive whatever happens in it
                _log.error("connections_not_refreshed", error=type(exc).__name__)


def _prepare(connection: LiveConnection) -> VerifyingConnection:
    return VerifyingConnection(
        connection.id,
        connection.name,
        connection.as_id,
        connection.max_deviation_s,
        tuple(key.id for key in connection.tunnel_keys),
        tuple(key_spellings(key.text.reveal()) for key in connection.tunnel_keys),
    )
