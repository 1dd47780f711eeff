"""The simulated KPN LoRa, asked by somebody who is not the receiver's client: as KPN's documents have it."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import quote

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from receiver.errors import ConflictError
from receiver.lorawan.keys import AesKey
from receiver.simulator.management_http import CUT, LOST, answered
from receiver.simulator.management_kpn_lora_alarms import SimulatedFrame
from receiver.simulator.management_kpn_lora_profiles import KpnLoraRules
from receiver.thingpark.as_transport_key import unwrap_app_s_key
from receiver.thingpark.rsa_key import public_key_pem
from tests.integration.kpn_lora_use import (
    ADDRESS,
    APP_KEY,
    AS_ID,
    AS_KEY,
    DEVICE_PROFILE,
    NOW,
    PLAN,
    kpn_site,
    rsa_pair,
)

FORM = {"client_id": "client", "client_secret": "secret"}
PROFILE = {
    "name": "field",
    "default": False,
    "hsmGroupId": "HSM_KPN-OPE.1",
    "routes": [{"contentType": "JSON", "asId": AS_ID, "asKey": AS_KEY, "addresses": [ADDRESS]}],
}
DEVICE = {
    "name": "sensor",
    "EUI": "0059ac0000170311",
    "activationType": "OTAA",
    "deviceProfileId": DEVICE_PROFILE,
    "hsmGroupId": "HSM_KPN-OPE.1",
    "connectivityPlanId": PLAN,
    "processingStrategyId": "NOAS",
    "applicationEUI": "70B3D53260000003",
    "applicationKey": APP_KEY,
}


class Caller:
    """Asks the site by itself: no code of the receiver's platforms is in it."""

    def __init__(self, site):
        self.site = site
        self.http = httpx.Client(trust_env=False)
        self.token = self.log_in().json()["access_token"]

    def log_in(self, query="grant_type=client_credentials", form=FORM):
        return self.http.post(f"{self.site.token_url}?{query}", data=form)

    def __call__(self, method, path, body=None, **headers):
        fields = {"Authorization": f"Bearer {self.token}", **{name.replace("_", "-"): v for name, v in headers.items()}}
        return self.http.request(method, self.site.base_url + path, json=body, headers=fields)

    def new_profile(self, **changes):
        return self("POST", "/routingProfiles", {**PROFILE, **changes})

    def new_device(self, **changes):
        members = {**DEVICE, **changes}
        return self("POST", "/devices", {name: value for name, value in members.items() if value is not None})


@pytest.fixture
def make_caller(request):
    def make(**options):
        context = kpn_site(**options)
        site = context.__enter__()
        caller = Caller(site)
        request.addfinalizer(lambda: (caller.http.close(), context.__exit__(None, None, None)))
        return caller

    return make


@pytest.fixture
def ask(make_caller):
    return make_caller()


@pytest.fixture(scope="module")
def pair():
    return rsa_pair()


# --- tokens, quota, envelopes


def test_a_token_comes_with_texts_alone(ask):
    answer = ask.log_in()

    members = answer.json()
    assert answer.status_code == 200
    assert {type(value) for value in members.values()} == {str}
    assert (members["token_type"], members["expires_in"], members["status"]) == ("Bearer", "3599", "approved")
    assert members["issued_at"] == str(int(NOW.timestamp() * 1000))


@pytest.mark.parametrize(
    ("query", "form"),
    [
        ("", {**FORM, "grant_type": "client_credentials"}),
        ("grant_type=password", FORM),
        ("grant_type=client_credentials", {**FORM, "client_secret": "other"}),
        ("grant_type=client_credentials", {}),
    ],
)
def test_a_login_in_another_form_is_refused(ask, query, form):
    assert ask.log_in(query, form).status_code == 401


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}], ids=["none", "another"])
def test_nothing_is_answered_without_a_token(ask, headers):
    answer = ask.http.get(f"{ask.site.base_url}/devices", headers=headers)

    assert answer.status_code == 401
    assert set(answer.json()) == {"transactionId", "status", "name", "message", "info"}


def test_a_token_ends_after_its_life(make_caller):
    ask = make_caller(token_life_s=300)

    before = ask("GET", "/devices").status_code
    ask.site.now += timedelta(seconds=300)

    assert (before, ask("GET", "/devices").status_code) == (200, 401)


