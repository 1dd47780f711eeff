"""The only way out over HTTP: TLS always verified, redirects never followed, time, connections and answers bounded.

A client's requests run on an event loop of its own in a thread of its own. So each has one deadline for all of it,
which a blocking client cannot hold: a server that sends a byte now and then would keep it for ever.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from receiver import __version__
from receiver.errors import GivenUpError, NoAnswerError, SettingsError, UnreachedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Self

USER_AGENT = f"lora-receiver/{__version__}"

CONNECT_S = 5.0
"""For name, connection and TLS: far more than any server needs that is there."""

WHOLE_S = 15.0
"""From the first byte out to the last byte in. Standard Webhooks recommends 15 to 30 s for a request."""

BODY_BYTES = 8192
"""Of an answer: enough for any sentence that says what was wrong. More is not read."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server answered; header names are in lower case, and `body` is cut at the client's bound."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpBounds:
    """How long a request may take, how many are under way at a time, and how much of an answer is read."""

    connect_s: float = CONNECT_S
    whole_s: float = WHOLE_S
    at_once: int = 8
    body_bytes: int = BODY_BYTES


def tls_context(
    ca_file: Path | str | None, cert_file: Path | str | None = None, key_file: Path | str | None = None
) -> ssl.SSLContext:
    """Give what verifies a server's certificate and name: by the system's authorities, or by those in `ca_file` alone.

    Raises:
        SettingsError: a file cannot be read or does not hold certificates.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as exc:
        raise SettingsError(f"The CA file {ca_file} cannot be used: it must hold certificates as PEM.") from exc
    if cert_file is not None:
        try:
            context.load_cert_chain(cert_file, key_file)
        except (OSError, ssl.SSLError) as exc:
            raise SettingsError(
                f"The client certificate {cert_file} cannot be used: it and its key must be PEM, the key without a"
                " passphrase."
            ) from exc
    return context


class HttpClient:
    """Sends requests, several at once, over connections that are kept. Any thread may use it."""

    def __init__(self, context: ssl.SSLContext | None = None, bounds: HttpBounds | None = None) -> None:
        """Connect to nothing yet; without a `context` the system's authorities are asked."""
        self._bounds = bounds or HttpBounds()
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._client: httpx.AsyncClient | None = None
        self._room = asyncio.Semaphore(self._bounds.at_once)
        self._closing = threading.Lock()  # so that what was begun before the end is known to whoever makes it
        self._is_closed = False
        self._under_way: set[asyncio.Task[HttpAnswer]] = set()
        self._thread = threading.Thread(target=self._run, name="http-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def start(self, method: str, url: str, headers: Mapping[str, str], content: bytes = b"") -> Future[HttpAnswer]:
        """Begin a request. The future gives the answer, whatever its status, or raises `NoAnswerError`.

        It always comes to one of these: `GivenUpError` where the client was closed before or meanwhile.
        """
        with self._closing:
            if not self._is_closed:
                return asyncio.run_coroutine_threadsafe(self._begin(method, url, headers, content), self._loop)
        refused: Future[HttpAnswer] = Future()
        refused.set_exception(GivenUpError("It was not sent: what sends is being stopped.", was_sent=False))
        return refused

    def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes = b"") -> HttpAnswer:
        """Send a request and give the answer, whatever its status.

        Raises:
            NoAnswerError: the server was not reached, or the answer did not come in time. The sentence has no URL.
        """
        return self.start(method, url, headers, content).result()

    def close(self) -> None:
        """Give up what is under way and close the connections."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._close())  # all requests were begun before it, and took a first step
        finally:
            self._loop.close()

    async def _close(self) -> None:
        # Only these: anyio cancels the tasks below them, and one of its own that is cancelled before its first step
        # leaves a coroutine behind that was never awaited.
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=self._context or tls_context(None),
                timeout=httpx.Timeout(self._bounds.whole_s, connect=self._bounds.connect_s),
                limits=httpx.Limits(max_connections=self._bounds.at_once),
                follow_redirects=False,
                trust_env=False,  # a proxy or a netrc file of the environment would see what is sent
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},  # small bytes must not become many
            )
        return self._client

    async def _begin(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> HttpAnswer:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of an event loop
        self._under_way.add(task)
        try:
            return await self._send(method, url, headers, content)
        finally:
            self._under_way.discard(task)

    async def _send(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> HttpAnswer:
        is_sent = False
        try:
            async with self._room:
                is_sent = True
                return await self._ask_in_time(method, url, headers, content)
        except asyncio.CancelledError:
            if not self._is_closed:  # who waits for it has given it up
                raise
            raise GivenUpError("It was given up: what sends is being stopped.", was_sent=is_sent) from None

    async def _ask_in_time(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> HttpAnswer:
        try:
            async with asyncio.timeout(self._bounds.whole_s):
                return await self._ask(method, url, headers, content)
        except TimeoutError as exc:
            raise NoAnswerError(f"No answer came within {self._bounds.whole_s:g} s.", was_sent=True) from exc
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise UnreachedError(f"It cannot be reached: {self._reason_of_connecting(exc)}.", was_sent=False) from exc
        except httpx.HTTPError as exc:
            raise NoAnswerError(f"The answer was lost: {_reason(exc)}.", was_sent=True) from exc

    def _reason_of_connecting(self, exc: httpx.TransportError) -> str:
        if isinstance(exc, httpx.ConnectTimeout):
            return f"no connection came about within {self._bounds.connect_s:g} s"
        for cause in _causes(exc):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return (
                    "its certificate is not trusted here (certificate verify failed:"
                    f" {cause.verify_message.rstrip('.')}); is the URL the right one, and is no proxy in between that"
                    " opens TLS"
                )
            if isinstance(cause, socket.gaierror):
                return f"its name is not known ({cause.strerror or _reason(cause)})"
            if isinstance(cause, OSError) and cause.errno is not None:
                return os.strerror(cause.errno).lower()
        return _reason(exc)

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> HttpAnswer:
        async with self._opened().stream(method, url, headers=headers, content=content) as response:
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) >= self._bounds.body_bytes:
                    break
            return HttpAnswer(response.status_code, dict(response.headers), bytes(body[: self._bounds.body_bytes]))


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Give what an error came of, the nearest first; of a group of them, the first."""
    cause: BaseException | None = exc
    while cause is not None:
        yield cause
        inner = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else None
        cause = inner or cause.__cause__ or cause.__context__


def _reason(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0].rstrip(".")
