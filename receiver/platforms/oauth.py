"""Access tokens by OAuth client credentials: asked for once, kept, renewed before they end, and once after a refusal.

Three servers in use differ in where they want what: KPN's gateway wants `grant_type` in the query and writes all
values as strings; ThingPark's Keycloak wants a form; DX Admin wants all of it in the query. None gives refresh tokens.
Sources: KPN LoRa Device Management API 1.2, developer.kpn.com; ThingPark control plane, authentication; DX Admin.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlencode

from receiver.errors import LoginRefusedError, NoAnswerError
from receiver.platforms.caller import BusyError, retry_after_s, told_of
from receiver.platforms.calls import read_answer
from receiver.platforms.refusals import refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.http_client import HttpAnswer, HttpClient
    from receiver.platforms.calls import PlatformCall

RENEW_BEFORE_S = 60.0
"""At most; of a short life a tenth, as ThingPark's tokens usually live for 5 minutes."""
RENEW_BEFORE_SHARE = 0.1

USUAL_LIFE_S = 300.0
"""Of a token whose answer does not say: the shortest that is documented, ThingPark's."""

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class TokenForm(StrEnum):
    """Where a token server wants its values."""

    KPN_GATEWAY = "kpn-gateway"
    """`grant_type` in the query, id and secret in a form."""
    KEYCLOAK = "keycloak"
    """All of it in a form."""
    DX_ADMIN = "dx-admin"
    """`grant_type` in the query as well as id and secret."""


@dataclass(frozen=True, slots=True)
class OauthAccount:
    """Client credentials, and where and how they are exchanged for a token."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    form: TokenForm = TokenForm.KEYCLOAK


class BearerTokens:
    """The `Authorizer` of an OAuth account. For one event loop; of several who ask at a time one logs in."""

    def __init__(
        self,
        http: HttpClient,
        account: OauthAccount,
        platform: str,
        monotonic: Callable[[], float] = time.monotonic,
        lost_statuses: frozenset[int] = frozenset({401}),
    ) -> None:
        self.lost_statuses = lost_statuses
        self._http = http
        self._account = account
        self._platform = platform
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._token: str | None = None
        self._renew_at = 0.0
        self._is_proven = False

    def __repr__(self) -> str:
        return f"BearerTokens({self._platform}, {self._account.client_id!r})"

    async def dress(self, call: PlatformCall) -> PlatformCall:
        """Give the request with a token.

        Raises:
            LoginRefusedError: the server does not take the client's id and secret.
            NoAnswerError: it was not reached, or is busy.
        """
        async with self._lock:
            if self._token is None or self._monotonic() >= self._renew_at:
                await self._log_in()
            return call.with_headers(("Authorization", f"Bearer {self._token}"))

    async def renew(self, refused: PlatformCall) -> bool:
        """Forget the token of a refused request, unless it is another one by now; False: it was asked for just now."""
        async with self._lock:
            if dict(refused.headers).get("Authorization") != f"Bearer {self._token}":
                return True
            had_worked, self._token = self._is_proven, None
            return had_worked

    def hear(self, answer: HttpAnswer) -> None:
        """Note that the token is good."""
        if answer.status not in self.lost_statuses:
            self._is_proven = True

    async def _log_in(self) -> None:
        self._is_proven = False
        url, form = _write_request(self._account)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            answer = await asyncio.wrap_future(self._http.start("POST", url, headers, form.encode()))
        except NoAnswerError as exc:
            raise told_of(exc, f"The login of {self._platform}", url, was_sent=False) from exc
        if answer.status in _BUSY:
            raise BusyError(
                f"The login of {self._platform} is away or busy (status {answer.status}).",
                retry_after_s(answer) or 0.0,
                was_sent=False,
            )
        if answer.status != 200:
            raise LoginRefusedError(
                f"The login of {self._platform} does not take this account."
                f" {refusal_of(self._platform, answer, [self._account.client_secret])}".rstrip()
            )
        members = read_answer(answer).members
        token = members.text("access_token")
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise LoginRefusedError(
                f"The login of {self._platform} answered without a token in it: the token URL is another one."
            )
        life_s = members.number("expires_in")
        if life_s is None or life_s <= 0:
            life_s = USUAL_LIFE_S
        self._token = token
        self._renew_at = self._monotonic() + life_s - min(RENEW_BEFORE_S, life_s * RENEW_BEFORE_SHARE)


def _write_request(account: OauthAccount) -> tuple[str, str]:
    grant = ("grant_type", "client_credentials")
    client = (("client_id", account.client_id), ("client_secret", account.client_secret))
    match account.form:
        case TokenForm.KPN_GATEWAY:
            return f"{account.token_url}?{urlencode([grant])}", urlencode(client, quote_via=quote_plus)
        case TokenForm.DX_ADMIN:
            return f"{account.token_url}?{urlencode([grant, *client])}", ""
        case TokenForm.KEYCLOAK:
            return account.token_url, urlencode([grant, *client], quote_via=quote_plus)