def test_tokens_can_be_revoked(ask):
    ask.site.kpn.revoke_tokens()

    assert ask("GET", "/devices").status_code == 401


def test_the_quota_is_counted_and_refuses_until_the_minute_is_over(make_caller):
    ask = make_caller(quota_per_minute=2, quota_retry_after_s=30)

    first, _, third = (ask("GET", "/devices") for _ in range(3))
    ask.site.now += timedelta(minutes=1)
    after = ask("GET", "/devices")

    assert (first.status_code, third.status_code, after.status_code) == (200, 429, 200)
    assert (first.headers["quota-limit"], first.headers["quota-used"]) == ("2", "1")
    assert (third.headers["quota-used"], third.headers["retry-after"]) == ("3", "30")


def test_without_a_time_to_wait_the_quota_says_none(make_caller):
    ask = make_caller(quota_per_minute=0)

    assert "retry-after" not in ask("GET", "/devices").headers


def test_an_unknown_plan_is_refused_in_kpn_s_words(ask):
    answer = ask.new_device(connectivityPlanId="kpn-acc-ope-cs/often-geo-1919")

    assert answer.status_code == 400
    assert answer.json() == {
        "code": 400,
        "message": "Bad request: No ConnectivityPlan for ID: kpn-acc-ope-cs/often-geo-1919 and Operator: 24",
        "errorId": "OSS-214",
    }


def test_refusals_can_come_in_the_gateway_s_envelope(make_caller):
    ask = make_caller(rules=KpnLoraRules(gateway_errors=True))

    assert "transactionId" in ask.new_device(connectivityPlanId="other").json()


@pytest.mark.parametrize(("version", "status"), [("v1.2", 201), ("v1.1.1", 201), ("1.2", 400), ("v9", 400)])
def test_only_versions_that_there_are_are_taken(ask, version, status):
    assert ask("POST", "/devices", DEVICE, api_version=version).status_code == status


@pytest.mark.parametrize(("version", "status"), [("v1.2", 400), ("v1.1.1", 201)])
def test_only_the_older_interface_does_without_an_hsm_group(ask, version, status):
    members = {name: value for name, value in DEVICE.items() if name != "hsmGroupId"}

    assert ask("POST", "/devices", members, api_version=version).status_code == status


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/other"), ("PATCH", "/devices"), ("DELETE", "/devices"), ("GET", "/devices/1/2"), ("POST", "/hsmGroups")],
)
def test_what_is_not_there_is_not_found(ask, method, path):
    assert ask(method, path).status_code == 404


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff" * 10])
def test_a_body_that_is_no_object_is_refused(ask, content):
    headers = {"Authorization": f"Bearer {ask.token}"}

    answer = ask.http.post(f"{ask.site.base_url}/devices", content=content, headers=headers)

    assert answer.status_code == 400


# --- activation


def test_nothing_but_activation_is_answered_before_it(make_caller):
    ask = make_caller(is_activated=False)
    login = {"thingpark_username": "someone@example.nl", "thingpark_password": "password"}

    before = ask("GET", "/connectivityPlans").status_code
    done = ask("POST", "/activate", login)

    assert (before, done.status_code) == (403, 200)
    assert set(done.json()) == {"status"}
    assert ask("GET", "/connectivityPlans").status_code == 200


def test_wrong_credentials_do_not_activate(make_caller):
    ask = make_caller(is_activated=False)

    answer = ask("POST", "/activate", {"thingpark_username": "someone@example.nl", "thingpark_password": "x"})

    assert answer.status_code == 401
    assert not ask.site.kpn.is_activated


# --- routing profiles


@pytest.mark.parametrize("write", [lambda pem: pem, lambda pem: "".join(pem.splitlines())], ids=["lines", "one line"])
def test_the_as_transport_key_comes_under_the_caller_s_own_key(ask, pair, write):
    private_key, pem = pair

    answer = ask.new_profile(rsaPublicKey=write(pem))

    made = answer.json()
    wrapped = bytes.fromhex(made["rsaEncryptedASKey"])
    assert (answer.status_code, len(wrapped)) == (201, 256)
    assert AesKey(private_key.decrypt(wrapped, PKCS1v15())) == ask.site.kpn.profiles[made["ref"]].as_transport_key


