"""The Device Manager API as on KPN, in a simulation: logins and sessions in front of ThingPark's resources.

    manager = SimulatedDeviceManager(ThingParkResources(lambda: now), clock=lambda: now)
    server = LoopbackServer()
    server.start(manager.answer)          # the login page, the back office and the API, all on one origin

A session is a cookie, and with `with_session_token` a parameter of each request besides. Data is given as JSON or XML.
Sources: KPN's Device Manager API page; ThingPark Device Manager contract 7.3, `Customers` and its cookie. That sessions
end is certain, after how long is not documented.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Protocol

from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.management_device_manager_login import SimulatedLogin, read_cookies
from receiver.simulator.management_http import MAX_ASKED, Asked, ManagementFaults, json_reply, read_query
from receiver.simulator.management_xml import JSON_TYPE, XML_TYPE, as_xml

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from receiver.simulator.loopback_server import HttpRequest

REST_PATH = "/thingpark/wireless/rest"
MOST_SESSIONS = 1000

_DATA = re.compile(rf"{REST_PATH}/subscriptions/([0-9]+|mine)(/[^?]*)?\Z")


class Resources(Protocol):
    """What stands behind the sessions: ThingPark's resources, which look at no login."""

    def answer(self, request: HttpRequest, subscription_path: str) -> HttpReply:
        """Answer a request; `subscription_path` is what follows the subscription, such as `/devices`."""
        ...


class SimulatedDeviceManager:
    """One subscriber's Device Manager. `login` has the account; `faults`: what goes wrong, also with logins."""

    def __init__(
        self,
        resources: Resources,
        *,
        clock: Callable[[], datetime],
        seed: int = 0,
        login: str = "user@example.com",
        password: str = "Right#1password",  # noqa: S107 - of a simulation
        subscriber_id: str = "100000001",
        module_id: str = "TPW_SUBS",
        subscription: str = "32",
        with_session_token: bool = True,
        session_life_s: float = 1800,
        host: str = "www.kpn-lora.com",
        page_fields: tuple[str, str] = ("login", "password"),
        has_escaped_address: bool = False,
        digest_algorithm: str = "MD5",
    ) -> None:
        self.login = SimulatedLogin(
            login=login,
            password=password,
            subscriber_id=subscriber_id,
            module_id=module_id,
            seed=seed,
            page_fields=page_fields,
            has_escaped_address=has_escaped_address,
            digest_algorithm=digest_algorithm,
        )
        self.faults = ManagementFaults()
        self.asked: deque[Asked] = deque(maxlen=MAX_ASKED)
        self.subscription_href = f"/subscriptions/{subscription}"
        self._resources = resources
        self._clock = clock
        self._subscription = subscription
        self._with_session_token = with_session_token
        self._session_life = timedelta(seconds=session_life_s)
        self._host = host
        self._sessions: dict[str, tuple[str, datetime]] = {}  # cookie: token, and when it ends
        self._chance = Random(f"{seed}/sessions")  # noqa: S311 - repeatable on purpose; it protects nothing
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"SimulatedDeviceManager({len(self._sessions)} sessions)"

    @property
    def sessions(self) -> int:
        """How many sessions there are, ended ones not counted."""
        return sum(until > self._clock() for _, until in self._sessions.values())

    def end_sessions(self) -> None:
        """End all sessions, as when the server is started anew."""
        with self._lock:
            self._sessions.clear()

    def answer(self, request: HttpRequest) -> HttpReply:
        """Answer a request."""
        with self._lock:
            fault = self.faults.take(request)
            reply = fault.reply if fault is not None else None
            if fault is None or fault.is_done:
                done = self._answer(request)
                reply = done if fault is None else reply
            reply = HttpReply(0, is_lost=True) if reply is None else reply
            query = read_query(request.query)
            asked = Asked(request.method, request.path, query, request.headers, request.body, reply.status)
            self.asked.append(asked)
            return reply

    def _answer(self, request: HttpRequest) -> HttpReply:
        login = self.login.answer(request, self._host)
        if login is not None:
            return login
        if not request.path.startswith(f"{REST_PATH}/"):
            return HttpReply(404)
        wanted = request.headers.get("accept", "")
        if wanted not in {JSON_TYPE, XML_TYPE}:
            return HttpReply(406)
        reply = self._answer_rest(request)
        return as_xml(reply, request.path.rstrip("/").rpartition("/")[2]) if wanted == XML_TYPE else reply

    def _answer_rest(self, request: HttpRequest) -> HttpReply:
        if (request.method, request.path) == ("GET", f"{REST_PATH}/customers"):
            return self._start(request)
        cookie = self._find_session(request)
        if cookie is None:
            return _error(401, "No session")
        if (request.method, request.path) == ("GET", f"{REST_PATH}/customers/logout"):
            del self._sessions[cookie]
            gone = (("Set-Cookie", "JSESSIONID=; Path=/; Max-Age=0"), ("Set-Cookie", "GLOBALTWA=; Path=/; Max-Age=0"))
            return json_reply(200, {}, gone)
        found = _DATA.match(request.path)
        if found is None or found[1] not in {self._subscription, "mine"}:
            return _error(400, "Subscription not found")
        return self._resources.answer(request, found[2] or "")

    def _start(self, request: HttpRequest) -> HttpReply:
        values = read_query(request.query)
        parameter = "userAccessCode" if "userAccessCode" in values else "adminAccessCode"
        is_good = self.login.take_access_code(parameter, values.get(parameter, ""))
        if not is_good or values.get("type") != "SUBSCRIBER":
            return _error(401, "Invalid access code")
        while len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        cookie, token = f"{self._chance.randbytes(8).hex()}.twa", self._chance.randbytes(16).hex()
        self._sessions[cookie] = (token, self._clock() + self._session_life)
        told: dict[str, object] = {
            "subscription": {"href": self.subscription_href, "grantedPermissions": ["x", "a"]},
            "previousConnection": 1577836800000,
            "thingparkPreviousBadConsecutivePwd": 0,
            "disclaimerRequired": False,
        }
        if parameter == "userAccessCode":
            told["user"] = {"firstName": "Ada", "lastName": "Vermeer", "language": "en-US"}
        if self._with_session_token:
            told["sessionToken"] = token
        cookies = (
            ("Set-Cookie", f"JSESSIONID={cookie}; Path=/; HttpOnly"),
            ("Set-Cookie", "GLOBALTWA=0; Path=/; Expires=Fri, 31 Dec 2100 23:59:59 GMT"),
        )
        return json_reply(200, told, cookies)

    def _find_session(self, request: HttpRequest) -> str | None:
        cookies = read_cookies(request)
        cookie = cookies.get("JSESSIONID", "")
        token, until = self._sessions.get(cookie, ("", self._clock()))
        if until <= self._clock() or cookies.get("GLOBALTWA") != "0":
            return None
        given = read_query(request.query).get("sessionToken", "")
        return cookie if not self._with_session_token or given == token else None


def _error(status: int, message: str) -> HttpReply:
    return json_reply(status, {"code": status, "message": message})
