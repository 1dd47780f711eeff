"""Keeps child processes alive: the servers and the worker of one `receiver serve`.

A child that dies is started again, with growing pauses if it dies at once. A child whose parent dies, even
by `kill -9`, ends by itself, so that no orphan keeps the port or the database.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess

STOP_WITHIN_S = 15.0
"""A server finishes its requests within 10 s, the worker its batch within one; then they are killed."""

LIVED_LONG_S = 10.0
"""A child that lived this long is started again at once."""

LONGEST_PAUSE_S = 10.0

_log = get_logger(__name__)
_context = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class _Child:
    name: str
    target: Callable[..., None]
    arguments: tuple[object, ...]
    process: SpawnProcess
    started_at: float
    pause_s: float = 0.0
    restart_at: float | None = None


class Supervisor:
    """Starts children, starts them again when they die, and stops them all."""

    def __init__(self) -> None:
        self._children: list[_Child] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        """Start `target(*arguments)` in a new process; both must be picklable."""
        self._children.append(_Child(name, target, arguments, _start(name, target, arguments), time.monotonic()))

    def watch(self) -> None:
        """Begin to watch over the children, in a thread."""
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopping.wait(0.1):
            for child in self._children:
                if not child.process.is_alive():
                    self._revive(child)

    def _revive(self, child: _Child) -> None:
        now = time.monotonic()
        if child.restart_at is None:
            lived_long = now - child.started_at > LIVED_LONG_S
            child.pause_s = 0.0 if lived_long else min(max(child.pause_s * 2, 0.5), LONGEST_PAUSE_S)
            child.restart_at = now + child.pause_s
            _log.error("child_died", child=child.name, exit_code=child.process.exitcode, again_in_s=child.pause_s)
        if now >= child.restart_at:
            child.restart_at = None
            child.started_at = now
            child.process = _start(child.name, child.target, child.arguments)

    def stop(self) -> None:
        """Tell all children to stop, wait for them, and kill those that do not."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        for child in self._children:
            if child.process.is_alive():
                child.process.terminate()
        deadline = time.monotonic() + STOP_WITHIN_S
        for child in self._children:
            child.process.join(max(0.0, deadline - time.monotonic()))
            if child.process.is_alive():
                child.process.kill()
                child.process.join()


def _start(name: str, target: Callable[..., None], arguments: tuple[object, ...]) -> SpawnProcess:
    process = _context.Process(target=target, args=arguments, name=name)
    process.start()
    return process


def end_with_parent() -> None:
    """Call it in a child: it gets SIGTERM as soon as its parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