def test_the_as_transport_key_can_come_as_hex_text(make_caller, pair):
    ask = make_caller(rules=KpnLoraRules(wraps_hex_text=True))

    made = ask.new_profile(rsaPublicKey=pair[1]).json()

    text = pair[0].decrypt(bytes.fromhex(made["rsaEncryptedASKey"]), PKCS1v15())
    assert AesKey(bytes.fromhex(text.decode())) == ask.site.kpn.profiles[made["ref"]].as_transport_key


def test_the_wrapped_key_is_shown_once(ask, pair):
    made = ask.new_profile(rsaPublicKey=pair[1]).json()

    again = [ask("GET", "/routingProfiles").text, ask("GET", f"/routingProfiles/{made['ref']}").text]

    assert not [text for text in again if "rsaEncryptedASKey" in text]


def test_no_answer_has_the_tunnel_key(ask):
    made = ask.new_profile()

    answers = [
        made.text,
        ask("GET", "/routingProfiles").text,
        ask("PUT", f"/routingProfiles/{made.json()['ref']}", {"name": "x"}).text,
    ]

    assert not [text for text in answers if AS_KEY in text]
    assert ask.site.kpn.profiles[made.json()["ref"]].as_key == AS_KEY


def test_a_profile_is_echoed_with_id_ref_and_the_defaults_of_its_route(ask):
    made = ask.new_profile(routes=[{"addresses": [ADDRESS]}]).json()

    assert made["id"] == f"TWA_100001135.{made['ref']}"
    assert made["routes"] == [
        {"sourcePorts": "*", "strategy": "SEQUENTIAL", "contentType": "XML", "addresses": [ADDRESS]}
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": None}, "name is mandatory"),
        ({"hsmGroupId": "other"}, "No HSMGroup"),
        ({"rsaPublicKey": "MIIB"}, "not in PEM"),
        ({"rsaPublicKey": 5}, "not in PEM"),
        ({"rsaPublicKey": "-----BEGIN PUBLIC KEY-----MIIB-----END PUBLIC KEY-----"}, "not an RSA public key"),
        ({"rsaPublicKey": public_key_pem(ed25519.Ed25519PrivateKey.generate().public_key())}, "not an RSA public key"),
        ({"routes": [{"addresses": ["http://receiver.example.nl/"]}]}, "must be an HTTPS URL"),
        ({"routes": [{"addresses": ["https://[bad/"]}]}, "must be an HTTPS URL"),
        ({"routes": [{"addresses": []}]}, "must have addresses"),
        ({"routes": [{"asId": "x", "addresses": [ADDRESS]}]}, "must be set together"),
        ({"routes": [{"asId": "x", "asKey": "0" * 32, "addresses": [ADDRESS]}]}, "entropy"),
        ({"routes": [{"asId": "x", "asKey": "short", "addresses": [ADDRESS]}]}, "16 bytes"),
        ({"routes": [{"strategy": "x", "addresses": [ADDRESS]}]}, "strategy"),
        ({"routes": "x"}, "not a list of routes"),
    ],
)
def test_a_profile_that_is_wrong_is_refused_and_not_made(ask, changes, words):
    answer = ask.new_profile(**changes)

    assert answer.status_code == 400
    assert words in answer.json()["message"]
    assert not ask.site.kpn.profiles


def test_a_host_whose_certificate_is_not_trusted_is_refused(make_caller):
    ask = make_caller(rules=KpnLoraRules(refused_hosts=frozenset({"receiver.example.nl"})))

    assert "certificate of receiver.example.nl" in ask.new_profile().json()["message"]


def test_a_name_is_taken_once(ask):
    ask.new_profile()

    assert ask.new_profile().status_code == 409


def test_the_default_goes_from_one_profile_to_another_and_is_never_taken_away(ask):
    first, second = (ask.new_profile(name=name).json()["ref"] for name in ("one", "two"))
    ask("PUT", f"/routingProfiles/{first}", {"default": True})
    ask("PUT", f"/routingProfiles/{second}", {"default": True})

    refused = ask("PUT", f"/routingProfiles/{second}", {"default": False})

    assert refused.status_code == 400
    profiles = {one["name"]: one["default"] for one in ask("GET", "/routingProfiles").json()}
    assert profiles == {"one": False, "two": True}


