"""Sends downlinks through KPN Things: the actuator of its Beta API, or the request that an account spells.

KPN Things encrypts, confirms nothing and empties no queue, so a downlink that wants more is refused here with the
reason. It reports nothing of what becomes of a downlink: that it was taken is the last that is known of it.
Source: docs.kpnthings.com, Beta API, "Send downlink to device" and its response codes.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from receiver.errors import KeyringError, LoginRefusedError, NoAnswerError, StorageUnavailableError
from receiver.kpn_things.downlink import F_PORT_RANGE, ThingsRequest, build_downlink_request
from receiver.platforms.grip import GripTokens
from receiver.services.downlink_transport import NOT_REPORTED, DownlinkOutcome
from receiver.services.forward_backoff import parse_retry_after
from receiver.services.things_accounts import load_account
from receiver.thingpark.downlink_answers import DownlinkAnswer, Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.http_client import HttpClient
    from receiver.keyring import Keyring
    from receiver.kpn_things.downlink import BuiltRequest
    from receiver.platforms.grip import AccessToken
    from receiver.services.downlink_transport import DownlinkToSend
    from receiver.services.downlink_transport_directory import TransportSettings
    from receiver.services.things_accounts import ThingsAccount

ACCEPTED = "KPN Things has taken it. KPN Things does not report what became of it."

MOST_TOLD = 500
"""Characters of an answer's text that are kept beside its status."""

_DEV_EUI = re.compile(r"[0-9A-F]{16}\Z")
_REFUSED_LOGIN = frozenset({302, 401})
"""What the API answers to a token that it does not take. Source: Beta API, response codes, for 302."""


def make_actuator_transport(
    settings: TransportSettings, engine: Engine, keyring: Keyring, http: HttpClient
) -> ActuatorTransport:
    """Give the transport of a connection of KPN Things; whether that has an account is found out when one is sent."""
    return ActuatorTransport(engine, keyring, http, settings.connection.id, settings.connection.name)


class ActuatorTransport:
    """A `DownlinkTransport`. The account is looked up for each downlink, so that a changed one is in force at once."""

    def __init__(self, engine: Engine, keyring: Keyring, http: HttpClient, connection_id: int, name: str) -> None:
        self._engine = engine
        self._keyring = keyring
        self._http = http
        self._connection_id = connection_id
        self._name = name
        self._lock = threading.Lock()
        self._account: ThingsAccount | None = None
        self._tokens: GripTokens | None = None

    def send(self, downlink: DownlinkToSend, now: datetime) -> DownlinkOutcome:
        """Ask KPN Things to take it, with a new token if it does not take one that was kept. At most three requests."""
        refused = _why_not(downlink)
        if refused is not None:
            return _outcome(Verdict.REFUSED, *refused)
        try:
            account, tokens = self._logged_in()
        except StorageUnavailableError as exc:
            return _outcome(Verdict.AWAY, "away", str(exc))
        except KeyringError as exc:
            return _outcome(Verdict.HOLD, "account", str(exc))
        if account is None or tokens is None:
            return _outcome(Verdict.HOLD, "account", _without_account(self._name))
        request = build_downlink_request(
            account.form,
            ThingsRequest(downlink.dev_eui, downlink.f_port or 0, downlink.payload or b"", downlink.correlation_id),
        )
        try:
            token = tokens.get()
            outcome = self._ask(account, request, token, now)
            if outcome.answer.cause == "unauthorised" and not token.is_new:
                outcome = self._ask(account, request, tokens.renew(token), now)
        except LoginRefusedError as exc:
            return _outcome(Verdict.HOLD, "login-refused", str(exc))
        except NoAnswerError as exc:  # of the login: the API was not asked, or did not take it
            return _outcome(Verdict.AWAY, "login-away", str(exc))
        return outcome

    def _logged_in(self) -> tuple[ThingsAccount | None, GripTokens | None]:
        account = load_account(self._engine, self._keyring, self._connection_id)
        with self._lock:
            if account is None:
                self._account = self._tokens = None
            elif self._account != account:
                same_login = self._account is not None and self._account.login == account.login
                if not same_login or self._tokens is None:
                    self._tokens = GripTokens(self._http, account.login)
                self._account = account
            return self._account, self._tokens

    def _ask(self, account: ThingsAccount, request: BuiltRequest, token: AccessToken, now: datetime) -> DownlinkOutcome:
        url = account.api_url + request.path
        shown = f"POST {url}\n{request.body.decode()}"
        headers = {**request.headers, **dict(account.headers), "Authorization": f"Bearer {token.text}"}
        try:
            answer = self._http.send("POST", url, headers, request.body)
        except NoAnswerError as exc:
            if exc.was_sent:
                return _outcome(Verdict.UNKNOWN, "no-answer", f"{exc} It may or may not have been taken.", shown)
            return _outcome(Verdict.AWAY, "away", str(exc), shown)
        retry_after_s = parse_retry_after(answer.headers.get("retry-after"), now)
        body = answer.body.replace(token.text.encode(), b"...")  # what echoes a request must not show it
        return DownlinkOutcome(
            read_actuator_answer(answer.status, body), shown, _told(answer.status, body), retry_after_s
        )


