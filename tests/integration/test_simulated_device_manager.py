"""The Device Manager API in a simulation, asked by hand: what it answers to whom, held against what is documented."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from receiver.http_client import HttpClient
from receiver.simulator.loopback_server import LoopbackServer
from receiver.simulator.management_device_manager import REST_PATH, SimulatedDeviceManager
from receiver.simulator.management_device_manager_login import LOGIN_PAGE_PATH, MOST_BAD_PASSWORDS, SMP_PATH
from receiver.simulator.management_http import LOST, answered
from tests.integration.device_manager_use import DEV_EUI, make_resources

LOGIN, PASSWORD = "user@example.com", "Right#1password"
JSON, XML = {"Accept": "application/json"}, {"Accept": "application/xml"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Side:
    """The Device Manager on a port of this machine, and requests to it that keep cookies as a browser does."""

    def __init__(self, http, **options):
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
        self.manager = SimulatedDeviceManager(
            make_resources(lambda: self.now), clock=lambda: self.now, seed=1, **options
        )
        self.server = LoopbackServer()
        self.server.start(self.manager.answer)
        self.http = http
        self.cookies = {}

    def ask(self, method, path, headers=JSON, body=b"", cookies=None):
        cookies = self.cookies if cookies is None else cookies
        named = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
        answer = self.http.send(method, self.server.origin + path, {**headers, **named}, body)
        for part in answer.headers.get("set-cookie", "").replace("Fri, ", "").split(", "):
            pair, *_ = part.split(";")
            name, _, value = pair.partition("=")
            self.cookies |= {name: value} if name else {}
        return answer

    def page(self, password=PASSWORD, login=LOGIN):
        body = f"login={login}&password={password}".replace("@", "%40").replace("#", "%23").encode()
        return self.ask("POST", LOGIN_PAGE_PATH, FORM, body).body.decode()

    def code(self):
        return self.page().split("userAccessCode=")[1].split("&gmaps=")[0]

    def start(self, parameter="userAccessCode", code=None, kind="SUBSCRIBER", headers=JSON):
        query = f"?{parameter}={code or self.code()}&type={kind}"
        return self.ask("GET", f"{REST_PATH}/customers{query}", headers)

    def devices(self, token, headers=JSON, **options):
        return self.ask("GET", f"{REST_PATH}/subscriptions/32/devices?sessionToken={token}", headers, **options)


@pytest.fixture
def side():
    with HttpClient() as http:
        side = Side(http)
        yield side
        side.server.stop()


@pytest.fixture
def token(side):
    return json.loads(side.start().body)["sessionToken"]


def test_the_page_of_a_good_login_has_no_error_and_the_address_with_a_code(side):
    page = side.page()
    assert "<span id='errorCode'></span>" in page
    assert "<span id='redirectURI'>https://www.kpn-lora.com/deviceManager/?userAccessCode=" in page
    assert "&gmaps=</span>" in page


def test_the_page_of_a_wrong_password_has_its_error_and_no_address(side):
    page = side.page("other")
    assert "<span id='errorCode'>108</span>" in page
    assert "<span id='redirectURI'></span>" in page


def test_the_account_is_locked_after_five_wrong_passwords_also_for_the_right_one(side):
    codes = [side.page("other").split("errorCode'>")[1][:3] for _ in range(MOST_BAD_PASSWORDS)]
    assert codes == ["108", "108", "108", "108", "121"]
    assert "<span id='errorCode'>121</span>" in side.page()
    assert side.manager.login.is_locked


def test_a_good_password_in_between_begins_the_count_anew(side):
    for _ in range(3):
        for _ in range(MOST_BAD_PASSWORDS - 1):
            side.page("other")
        side.page()
    assert not side.manager.login.is_locked


def test_an_account_that_is_not_associated_is_told_so_once_its_password_is_right(side):
    side.manager.login.is_associated = False
    assert "<span id='errorCode'>108</span>" in side.page("other")
    assert "<span id='errorCode'>124</span>" in side.page()


def test_an_access_code_is_good_once(side):
    code = side.code()
    assert [side.start(code=code).status for _ in range(2)] == [200, 401]


@pytest.mark.parametrize(
    "wrong", [{"code": "x"}, {"parameter": "adminAccessCode"}, {"kind": "SUPPLIER"}], ids=["code", "name", "type"]
)
def test_a_session_is_not_started_by_what_is_no_code_for_it(side, wrong):
    assert side.start(**wrong).status == 401


def test_a_session_tells_its_subscription_relative_to_the_api_and_sets_both_cookies(side):
    answer = side.start()
    told = json.loads(answer.body)
    assert told["subscription"] == {"href": "/subscriptions/32", "grantedPermissions": ["x", "a"]}
    assert told["user"]["firstName"] == "Ada"
    assert "JSESSIONID=" in answer.headers["set-cookie"]
    assert side.cookies["JSESSIONID"].endswith(".twa")
    assert side.cookies["GLOBALTWA"] == "0"


def test_data_wants_cookie_and_token(side, token):
    assert side.devices(token).status == 200
    assert side.devices("other").status == 401
    assert side.devices(token, cookies={"GLOBALTWA": "0"}).status == 401
    assert side.devices(token, cookies={"JSESSIONID": side.cookies["JSESSIONID"]}).status == 401


def test_a_session_ends(side, token):
    side.now += timedelta(seconds=1800)
    assert side.devices(token).status == 401
    assert side.manager.sessions == 0


def test_sessions_can_be_ended(side, token):
    side.manager.end_sessions()
    assert side.devices(token).status == 401


def test_logging_out_makes_the_token_invalid_and_takes_the_cookies_back(side, token):
    before = dict(side.cookies)
    answer = side.ask("GET", f"{REST_PATH}/customers/logout?sessionToken={token}")
    assert (answer.status, answer.headers["set-cookie"].count("Max-Age=0")) == (200, 2)
    assert side.devices(token, cookies=before).status == 401


@pytest.mark.parametrize("subscription", ["32", "mine"])
def test_the_subscription_may_be_called_mine(side, token, subscription):
    path = f"{REST_PATH}/subscriptions/{subscription}/devices/e{DEV_EUI}?sessionToken={token}"
    assert json.loads(side.ask("GET", path).body)["EUI"] == DEV_EUI


def test_another_subscription_is_refused(side, token):
    assert side.ask("GET", f"{REST_PATH}/subscriptions/33/devices?sessionToken={token}").status == 400


def test_data_is_given_as_xml_to_those_who_want_it(side, token):
    answer = side.devices(token, XML)
    assert answer.headers["content-type"].startswith("application/xml")
    assert answer.body.count(b"<briefs>") == 2
    assert b"<more>false</more>" in answer.body


@pytest.mark.parametrize("headers", [{"Accept": "text/html"}, {"Accept": "*/*"}])
def test_another_media_type_is_not_to_be_had(side, token, headers):
    assert side.devices(token, headers).status == 406


def test_the_back_office_says_its_name_in_two_spellings(side):
    body = json.dumps({"login": LOGIN, "password": PASSWORD}).encode()
    given = json.loads(
        side.ask("POST", f"{SMP_PATH}/admins/login", {**JSON, "Content-Type": "application/json"}, body).body
    )
    assert given.keys() == {"sessionToken", "thingparkID"}
    body = (
        '<ns:login xmlns:ns="http://www.actility.com/smp/ws/admin">'
        f"<login>{LOGIN}</login><password>{PASSWORD}</password></ns:login>"
    ).encode()
    given = side.ask("POST", f"{SMP_PATH}/admins/login", {**XML, "Content-Type": "application/xml"}, body)
    assert b"<thingParkID>" in given.body
    assert b"<ns:login" in given.body


@pytest.mark.parametrize("body", [b"", b"[]", b"<a/>", b"<", b"{" * 5000])
@pytest.mark.parametrize("kind", ["application/json", "application/xml", "text/plain"])
def test_what_is_no_login_is_a_bad_request(side, body, kind):
    assert side.ask("POST", f"{SMP_PATH}/admins/login", {**JSON, "Content-Type": kind}, body).status == 400


@pytest.mark.parametrize(
    ("wanted", "with_token", "status"),
    [
        ({"subscriberID": "100000001", "moduleID": "TPW_SUBS"}, True, 200),
        ({"subscriberID": "100000001", "moduleID": "TPW_SUBS"}, False, 401),
        ({"subscriberID": "9", "moduleID": "TPW_SUBS"}, True, 400),
        ({"subscriberID": "100000001"}, True, 400),
    ],
)
def test_an_access_code_wants_subscriber_and_module_and_the_back_office_s_session(side, wanted, with_token, status):
    media = {**JSON, "Content-Type": "application/json"}
    body = json.dumps({"login": LOGIN, "password": PASSWORD}).encode()
    given = json.loads(side.ask("POST", f"{SMP_PATH}/admins/login", media, body).body)
    query = f"?sessionToken={given['sessionToken']}" if with_token else ""
    path = f"{SMP_PATH}/admins/{given['thingparkID']}/accessCode{query}"
    assert side.ask("POST", path, media, json.dumps(wanted).encode()).status == status


def test_a_challenge_has_a_nonce_that_is_good_once(side):
    nonces = {side.ask("GET", f"{SMP_PATH}/admins/id").headers["www-authenticate"] for _ in range(3)}
    assert len(nonces) == 3
    assert all(one.startswith('Digest realm="thingpark", qop="auth", algorithm=MD5') for one in nonces)


def test_faults_can_be_ordered_for_logins_and_data(side, token):
    side.manager.faults.order(answered(429, retry_after_s=2), path="/devices")
    answer = side.devices(token)
    assert (answer.status, answer.headers["retry-after"]) == (429, "2")
    assert side.devices(token).status == 200
    assert [asked.status for asked in side.manager.asked][-2:] == [429, 200]


def test_a_lost_answer_is_of_something_that_was_done(side, token):
    side.manager.faults.order(LOST, method="DELETE")
    path = f"{REST_PATH}/subscriptions/32/devices/e{DEV_EUI}?sessionToken={token}"
    with pytest.raises(Exception, match="was lost"):
        side.ask("DELETE", path)
    assert side.ask("GET", path).status == 400


def test_the_same_seed_gives_the_same_codes(side):
    with HttpClient() as http:
        other = Side(http)
        try:
            assert other.code() == side.code()
        finally:
            other.server.stop()


def test_nothing_secret_is_shown(side, token):
    assert token not in repr(side.manager)
    assert PASSWORD not in repr(side.manager)