def test_a_profile_is_found_by_its_id(ask):
    made = ask.new_profile().json()
    ask.new_profile(name="other")

    found = ask("GET", f"/routingProfiles?routingProfileId={made['id']}").json()

    assert [one["ref"] for one in found] == [made["ref"]]


def test_a_profile_with_devices_is_kept(ask):
    profile = ask.new_profile().json()
    device = ask.new_device(routingProfileId=profile["id"], processingStrategyId=None).json()

    kept = ask("DELETE", f"/routingProfiles/{profile['ref']}").status_code
    ask("DELETE", f"/devices/{device['ref']}")
    deleted = ask("DELETE", f"/routingProfiles/{profile['ref']}")

    assert (kept, deleted.status_code, deleted.content) == (409, 204, b"")
    assert ask("GET", f"/routingProfiles/{profile['ref']}").status_code == 404


# --- devices and plans


def test_a_device_is_echoed_without_its_key(ask):
    answer = ask.new_device()

    assert answer.status_code == 201
    assert APP_KEY not in answer.text
    shown = {name: value for name, value in DEVICE.items() if name != "applicationKey"}
    assert answer.json() == {"ref": answer.json()["ref"], **shown}
    assert ask.site.kpn.device_of("0059AC0000170311").app_key == AesKey(bytes.fromhex(APP_KEY))


def test_without_routing_a_device_goes_to_dataflow(ask):
    made = ask.new_device(processingStrategyId=None).json()

    assert made["processingStrategyId"] == "DATAFLOW"
    assert "routingProfileId" not in made


def test_without_a_plan_a_device_gets_the_first_with_room(make_caller):
    ask = make_caller(plans=(("full", 0), ("free", 5)))

    assert ask.new_device(connectivityPlanId=None).json()["connectivityPlanId"] == "free"


def test_licences_fall_with_each_device_and_come_back_with_its_deletion(make_caller):
    ask = make_caller(plans=((PLAN, 1),))

    def used():
        return ask("GET", "/connectivityPlans").json()[0]["usedConnections"]

    before, made = used(), ask.new_device()
    during, refused = used(), ask.new_device(EUI="0059AC0000170312")
    ask("DELETE", f"/devices/{made.json()['ref']}")

    assert (before, during, used()) == (0, 1, 0)
    assert refused.status_code == 400
    assert len(ask.site.kpn.devices) == 0


def test_a_device_that_moves_to_another_plan_frees_the_first(make_caller):
    ask = make_caller(plans=(("one", 1), ("two", 1)))
    made = ask.new_device(connectivityPlanId="one").json()

    ask("PUT", f"/devices/{made['ref']}", {"connectivityPlanId": "two"})

    assert [plan.used for plan in ask.site.kpn.plans] == [0, 1]


def test_reset_takes_plan_and_routing_away(ask):
    profile = ask.new_profile().json()
    made = ask.new_device(routingProfileId=profile["id"], processingStrategyId=None).json()

    changed = ask("PUT", f"/devices/{made['ref']}", {"connectivityPlanId": "reset", "routingProfileId": "reset"}).json()

    assert "connectivityPlanId" not in changed
    assert "routingProfileId" not in changed
    assert ask.site.kpn.plans[0].used == 0


def test_a_strategy_overrides_the_routing_profile(ask):
    profile = ask.new_profile().json()
    made = ask.new_device(routingProfileId=profile["id"], processingStrategyId=None).json()

    changed = ask("PUT", f"/devices/{made['ref']}", {"processingStrategyId": "NOAS"}).json()

    assert (changed["processingStrategyId"], changed.get("routingProfileId")) == ("NOAS", None)


@pytest.mark.parametrize("name", ["EUI", "applicationKey", "hsmGroupId", "activationType", "geoLatitude"])
def test_only_some_members_of_a_device_can_be_changed(ask, name):
    ref = ask.new_device().json()["ref"]

    assert ask("PUT", f"/devices/{ref}", {name: DEVICE.get(name, 1)}).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"EUI": "x"},
        {"applicationKey": "x"},
        {"applicationKey": None},
        {"activationType": "ABP"},
        {"hsmGroupId": "other"},
        {"deviceProfileId": "other"},
        {"routingProfileId": "TWA_1.1", "processingStrategyId": None},
        {"processingStrategyId": "other"},
    ],
)
def test_a_device_that_is_wrong_is_refused_and_takes_no_licence(ask, changes):
    assert ask.new_device(**changes).status_code == 400
    assert (len(ask.site.kpn.devices), ask.site.kpn.plans[0].used) == (0, 0)


