"""Turns a login and password into an access code of the Device Manager API, in the four forms there are.

A password is sent once for each call: what comes of it is the answer. A refusal that says so is `RejectedLoginError`,
so that nobody tries it again unasked; anything else that is no access code is `LoginRefusedError`.
Sources: KPN's Device Manager API page (HTML); public scripts for ThingPark Wireless (JSON) and Actility's own test of
its logger (XML); a public C# client of KPN's ThingPark of 2016 (Digest).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from receiver.errors import LoginRefusedError, SettingsError
from receiver.platforms.device_manager_account import LoginForm
from receiver.platforms.device_manager_login_page import read_access_code, read_login_page
from receiver.platforms.device_manager_refusals import rejection_of, rejection_of_status
from receiver.platforms.device_manager_xml import read_any, write_xml
from receiver.platforms.members import Members

if TYPE_CHECKING:
    from receiver.http_client import HttpAnswer
    from receiver.platforms.device_manager_account import DeviceManagerAccount
    from receiver.platforms.device_manager_http import SessionHttp

LOGIN_NAMESPACE = "http://www.actility.com/smp/ws/admin"
"""Of the login in XML. Source: Actility's test of its logger."""

_JSON = "application/json"
_XML = "application/xml"
_FORM = "application/x-www-form-urlencoded"
_REFUSED = frozenset({401, 403})


async def fetch_access_code(http: SessionHttp, account: DeviceManagerAccount) -> str:
    """Log in and give the access code that a session is started with.

    Raises:
        RejectedLoginError: the login is refused; it is not to be tried again unasked.
        LoginRefusedError: what answers is not the login of this form.
        NoAnswerError: it was not reached, or is busy.
    """
    if account.login_form is LoginForm.HTML:
        return await _by_page(http, account)
    return await _by_back_office(http, account)


def build_login_body(account: DeviceManagerAccount) -> tuple[str, bytes]:
    """Give media type and body of the login; empty ones for HTTP Digest, whose login is a header.

    Raises:
        SettingsError: login or password have a character that XML has not.
    """
    values = {account.login_field: account.login, account.password_field: account.password}
    match account.login_form:
        case LoginForm.HTML if account.login_as_json:
            return _JSON, json.dumps(values).encode()
        case LoginForm.HTML:
            return _FORM, urlencode(values).encode()
        case LoginForm.JSON:
            return _JSON, json.dumps({"login": account.login, "password": account.password}).encode()
        case LoginForm.XML:
            return _XML, _write_xml_login(account)
        case LoginForm.DIGEST:
            return "", b""


def _write_xml_login(account: DeviceManagerAccount) -> bytes:
    try:
        return write_xml(LOGIN_NAMESPACE, "login", (("login", account.login), ("password", account.password))).encode()
    except ValueError:
        raise SettingsError("The login or password has a character that cannot stand in XML.") from None


async def _by_page(http: SessionHttp, account: DeviceManagerAccount) -> str:
    content_type, body = build_login_body(account)
    headers = {"Content-Type": content_type, "Accept": "text/html"}
    answer = await http.ask("POST", account.login_url, headers, body)
    page = read_login_page(answer.body)
    if page is not None and page.error_code:
        raise rejection_of(page.error_code, page.infos, account.password)
    # Which status the page comes with is not documented: a redirect to the same address says the same.
    code = (page.access_code if page is not None else None) or read_access_code(answer.headers.get("location", ""))
    if code is not None:
        return code
    if answer.status in _REFUSED:
        raise rejection_of_status(answer.status)
    raise LoginRefusedError(
        f"The login page answered (status {answer.status}) with neither an error code nor an access code: check the"
        " account's login_url, login_field, password_field and login_body."
    )


async def _by_back_office(http: SessionHttp, account: DeviceManagerAccount) -> str:
    is_digest = account.login_form is LoginForm.DIGEST
    content_type, body = build_login_body(account)
    headers = {"Accept": _XML if account.login_form is LoginForm.XML else _JSON}
    if is_digest:
        answer = await http.ask_by_digest("GET", account.login_url, headers, b"", account.login, account.password)
    else:
        answer = await http.ask("POST", account.login_url, {**headers, "Content-Type": content_type}, body)
    members = _good(answer, account.password)
    thingpark_id = members.text("thingparkID") or members.text("thingParkID")
    if not thingpark_id:
        raise LoginRefusedError(
            f"The login answered (status {answer.status}) without a thingparkID: check the account's login_form,"
            " login_url and smp_url."
        )
    wanted = json.dumps({"subscriberID": account.subscriber_id, "moduleID": account.module_id}).encode()
    token = None if is_digest else members.text("sessionToken")
    query = f"?sessionToken={quote(token, safe='')}" if token else ""
    url = f"{account.smp_url}/admins/{quote(thingpark_id, safe='')}/accessCode{query}"
    # In JSON after a login in XML too: no source has the access code in XML.
    given = {"Accept": _JSON, "Content-Type": _JSON}
    if is_digest:
        answer = await http.ask_by_digest("POST", url, given, wanted, account.login, account.password)
    else:
        answer = await http.ask("POST", url, given, wanted)
    code = _granted(answer).text("accessCode")
    if not code or not code.isascii() or not code.isprintable():
        raise LoginRefusedError(
            f"The login is good, but gives no access code (status {answer.status}): check the account's subscriber_id"
            " and module_id."
        )
    return code


def _good(answer: HttpAnswer, password: str) -> Members:
    members = _members(answer)
    code = members.text("errorCode") or members.text("code")
    if code and code != str(answer.status):
        raise rejection_of(code, _words(members), password)
    if answer.status in _REFUSED:
        raise rejection_of_status(answer.status)
    if not 200 <= answer.status < 300:
        raise LoginRefusedError(
            f"The login of the Device Manager answered with status {answer.status}: check the account's smp_url and"
            " login_url."
        )
    return members


def _granted(answer: HttpAnswer) -> Members:
    """Give the answer to the wish for an access code; a refusal there says nothing against the password."""
    members = _members(answer)
    code = members.text("errorCode") or members.text("code")
    if code in {"121", "124"}:
        raise rejection_of(code)
    if not 200 <= answer.status < 300 or code:
        number = f", code {code[:20]}" if code and code.isalnum() else ""
        raise LoginRefusedError(
            f"The login is good, but gives no access code (status {answer.status}{number}): check the account's"
            " subscriber_id and module_id."
        )
    return members


def _members(answer: HttpAnswer) -> Members:
    value = read_any(answer.body)
    return Members(value) if isinstance(value, dict) else Members()


def _words(members: Members) -> tuple[str, ...]:
    return tuple(text for name in ("message", "info") if (text := members.text(name)))
