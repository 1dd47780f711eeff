"""Runs the application on a listening socket until told to stop: uvicorn with uvloop and httptools."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from receiver.errors import SettingsError
from receiver.web.admission import HANDSHAKE_TIMEOUT_S, admitting
from receiver.web.memory import give_back_memory
from receiver.web.protocol import BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

    from receiver.web.tls import ServerCertificate

BACKLOG = 2048
"""Connections that wait to be accepted: the network opens a new one for each push, in bursts."""

SWITCH_INTERVAL_S = 0.0002
"""How long the event loop may keep the inbox's writer waiting for the interpreter's lock. Python's 5 ms would make
the two take turns: the disk idle while pushes are verified, and the loop idle while they are committed."""

COLLECT_AFTER = 50_000
"""How many more containers than before are looked through for circles. A push leaves none, and Python's 700 would have
all that wait looked through again and again once thousands do: a tenth of the rate then."""

KEEP_ALIVE_S = 30
"""How long a connection may be silent after an answer."""

STOP_WITHIN_S = 10
"""For requests under way when told to stop; longer than any commit."""


OPEN_FILES = 16_384
"""Asked for at the start: four times the connections that are taken unless set otherwise."""


def listen(host: str, port: int) -> socket.socket:
    """Give a listening socket; port 0 takes a free one.

    Raises:
        SettingsError: the address cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # On IPv6's "all" address, also take IPv4.
        dual = family == socket.AF_INET6 and host in {"::", ""} and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=False, dualstack_ipv6=dual)
    except OSError as exc:
        raise SettingsError(f"{host}:{port} cannot be listened on: {exc.strerror or exc}.") from exc


def run_server(
    app: ASGIApp,
    listener: socket.socket,
    certificate: ServerCertificate | None,
    on_started: Callable[[], None] | None = None,
    protocol: type[BoundedProtocol] = BoundedProtocol,
    keep_alive_s: int = KEEP_ALIVE_S,
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first."""
    config = uvicorn.Config(
        app,
        http=admitting(protocol, certificate.context if certificate else None, handshake_timeout_s),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=STOP_WITHIN_S,
    )
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(COLLECT_AFTER)
    _raise_open_files_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(_Server(config), listener, certificate, on_started))


def _raise_open_files_limit() -> None:
    """Each connection is an open file, and the usual limit of a process is 1,024 of as many as it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # then the limit stays, and connections beyond it wait
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    """Returns after a signal. uvicorn raises it once more, and the caller would die before it could clean up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            self._captured_signals.clear()


async def _serve(
    server: uvicorn.Server,
    listener: socket.socket,
    certificate: ServerCertificate | None,
    on_started: Callable[[], None] | None,
) -> None:
    watches = [asyncio.create_task(give_back_memory(partial(_count_most, server, certificate)))]
    if certificate is not None:
        watches.append(asyncio.create_task(certificate.watch()))
    if on_started is not None:
        watches.append(asyncio.create_task(_tell_started(server, on_started)))
    try:
        await server.serve(sockets=[listener])
    finally:
        for watch in watches:
            watch.cancel()


def _count_most(server: uvicorn.Server, certificate: ServerCertificate | None) -> int:
    return len(server.server_state.connections) if certificate is None else certificate.context.count_most()


async def _tell_started(server: uvicorn.Server, on_started: Callable[[], None]) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    on_started()
