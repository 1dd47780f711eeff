"""Access tokens of KPN Things, from a real server: asked for once, kept, renewed; never shown."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from receiver.errors import LoginRefusedError, NoAnswerError, ReceiverError
from receiver.http_client import HttpBounds, HttpClient, tls_context
from receiver.platforms.grip import TOKEN_URLS, GripAccount, GripTokens
from tests.integration.forward_use import Authority
from tests.integration.things_platform import AUDIENCE, KEY_ID, KEY_SECRET, TENANT, ThingsPlatform


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def platform():
    with ThingsPlatform() as platform:
        yield platform


@pytest.fixture
def http():
    with HttpClient(bounds=HttpBounds(whole_s=5)) as http:
        yield http


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tokens(platform, http, clock):
    return GripTokens(http, account(platform.token_url), clock)


def account(token_url, secret=KEY_SECRET):
    return GripAccount(token_url, TENANT, AUDIENCE, KEY_ID, secret)


def test_a_token_is_asked_for_as_grip_wants_it(platform, tokens):
    assert tokens.get().text == "token-1"

    [login] = platform.logins
    assert login.headers["content-type"] == "application/json"
    assert json.loads(login.body) == {
        "grant_type": "client_credentials",
        "audience": AUDIENCE,
        "client_id": KEY_ID,
        "client_secret": KEY_SECRET,
    }


@pytest.mark.parametrize(("form", "path"), [("v2", "/v2/a%2Fb/oidc/idp/token"), ("c1", "/v2/a%2Fb/oidc/idp/c1/token")])
def test_the_tenant_stands_in_the_older_urls(platform, http, form, path):
    url = TOKEN_URLS[form].replace("https://auth.grip-on-it.com", platform.url)
    GripTokens(http, GripAccount(url, "a/b", AUDIENCE, KEY_ID, KEY_SECRET)).get()

    assert platform.logins[0].target == path


def test_a_token_is_kept_and_renewed_ten_minutes_before_it_ends(platform, tokens, clock):
    assert tokens.get().is_new
    clock.now += 2999
    assert (tokens.get().text, tokens.get().is_new) == ("token-1", False)
    clock.now += 2
    assert (tokens.get().text, len(platform.logins)) == ("token-2", 2)


@pytest.mark.parametrize(("life", "kept_s"), [("3600", 3000), (100, 50), (None, 3000), (-5, 3000), ("soon", 3000)])
def test_a_life_that_is_short_text_or_no_life_is_made_the_best_of(platform, tokens, clock, life, kept_s):
    platform.life = life
    tokens.get()
    clock.now += kept_s - 1
    assert tokens.get().text == "token-1"
    clock.now += 2
    assert tokens.get().text == "token-2"


def test_of_many_who_ask_at_a_time_one_logs_in(platform, tokens):
    together = threading.Barrier(8)

    def ask(_number):
        together.wait(10)
        return tokens.get().text

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"token-1"}
    assert len(platform.logins) == 1


def test_of_many_whose_token_was_refused_one_logs_in_again(platform, tokens):
    refused = tokens.get()
    together = threading.Barrier(8)

    def renew(_number):
        together.wait(10)
        return tokens.renew(refused).text

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(renew, range(8))) == {"token-2"}
    assert len(platform.logins) == 2


def test_a_key_that_is_not_taken_is_told_without_the_key(platform, http):
    with pytest.raises(LoginRefusedError, match=r"401 \(invalid_client\)") as refused:
        GripTokens(http, account(platform.token_url, "another-secret")).get()
    assert "another-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ((302, {"location": "/login"}, b""), LoginRefusedError, "redirect"),
        ((404, {}, b"<html>"), LoginRefusedError, "404"),
        ((200, {}, b"<html>"), LoginRefusedError, "without a token"),
        ((200, {}, b'{"access_token":"a b"}'), LoginRefusedError, "without a token"),
        ((200, {}, b'{"access_token":"a\\r\\nx: y"}'), LoginRefusedError, "without a token"),
        ((200, {}, b"[" * 5000), LoginRefusedError, "without a token"),
        ((429, {}, b""), NoAnswerError, "busy"),
        ((503, {}, b""), NoAnswerError, "busy"),
        (None, NoAnswerError, "lost"),
    ],
)
def test_another_answer_is_told_as_what_it_is(platform, tokens, answer, error, told):
    platform.login = lambda _came: answer

    with pytest.raises(error, match=told):
        tokens.get()


def test_a_failed_login_is_the_answer_for_a_while_and_then_tried_again(platform, tokens, clock):
    platform.login = lambda _came: (503, {}, b"")
    for _ in range(3):
        with pytest.raises(NoAnswerError):
            tokens.get()
    assert len(platform.logins) == 1
    platform.login = platform.usual_login
    clock.now += 6

    assert tokens.get().text == "token-2"


def test_a_login_whose_certificate_nobody_vouches_for_is_not_asked(tmp_path):
    authority = Authority(tmp_path, "ours")
    with ThingsPlatform(certificate=authority.certify("grip")) as platform:
        sentence = r"^The login of KPN Things at 127\.0\.0\.1: It cannot be reached: its certificate is not trusted"
        with HttpClient() as http, pytest.raises(NoAnswerError, match=sentence):
            GripTokens(http, account(platform.token_url)).get()
        assert platform.logins == []
        with HttpClient(tls_context(authority.file)) as http:
            assert GripTokens(http, account(platform.token_url)).get().text == "token-1"


def test_no_secret_and_no_token_stands_in_a_repr(platform, tokens):
    shown = repr(account(platform.token_url)) + repr(tokens.get()) + repr(tokens)

    assert KEY_SECRET not in shown
    assert "token-1" not in shown


def test_its_errors_are_the_house_s_own(http):
    with pytest.raises(ReceiverError):
        GripTokens(http, account("http://127.0.0.1:1/token")).get()
