"""Each request and reply that is published of the Device Manager API's login, as sent and as read, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from lxml import etree

from receiver.http_client import HttpClient
from receiver.platforms.calls import PlatformCall
from receiver.platforms.device_manager import DeviceManagerSession
from receiver.platforms.device_manager_account import read_account
from receiver.platforms.device_manager_login import build_login_body
from receiver.platforms.device_manager_login_page import read_login_page
from receiver.platforms.device_manager_refusals import RejectedLoginError, rejection_of
from receiver.platforms.device_manager_xml import read_any
from receiver.services.platform_accounts import SETTINGS
from receiver.simulator.loopback_server import HttpReply, LoopbackServer

pytestmark = pytest.mark.shared

CODE = "0f3c"
DOCUMENTS = ("000_39f761519187f546.txt", "001_a3907a1a9c2c52eb.txt")
STARTED = json.dumps({"sessionToken": "t1", "subscription": {"href": "/subscriptions/100", "grantedPermissions": []}})


class Told:
    """Answers a login with what it is told to, and everything else as a session that is good."""

    def __init__(self, login):
        self.login = login
        self.came = []
        self.server = LoopbackServer()
        self.server.start(self.answer)

    def answer(self, request):
        self.came.append(request)
        if request.path.endswith("/login"):
            return self.login
        if request.path.endswith("/accessCode"):
            return HttpReply(200, json.dumps({"accessCode": CODE}).encode(), "application/json")
        if request.path.endswith("/customers"):
            cookie = ("Set-Cookie", "JSESSIONID=abcde12345; Path=/; HttpOnly")
            return HttpReply(200, STARTED.encode(), "application/json", (cookie,))
        return HttpReply(200, b"{}", "application/json")

    def settings(self, form="html", **changed):
        usual = {name: value or "" for name, value in SETTINGS["device-manager"].items()}
        origin = self.server.origin
        rest, office = f"{origin}/thingpark/wireless/rest", f"{origin}/thingpark/smp/rest"
        own = {"login": "ada@example.com", "login_form": form, "api_url": rest, "smp_url": office}
        own |= {"login_url": f"{origin}/login"} if form == "html" else {"subscriber_id": "100000001"}
        return usual | own | changed

    def use(self, form="html", **changed):
        """Log in, ask for the subscriber, log out, as the page's quick start does."""

        async def run():
            with HttpClient() as http:
                session = DeviceManagerSession(http, read_account(self.settings(form, **changed), "secret"))
                started = await session.start()
                dressed = await session.dress(PlatformCall("GET", f"/subscriptions/{started.subscription}"))
                await session.log_out()
                return started, dressed

        return asyncio.run(run())


@pytest.fixture
def told():
    made = []

    def make(body, kind="text/html"):
        made.append(Told(HttpReply(200, body, kind)))
        return made[-1]

    yield make
    for one in made:
        one.server.stop()


def seed(shared, name):
    return (shared / "seeds" / name).read_text()


def page_of(text):
    return text[text.index("<!DOCTYPE html>") : text.index("You need to check")]


def filled(page, error=""):
    return page.replace("{{ON_ERROR_HERE_IS_AN_ERROR_CODE}}", error).replace("{{HERE_WILL_BE_YOUR_ACCESS_CODE}}", CODE)


@pytest.fixture(params=["document", "example"])
def page(request, shared):
    if request.param == "document":
        return page_of(seed(shared, DOCUMENTS[0]))
    return (shared / "examples" / "management" / "kpn_login_reply.seed000.html").read_text()


