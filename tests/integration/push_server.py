"""A real server in a process of its own, pushes signed for it, and raw bytes to and from its socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, func, select

from receiver.keyring import KEK_BYTES, Keyring
from receiver.services.connections import add_connection
from receiver.storage.engine import open_engine, read
from receiver.storage.tables import connections, rejections, reports
from receiver.thingpark.token import sign_push
from receiver.web.self_signed import make_self_signed_certificate

ROOT = Path(__file__).parents[2]
SERVE_ON_SOCKET = Path(__file__).with_name("serve_on_socket.py")
KEK = bytes(range(KEK_BYTES))
TUNNEL_KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
AS_ID = "TWA_100000001.1.AS"
DEV_EUI = "20635F0000000001"
CUSTOMER_ID = "100000001"


@dataclass(frozen=True)
class Answer:
    """One HTTP response, as bytes came: `raw` is all of it, less the Date header."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes


@dataclass(frozen=True)
class PushServer:
    """A running receiver with the connection `field`, and what it has written."""

    port: int
    engine: Engine
    log: Path
    process: subprocess.Popen[str]
    trusted: ssl.SSLContext | None = None

    def connect(self) -> socket.socket:
        """Connect, over TLS if the server does that."""
        client = self.connect_without_handshake()
        return client if self.trusted is None else self.trusted.wrap_socket(client, server_hostname="127.0.0.1")

    def connect_without_handshake(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def send(self, *parts: bytes) -> Answer | None:
        """Send bytes on a connection of their own, part by part, and read the answer; None if there is none."""
        with self.connect() as client:
            for part in parts:
                client.sendall(part)
            return read_answer(client)

    def push(self, body: bytes, query: str | None = None, path: str = "/push/field", headers: str = "") -> Answer:
        """Push `body`; the query is signed over a usual uplink unless another is given."""
        target = path if query == "" else f"{path}?{signed_query() if query is None else query}"
        answer = self.send(request(target, body, headers))
        assert answer is not None
        return answer

    def last_rejection(self):
        """Give the newest rejection; None if there is none."""
        with read(self.engine) as connection:
            return connection.execute(select(rejections).order_by(rejections.c.id.desc()).limit(1)).one_or_none()

    def last_report(self):
        with read(self.engine) as connection:
            return connection.execute(select(reports).order_by(reports.c.id.desc()).limit(1)).one_or_none()


def request(target: str, body: bytes = b"", headers: str = "", method: str = "POST") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: receiver\r\nConnection: close\r\n{headers}"
    if "content-length" not in headers.lower() and "transfer-encoding" not in headers.lower():
        head += f"Content-Length: {len(body)}\r\n"
    return head.encode("latin-1") + b"\r\n" + body


def read_answer(client: socket.socket) -> Answer | None:
    """Read one response to its end; None if the server closed the connection without one."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        chunk = client.recv(65536)
        if not chunk:
            return None
        received += chunk
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        chunk = client.recv(65536)
        assert chunk, "the answer breaks off"
        body += chunk
    undated = [line for line in lines if not line.lower().startswith("date:")]
    raw = "\r\n".join([status_line, *undated, "", ""]).encode("latin-1") + body
    return Answer(int(status_line.split()[1]), headers, body, raw)


def query_elements(**changed: str) -> dict[str, str]:
    """Give the five signed parameters of a push that is sent now."""
    return {
        "LrnDevEui": DEV_EUI,
        "LrnFPort": "1",
        "LrnInfos": "TWA_100000001.1.AS-1-1",
        "AS_ID": AS_ID,
        "Time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **changed,
    }


def signed_query(
    body_elements: str = f"{CUSTOMER_ID}{DEV_EUI}113aa27", *, key: str = TUNNEL_KEY, **changed: str
) -> str:
    """Give a query with its Token over `body_elements`: as documented, those of `uplink()` unless others are given."""
    elements = "&".join(f"{name}={value}" for name, value in query_elements(**changed).items())
    return f"{elements}&Token={sign_push(body_elements, query_elements=elements, key=key)}"


def uplink(**changed: object) -> bytes:
    """Give the body of a usual uplink in typed JSON, FPort 1, FCntUp 13, payload aa27."""
    members = {
        "DevEUI": DEV_EUI,
        "FPort": 1,
        "FCntUp": 13,
        "payload_hex": "aa27",
        "mic_hex": "5c00ad47",
        "CustomerID": CUSTOMER_ID,
        "DevAddr": "14C4CC04",
        **changed,
    }
    return json.dumps({"DevEUI_uplink": members}).encode()


@contextmanager
def serving(database_url: str, directory: Path, *, options: dict[str, object], tls: bool = False, **settings: object):
    """Run a server over the database; at the end it must stop by itself and must never have shown a traceback."""
    trusted = None
    if tls:
        cert, key = directory / "cert.pem", directory / "key.pem"
        make_self_signed_certificate(cert, key, datetime.now(UTC))
        trusted = ssl.create_default_context(cafile=cert)
        options = {**options, "certificate": [str(cert), str(key)]}
    engine = open_engine(database_url)
    if read_connections(engine) == 0:
        add_connection(
            engine,
            Keyring(KEK),
            datetime.now(UTC),
            name="field",
            platform="thingpark",
            as_id=AS_ID,
            tunnel_key=TUNNEL_KEY,
        )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER_")}
    environment |= {"RECEIVER_DATABASE_URL": database_url, "RECEIVER_KEK": KEK.hex(), "PYTHONPATH": str(ROOT)}
    environment |= {f"RECEIVER_{name.upper()}": str(value) for name, value in settings.items()}
    log = directory / "server.log"
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener, log.open("w") as output:
        command = [sys.executable, str(SERVE_ON_SOCKET), str(listener.fileno()), json.dumps(options)]
        with subprocess.Popen(
            command,
            pass_fds=[listener.fileno()],
            env=environment,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as process:
            port = listener.getsockname()[1]
            listener.close()
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "started\n", log.read_text()
                yield PushServer(port, engine, log, process, trusted)
            finally:
                process.send_signal(signal.SIGTERM)
                engine.dispose()
    assert process.returncode == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def read_connections(engine: Engine) -> int:
    with read(engine) as connection:
        return connection.scalar(select(func.count()).select_from(connections)) or 0
