"""What a caller may do how often, and what a call may bring: limits told as problem documents."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import pytest
from msgspec import Struct
from sqlalchemy import delete
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.config import load_settings
from receiver.errors import SettingsError
from receiver.services.api_keys import ApiKey, create_api_key, revoke_api_key
from receiver.storage.tables import api_keys
from receiver.web.auth import ApiGate, Endpoint
from receiver.web.bodies import MAX_BODY_BYTES
from receiver.web.operations import Operation
from receiver.web.rate_limit import MOST_FAILURES
from tests.integration.push_server import serving

WRONG_KEY = f"rcv_{'0' * 64}"


class Monotonic:
    """A clock that only the test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def monotonic():
    return Monotonic()


@pytest.fixture
def gate(engine, now, monotonic):
    """A gate that lets each key make a call a second, and five at once."""
    return ApiGate(engine, lambda: now, 1, monotonic)


@pytest.fixture
def make_key(engine, now):
    return lambda name: create_api_key(engine, now, name, "read")[1].reveal()


def call(gate, key, address="192.0.2.1"):
    """Call, from an address, and give the answer."""
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    scope = {"type": "http", "headers": headers, "query_string": b"", "path_params": {}, "client": (address, 1)}
    return asyncio.run(gate.handle(Request(scope), Operation("read", lambda _call: Response("done"))))


def call_often(gate, key, times, address="192.0.2.1"):
    return [call(gate, key, address).status_code for _ in range(times)]


def test_a_key_that_calls_too_often_is_told_to_wait_and_which_limit_it_is(gate, make_key, monotonic):
    key = make_key("dashboard")
    assert call_often(gate, key, 5) == [200] * 5

    refused = call(gate, key)

    assert (refused.status_code, refused.media_type) == (429, "application/problem+json")
    assert refused.headers["retry-after"] == "1"
    assert b'"limit": "calls-per-key"' in refused.body
    assert b"The limit of an API key is 1 calls a second. Come again in 1 s." in refused.body
    monotonic.now += 1
    assert call_often(gate, key, 2) == [200, 429]


def test_another_key_is_not_held_back(gate, make_key):
    keys = [make_key("dashboard"), make_key("script")]
    call_often(gate, keys[0], 9)

    assert call(gate, keys[1]).status_code == 200


def test_after_twenty_wrong_keys_an_address_is_refused_for_the_rest_of_the_minute(gate, make_key, monotonic):
    assert call_often(gate, WRONG_KEY, MOST_FAILURES) == [401] * MOST_FAILURES
    monotonic.now += 20

    refused = call(gate, WRONG_KEY)

    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "40"
    assert b'"limit": "failures-per-address"' in refused.body
    assert call(gate, make_key("late")).status_code == 429
    assert call(gate, WRONG_KEY, "192.0.2.2").status_code == 401
    monotonic.now += 40
    assert call(gate, WRONG_KEY).status_code == 401


def test_who_was_let_in_before_goes_on_where_others_guess(gate, make_key):
    key = make_key("dashboard")
    call(gate, key)
    call_often(gate, WRONG_KEY, MOST_FAILURES)

    assert call(gate, key).status_code == 200


def test_a_key_that_was_revoked_counts_as_a_wrong_one(gate, make_key, engine, now):
    key = make_key("dashboard")
    call(gate, key)
    revoke_api_key(engine, now, "dashboard")

    assert call_often(gate, key, MOST_FAILURES + 1) == [401] * MOST_FAILURES + [429]


def test_a_call_without_a_key_is_no_guess(gate, make_key):
    assert call_often(gate, None, MOST_FAILURES + 5) == [401] * (MOST_FAILURES + 5)

    assert call(gate, make_key("dashboard")).status_code == 200


def test_a_refused_address_costs_no_look_at_the_database(gate, make_key, database_is_away):
    call_often(gate, WRONG_KEY, MOST_FAILURES)

    with database_is_away():
        assert call(gate, WRONG_KEY).status_code == 429


def test_who_calls_can_be_asked_without_running_anything(gate, make_key):
    key = make_key("dashboard")

    def ask(text, scope):
        headers = [(b"authorization", f"Bearer {text}".encode())]
        return asyncio.run(gate.authenticate(Request({"type": "http", "headers": headers}), scope))

    found = ask(key, "read")
    assert isinstance(found, ApiKey)
    assert found.name == "dashboard"
    assert ask(key, "admin").status_code == 403
    assert ask(WRONG_KEY, "read").status_code == 401
    assert [ask(key, "read") for _ in range(4)][-1].status_code == 429


# --- over HTTP