def test_the_page_of_a_good_login_gives_its_code_and_the_code_starts_the_session(told, page):
    side = told(filled(page).encode())
    started, dressed = side.use()
    assert read_login_page(filled(page).encode()).access_code == CODE
    assert [(request.method, request.path) for request in side.came] == [
        ("POST", "/login"),
        ("GET", "/thingpark/wireless/rest/customers"),
        ("GET", "/thingpark/wireless/rest/customers/logout"),
    ]
    assert side.came[0].body == b"login=ada%40example.com&password=secret"
    assert side.came[1].query == f"userAccessCode={CODE}&type=SUBSCRIBER"
    assert (side.came[2].query, side.came[2].headers["cookie"]) == ("sessionToken=t1", "JSESSIONID=abcde12345")
    assert (started.subscription, started.session_token) == ("100", "t1")
    assert dict(dressed.headers)["Cookie"] == "JSESSIONID=abcde12345"
    assert dressed.query == (("sessionToken", "t1"),)


@pytest.mark.parametrize("code", ["50", "108", "109", "121", "123", "124"])
def test_the_page_with_each_error_code_refuses_the_login(told, page, code):
    with pytest.raises(RejectedLoginError, match=rf"error {code}\)"):
        told(filled(page, code).encode()).use()


def test_each_error_code_of_the_document_has_the_meaning_that_it_has_there(shared):
    text = seed(shared, DOCUMENTS[0])
    table = text[text.index("\nDescription") : text.index("The Postman example contains")]
    wrong, locked, unassociated = re.findall(r"^([0-9, ]+)$", table, re.MULTILINE)
    assert all("does not take this login and password" in str(rejection_of(code)) for code in wrong.split(", "))
    assert "has locked this account" in str(rejection_of(locked))
    assert "not associated" in str(rejection_of(unassociated))


def test_the_page_of_the_other_copy_has_lost_its_address_so_it_gives_no_code(shared):
    page = read_login_page(filled(page_of(seed(shared, DOCUMENTS[1]))).encode())
    assert (page.error_code, page.access_code) == ("", None)


def test_the_page_of_the_other_copy_says_each_error_as_the_first_does(shared):
    page = read_login_page(filled(page_of(seed(shared, DOCUMENTS[1])), "121").encode())
    assert page.error_code == "121"


def test_the_base_url_is_the_document_s(shared):
    api_url = SETTINGS["device-manager"]["api_url"].replace("{host}", SETTINGS["device-manager"]["host"])
    assert f"\n{api_url}\n" in seed(shared, DOCUMENTS[0])


@pytest.mark.parametrize("answers", ["json", "xml"])
def test_data_is_asked_for_by_the_document_s_media_types(told, page, shared, answers):
    side = told(filled(page).encode())
    _started, dressed = side.use(answers=answers)
    assert dressed.accept == side.came[1].headers["accept"]
    assert re.search(rf"^{answers.upper()}\n\n{dressed.accept}$", seed(shared, DOCUMENTS[0]), re.MULTILINE)


def test_the_login_in_xml_is_sent_as_actility_does(shared):
    example = (shared / "examples" / "management" / "smp_admins_login_xml_req.xml").read_bytes()
    settings = Told.settings(_Nowhere(), "xml", login="fakeSystemLogin")
    content_type, body = build_login_body(read_account(settings, "p@ssw0rd"))
    assert content_type == "application/xml"
    assert canonical(body) == canonical(example)
    assert body.partition(b"\n")[0] == example.partition(b"\n")[0]


def test_the_reply_to_the_login_in_xml_leads_to_the_access_code(told, shared):
    reply = (shared / "examples" / "management" / "smp_admins_login_xml_reply.xml").read_bytes()
    assert read_any(reply) == {"sessionToken": "testToken", "thingParkID": "test-thingpark-id"}
    side = told(reply, "application/xml")
    started, _dressed = side.use("xml")
    assert started.subscription == "100"
    code = side.came[1]
    assert (code.method, code.path) == ("POST", "/thingpark/smp/rest/admins/test-thingpark-id/accessCode")
    assert code.query == "sessionToken=testToken"
    assert side.came[2].query == f"adminAccessCode={CODE}&type=SUBSCRIBER"


class _Nowhere:
    class server:  # noqa: N801 - the name that it has there
        origin = "https://manager.example"


def canonical(document):
    parser = etree.XMLParser(remove_blank_text=True)
    return etree.tostring(etree.fromstring(document, parser), method="c14n")
