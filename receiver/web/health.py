"""`GET /healthz`: the process answers. `GET /readyz`: it can take pushes. `GET /`: what this is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from receiver import __version__
from receiver.errors import StorageUnavailableError
from receiver.storage.engine import ping

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from starlette.requests import Request
    from starlette.responses import Response


def health_routes(engine: Engine) -> list[Route]:
    """Give the three routes; they show nothing that a stranger may not know."""

    async def index(_request: Request) -> Response:
        return PlainTextResponse(
            f"LoRaWAN receiver {__version__}. The network pushes its reports to /push/<connection>;"
            " /healthz and /readyz tell how it is.\n"
        )

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "alive", "version": __version__})

    async def readyz(_request: Request) -> Response:
        try:
            await asyncio.to_thread(ping, engine)
        except StorageUnavailableError:
            return JSONResponse({"status": "unready", "database": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ready", "database": "available"})

    return [Route("/", index), Route("/healthz", healthz), Route("/readyz", readyz)]
