"""Sends requests to a management API: logged in, at its pace, again where that is harmless, never twice unknowingly.

What may be repeated: a request that was not sent; one that was answered 429, or 503 with a time to wait, since it was
not looked at; one that does the same when done twice. A POST whose answer was lost is not repeated here: `create`
looks first whether it was done.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from receiver.errors import (
    GivenUpError,
    LoginRefusedError,
    NoAnswerError,
    PlatformRefusedError,
    UnreachedError,
)
from receiver.http_client import HttpBounds
from receiver.platforms.calls import PlatformAnswer, read_answer
from receiver.platforms.members import Members
from receiver.platforms.refusals import refusal_in, refusal_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from receiver.http_client import HttpAnswer, HttpClient
    from receiver.platforms.calls import PlatformCall

T = TypeVar("T")

PLATFORM_BOUNDS = HttpBounds(whole_s=60.0, at_once=8, body_bytes=32 * 1024 * 1024)
"""Lists without paging may be long: KPN's gives all devices at once where no page is asked for. A minute is what
ThingPark's own gateways wait at most, by the usual `proxy_read_timeout` of NGINX."""

MOST_TRIES = 6
"""Of one request, the first included."""

TRIES_UNREACHED = 2
"""Of a request to a server that was never reached before: a person who waits has more likely mistyped its name."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Pauses double from the first on. A `Retry-After` above the longest is not waited for: the caller is told."""

_LONGEST_QUOTA_S = 31 * 86_400.0  # quotas are of a minute, an hour, a day or a month

_NOT_LOOKED_AT = 429
_FORBIDDEN = 403
_AWAY = frozenset({500, 502, 503, 504})


class Authorizer(Protocol):
    """Logs requests in. Each platform has its own: a bearer token, or a session with cookies."""

    lost_statuses: frozenset[int]
    """Statuses that say that the login is not good any more."""

    async def dress(self, call: PlatformCall) -> PlatformCall:
        """Give the request with what logs it in.

        Raises:
            LoginRefusedError, NoAnswerError: there is no login to be had.
        """
        ...

    async def renew(self, refused: PlatformCall) -> bool:
        """Log in anew after a dressed request was refused as not logged in; False: that would give nothing better.

        Raises:
            LoginRefusedError, NoAnswerError: there is no login to be had.
        """
        ...

    def hear(self, answer: HttpAnswer) -> None:
        """Look at each answer: a session's cookies come with it."""
        ...


class Created(NamedTuple):
    """What `create` came to: `answer` of the POST, or `found` where its answer was lost and it had been done."""

    answer: PlatformAnswer | None
    found: object


