"""A network's downlink interface on loopback: it answers as it is told, over real sockets, and keeps what it was asked.

It computes tokens by itself: of what stands in the query, in the order in which it stands there.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

QUEUED = b"<html><body>Request queued by LRC</body></html>"


def refusal(text):
    """Give an answer of version 1: status 350 with a text."""
    return Reply(350, f"<html><body>{text}</body></html>".encode())


def conflict(code, message, **more):
    """Give an answer of version 2: 409 with a code."""
    return Reply(409, json.dumps({"code": code, "message": message} | more).encode())


class Reply(NamedTuple):
    """What is answered; `lost`: the connection is cut after the request was read, without an answer."""

    status: int = 200
    body: bytes = QUEUED
    headers: tuple[tuple[str, str], ...] = ()
    lost: bool = False


LOST = Reply(lost=True)
ACCEPTED = Reply()
ACCEPTED_V2 = Reply(202, b"")


@dataclass
class Asked:
    """A request as it came."""

    path: str
    query: str
    body: bytes
    headers: dict[str, str]

    @property
    def parameters(self):
        return {name: unquote(value) for name, _, value in (each.partition("=") for each in self.query.split("&"))}

    @property
    def frame(self):
        """What asks for the same when it is asked again: all but when, and by which key."""
        return {name: value for name, value in self.parameters.items() if name not in {"Time", "Token"}}

    def is_signed_with(self, key):
        raw = unquote(self.query.rpartition("&Token=")[0])
        return hashlib.sha256((raw + key).encode()).hexdigest() == self.parameters["Token"]


@dataclass
class Lrc:
    """The interface. `replies` are given out first, one for each request, then what `answer` says."""

    answer: object = lambda _asked: ACCEPTED
    replies: list[Reply] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    delay_s: float = 0.0
    at_once: int = 0
    most_at_once: int = 0
    port: int = 0

    def __post_init__(self):
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._never = threading.Event()
        self._server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/thingpark/lrc/rest/downlink"

    @property
    def v2_url(self):
        return f"http://127.0.0.1:{self.port}/thingpark/lrc/rest/v2/downlink"

    @property
    def frames(self):
        return [asked.frame for asked in self.asked]

    def start(self):
        self._server = _Server(("127.0.0.1", self.port), _Handler, self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def stop(self):
        """Refuse connections from now on; `start` takes them again, on the same port."""
        self._open.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def block(self):
        """Read requests and answer none until `unblock`."""
        self._open.clear()

    def unblock(self):
        self._open.set()

    def take(self, asked):
        with self._lock:
            self.asked.append(asked)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            reply = self.replies.pop(0) if self.replies else self.answer(asked)
        self._open.wait(60)
        if self.delay_s:
            self._never.wait(self.delay_s)
        with self._lock:
            self.at_once -= 1
        return reply


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, handler, lrc):
        self.lrc = lrc
        super().__init__(address, handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        parts = urlsplit(self.path)
        asked = Asked(parts.path, parts.query, self.rfile.read(size), dict(self.headers.items()))
        reply = self.server.lrc.take(asked)
        if reply.lost:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = True

    def log_message(self, *_args):
        pass
