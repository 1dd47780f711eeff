"""The gateway before a simulated KPN LoRa: access tokens with an end, a quota of requests, and its own errors.

Source: developer.kpn.com, authentication (the answer with a token, all of whose values are texts; the headers of the
quota); KPN LoRa Device Management API 1.2, `error`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from receiver.simulator.management_http import json_reply, read_query

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from random import Random

    from receiver.simulator.loopback_server import HttpReply, HttpRequest

TOKEN_PATH = "/oauth/client_credential/accesstoken"  # noqa: S105 - a path

MAX_TOKENS = 1_000
"""Access tokens that are in force at a time."""

_MINUTE = timedelta(minutes=1)

Headers = tuple[tuple[str, str], ...]


class SimulatedGateway:
    """Gives tokens for one client's id and secret, and counts its requests. Not for several threads at a time."""

    def __init__(
        self,
        random: Random,
        clock: Callable[[], datetime],
        client: tuple[str, str],
        token_life_s: int,
        quota_per_minute: int | None,
        retry_after_s: int | None,
    ) -> None:
        self.logins = 0
        self.tokens: dict[str, datetime] = {}
        self._random = random
        self._clock = clock
        self._client_id, self._client_secret = client
        self._token_life_s = token_life_s
        self._quota = quota_per_minute
        self._retry_after_s = retry_after_s
        self._from = clock()
        self._used = 0

    def give_token(self, request: HttpRequest) -> HttpReply:
        """Answer a request for a token: `grant_type` in the query, id and secret in a form."""
        self.logins += 1
        form = dict(parse_qsl(request.body.decode("latin-1"), keep_blank_values=True))
        wanted = {"client_id": self._client_id, "client_secret": self._client_secret}
        grant = read_query(request.query).get("grant_type")
        is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        if grant != "client_credentials" or not is_form or form != wanted:
            return json_reply(401, {"ErrorCode": "invalid_client", "Error": "Client credentials are invalid"})
        token = self._random.randbytes(16).hex()
        now = self._clock()
        self.tokens = {text: until for text, until in self.tokens.items() if until > now}
        if len(self.tokens) >= MAX_TOKENS:
            self.tokens.pop(next(iter(self.tokens)))
        self.tokens[token] = now + timedelta(seconds=self._token_life_s)
        texts = {
            "refresh_token_expires_in": "0",
            "api_product_list": "[LoRa Device Management]",
            "organization_name": "kpn",
            "developer.email": "someone@example.nl",
            "token_type": "Bearer",
            "issued_at": str(int(now.timestamp() * 1000)),
            "client_id": self._client_id,
            "access_token": token,
            "application_name": "application",
            "scope": "",
            "expires_in": str(self._token_life_s),
            "refresh_count": "0",
            "status": "approved",
        }
        return json_reply(200, texts)

    def stop_at(self, request: HttpRequest) -> HttpReply | None:
        """Give the answer to a request that does not come through: without a token, or above the quota."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        now = self._clock()
        until = self.tokens.get(token)
        if until is None or until <= now:
            return gateway_error(401, "Unauthorized", "Access token is not valid")
        if now - self._from >= _MINUTE:
            self._from, self._used = now, 0
        self._used += 1
        if self._quota is None or self._used <= self._quota:
            return None
        headers = () if self._retry_after_s is None else (("Retry-After", str(self._retry_after_s)),)
        return gateway_error(429, "Too many requests", "Quota exceeded", (*headers, *self.quota_headers()))

    def quota_headers(self) -> Headers:
        """Give the headers that say how much of the quota is used; none where there is no quota."""
        if self._quota is None:
            return ()
        return (
            ("quota-limit", str(self._quota)),
            ("quota-interval", "1"),
            ("quota-time-unit", "minute"),
            ("quota-used", str(self._used)),
            ("quota-reset-UTC", str(int((self._from + _MINUTE).timestamp() * 1000))),
        )


def gateway_error(status: int, name: str, message: str, headers: Headers = ()) -> HttpReply:
    """Give an error in the gateway's envelope."""
    members = {"transactionId": "0", "status": str(status), "name": name, "message": message, "info": ""}
    return json_reply(status, members, headers)
