"""A small HTTP server on this machine, for the parts of a simulation that are asked instead of asking.

It can do what networks do and web frameworks do not: answer status 350, break a connection off after it read a
request, take its time, go away and come back on the same port.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOST = "127.0.0.1"

MAX_BODY_BYTES = 64 * 1024
"""Of a request, where nothing is said: most stand in their query, or have one SenML record."""

_BACKLOG = 128
_POLL_S = 0.02  # how soon a stop is noticed
_IDLE_S = 60.0  # a kept connection on which nothing comes is closed


class HttpRequest(NamedTuple):
    """A request as it came: the query is raw, names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.path})"


class HttpReply(NamedTuple):
    """An answer. `is_lost`: none is sent, and the connection is closed. `delay_s`: it comes only then."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    is_lost: bool = False
    delay_s: float = 0.0


class LoopbackServer:
    """Serves on a port of this machine, from `start` to `stop`, and again from the next `start` on.

        server = LoopbackServer()
        server.start(lrc.answer)
        … server.origin …
        server.stop()

    The answering function is called in a thread for each connection, several at a time. `answer` may be set later:
    until then 503 is answered.
    """

    def __init__(
        self,
        answer: Callable[[HttpRequest], HttpReply] | None = None,
        port: int = 0,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        """Listen to nothing yet. Port 0: a free one is taken at the first start and kept."""
        self.answer = answer
        self.port = port
        self.max_body_bytes = max_body_bytes
        self._server: _Server | None = None

    @property
    def origin(self) -> str:
        """The scheme, host and port to ask."""
        return f"http://{HOST}:{self.port}"

    def start(self, answer: Callable[[HttpRequest], HttpReply] | None = None) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        self.answer = answer or self.answer
        self._server = _Server(self, self.port)
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="loopback-server", daemon=True
        ).start()

    def stop(self) -> None:
        """Refuse connections from now on, and break off those there are, answered or not."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.break_off()

    def restart(self, away_s: float = 0.0) -> None:
        """Go away for so long and come back on the same port."""
        self.stop()
        time.sleep(away_s)
        self.start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = _BACKLOG
    allow_reuse_address = True

    def __init__(self, owner: LoopbackServer, port: int) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, port), _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if isinstance(request, socket.socket):
            with self._lock:
                self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        if isinstance(request, socket.socket):
            with self._lock:
                self._open.discard(request)
        super().shutdown_request(request)

    def break_off(self) -> None:
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that the other side, or a stop, has broken off."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_S
    server: _Server

    def answer(self) -> None:
        size = self.headers.get("Content-Length", "0")
        if not (size.isascii() and size.isdigit() and int(size[:20]) <= self.server.owner.max_body_bytes):
            self.close_connection = True
            self._write(HttpReply(413))
            return
        body = self.rfile.read(int(size))
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.owner.answer
        request = HttpRequest(self.command, path, query, headers, body)
        reply = HttpReply(503) if answer is None else answer(request)
        if reply.delay_s:
            time.sleep(reply.delay_s)
        if reply.is_lost:
            self.close_connection = True
            return
        self._write(reply)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that the server looks for

    def _write(self, reply: HttpReply) -> None:
        lines = [
            f"HTTP/1.1 {reply.status} Simulated",
            f"Content-Length: {len(reply.body)}",
            f"Content-Type: {reply.content_type}",
            *(f"{name}: {value}" for name, value in reply.headers),
            *(["Connection: close"] if self.close_connection else []),
        ]
        # In one piece: what comes in two waits for an acknowledgement in between.
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """Say nothing: queries have tokens in them."""
