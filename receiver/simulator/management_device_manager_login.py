"""The logins of the Device Manager API in a simulation: KPN's page, and ThingPark's back office in three forms.

Where KPN's page stands and what its fields are called is not published, so the address and names here are made up, and
settings. The same holds for what the back office answers to a wrong password: here 401 with the page's error codes.
Sources: KPN's Device Manager API page (reply and error codes); public scripts for ThingPark Wireless (JSON); Actility's
test of its logger (XML); a public C# client of KPN's ThingPark (Digest); RFC 7616 for the check of its answers.
"""

from __future__ import annotations

import hashlib
import html
import re
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from lxml import etree

from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.management_http import json_reply, read_json, read_object, read_query

if TYPE_CHECKING:
    from receiver.simulator.loopback_server import HttpRequest

LOGIN_PAGE_PATH = "/deviceManager/login"
SMP_PATH = "/thingpark/smp/rest"
LOGIN_NAMESPACE = "http://www.actility.com/smp/ws/admin"
REALM = "thingpark"

WRONG, LOCKED, NOT_ASSOCIATED = 108, 121, 124
"""Error codes. Source: KPN's Device Manager API page, which has 50, 109 and 123 for a wrong password too."""

MOST_BAD_PASSWORDS = 5
"""In a row, then the account is locked. That KPN locks accounts is documented, after how many is not."""

MOST_KEPT = 1000
"""Access codes, back-office sessions and nonces that are kept at a time."""

