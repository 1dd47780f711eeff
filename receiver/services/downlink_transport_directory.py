"""The transports of all connections, made when first needed, and anew when something they are made of changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import ReceiverError, SettingsError, StorageUnavailableError
from receiver.storage import connections as stored
from receiver.storage.downlink_transports import TIME_WITH_OFFSET, list_time_forms
from receiver.storage.engine import get_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import sqlalchemy as sa

    from receiver.services.downlink_transport import DownlinkTransport
    from receiver.storage.connections import Connection, StoredTunnelKey

LOOK_EVERY_S = 5.0
"""How old may be what bumps no revision: which key the network uses, and how Time is spelled."""


class TransportSettings(NamedTuple):
    """What a transport is made of; the live tunnel keys are sealed, the likeliest first."""

    connection: Connection
    time_form: str
    tunnel_keys: tuple[StoredTunnelKey, ...]


class TransportDirectory:
    """Gives each connection's transport, for one thread. `makers` are by platform; one may raise a `ReceiverError`."""

    def __init__(self, makers: Mapping[str, Callable[[TransportSettings], DownlinkTransport]]) -> None:
        """Look nothing up yet."""
        self._makers = makers
        self._settings: dict[int, TransportSettings] = {}
        self._made: dict[int, tuple[TransportSettings, DownlinkTransport]] = {}
        self._revision: int | None = None
        self._looked_at = 0.0

    def refresh(self, tx: sa.Connection) -> None:
        """Look at the connections again, if one of them or a key was changed, or some time has passed."""
        revision = get_revision(tx, stored.REVISION)
        if revision == self._revision and time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        time_forms = list_time_forms(tx)
        keys = stored.list_live_tunnel_keys(tx)
        settings = {}
        for connection in stored.list_connections(tx):
            uses = stored.get_tunnel_key_uses(tx, connection.id)
            settings[connection.id] = TransportSettings(
                connection,
                time_forms.get(connection.id, TIME_WITH_OFFSET),
                likeliest_first([key for key in keys if key.connection_id == connection.id], uses),
            )
        self._settings, self._revision = settings, revision
        self._made = {id_: made for id_, made in self._made.items() if id_ in settings}
        self._looked_at = time.monotonic()

    def connection(self, connection_id: int) -> Connection | None:
        """Give the connection; None if there is none, or none yet."""
        settings = self._settings.get(connection_id)
        return None if settings is None else settings.connection

    def get(self, connection_id: int) -> DownlinkTransport:
        """Give the transport of a connection.

        Raises:
            SettingsError: it cannot be made; the sentence says what a person has to do.
        """
        settings = self._settings.get(connection_id)
        if settings is None:
            raise SettingsError("Its connection was removed.")
        made = self._made.get(connection_id)
        if made is not None and made[0] == settings:
            return made[1]
        maker = self._makers.get(settings.connection.platform)
        if maker is None:
            raise SettingsError(
                f"Connection {settings.connection.name} is of platform {settings.connection.platform}, which this"
                " version cannot send by."
            )
        try:
            transport = maker(settings)
        except StorageUnavailableError:
            raise
        except ReceiverError as exc:
            raise SettingsError(str(exc)) from exc
        self._made[connection_id] = settings, transport
        return transport


def likeliest_first(
    keys: list[StoredTunnelKey], uses: Mapping[int, stored.TunnelKeyUse]
) -> tuple[StoredTunnelKey, ...]:
    """Order live keys: first the one that the network signed a push with last; of those never used, the newest."""

    def rank(key: StoredTunnelKey) -> tuple[float, int]:
        use = uses.get(key.id)
        at = None if use is None else use.last_used_at
        return (0.0 if at is None else at.timestamp(), key.id)

    return tuple(sorted(keys, key=rank, reverse=True))