class PlatformCaller:
    """Sends the requests of one account to one base URL. For one event loop.

    Args:
        http: what sends; made with `PLATFORM_BOUNDS`.
        base_url: without a slash at the end.
        platform: its name for people, such as `KPN LoRa`.
        authorizer: logs in.
        pace_s: the least time from one request to the next. 0: as they come.
        sleep, monotonic: the clock.
    """

    def __init__(
        self,
        http: HttpClient,
        base_url: str,
        platform: str,
        authorizer: Authorizer,
        *,
        pace_s: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_url = base_url
        self.platform = platform
        self._http = http
        self._authorizer = authorizer
        self._pace_s = pace_s
        self._sleep = sleep
        self._monotonic = monotonic
        self._next_at = 0.0
        self._was_reached = False

    def __repr__(self) -> str:
        return f"PlatformCaller({self.platform}, {self.base_url})"

    async def call(self, call: PlatformCall, *, reads_refusals: bool = False, may_renew: bool = True) -> PlatformAnswer:
        """Send a request and give its good answer.

        `reads_refusals`: an error that comes with a good status is given as it came, as ThingPark's import of devices
        says all that is wrong with its rows in one. Without `may_renew` it is not sent again after it was refused as
        not logged in: it has a password of its own in it.

        Raises:
            PlatformRefusedError: the platform does not do it.
            LoginRefusedError: it does not let this account in.
            NoAnswerError: it was not reached, or is away. `was_sent`: it may have done it; only of a POST.
        """
        pause_s = FIRST_PAUSE_S
        has_renewed = False
        for number in range(1, MOST_TRIES + 1):
            is_logged_in = False
            try:
                dressed = await self._authorizer.dress(call)
                is_logged_in = True
                answer = await self._ask(dressed)
            except NoAnswerError as exc:
                asked_s = exc.wait_s if isinstance(exc, BusyError) else 0.0
                is_unsure = exc.was_sent and not (is_logged_in and call.is_repeatable)  # logins may lock an account
                if is_unsure or asked_s > LONGEST_PAUSE_S or number >= self._tries_after(exc):
                    raise
                await self._sleep(max(pause_s, asked_s))
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            if answer.status not in self._authorizer.lost_statuses:
                return self._read(dressed, answer, reads_refusals=reads_refusals)
            if not may_renew or has_renewed or not await self._authorizer.renew(dressed):
                refusal = refusal_of(self.platform, answer, dressed.secrets)
                if answer.status == _FORBIDDEN:  # the login is good, what was asked is not for it
                    raise refusal
                raise LoginRefusedError(str(refusal)) from refusal
            has_renewed = True
        raise LoginRefusedError(f"{self.platform} lets this account in and refuses it by turns.")

    async def create(self, call: PlatformCall, find: Callable[[], Awaitable[object]]) -> Created:
        """Send a POST that makes something; where its answer is lost, look with `find` whether it was made.

        `find` gives what was made, or None: then the request is sent again.

        Raises:
            PlatformRefusedError, LoginRefusedError: as `call`.
            NoAnswerError: it is away. `was_sent`: whether it was made is not known.
        """
        pause_s = FIRST_PAUSE_S
        for number in range(1, MOST_TRIES + 1):
            try:
                return Created(await self.call(call), None)
            except PlatformRefusedError:  # perhaps because the one whose answer was lost was done after all, and late
                made = None if number == 1 else await find()
                if made is None:
                    raise
                return Created(None, made)
            except NoAnswerError as exc:
                if not exc.was_sent or number == MOST_TRIES:
                    raise
            found = await find()
            if found is not None:
                return Created(None, found)
            await self._sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        raise AssertionError  # the last turn returns or raises

    def _tries_after(self, exc: NoAnswerError) -> int:
        if isinstance(exc, GivenUpError):
            return 1
        return TRIES_UNREACHED if isinstance(exc, UnreachedError) and not self._was_reached else MOST_TRIES

    async def _ask(self, call: PlatformCall) -> HttpAnswer:
        """Send a request once. Raises NoAnswerError, also for an answer that says that it was not looked at."""
        while self._pace_s and (wait_s := self._next_at - self._monotonic()) > 0:
            await self._sleep(wait_s)
        self._next_at = self._monotonic() + self._pace_s
        headers = {"Accept": call.accept, **dict(call.headers)}
        content = call.content()
        if content:
            headers["Content-Type"] = call.content_type
        try:
            answer = await asyncio.wrap_future(self._http.start(call.method, call.url(self.base_url), headers, content))
        except NoAnswerError as exc:
            raise told_of(exc, self.platform, self.base_url) from exc
        self._was_reached = True
        self._authorizer.hear(answer)
        asked_s = retry_after_s(answer)
        if answer.status == _NOT_LOOKED_AT:
            raise self._busy(call, answer, "asks for fewer requests", asked_s, was_sent=False)
        if answer.status in _AWAY:
            was_looked_at = answer.status != 503 or asked_s is None
            raise self._busy(call, answer, "is away or busy", asked_s, was_sent=was_looked_at)
        return answer

    def _read(self, call: PlatformCall, answer: HttpAnswer, *, reads_refusals: bool) -> PlatformAnswer:
        if not 200 <= answer.status < 300:
            raise refusal_of(self.platform, answer, call.secrets)
        read = read_answer(answer)
        if refusal_in(read) and not reads_refusals:
            raise refusal_of(self.platform, answer, call.secrets)
        return read

    def _busy(
        self, call: PlatformCall, answer: HttpAnswer, what: str, asked_s: float | None, *, was_sent: bool
    ) -> BusyError:
        said = refusal_of(self.platform, answer, call.secrets).said
        words = f": {said}" if said else ""
        again = "" if asked_s is None else f" It asks to come again in {asked_s:.0f} s."
        sentence = f"{self.platform} {what} (status {answer.status}){words}.{again}"
        return BusyError(sentence, asked_s or 0.0, was_sent=was_sent)


def told_of(error: NoAnswerError, who: str, url: str, *, was_sent: bool | None = None) -> NoAnswerError:
    """Give the error as one of `who`, for people; with the host of `url` where that was not reached."""
    where = f"{who} at {urlsplit(url).hostname}" if isinstance(error, UnreachedError) else who
    return type(error)(f"{where}: {error}", was_sent=error.was_sent if was_sent is None else was_sent)


class BusyError(NoAnswerError):
    """An answer that says nothing but to come again, after `wait_s`."""

    def __init__(self, sentence: str, wait_s: float, *, was_sent: bool) -> None:
        super().__init__(sentence, was_sent=was_sent)
        self.wait_s = wait_s


def retry_after_s(answer: HttpAnswer) -> float | None:
    """Give how long an answer asks to wait, as seconds or a date (RFC 9110 section 10.2.3); None: it does not.

    KPN's gateway says instead when its quota begins anew, with status 429.
    """
    text = answer.headers.get("retry-after", "").strip()
    if not text and answer.status == _NOT_LOOKED_AT:
        return _until_new_quota_s(answer)
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _until_new_quota_s(answer: HttpAnswer) -> float | None:
    """Source: developer.kpn.com, quota headers; milliseconds since 1970 as Apigee writes times, or any other form."""
    at = Members(answer.headers).time("quota-reset-utc")
    wait_s = -1.0 if at is None else (at - datetime.now(UTC)).total_seconds()
    return wait_s if 0 <= wait_s <= _LONGEST_QUOTA_S else None  # else it is no such time
