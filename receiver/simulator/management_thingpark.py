"""A whole simulated ThingPark: tokens of Keycloak and DX Admin, the Device Manager API, DX Core, on one origin.

    thingpark = SimulatedThingPark(clock=lambda: now)
    server = LoopbackServer(max_body_bytes=MAX_MANAGEMENT_BODY_BYTES)
    server.start(thingpark.answer)
    account = thingpark.settings(server.origin)          # the settings of an account there; its secret is CLIENT_SECRET
    network = thingpark.resources.network_of("TWA_199983788.2001.AS")

Sources: ThingPark control plane, authentication; Keycloak's token endpoint; DX Admin; Device Manager contract 7.3.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.lrc import V1_PATH, V2_PATH
from receiver.simulator.management_http import MAX_ASKED, Asked, ManagementFaults, json_reply, read_query
from receiver.simulator.management_thingpark_book import OTHER_ERROR, REST_PATH
from receiver.simulator.management_thingpark_dx import SimulatedDxCore
from receiver.simulator.management_thingpark_resources import ThingParkResources

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from receiver.lorawan.keys import AesKey
    from receiver.simulator.loopback_server import HttpRequest
    from receiver.simulator.lrc import SimulatedLrc
    from receiver.simulator.network import SimulatedNetwork

TOKEN_PATH = "/users-auth/protocol/openid-connect/token"  # noqa: S105 - a path
DX_TOKEN_PATH = "/thingpark/dx/admin/latest/api/oauth/token"  # noqa: S105 - a path
DX_CORE_PATH = "/thingpark/dx/core/latest/api"

CLIENT_ID = "sub-199983788/receiver"
CLIENT_SECRET = "simulated-secret"  # noqa: S105 - of a simulation
"""Of the one service account."""

TOKEN_LIFE_S = 300
"""As Keycloak at ThingPark gives it."""

MAX_TOKENS = 1_000
"""In force at a time."""

_SUBSCRIPTION = re.compile(rf"{REST_PATH}/subscriptions/([^/]+)(/.*)?\Z")


class SimulatedThingPark:
    """One subscription with one service account. `asked` are the requests, logins left out; `faults` takes orders.

    Args:
        clock: gives the aware time.
        seed: of everything that is drawn.
        client_id, client_secret: of the service account, which DX Admin takes as well.
        token_life_s: how long tokens are good.
        number, subscriber_id, mode: of the subscription, as `ThingParkResources`.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        seed: int = 0,
        client_id: str = CLIENT_ID,
        client_secret: str = CLIENT_SECRET,
        token_life_s: int = TOKEN_LIFE_S,
        number: int = 32,
        subscriber_id: str = "199983788",
        mode: str = "BASIC",
    ) -> None:
        self.resources = ThingParkResources(clock, seed=seed, number=number, subscriber_id=subscriber_id, mode=mode)
        self.dx_core = SimulatedDxCore(self.resources.book)
        self.rules = self.resources.rules
        self.asked: deque[Asked] = deque(maxlen=MAX_ASKED)
        self.faults = ManagementFaults()
        self.logins = 0
        self.lrc: SimulatedLrc | None = None
        """Takes downlinks on this origin as well, once there is one: `SimulatedLrc(thingpark.network_of(…))`."""
        self._clock = clock
        self._client = client_id, client_secret
        self._token_life = timedelta(seconds=token_life_s)
        self._tokens: dict[str, tuple[datetime, bool]] = {}

    def __repr__(self) -> str:
        book = self.resources.book
        return f"SimulatedThingPark({len(book.app_servers)} application servers, {len(book.devices)} devices)"

    def settings(self, origin: str) -> dict[str, str]:
        """Give the settings of an account here, as `thingpark account add` takes them."""
        return {
            "client_id": self._client[0],
            "api_url": f"{origin}{REST_PATH}",
            "token_url": f"{origin}{TOKEN_PATH}",
            "dx_core_url": f"{origin}{DX_CORE_PATH}",
            "downlink_url": f"{origin}{V2_PATH}",
        }

    def network_of(self, app_server: str, as_transport_key: AesKey | None = None) -> SimulatedNetwork:
        """Give the network that pushes to an application server, as `ThingParkResources.network_of`."""
        return self.resources.network_of(app_server, as_transport_key)

    def revoke_tokens(self) -> None:
        """Take back all tokens."""
        with self.resources.lock:
            self._tokens.clear()

    def answer(self, request: HttpRequest) -> HttpReply:
        """Answer a request to any of its APIs."""
        if self.lrc is not None and request.path in {V1_PATH, V2_PATH}:
            return self.lrc.answer(request)
        with self.resources.lock:
            if request.path in {TOKEN_PATH, DX_TOKEN_PATH}:
                return self._log_in(request)
            fault = self.faults.take(request)
            if fault is not None and not fault.is_done:
                reply = fault.reply or HttpReply(503, is_lost=True)
            else:
                reply = self._answer(request)
                if fault is not None:
                    reply = fault.reply or reply._replace(is_lost=True)
            status = 0 if reply.is_lost else reply.status
            query = read_query(request.query)
            self.asked.append(Asked(request.method, request.path, query, request.headers, request.body, status))
            return reply

    def _answer(self, request: HttpRequest) -> HttpReply:
        is_dx = request.path.startswith(f"{DX_CORE_PATH}/")
        if not self._is_logged_in(request, is_dx=is_dx):
            return json_reply(401, {"code": 401 if is_dx else OTHER_ERROR, "message": "Unauthorized"})
        if is_dx:
            return self.dx_core.answer(request, request.path.removeprefix(DX_CORE_PATH))
        found = _SUBSCRIPTION.match(request.path)
        if found is None:
            return json_reply(404, {"code": OTHER_ERROR, "message": "Resource not found"})
        if found[1] not in {"mine", str(self.resources.book.number)}:
            return json_reply(403, {"code": OTHER_ERROR, "message": "Access denied"})
        return self.resources.answer(request, found[2] or "")

    def _is_logged_in(self, request: HttpRequest, *, is_dx: bool) -> bool:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        until, is_of_dx = self._tokens.get(token, (None, False))
        if until is None or until <= self._clock():
            return False
        return is_dx or not is_of_dx or self.rules.dx_tokens_open_rest

    def _log_in(self, request: HttpRequest) -> HttpReply:
        is_dx = request.path == DX_TOKEN_PATH
        if request.method != "POST":
            return json_reply(405)
        values = _values_of(request, query_too=is_dx)
        if values.get("grant_type") != "client_credentials":
            return json_reply(400, {"error": "unsupported_grant_type", "error_description": "Unsupported grant_type"})
        if (values.get("client_id"), values.get("client_secret")) != self._client:
            if is_dx:
                return json_reply(401, {"code": 401, "message": "Bad credentials"})
            return json_reply(
                401,
                {"error": "unauthorized_client", "error_description": "Invalid client or Invalid client credentials"},
            )
        self.logins += 1
        token = self._new_token(is_dx=is_dx)
        life_s = int(self._token_life.total_seconds())
        answer: dict[str, object] = {"access_token": token, "expires_in": life_s, "token_type": "Bearer"}
        if is_dx:
            return json_reply(
                200, answer | {"scope": "SUBSCRIBER:4231", "jti": "simulated", "client_id": self._client[0]}
            )
        return json_reply(200, answer | {"refresh_expires_in": 0, "not-before-policy": 0, "scope": "email profile"})

    def _new_token(self, *, is_dx: bool) -> str:
        until = self._clock() + self._token_life
        claims = {"exp": int(until.timestamp()), "azp": self._client[0], "jti": self.resources.book.draw_hex(32)}
        parts = ({"alg": "RS256", "typ": "JWT"}, claims)
        texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
        token = ".".join([*texts, self.resources.book.draw_hex(64)])
        while len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[token] = until, is_dx
        return token


def _values_of(request: HttpRequest, *, query_too: bool) -> dict[str, str]:
    """Give a token request's values: of its form, of HTTP Basic, and at DX Admin of its query."""
    values = {name: of_it[0] for name, of_it in parse_qs(request.body.decode("utf-8", "replace")).items()}
    if query_too:
        values = {**read_query(request.query), **values}
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return values
        values |= {"client_id": unquote(client_id), "client_secret": unquote(secret)}
    return values
