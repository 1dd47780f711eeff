"""Two server processes beside one, on PostgreSQL: what `receiver serve --workers 2` brings.

    python -m benchmarks.workers [--seconds 5] [--rounds 3] [--share 0.3]

Where there are no more cores than load, server and database need, two processes cannot be quicker than one. So where
this machine lets it (Linux control groups, as root), each server process is also held to a share of a core, as if the
machine had more of them: what then grows is the servers' part, and what does not is what they share.
"""

from __future__ import annotations

import argparse
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.rig import Result, Server, fresh_database, load, postgresql, print_table, receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIOD_US = 10_000
GROUPS = Path("/sys/fs/cgroup/cpu")
"""Version 1 of control groups; elsewhere only the figures without a share are measured."""


def main() -> None:
    """Measure and print a table for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.3, help="of a core, for each server process")
    options = parser.parse_args()
    key = secrets.token_hex(16)
    shares = [None, options.share] if (GROUPS / "cpu.cfs_quota_us").exists() else [None]
    tables: dict[float | None, dict[str, list[Result]]] = {share: {} for share in shares}
    with postgresql() as database:
        for _ in range(options.rounds):
            for share, rows in tables.items():
                for workers in (1, 2):
                    with (
                        receiver(key, fresh_database(database.get_uri()), workers=workers) as server,
                        _held_to(share, server, workers),
                    ):
                        rows.setdefault(_name(workers), []).append(load(server, key, options.seconds))
    for share, rows in tables.items():
        print(f"**{'as many cores as there are' if share is None else f'{share:g} of a core for each process'}**\n")
        print_table(rows, _name(1), _name(1))


def _name(workers: int) -> str:
    return "one process" if workers == 1 else f"{workers} processes"


@contextmanager
def _held_to(share: float | None, server: Server, workers: int) -> Iterator[None]:
    if share is None:
        yield
        return
    parent = psutil.Process(server.process.pid)
    processes = [parent] if workers == 1 else [child for child in parent.children() if _is_server(child)]
    assert len(processes) == workers, processes
    groups = [GROUPS / f"receiver-bench-{process.pid}" for process in processes]
    try:
        for group, process in zip(groups, processes, strict=True):
            group.mkdir()
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(int(PERIOD_US * share)))
            (group / "cgroup.procs").write_text(str(process.pid))
        yield
    finally:
        for group in groups:
            for pid in (group / "cgroup.procs").read_text().split():
                (GROUPS / "cgroup.procs").write_text(pid)
            group.rmdir()


def _is_server(process: psutil.Process) -> bool:
    return "spawn_main" in " ".join(process.cmdline())


if __name__ == "__main__":
    main()
