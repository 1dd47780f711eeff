"""Access tokens of KPN Things, from its identity provider GRIP: asked for once, kept, and renewed before they end.

An API key (key id and secret) is exchanged for a token that is good for an hour; there is no refresh token. Nothing
that is secret stands in an error or a `repr`.
Source: docs.kpnthings.com, API keys; ThingsBoard's KPN integration for the body and the current URL, which no page of
KPN names.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from receiver.errors import LoginRefusedError, NoAnswerError
from receiver.platforms.caller import told_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.http_client import HttpAnswer, HttpClient

TOKEN_URLS = {
    "v3": "https://auth.grip-on-it.com/api/v3/idp/oidc/token",
    "v2": "https://auth.grip-on-it.com/v2/{tenant}/oidc/idp/token",
    "c1": "https://auth.grip-on-it.com/v2/{tenant}/oidc/idp/c1/token",
}
"""The three forms that are in use, by a short name; which one an account has is not documented. v3 is the newest."""

RENEW_BEFORE_S = 600.0
"""As ThingsBoard does: a request that waits still goes out with a token that is good."""

USUAL_LIFE_S = 3600.0
"""Of a token whose answer does not say. Source: docs.kpnthings.com, an hour."""

FAILURE_KEPT_S = 5.0
"""So long a failed login is the answer for all who ask: they would fail one after the other."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,8000}\Z")
_ERROR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}\Z")


@dataclass(frozen=True, slots=True)
class GripAccount:
    """An API key of KPN Things. `token_url` may have `{tenant}` in it; `audience` is the application id."""

    token_url: str
    tenant_id: str
    audience: str
    key_id: str
    key_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token; `is_new`: it was asked for just now, so that asking again gives nothing better."""

    text: str = field(repr=False)
    is_new: bool


class GripTokens:
    """Gives the token of one account. Any thread may ask; of several at a time one logs in, and the others wait."""

    def __init__(self, http: HttpClient, account: GripAccount, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._account = account
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._text: str | None = None
        self._renew_at = 0.0
        self._failure: LoginRefusedError | NoAnswerError | None = None
        self._failed_at = 0.0

    def get(self) -> AccessToken:
        """Give a token, the one that is kept unless it is about to end.

        Raises:
            LoginRefusedError: GRIP does not take the key, or is not at that URL: a person has to mend it.
            NoAnswerError: it was not reached, or is busy; trying again can help.
        """
        with self._lock:
            if self._text is not None and self._monotonic() < self._renew_at:
                return AccessToken(self._text, is_new=False)
            return self._log_in()

    def renew(self, refused: AccessToken) -> AccessToken:
        """Give another token than one that was refused; if somebody else renewed it meanwhile, that one.

        Raises:
            LoginRefusedError, NoAnswerError: as `get`.
        """
        with self._lock:
            if self._text is not None and self._text != refused.text:
                return AccessToken(self._text, is_new=False)
            self._text = None
            return self._log_in()

    def _log_in(self) -> AccessToken:
        if self._failure is not None and self._monotonic() - self._failed_at < FAILURE_KEPT_S:
            raise self._failure.with_traceback(None)
        try:
            text, life_s = self._ask()
        except (LoginRefusedError, NoAnswerError) as exc:
            self._failure, self._failed_at = exc, self._monotonic()
            raise
        self._failure = None
        self._text = text
        self._renew_at = self._monotonic() + life_s - min(RENEW_BEFORE_S, life_s / 2)
        return AccessToken(text, is_new=True)

    def _ask(self) -> tuple[str, float]:
        account = self._account
        url = account.token_url.replace("{tenant}", quote(account.tenant_id, safe=""))
        wanted = {
            "grant_type": "client_credentials",
            "audience": account.audience,
            "client_id": account.key_id,
            "client_secret": account.key_secret,
        }
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            answer = self._http.send("POST", url, headers, json.dumps(wanted).encode())
        except NoAnswerError as exc:
            raise told_of(exc, "The login of KPN Things", url) from exc
        if answer.status == 200:
            return _read_token(answer)
        if answer.status in {408, 425, 429} or answer.status >= 500:
            raise NoAnswerError(f"GRIP, the login of KPN Things, answered {answer.status}: it is busy.", was_sent=False)
        if 300 <= answer.status < 400:
            raise LoginRefusedError(
                f"The login of KPN Things answered {answer.status}, a redirect, which is not followed: the token URL is"
                " another one."
            )
        said = _error_code(answer)
        raise LoginRefusedError(
            f"GRIP, the login of KPN Things, answered {answer.status}{said}: check key id, key secret, tenant,"
            " application id and token URL of the account."
        )


def _read_token(answer: HttpAnswer) -> tuple[str, float]:
    members = _members(answer)
    text = members.get("access_token")
    if not isinstance(text, str) or not _TOKEN.match(text):
        raise LoginRefusedError(
            "The login of KPN Things answered 200 without a token in it: the token URL is another one."
        )
    return text, _life_s(members.get("expires_in"))


def _life_s(value: object) -> float:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 10 * 86_400:
        return float(value)
    return USUAL_LIFE_S


def _error_code(answer: HttpAnswer) -> str:
    code = _members(answer).get("error")
    return f" ({code})" if isinstance(code, str) and _ERROR_CODE.match(code) else ""


def _members(answer: HttpAnswer) -> dict[str, object]:
    try:
        members = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}
