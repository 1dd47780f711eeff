"""The request that hands a downlink to KPN Things, and how its answers read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import SettingsError
from receiver.kpn_things.downlink import DownlinkForm, ThingsRequest, build_downlink_request
from receiver.services.downlink_actuator import read_actuator_answer
from receiver.thingpark.downlink_answers import Verdict

REQUEST = ThingsRequest("0059AC00001B3461", 2, bytes.fromhex("0a0b"), "00000000000000FF")


def test_the_beta_request_is_as_documented():
    built = build_downlink_request(DownlinkForm(), REQUEST)

    assert built.path == "/api/actuator/downlinks?port=2&externalReference=00000000000000FF"
    assert built.headers == {
        "Accept": "application/vnd.kpnthings.actuator.v1.response+json",
        "Content-Type": "application/json",
    }
    assert json.loads(built.body) == [{"bn": "urn:dev:DEVEUI:0059AC00001B3461:", "n": "payloadHex", "vs": "0a0b"}]


@pytest.mark.shared
def test_the_beta_body_is_that_of_the_shared_example(shared):
    text = (shared / "examples" / "kpn-things" / "10_downlink_beta_body_seed003.json").read_text()
    filled = text.replace("{devEUI}", REQUEST.dev_eui).replace("{payload}", "0a0b")

    assert json.loads(build_downlink_request(DownlinkForm(), REQUEST).body) == json.loads(filled)


def test_templates_spell_another_request():
    form = DownlinkForm("new", "/lora/downlinks?device={dev_eui}", '{"port":{f_port},"data":"{payload_hex}"}')
    form.check()
    built = build_downlink_request(form, REQUEST)

    assert (built.path, built.body) == ("/lora/downlinks?device=0059AC00001B3461", b'{"port":2,"data":"0a0b"}')
    assert built.headers["Accept"] == "application/json"


def test_what_is_filled_in_is_escaped():
    form = DownlinkForm("new", "/x?r={reference}", '{"r":"{reference}"}')
    built = build_downlink_request(form, ThingsRequest("0059AC00001B3461", 2, b"a", 'a"&b/'))

    assert (built.path, json.loads(built.body)) == ("/x?r=a%22%26b%2F", {"r": 'a"&b/'})


@pytest.mark.parametrize(
    "form",
    [
        DownlinkForm("new"),
        DownlinkForm("new", "/x"),
        DownlinkForm("new", None, "{}"),
        DownlinkForm("beta", "x"),
        DownlinkForm("beta", "//host/x"),
        DownlinkForm("beta", "/x/{devEui}", None),
        DownlinkForm("beta", "/x/{device}", None),
        DownlinkForm("beta", None, '{"a": {payload}}'),
        DownlinkForm("beta", None, "not json"),
    ],
)
def test_a_form_that_makes_no_request_is_refused(form):
    with pytest.raises(SettingsError):
        form.check()


def test_no_payload_stands_in_a_repr():
    assert "0a0b" not in repr(build_downlink_request(DownlinkForm(), REQUEST)) + repr(REQUEST)
    assert r"\n\x0b" not in repr(REQUEST)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ACCEPTED),
        (201, Verdict.ACCEPTED),
        (204, Verdict.ACCEPTED),
        (302, Verdict.HOLD),
        (301, Verdict.HOLD),
        (400, Verdict.REFUSED),
        (401, Verdict.HOLD),
        (403, Verdict.HOLD),
        (404, Verdict.REFUSED),
        (429, Verdict.RETRY),
        (500, Verdict.UNKNOWN),
        (503, Verdict.RETRY),
        (504, Verdict.UNKNOWN),
    ],
)
def test_answers_are_read_by_their_status(status, verdict):
    answer = read_actuator_answer(status, b'{"message":"why"}')

    assert answer.verdict is verdict
    assert ("why" in answer.text) == (status not in {200, 201, 204, 301})


@given(st.integers(100, 999), st.binary(max_size=300))
def test_no_answer_makes_an_exception(status, body):
    assert read_actuator_answer(status, body).text
