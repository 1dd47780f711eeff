"""A session of the Device Manager API: log in, start it, send its cookies and token, begin anew when lost, log out.

    session = DeviceManagerSession(http, account)
    caller = PlatformCaller(http, account.api_url, PLATFORM, session)
    started = await session.start()
    client = ThingParkClient(caller, subscription=started.subscription)
    …
    await session.log_out()

The data calls are those of ThingPark's Device Manager contract; only how they are logged in is this module's. A
refused password is not sent again: this session answers every further call with the same refusal, and `on_rejected`
lets the caller remember it for other processes.
Sources: KPN's Device Manager API page; ThingPark Device Manager contract 7.3, `Customers`; public scripts and clients.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from receiver.errors import LoginRefusedError, NoAnswerError
from receiver.platforms.calls import PlatformCall, read_answer
from receiver.platforms.cookie_jar import CookieJar
from receiver.platforms.device_manager_account import Answers
from receiver.platforms.device_manager_http import PLATFORM, SessionHttp
from receiver.platforms.device_manager_login import fetch_access_code
from receiver.platforms.device_manager_refusals import RejectedLoginError
from receiver.platforms.refusals import refusal_in, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from receiver.http_client import HttpAnswer, HttpClient
    from receiver.platforms.device_manager_account import DeviceManagerAccount
    from receiver.platforms.members import Members

LOST = frozenset({401, 403})
"""What says that a session has ended. How it does, and after how long, is not documented; of one that was never good
for anything they mean what they say."""

MOST_RENEWALS = 5
RENEWALS_WITHIN_S = 600.0
"""New logins in place of lost sessions: more within ten minutes are not made. Where an account may not do something,
each refusal looks like a lost session, and a network sees that as an attack on its login."""

FAILURE_KEPT_S = 30.0
"""So long a login that failed in another way than by a refusal is the answer for all who ask."""

_SUBSCRIPTION = re.compile(r"(?:^|/)subscriptions/([A-Za-z0-9._-]{1,100})/?\Z")
_REST_PATH = "/thingpark/wireless/rest"


@dataclass(frozen=True, slots=True)
class StartedSession:
    """What the start of a session told. `subscription` continues `/subscriptions/` in paths of data calls.

    `granted_permissions`: x reads, a writes; ra, rc and s1 are not documented. `bad_passwords`: in a row before this
    login. The token is None where the operator wants none.
    """

    subscription: str
    granted_permissions: tuple[str, ...]
    session_token: str | None = field(repr=False)
    first_name: str | None
    last_name: str | None
    previous_connection_at: datetime | None
    bad_passwords: int | None
    disclaimer: str | None
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _DressedCall(PlatformCall):
    """A request of a session. Its cookies do not tell which: a refusal may come with new ones."""

    session_number: int = 0


class DeviceManagerSession:
    """The `Authorizer` of an account of the Device Manager API. For one event loop; of several who ask one logs in.

    Args:
        http: what sends.
        account: how to log in.
        rejection: what the network said of this very login and password before; they are not sent then.
        on_rejected: told the sentence when the network refuses them, so that other processes know.
        monotonic: the clock.
    """

    def __init__(
        self,
        http: HttpClient,
        account: DeviceManagerAccount,
        *,
        rejection: str | None = None,
        on_rejected: Callable[[str], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lost_statuses = LOST
        self.account = account
        self._http = http
        self._on_rejected = on_rejected
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._jar = CookieJar()
        self._started: StartedSession | None = None
        self._number = 0
        self._is_proven = False
        self._renewals: deque[float] = deque(maxlen=MOST_RENEWALS)
        self._failure: LoginRefusedError | None = RejectedLoginError(rejection) if rejection else None
        self._failed_at = 0.0

    def __repr__(self) -> str:
        return f"DeviceManagerSession({self.account.login!r}, {self.account.api_url})"

    async def start(self) -> StartedSession:
        """Log in, unless that is done, and give what the start of the session told.

        Raises:
            RejectedLoginError: the login is refused, now or before; it is not tried again.
            LoginRefusedError: the login is not what the account's settings say.
            NoAnswerError: the network was not reached, or is busy.
        """
        async with self._lock:
            return await self._get()

    async def dress(self, call: PlatformCall) -> PlatformCall:
        """Give the request with the session's cookies, its token if it has one, and the media type of the account.

        Raises:
            LoginRefusedError, NoAnswerError: as `start`.
        """
        async with self._lock:
            started = await self._get()
            cookies = self._jar.header(self.account.api_url + call.path)
            token = started.session_token
            is_xml = self.account.answers is Answers.XML and call.accept == Answers.JSON.media_type
            return _DressedCall(
                method=call.method,
                path=call.path,
                query=(*call.query, *([("sessionToken", token)] if token is not None else [])),
                body=call.body,
                headers=(*call.headers, *([("Cookie", cookies)] if cookies else [])),
                accept=Answers.XML.media_type if is_xml else call.accept,
                content_type=call.content_type,
                session_number=self._number,
            )

    async def renew(self, refused: PlatformCall) -> bool:
        """Log in once more after a session that had worked was refused; False: it never had, or this is too often.

        Raises:
            LoginRefusedError, NoAnswerError: as `start`.
        """
        async with self._lock:
            if isinstance(refused, _DressedCall) and refused.session_number != self._number:
                return True  # somebody else did it meanwhile
            now = self._monotonic()
            is_often = len(self._renewals) == MOST_RENEWALS and now - self._renewals[0] < RENEWALS_WITHIN_S
            if not self._is_proven or is_often:
                return False
            self._renewals.append(now)
            self._forget()
            await self._get()
            return True

    def hear(self, answer: HttpAnswer) -> None:
        """Keep the cookies of an answer, and note that the session is good."""
        self._jar.take(self.account.api_url, answer.headers.get("set-cookie", ""))
        if not 300 <= answer.status < 400 and answer.status < 500 and answer.status not in LOST:
            self._is_proven = True

    async def log_out(self) -> bool:
        """End the session at the network, if there is one; False: it did not say that it is done, and ends by itself.

        Nothing is raised: whatever was to be done is done.
        """
        async with self._lock:
            if self._started is None:
                return True
            query = {"sessionToken": self._started.session_token} if self._started.session_token else {}
            url = self.account.api_url + self.account.logout_path + (f"?{urlencode(query)}" if query else "")
            try:
                answer = await SessionHttp(self._http, self._jar).ask("GET", url, {"Accept": "application/json"})
            except NoAnswerError:
                return False
            finally:
                self._forget()
            return 200 <= answer.status < 400

    async def _get(self) -> StartedSession:
        if self._started is not None:
            return self._started
        failure = self._failure
        is_kept = isinstance(failure, RejectedLoginError) or self._monotonic() - self._failed_at < FAILURE_KEPT_S
        if failure is not None and is_kept:
            raise failure.with_traceback(None)
        try:
            self._started = await self._log_in()
        except LoginRefusedError as exc:
            self._failure, self._failed_at = exc, self._monotonic()
            if isinstance(exc, RejectedLoginError) and self._on_rejected is not None:
                self._on_rejected(str(exc))
            raise
        self._failure = None
        self._number += 1
        return self._started

    async def _log_in(self) -> StartedSession:
        self._forget()
        account = self.account
        http = SessionHttp(self._http, self._jar)
        code = await fetch_access_code(http, account)
        query = urlencode({account.start_parameter: code, "type": account.start_type})
        url = f"{account.api_url}{account.start_path}?{query}"
        answer = await http.ask("GET", url, {"Accept": account.answers.media_type})
        read = read_answer(answer)
        if not 200 <= answer.status < 300 or refusal_in(read):
            raise LoginRefusedError(
                "The login is good, but its access code starts no session: check the account's start_path,"
                f" start_parameter and start_type. {refusal_of(PLATFORM, answer, (code, account.password))}"
            )
        return _read_session(read.members, account.subscription)

    def _forget(self) -> None:
        self._started = None
        self._is_proven = False
        self._jar = CookieJar()


def find_subscription(href: str) -> str | None:
    """Give what continues `/subscriptions/` in the address of a subscription; None: it is no such address.

    It may be relative to the base URL, with or without a slash, absolute from the host on, or a whole URL: each is met.
    """
    try:
        path = urlsplit(href.strip()).path
    except ValueError:
        return None
    found = _SUBSCRIPTION.search(path.removeprefix(_REST_PATH))
    return found[1] if found else None


def _read_session(members: Members, wanted: str) -> StartedSession:
    subscription = members.object("subscription")
    href = subscription.text("href") or ""
    name = wanted or find_subscription(href)
    if not name:
        raise LoginRefusedError(
            "The session is started, but names no subscription: set the account's subscription to its number."
        )
    user = members.object("user")
    disclaimer = members.text("disclaimerMessage") if members.flag("disclaimerRequired") else None
    token = members.text("sessionToken")
    return StartedSession(
        subscription=name,
        granted_permissions=subscription.texts("grantedPermissions"),
        session_token=token or None,
        first_name=user.text("firstName"),
        last_name=user.text("lastName"),
        previous_connection_at=members.time("previousConnection"),
        bad_passwords=members.integer("thingparkPreviousBadConsecutivePwd"),
        disclaimer=disclaimer,
        raw=members.as_dict,
    )
