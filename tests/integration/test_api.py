"""The API over real HTTP: who is let in, what is told, what is replayed, and what a wrong call is answered."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import httpx
import pytest
from sqlalchemy import delete
from starlette.requests import Request
from starlette.responses import Response

from receiver.keyring import Keyring
from receiver.services.api_keys import create_api_key, revoke_api_key
from receiver.services.connections import add_tunnel_key
from receiver.storage.tables import api_keys, rejections, reports
from receiver.web.auth import CALLS_AT_ONCE, ApiGate, Operation
from tests.integration.inbox_use import count
from tests.integration.push_server import AS_ID, KEK, TUNNEL_KEY, serving, signed_query, uplink
from tests.integration.refusals import OTHER_KEY, Refusals

UNAUTHORISED = {
    "type": "about:blank",
    "title": "Unauthorized",
    "status": 401,
    "detail": "Send an API key as `Authorization: Bearer …`.",
}


@pytest.fixture(scope="module")
def server(module_database_url, tmp_path_factory):
    with serving(module_database_url, tmp_path_factory.mktemp("server"), options={}) as running:
        yield running


@pytest.fixture
def clean(server):
    yield
    with server.engine.begin() as tx:
        for table in (rejections, reports, api_keys):
            tx.execute(delete(table))


@pytest.fixture
def refusals(server, clean):
    """Refused pushes of the server's own connection, `field`, which came a moment ago."""
    return Refusals(server.engine, Keyring(KEK), datetime.now(UTC))


@pytest.fixture
def caller(server, clean):
    """Give a client with a new key of a scope; None: without a key."""
    clients = []

    def make(scope):
        headers = {}
        if scope is not None:
            _, key = create_api_key(server.engine, datetime.now(UTC), f"key-{len(clients)}", scope)
            headers = {"Authorization": f"Bearer {key.reveal()}"}
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}/api/v1", headers=headers, timeout=20)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def reader(caller):
    return caller("read")


@pytest.fixture
def admin(caller):
    return caller("admin")


def assert_problem(answer, status, **members):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["type"] == "about:blank"
    assert found["status"] == status
    assert found["detail"].endswith((".", ")"))
    assert {name: found.get(name) for name in members} == members
    return found


# --- who is let in


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer x",
        f"Bearer rcv_{'0' * 64}",
        "Basic rcv_",
        f"rcv_{'0' * 64}",
        "Bearer " + "x" * 9000,
    ],
)
def test_without_a_key_everything_is_401_alike(caller, header):
    client = caller(None)
    headers = {} if header is None else {"Authorization": header}

    for method, path in (("GET", "/rejections"), ("GET", "/rejections/1"), ("POST", "/rejections/1/replay")):
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()) == (401, UNAUTHORISED)
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_answer_does_not_tell_whether_there_is_any_key(caller, server):
    without_keys = caller(None).get("/rejections")
    caller("read")

    assert caller(None).get("/rejections").content == without_keys.content


def test_a_revoked_key_is_refused_at_once(reader, server):
    assert reader.get("/rejections").status_code == 200

    revoke_api_key(server.engine, datetime.now(UTC), "key-0")

    assert (reader.get("/rejections").status_code, reader.get("/rejections").json()) == (401, UNAUTHORISED)


def test_the_scheme_may_be_in_any_case(reader):
    key = reader.headers["authorization"].partition(" ")[2]

    assert reader.get("/rejections", headers={"Authorization": f"bearer {key}"}).status_code == 200


@pytest.mark.parametrize("scope", ["read", "downlink"])
def test_a_replay_asks_for_scope_admin(caller, refusals, scope, server):
    rejection_id = refusals.refuse(refusals.query(skew_s=100), path="field")

    answer = caller(scope).post(f"/rejections/{rejection_id}/replay?max_deviation_s=100")

    assert_problem(answer, 403, scope="admin")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'
    assert count(server.engine, reports) == 0


# --- listing


