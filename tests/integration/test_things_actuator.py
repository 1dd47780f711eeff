"""Downlinks through KPN Things, against a real server: what is asked, and how each answer ends."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from receiver.errors import NotFoundError, SettingsError
from receiver.http_client import HttpBounds, HttpClient, tls_context
from receiver.services.connections import add_connection, get_connection
from receiver.services.downlink_actuator import make_actuator_transport
from receiver.services.downlink_checks import DownlinkRefusedError, DownlinkWish
from receiver.services.downlink_encoding import ObjectEncoder
from receiver.services.downlink_transport import MOST_REQUESTS, NOT_REPORTED, DownlinkToSend
from receiver.services.downlink_transport_directory import TransportSettings
from receiver.services.downlinks import enqueue
from receiver.services.things_accounts import NewAccount, load_account, remove_account, set_account, show_account
from receiver.thingpark.downlink_answers import Verdict
from tests.integration.dispatch_use import Desk
from tests.integration.forward_use import Authority
from tests.integration.things_platform import KEY_ID, KEY_SECRET, TENANT, ThingsPlatform
from tests.integration.things_use import DEV_EUI, NAME, add_things

DOWNLINK = DownlinkToSend(7, DEV_EUI, 2, b"\x0a\x0b", None, False, False, None, "00000000000000FF")


@pytest.fixture
def platform():
    with ThingsPlatform() as platform:
        yield platform


@pytest.fixture
def http():
    with HttpClient(bounds=HttpBounds(whole_s=1.5)) as http:
        yield http


@pytest.fixture
def give(engine, keyring, now, platform):
    """Give the connection an account at the platform."""
    add_things(engine, keyring, now)

    def give(name=NAME, **changed):
        account = {
            "tenant_id": TENANT,
            "key_id": KEY_ID,
            "key_secret": KEY_SECRET,
            "api_url": platform.url,
            "token_url": platform.token_url,
            **changed,
        }
        return set_account(engine, keyring, now, name, NewAccount(**account))

    return give


@pytest.fixture
def transport(engine, keyring, http, give):
    give()
    settings = TransportSettings(get_connection(engine, NAME), "offset", ())
    return make_actuator_transport(settings, engine, keyring, http)


@pytest.fixture
def send(transport, now):
    return lambda **changed: transport.send(DOWNLINK._replace(**changed), now)


def test_a_downlink_is_asked_for_as_documented(platform, send):
    outcome = send()

    [came] = platform.downlinks
    assert came.target == "/api/actuator/downlinks?port=2&externalReference=00000000000000FF"
    assert came.headers["accept"] == "application/vnd.kpnthings.actuator.v1.response+json"
    assert (came.headers["content-type"], came.token) == ("application/json", "token-1")
    assert json.loads(came.body) == [{"bn": f"urn:dev:DEVEUI:{DEV_EUI}:", "n": "payloadHex", "vs": "0a0b"}]
    assert (outcome.answer.verdict, outcome.answer.cause) == (Verdict.ACCEPTED, NOT_REPORTED)
    assert "does not report what became of it" in outcome.answer.text
    assert outcome.told == '201 {"status":"Executing"}'
    assert outcome.request.startswith(f"POST {platform.url}/api/actuator/downlinks?port=2")


def test_one_login_serves_many_downlinks(platform, send):
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _number: send(), range(8)))

    assert {outcome.answer.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
    assert (len(platform.logins), len(platform.downlinks)) == (1, 8)


@pytest.mark.parametrize("status", [302, 401])
def test_a_token_that_is_not_taken_any_more_is_renewed_once(platform, send, status):
    send()
    platform.good, platform.refused_status = {"token-2"}, status
    outcome = send()

    assert outcome.answer.verdict is Verdict.ACCEPTED
    assert [came.token for came in platform.downlinks] == ["token-1", "token-1", "token-2"]
    assert len(platform.logins) == 2


@pytest.mark.parametrize("status", [302, 401])
def test_a_new_token_that_is_not_taken_holds_the_connection(platform, send, status):
    platform.good, platform.refused_status = set(), status
    first, second = send(), send()

    assert (first.answer.verdict, first.answer.cause) == (Verdict.HOLD, "unauthorised")
    assert second.answer.verdict is Verdict.HOLD
    # A token of just now is not renewed; one that was kept is, once.
    assert (len(platform.logins), len(platform.downlinks)) == (2, 3)
    assert len(platform.logins) + len(platform.downlinks) - 2 <= MOST_REQUESTS


def test_of_many_whose_token_ended_one_logs_in_again(platform, send):
    send()
    platform.good = {"token-2"}
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _number: send(), range(4)))

    assert {outcome.answer.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
    assert len(platform.logins) == 2


@pytest.mark.parametrize(
    ("status", "verdict", "cause"),
    [
        (200, Verdict.ACCEPTED, NOT_REPORTED),
        (204, Verdict.ACCEPTED, NOT_REPORTED),
        (400, Verdict.REFUSED, "status-400"),
        (403, Verdict.HOLD, "forbidden"),
        (429, Verdict.RETRY, "busy"),
        (500, Verdict.UNKNOWN, "fault"),
        (503, Verdict.RETRY, "busy"),
    ],
)
def test_each_answer_ends_as_it_says(platform, send, status, verdict, cause):
    platform.api = lambda _came: (status, {"retry-after": "7"}, b"" if status == 204 else b'{"message":"why"}')
    outcome = send()

    assert (outcome.answer.verdict, outcome.answer.cause, outcome.retry_after_s) == (verdict, cause, 7.0)
    assert outcome.told == (str(status) if status == 204 else f'{status} {{"message":"why"}}')


def test_an_answer_that_never_comes_leaves_the_outcome_unknown(platform, send):
    waiting = threading.Event()
    platform.api = lambda _came: waiting.wait(10) and None
    outcome = send()
    waiting.set()

    assert (outcome.answer.verdict, outcome.answer.cause) == (Verdict.UNKNOWN, "no-answer")
    assert outcome.told is None


def test_an_api_that_is_not_there_was_asked_nothing(give, send):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    give(api_url=url)

    assert send().answer.verdict is Verdict.AWAY


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ((401, {}, b'{"error":"invalid_client"}'), Verdict.HOLD),
        ((302, {"location": "/"}, b""), Verdict.HOLD),
        ((503, {}, b""), Verdict.AWAY),
        (None, Verdict.AWAY),
    ],
)
def test_without_a_login_the_api_is_not_asked(platform, send, answer, verdict):
    platform.login = lambda _came: answer

    assert send().answer.verdict is verdict
    assert platform.downlinks == []


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"dev_eui": "DVNUUID:737b588b-547e-45d3-96d0-f79723291bf1"}, "no-dev-eui"),
        ({"flush": True}, "flush"),
        ({"payload": None, "f_port": None, "flush": True}, "flush"),
        ({"confirmed": True}, "confirmed"),
        ({"f_cnt_down": 5}, "encrypted"),
        ({"payload": b""}, "no-payload"),
        ({"f_port": 0}, "no-payload"),
        ({"f_port": 224}, "no-payload"),
    ],
)
def test_what_kpn_things_cannot_do_is_refused_before_it_is_asked(platform, send, changed, cause):
    outcome = send(**changed)

    assert (outcome.answer.verdict, outcome.answer.cause) == (Verdict.REFUSED, cause)
    assert platform.logins == platform.downlinks == []


def test_a_sub_customer_is_named_in_each_request(platform, give, send):
    give(client_id="customer-1", security_context="context-1")
    send()

    assert platform.downlinks[0].headers["x-client-id"] == "customer-1"
    assert platform.downlinks[0].headers["kpn-things-security-context"] == "context-1"


def test_the_newer_api_is_asked_as_the_account_spells_it(platform, give, send):
    give(
        api="new", downlink_path="/lora/downlinks?d={dev_eui}", downlink_body='{"port":{f_port},"hex":"{payload_hex}"}'
    )
    send()

    assert platform.downlinks[0].target == f"/lora/downlinks?d={DEV_EUI}"
    assert json.loads(platform.downlinks[0].body) == {"port": 2, "hex": "0a0b"}


def test_an_account_that_was_changed_is_in_force_at_once_and_one_of_the_same_key_keeps_its_token(platform, give, send):
    send()
    give(client_id="customer-1")
    send()
    assert len(platform.logins) == 1
    give(key_secret="another")

    assert send().answer.cause == "login-refused"
    assert len(platform.logins) == 2


def test_without_an_account_nothing_is_sent_and_a_person_is_told_what_to_do(engine, transport, now):
    remove_account(engine, NAME)

    outcome = transport.send(DOWNLINK, now)
    assert (outcome.answer.verdict, outcome.answer.cause) == (Verdict.HOLD, "account")
    assert "receiver connection set-things-account things" in outcome.answer.text


def test_a_database_that_is_away_is_no_answer_of_kpn_things(platform, send, database_is_away):
    with database_is_away():
        assert send().answer.verdict is Verdict.AWAY
    assert platform.downlinks == []


def test_a_token_that_an_answer_echoes_is_not_shown(platform, send):
    platform.api = lambda came: (400, {}, f"you sent {came.headers['authorization']}".encode())

    assert "token-1" not in repr(tuple(send())) + str(send().answer.text)


def test_no_secret_and_no_token_is_shown_or_logged(platform, engine, give, send, capfd, caplog):
    outcomes = [send()]
    platform.good = set()
    outcomes.append(send())
    stored = give()
    with engine.connect() as connection:
        sealed = connection.execute(text("SELECT sealed_key_secret FROM things_accounts")).scalar_one()
    shown = "".join(map(repr, map(tuple, outcomes))) + repr(stored) + caplog.text + "".join(capfd.readouterr())

    assert KEY_SECRET not in shown
    assert "token-" not in shown
    assert KEY_SECRET.encode() not in bytes(sealed)


def test_over_tls_the_api_and_the_login_are_verified(engine, keyring, now, tmp_path):
    add_things(engine, keyring, now)
    authority = Authority(tmp_path, "ours")
    with ThingsPlatform(certificate=authority.certify("things")) as platform:
        account = NewAccount(TENANT, KEY_ID, KEY_SECRET, platform.url, platform.token_url)
        set_account(engine, keyring, now, NAME, account)
        settings = TransportSettings(get_connection(engine, NAME), "offset", ())
        with HttpClient(tls_context(authority.file)) as http:
            ours = make_actuator_transport(settings, engine, keyring, http).send(DOWNLINK, now)
        with HttpClient() as http:
            others = make_actuator_transport(settings, engine, keyring, http).send(DOWNLINK, now)

    assert (ours.answer.verdict, others.answer.verdict) == (Verdict.ACCEPTED, Verdict.AWAY)


def test_an_account_is_shown_without_its_secret_and_goes_with_its_connection(engine, keyring, give):
    give()
    shown = show_account(engine, NAME)

    assert (shown.key_id, shown.tenant_id, shown.api) == (KEY_ID, TENANT, "beta")
    assert load_account(engine, keyring, shown.connection_id).login.key_secret == KEY_SECRET
    remove_account(engine, NAME)
    assert show_account(engine, NAME) is None
    with pytest.raises(NotFoundError, match="has no account"):
        remove_account(engine, NAME)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"api_url": "http://api.kpnthings.com"}, "https://"),
        ({"token_url": "http://auth.example/token"}, "https://"),
        ({"api_url": "https://u:p@host"}, "no API URL"),
        ({"api_url": "https://"}, "no API URL"),
        ({"token_url": "v9"}, "no token URL"),
        ({"key_secret": ""}, "key secret is empty"),
        ({"key_secret": "a b"}, "key secret is empty"),
        ({"tenant_id": "a\nb"}, "tenant id is empty"),
        ({"client_id": "a\r\nx: y"}, "client id is empty"),
        ({"api": "old"}, "choose beta or new"),
        ({"api": "new"}, "not published"),
        ({"downlink_path": "/a b"}, "path of downlinks"),
    ],
)
def test_an_account_that_cannot_be_used_is_refused(give, changed, told):
    with pytest.raises(SettingsError, match=told):
        give(**changed)


def test_a_connection_of_thingpark_has_no_account(engine, keyring, now, give):
    add_connection(engine, keyring, now, name="field", platform="thingpark", tunnel_key=None)

    with pytest.raises(SettingsError, match="for those of kpn-things"):
        give(name="field")


@pytest.fixture
def desk(engine, keyring, now, http):
    desk = Desk(engine, keyring, now, http, None)
    yield desk
    desk.close()


def test_the_dispatcher_sends_by_it_and_waits_for_no_report(desk, platform, give, engine, keyring, http):
    connection_id = give().connection_id
    downlink_id = desk.put_in(connection_id, dev_eui=DEV_EUI, payload=b"\x0a", f_port=2)

    def make(settings):
        return make_actuator_transport(settings, engine, keyring, http)

    desk.dispatcher(makers={"kpn-things": make})
    desk.work(lambda: desk.state(downlink_id) == "accepted")

    row = desk.row(downlink_id)
    assert (row.state, row.cause, row.due_at) == ("accepted", NOT_REPORTED, None)
    assert row.detail == "KPN Things has taken it. KPN Things does not report what became of it."
    assert platform.downlinks[0].target.endswith(f"externalReference={row.correlation_id}")


def wish(**changed):
    return DownlinkWish(DEV_EUI, f_port=2, payload=b"\x0a", connection=NAME, **changed)


def test_a_downlink_is_put_in_once_its_connection_has_an_account(engine, keyring, now, platform):
    add_things(engine, keyring, now)
    encoder = ObjectEncoder()
    with pytest.raises(DownlinkRefusedError, match="receiver connection set-things-account things"):
        enqueue(engine, encoder, now, 1, wish(), creator="test")
    account = NewAccount(TENANT, KEY_ID, KEY_SECRET, platform.url, platform.token_url)
    set_account(engine, keyring, now, NAME, account)

    assert enqueue(engine, encoder, now, 1, wish(), creator="test").is_new
