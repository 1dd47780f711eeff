"""Tokens of KPN Things: which secret they were made with, over the very bytes of a body."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import IdentifierError, PushRejected, Reason
from receiver.kpn_things.token import (
    ThingsSecret,
    candidates,
    is_things_push,
    read_things_headers,
    sign_body,
    verify_message_token,
)
from receiver.services.things_push import verify_things_push
from receiver.services.things_secrets import new_things_secret, parse_things_secret, require_plug_uuid
from tests.conftest import NOW

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "things_message_token.json").read_text())
BODY, SECRET, TOKEN = VECTOR["body"].encode(), VECTOR["secret"].encode(), VECTOR["token"]
ONE, OTHER = "0b6f5f52-8c3a-4c0a-9d0e-2f1a4c5b6d7e", "737b588b-547e-45d3-96d0-f79723291bf1"


def headers(token=TOKEN, plug=None):
    given = [(b"host", b"receiver"), (b"things-message-token", token.encode())]
    return given + ([(b"things-plug-uuid", plug.encode())] if plug else [])


def verify(given, secrets, body=BODY):
    return verify_message_token(read_things_headers(given), body, secrets).row_id


def refusal(given, secrets, body=BODY):
    with pytest.raises(PushRejected) as refused:
        verify(given, secrets, body)
    assert refused.value.reason is Reason.TOKEN_MISMATCH
    return refused.value.detail


def test_the_token_is_that_of_two_other_implementations():
    assert sign_body(BODY, SECRET) == TOKEN


@pytest.mark.shared
def test_the_tokens_of_the_shared_vectors_are_made(shared):
    vectors = json.loads((shared / "vectors" / "kpn.json").read_text())["vectors"]
    tokens = [one for one in vectors if one["kind"] == "things_message_token"]

    assert len(tokens) == 2
    for one in tokens:
        assert sign_body(one["body"].encode(), one["shared_secret"].encode()) == one["expected"]


def test_a_body_that_was_written_anew_has_another_token():
    anew = json.dumps(json.loads(BODY), separators=(",", ":")).encode()

    assert anew != BODY
    assert "none of the 1 shared secrets" in refusal(headers(), [ThingsSecret(1, None, SECRET)], anew)


def test_the_secret_that_fits_is_given():
    assert verify(headers(), [ThingsSecret(1, None, b"x" * 32), ThingsSecret(2, None, SECRET)]) == 2


def test_of_two_that_fit_the_first_is_given():
    assert verify(headers(), [ThingsSecret(2, None, SECRET), ThingsSecret(1, None, SECRET)]) == 2


def test_a_token_in_upper_case_is_the_same():
    assert verify(headers(TOKEN.upper()), [ThingsSecret(1, None, SECRET)]) == 1


def test_a_secret_of_another_destination_is_not_tried_where_this_one_is_known():
    secrets = [ThingsSecret(1, ONE, SECRET), ThingsSecret(2, OTHER, b"x" * 32)]

    assert verify(headers(plug=ONE), secrets) == 1
    assert ONE not in refusal(headers(plug=OTHER), secrets)
    assert OTHER in refusal(headers(plug=OTHER), secrets)


def test_a_secret_of_no_destination_is_tried_for_all():
    assert verify(headers(plug=ONE), [ThingsSecret(1, ONE, b"x" * 32), ThingsSecret(2, None, SECRET)]) == 2


def test_of_a_destination_that_is_not_known_every_secret_is_tried():
    assert verify(headers(plug=OTHER), [ThingsSecret(1, ONE, SECRET)]) == 1


@pytest.mark.parametrize("plug", ["", "x", ONE[:-1], "é" * 36])
def test_a_destination_that_is_no_uuid_is_none(plug):
    given = [*headers(), (b"things-plug-uuid", plug.encode())]

    assert read_things_headers(given).plug_uuid is None
    assert len(candidates(None, [ThingsSecret(1, ONE, SECRET)])) == 1


def test_a_missing_token_is_told():
    assert refusal([(b"host", b"x")], [ThingsSecret(1, None, SECRET)]) == "The push has no header Things-Message-Token."


@pytest.mark.parametrize("given", [headers("x"), headers(TOKEN + "0"), headers(""), headers() + headers()])
def test_a_token_that_is_none_or_two_is_told(given):
    assert "not one value of 64" in refusal(given, [ThingsSecret(1, None, SECRET)])


def test_without_any_secret_nothing_is_in_order():
    assert "none of the 0" in refusal(headers(), [])


def test_no_secret_stands_in_a_repr_and_no_token_in_a_refusal():
    secret = ThingsSecret(1, None, SECRET)
    wrong = sign_body(BODY, b"another")

    assert "Horse" not in repr(secret)
    assert TOKEN not in repr(read_things_headers(headers()))
    assert wrong not in refusal(headers(wrong), [secret])


@given(
    st.lists(
        st.tuples(st.sampled_from([b"things-message-token", b"things-plug-uuid", b"host"]), st.binary(max_size=80))
    ),
    st.binary(max_size=200),
    st.binary(max_size=50),
)
def test_whatever_comes_is_refused_for_its_token_and_nothing_else(given_headers, body, query):
    with pytest.raises(PushRejected) as refused:
        verify_things_push(1, [ThingsSecret(1, None, SECRET)], query, body, NOW, given_headers)
    assert refused.value.reason is Reason.TOKEN_MISMATCH


@given(st.binary(max_size=300), st.binary(max_size=2000))
def test_whatever_is_signed_is_taken_and_comes_twice_under_one_id(body, query):
    signed = headers(sign_body(body, SECRET))
    secrets = [ThingsSecret(7, None, SECRET)]
    taken = verify_things_push(1, secrets, query, body, NOW, signed)

    assert (taken.tunnel_key_id, taken.body, taken.kind, len(taken.delivery_id)) == (7, body, "SenML", 16)
    assert "\0" not in taken.query
    assert verify_things_push(1, secrets, b"", body, NOW, signed).delivery_id == taken.delivery_id
    assert verify_things_push(2, secrets, b"", body, NOW, signed).delivery_id != taken.delivery_id
    assert is_things_push(signed)


def test_ids_of_deliveries_lie_in_the_order_of_their_base_times():
    def delivery_id(bt):
        body = b'[{"bn":"urn:dev:DEVEUI:0059AC00001B3461:","bt":%s,"n":"x","v":1}]' % bt
        return verify_things_push(
            1, [ThingsSecret(1, None, SECRET)], b"", body, NOW, headers(sign_body(body, SECRET))
        ).delivery_id

    times = [b"1605693026", b"1.76573996026e9", b"1.76675482E9", b"1766754821.5"]
    assert sorted(times, key=delivery_id) == times


def test_new_secrets_keep_the_rules_of_the_portal():
    made = {new_things_secret() for _ in range(50)}

    assert len(made) == 50
    for secret in made:
        assert len(secret) >= 32
        for kind in (string.ascii_uppercase, string.ascii_lowercase, string.digits, "#!@"):
            assert set(secret) & set(kind)
        assert parse_things_secret(f" {secret}\n") == secret


@pytest.mark.parametrize("text", ["", "a" * 29, "a" * 101, "a b" * 11, "ä" * 32, "a" * 31 + "\x7f"])
def test_a_secret_of_another_form_is_refused_and_not_shown(text):
    with pytest.raises(IdentifierError, match="30 to 100") as refused:
        parse_things_secret(text)
    assert not text or text not in str(refused.value)


def test_a_destination_is_named_by_a_uuid():
    assert require_plug_uuid(f" {ONE.upper()} ") == ONE
    with pytest.raises(IdentifierError, match="not the UUID of a destination"):
        require_plug_uuid("0059AC00001B3461")
