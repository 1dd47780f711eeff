"""The parent's end of the process that runs JavaScript: starts it, writes to it, reads its lines, ends it.

Nothing here waits without a bound: each wait has a deadline of the monotonic clock. The process gets none of this one's
environment, which holds secrets, and none of its open files.
"""

from __future__ import annotations

import importlib.util
import os
import select
import subprocess
import sys
import time
from pathlib import Path

from receiver.errors import CodecEngineUnavailableError

OUTPUT_MAX_BYTES = 64 * 1024
"""Of JSON, for one result of a codec: many times what 242 bytes of a frame can mean."""

LINE_MAX_BYTES = 1 << 20
"""For one line of the process: three results and its sentences; a process that writes more is not what we started."""

START_TIMEOUT_S = 10.0
"""It takes a hundredth of a second; more on a machine that is out of breath."""

_PROGRAM = Path(__file__).with_name("engine_process.py")
_READ_BYTES = 1 << 16  # what a pipe of Linux holds


class ProcessGoneError(Exception):
    """The process has ended, or wrote what it never writes."""


class ProcessSilentError(Exception):
    """The process did not do it before the deadline."""


class EnginePipe:
    """One process that runs JavaScript.

    Raises:
        CodecEngineUnavailableError: it cannot be started.
    """

    def __init__(self) -> None:
        found = importlib.util.find_spec("_quickjs")
        if found is None or found.origin is None:
            raise CodecEngineUnavailableError("The package quickjs-ng is not installed; codecs in JavaScript need it.")
        command = [sys.executable, "-I", "-S", str(_PROGRAM), str(Path(found.origin).parent), str(OUTPUT_MAX_BYTES)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, by our own interpreter
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"TZ": "UTC"},
                start_new_session=True,
            )
        except OSError as exc:
            raise CodecEngineUnavailableError(f"The process that runs JavaScript cannot be started: {exc}.") from exc
        assert self._process.stdin is not None  # noqa: S101 - both are pipes, as asked
        assert self._process.stdout is not None  # noqa: S101
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._read: list[bytes] = []  # whole lines, the next one last
        self._rest = b""
        try:
            self.read_line(time.monotonic() + START_TIMEOUT_S)
        except (ProcessGoneError, ProcessSilentError) as exc:
            self.kill()
            raise CodecEngineUnavailableError("The process that runs JavaScript does not come up.") from exc

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def write(self, message: bytes, deadline: float) -> None:
        """Write all of it.

        Raises:
            ProcessGoneError: nobody reads it any more.
            ProcessSilentError: it was not read before the deadline.
        """
        left = memoryview(message)
        while left:
            try:
                left = left[os.write(self._in, left) :]
            except BlockingIOError:
                self._wait(self._in, select.POLLOUT, deadline)
            except OSError as exc:
                raise ProcessGoneError from exc

    def read_line(self, deadline: float) -> bytes:
        """Give the next line, without its end.

        Raises:
            ProcessGoneError: there will be none.
            ProcessSilentError: there was none before the deadline.
        """
        while not self._read:
            try:
                part = os.read(self._out, _READ_BYTES)
            except BlockingIOError:
                self._wait(self._out, select.POLLIN, deadline)
                continue
            *lines, self._rest = (self._rest + part).split(b"\n")
            self._read = lines[::-1]
            if not part or len(self._rest) > LINE_MAX_BYTES:
                raise ProcessGoneError
        return self._read.pop()

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.communicate()

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        left_s = deadline - time.monotonic()
        poll = select.poll()
        poll.register(descriptor, event)
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise ProcessSilentError