@pytest.mark.parametrize("eui", ["0059ac0000170311", "0059AC0000170311"])
def test_a_dev_eui_is_taken_in_either_case(ask, eui):
    ask.new_device()

    assert ask.new_device(EUI=eui).status_code == 409


def test_a_list_shows_little_unless_more_is_asked_for(ask):
    ask.new_device()

    [short] = ask("GET", "/devices").json()
    [with_statistics] = ask("GET", "/devices?statistics=true").json()
    [extended] = ask("GET", "/devices?extendedInfo=true").json()

    assert set(short) == {"ref", "name", "EUI"}
    assert with_statistics["statistics"]["healthState"] == "INIT"
    assert (extended["connectivityPlanId"], "commercialDetails" in extended) == (PLAN, True)


def test_devices_are_selected_by_eui_health_and_plan(ask):
    first = ask.new_device().json()
    second = ask.new_device(EUI="0059AC0000170312").json()
    ask("PUT", f"/devices/{second['ref']}", {"connectivityPlanId": "reset"})
    ask.site.kpn.device_of("0059AC0000170312").health_state = "ACTIVE"

    def found(query):
        return [one["ref"] for one in ask("GET", f"/devices?{query}").json()]

    assert found("deviceEUI=0059AC0000170311") == [first["ref"]]
    assert found("healthState=ACTIVE") == [second["ref"]]
    assert found("connectivityPlanId=_NOCP") == [second["ref"]]
    assert found("connectivityPlanId=_CP") == found(f"connectivityPlanId={quote(PLAN, safe='')}") == [first["ref"]]


def test_pages_have_a_hundred_devices_and_count_from_one(ask):
    for number in range(120):
        ask.new_device(EUI=f"0059AC0000170{number:03d}")

    sizes = [len(ask("GET", f"/devices?pageIndex={number}").json()) for number in (1, 2, 3)]

    assert sizes == [100, 20, 0]
    assert len(ask("GET", "/devices").json()) == 120
    assert ask("GET", "/devices?pageIndex=0").status_code == 400


# --- alarms and statistics


def test_alarms_are_listed_shown_and_acknowledged_without_a_body(ask):
    ask.new_device()
    alarm = ask.site.kpn.add_alarm("0059AC0000170311", 6, "MAJOR", ("SF12", "SF10"))

    [listed] = ask("GET", "/deviceAlarms?deviceEUI=0059ac0000170311&pageIndex=1").json()
    done = ask("POST", f"/deviceAlarms/{alarm.ref}/acks")
    after = ask("GET", f"/deviceAlarms/{alarm.ref}").json()

    assert (listed["alarmState"], listed["acked"], listed["additionalInfo2"]) == ("MAJOR", False, "SF10")
    assert (listed["deviceAlarmTypeId"], listed["creationTime"]) == (6, "2026-11-20T12:00:00.000+00:00")
    assert (done.status_code, done.content) == (201, b"")
    assert (after["acked"], after["ackAuthor"]) == (True, "someone@example.nl")


def test_alarms_of_all_devices_have_no_pages(ask):
    assert ask("GET", "/deviceAlarms?pageIndex=1").status_code == 400
    assert ask("GET", "/deviceAlarms/5a6717531ffbe425b9c16bb6").status_code == 404


def test_frames_are_counted_by_slots_of_hours(ask):
    ask.new_device()
    for hours, is_up in ((0, True), (1, True), (13, True), (13, False)):
        ask.site.kpn.add_frame(SimulatedFrame("0059AC0000170311", NOW + timedelta(hours=hours), is_up, 10))

    def counts(query):
        path = f"/deviceFrameStatistics?deviceEUIList=0059AC0000170311&{query}"
        return [(one["type"], one["frameCount"]) for one in ask("GET", path).json()]

    start = "startDate=2026-11-20T00%3A00%3A00Z"
    assert counts(f"{start}&aggregationStep=24") == [("UPLINK", 2), ("UPLINK", 1), ("DOWNLINK", 1)]
    assert counts(start) == [("UPLINK", 1), ("UPLINK", 1), ("UPLINK", 1), ("DOWNLINK", 1)]
    assert counts("startDate=2026-11-20T00%3A00%3A00Z&duration=1") == [("UPLINK", 1), ("UPLINK", 1)]
    assert len(counts("")) == 1


