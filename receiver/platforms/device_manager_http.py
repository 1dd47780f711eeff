"""Requests of a login and of a session's start and end: with the session's cookies, and with HTTP Digest if wanted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from receiver.errors import LoginRefusedError, NoAnswerError
from receiver.platforms.caller import told_of
from receiver.platforms.digest import answer_challenge, parse_challenge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.http_client import HttpAnswer, HttpClient
    from receiver.platforms.cookie_jar import CookieJar

PLATFORM = "The Device Manager"
"""Its name for people."""

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOST_STALE = 2
"""Answers to challenges of one request: the first, and one more if the server calls its nonce stale (RFC 7616)."""


class SessionHttp:
    """Sends the requests that log in. Each is sent once: what one of them did is not undone by another."""

    def __init__(self, http: HttpClient, jar: CookieJar) -> None:
        self.jar = jar
        self._http = http

    async def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> HttpAnswer:
        """Send a request and give the answer, unless it says to come again.

        Raises:
            NoAnswerError: nothing came, or that the server is away or busy.
        """
        cookies = self.jar.header(url)
        sent = {**headers, **({"Cookie": cookies} if cookies else {})}
        try:
            answer = await asyncio.wrap_future(self._http.start(method, url, sent, body))
        except NoAnswerError as exc:
            raise told_of(exc, "The login of the Device Manager", url, was_sent=False) from exc
        self.jar.take(url, answer.headers.get("set-cookie", ""))
        if answer.status in _BUSY:
            raise NoAnswerError(
                f"The login of the Device Manager is away or busy (status {answer.status}).", was_sent=False
            )
        return answer

    async def ask_by_digest(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, login: str, password: str
    ) -> HttpAnswer:
        """Send a request, and again with the answer to the server's challenge, if it has one.

        Raises:
            NoAnswerError: as `ask`.
            LoginRefusedError: there is no challenge of HTTP Digest, or none that can be answered.
        """
        answer = await self.ask(method, url, headers, body)
        parts = urlsplit(url)
        uri = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        for number in range(_MOST_STALE):
            if answer.status != 401:
                break
            challenge = parse_challenge(answer.headers.get("www-authenticate", ""))
            if challenge is None and not number:
                raise LoginRefusedError(
                    "The login asks for another proof than HTTP Digest (status 401): check the account's login_form."
                )
            if challenge is None or (number and not challenge.is_stale):
                break
            given = answer_challenge(challenge, method, uri, login, password)
            if not given.isascii():
                raise LoginRefusedError("The login's HTTP Digest has characters in it that no header can have.")
            answer = await self.ask(method, url, {**headers, "Authorization": given}, body)
        return answer
