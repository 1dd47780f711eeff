"""Puts the web side together: the push route as bare ASGI, everything else as Starlette."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from receiver.services.connection_cache import ConnectionCache
from receiver.services.connection_directory import ConnectionDirectory
from receiver.services.ingest import Ingest
from receiver.storage.draining import Drain
from receiver.storage.engine import open_engine
from receiver.storage.inbox import make_inbox
from receiver.storage.rejections import RejectionLimits
from receiver.storage.schema import prepare_schema
from receiver.storage.spool import Spool
from receiver.web.admission import MAX_CONNECTIONS
from receiver.web.api import api_routes
from receiver.web.health import Readiness, health_routes
from receiver.web.plain_request import PREFIX
from receiver.web.problems import answer_http_error
from receiver.web.protocol import BODY_TIMEOUT_S, REFUSE_HEAD, TAKE_PUSH
from receiver.web.push import RETRY_AFTER_S, PushEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Engine
    from starlette.types import ASGIApp, Receive, Scope, Send

    from receiver.config import Settings
    from receiver.keyring import Keyring


_UNKNOWN_YET = PlainTextResponse(
    "This push was not stored. Send it again later.\n", 503, {"retry-after": str(RETRY_AFTER_S)}
)
"""Before the connections are known a push is neither in order nor refused."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def build_app(
    settings: Settings,
    engine: Engine,
    keyring: Keyring,
    clock: Callable[[], datetime] = _utc_now,
    *,
    database_is_ready: bool = True,
) -> ASGIApp:
    """Give the application; its lifespan starts and ends the inbox, the drain and the watch over connections.

    With `database_is_ready` false it begins with the spool, and prepares the schema when the database is back.
    """
    url = settings.resolved_database_url
    spool, drained_spool = (
        Spool(settings.spool_path, settings.spool_max_bytes, settings.spool_max_age_s) for _ in range(2)
    )
    own_engine = open_engine(url)  # for what must not wait for the connections that pushes hold
    inbox = make_inbox(
        engine,
        RejectionLimits(
            max_rows=settings.rejections_max_rows,
            max_bytes=settings.rejections_max_bytes,
            unknown_max_rows=settings.unknown_rejections_max_rows,
        ),
        spool,
        database_is_away=not database_is_ready,
    )
    prepare = None if database_is_ready else lambda: prepare_schema(url, clock())
    drain = Drain(own_engine, drained_spool, inbox, clock, prepare=prepare)
    cache = ConnectionCache(settings.connections_cache_path, engine, keyring)
    directory = ConnectionDirectory(engine, keyring, cache=cache)
    readiness = Readiness(own_engine, inbox, settings.spool_path, lambda: directory.is_known, clock)
    push = PushEndpoint(Ingest(directory, inbox, clock), settings.body_max_bytes, settings.body_timeout_s)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        await directory.begin()
        inbox.start()
        drain.start()
        watch = asyncio.create_task(directory.keep_fresh())
        try:
            yield {
                TAKE_PUSH: push.take,
                REFUSE_HEAD: push.refuse_head,
                BODY_TIMEOUT_S: settings.body_timeout_s,
                MAX_CONNECTIONS: settings.max_connections,
            }
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            await asyncio.to_thread(drain.stop)
            await inbox.stop()
            spool.close()
            own_engine.dispose()

    api = api_routes(engine, keyring, clock, settings.api_calls_per_second)
    others = Starlette(
        routes=[*health_routes(readiness), *api],
        exception_handlers={HTTPException: answer_http_error},
        lifespan=lifespan,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            if not directory.is_known:
                await _UNKNOWN_YET(scope, receive, send)
                return
            await push(scope, receive, send)
        else:
            await others(scope, receive, send)

    return app
