"""Requests to management APIs over real HTTP: what is repeated and what never is, logins, pauses, pace."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs

import pytest

from receiver.errors import GivenUpError, LoginRefusedError, NoAnswerError, PlatformRefusedError
from receiver.http_client import HttpAnswer, HttpBounds, HttpClient, tls_context
from receiver.platforms.caller import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    MOST_TRIES,
    PlatformCaller,
    retry_after_s,
)
from receiver.platforms.calls import PlatformCall
from receiver.platforms.oauth import BearerTokens, OauthAccount, TokenForm
from receiver.simulator.loopback_server import HttpReply, LoopbackServer

SECRET = "client-secret+that&nobody=sees"
LOST = HttpReply(0, is_lost=True)
GET, PUT, POST = (
    PlatformCall(method, "/things", body=None if method == "GET" else {"a": 1}) for method in ("GET", "PUT", "POST")
)


def ok(value=None):
    return HttpReply(200, json.dumps({"good": True} if value is None else value).encode(), "application/json")


def said(status, message="not now", **headers):
    fields = tuple((name.replace("_", "-"), str(value)) for name, value in headers.items())
    return HttpReply(status, json.dumps({"message": message}).encode(), "application/json", fields)


class Platform:
    """Answers requests with `replies` in their order, and then with 200; each login gives another token."""

    def __init__(self):
        self.replies = deque()
        self.login_replies = deque()
        self.asked = []
        self.logins = []
        self.life = "3599"
        self.good_tokens = None
        self.now = 1000.0
        self.slept = []
        self.server = LoopbackServer()

    def answer(self, request):
        if request.path == "/token":
            self.logins.append(request)
            if self.login_replies:
                return self.login_replies.popleft()
            return ok({"access_token": f"token-{len(self.logins)}", "expires_in": self.life, "token_type": "Bearer"})
        self.asked.append(request)
        token = request.headers["authorization"].removeprefix("Bearer ")
        if self.good_tokens is not None and token not in self.good_tokens:
            return said(401, "token expired")
        return self.replies.popleft() if self.replies else ok()

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def account(self, form=TokenForm.KPN_GATEWAY):
        return OauthAccount(f"{self.server.origin}/token", "client id", SECRET, form)

    def run(self, use, *, form=TokenForm.KPN_GATEWAY, pace_s=0.0):
        with HttpClient(tls_context(None), HttpBounds(whole_s=10, body_bytes=100_000)) as http:
            tokens = BearerTokens(http, self.account(form), "Platform", lambda: self.now)
            caller = PlatformCaller(
                http,
                self.server.origin,
                "Platform",
                tokens,
                pace_s=pace_s,
                sleep=self.sleep,
                monotonic=lambda: self.now,
            )

            async def run():
                return await use(caller)

            return asyncio.run(run())

    def call(self, call=GET, **options):
        return self.run(lambda caller: caller.call(call, **options))

    @property
    def tokens_used(self):
        return [request.headers["authorization"].removeprefix("Bearer ") for request in self.asked]


@pytest.fixture
def platform():
    platform = Platform()
    platform.server.start(platform.answer)
    yield platform
    platform.server.stop()


# --- one request


def test_a_good_answer_is_given_with_its_json(platform):
    answer = platform.call()

    assert (answer.status, answer.members.flag("good")) == (200, True)
    assert platform.slept == []


def test_a_request_goes_out_with_its_body_and_types(platform):
    platform.call(PlatformCall("POST", "/things", (("a b", "c/d"),), {"x": "é"}, (("api-version", "v1.1.1"),)))

    [request] = platform.asked
    assert (request.method, request.path, request.query) == ("POST", "/things", "a%20b=c%2Fd")
    assert request.body == '{"x":"é"}'.encode()
    headers = request.headers
    assert (headers["content-type"], headers["accept"]) == ("application/json", "application/json")
    assert headers["api-version"] == "v1.1.1"


def test_a_request_without_body_has_no_content_type(platform):
    platform.call(GET)

    assert "content-type" not in platform.asked[0].headers


@pytest.mark.parametrize("value", [{"code": 114, "message": "no"}, {"code": 4, "message": "no", "errorId": "OSS-4"}])
def test_a_code_and_a_message_are_a_refusal_with_whatever_status(platform, value):
    platform.replies.append(ok(value))

    with pytest.raises(PlatformRefusedError, match=r"refused with status 200 .*: no\."):
        platform.call()


def test_a_refusal_with_a_good_status_can_be_asked_for(platform):
    platform.replies.append(ok({"code": 114, "message": "row 3"}))

    assert platform.call(reads_refusals=True).members.text("message") == "row 3"


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_a_refusal_is_not_repeated(platform, status):
    platform.replies.append(said(status, "It cannot be."))

    with pytest.raises(PlatformRefusedError, match="It cannot be") as refused:
        platform.call()

    assert refused.value.status == status
    assert len(platform.asked) == 1


def test_a_redirect_is_not_followed(platform):
    platform.replies.append(HttpReply(302, headers=(("Location", f"{platform.server.origin}/other"),)))

    with pytest.raises(PlatformRefusedError, match="A redirect is not followed"):
        platform.call()

    assert [request.path for request in platform.asked] == ["/things"]


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_a_secret_that_an_answer_repeats_is_not_passed_on(platform, status):
    words = "asKey key-of-somebody of token-1 is refused"
    platform.replies.append(HttpReply(status, json.dumps({"code": 4, "message": words}).encode(), "application/json"))

    with pytest.raises(
        (PlatformRefusedError, LoginRefusedError, NoAnswerError), match="asKey … of … is ref"
    ) as refused:
        platform.call(PlatformCall("POST", "/things", body={"routes": [{"asKey": "key-of-somebody"}]}))

    assert "somebody" not in str(refused.value)


# --- busy servers


@pytest.mark.parametrize("call", [GET, PUT, POST], ids=lambda call: call.method)
def test_too_many_requests_are_repeated_after_the_time_that_is_asked_for(platform, call):
    platform.replies.append(said(429, retry_after=7))

    platform.call(call)

    assert len(platform.asked) == 2
    assert platform.slept == [7]


def test_a_time_to_wait_may_be_a_date(platform):
    at = datetime.now(UTC) + timedelta(seconds=20)
    platform.replies.append(said(429, retry_after=format_datetime(at, usegmt=True)))

    platform.call()

    [slept] = platform.slept
    assert 10 < slept <= 20


def test_pauses_double_where_no_time_is_asked_for(platform):
    platform.replies.extend([said(429)] * 4)

    platform.call()

    assert platform.slept == [FIRST_PAUSE_S, 2, 4, 8]


def test_a_time_to_wait_that_is_shorter_than_the_pause_does_not_shorten_it(platform):
    platform.replies.extend([said(429, retry_after=0)] * 3)

    platform.call()

    assert platform.slept == [1, 2, 4]


def test_a_time_to_wait_that_is_too_long_is_told_and_not_waited_for(platform):
    platform.replies.append(said(429, retry_after=int(LONGEST_PAUSE_S) + 1))

    with pytest.raises(
        NoAnswerError, match=r"asks for fewer requests \(status 429\): not now\. It asks .* 61 s"
    ) as away:
        platform.call()

    assert platform.slept == []
    assert not away.value.was_sent


def test_it_is_given_up_after_some_tries(platform):
    platform.replies.extend([said(503, retry_after=1)] * 99)

    with pytest.raises(NoAnswerError, match="is away or busy"):
        platform.call()

    assert len(platform.asked) == MOST_TRIES


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("call", [GET, PUT], ids=lambda call: call.method)
def test_what_can_be_done_twice_is_repeated_while_the_server_is_away(platform, call, status):
    platform.replies.append(said(status))

    platform.call(call)

    assert len(platform.asked) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_post_is_not_repeated_while_the_server_may_have_done_it(platform, status):
    platform.replies.append(said(status))

    with pytest.raises(NoAnswerError) as away:
        platform.call(POST)

    assert away.value.was_sent
    assert len(platform.asked) == 1


def test_a_post_is_repeated_where_the_server_says_when_to_come_again(platform):
    platform.replies.append(said(503, retry_after=3))

    platform.call(POST)

    assert (len(platform.asked), platform.slept) == (2, [3])


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 0.0), ("120", 120.0), ("", None), ("soon", None), ("-1", None), ("1.5", None), ("9" * 400, 999999999.0)],
)
def test_a_time_to_wait_is_read_or_is_none(value, expected):
    assert retry_after_s(HttpAnswer(429, {"retry-after": value}, b"")) == expected


def test_a_date_that_is_over_means_at_once():
    assert retry_after_s(HttpAnswer(429, {"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, b"")) == 0.0


@pytest.mark.parametrize(
    "write", [lambda at: str(int(at.timestamp() * 1000)), lambda at: at.isoformat()], ids=["ms", "iso"]
)
def test_a_quota_is_waited_for_until_it_begins_anew(platform, write):
    platform.replies.append(said(429, quota_reset_UTC=write(datetime.now(UTC) + timedelta(seconds=30))))

    platform.call()

    [slept] = platform.slept
    assert 15 < slept <= 30


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (503, {"quota-reset-utc": str(int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()))}),
        (429, {"quota-reset-utc": str(int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()))}),
        (429, {"quota-reset-utc": "1516705619073"}),
        (429, {"quota-reset-utc": "soon"}),
    ],
)
def test_a_quota_s_time_that_cannot_be_meant_is_not_waited_for(status, headers):
    assert retry_after_s(HttpAnswer(status, headers, b"")) is None


def test_an_answer_without_the_header_asks_for_nothing():
    assert retry_after_s(HttpAnswer(429, {}, b"")) is None


# --- lost answers


@pytest.mark.parametrize("call", [GET, PUT], ids=lambda call: call.method)
def test_a_lost_answer_is_asked_for_again_where_that_is_harmless(platform, call):
    platform.replies.append(LOST)

    assert platform.call(call).status == 200
    assert len(platform.asked) == 2


def test_a_post_whose_answer_was_lost_is_not_repeated_unknowingly(platform):
    platform.replies.append(LOST)

    with pytest.raises(NoAnswerError, match="Platform: The answer was lost") as lost:
        platform.call(POST)

    assert lost.value.was_sent
    assert len(platform.asked) == 1


def finder(found):
    """Give a `find` that gives these in turn, and a list of its calls."""
    calls = []
    left = deque(found)

    async def find():
        calls.append(1)
        return left.popleft()

    return find, calls


def test_what_was_made_although_its_answer_was_lost_is_found(platform):
    platform.replies.append(LOST)
    find, looked = finder(["it"])

    created = platform.run(lambda caller: caller.create(POST, find))

    assert (created.answer, created.found) == (None, "it")
    assert (len(platform.asked), len(looked)) == (1, 1)


def test_what_was_not_made_is_asked_for_again_after_a_pause(platform):
    platform.replies.extend([LOST, LOST])
    find, looked = finder([None, None])

    created = platform.run(lambda caller: caller.create(POST, find))

    assert created.answer.status == 200
    assert (len(platform.asked), len(looked), platform.slept) == (3, 2, [1, 2])


def test_nothing_is_looked_up_where_the_answer_came(platform):
    find, looked = finder([])

    platform.run(lambda caller: caller.create(POST, find))

    assert looked == []


def test_what_was_made_late_is_found_when_the_second_request_is_refused(platform):
    platform.replies.extend([LOST, said(409, "exists already")])
    find, _ = finder([None, "it"])

    created = platform.run(lambda caller: caller.create(POST, find))

    assert created.found == "it"


def test_a_first_refusal_is_not_looked_into(platform):
    platform.replies.append(said(409, "exists already"))
    find, looked = finder(["somebody else's"])

    with pytest.raises(PlatformRefusedError, match="exists already"):
        platform.run(lambda caller: caller.create(POST, find))

    assert looked == []


def test_answers_that_are_lost_for_ever_are_told_in_the_end(platform):
    platform.replies.extend([LOST] * 99)
    find, looked = finder([None] * 99)

    with pytest.raises(NoAnswerError) as lost:
        platform.run(lambda caller: caller.create(POST, find))

    assert lost.value.was_sent
    assert (len(platform.asked), len(looked)) == (MOST_TRIES, MOST_TRIES - 1)


def test_a_server_that_was_there_before_is_waited_for(platform):
    async def use(caller):
        await caller.call(GET)
        platform.server.stop()
        await caller.call(POST)

    with pytest.raises(NoAnswerError, match=r"Platform at 127\.0\.0\.1: It cannot be reached") as away:
        platform.run(use)

    assert not away.value.was_sent
    assert platform.slept == [1, 2, 4, 8, 16]


def test_a_server_that_was_never_reached_is_told_after_the_second_try(platform):
    platform.server.stop()

    with pytest.raises(NoAnswerError, match=r"The login of Platform at 127\.0\.0\.1: It cannot be reached"):
        platform.call()

    assert platform.slept == [1]


def test_a_request_that_is_given_up_here_is_not_sent_again(platform):
    with HttpClient(tls_context(None)) as http:
        caller = PlatformCaller(http, platform.server.origin, "Platform", BearerTokens(http, platform.account(), "P"))

    with pytest.raises(GivenUpError, match="It was not sent"):
        asyncio.run(caller.call(GET))


# --- logins


def test_kpn_s_gateway_gets_the_grant_in_the_query_and_the_rest_in_a_form(platform):
    platform.call()

    [login] = platform.logins
    assert (login.method, login.query) == ("POST", "grant_type=client_credentials")
    assert login.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(login.body.decode()) == {"client_id": ["client id"], "client_secret": [SECRET]}


def test_keycloak_gets_all_of_it_in_a_form(platform):
    platform.run(lambda caller: caller.call(GET), form=TokenForm.KEYCLOAK)

    [login] = platform.logins
    assert login.query == ""
    form = {"grant_type": ["client_credentials"], "client_id": ["client id"], "client_secret": [SECRET]}
    assert parse_qs(login.body.decode()) == form


def test_dx_admin_gets_all_of_it_in_the_query(platform):
    platform.run(lambda caller: caller.call(GET), form=TokenForm.DX_ADMIN)

    [login] = platform.logins
    assert login.body == b""
    assert parse_qs(login.query) == {
        "grant_type": ["client_credentials"],
        "client_id": ["client id"],
        "client_secret": [SECRET],
    }


def test_a_token_is_asked_for_once_and_kept(platform):
    async def use(caller):
        for _ in range(3):
            await caller.call(GET)

    platform.run(use)

    assert platform.tokens_used == ["token-1"] * 3


def test_of_several_at_a_time_one_logs_in(platform):
    async def use(caller):
        await asyncio.gather(*(caller.call(GET) for _ in range(5)))

    platform.run(use)

    assert len(platform.logins) == 1


@pytest.mark.parametrize(
    ("life", "kept_s", "over_s"),
    [("3599", 3500, 3560), (300, 260, 280), ("", 260, 280), ("x", 260, 280), (-5, 260, 280)],
)
def test_a_token_is_renewed_before_it_ends(platform, life, kept_s, over_s):
    platform.life = life

    async def use(caller):
        await caller.call(GET)
        platform.now += kept_s
        await caller.call(GET)
        platform.now += over_s - kept_s
        await caller.call(GET)

    platform.run(use)

    assert platform.tokens_used == ["token-1", "token-1", "token-2"]


def test_a_token_that_was_revoked_is_renewed_once(platform):
    async def use(caller):
        await caller.call(GET)
        platform.good_tokens = {"token-2"}
        return await caller.call(POST)

    assert platform.run(use).status == 200
    assert platform.tokens_used == ["token-1", "token-1", "token-2"]


def test_a_token_that_was_never_good_is_not_renewed(platform):
    platform.good_tokens = set()

    with pytest.raises(LoginRefusedError, match=r"token expired\. Check the account"):
        platform.call()

    assert len(platform.logins) == 1


def test_a_server_that_refuses_the_new_token_too_is_believed(platform):
    async def use(caller):
        await caller.call(GET)
        platform.good_tokens = set()
        await caller.call(GET)

    with pytest.raises(LoginRefusedError):
        platform.run(use)

    assert platform.tokens_used == ["token-1", "token-1", "token-2"]


def test_logins_and_refusals_by_turns_end(platform):
    async def use(caller):
        for _ in range(20):
            platform.replies.extend([ok(), said(401), said(429), said(401)])
            await caller.call(GET)

    with pytest.raises(LoginRefusedError):
        platform.run(use)

    assert len(platform.asked) == 4


def test_of_several_who_were_refused_one_renews(platform):
    async def use(caller):
        await caller.call(GET)
        platform.good_tokens = {"token-2"}
        await asyncio.gather(*(caller.call(GET) for _ in range(5)))

    platform.run(use)

    assert len(platform.logins) == 2


def test_a_request_with_a_password_of_its_own_is_not_sent_again(platform):
    async def use(caller):
        await caller.call(GET)
        platform.replies.append(said(401, "wrong password"))
        await caller.call(POST, may_renew=False)

    with pytest.raises(LoginRefusedError, match="wrong password"):
        platform.run(use)

    assert [request.method for request in platform.asked] == ["GET", "POST"]


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (said(401, "Unknown client"), "does not take this account.*Unknown client"),
        (said(400, f"Bad client {SECRET}"), "does not take this account.*Bad client …"),
        (HttpReply(302), "A redirect is not followed"),
        (HttpReply(200, b"<html>"), "without a token in it: the token URL is another one"),
        (ok({"access_token": "with space"}), "without a token in it"),
        (ok({"access_token": "with\nline"}), "without a token in it"),
        (ok({"access_token": ""}), "without a token in it"),
    ],
)
def test_a_refused_login_is_told_and_not_repeated(platform, reply, sentence):
    platform.login_replies.append(reply)

    with pytest.raises(LoginRefusedError, match=sentence) as refused:
        platform.call()

    assert SECRET not in str(refused.value)
    assert (len(platform.logins), len(platform.asked)) == (1, 0)


@pytest.mark.parametrize("reply", [said(503, retry_after=5), said(429, retry_after=5)], ids=["503", "429"])
def test_a_busy_login_is_asked_again_when_it_says(platform, reply):
    platform.login_replies.append(reply)

    platform.call(POST)

    assert (len(platform.logins), platform.slept) == (2, [5])


def test_a_login_whose_answer_was_lost_is_asked_again(platform):
    platform.login_replies.append(LOST)

    assert platform.call(POST).status == 200


def test_no_error_and_no_repr_holds_a_secret(platform):
    with HttpClient(tls_context(None)) as http:
        tokens = BearerTokens(http, platform.account(), "Platform")
        caller = PlatformCaller(http, platform.server.origin, "Platform", tokens)

        assert SECRET not in repr((tokens, caller, platform.account()))


# --- pace


def test_requests_are_so_far_apart_as_the_pace_says(platform):
    async def use(caller):
        await asyncio.gather(*(caller.call(GET) for _ in range(4)))

    platform.run(use, pace_s=0.5)

    assert platform.now == pytest.approx(1001.5)


def test_without_a_pace_nobody_waits(platform):
    async def use(caller):
        for _ in range(4):
            await caller.call(GET)

    platform.run(use)

    assert platform.slept == []