_PARAMETER = re.compile(r'([a-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><title>Device Manager</title></head>
<body class="container">
<!-- information from the server to the client -->
<div id="serverInfo" style="display:none">
<!-- error messages -->
<span id='errorCode'>{error}</span>
<span id="info1"></span>
<span id="info2"></span>
<!-- uri to redirect to -->
<span id='redirectURI'>{address}</span>
</div>
</body>
</html>
"""


class SimulatedLogin:
    """One account: its passwords, its access codes, and what becomes of wrong ones.

    `page_fields` are the names of the two fields of the page. `has_escaped_address`: the page's address is written as
    HTML wants it, with `&amp;`; KPN's example is not. So many next answers to a challenge are called stale as
    `stale_answers` says.
    """

    def __init__(
        self,
        *,
        login: str,
        password: str,
        subscriber_id: str,
        module_id: str,
        seed: int,
        page_fields: tuple[str, str] = ("login", "password"),
        has_escaped_address: bool = False,
        digest_algorithm: str = "MD5",
    ) -> None:
        self.login = login
        self.password = password
        self.is_associated = True
        self.bad_passwords = 0
        self.attempts = 0
        self.stale_answers = 0
        self._wanted = {"subscriberID": subscriber_id, "moduleID": module_id}
        self._page_fields = page_fields
        self._has_escaped_address = has_escaped_address
        self._algorithm = digest_algorithm
        self._chance = Random(f"{seed}/logins")  # noqa: S311 - repeatable on purpose; it simulates and protects nothing
        self._thingpark_id = f"tpk-{self._chance.randrange(10**6)}"
        self._access_codes: dict[str, str] = {}  # code: the parameter that it is good for
        self._back_office: dict[str, str] = {}  # session: its token, empty for one of HTTP Digest
        self._nonces: dict[str, bool] = {}  # nonce: whether it was used

    @property
    def is_locked(self) -> bool:
        """Whether no password is taken any more."""
        return self.bad_passwords >= MOST_BAD_PASSWORDS

    def take_access_code(self, parameter: str, code: str) -> bool:
        """Say whether a code is good, this once."""
        return self._access_codes.pop(code, None) == parameter

    def answer(self, request: HttpRequest, host: str) -> HttpReply | None:
        """Answer a request for a login; None: it is none."""
        where = (request.method, request.path)
        if where == ("POST", LOGIN_PAGE_PATH):
            return self._answer_page(request, host)
        if where == ("POST", f"{SMP_PATH}/admins/login"):
            return self._answer_login(request)
        if where == ("GET", f"{SMP_PATH}/admins/id"):
            return self._answer_digest(request)
        if where == ("POST", f"{SMP_PATH}/admins/{self._thingpark_id}/accessCode"):
            return self._give_access_code(request)
        return None

    def _judge(self, login: object, password: object) -> int | None:
        """Give the error code of a login; None: it is good."""
        self.attempts += 1
        if self.is_locked:
            return LOCKED
        if (login, password) != (self.login, self.password):
            self.bad_passwords += 1
            return LOCKED if self.is_locked else WRONG
        self.bad_passwords = 0
        return None if self.is_associated else NOT_ASSOCIATED

    # --- the page

    def _answer_page(self, request: HttpRequest, host: str) -> HttpReply:
        given = _read_fields(request)
        error = self._judge(*(given.get(name) for name in self._page_fields))
        address = ""
        if error is None:
            code = self._new_code("userAccessCode")
            address = f"https://{host}/deviceManager/?userAccessCode={quote(code, safe='')}&gmaps="
        if self._has_escaped_address:
            address = html.escape(address)
        page = _PAGE.format(error="" if error is None else error, address=address)
        return HttpReply(200, page.encode(), "text/html;charset=UTF-8")

    # --- the back office

    def _answer_login(self, request: HttpRequest) -> HttpReply:
        is_xml = request.headers.get("accept") == "application/xml"
        given = _read_login(request)
        if given is None:
            return _say(400, {"code": 25, "message": "unknown error"}, is_xml=is_xml)
        error = self._judge(*given)
        if error is not None:
            return _say(401, {"code": error, "message": "Login refused"}, is_xml=is_xml)
        token = self._draw()
        cookie = self._open_back_office(token)
        name = "thingParkID" if is_xml else "thingparkID"
        reply = _say(200, {"sessionToken": token, name: self._thingpark_id}, is_xml=is_xml)
        return reply._replace(headers=(cookie,))

    def _answer_digest(self, request: HttpRequest) -> HttpReply:
        given = request.headers.get("authorization", "")
        named = {found[1]: found[2] if found[2] is not None else found[3] for found in _PARAMETER.finditer(given)}
        nonce = named.get("nonce", "")
        if not given.startswith("Digest ") or nonce not in self._nonces:
            return self._challenge(is_stale=False)
        if self._nonces[nonce] or self.stale_answers:
            self.stale_answers = max(0, self.stale_answers - 1)
            return self._challenge(is_stale=True)
        self._nonces[nonce] = True
        whole = request.path + (f"?{request.query}" if request.query else "")
        is_good = named.get("uri") == whole and named.get("response") == self._expected(named, request.method, whole)
        password = self.password if is_good else None
        if self._judge(named.get("username"), password) is not None:
            return self._challenge(is_stale=False)
        return _say(200, {"thingparkID": self._thingpark_id})._replace(headers=(self._open_back_office(""),))

    def _expected(self, named: dict[str, str], method: str, uri: str) -> str:
        def hashed(text: str) -> str:
            algorithm = "sha256" if self._algorithm == "SHA-256" else "md5"
            return hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()

        middle = ":".join(named.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        return hashed(f"{hashed(f'{self.login}:{REALM}:{self.password}')}:{middle}:{hashed(f'{method}:{uri}')}")

    def _challenge(self, *, is_stale: bool) -> HttpReply:
        nonce = self._draw()
        _keep(self._nonces, nonce, False)
        challenge = f'Digest realm="{REALM}", qop="auth", algorithm={self._algorithm}, nonce="{nonce}", opaque="o"'
        challenge += ", stale=true" if is_stale else ""
        return HttpReply(401, headers=(("WWW-Authenticate", challenge),))

    def _give_access_code(self, request: HttpRequest) -> HttpReply:
        cookies = read_cookies(request)
        token = self._back_office.get(cookies.get("JSESSIONID", ""))
        given = read_query(request.query).get("sessionToken", "")
        if token is None or given != token:
            return _say(401, {"code": 401, "message": "No session"})
        if read_json(request.body) != self._wanted:
            return _say(400, {"code": 25, "message": "unknown error"})
        return _say(200, {"accessCode": self._new_code("adminAccessCode")})

    def _open_back_office(self, token: str) -> tuple[str, str]:
        session = self._draw()
        _keep(self._back_office, session, token)
        return "Set-Cookie", f"JSESSIONID={session}; Path=/thingpark/smp; HttpOnly"

    def _new_code(self, parameter: str) -> str:
        code = f"{self._draw()}/="  # with characters that an address has to escape
        _keep(self._access_codes, code, parameter)
        return code

    def _draw(self) -> str:
        return self._chance.randbytes(16).hex()


def read_cookies(request: HttpRequest) -> dict[str, str]:
    """Give the cookies of a request by their names."""
    pairs = (part.strip().partition("=") for part in request.headers.get("cookie", "").split(";"))
    return {name: value for name, is_pair, value in pairs if is_pair}


def _keep(kept: dict[str, object] | dict[str, str] | dict[str, bool], name: str, value: str | bool) -> None:
    while len(kept) >= MOST_KEPT:
        del kept[next(iter(kept))]
    kept[name] = value  # type: ignore[assignment]


def _read_fields(request: HttpRequest) -> dict[str, object]:
    if request.headers.get("content-type", "").startswith("application/json"):
        return read_object(request.body) or {}
    fields = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    return {name: values[0] for name, values in fields.items()}


def _read_login(request: HttpRequest) -> tuple[object, object] | None:
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("application/json"):
        given = read_object(request.body)
        return None if given is None else (given.get("login"), given.get("password"))
    if not content_type.startswith("application/xml"):
        return None
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(request.body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    if root.tag != f"{{{LOGIN_NAMESPACE}}}login":
        return None
    return root.findtext("login"), root.findtext("password")


def _say(status: int, members: dict[str, object], *, is_xml: bool = False) -> HttpReply:
    if not is_xml:
        return json_reply(status, members)
    root = etree.Element(f"{{{LOGIN_NAMESPACE}}}{'login' if status == 200 else 'error'}", nsmap={"ns": LOGIN_NAMESPACE})
    for name, value in members.items():
        etree.SubElement(root, name).text = str(value)
    return HttpReply(status, etree.tostring(root, xml_declaration=True, encoding="UTF-8"), "application/xml")
