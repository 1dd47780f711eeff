"""KPN Things in a simulation, held against what this receiver makes of it: logins, the API, and pushed bodies."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from receiver.errors import LoginRefusedError
from receiver.http_client import HttpClient
from receiver.kpn_things.downlink import DownlinkForm, ThingsRequest, build_downlink_request
from receiver.kpn_things.records import read_message
from receiver.kpn_things.token import ThingsSecret, read_things_headers, verify_message_token
from receiver.platforms.grip import GripAccount, GripTokens
from receiver.services.connections import add_connection
from receiver.services.downlink_actuator import make_actuator_transport
from receiver.services.downlink_transport import DownlinkToSend
from receiver.services.downlink_transport_directory import TransportSettings
from receiver.services.things_accounts import NewAccount, set_account
from receiver.simulator.loopback_server import HttpReply, LoopbackServer
from receiver.simulator.things import (
    DEVICES_ACCEPT,
    DEVICES_PATH,
    DOWNLINKS_ACCEPT,
    DOWNLINKS_PATH,
    OWN_LORA_SPECIFICATION,
    SimulatedThings,
    ThingsDownlink,
)
from receiver.simulator.things_bodies import Layout, spell_double
from receiver.simulator.things_client import deliver_things_push
from receiver.thingpark.downlink_answers import Verdict

SECRET = "Correct#Horse1Battery2Staple3Northwind4"
NOW = datetime(2026, 11, 20, 12, 0, 0, 219_000, tzinfo=UTC)
FORMS = ("/v2/tenant/oidc/idp/c1/token", "/v2/tenant/oidc/idp/token", "/api/v3/idp/oidc/token")
BOTH = pytest.mark.parametrize("layout", list(Layout))


class Side:
    """KPN Things on a port of this machine, and a receiver's client of it."""

    def __init__(self, http):
        self.now = NOW
        self.things = SimulatedThings(shared_secret=SECRET, clock=lambda: self.now, seed=1)
        self.server = LoopbackServer()
        self.server.start(self.things.answer)
        self.http = http

    def log_in(self, form=FORMS[0], **changed):
        account = {"token_url": self.server.origin + form, "tenant_id": "tenant", "audience": "application"}
        account |= {"key_id": "key", "key_secret": "secret"}
        return GripTokens(self.http, GripAccount(**(account | changed)))

    def token(self):
        return self.log_in().get().text

    def ask(self, method, path, headers=None, content=b"", token=None):
        headers = {"Authorization": f"Bearer {token or self.token()}", **(headers or {})}
        return self.http.send(method, self.server.origin + path, headers, content)

    def send(self, device, payload=b"\x01", f_port=10, reference="R1"):
        wanted = ThingsRequest(device.dev_eui, f_port, payload, reference)
        request = build_downlink_request(DownlinkForm(), wanted)
        return self.ask("POST", request.path, request.headers, request.body)


@pytest.fixture
def side():
    http = HttpClient()
    side = Side(http)
    yield side
    side.server.stop()
    http.close()


# --- the login


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_the_token_url_gives_a_token(side, form):
    assert side.log_in(form).get().is_new
    assert side.things.logins == 1


@pytest.mark.parametrize(
    "changed", [{"key_secret": "other"}, {"key_id": "other"}, {"audience": "other"}], ids=["secret", "id", "audience"]
)
def test_a_wrong_key_gets_no_token(side, changed):
    with pytest.raises(LoginRefusedError, match=r"answered 401 \(invalid_client\)"):
        side.log_in(**changed).get()


def test_another_tenant_gets_no_token(side):
    with pytest.raises(LoginRefusedError, match="answered 401"):
        side.log_in("/v2/other/oidc/idp/token").get()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"grant_type":"password"}', b"{" * 5000])
def test_what_is_no_request_for_a_token_is_a_bad_request(side, body):
    assert side.http.send("POST", side.server.origin + FORMS[2], {}, body).status == 400


# --- the API


def test_a_token_that_is_not_known_is_redirected(side):
    answer = side.ask("GET", DEVICES_PATH, {"Accept": DEVICES_ACCEPT}, token="none")
    assert (answer.status, answer.headers["location"]) == (302, "/login")


def test_a_token_ends(side):
    token = side.token()
    side.now += timedelta(hours=1)
    assert side.ask("GET", DEVICES_PATH, {"Accept": DEVICES_ACCEPT}, token=token).status == 302


def test_tokens_can_be_taken_back(side):
    token = side.token()
    side.things.revoke_tokens()
    assert side.ask("GET", DEVICES_PATH, {"Accept": DEVICES_ACCEPT}, token=token).status == 302


