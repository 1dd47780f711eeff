"""A server with streams over a real socket, readers without a browser, and events for them to read."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import uvicorn
import uvloop
from starlette.applications import Starlette

from receiver.services.api_keys import create_api_key
from receiver.storage.engine import write
from receiver.storage.events import EventKind, NewEvent, tell
from receiver.storage.reports import lock_reading
from receiver.web.admission import admitting
from receiver.web.api import api_routes
from receiver.web.event_room import EventRoom, StreamTiming
from receiver.web.protocol import BoundedProtocol

QUICK = StreamTiming(heartbeat_s=0.1, send_timeout_s=0.5, look_again_s=0.05, key_check_s=0.1)


def until(condition, within_s=30.0):
    """Ask again and again until `condition()` gives something true, and give that."""
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.01)
    return result


@dataclass(frozen=True)
class SeenEvent:
    """An event as a browser would dispatch it."""

    id: str
    type: str
    data: str


class StreamReader:
    """Reads a stream in a thread, as the HTML standard says (section 9.2.6); `resume` goes on where it was cut off."""

    def __init__(self, origin, key, *, verify=True, **parameters):
        self.url = f"{origin}/api/v1/stream"
        self.key = key
        self.parameters = parameters
        self.verify = verify
        self.events: list[SeenEvent] = []
        self.comments = 0
        self.retry_ms = None
        self.last_id = None
        self.headers = None
        self.refused = None
        self.is_open = False
        self._socket = None
        self._closing = False
        self._thread = None

    def open(self):
        """Connect, and come back with Last-Event-ID if there was a stream before; return when it is open or refused."""
        self.is_open, self.headers, self.refused, self._closing = False, None, None, False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        until(lambda: (self.last_id is not None and self.headers) or self.refused or not self._thread.is_alive())
        return self

    def resume(self):
        return self.open()

    def close(self):
        self._closing = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self.wait_for_end()

    def wait_for_end(self, within_s=30):
        self._thread.join(within_s)
        assert not self._thread.is_alive(), "the stream goes on"

    def wait_for(self, count):
        until(lambda: len(self.events) >= count)
        return self.events

    def ids(self):
        return [int(event.id) for event in self.events]

    def __enter__(self):
        return self.open()

    def __exit__(self, *_):
        self.close()

    def _read(self):
        headers = {"Authorization": f"Bearer {self.key}"}
        if self.last_id is not None:
            headers["Last-Event-ID"] = self.last_id
        timeout = httpx.Timeout(20, read=60)
        try:
            with (
                httpx.Client(verify=self.verify, trust_env=False, timeout=timeout) as client,
                client.stream("GET", self.url, params=self.parameters, headers=headers) as answer,
            ):
                self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                if answer.status_code != 200:
                    answer.read()
                    self.refused = answer
                    return
                self.headers = answer.headers
                self.is_open = True
                self._parse(answer.iter_lines())
        except (httpx.TransportError, OSError):
            pass
        finally:
            self.is_open = False

    def _parse(self, lines):
        fields = {"data": ""}
        given_id = self.last_id
        for line in lines:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                self.last_id = given_id
                if fields["data"]:
                    self.events.append(SeenEvent(given_id, fields["event"], fields["data"]))
                fields = {"data": ""}
            elif not name:
                self.comments += 1
            elif name == "id":
                given_id = value
            elif name == "retry":
                self.retry_ms = int(value)
            else:
                assert name in {"event", "data"}, line
                fields[name] = value


class StreamServer:
    """The API on a socket, on an event loop in a thread of this process; `room` holds the streams."""

    def __init__(self, engine, keyring, room):
        self.room = room
        self.engine = engine
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        app = Starlette(routes=api_routes(engine, keyring, utc_now, 0, room))
        self._server = uvicorn.Server(
            uvicorn.Config(app, http=admitting(BoundedProtocol), lifespan="off", log_config=None, access_log=False)
        )
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._server.serve(sockets=[self._listener]))

    def start(self):
        self._thread.start()
        until(lambda: self._server.started)

    def stop(self):
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def connections(self):
        return self._server.server_state.connections

    def new_key(self, name="reader", scope="read"):
        return create_api_key(self.engine, utc_now(), name, scope)[1].reveal()

    def connect(self, key, path="/api/v1/stream", receive_bytes=None):
        """Send the request for a stream on a bare socket, which nobody reads."""
        address = self.origin.removeprefix("http://").split(":")
        client = socket.socket()
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.connect((address[0], int(address[1])))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: receiver\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        return client


@contextmanager
def stream_server(engine, keyring, timing=QUICK, **bounds):
    server = StreamServer(engine, keyring, EventRoom(engine, timing, **bounds))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def utc_now():
    return datetime.now(UTC)


def tell_of(engine, uplink_ids, *, kind=EventKind.UPLINK, dev_eui="20635F0000000001", connection_id=1, now=None):
    """Tell once more of uplinks that are stored, in one transaction."""
    with write(engine) as connection:
        lock_reading(connection)
        new = [NewEvent(kind, uplink_id, dev_eui, connection_id) for uplink_id in uplink_ids]
        tell(connection, now or utc_now(), new)
