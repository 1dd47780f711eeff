"""`/api/v1/downlinks`: what a caller puts in, gets back and is refused, each refusal by the name of the field."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.services.api_keys import create_api_key
from receiver.services.downlink_encoding import ObjectEncoder
from receiver.storage.downlink_tables import downlink_keys
from receiver.web.api_downlinks import Downlinks, downlink_operations
from receiver.web.openapi import describe_api
from tests.integration.api_use import DEVICE, OTHER_DEVICE, assert_refused, walk
from tests.integration.downlink_ledger_use import VALVE, Ledger, app_of
from tests.integration.inbox_use import count

MOST_BODY = 64 * 1024


@pytest.fixture
def ledger(field):
    with ObjectEncoder() as encoder:
        yield Ledger(field, encoder)


class Client:
    """A caller with a key of a scope, straight to the application."""

    def __init__(self, app, engine, now, scope):
        _, key = create_api_key(engine, now, f"key-{scope}", scope)
        self._headers = {"Authorization": f"Bearer {key.reveal()}"}
        self._app = app

    def all(self, *calls):
        """Make calls at the same time; each is a method, a path and other arguments."""

        async def make():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self._app), base_url="http://receiver/api/v1", headers=self._headers
            ) as client:
                return await asyncio.gather(*(client.request(method, path, **others) for method, path, others in calls))

        return asyncio.run(make())

    def call(self, method, path, **others):
        [answer] = self.all((method, path, others))
        return answer

    def get(self, path, params=None, headers=None):
        return self.call("GET", path, params=params, headers=headers)

    def post(self, body, key=None):
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.call("POST", "/downlinks", json=body, headers=headers)


@pytest.fixture
def make_client(ledger):
    app = app_of(ledger)
    return lambda scope: Client(app, ledger.engine, ledger.now, scope)


@pytest.fixture
def client(make_client):
    return make_client("downlink")


def wish(**members):
    usual = {} if members.keys() & {"payload_hex", "payload_base64", "object"} else {"payload_hex": "01", "f_port": 1}
    return {"dev_eui": DEVICE, **usual, **members}


def test_a_downlink_is_queued_and_found_where_the_answer_says(client):
    answer = client.post(
        wish(payload_hex="DE:AD", f_port=10, confirmed=True, reference="r", priority=5, expires_at="10m")
    )

    assert answer.status_code == 202
    downlink = answer.json()
    assert (downlink["state"], downlink["payload_hex"], downlink["f_port"]) == ("queued", "dead", 10)
    assert (downlink["confirmed"], downlink["reference"], downlink["priority"]) == (True, "r", 5)
    assert (downlink["created_by"], downlink["expires_at"]) == ("api-key key-downlink", "2026-11-20T12:10:00Z")
    assert [event["state"] for event in downlink["events"]] == ["queued"]
    assert int(downlink["correlation_id"], 16) < 2**64
    assert answer.headers["location"] == f"/api/v1/downlinks/{downlink['id']}"
    assert client.get(answer.headers["location"].removeprefix("/api/v1")).json() == downlink


def test_a_payload_may_be_in_base64(client):
    assert client.post(wish(payload_base64="3q0=", f_port=1)).json()["payload_hex"] == "dead"


def test_an_object_is_encoded_by_the_codec_of_the_device(ledger, client):
    ledger.assign(VALVE)

    downlink = client.post(wish(object={"open": True})).json()

    assert (downlink["payload_hex"], downlink["f_port"], downlink["object"]) == ("01", 15, {"open": True})


def test_a_member_that_is_null_counts_as_left_out(client):
    names = ("object", "payload_base64", "connection", "flush", "replace", "priority", "not_before", "expires_at")

    assert client.post({**dict.fromkeys([*names, "reference"]), **wish()}).status_code == 202


@pytest.mark.parametrize(
    ("parameter", "members"),
    [
        ("dev_eui", {"dev_eui": OTHER_DEVICE}),
        ("dev_eui", {"dev_eui": "20635F00000000"}),
        ("dev_eui", {"dev_eui": 1}),
        ("dev_eui", {"dev_eui": None}),
        ("f_port", {"f_port": 0}),
        ("f_port", {"f_port": 224}),
        ("f_port", {"f_port": 10**30}),
        ("f_port", {"f_port": "1"}),
        ("f_port", {"f_port": 1.0}),
        ("f_port", {"f_port": True}),
        ("f_port", {"f_port": None}),
        ("payload_hex", {"payload_hex": "0", "f_port": 1}),
        ("payload_hex", {"payload_hex": "0g", "f_port": 1}),
        ("payload_hex", {"payload_hex": "", "f_port": 1}),
        ("payload_hex", {"payload_hex": "00" * 251, "f_port": 1}),
        ("payload_hex", {"payload_hex": [1], "f_port": 1}),
        ("payload_hex", {"payload_hex": None}),
        ("payload_base64", {"payload_base64": "A", "f_port": 1}),
        ("payload_base64", {"payload_base64": "AQ==", "payload_hex": "01", "f_port": 1}),
        ("object", {"object": {"open": 1}}),
        ("object", {"object": [1]}),
        ("object", {"object": {"open": True}, "payload_hex": "01", "f_port": 15}),
        ("connection", {"connection": "nowhere"}),
        ("connection", {"connection": "\0"}),
        ("connection", {"connection": ""}),
        ("confirmed", {"confirmed": 1}),
        ("flush", {"flush": "true"}),
        ("replace", {"replace": 0}),
        ("priority", {"priority": 101}),
        ("priority", {"priority": 0.5}),
        ("not_before", {"not_before": "soon"}),
        ("not_before", {"not_before": "2h", "expires_at": "1h"}),
        ("expires_at", {"expires_at": "2026-11-20T11:59:59Z"}),
        ("expires_at", {"expires_at": "0s"}),
        ("expires_at", {"expires_at": 10}),
        ("expires_at", {"expires_at": "999999w"}),
        ("reference", {"reference": "r" * 129}),
        ("reference", {"reference": "a\0b"}),
        ("fport", {"fport": 1}),
        ("payload", {"payload": "01"}),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_by_its_name(ledger, client, parameter, members):
    ledger.assign(VALVE)

    assert_problem(client.post(wish(**members)), 400, parameter)

    assert ledger.states() == []


def assert_problem(answer, status, parameter=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().get("parameter") == parameter
    assert answer.json()["detail"].endswith(".")
    return answer.json()["detail"]


def test_a_codec_that_cannot_encode_answers_in_its_own_words(ledger, client):
    ledger.assign(VALVE)

    assert "open must be true or false." in assert_problem(client.post(wish(object={})), 400, "object")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b"null", b"\xff", b"[" * 5000, b'{"dev_eui": "\\ud800"}']
)
def test_what_is_no_json_object_is_refused(client, body):
    answer = client.call("POST", "/downlinks", content=body, headers={"Content-Type": "application/json"})

    assert_problem(answer, 400)


def test_a_body_that_is_too_large_or_called_something_else_is_refused(client):
    large = json.dumps(wish(object={"text": "x" * MOST_BODY})).encode()

    answer = client.call("POST", "/downlinks", content=large, headers={"Content-Type": "application/json"})
    assert_problem(answer, 413)
    answer = client.call("POST", "/downlinks", content=b"dev_eui=1", headers={"Content-Type": "text/plain"})
    assert_problem(answer, 415)


def test_a_connection_that_cannot_carry_is_a_conflict_and_says_what_to_do(ledger, client):
    ledger.set_url("field", None)

    assert "receiver connection downlinks field --url" in assert_problem(client.post(wish()), 409, "connection")


def test_a_warning_is_in_the_answer_and_with_the_downlink(ledger, client):
    ledger.hear_at(12)

    downlink = client.post(wish(payload_hex="00" * 60, f_port=1)).json()

    [warning] = downlink["warnings"]
    assert "60 bytes" in warning
    assert downlink["events"][0]["detail"] == downlink["detail"] == warning


def test_a_parameter_in_the_query_is_refused(client):
    answer = client.call("POST", "/downlinks", json=wish(), params={"dev_eui": DEVICE})

    assert_refused(answer, "dev_eui")


# --- the same again


def test_the_same_again_is_answered_with_the_first_and_another_status(ledger, client):
    first, again = client.post(wish(), key="k"), client.post(wish(), key="k")

    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert ledger.states() == ["queued"]


def test_the_same_payload_in_another_spelling_is_the_same(ledger, client):
    client.post(wish(payload_hex="DEAD", f_port=1), key="k")

    assert client.post(wish(payload_base64="3q0=", f_port=1, confirmed=False), key="k").status_code == 200


def test_something_else_with_the_same_key_is_a_conflict(client):
    client.post(wish(), key="k")

    assert_problem(client.post(wish(priority=1), key="k"), 409)


@pytest.mark.parametrize("key", ["", "k" * 129, "k\u00e9"])
def test_a_key_that_is_none_is_refused(client, key):
    answer = client.call("POST", "/downlinks", json=wish(), headers=[("Idempotency-Key", key.encode("latin-1"))])

    assert_problem(answer, 400, "Idempotency-Key")


def test_two_keys_are_refused(client):
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    assert_problem(client.call("POST", "/downlinks", json=wish(), headers=headers), 400, "Idempotency-Key")


def test_two_posts_at_the_same_time_with_the_same_key_are_one_downlink(ledger, client):
    post = ("POST", "/downlinks", {"json": wish(), "headers": {"Idempotency-Key": "k"}})

    answers = client.all(post, post, post)

    assert sorted(answer.status_code for answer in answers) == [200, 200, 202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert ledger.states() == ["queued"]
    assert count(ledger.engine, downlink_keys) == 1


# --- scopes


def test_a_key_that_may_only_read_can_look_and_not_send(ledger, make_client):
    downlink_id = ledger.put_id()
    reader = make_client("read")

    assert reader.post(wish()).status_code == 403
    assert reader.call("DELETE", f"/downlinks/{downlink_id}").status_code == 403
    assert reader.get("/downlinks").status_code == reader.get(f"/downlinks/{downlink_id}").status_code == 200
    assert ledger.states() == ["queued"]


def test_another_method_is_refused_with_those_there_are(client):
    answer = client.call("PUT", "/downlinks", json=wish(), headers={"Idempotency-Key": "k"})

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert client.call("POST", "/downlinks/1").headers["allow"] == "GET, DELETE"


# --- taken back, listed and shown


def test_a_queued_downlink_is_taken_back_once(ledger, client):
    downlink_id = ledger.put_id()

    answer = client.call("DELETE", f"/downlinks/{downlink_id}")

    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert "api-key key-downlink" in answer.json()["detail"]
    assert "cancelled already" in assert_problem(client.call("DELETE", f"/downlinks/{downlink_id}"), 409)


@pytest.mark.parametrize("downlink_id", ["0", "99", "-1", "x", "9" * 19, "9" * 40])
def test_what_is_not_there_is_not_found(client, downlink_id):
    assert_problem(client.get(f"/downlinks/{downlink_id}"), 404)
    assert_problem(client.call("DELETE", f"/downlinks/{downlink_id}"), 404)


def test_a_downlink_is_shown_with_the_requests_that_were_sent(ledger, client):
    downlink_id = ledger.put_id()
    request = "POST https://network.example/downlink?DevEUI=20635F0000000001&Token=…"
    ledger.bring(downlink_id, "sending")
    with_answer = {"cause": "busy", "detail": "It is busy.", "request": request, "answer": "503 busy"}
    ledger_step(ledger, downlink_id, **with_answer)

    events = client.get(f"/downlinks/{downlink_id}").json()["events"]

    assert [event["state"] for event in events] == ["queued", "sending", "queued"]
    assert {name: events[-1][name] for name in with_answer} == with_answer


def ledger_step(ledger, downlink_id, **others):
    ledger.bring(downlink_id, "queued", **others)


def test_a_list_is_paged_in_every_form(ledger, client):
    ids = [ledger.put_id(reference=f"=r{number}") for number in range(5)]

    assert [row["id"] for row in walk(client, "/downlinks", "downlinks", 2)] == ids[::-1]
    rows = list(csv.DictReader(io.StringIO(client.get("/downlinks", {"format": "csv"}).text)))
    assert [row["id"] for row in rows] == [str(one) for one in ids[::-1]]
    assert (rows[0]["state"], rows[0]["reference"]) == ("queued", "'=r4")
    lines = client.get("/downlinks", headers={"Accept": "application/x-ndjson"}).text.splitlines()
    assert [json.loads(line)["payload_hex"] for line in lines] == ["01"] * 5


def test_a_list_is_of_what_is_asked_for(ledger, client):
    one = ledger.put_id(reference="a")
    two = ledger.put_id(dev_eui=OTHER_DEVICE, connection="field")
    ledger.bring(two, "accepted")

    def ids(**wanted):
        return [row["id"] for row in client.get("/downlinks", wanted).json()["downlinks"]]

    assert ids(device=DEVICE.lower()) == [one]
    assert ids(state="accepted") == [two]
    assert ids(reference="a") == [one]
    assert ids(connection="field", since="2026-11-20T00:00:00Z") == [two, one]
    assert ids(until="2026-11-20T00:00:00Z") == ids(connection="other") == []


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("device", "x"), ("state", "gone"), ("reference", "r" * 129), ("since", "once"), ("limit", "0"), ("cursor", "x")],
)
def test_a_wrong_parameter_of_a_list_is_refused_by_its_name(client, parameter, value):
    assert_refused(client.get("/downlinks", {parameter: value}), parameter)


def test_the_operations_can_be_described(ledger):
    downlinks = Downlinks(ledger.engine, lambda: ledger.now)

    document = describe_api(downlink_operations(downlinks))

    assert set(document["paths"]["/api/v1/downlinks"]) == {"get", "post"}
    assert document["paths"]["/api/v1/downlinks"]["post"]["responses"].keys() >= {"200", "202", "400", "409", "413"}
    assert {"DownlinkDetails", "Downlink", "DownlinkEvent"} <= document["components"]["schemas"].keys()


# --- whatever comes

TEXTS = st.sampled_from(["", "0", "01", DEVICE, "field", "AQ==", "1h", "2026-11-20T12:00:00Z", "\0", "é" * 200, "=1"])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-300, 300), st.integers(), st.floats(allow_nan=False), TEXTS, st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(
    [
        *("f_port", "payload_hex", "payload_base64", "object", "connection", "confirmed", "flush", "replace"),
        *("priority", "not_before", "expires_at", "reference", "dev_eui", "other"),
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=st.dictionaries(MEMBERS, VALUES, max_size=5), key=st.none() | st.text(max_size=5))
def test_no_body_makes_a_fault_of_the_receiver(ledger, client, members, key):
    body = json.dumps({"dev_eui": DEVICE, "payload_hex": "01", "f_port": 1, **members}).encode()
    headers = [(b"Content-Type", b"application/json")]
    if key is not None:
        headers.append((b"Idempotency-Key", key.encode().replace(b"\n", b"").replace(b"\r", b"")))

    answer = client.call("POST", "/downlinks", content=body, headers=headers)

    assert answer.status_code in {200, 202, 400, 409}, answer.text


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_make_a_fault_of_the_receiver(client, body):
    answer = client.call("POST", "/downlinks", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