def test_devices_come_in_pages(side):
    for number in range(5):
        side.things.add_device(name=f"device {number}")
    query = "?currentPage=1&pageSize=2&sortBy=name&sortOrder=DESC"
    page = json.loads(side.ask("GET", DEVICES_PATH + query, {"Accept": DEVICES_ACCEPT}).body)
    assert [device["name"] for device in page["content"]] == ["device 2", "device 1"]
    assert page["content"][0]["deviceSpecificationUUID"] == OWN_LORA_SPECIFICATION
    told = {"first": False, "last": False, "number": 1, "size": 2, "totalPages": 3, "totalElements": 5}
    assert told.items() <= page.items()


def test_a_search_knows_upper_case(side):
    side.things.add_device(name="Garden")
    page = json.loads(side.ask("GET", DEVICES_PATH + "?search=garden", {"Accept": DEVICES_ACCEPT}).body)
    assert page["content"] == []


@pytest.mark.parametrize("query", ["?currentPage=-1", "?pageSize=0", "?pageSize=x", "?sortOrder=UP", "?sortBy=colour"])
def test_a_page_that_there_cannot_be_is_a_bad_request(side, query):
    assert side.ask("GET", DEVICES_PATH + query, {"Accept": DEVICES_ACCEPT}).status == 400


def test_devices_want_their_media_type(side):
    assert side.ask("GET", DEVICES_PATH, {"Accept": "application/json"}).status == 400


def test_our_own_downlinks_are_taken(side):
    device = side.things.add_device()
    assert side.send(device, b"\xc0\xff\xee", 15, "R 7").status == 201
    assert list(side.things.downlinks) == [ThingsDownlink(device.dev_eui, 15, b"\xc0\xff\xee", "R 7")]


def test_a_device_of_somebody_else_is_forbidden(side):
    other = SimulatedThings(shared_secret=SECRET, clock=lambda: NOW, seed=2).add_device()
    assert side.send(other).status == 403


WRONG = {
    "no port": ("", None, None),
    "port 0": ("?port=0", None, None),
    "port 224": ("?port=224", None, None),
    "another media type": ("?port=1", {"Accept": "application/json"}, None),
    "another content type": ("?port=1", {"Content-Type": "text/plain"}, None),
    "no pack": ("?port=1", None, {}),
    "two records": ("?port=1", None, [{}, {}]),
    "no DevEUI": ("?port=1", None, [{"bn": "urn:dev:DEVEUI::", "n": "payloadHex", "vs": "00"}]),
    "no colon at the end": ("?port=1", None, [{"bn": "urn:dev:DEVEUI:{eui}", "n": "payloadHex", "vs": "00"}]),
    "another name": ("?port=1", None, [{"bn": "urn:dev:DEVEUI:{eui}:", "n": "payload", "vs": "00"}]),
    "half a byte": ("?port=1", None, [{"bn": "urn:dev:DEVEUI:{eui}:", "n": "payloadHex", "vs": "0"}]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_downlink_with_one_thing_wrong_is_a_bad_request(side, case):
    query, headers, pack = WRONG[case]
    device = side.things.add_device()
    right = [{"bn": "urn:dev:DEVEUI:{eui}:", "n": "payloadHex", "vs": "00"}]
    body = json.dumps(right if pack is None else pack).replace("{eui}", device.dev_eui).encode()
    media = {"Accept": DOWNLINKS_ACCEPT, "Content-Type": "application/json"} | (headers or {})
    assert side.ask("POST", DOWNLINKS_PATH + query, media, body).status == 400
    assert not side.things.downlinks


def test_the_api_can_be_told_to_fail(side):
    device = side.things.add_device()
    side.things.statuses.append(503)
    assert [side.send(device).status for _ in range(2)] == [503, 201]


# --- the whole way of a downlink of ours


@pytest.fixture
def transport(side, engine, keyring, now):
    connection = add_connection(
        engine, keyring, now, name="things", platform="kpn-things", tunnel_key=None, things_secrets=[SECRET]
    )
    origin = side.server.origin
    account = NewAccount("tenant", "key", "secret", api_url=origin, token_url=origin + FORMS[0], audience="application")
    set_account(engine, keyring, now, "things", account)
    return make_actuator_transport(TransportSettings(connection, "offset", ()), engine, keyring, side.http)


def to_send(device, **changed):
    downlink = DownlinkToSend(1, device.dev_eui, 10, b"\x01", None, False, False, None, "00000000000000AB")
    return downlink._replace(**changed)


def test_what_we_send_is_taken(side, transport):
    device = side.things.add_device()
    outcome = transport.send(to_send(device), NOW)
    assert outcome.answer.verdict is Verdict.ACCEPTED
    assert list(side.things.downlinks) == [ThingsDownlink(device.dev_eui, 10, b"\x01", "00000000000000AB")]


def test_a_token_that_was_taken_back_is_renewed_once(side, transport):
    device = side.things.add_device()
    transport.send(to_send(device), NOW)
    side.things.revoke_tokens()
    assert transport.send(to_send(device, id=2), NOW).answer.verdict is Verdict.ACCEPTED
    assert side.things.logins == 2


def test_what_fails_amid_it_is_of_unknown_outcome(side, transport):
    side.things.statuses.append(500)
    assert transport.send(to_send(side.things.add_device()), NOW).answer.verdict is Verdict.UNKNOWN


# --- what is pushed


@BOTH
@pytest.mark.parametrize("v2", [False, True])
def test_a_raw_uplink_is_read_as_what_the_device_sent(side, layout, v2):
    push = side.things.raw(side.things.add_device(), b"\xab\xcd", v2=v2, layout=layout)
    message = read_message(push.body, NOW)
    assert (message.device, message.payload, message.f_port) == (push.dev_eui, b"\xab\xcd", 2)
    assert message.f_cnt_up is None
    assert (b"timeOrigin" in push.body) == v2


@BOTH
@pytest.mark.parametrize("v2", [False, True])
def test_an_extended_uplink_is_read_with_its_counters_and_reception(side, layout, v2):
    device = side.things.add_device(f_cnt_up=41)
    push = side.things.extended(device, b"\x01", v2=v2, layout=layout)
    message = read_message(push.body, NOW)
    assert (message.f_cnt_up, message.f_cnt_down, message.payload) == (41, 0, push.clear_payload)
    assert None not in {message.rssi_dbm, message.snr_db, message.esp_dbm, message.spreading_factor, message.channel}
    assert message.adr


@BOTH
def test_a_location_is_read_as_one(side, layout):
    message = read_message(side.things.location(side.things.add_device(), layout=layout).body, NOW)
    assert message.fix is not None
    assert not message.is_uplink


@BOTH
def test_decoded_values_are_read_as_such(side, layout):
    message = read_message(side.things.decoded(side.things.add_device(), layout=layout).body, NOW)
    assert {value.name for value in message.values} == {"temperature", "battery"}


def test_a_device_may_be_named_by_its_uuid(side):
    device = side.things.add_device()
    message = read_message(side.things.raw(device, by_uuid=True).body, NOW)
    assert message.device == f"DVNUUID:{side.things.uuids[device.dev_eui]}"


def test_layouts_differ_as_they_did_before_and_after_december_2022(side):
    device = side.things.add_device(dev_eui="0059AC0000000001")
    merged = side.things.raw(device, b"\x1b", layout=Layout.MERGED).body
    separate = side.things.raw(device, b"\x1b", layout=Layout.SEPARATE).body
    name = b'"bn":"urn:dev:DEVEUI:0059AC0000000001:"'
    seconds = spell_double(NOW.timestamp()).encode()
    whole = str(int(NOW.timestamp())).encode()
    assert merged == b"[{" + name + b',"bt":' + seconds + b',"n":"payload","vs":"1b"},{"n":"port","v":2.0}]'
    assert separate == b"[{" + name + b',"bt":' + whole + b'},{"n":"payload","vs":"1b"},{"n":"port","v":2}]'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3.0"),
        (52.266785, "52.266785"),
        (1766754820, "1.76675482E9"),
        (1765739955.219, "1.765739955219E9"),
        (10_000_000, "1.0E7"),
        (0.0001, "1.0E-4"),
        (-107, "-107.0"),
        (0, "0.0"),
    ],
)
def test_numbers_are_spelled_as_java_does(value, text):
    assert spell_double(value) == text


