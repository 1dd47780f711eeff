"""Requests to management APIs as values: how they are sent, and what is shown of them."""

from __future__ import annotations

import pytest

from receiver.http_client import HttpAnswer
from receiver.platforms.calls import PlatformCall, is_secret_name, read_answer, withhold

BASE = "https://api.example.nl/base"
SECRET = "a-secret-that-nobody-may-see"


def test_names_and_values_of_the_query_are_escaped_as_thingpark_s_examples_write_them():
    call = PlatformCall("GET", "/devices", (("sort", "alarmUid,asc"), ("plan", "kpn-acc-ope-cs/often geo+=&")))

    assert call.url(BASE) == f"{BASE}/devices?sort=alarmUid%2Casc&plan=kpn-acc-ope-cs%2Foften%20geo%2B%3D%26"


def test_a_call_without_query_has_no_question_mark():
    assert PlatformCall("GET", "/devices").url(BASE) == f"{BASE}/devices"


@pytest.mark.parametrize(
    ("body", "content"),
    [(None, b""), ({"a": [1, "é"]}, '{"a":[1,"é"]}'.encode()), ("a;b\n1;2", b"a;b\n1;2"), ([], b"[]"), ({}, b"{}")],
)
def test_a_body_is_json_or_text_as_it_is(body, content):
    assert PlatformCall("POST", "/x", body=body).content() == content


@pytest.mark.parametrize(
    ("method", "is_repeatable"), [("GET", True), ("PUT", True), ("DELETE", True), ("POST", False), ("PATCH", False)]
)
def test_only_what_does_the_same_twice_is_repeatable(method, is_repeatable):
    assert PlatformCall(method, "/x").is_repeatable is is_repeatable


def test_headers_and_parameters_are_added_to_those_there_are():
    call = (
        PlatformCall("GET", "/x", (("a", "1"),), headers=(("A", "1"),)).with_query(("b", "2")).with_headers(("B", "2"))
    )

    assert (call.query, call.headers) == ((("a", "1"), ("b", "2")), (("A", "1"), ("B", "2")))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "asKey",
            "ASKEY",
            "applicationKey",
            "appKey",
            "nwkKey",
            "thingpark_password",
            "client_secret",
            "downlinkAsKey",
        ),
        *("rsaEncryptedASKey", "sessionToken", "userAccessCode", "deviceToken", "newPassword", "privateKey", "ki"),
    ],
)
def test_a_secret_is_withheld_by_its_name_at_any_depth(name):
    call = PlatformCall("POST", "/x", body={"routes": [{name: SECRET, "asId": "kept"}], name: SECRET})

    shown = call.shown(BASE)

    assert is_secret_name(name)
    assert SECRET not in shown
    assert '"kept"' in shown
    assert f'"{name}": "…"' in shown


def test_a_secret_in_the_query_is_withheld():
    shown = PlatformCall("POST", "/devices", (("deviceToken", SECRET), ("jsProfile", "js"))).shown(BASE)

    assert SECRET not in shown
    assert "jsProfile=js" in shown


@pytest.mark.parametrize("name", ["asId", "asKeyId", "rsaPublicKey", "hsmGroupId", "name", "applicationEUI"])
def test_what_is_no_secret_is_shown(name):
    assert "visible" in PlatformCall("POST", "/x", body={name: "visible"}).shown(BASE)


def test_text_is_shown_by_its_size_alone():
    call = PlatformCall("POST", "/import", body=f"EUI;{SECRET}", content_type="text/csv")

    assert call.shown(BASE) == f"POST {BASE}/import\n({len(SECRET) + 4} characters of text/csv)"


def test_a_call_prints_neither_body_nor_headers_nor_query():
    call = PlatformCall("POST", "/x", (("deviceToken", SECRET),), {"asKey": SECRET}, (("Authorization", SECRET),))

    assert SECRET not in repr(call)


def test_what_is_withheld_leaves_the_value_as_it_was():
    value = {"asKey": SECRET, "routes": ({"asKey": SECRET},)}

    assert withhold(value) == {"asKey": "…", "routes": [{"asKey": "…"}]}
    assert value["asKey"] == SECRET


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_an_answer_without_json_has_no_value(body):
    answer = read_answer(HttpAnswer(200, {}, body))

    assert (answer.value, answer.members.as_dict, answer.objects) == (None, {}, ())
    assert answer.body == body


def test_an_answer_is_an_object_or_a_list_of_them():
    one, several = (read_answer(HttpAnswer(200, {}, body)) for body in (b'{"a":1}', b'[{"a":1},2]'))

    assert (one.members.as_dict, one.objects) == ({"a": 1}, ())
    assert (several.members.as_dict, [each.as_dict for each in several.objects]) == ({}, [{"a": 1}])


def test_the_secrets_of_a_call_are_those_of_its_query_headers_and_body():
    call = PlatformCall(
        "POST",
        "/x",
        (("deviceToken", "of the query"), ("plan", "kept")),
        {"asKey": "of the body", "routes": [{"asKey": "of a route", "asId": "kept"}], "ki": 5},
        (("Authorization", "Bearer of-the-header"), ("api-version", "kept")),
    )

    assert call.secrets == ("of the query", "of-the-header", "of the body", "of a route")
