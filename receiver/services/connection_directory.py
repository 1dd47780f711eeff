"""The connections and their live tunnel keys, in memory, as fresh as a second ago.

Other processes add connections and retire keys. They bump a revision in the database; this looks at it
once a second, and at once when a push names an unknown connection or no key fits, so that the first push
after `receiver connection add` is taken and not lost. What it takes over it keeps in the `ConnectionCache` as well,
and begins with that where the database is away at the start.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import KeyringError, ReceiverError, StorageUnavailableError
from receiver.kpn_things.token import ThingsSecret
from receiver.logs import get_logger
from receiver.services.connection_cache import read_snapshot
from receiver.services.connections import open_snapshot
from receiver.services.daemon_thread import SharedCall
from receiver.services.things_secrets import PLATFORM
from receiver.storage.engine import get_revision, read
from receiver.thingpark.token import key_spellings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.services.connection_cache import ConnectionCache, ConnectionSnapshot
    from receiver.services.connections import LiveConnection, LiveTunnelKey
    from receiver.services.judging import KnownKey
    from receiver.storage.connections import Connection

POLL_S = 1.0
"""How long a retired key may still be accepted by a running receiver."""

ASKED_AGAIN_S = 0.2
"""Strangers can make us look no more often than this."""

LOOK_WITHIN_S = 1.0
"""How long a push that may be of a new connection waits for a database that hangs."""

START_WITHIN_S = 3.0
"""How long a start waits for the database before it makes do with the cache."""

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
    things_secrets: tuple[ThingsSecret, ...] | None = None
    """What KPN Things signs with; None: it is a connection of ThingPark."""

    def __repr__(self) -> str:
        return f"VerifyingConnection({self.name!r}, {len(self.key_row_ids)} keys)"


class ConnectionDirectory:
    """Finds a connection by the name in the push path."""

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        monotonic: Callable[[], float] = time.monotonic,
        cache: ConnectionCache | None = None,
    ) -> None:
        self._engine = engine
        self._keyring = keyring
        self._monotonic = monotonic
        self._cache = cache
        self._loading = SharedCall(self.load)
        self.revision = -1
        """Of what is in memory. It tells a push that was refused whether to look again, whoever looked."""
        self._is_from_database = False
        self._connections: dict[str, VerifyingConnection] = {}
        self._looked_at = float("-inf")
        self._lock = asyncio.Lock()

    @property
    def is_known(self) -> bool:
        """Whether there is anything to judge pushes by: what the database or the cache holds."""
        return self.revision >= 0

    async def begin(self, within_s: float = START_WITHIN_S) -> None:
        """Load for the first time; from the cache if the database is away or has not answered within that time.

        Raises:
            KeyringError: a tunnel key does not open.
        """
        try:
            await self._load_within(within_s)
        except KeyringError:
            raise
        except Exception as exc:  # noqa: BLE001 - also of a schema that is not ready
            reason = str(exc) if isinstance(exc, ReceiverError) else type(exc).__name__
            self._load_cache(reason)

    def _load_cache(self, reason: str) -> None:
        try:
            if self._cache is None:
                raise StorageUnavailableError("There is no copy of the connections.")
            self._take_over(self._cache.load())
        except ReceiverError as exc:
            _log.error("connections_unknown", error=reason, cache=str(exc), answer="pushes get 503 until it is back")
        else:
            _log.warning("connections_from_cache", error=reason, count=len(self._connections))

    def find(self, name: str) -> VerifyingConnection | None:
        """Give the connection of that name, or None, without asking the database."""
        return self._connections.get(name)

    async def refresh(self) -> None:
        """Look for changes now, unless that was done a moment ago."""
        async with self._lock:
            if self._monotonic() - self._looked_at >= ASKED_AGAIN_S:
                try:
                    await self._load_within(LOOK_WITHIN_S)
                finally:  # a database that is away is not asked once for each push that waits here
                    self._looked_at = self._monotonic()

    def load(self) -> bool:
        """Look for changes and take them over; say whether there were any. Blocks.

        Raises:
            StorageUnavailableError: the database is away; what was known stays in force.
            KeyringError: a tunnel key does not open.
        """
        if self._is_from_database:
            with read(self._engine) as connection:
                if get_revision(connection, "connections") == self.revision:
                    return False
        snapshot = read_snapshot(self._engine)
        self._take_over(snapshot)
        self._is_from_database = True
        if self._cache is not None:
            try:
                self._cache.save(snapshot)
            except OSError as exc:
                _log.warning("connections_not_cached", error=exc.strerror, path=str(self._cache.path))
        return True

    def _take_over(self, snapshot: ConnectionSnapshot) -> None:
        live = open_snapshot(snapshot, self._keyring)
        self._connections = {name: prepare(connection, connection.tunnel_keys) for name, connection in live.items()}
        self.revision = snapshot.revision

    async def _load_within(self, within_s: float) -> None:
        try:
            await self._loading.result(within_s)
        except TimeoutError as exc:
            raise StorageUnavailableError(f"The database has not answered within {within_s:g} s.") from exc

    async def keep_fresh(self) -> None:
        """Look for changes once a second until cancelled. A database that is away is asked again."""
        told: str | None = None
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self._load_within(LOOK_WITHIN_S)
                told = None
            except Exception as exc:  # noqa: BLE001 - this loop must outlive whatever happens in it
                reason = str(exc) if isinstance(exc, ReceiverError) else type(exc).__name__
                if reason != told:  # once, and not each second of an outage
                    _log.warning("connections_not_refreshed", error=reason)
                told = reason


def prepare(connection: LiveConnection | Connection, keys: Sequence[LiveTunnelKey | KnownKey]) -> VerifyingConnection:
    """Give a connection with these of its keys, or shared secrets of KPN Things, ready to verify pushes."""
    is_things = connection.platform == PLATFORM
    return VerifyingConnection(
        connection.id,
        connection.name,
        connection.as_id,
        connection.max_deviation_s,
        tuple(key.id for key in keys),
        () if is_things else tuple(key_spellings(key.text.reveal()) for key in keys),
        tuple(ThingsSecret(key.id, key.plug_uuid, key.text.reveal().encode()) for key in keys) if is_things else None,
    )