def read_actuator_answer(status: int, body: bytes) -> DownlinkAnswer:
    """Read an answer of the API by its status and its body; never raises, whatever stands in it."""
    words = " ".join(body[:2000].decode("utf-8", "replace").split())[:200]
    said = f" It said: {words!r}." if words else ""
    if 200 <= status < 300:
        return DownlinkAnswer(Verdict.ACCEPTED, NOT_REPORTED, ACCEPTED)
    if status in _REFUSED_LOGIN:
        return DownlinkAnswer(
            Verdict.HOLD, "unauthorised", f"KPN Things answered {status}: it does not take our access token.{said}"
        )
    if status == 403:
        text = f"KPN Things answered 403: the API key has no right to send to this device.{said}"
        return DownlinkAnswer(Verdict.HOLD, "forbidden", text)
    if status in {408, 425, 429, 503}:
        return DownlinkAnswer(Verdict.RETRY, "busy", f"KPN Things answered {status}: it is busy.{said}")
    if status >= 500:  # also of something in front of it, which may have passed the request on
        return DownlinkAnswer(Verdict.UNKNOWN, "fault", f"KPN Things answered {status}: it failed amid it.{said}")
    if 300 <= status < 400:
        text = f"Something answered {status}, a redirect, which is not followed: check the API URL of the account."
        return DownlinkAnswer(Verdict.HOLD, "redirected", text)
    return DownlinkAnswer(Verdict.REFUSED, f"status-{status}", f"KPN Things answered {status}.{said}")


def _why_not(downlink: DownlinkToSend) -> tuple[str, str] | None:
    if not _DEV_EUI.match(downlink.dev_eui):
        return "no-dev-eui", (
            f"{downlink.dev_eui} has no DevEUI, which KPN Things sends by: `receiver device map UUID DEV_EUI` gives it"
            " one."
        )
    if downlink.flush:
        return "flush", "KPN Things has no way to empty its queue."
    if downlink.confirmed:
        return "confirmed", "KPN Things has no confirmed downlinks."
    if downlink.f_cnt_down is not None:
        return "encrypted", "KPN Things encrypts downlinks itself, so that this one would be encrypted twice."
    if not downlink.payload or downlink.f_port not in F_PORT_RANGE:
        return "no-payload", "KPN Things takes a payload of at least one byte on an FPort of 1 to 223."
    return None


def _outcome(verdict: Verdict, cause: str, text: str, request: str | None = None) -> DownlinkOutcome:
    return DownlinkOutcome(DownlinkAnswer(verdict, cause, text), request)


def _told(status: int, body: bytes) -> str:
    text = body[: 4 * MOST_TOLD].decode("utf-8", "replace").replace("\x00", "�").strip()[:MOST_TOLD]
    return f"{status} {text}".strip()


def _without_account(name: str) -> str:
    return (
        f"Connection {name} has no account of KPN Things to send by: `receiver connection set-things-account {name}`"
        " gives it one."
    )