@pytest.mark.parametrize(
    "query",
    ["aggregationStep=25", "aggregationStep=x", "startDate=x", "startDate=2026-11-20&duration=0", "deviceEUIList=FF"],
)
def test_statistics_that_cannot_be_are_refused(ask, query):
    assert ask("GET", f"/deviceFrameStatistics?{query}").status_code == 400


def test_health_is_counted(ask):
    ask.new_device()

    assert ask("GET", "/deviceHealthStatistics").json() == {
        "initCount": 1,
        "activeCount": 0,
        "rfConnectionErrorCount": 0,
        "totalCount": 1,
    }


# --- faults, and what a field needs


def test_a_lost_answer_is_of_something_that_was_done(ask):
    ask.site.kpn.faults.order(LOST, method="POST", path="/devices")

    with pytest.raises(httpx.RemoteProtocolError):
        ask.new_device()

    assert len(ask.site.kpn.devices) == 1
    assert ask.site.kpn.asked[-1].status == 0


def test_a_request_that_was_cut_was_not_done(ask):
    ask.site.kpn.faults.order(CUT)

    with pytest.raises(httpx.RemoteProtocolError):
        ask.new_device()

    assert not ask.site.kpn.devices


def test_a_fault_can_be_ordered_for_the_request_of_a_number(ask):
    ask.site.kpn.faults.order(answered(503, retry_after_s=9), at=3)

    answers = [ask("GET", "/devices") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 503, 200]
    assert answers[2].headers["retry-after"] == "9"


def test_a_fault_can_last_for_several_requests(ask):
    ask.site.kpn.faults.order(answered(429), times=2)

    assert [ask("GET", "/devices").status_code for _ in range(3)] == [429, 429, 200]


def test_a_network_pushes_as_the_profile_says(ask, pair):
    profile = ask.new_profile(rsaPublicKey=pair[1]).json()
    ask.new_device(routingProfileId=profile["id"], processingStrategyId=None)
    ask.new_device(EUI="0059AC0000170312")

    network = ask.site.kpn.network_of(profile["ref"])

    [device] = network.devices
    push = network.uplink(device, payload=b"\x01\x02")
    report = json.loads(push.body)["DevEUI_uplink"]
    transport_key = ask.site.kpn.profiles[profile["ref"]].as_transport_key
    assert (device.dev_eui, network.key, network.as_id) == ("0059AC0000170311", AS_KEY, AS_ID)
    assert unwrap_app_s_key(transport_key, report["AppSKey"]) == device.app_s_key
    assert push.clear_payload == b"\x01\x02"


def test_a_network_without_an_as_transport_key_pushes_in_clear_and_as_xml_if_so_chosen(ask):
    route = {**PROFILE["routes"][0], "contentType": "XML"}
    profile = ask.new_profile(hsmGroupId=None, routes=[route]).json()
    ask.new_device(routingProfileId=profile["id"], processingStrategyId=None)

    network = ask.site.kpn.network_of(profile["ref"])

    push = network.uplink(network.devices[0], payload=b"\x01\x02")
    assert push.body.startswith(b"<")
    assert b"<payload_hex>0102</payload_hex>" in push.body
    assert b"AppSKey" not in push.body


def test_each_network_of_a_profile_has_joined_anew(ask):
    profile = ask.new_profile().json()
    ask.new_device(routingProfileId=profile["id"], processingStrategyId=None)

    first, second = (ask.site.kpn.network_of(profile["ref"]).devices[0] for _ in range(2))

    assert first.app_s_key != second.app_s_key


def test_a_profile_that_signs_nothing_has_no_network(ask):
    profile = ask.new_profile(routes=[{"addresses": [ADDRESS]}]).json()

    with pytest.raises(ConflictError, match="has no tunnel key to sign with"):
        ask.site.kpn.network_of(profile["ref"])


def test_a_body_above_the_bound_is_refused_by_the_server(ask):
    ask.site.server.max_body_bytes = 10

    assert ask.new_device().status_code == 413
