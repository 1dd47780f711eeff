"""The echoes that pushes are measured against: the least that the same server can do with the same bytes.

`python -m benchmarks.echo starlette|asgi FD [CERTIFICATE KEY]` serves on the listening socket with that descriptor,
with uvicorn, uvloop and httptools, as the receiver itself is served.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send


async def _echo(request: Request) -> Response:
    return Response(await request.body())


async def _bare(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    length = b"%d" % len(body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until SIGTERM."""
    kind, descriptor, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    app: ASGIApp = Starlette(routes=[Route("/push/bench", _echo, methods=["POST"])]) if kind == "starlette" else _bare
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ssl_certfile=files[0] if files else None,
        ssl_keyfile=files[1] if files else None,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main()
