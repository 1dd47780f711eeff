"""`GET /healthz`: the process answers. `GET /readyz`: it can take pushes. `GET /`: what this is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from receiver import __version__
from receiver.errors import StorageUnavailableError
from receiver.services.daemon_thread import SharedCall
from receiver.storage.engine import ping
from receiver.storage.spool import SpoolState, read_spool_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Engine
    from starlette.requests import Request
    from starlette.responses import Response

    from receiver.storage.inbox import Inbox

ANSWER_WITHIN_S = 1.0
"""How long each disk may take to answer; then it counts as away. Whoever watches waits two seconds or more."""


class Readiness:
    """Tells whether pushes can be stored, and where; also while the database hangs, with at most two threads."""

    def __init__(
        self,
        engine: Engine,
        inbox: Inbox,
        spool_path: Path,
        knows_connections: Callable[[], bool],
        clock: Callable[[], datetime],
    ) -> None:
        """`engine` is one that pushes do not wait for connections of."""
        self._ping = SharedCall(partial(ping, engine))
        self._read_spool = SharedCall(partial(read_spool_state, spool_path))
        self._inbox = inbox
        self._knows_connections = knows_connections
        self._clock = clock

    async def look(self) -> dict[str, object]:
        """Give `status` (ready, degraded: the spool takes them; unready: nothing does), and why."""
        answers = await self._database_answers()
        spool = await self._find_spool()
        now = self._clock()
        spool_takes = spool is not None and not spool.is_full(now) and not self._inbox.refused_lately
        if answers and not self._inbox.is_spooling and self._knows_connections():
            status = "ready"
        else:
            status = "degraded" if spool_takes and self._knows_connections() else "unready"
        return {
            "status": status,
            "database": "available" if answers else "unavailable",
            "spool": spool and {"reports": spool.rows, "bytes": spool.bytes, "oldest_s": round(spool.oldest_s(now))},
        }

    async def _database_answers(self) -> bool:
        try:
            await self._ping.result(ANSWER_WITHIN_S)
        except (StorageUnavailableError, TimeoutError):
            return False
        return not self._inbox.database_is_away  # it may be locked or full, and answer

    async def _find_spool(self) -> SpoolState | None:
        try:
            return await self._read_spool.result(ANSWER_WITHIN_S)
        except (StorageUnavailableError, TimeoutError):
            return None


def health_routes(readiness: Readiness) -> list[Route]:
    """Give the three routes; they show nothing that a stranger may not know."""

    async def index(_request: Request) -> Response:
        return PlainTextResponse(
            f"LoRaWAN receiver {__version__}. The network pushes its reports to /push/<connection>;"
            " /healthz and /readyz tell how it is.\n"
        )

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "alive", "version": __version__})

    async def readyz(_request: Request) -> Response:
        found = await readiness.look()
        return JSONResponse(found, status_code=503 if found["status"] == "unready" else 200)

    return [Route("/", index), Route("/healthz", healthz), Route("/readyz", readyz)]
