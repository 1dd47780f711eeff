"""Puts the web side together: the push route as bare ASGI, everything else as Starlette."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from receiver.services.connection_directory import ConnectionDirectory
from receiver.services.ingest import Ingest
from receiver.storage.inbox import Inbox
from receiver.storage.rejections import RejectionLimits
from receiver.web.health import health_routes
from receiver.web.plain_request import PREFIX
from receiver.web.protocol import BODY_TIMEOUT_S, REFUSE_HEAD, TAKE_PUSH
from receiver.web.push import PushEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Engine
    from starlette.types import ASGIApp, Receive, Scope, Send

    from receiver.config import Settings
    from receiver.keyring import Keyring


def _utc_now() -> datetime:
    return datetime.now(UTC)


def build_app(
    settings: Settings, engine: Engine, keyring: Keyring, clock: Callable[[], datetime] = _utc_now
) -> ASGIApp:
    """Give the application; its lifespan starts and ends the inbox and the watch over connections."""
    inbox = Inbox(
        engine,
        RejectionLimits(
            max_rows=settings.rejections_max_rows,
            max_bytes=settings.rejections_max_bytes,
            unknown_max_rows=settings.unknown_rejections_max_rows,
        ),
    )
    directory = ConnectionDirectory(engine, keyring)
    push = PushEndpoint(Ingest(directory, inbox, clock), settings.body_max_bytes, settings.body_timeout_s)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        await asyncio.to_thread(directory.load)
        inbox.start()
        watch = asyncio.create_task(directory.keep_fresh())
        try:
            yield {TAKE_PUSH: push.take, REFUSE_HEAD: push.refuse_head, BODY_TIMEOUT_S: settings.body_timeout_s}
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            await inbox.stop()

    others = Starlette(routes=health_routes(engine), lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await push(scope, receive, send)
        else:
            await others(scope, receive, send)

    return app
