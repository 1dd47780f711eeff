"""Anything may be posted: it gets its answer, never a 5xx, and stands among the rejections with the true reason.

A real server process, raw sockets, both databases.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest

from receiver.lorawan.frame_counter import F_CNT_MAX
from tests.integration.push_server import (
    CUSTOMER_ID,
    DEV_EUI,
    request,
    serving,
    signed_query,
    uplink,
)

NO_BODY_TOLD = b"This push is not accepted.\n"
OTHER_KEY = "00112233445566778899aabbccddeeff"
XML_HEAD = b'<?xml version="1.0" encoding="UTF-8"?>'


@pytest.fixture(scope="module")
def server(module_database_url, tmp_path_factory):
    with serving(module_database_url, tmp_path_factory.mktemp("server"), options={}) as running:
        yield running


@pytest.fixture
def refusal(server):
    """Push, and give the answer with the rejection that this push (and no other) has left."""

    def push(body, query=None, **more):
        before = server.last_rejection()
        stored = server.last_report()
        answer = server.push(body, query, **more)
        rejection = server.last_rejection()
        assert rejection is not None
        assert before is None or rejection.id > before.id
        assert server.last_report() == stored
        return answer, rejection

    return push


@pytest.fixture
def new_uplink(server):
    """Give the body of an uplink that was not pushed yet, and its part of the signed text."""

    def make():
        report = server.last_report()
        f_cnt_up = 1000 + (report.id if report else 0)
        return uplink(FCntUp=f_cnt_up), f"{CUSTOMER_ID}{DEV_EUI}1{f_cnt_up}aa27"

    return make


def test_a_push_in_order_is_stored(server, new_uplink):
    body, elements = new_uplink()

    assert server.push(body, signed_query(elements)).body == b"stored\n"
    assert bytes(server.last_report().body) == body


# --- bodies


def xml(inner: bytes, before: bytes = b"") -> bytes:
    return XML_HEAD + before + b'<DevEUI_uplink xmlns="http://uri.actility.com/lora">' + inner + b"</DevEUI_uplink>"


def members(text: str) -> bytes:
    """Give an uplink with further members spelled as in `text`, which may be no JSON."""
    return uplink()[:-2] + f", {text}}}}}".encode()


LAUGHS = b'<!DOCTYPE a [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)
)

MALFORMED_BODIES = {
    "XML with an entity": (xml(b"<FCntUp>&n;</FCntUp>", b'<!DOCTYPE a [<!ENTITY n "13">]>'), "document type"),
    "XML with an entity of a file": (
        xml(b"<FCntUp>&n;</FCntUp>", b'<!DOCTYPE a [<!ENTITY n SYSTEM "file:///etc/passwd">]>'),
        "document type",
    ),
    "XML with a billion laughs": (xml(b"<FCntUp>&j;</FCntUp>", LAUGHS + b"]>"), "document type"),
    "XML with a DTD": (xml(b"<FCntUp>13</FCntUp>", b'<!DOCTYPE a SYSTEM "http://localhost/a.dtd">'), "document type"),
    "XML with an entity nobody declared": (xml(b"<FCntUp>&n;</FCntUp>"), "not well-formed XML"),
    "XML with a comment in a value": (xml(b"<FCntUp>1<!-- -->3</FCntUp>"), "has a comment"),
    "XML with an element twice": (xml(b"<FCntUp>13</FCntUp><FCntUp>14</FCntUp>"), "'FCntUp' stands twice"),
    "XML that ends early": (xml(b"<FCntUp>13</FCntUp>")[:-3], "not well-formed XML"),
    "XML nested 10,000 deep": (b"<a>" * 10_000 + b"</a>" * 10_000, "not well-formed XML"),
    "XML of 60,000 elements": (xml(b"<a/>" * 60_000), "more than 4096 elements"),
    "XML with a NUL byte": (xml(b"<FCntUp>1\x003</FCntUp>"), "NUL byte"),
    "XML with a character reference to NUL": (xml(b"<FCntUp>1&#0;3</FCntUp>"), "not well-formed XML"),
    "XML with invalid UTF-8": (xml(b"<FCntUp>1\xff3</FCntUp>"), "not well-formed XML"),
    "XML in another encoding": (
        b'<?xml version="1.0" encoding="UTF-7"?><DevEUI_uplink><FCntUp>13</FCntUp></DevEUI_uplink>',
        "encoding",
    ),
    "JSON nested 10,000 deep in objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nests too deep"),
    "JSON nested 10,000 deep in arrays": (members('"a": ' + "[" * 10_000 + "]" * 10_000), "nests too deep"),
    "JSON with NaN": (members('"LrrRSSI": NaN'), "NaN is not a JSON number"),
    "JSON with Infinity": (members('"LrrRSSI": -Infinity'), "-Infinity is not a JSON number"),
    "JSON with a member twice": (members('"FCntUp": 14'), "'FCntUp' stands twice"),
    "JSON with a member twice, further down": (members('"Lrrs": {"Lrr": [{"a": 1, "a": 1}]}'), "'a' stands twice"),
    "JSON with a member twice, escaped": (members('"\\u0046CntUp": 14'), "'FCntUp' stands twice"),
    "JSON with a counter of 10,000 digits": (uplink(FCntUp=int("9" * 4000)), "has 4000 digits"),
    "JSON with a number of 10,000 digits": (members('"Margin": ' + "1" * 10_000), "has 10000 digits"),
    "JSON with a fraction of 10,000 digits": (members('"Margin": 0.' + "1" * 10_000), "has 10002 digits"),
    "JSON with a counter text of 10,000 digits": (uplink(FCntUp="1" * 10_000), r"\(10000 characters\)"),
    "JSON with invalid UTF-8": (uplink().replace(b"5c00", b"5c\xff0"), "not UTF-8"),
    "JSON with half a surrogate pair": (members('"a": "\\ud83d"'), "half of a surrogate pair"),
    "JSON with a NUL byte": (uplink().replace(b"5c00", b"5c\x000"), "not JSON"),
    "JSON with an escaped NUL": (members('"CustomerData": {"name": "a\\u0000b"}'), "NUL character"),
    "JSON with an escaped NUL in a name": (members('"a\\u0000": 1'), "NUL character"),
    "JSON of 80,000 values": (members('"a": [' + ",".join(["{}"] * 80_000) + "]"), "more than 16384 values"),
    "JSON with something behind it": (uplink() + b"{}", "not JSON"),
    "JSON that ends early": (uplink()[:-1], "not JSON"),
    "two reports": (json.dumps({"DevEUI_uplink": {"DevEUI": "1"}, "DevEUI_location": {"DevEUI": "1"}}), "2 reports"),
    "an array": (b"[]", "is a JSON array"),
    "neither JSON nor XML": (b"hello", "neither JSON nor XML"),
    "a form": (b"a=1&b=2", "neither JSON nor XML"),
    "UTF-16": (uplink().decode().encode("utf-16"), "neither JSON nor XML"),
    "random bytes": (bytes(range(255, -1, -1)), "neither JSON nor XML"),
    "no DevEUI": (uplink(DevEUI=""), "DevEUI is missing"),
    "no counter": (uplink(FCntUp=None), "FCntUp is missing"),
    "FCntUp of 2^32": (uplink(FCntUp=F_CNT_MAX + 1), "FCntUp is '4294967296'"),
    "FCntUp below 0": (uplink(FCntUp=-1), "FCntUp is '-1'"),
    "FCntUp with a leading zero": (uplink(FCntUp="013"), "FCntUp is '013'"),
    "FCntUp as a fraction": (uplink(FCntUp=13.0), r"FCntUp is '13\.0'"),
    "FCntUp as an object": (uplink(FCntUp={"a": 1}), "FCntUp is not a single value"),
    "FPort 256": (uplink(FPort=256), "FPort is '256'"),
    "hex of odd length": (uplink(payload_hex="aa2"), "payload_hex has 3 characters"),
    "payload that is no hex": (uplink(payload_hex="zz"), "payload_hex has 2 characters"),
}


@pytest.mark.parametrize(("body", "detail"), MALFORMED_BODIES.values(), ids=MALFORMED_BODIES)
def test_a_malformed_body_is_answered_400_and_kept_with_its_fault(refusal, body, detail):
    body = body if isinstance(body, bytes) else body.encode()
    answer, rejection = refusal(body)

    assert (answer.status, rejection.reason) == (400, "malformed-body")
    assert re.search(detail, rejection.detail), rejection.detail
    assert answer.body.decode().strip() == rejection.detail
    assert bytes(rejection.body) == body


@pytest.mark.parametrize("body", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
def test_an_empty_body_is_answered_400_and_kept_as_empty(refusal, body):
    answer, rejection = refusal(body)

    assert (answer.status, rejection.reason) == (400, "empty-body")


# --- queries


def without(name: str) -> str:
    return "&".join(pair for pair in signed_query().split("&") if not pair.startswith(f"{name}="))


MALFORMED_QUERIES = {
    "none": (lambda: "", "has no query"),
    "no Token": (lambda: without("Token"), "Token missing"),
    "no AS_ID": (lambda: without("AS_ID"), "AS_ID missing"),
    "no LrnInfos": (lambda: without("LrnInfos"), "LrnInfos missing"),
    "only an &": (lambda: "&", "LrnDevEui, LrnFPort, LrnInfos, AS_ID, Time, Token missing"),
    "names in another case": (lambda: signed_query().lower(), "missing"),
    "two Tokens": (lambda: f"{signed_query()}&Token={'0' * 64}", "Token stands twice"),
    "the same Token twice": (lambda: f"{signed_query()}&{signed_query().rpartition('&')[2]}", "Token stands twice"),
    "two AS_IDs": (lambda: f"AS_ID=another&{signed_query()}", "AS_ID stands twice"),
    "two AS_IDs, one of them escaped": (lambda: f"AS%5FID=another&{signed_query()}", "AS_ID stands twice"),
    "a short Token": (lambda: signed_query()[:-1], "Token has 63 characters"),
    "a Token that is no hex": (lambda: signed_query()[:-1] + "g", "Token has 64 characters"),
    "Time with a space for its +": (lambda: signed_query(Time="2026-11-21T08:30:00.000%2001:00"), "a proxy"),
    "Time in another form": (lambda: signed_query(Time="1473419836813"), "not ISO 8601"),
    "Time in a month 13": (lambda: signed_query(Time="2026-13-21T08:30:00Z"), "not ISO 8601"),
    "Time with other digits": (lambda: signed_query(Time="%EF%BC%92026-11-21T08:30:00Z"), "not ISO 8601"),
    "NUL": (lambda: signed_query(LrnInfos="a%00b"), "LrnInfos holds a control character"),
    "a line break": (lambda: signed_query(LrnInfos="a%0D%0Ab"), "LrnInfos holds a control character"),
    "invalid UTF-8": (lambda: signed_query(LrnInfos="a%FFb"), "not UTF-8"),
    "5,000 bytes": (lambda: signed_query(LrnInfos="a" * 5000), "at most 4096"),
}


@pytest.mark.parametrize(("make", "detail"), MALFORMED_QUERIES.values(), ids=MALFORMED_QUERIES)
def test_a_malformed_query_is_answered_400_and_kept_with_its_fault(refusal, make, detail):
    answer, rejection = refusal(uplink(), make())

    assert (answer.status, rejection.reason) == (400, "malformed-query")
    assert re.search(detail, rejection.detail), rejection.detail
    assert bytes(rejection.body) == uplink()


# --- what is in order and yet not authentic


def at(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


UNAUTHENTIC = {
    "another key": ("token-mismatch", lambda: signed_query(key=OTHER_KEY), "/push/field"),
    "other values": ("token-mismatch", lambda: signed_query(f"{CUSTOMER_ID}{DEV_EUI}114aa27"), "/push/field"),
    "an unknown connection": ("unknown-connection", signed_query, "/push/nobody"),
    "another AS_ID": ("as-id-mismatch", lambda: signed_query(AS_ID="another"), "/push/field"),
    "another device": ("query-body-mismatch", lambda: signed_query(LrnDevEui="20635F0000000002"), "/push/field"),
    "another FPort": ("query-body-mismatch", lambda: signed_query(LrnFPort="2"), "/push/field"),
    "too old": ("time-out-of-window", lambda: signed_query(Time=at(-70)), "/push/field"),
    "too new": ("time-out-of-window", lambda: signed_query(Time=at(70)), "/push/field"),
    "of the year 1": ("time-out-of-window", lambda: signed_query(Time="0001-01-01T00:00:00Z"), "/push/field"),
}


@pytest.mark.parametrize(("reason", "make", "path"), UNAUTHENTIC.values(), ids=UNAUTHENTIC)
def test_an_unauthentic_push_is_answered_401_and_kept_with_the_true_reason(refusal, reason, make, path):
    answer, rejection = refusal(uplink(), make(), path=path)

    assert (answer.status, rejection.reason) == (401, reason)
    assert rejection.path_name == path.removeprefix("/push/")
    assert bytes(rejection.body) == uplink()


def test_all_unauthentic_pushes_get_the_same_bytes(server):
    answers = {name: server.push(uplink(), make(), path=path) for name, (_, make, path) in UNAUTHENTIC.items()}

    assert len({answer.raw for answer in answers.values()}) == 1
    assert answers["another key"].body == NO_BODY_TOLD


@pytest.mark.parametrize("fault", [(b"hello", None), (b"", None), (uplink(FPort=256), None), (uplink(), "Token=1")])
def test_a_malformed_push_is_answered_alike_by_a_known_and_an_unknown_connection(server, fault):
    known, unknown = server.push(*fault, path="/push/field"), server.push(*fault, path="/push/nobody")

    assert known.raw == unknown.raw


def test_a_rejection_of_an_unknown_connection_is_kept_in_the_ring_of_those(refusal):
    _, rejection = refusal(uplink(), path="/push/nobody")

    assert rejection.connection_id is None


# --- methods, paths and headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_another_method_is_answered_405_and_told_which(server, method):
    with server.connect() as client:
        client.sendall(request("/push/field", method=method))
        head = client.makefile("rb").read().lower()

    assert head.startswith(b"http/1.1 405 ")
    assert b"\r\nallow: post\r\n" in head


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/push/", ""),
        ("/push/field/", "field/"),
        ("/push/a/b", "a/b"),
        ("/push/a%2Fb", "a/b"),
        ("/push/../field", "../field"),
        ("/push/FIELD", "FIELD"),
        ("/push/field%20", "field "),
        ("/push/field%00", "field\\x00"),
        ("/push/%FF%FE", "\ufffd\ufffd"),
        ("/push/%C3%A9%F0%9F%93%A1", "\u00e9\U0001f4e1"),
        ("/push/%0D%0ASet-Cookie:%20a=b", "\r\nSet-Cookie: a=b"),
        ("/push/" + "n" * 5000, "n" * 128),
    ],
)
def test_an_odd_path_is_an_unknown_connection(refusal, path, name):
    answer, rejection = refusal(uplink(), path=path)

    assert (answer.status, rejection.reason) == (401, "unknown-connection")
    assert rejection.path_name == name


@pytest.mark.parametrize("path", ["/push/%66iel%64", "/%70ush/field", "/push%2Ffield", "http://elsewhere/push/field"])
def test_a_path_in_another_spelling_is_the_same_path(server, new_uplink, path):
    body, elements = new_uplink()

    assert server.push(body, signed_query(elements), path=path).body == b"stored\n"


@pytest.mark.parametrize(("path", "status"), [("/push", 404), ("/PUSH/field", 404), ("//push/field", 404), ("/", 405)])
def test_paths_beside_the_push_route_take_no_push(server, path, status):
    assert server.push(uplink(), path=path).status == status


def test_a_path_with_bytes_beyond_ascii_is_answered_400(server):
    answer = server.send(request("/push/f\u00e9ld?" + signed_query(), uplink()))

    assert answer is not None
    assert answer.status == 400


@pytest.mark.parametrize("name", ["Authorization", "PROXY-AUTHORIZATION", "Cookie", "X-Api-Key"])
def test_a_rejection_never_holds_a_credential_of_the_sender(refusal, name):
    _, rejection = refusal(
        uplink(), signed_query(key=OTHER_KEY), headers=f"{name}: Bearer hush-hush\r\nX-Other: kept\r\n"
    )

    assert "hush-hush" not in rejection.headers
    assert ["x-other", "kept"] in json.loads(rejection.headers)


def logged(server, path):
    """Push until the refusal stands in the log, of which a second has room for a few only; give the log."""
    name = path.rpartition("/")[2][-5:]
    query = signed_query(key=OTHER_KEY)
    deadline = monotonic() + 10
    while monotonic() < deadline:
        server.push(uplink(), query, path=path)
        if name in (log := server.log.read_text()):
            return log, query.rpartition("=")[2]
    raise AssertionError("no refusal is logged")


def test_no_log_line_holds_a_token(server):
    log, token = logged(server, "/push/nobody-logged")

    assert token not in log


def test_a_name_that_would_act_on_a_terminal_is_escaped_in_the_log(server):
    log, _ = logged(server, "/push/%1B%5B2Jclear")

    assert "\x1b" not in log


def test_the_headers_kept_with_a_rejection_are_bounded(refusal):
    _, rejection = refusal(b"hello", headers="".join(f"X-{n}: {'v' * 1000}\r\n" for n in range(20)))

    assert len(rejection.headers) < 6000


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "", "\u00ff\u00fe", "a/b; charset=x"])
def test_the_content_type_is_not_asked(server, new_uplink, content_type):
    body, elements = new_uplink()

    answer = server.push(body, signed_query(elements), headers=f"Content-Type: {content_type}\r\n")

    assert answer.body == b"stored\n"


def test_unknown_parameters_are_taken_and_not_signed(server, new_uplink):
    body, elements = new_uplink()
    query = f"color=green&{signed_query(elements)}&x=%00%FF&y"

    assert server.push(body, query).body == b"stored\n"
    assert server.last_report().query.startswith("color=green&LrnDevEui=")


def test_the_query_is_stored_without_its_token(server, new_uplink):
    body, elements = new_uplink()
    query = signed_query(elements)
    server.push(body, query)

    assert server.last_report().query == query.partition("&Token=")[0]


def test_the_parameters_may_come_in_any_order(server, new_uplink):
    body, elements = new_uplink()
    query = "&".join(reversed(signed_query(elements).split("&")))

    assert server.push(body, query).body == b"stored\n"


@pytest.mark.parametrize("encoded", [False, True])
def test_a_plus_sign_is_a_plus_sign_encoded_or_not(server, new_uplink, encoded):
    body, elements = new_uplink()
    query = signed_query(elements, Time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+00:00"))
    assert "+" in query

    answer = server.push(body, query.replace("+", "%2B").replace(":", "%3A") if encoded else query)

    assert answer.body == b"stored\n"


def test_a_moved_digit_is_no_second_report(server):
    """FCntUp 1 with payload 000105 hashes as FCntUp 100 with payload 0105: it is one delivery all the same."""
    query = signed_query(f"{CUSTOMER_ID}{DEV_EUI}11000105")
    first = server.push(uplink(FCntUp=1, payload_hex="000105"), query)
    report = server.last_report()
    moved = server.push(uplink(FCntUp=100, payload_hex="0105"), query)

    assert (first.body, moved.body) == (b"stored\n", b"duplicate\n")
    assert server.last_report().id == report.id