@pytest.fixture(scope="module")
def server(module_database_url, tmp_path_factory):
    with serving(module_database_url, tmp_path_factory.mktemp("server"), options={}, api_calls_per_second=0.1) as found:
        yield found


@pytest.fixture
def client(server):
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=20) as client:
        yield client
    with server.engine.begin() as tx:
        tx.execute(delete(api_keys))


def test_the_limit_of_calls_is_a_setting(server, client):
    keys = [create_api_key(server.engine, datetime.now(UTC), name, "read")[1].reveal() for name in ("a", "b")]
    first, second, other = (
        client.get("/api/v1/devices", headers={"Authorization": f"Bearer {key}"}) for key in (keys[0], keys[0], keys[1])
    )

    assert [answer.status_code for answer in (first, second, other)] == [200, 429, 200]
    assert 1 <= int(second.headers["retry-after"]) <= 10
    assert second.headers["content-type"] == "application/problem+json"
    assert second.json()["limit"] == "calls-per-key"


@pytest.mark.parametrize("wrong", ["-1", "many", "inf", "nan"])
def test_a_wrong_limit_is_refused_at_the_start(monkeypatch, wrong):
    monkeypatch.setenv("RECEIVER_API_CALLS_PER_SECOND", wrong)

    with pytest.raises(SettingsError, match="RECEIVER_API_CALLS_PER_SECOND"):
        load_settings()


def test_guesses_are_slow_over_http(client):
    answers = [
        client.get("/api/v1/devices", headers={"Authorization": f"Bearer rcv_{number:064}"})
        for number in range(MOST_FAILURES + 1)
    ]

    assert [answer.status_code for answer in answers] == [401] * MOST_FAILURES + [429]
    assert answers[-1].json()["limit"] == "failures-per-address"
    assert client.get("/api/v1/devices").status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/"])
def test_another_method_on_what_needs_no_key_is_405(client, path):
    answer = client.delete(path)

    assert answer.status_code == answer.json()["status"] == 405
    assert answer.headers["allow"] in {"GET, HEAD", "HEAD, GET"}
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_no_route_at_all_is_404(client):
    answer = client.get("/nothing")

    assert answer.status_code == answer.json()["status"] == 404
    assert "/docs" in answer.json()["detail"]


# --- what a call brings


class Order(Struct, forbid_unknown_fields=True):
    """What is asked for."""

    amount: int
    note: str | None = None


@pytest.fixture
def post(gate, make_key):
    """Give a function that posts a body to an operation which answers with what it was given."""
    operation = Operation("read", lambda call: JSONResponse([call.body.amount, call.body.note]), body=Order)
    app = Starlette(routes=[Route("/orders", Endpoint(gate, {"POST": operation}))])
    key = make_key("orders")

    def send(content, content_type="application/json", key=key):
        async def call():
            transport = httpx.ASGITransport(app)
            headers = {"Content-Type": content_type, "Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://receiver", headers=headers) as client:
                return await client.post("/orders", content=content)

        return asyncio.run(call())

    return send


def test_a_body_comes_to_the_operation_as_its_type(post):
    assert post(b'{"amount": 3}').json() == [3, None]
    assert post(b'{"amount": 3, "note": "soon"}', "Application/JSON; charset=utf-8").json() == [3, "soon"]


@pytest.mark.parametrize(
    ("content", "content_type", "status", "told"),
    [
        (b'{"amount": 3}', "text/plain", 415, "Content-Type is 'text/plain'; it must be application/json."),
        (b'{"amount": 3}', "", 415, "it must be application/json"),
        (b"[" * (MAX_BODY_BYTES + 1), "application/json", 413, "larger than 65536 bytes"),
        (b"[" * MAX_BODY_BYTES, "application/json", 400, "The body must be JSON"),
        (b"", "application/json", 400, "The body must be JSON"),
        (b"\xff", "application/json", 400, "The body must be JSON"),
        (b'{"amount": "\xff"}', "application/json", 400, "The body must be JSON"),
        (b"{}", "application/json", 400, "`amount`"),
        (b'{"amount": 3, "amuont": 4}', "application/json", 400, "`amuont`"),
        (b'{"amount": "many"}', "application/json", 400, "`$.amount`"),
    ],
)
def test_a_wrong_body_is_told_with_what_would_be_right(post, content, content_type, status, told):
    answer = post(content, content_type)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert told in answer.json()["detail"]


def test_a_strangers_body_is_not_looked_at(post):
    assert post(b"[" * (MAX_BODY_BYTES + 1), key=WRONG_KEY).status_code == 401


def test_a_call_with_a_body_counts_once(post):
    answers = [post(b'{"amount": 3}').status_code for _ in range(6)]

    assert answers == [200] * 5 + [429]
