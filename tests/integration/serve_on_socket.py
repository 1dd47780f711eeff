"""The receiver's server as a process of its own, on a socket that it inherits: `serve_on_socket.py FD OPTIONS`.

The settings come from the environment, as always. OPTIONS is JSON: `head_timeout_s` shortens the wait for a
request's head, `keep_alive_s` that for the next request, `handshake_timeout_s` that for a TLS handshake,
`busy_timeout_ms` the wait for a SQLite lock; `certificate` names two files. It says `started` once it listens.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from sqlalchemy import event

from receiver.config import load_settings
from receiver.logs import configure
from receiver.storage.engine import open_engine
from receiver.web.app import build_app
from receiver.web.protocol import BoundedProtocol
from receiver.web.server import run_server
from receiver.web.tls import ServerCertificate


def serve(
    listener: socket.socket,
    *,
    head_timeout_s: float = 10,
    keep_alive_s: int = 30,
    handshake_timeout_s: float = 10,
    certificate: tuple[str, str] | None = None,
    busy_timeout_ms: int | None = None,
) -> None:
    settings = load_settings()
    configure(settings.log_level, settings.log_format)
    engine = open_engine(settings.resolved_database_url)
    if busy_timeout_ms is not None and engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda opened, _: opened.execute(f"PRAGMA busy_timeout={busy_timeout_ms}"))
    protocol = type("ImpatientProtocol", (BoundedProtocol,), {"head_timeout_s": head_timeout_s})
    app = build_app(settings, engine, settings.open_keyring())
    files = [Path(name) for name in certificate or ()]
    tls = ServerCertificate(*files) if files else None
    run_server(app, listener, tls, _say_started, protocol, keep_alive_s, handshake_timeout_s)
    engine.dispose()


def _say_started() -> None:
    sys.stdout.write("started\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), **json.loads(sys.argv[2]))