def test_rejections_are_listed_newest_first_without_what_they_held(reader, refusals):
    ids = [refusals.refuse(refusals.query(skew_s=skew_s), path="field") for skew_s in (100, 200)]

    listed = reader.get("/rejections").json()

    assert [row["id"] for row in listed["rejections"]] == ids[::-1]
    assert listed["next_cursor"] is None
    assert listed["rejections"][0] | {"id": 0, "received_at": "", "size_bytes": 0} == {
        "id": 0,
        "received_at": "",
        "connection": "field",
        "path_name": "field",
        "reason": "time-out-of-window",
        "detail": "Time is 200 s behind this clock; connection 'field' allows 60 s.",
        "size_bytes": 0,
        "replayed_at": None,
        "replayed_report_id": None,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", listed["rejections"][0]["received_at"])


def test_pages_follow_each_other_while_more_come(reader, refusals):
    ids = [refusals.refuse(refusals.query(skew_s=100 + number), path="field") for number in range(5)]
    seen, cursor = [], None
    while True:
        page = reader.get("/rejections", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [row["id"] for row in page["rejections"]]
        refusals.refuse(refusals.query(skew_s=99), path="field")
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == ids[::-1]


def test_a_listing_can_be_narrowed(reader, refusals):
    late = refusals.refuse(refusals.query(skew_s=100), path="field")
    unknown = refusals.refuse(refusals.query(), path="nobody", received_at=refusals.now - timedelta(hours=1))

    def ids(**parameters):
        return [row["id"] for row in reader.get("/rejections", params=parameters).json()["rejections"]]

    half_an_hour_ago = (refusals.now - timedelta(minutes=30)).isoformat()
    assert ids(since=half_an_hour_ago) == [late]
    assert ids(until=half_an_hour_ago) == [unknown]
    assert ids(reason="unknown-connection") == [unknown]
    assert ids(connection="field") == [late]
    assert ids(connection="nobody") == [unknown]
    assert ids(connection="nobody", reason="token-mismatch") == []


def test_a_plus_in_a_time_need_not_be_encoded(reader, refusals):
    refusals.refuse(refusals.query(skew_s=100), path="field")

    assert len(reader.get("/rejections?since=2026-01-01T00:00:00+01:00").json()["rejections"]) == 1


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=9223372036854775808", "cursor"),
        ("since=yesterday", "since"),
        ("until=2026-13-01", "until"),
        ("reason=bad-luck", "reason"),
        ("connection=", "connection"),
        ("colour=green", "colour"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_would_be_right(reader, query, parameter):
    found = assert_problem(reader.get(f"/rejections?{query}"), 400, parameter=parameter, title="Bad Request")

    assert parameter in found["detail"]
    assert re.search(r"must be|there are|give ", found["detail"])


# --- one


def test_one_rejection_comes_with_its_explanation(reader, refusals):
    rejection_id = refusals.refuse(refusals.query(skew_s=412), path="field")

    shown = reader.get(f"/rejections/{rejection_id}").json()

    assert shown["id"] == rejection_id
    assert shown["explanation"]["checks"][-1]["sentence"] == "Time is 412 s before the arrival; 60 s are allowed."
    assert shown["explanation"]["findings"][0]["codes"] == ["clock"]
    assert "push" not in shown


def test_what_a_push_held_is_for_scope_admin(admin, refusals):
    query = refusals.query(skew_s=412)
    rejection_id = refusals.refuse(query, path="field")

    push = admin.get(f"/rejections/{rejection_id}").json()["push"]

    assert push["body"].encode() == uplink()
    assert push["query"] == query[:-64] + "…"
    assert ["host", "receiver"] in push["headers"]


def test_a_body_that_is_no_text_is_given_in_base64(admin, refusals):
    rejection_id = refusals.refuse(refusals.query(), b"\x1f\x8b", path="field")

    assert admin.get(f"/rejections/{rejection_id}").json()["push"]["body_base64"] == "H4s="


def test_one_can_be_explained_as_another_connections(reader, refusals):
    rejection_id = refusals.refuse(refusals.query(), path="nobody")

    answer = reader.get(f"/rejections/{rejection_id}", params={"as": "field"})

    assert answer.json()["explanation"]["is_in_order_now"]
    assert_problem(reader.get(f"/rejections/{rejection_id}", params={"as": "silos"}), 404)


@pytest.mark.parametrize(
    "path",
    ["/rejections/99", "/rejections/x", "/rejections/%D9%A1", "/rejections/9999999999999999999", "/rejections/-1"],
)
def test_a_rejection_that_is_not_there_is_404(reader, path):
    assert_problem(reader.get(path), 404, title="Not Found")


@pytest.mark.parametrize("scope", ["read", "admin"])
def test_no_answer_shows_a_key_or_a_token(caller, refusals, scope):
    queries = [
        refusals.query(skew_s=412),
        refusals.query(signed_with=TUNNEL_KEY.upper()),
        refusals.query(key=OTHER_KEY),
    ]
    ids = [refusals.refuse(query, path="field") for query in queries]
    client = caller(scope)

    answers = [client.get("/rejections"), *(client.get(f"/rejections/{rejection_id}") for rejection_id in ids)]
    answers += [client.post(f"/rejections/{rejection_id}/replay?dry_run=true") for rejection_id in ids]

    shown = "".join(answer.text for answer in answers).lower()
    for secret in (TUNNEL_KEY, OTHER_KEY, *(query[-64:] for query in queries)):
        assert secret[:10].lower() not in shown
        assert secret[-10:].lower() not in shown


# --- replay


def test_a_replay_stores_once(admin, refusals, server):
    rejection_id = refusals.refuse(refusals.query(key=OTHER_KEY), path="field")
    assert_problem(admin.post(f"/rejections/{rejection_id}/replay"), 409, outcome="still refused")
    add_tunnel_key(server.engine, Keyring(KEK), refusals.now, "field", OTHER_KEY)

    dry, first, second = (
        admin.post(f"/rejections/{rejection_id}/replay{query}").json() for query in ("?dry_run=true", "", "")
    )

    assert [dry["outcome"], first["outcome"], second["outcome"]] == ["stored", "stored", "already stored"]
    assert (dry["is_dry_run"], dry["report_id"]) == (True, None)
    assert second["report_id"] == first["report_id"] is not None
    assert count(server.engine, reports) == 1


def test_replays_at_once_store_once(caller, admin, refusals, server):
    rejection_id = refusals.refuse(refusals.query(skew_s=99), path="field")
    outcomes = []

    def replay():
        answer = admin.post(f"/rejections/{rejection_id}/replay?max_deviation_s=100")
        outcomes.append(answer.json().get("outcome", answer.status_code))

    threads = [Thread(target=replay) for _ in range(CALLS_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count("stored") == 1
    assert set(outcomes) <= {"stored", "already stored"}
    assert count(server.engine, reports) == 1


@pytest.mark.parametrize(
    "query", ["dry_run=yes", "max_deviation_s=0", "max_deviation_s=1e3", "as=", "with_retired_keys=1", "force=true"]
)
def test_a_wrong_option_of_a_replay_changes_nothing(admin, refusals, server, query):
    rejection_id = refusals.refuse(refusals.query(skew_s=100), path="field")

    assert_problem(admin.post(f"/rejections/{rejection_id}/replay?{query}"), 400, parameter=query.partition("=")[0])
    assert count(server.engine, reports) == 0


# --- the rest


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/rejections", "GET"), ("DELETE", "/rejections/1", "GET"), ("GET", "/rejections/1/replay", "POST")],
)
def test_another_method_is_405(admin, method, path, allowed):
    answer = admin.request(method, path)

    assert_problem(answer, 405)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/", "/nothing", "/rejections/", "/rejections/1/2"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_route_is_404(caller, path, method):
    assert_problem(caller(None).request(method, path), 404)


def with_key(key):
    headers = [(b"authorization", f"Bearer {key.reveal()}".encode())]
    return Request({"type": "http", "headers": headers, "query_string": b"", "path_params": {}})


def test_a_call_beyond_those_that_are_under_way_is_told_to_come_again(engine, now):
    go_on = Event()
    gate = ApiGate(engine, lambda: now)
    _, key = create_api_key(engine, now, "key", "read")

    def wait_and_answer(_call):
        assert go_on.wait(20)
        return Response("done")

    async def call():
        return await gate.handle(with_key(key), Operation("read", wait_and_answer))

    async def main():
        under_way = [asyncio.create_task(call()) for _ in range(CALLS_AT_ONCE)]
        await asyncio.sleep(0)  # each has its thread by then
        refused = await call()
        go_on.set()
        return refused, await asyncio.gather(*under_way), await call()

    refused, answered, after = asyncio.run(main())

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert [answer.body for answer in (*answered, after)] == [b"done"] * (CALLS_AT_ONCE + 1)


def test_without_a_database_a_call_is_told_to_come_again(engine, now, database_is_away):
    gate = ApiGate(engine, lambda: now)
    _, key = create_api_key(engine, now, "key", "read")
    request = with_key(key)

    with database_is_away():
        answer = asyncio.run(gate.handle(request, Operation("read", lambda _call: Response("done"))))

    assert answer.status_code == 503
    assert b"database is away" in answer.body


def test_a_fault_of_a_call_is_500_without_a_word_of_it(engine, now):
    gate = ApiGate(engine, lambda: now)
    _, key = create_api_key(engine, now, "key", "read")
    request = with_key(key)

    def fail(_call):
        raise RuntimeError("what nobody may see")

    answer = asyncio.run(gate.handle(request, Operation("read", fail)))

    assert answer.status_code == 500
    assert b"nobody" not in answer.body


def test_a_push_that_is_refused_by_the_server_can_be_explained_and_replayed(admin, server, clean):
    body = json.dumps(json.loads(uplink())).encode()
    late = (datetime.now(UTC) - timedelta(seconds=300)).isoformat(timespec="milliseconds")
    assert server.push(body, signed_query(Time=late)).status == 401

    (row,) = admin.get("/rejections").json()["rejections"]
    explained = admin.get(f"/rejections/{row['id']}").json()["explanation"]
    replayed = admin.post(f"/rejections/{row['id']}/replay?max_deviation_s=600").json()

    assert explained["findings"][0]["codes"] == ["clock"]
    assert replayed["outcome"] == "stored"
    assert server.last_report().body == body
    assert AS_ID in server.last_report().query
