"""Refusals of management APIs, in all their envelopes, as one sentence; and what to do about those of KPN LoRa."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import LoginRefusedError, PlatformRefusedError
from receiver.http_client import HttpAnswer
from receiver.platforms.calls import read_answer
from receiver.platforms.kpn_lora_refusals import explain, explain_login
from receiver.platforms.refusals import MOST_ID, MOST_SAID, refusal_in, refusal_of


def answer(status, value):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return HttpAnswer(status, {}, body)


def test_the_gateway_s_envelope_is_read():
    members = {"transactionId": "t", "status": "429", "name": "TooMany", "message": "Quota exceeded.", "info": ""}

    refused = refusal_of("KPN LoRa", answer(429, members))

    assert str(refused) == "KPN LoRa refused with status 429: Quota exceeded."
    assert (refused.status, refused.oss_code, refused.error_id, refused.said) == (
        429,
        None,
        "TooMany",
        "Quota exceeded",
    )


def test_the_application_s_envelope_is_read_with_its_number():
    members = {"code": 400, "message": "Bad request: No ConnectivityPlan for ID: x", "errorId": "OSS-214"}

    refused = refusal_of("KPN LoRa", answer(400, members))

    assert (refused.oss_code, refused.error_id) == (214, "OSS-214")
    assert str(refused) == "KPN LoRa refused with status 400 (code 214): Bad request: No ConnectivityPlan for ID: x."


def test_a_number_of_thingpark_s_is_not_the_status():
    refused = refusal_of("ThingPark", answer(403, {"code": 121, "message": "Locked"}))

    assert (refused.status, refused.oss_code) == (403, 121)


def test_an_oauth_server_s_words_are_read():
    refused = refusal_of("KPN LoRa", answer(401, {"error": "invalid_client", "error_description": "Unknown client"}))

    assert "Unknown client. Check the account's client id and secret" in str(refused)


@pytest.mark.parametrize("body", [b"", b"<html><b>no</b></html>", b"[]", b'{"message":""}', b'{"message":{"a":1}}'])
def test_a_refusal_without_words_says_so(body):
    refused = refusal_of("KPN LoRa", answer(404, body))

    assert str(refused) == "KPN LoRa refused with status 404, without a word that could be read."


def test_a_redirect_is_told_as_what_it_is():
    assert "A redirect is not followed: the account's URL is another one." in str(
        refusal_of("KPN LoRa", answer(302, b""))
    )


def test_long_words_are_cut_and_control_characters_are_not_passed_on():
    refused = refusal_of("KPN LoRa", answer(400, {"message": "a\x1b[2J\n" + "b" * 5000}))

    assert len(refused.said) <= MOST_SAID
    assert refused.said.isprintable()


@pytest.mark.parametrize(
    ("value", "is_refusal"),
    [
        ({"code": 114, "message": "no"}, True),
        ({"code": 400, "message": "no", "errorId": "OSS-214"}, True),
        ({"code": 400, "message": "no", "ref": "15"}, False),
        ({"message": "done"}, False),
        ([{"code": 1, "message": "no"}], False),
        (None, False),
    ],
)
def test_a_good_status_can_be_a_refusal_all_the_same(value, is_refusal):
    assert refusal_in(read_answer(answer(200, value))) is is_refusal


@given(status=st.integers(100, 599), body=st.binary(max_size=200))
def test_no_body_makes_an_error_of_another_kind(status, body):
    assert str(refusal_of("KPN LoRa", answer(status, body))).isprintable()


@pytest.mark.parametrize(
    "said",
    [
        "applicationKey 6b1d94e2f70835ac0e4d7b21c96f58a3 is not valid",
        "applicationKey 6B:1D:94:E2:F7:08:35:AC:0E:4D:7B:21:C9:6F:58:A3 is not valid",
        "applicationKey 6b1d94e2f70835ac 0e4d7b21c96f58a3 is not valid",
    ],
)
def test_what_looks_like_a_key_is_not_passed_on(said):
    refused = refusal_of("KPN LoRa", answer(400, {"message": said}))

    assert refused.said.startswith("applicationKey …")
    assert "6b1d" not in str(refused).lower()


def test_secrets_of_the_request_are_not_passed_on():
    said = "Password my.password+1 (MY.PASSWORD+1) of 0059AC0000170311 is wrong"

    refused = refusal_of("KPN LoRa", answer(400, {"message": said, "name": "my.password+1"}), ["my.password+1", "is"])

    assert refused.said == "Password … (…) of 0059AC0000170311 is wrong"
    assert refused.error_id == "…"


@pytest.mark.parametrize("code", [10**9, -(10**12), 10**300, "9" * 39])
def test_a_number_that_is_no_code_is_left_out(code):
    assert str(refusal_of("KPN LoRa", answer(400, {"code": code, "message": "no"}))) == (
        "KPN LoRa refused with status 400: no."
    )


def test_a_name_of_an_error_is_bounded_and_printable():
    error_id = refusal_of("KPN LoRa", answer(400, {"name": "E\x1b[2J\ud800" + "x" * 5000})).error_id

    assert error_id.isprintable()
    assert len(error_id) <= MOST_ID


def refused_by_kpn(said, status=400, oss_code=None):
    return PlatformRefusedError(f"KPN LoRa refused: {said}.", status=status, oss_code=oss_code, said=said)


@pytest.mark.parametrize(
    ("said", "options", "hint"),
    [
        ("No ConnectivityPlan for ID: a/b and Operator: 24", {"dev_eui": "E"}, "There is no connectivity plan a/b in"),
        (
            "No more connections available",
            {"dev_eui": "E", "plan": "a/b"},
            "no free licence in the connectivity plan a/b",
        ),
        ("Not enough licenses", {"dev_eui": "E", "plan": "a/b"}, "no free licence in the connectivity plan a/b"),
        ("Device already exists", {"dev_eui": "E"}, "A device with DevEUI E is there already"),
        ("RoutingProfile name must be unique", {"profile": "P"}, "The name P is taken"),
        ("Entropy of asKey too low", {"profile": "P"}, "The tunnel key is too easy to guess"),
        ("PKIX: certificate unknown", {"profile": "P", "addresses": ("https://x",)}, "able to push to https://x"),
        ("Invalid URL", {"profile": "P", "addresses": ("https://x",)}, "able to push to https://x"),
        ("User is not activated", {}, "`receiver kpn-lora activate` does it"),
    ],
)
def test_what_to_do_is_said_by_what_was_asked_and_what_was_answered(said, options, hint):
    refused = refused_by_kpn(said)

    explained = explain(refused, **options)

    assert hint in str(explained)
    assert str(explained).startswith(str(refused))
    assert (explained.status, explained.said) == (400, said)


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("activationType must be OTAA", {"dev_eui": "E"}),
        ("No more connections available", {"profile": "P"}),
        ("Invalid URL", {"dev_eui": "E"}),
        ("Something else", {"dev_eui": "E", "plan": "a/b"}),
        ("", {}),
    ],
)
def test_where_nothing_is_known_nothing_is_added(said, options):
    refused = refused_by_kpn(said)

    assert explain(refused, **options) is refused


def test_the_known_number_is_enough_where_the_words_are_others():
    assert "There is no connectivity plan mine in" in str(explain(refused_by_kpn("Fout", oss_code=214), plan="mine"))


def test_a_refused_login_that_speaks_of_activation_says_how():
    assert "receiver kpn-lora activate" in str(explain_login(LoginRefusedError("Project is not activated.")))
    assert str(explain_login(LoginRefusedError("Wrong client."))) == "Wrong client."
