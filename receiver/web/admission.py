"""How many connections one server process takes on, and what the others do.

The others wait, the oldest first, for as little as a connection can cost. Who finds no place in time gets a 503, or
over TLS, where saying so would cost more than taking the push, is closed. A TLS connection takes the processor time of
twenty pushes and a third of a megabyte: begun for all at once, as the event loop would do it, thousands of them take a
gigabyte, and all are late alike.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Any, cast, final

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # there, but not in its stubs

from receiver.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from receiver.web.tls import CountingContext

MAX_CONNECTIONS = "max_connections"
"""The name in the lifespan's state of how many connections one process takes on."""

PLACES_OF_TLS = 4
"""A TLS connection takes as many places: a thousand are enough to keep any processor busy with their handshakes."""

HANDSHAKE_TIMEOUT_S = 10.0
"""From its beginning to its end; the network takes a second at most."""

SHUTDOWN_TIMEOUT_S = 5.0
"""How long a TLS connection that is closed waits for the other side to say so too."""

WAIT_S = 2.0
"""How long one too many waits for a place: in this time thousands of pushes are answered, or none will be soon."""

TLS_WAIT_S = 5.0
"""The same over TLS: longer than the database may keep all places waiting until the spool takes over. The network gives
up on a push after some ten seconds."""

LOOK_S = 0.01
"""How often it is looked whether there are places."""

REFUSED_PER_S = 2000
"""Who is refused comes again at once, and each costs as much as a push that is stored: more would take from those. All
the files that the process may open, waiting, are refused within six seconds."""

HELD_BYTES = 8192
"""What is kept of what it sends while it waits, a few times a usual push. Who sends more is refused in its turn."""

TELL_EVERY_S = 10.0
"""How often it is logged that connections were refused."""

_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_log = get_logger(__name__)


@final
class Waiting(asyncio.Protocol):
    """A connection without a place: keeps what it is told for the protocol that takes it on.

    What a client sends is read even so: closing before that would reset it, and it would never see the answer.
    """

    __slots__ = ("_room", "is_too_long", "said", "since", "transport")

    def __init__(self, room: WaitingRoom) -> None:
        self._room = room
        self.transport: asyncio.Transport | None = None
        self.since = 0.0
        self.said = b""
        self.is_too_long = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait."""
        self.transport = cast("asyncio.Transport", transport)
        self._room.add(self)

    def data_received(self, data: bytes) -> None:
        """Keep it, within bounds."""
        self.is_too_long = self.is_too_long or len(self.said) + len(data) > HELD_BYTES
        self.said = b"" if self.is_too_long else self.said + data

    def connection_lost(self, _exc: Exception | None) -> None:
        """Wait no longer."""
        self.transport = None

    def hand_over(self, protocol: asyncio.Protocol | SSLProtocol) -> None:
        """Go on as a connection of `protocol`, which hears all that was said."""
        transport = self.transport
        assert transport is not None  # noqa: S101 - the room asks
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if not self.said or transport.is_closing():
            return
        if isinstance(protocol, SSLProtocol):
            protocol.get_buffer(len(self.said))[: len(self.said)] = self.said
            protocol.buffer_updated(len(self.said))
        else:
            protocol.data_received(self.said)


@final
class WaitingRoom:
    """Connections without a place, by age."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        has_place: Callable[[], bool],
        make: Callable[[], asyncio.Protocol | SSLProtocol],
        refusal: bytes,
        wait_s: float,
    ) -> None:
        """Hand each over to what `make` makes once it `has_place`, or after `wait_s` answer it with `refusal`."""
        self._loop = loop
        self._has_place, self._make, self._refusal = has_place, make, refusal
        self._wait_s = wait_s
        self._waiting: deque[Waiting] = deque()
        self._looked_at = 0.0
        self._may_refuse = 0.0
        self._refused = 0
        self._told_at = -math.inf
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def add(self, waiting: Waiting) -> None:
        """Take one more in."""
        waiting.since = self._loop.time()
        self._waiting.append(waiting)
        if self._timer is None:
            self._looked_at = waiting.since
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """Find places for the oldest; refuse those that have waited long enough."""
        now = self._loop.time()
        self._may_refuse = self._may_refuse % 1 + (now - self._looked_at) * REFUSED_PER_S
        self._looked_at = now
        while self._waiting:
            first = self._waiting[0]
            if first.transport is None or first.transport.is_closing():
                pass
            elif not first.is_too_long and self._has_place():
                first.hand_over(self._make())
            elif now - first.since > self._wait_s and self._may_refuse >= 1:
                self._may_refuse -= 1
                self._refused += 1
                first.transport.write(self._refusal)
                first.transport.close()
            else:
                break
            self._waiting.popleft()
        if self._refused and (now - self._told_at > TELL_EVERY_S or not self._waiting):
            _log.warning("connections_refused", number=self._refused, after_waiting_s=self._wait_s)
            self._refused, self._told_at = 0, now
        self._timer = self._loop.call_later(LOOK_S, self._look) if self._waiting else None


@final
class Admission:
    """Gives each new connection its protocol. For one server, on one event loop."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        connections: set[Any],
        max_connections: float,
        loop: asyncio.AbstractEventLoop,
        context: CountingContext | None,
        handshake_timeout_s: float,
    ) -> None:
        self._protocol, self._connections, self._max_connections = protocol, connections, max_connections
        self._loop, self._context, self._handshake_timeout_s = loop, context, handshake_timeout_s
        refusal, wait_s = (_UNAVAILABLE, WAIT_S) if context is None else (b"", TLS_WAIT_S)
        self._room = WaitingRoom(loop, self._has_place, self._make, refusal, wait_s)

    def admit(self) -> asyncio.Protocol | SSLProtocol:
        """Give the protocol of one more connection: the real one, or one that waits."""
        if not self._room and self._has_place():
            return self._make()
        return Waiting(self._room)

    def _has_place(self) -> bool:
        if self._context is None:
            return len(self._connections) < self._max_connections
        return self._context.connections < self._max_connections / PLACES_OF_TLS

    def _make(self) -> asyncio.Protocol | SSLProtocol:
        if self._context is None:
            return self._protocol()
        return SSLProtocol(
            self._loop,
            self._protocol(),
            self._context,
            None,
            server_side=True,
            ssl_handshake_timeout=self._handshake_timeout_s,
            ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        )


def admitting(
    protocol: Callable[..., asyncio.Protocol],
    context: CountingContext | None = None,
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> Callable[..., asyncio.Protocol | SSLProtocol]:
    """Give what makes the protocols of uvicorn's connections: one of `protocol`, over TLS if there is a `context`.

    uvicorn itself is to know nothing of TLS then. How many it takes on is what the lifespan's state says under
    MAX_CONNECTIONS.
    """
    admission: Admission | None = None

    def make(
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol | SSLProtocol:
        nonlocal admission
        if admission is None:
            loop = _loop or asyncio.get_running_loop()

            def make_now() -> asyncio.Protocol:
                return protocol(config=config, server_state=server_state, app_state=app_state, _loop=loop)

            limit = app_state.get(MAX_CONNECTIONS, math.inf)
            admission = Admission(make_now, server_state.connections, limit, loop, context, handshake_timeout_s)
        return admission.admit()

    return make