def test_pushes_are_signed_with_the_shared_secret(side):
    push = side.things.raw(side.things.add_device())
    headers = [(name.lower().encode(), value.encode()) for name, value in push.headers.items()]
    secret = ThingsSecret(1, side.things.plug_uuid, SECRET.encode())
    assert verify_message_token(read_things_headers(headers), push.body, [secret]) is secret


def test_the_same_seed_gives_the_same_pushes():
    first, second = (SimulatedThings(shared_secret=SECRET, clock=lambda: NOW, seed=5) for _ in range(2))
    assert first.extended(first.add_device()).body == second.extended(second.add_device()).body
    assert first.extended(first.devices[0]).headers == second.extended(second.devices[0]).headers


@pytest.mark.parametrize(
    ("answers", "told"),
    [([200], [200]), ([503, 200], [503, 200]), ([503, 202, 500], [503, 202, 500])],
)
def test_a_push_is_tried_three_times_until_it_is_answered_200(side, answers, told):
    left = list(answers)
    server = LoopbackServer(lambda _request: HttpReply(left.pop(0)))
    server.start()
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    async def main():
        async with httpx.AsyncClient(trust_env=False) as client:
            push = side.things.raw(side.things.add_device())
            return await deliver_things_push(client, f"{server.origin}/push/things", push, sleep=pause)

    try:
        assert asyncio.run(main()) == told
    finally:
        server.stop()
    assert pauses == [1.0, 4.0][: len(told) - 1]


def test_nothing_secret_is_shown(side):
    push = side.things.raw(side.things.add_device(), b"\xc0\xff\xee")
    shown = f"{side.things!r} {push!r}"
    assert SECRET not in shown
    assert "c0ffee" not in shown.lower()
    assert push.headers["Things-Message-Token"] not in shown
