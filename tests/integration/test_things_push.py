"""Pushes of KPN Things over HTTP: what is taken and what refused, also during a rotation and an outage."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from receiver.keyring import Keyring
from receiver.services.connections import add_connection
from receiver.services.rejections import get_rejection
from receiver.services.things_secrets import add_things_secret
from receiver.services.tunnel_keys import list_tunnel_keys, retire_tunnel_key
from receiver.storage.engine import read, sqlite_path
from receiver.storage.tables import deliveries, rejections, reports
from tests.acceptance.running_receiver import wait_until
from tests.integration.push_server import KEK, request, serving, signed_query, uplink
from tests.integration.test_push_outage import locked
from tests.integration.things_use import OTHER_PLUG, PLUG, SECOND, SECRET, add_things, headers, message

KEYRING = Keyring(KEK)
TOKEN_HEADER = "Things-Message-Token"


@pytest.fixture
def serve(engine, database_url, tmp_path):
    """Run a server that has the connections `things` (of KPN Things) and `field` (of ThingPark)."""

    def serve(**options):
        now = datetime.now(UTC)
        add_connection(
            engine,
            KEYRING,
            now,
            name="field",
            platform="thingpark",
            as_id="TWA_100000001.1.AS",
            tunnel_key="17d107c7e4ae7ad8ea64ea25ee6a6b52",
        )
        add_things(engine, KEYRING, now, **options)
        return serving(database_url, tmp_path, options={"busy_timeout_ms": 200}, data_dir=tmp_path / "data")

    return serve


def wire(body, secret=SECRET, plug=PLUG, token=None):
    """Give the head lines of a push as they go over the wire."""
    return "".join(
        f"{name.decode().title()}: {value.decode()}\r\n"
        for name, value in headers(body, secret, plug, token)
        if name != b"host"
    )


def push(server, body, path="/push/things", **signed):
    return server.push(body, "", path, wire(body, **signed))


def count(server, table):
    with read(server.engine) as connection:
        return connection.scalar(select(func.count()).select_from(table))


def test_a_signed_push_is_answered_200_and_stored_as_it_came(serve):
    body = message()
    with serve() as server:
        answer = push(server, body)
        report = server.last_report()

    assert (answer.status, answer.body) == (200, b"stored\n")
    assert (bytes(report.body), report.kind, report.content_type, report.state) == (body, "SenML", "senml", "unread")


def test_a_body_that_comes_after_its_head_is_taken_as_well(serve):
    body = message()
    with serve() as server:
        whole = request("/push/things", body, wire(body))
        answer = server.send(whole[: -len(body)], body[:20], body[20:])

    assert answer.status == 200


def test_a_destination_s_url_may_have_a_query(serve):
    body = message()
    with serve() as server:
        answer = push(server, body, "/push/things?site=north")
        report = server.last_report()

    assert (answer.status, report.query) == (200, "site=north")


def test_the_same_push_again_is_a_delivery_of_the_first(serve):
    body = message()
    with serve() as server:
        answers = [push(server, body) for _ in range(3)]
        report = server.last_report()
        stored, noted = count(server, reports), count(server, deliveries)

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert answers[1].body == b"duplicate\n"
    assert (stored, noted, report.deliveries) == (1, 1, 3)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff\x00", b'{"DevEUI_uplink":{}}'])
def test_what_is_signed_is_kept_whatever_it_says(serve, body):
    with serve() as server:
        answer = push(server, body)
        report = server.last_report()

    assert (answer.status, bytes(report.body)) == (200, body)


@pytest.mark.parametrize(
    ("signed", "detail"),
    [
        ({"secret": SECOND}, "made with none of the 1 shared secrets"),
        ({"token": ""}, "no header Things-Message-Token"),
        ({"token": "abc"}, "not one value of 64"),
    ],
)
def test_a_push_that_is_not_signed_right_is_refused_and_kept_with_the_reason(serve, signed, detail):
    body = message()
    with serve() as server:
        answer = push(server, body, **signed)
        rejection = server.last_rejection()

    assert (answer.status, answer.body) == (401, b"This push is not accepted.\n")
    assert (rejection.reason, bytes(rejection.body)) == ("token-mismatch", body)
    assert detail in rejection.detail


def test_a_body_that_was_changed_on_its_way_is_refused(serve):
    body = message()
    with serve() as server:
        answer = server.push(body.replace(b"1.0", b"1"), "", "/push/things", wire(body))

    assert answer.status == 401


def test_the_headers_that_prove_a_push_are_kept_however_many_others_came(serve):
    body = message()
    many = "".join(f"X-{number}: {'a' * 200}\r\n" for number in range(30))
    with serve() as server:
        server.push(body, "", "/push/things", many + wire(body, secret=SECOND))
        rejection = server.last_rejection()
        shown = get_rejection(server.engine, rejection.id)

    kept = dict(json.loads(rejection.headers))
    assert kept["things-message-token"] == headers(body, SECOND)[2][1].decode()
    assert kept["things-plug-uuid"] == PLUG
    assert dict(shown.headers)["things-message-token"] == "…"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_is_answered_405(serve, method):
    with serve() as server:
        answer = server.send(request("/push/things", b"", wire(b""), method))

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_a_push_that_is_too_large_is_refused_as_elsewhere(serve):
    body = b" " * (300 * 1024)
    with serve() as server:
        assert push(server, body).status == 413
        assert server.last_rejection().reason == "too-large"


def test_all_pushes_that_are_not_accepted_look_alike(serve):
    body = message()
    with serve() as server:
        answers = {
            push(server, body, secret=SECOND).raw,
            push(server, body, "/push/nobody").raw,
            push(server, body, "/push/field").raw,
            server.push(uplink(), signed_query(key="0" * 32)).raw,
            server.push(uplink(), None, "/push/things").raw,
        }
        reasons = {row.path_name: row.reason for row in rejected(server)}

    assert len(answers) == 1
    assert reasons == {"things": "token-mismatch", "nobody": "unknown-connection", "field": "token-mismatch"}


def rejected(server):
    with read(server.engine) as connection:
        return connection.execute(select(rejections)).all()


def test_a_push_of_thingpark_is_judged_as_before_whatever_headers_it_has(serve):
    with serve() as server:
        assert server.push(uplink(), None, "/push/field", f"{TOKEN_HEADER}: x\r\n").status == 200
        assert server.push(uplink(), "", "/push/field").status == 400


def test_during_a_rotation_both_secrets_are_taken_and_then_the_new_one_only(serve):
    first, second, third, fourth = (message(bt=1765739955 + number) for number in range(4))
    with serve(plug_uuid=PLUG) as server:
        add_things_secret(server.engine, KEYRING, datetime.now(UTC), "things", SECOND)
        assert push(server, first, secret=SECOND).status == 200  # at once, and without a second's wait
        assert push(server, second, secret=SECRET).status == 200
        retire_tunnel_key(server.engine, datetime.now(UTC), "things", "s1")
        wait_until(lambda: push(server, third, secret=SECRET).status == 401)
        assert push(server, fourth, secret=SECOND).status == 200
        uses = {key.key_id: key.hits for key in list_tunnel_keys(server.engine, KEYRING, datetime.now(UTC), "things")}

    assert uses["s2"] == 2
    assert uses["s1"] >= 1


def test_a_secret_of_another_destination_is_refused_where_both_are_known(serve):
    body = message()
    with serve(plug_uuid=PLUG) as server:
        add_things_secret(server.engine, KEYRING, datetime.now(UTC), "things", SECOND, OTHER_PLUG)
        wait_until(lambda: push(server, body, secret=SECOND, plug=OTHER_PLUG).status == 200)

        assert push(server, body, secret=SECRET, plug=OTHER_PLUG).status == 401
        assert push(server, body, secret=SECRET, plug=PLUG).status == 200


def test_the_first_push_after_a_connection_was_added_is_taken(serve):
    body = message()
    with serve() as server:
        add_things(server.engine, KEYRING, datetime.now(UTC), name="later")
        assert push(server, body, "/push/later").status == 200


@pytest.fixture
def database_goes_away(engine, request):
    path = sqlite_path(engine)
    return request.getfixturevalue("database_is_away") if path is None else lambda: locked(path)


def test_a_push_while_the_database_is_away_waits_in_the_spool(serve, database_goes_away):
    body = message()
    with serve() as server:
        with database_goes_away():
            answer = push(server, body)
            again = push(server, body)
        assert (answer.status, again.status) == (200, 200)
        report = wait_until(server.last_report)
        wait_until(lambda: server.last_report().deliveries == 2)

    assert (bytes(report.body), report.kind) == (body, "SenML")


def test_no_secret_and_no_token_stands_in_the_log(serve):
    body = message()
    with serve() as server:
        push(server, body)
        push(server, body, secret=SECOND)
        text = server.log.read_text()

    for hidden in (SECRET, SECOND, headers(body)[2][1].decode(), headers(body, SECOND)[2][1].decode(), "763d0028"):
        assert hidden not in text
    assert "push_refused" in text
