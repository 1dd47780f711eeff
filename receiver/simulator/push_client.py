"""Delivers pushes over HTTP(S) as the network does: a connection for each push, no queue, no second try.

It can make a lot of traffic, so it sends to this machine only unless it is told otherwise.
Source: ThingPark LRC–AS tunnel interface, delivery (SEQUENTIAL and BLAST routes; a 2xx is success).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import httpx

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from receiver.simulator.push import Push

DEFAULT_TIMEOUT_S = 10.0
"""The network's own is not published; an answer should take far less than a second."""


class Strategy(StrEnum):
    """What a network does with the URLs of a route."""

    SEQUENTIAL = "sequential"
    """One after the other, until the first 2xx."""
    BLAST = "blast"
    """All of them, always."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one URL (given without its query) answered: a status, or why there is none, in words."""

    url: str
    status: int | None
    elapsed_s: float
    error: str | None = None

    @property
    def is_success(self) -> bool:
        """The network counts the push as delivered by this answer."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Delivery:
    """A push and the answers to it, in the order of the URLs; sequential stops at the first success."""

    push: Push
    answers: tuple[Answer, ...]

    @property
    def was_accepted(self) -> bool:
        """At least one URL took it."""
        return any(answer.is_success for answer in self.answers)

    @property
    def is_as_expected(self) -> bool:
        """It was accepted, or it was refused by an answer and should have been."""
        if self.push.should_be_accepted:
            return self.was_accepted
        return all(answer.status is not None and not answer.is_success for answer in self.answers)


class PushClient:
    """Posts each push to the URLs of one route.

        async with PushClient(["https://127.0.0.1:8443/push/field"], ca_file=certificate) as client:
            delivery = await client.deliver(push)

    TLS is verified against `ca_file` (a CA's certificate, or the server's own if that is self-signed), else
    against the system's. A push is never tried again. Only `SettingsError` is raised, by the constructor:
    whatever happens to a push is in its `Delivery`.

    Args:
        urls: of one route, in order; each may have a query of its own.
        strategy: sequential, or blast.
        ca_file: PEM certificates to trust instead of the system's.
        insecure: no verification of TLS; for loopback addresses only.
        allow_remote: send to hosts other than this one.
        timeout_s: for connecting, and again for the answer.

    Raises:
        SettingsError: no URL, a URL that is none, a host that may not be sent to, or an unreadable `ca_file`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        strategy: Strategy = Strategy.SEQUENTIAL,
        ca_file: Path | None = None,
        insecure: bool = False,
        allow_remote: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        if not urls:
            raise SettingsError("A simulated network needs at least one URL to push to.")
        for url in urls:
            _check_url(url, allow_remote=allow_remote, insecure=insecure)
        self._urls = tuple(urls)
        self._strategy = strategy
        self._client = httpx.AsyncClient(
            verify=_tls_context(ca_file, insecure=insecure),
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,  # a proxy of the environment would change what is tested
        )
        for name in ("Accept-Encoding", "Accept", "User-Agent", "Connection"):
            self._client.headers.pop(name, None)  # the push brings the network's own

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    async def deliver(self, push: Push) -> Delivery:
        """Send `push` to the URLs by the strategy, and give what they answered."""
        if self._strategy is Strategy.BLAST:
            return Delivery(push, tuple(await asyncio.gather(*(self._post(url, push) for url in self._urls))))
        answers: list[Answer] = []
        for url in self._urls:
            answers.append(await self._post(url, push))
            if answers[-1].is_success:
                break
        return Delivery(push, tuple(answers))

    async def _post(self, url: str, push: Push) -> Answer:
        shown = url.partition("?")[0]
        started = time.perf_counter()
        try:
            response = await self._client.post(push.url(url), content=push.body, headers=push.headers)
        except httpx.HTTPError as exc:
            return Answer(shown, None, time.perf_counter() - started, explain_failure(exc))
        return Answer(shown, response.status_code, time.perf_counter() - started)


def explain_failure(error: httpx.HTTPError) -> str:
    """Say in words why there was no answer. The URL with its token is not part of it."""
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return "no connection within the time-out"
        case httpx.TimeoutException():
            return "no answer within the time-out"
        case httpx.ConnectError():
            text = str(error)
            if "CERTIFICATE_VERIFY_FAILED" in text:
                return "the server's certificate is not trusted (name its file with --ca-file)"
            if "SSL" in text:
                return "the TLS handshake failed; is it an https server?"
            return "connection refused or host not found"
        case httpx.RemoteProtocolError() | httpx.ReadError() | httpx.WriteError():
            return "the server broke the connection off before it answered"
        case _:
            return f"it could not be sent ({type(error).__name__})"


def is_loopback(host: str) -> bool:
    """Say whether `host` names this machine: a loopback address, or `localhost` and names under it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761 section 6.3


def _check_url(url: str, *, allow_remote: bool, insecure: bool) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as exc:
        raise SettingsError(f"{url!r} is not a URL.") from exc
    if parts.scheme not in {"http", "https"} or not host:
        raise SettingsError(f"{url!r} is not an http or https URL, such as https://127.0.0.1:8443/push/field.")
    if is_loopback(host):
        return
    if not allow_remote:
        raise SettingsError(
            f"{host} is another machine, and a simulated network loads what it pushes to:"
            " give --allow-remote if it is yours."
        )
    if insecure:
        raise SettingsError(
            f"TLS to {host} is verified: --insecure is for this machine only. Name its certificate with --ca-file."
        )


def _tls_context(ca_file: Path | None, *, insecure: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise SettingsError(f"{ca_file} holds no certificate in PEM form that can be read.") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
