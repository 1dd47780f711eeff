"""The client of KPN's LoRa Device Management API, over real HTTP: what it sends, reads, repeats and says."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from receiver.errors import (
    ConflictError,
    IdentifierError,
    LoginRefusedError,
    NoAnswerError,
    PlatformRefusedError,
    SettingsError,
)
from receiver.platforms.kpn_lora_calls import (
    RESET,
    KpnDeviceChanges,
    RouteWish,
    RoutingProfileChanges,
    build_activate_call,
    build_create_device_call,
    build_create_routing_profile_call,
    build_delete_device_call,
    build_update_device_call,
    build_update_routing_profile_call,
)
from receiver.simulator.management_http import CUT, LOST, answered
from receiver.simulator.management_kpn_lora_alarms import SimulatedFrame
from receiver.simulator.management_kpn_lora_profiles import KpnLoraRules
from receiver.thingpark.as_transport_key import parse_wrapped_key, unwrap_as_transport_key
from tests.integration.kpn_lora_use import (
    ADDRESS,
    APP_KEY,
    AS_ID,
    AS_KEY,
    NOW,
    PLAN,
    collect,
    device_wish,
    kpn_site,
    profile_wish,
    rsa_pair,
)

URL = "https://api.example.nl"


@pytest.fixture
def site():
    with kpn_site() as site:
        yield site


@pytest.fixture(scope="module")
def pair():
    return rsa_pair()


def refusal_of(site, use, **options):
    with pytest.raises(PlatformRefusedError) as refused:
        site.run(use, **options)
    return refused.value


# --- what it sends


def test_api_version_goes_with_every_request_where_it_is_set(site):
    async def use(client):
        await client.list_connectivity_plans()
        await client.create_routing_profile(profile_wish())
        await client.create_device(device_wish(hsm_group_id=None))

    site.run(use, api_version="v1.1.1")

    assert {asked.headers.get("api-version") for asked in site.kpn.asked} == {"v1.1.1"}


def test_api_version_is_not_sent_where_it_is_not_set(site):
    site.run(lambda client: client.list_connectivity_plans())

    assert "api-version" not in site.kpn.asked[0].headers


def test_a_routing_profile_is_asked_for_in_kpn_s_form(site, pair):
    site.run(lambda client: client.create_routing_profile(profile_wish(public_key=pair[1], max_deviation_s=30)))

    [asked] = site.kpn.asked
    body = asked.json
    assert (asked.method, body["name"], body["default"], body["hsmGroupId"]) == (
        "POST",
        "field",
        False,
        "HSM_KPN-OPE.1",
    )
    assert body["rsaPublicKey"] == "".join(pair[1].splitlines())
    assert body["routes"] == [
        {
            "sourcePorts": "*",
            "strategy": "SEQUENTIAL",
            "contentType": "JSON",
            "asId": AS_ID,
            "asKey": AS_KEY,
            "maxDeviation": 30,
            "addresses": [ADDRESS],
        }
    ]


def test_a_tunnel_key_is_sent_in_lower_case_without_dashes():
    dashed = "-".join((AS_KEY[:8], AS_KEY[8:])).upper()

    call = build_create_routing_profile_call(profile_wish(as_key=dashed))

    assert call.body["routes"][0]["asKey"] == AS_KEY


def test_a_device_is_always_sent_with_plan_and_routing(site):
    profile = site.run(lambda client: client.create_routing_profile(profile_wish()))

    device = site.run(lambda client: client.create_device(device_wish(1, profile.id)))

    body = site.kpn.asked[-1].json
    assert (body["connectivityPlanId"], body["routingProfileId"], body["activationType"]) == (PLAN, profile.id, "OTAA")
    assert "processingStrategyId" not in body
    assert (device.routing_profile_id, device.connectivity_plan_id) == (profile.id, PLAN)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"processing_strategy_id": None}, "needs a routing profile or a processing strategy"),
        ({"routing_profile_id": "TWA_1.1", "processing_strategy_id": "NOAS"}, "and not both"),
        ({"processing_strategy_id": "SOMETHING"}, "'SOMETHING' is no processing strategy"),
        ({"connectivity_plan_id": ""}, "needs a connectivity plan and a device profile"),
        ({"name": " "}, "needs a name"),
    ],
)
def test_a_device_that_would_be_created_otherwise_than_meant_is_not_asked_for(changes, sentence):
    with pytest.raises(SettingsError, match=sentence):
        build_create_device_call(device_wish(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"addresses": ("http://receiver.example.nl/push/field",)}, "KPN pushes to https:// alone"),
        ({"addresses": ()}, "needs an address"),
        ({"as_key": None}, "needs both"),
        ({"strategy": "RANDOM"}, "SEQUENTIAL or BLAST"),
        ({"as_key": "not a key at all, but a secret"}, "has 32 hexadecimal digits"),
    ],
)
def test_a_route_that_cannot_be_meant_is_not_asked_for(changes, sentence):
    with pytest.raises((SettingsError, IdentifierError), match=sentence) as refused:
        build_create_routing_profile_call(profile_wish(**changes))

    assert "secret" not in str(refused.value)


def test_a_change_of_a_device_has_only_what_is_to_change():
    call = build_update_device_call("15532", KpnDeviceChanges(name="other", connectivity_plan_id=RESET))

    assert (call.method, call.path) == ("PUT", "/devices/15532")
    assert call.body == {"name": "other", "connectivityPlanId": "reset"}


def test_a_change_of_nothing_is_not_asked_for():
    with pytest.raises(SettingsError, match="Nothing of the device is to change"):
        build_update_device_call("15532", KpnDeviceChanges())


def test_a_routing_profile_can_become_the_default_and_never_stop_being_it():
    call = build_update_routing_profile_call("2647", RoutingProfileChanges(is_default=True))

    assert call.body == {"default": True}
    with pytest.raises(SettingsError, match="only when another one becomes it"):
        build_update_routing_profile_call("2647", RoutingProfileChanges(is_default=False))


@pytest.mark.parametrize("ref", ["", ".", "..", "1\n2", "1" * 101])
def test_what_is_no_ref_is_not_asked_for(ref):
    with pytest.raises(IdentifierError, match="is no reference of KPN's"):
        build_delete_device_call(ref)


def test_a_ref_stays_one_part_of_the_path():
    assert build_delete_device_call("../activate?x").path == "/devices/..%2Factivate%3Fx"


def test_what_is_shown_of_a_request_has_no_secret(pair):
    shown = "\n".join(
        call.shown(URL)
        for call in (
            build_create_routing_profile_call(profile_wish(public_key=pair[1])),
            build_create_device_call(device_wish(device_token="token-of-the-maker")),
            build_activate_call("someone", "password-of-someone"),
        )
    )

    assert f"POST {URL}/routingProfiles" in shown
    assert not [secret for secret in (AS_KEY, APP_KEY, "token-of-the-maker", "password-of-someone") if secret in shown]


def test_what_is_wished_never_prints_its_secrets(pair):
    printed = repr((profile_wish(public_key=pair[1]), device_wish(device_token="token-of-the-maker")))

    assert not [secret for secret in (AS_KEY, APP_KEY, "token-of-the-maker") if secret in printed]


# --- what it reads


def test_the_wrapped_key_comes_once_and_unwraps_to_the_network_s(site, pair):
    private_key, pem = pair

    made = site.run(lambda client: client.create_routing_profile(profile_wish(public_key=pem)))
    read_again = site.run(lambda client: client.get_routing_profile(made.ref))

    unwrapped = unwrap_as_transport_key(private_key, parse_wrapped_key(made.rsa_encrypted_as_key))
    assert unwrapped == site.kpn.profiles[made.ref].as_transport_key
    assert read_again.rsa_encrypted_as_key is None
    assert made.rsa_encrypted_as_key not in repr(made)
    assert made.rsa_encrypted_as_key not in json.dumps(dict(made.raw))


def test_a_new_rsa_key_asks_for_a_new_as_transport_key(site, pair):
    private_key, pem = pair
    made = site.run(lambda client: client.create_routing_profile(profile_wish()))

    changes = RoutingProfileChanges(hsm_group_id="HSM_KPN-OPE.1", rsa_public_key=pem)
    changed = site.run(lambda client: client.update_routing_profile(made.ref, changes))

    unwrapped = unwrap_as_transport_key(private_key, parse_wrapped_key(changed.rsa_encrypted_as_key))
    assert unwrapped == site.kpn.profiles[made.ref].as_transport_key


def test_a_new_tunnel_key_is_set_by_sending_the_route_again(site):
    made = site.run(lambda client: client.create_routing_profile(profile_wish()))
    other = "8e4b0da2fd1a963e5c7f2b6810d9e4a7"
    route = RouteWish((ADDRESS,), AS_ID, other)

    site.run(lambda client: client.update_routing_profile(made.ref, RoutingProfileChanges(routes=(route,))))

    assert site.kpn.profiles[made.ref].as_key == other


def test_plans_say_how_many_licences_are_free(site):
    site.run(lambda client: client.create_device(device_wish()))

    [plan] = site.run(lambda client: client.list_connectivity_plans())

    assert (plan.id, plan.granted_connections, plan.used_connections, plan.free_connections) == (PLAN, 1000, 1, 999)


def test_device_profiles_and_hsm_groups_are_read(site):
    async def use(client):
        return await client.list_device_profiles(), await client.list_hsm_groups()

    profiles, groups = site.run(use)

    assert ("CUSTOM/Static V 1.0 Class A", "LoRaMAC") in [(one.id, one.type_mac) for one in profiles]
    assert [one.id for one in groups] == ["HSM_KPN-OPE.1"]


def test_a_device_is_found_in_either_case(site):
    made = site.run(lambda client: client.create_device(device_wish()))
    site.kpn.devices[made.ref].members["EUI"] = made.dev_eui.lower()

    found = site.run(lambda client: client.find_device(made.dev_eui))

    assert (found.ref, found.dev_eui) == (made.ref, made.dev_eui)


def test_a_device_that_is_not_there_is_not_found(site):
    assert site.run(lambda client: client.find_device(device_wish().dev_eui)) is None


def test_devices_are_read_page_by_page_until_one_is_short(site):
    create_devices(site, 230)

    found = site.run(lambda client: collect(client.list_devices()))

    assert len({one.ref for one in found}) == len(found) == 230
    pages = [asked.query["pageIndex"] for asked in site.kpn.asked if "pageIndex" in asked.query]
    assert pages == ["1", "2", "3"]


def test_a_last_page_that_is_full_is_followed_by_an_empty_one(site):
    create_devices(site, 100)

    found = site.run(lambda client: collect(client.list_devices()))

    assert len(found) == 100
    assert len(site.asked("GET")) == 2


def test_filters_of_devices_are_sent_with_the_pages(site):
    create_devices(site, 2)
    site.kpn.device_of("0059AC0000170002").health_state = "ACTIVE"

    found = site.run(lambda client: collect(client.list_devices(health_state="ACTIVE", plan=PLAN, is_extended=True)))

    assert [one.name for one in found] == ["device 2"]
    assert found[0].statistics.health_state == "ACTIVE"
    assert dict(site.kpn.asked[-1].query) == {
        "healthState": "ACTIVE",
        "connectivityPlanId": PLAN,
        "extendedInfo": "true",
        "pageIndex": "1",
    }


def test_alarms_of_one_device_come_in_pages_and_those_of_all_in_one_piece(site):
    create_devices(site, 1)
    for number in range(150):
        site.kpn.add_alarm("0059AC0000170001", 1 + number % 16, "MAJOR", ("SF12",))

    of_one = site.run(lambda client: collect(client.list_alarms("0059AC0000170001")))
    of_all = site.run(lambda client: collect(client.list_alarms()))

    assert len(of_one) == len(of_all) == 150
    assert [asked.query.get("pageIndex") for asked in site.kpn.asked if asked.path.endswith("deviceAlarms")] == [
        "1",
        "2",
        None,
    ]
    assert (of_one[0].state, of_one[0].alarm_type_id, of_one[0].additional_info) == ("MAJOR", 1, ("SF12",))


def test_an_alarm_is_acknowledged(site):
    create_devices(site, 1)
    alarm = site.kpn.add_alarm("0059AC0000170001", 4)

    async def use(client):
        await client.acknowledge_alarm(alarm.ref)
        return await client.get_alarm(alarm.ref)

    read_again = site.run(use)

    assert (read_again.acked, read_again.acked_at, read_again.acked_by) == (True, NOW, "someone@example.nl")


def test_frame_statistics_are_asked_for_with_all_that_can_be_said(site):
    create_devices(site, 2)
    at = datetime(2026, 11, 18, 7, 30, tzinfo=UTC)
    for is_up in (True, True, False):
        site.kpn.add_frame(SimulatedFrame("0059AC0000170001", at, is_up, 12, rssi_dbm=-97.5))

    up, down = site.run(
        lambda client: client.list_frame_statistics(
            ["0059AC0000170001", "0059AC0000170002"],
            start=datetime(2026, 11, 18, tzinfo=UTC),
            duration_days=2,
            aggregation_h=24,
        )
    )

    assert dict(site.kpn.asked[-1].query) == {
        "deviceEUIList": "0059AC0000170001,0059AC0000170002",
        "startDate": "2026-11-18T00:00:00Z",
        "duration": "2",
        "aggregationStep": "24",
    }
    assert (up.type, up.frame_count, up.payload_bytes, up.rssi_dbm, up.on_time) == ("UPLINK", 2, 24, -97.5, 2)
    assert (down.type, down.sent, down.rssi_dbm) == ("DOWNLINK", 1, None)


@pytest.mark.parametrize("options", [{"aggregation_h": 25}, {"aggregation_h": 0}, {"duration_days": 0}])
def test_statistics_out_of_range_are_not_asked_for(site, options):
    with pytest.raises(SettingsError, match=r"hours|1 day"):
        site.run(lambda client: client.list_frame_statistics(**options))

    assert not site.kpn.asked


def test_health_statistics_are_read(site):
    create_devices(site, 3)
    site.kpn.device_of("0059AC0000170001").health_state = "ACTIVE"

    health = site.run(lambda client: client.get_health_statistics())

    assert (health.active, health.init, health.rf_connection_error, health.total) == (1, 2, 0, 3)


# --- lost answers


def test_a_routing_profile_whose_answer_was_lost_is_found_and_not_made_twice(site, pair):
    site.kpn.faults.order(LOST, method="POST")

    made = site.run(lambda client: client.create_routing_profile(profile_wish(public_key=pair[1])))

    assert len(site.kpn.profiles) == 1
    assert (made.name, made.rsa_encrypted_as_key) == ("field", None)
    assert site.asked() == [("POST", "/routingProfiles"), ("GET", "/routingProfiles")]


def test_a_request_that_was_lost_on_its_way_is_sent_again(site):
    site.kpn.faults.order(CUT, method="POST")

    site.run(lambda client: client.create_routing_profile(profile_wish()))

    assert len(site.kpn.profiles) == 1
    assert site.asked("POST") == [("POST", "/routingProfiles")] * 2


def test_a_profile_of_the_name_that_is_not_the_wished_one_is_not_taken_for_it(site):
    site.run(lambda client: client.create_routing_profile(profile_wish(as_id="somebody-else")))
    site.kpn.faults.order(LOST, method="POST")

    refused = refusal_of(site, lambda client: client.create_routing_profile(profile_wish()))

    assert refused.status == 409
    assert len(site.kpn.profiles) == 1


def test_a_device_whose_answer_was_lost_is_found_and_not_made_twice(site):
    site.kpn.faults.order(LOST, method="POST")

    made = site.run(lambda client: client.create_device(device_wish()))

    assert (made.name, len(site.kpn.devices), site.kpn.plans[0].used) == ("device 1", 1, 1)
    assert site.asked("POST") == [("POST", "/devices")]


def test_a_device_that_was_there_before_is_not_taken_for_the_wished_one(site):
    create_devices(site, 1)
    site.kpn.faults.order(LOST, method="POST")

    refused = refusal_of(site, lambda client: client.create_device(device_wish(name="another")))

    assert "is there already, with the name device 1" in str(refused)


def test_an_acknowledgement_whose_answer_was_lost_is_looked_up(site):
    create_devices(site, 1)
    alarm = site.kpn.add_alarm("0059AC0000170001", 4)
    site.kpn.faults.order(LOST, method="POST", path="/acks")

    site.run(lambda client: client.acknowledge_alarm(alarm.ref))

    assert site.asked("POST")[-1:] == [("POST", f"/deviceAlarms/{alarm.ref}/acks")]
    assert alarm.acked_at == NOW


def test_a_deletion_whose_answer_was_lost_is_done(site):
    made = site.run(lambda client: client.create_device(device_wish()))
    site.kpn.faults.order(LOST, method="DELETE")

    was_there = site.run(lambda client: client.delete_device(made.ref))

    assert not site.kpn.devices
    assert not was_there  # the second request found nothing
    assert len(site.asked("DELETE")) == 2


def test_an_answer_without_a_body_is_filled_up_by_looking(site):
    site.kpn.faults.order(answered(201, is_done=True), method="POST")

    made = site.run(lambda client: client.create_device(device_wish()))

    assert made.ref in site.kpn.devices


# --- refusals, in words


@pytest.mark.parametrize("gateway_errors", [False, True])
def test_an_unknown_plan_is_named(gateway_errors):
    with kpn_site(rules=KpnLoraRules(gateway_errors=gateway_errors)) as site:
        refused = refusal_of(site, lambda client: client.create_device(device_wish(connectivity_plan_id="often-1919")))

    assert "There is no connectivity plan often-1919 in this subscription" in str(refused)
    assert "plans list" in str(refused)
    assert refused.oss_code == (None if gateway_errors else 214)


def test_a_plan_without_free_licences_is_said_before_asking():
    with kpn_site(plans=((PLAN, 1),)) as site:
        create_devices(site, 1)
        refused = refusal_of(site, lambda client: client.require_free_connections(PLAN))

    assert f"The connectivity plan {PLAN} has 0 free of 1 licences, and 1 is needed" in str(refused)


def test_a_plan_that_does_not_exist_is_said_before_asking(site):
    refused = refusal_of(site, lambda client: client.require_free_connections("other"))

    assert f"There is no connectivity plan other in this subscription; there are: {PLAN}." in str(refused)


def test_a_plan_with_room_is_not_refused(site):
    assert site.run(lambda client: client.require_free_connections(PLAN, 1000)) is None


def test_a_refusal_for_lack_of_licences_says_what_to_do():
    with kpn_site(plans=((PLAN, 1),)) as site:
        create_devices(site, 1)
        refused = refusal_of(site, lambda client: client.create_device(device_wish(2)))

    assert f"There is no free licence in the connectivity plan {PLAN}: choose another plan" in str(refused)


@pytest.mark.parametrize("status", [400, 409])
def test_a_dev_eui_that_is_taken_is_named(status):
    with kpn_site(rules=KpnLoraRules(taken_status=status)) as site:
        create_devices(site, 1)
        refused = refusal_of(site, lambda client: client.create_device(device_wish(name="another")))

    assert refused.status == status
    assert "A device with DevEUI 0059AC0000170001 is there already, here or in another subscription" in str(refused)


@pytest.mark.parametrize("status", [400, 409])
def test_a_name_that_is_taken_is_named(status):
    with kpn_site(rules=KpnLoraRules(taken_status=status)) as site:
        site.run(lambda client: client.create_routing_profile(profile_wish()))
        refused = refusal_of(site, lambda client: client.create_routing_profile(profile_wish(as_id="other")))

    assert "The name field is taken" in str(refused)


def test_a_tunnel_key_of_low_entropy_is_told_without_showing_it(site):
    key = "0000000000000000111111111111ffff"

    refused = refusal_of(site, lambda client: client.create_routing_profile(profile_wish(as_key=key)))

    assert "The tunnel key is too easy to guess for the network" in str(refused)
    assert key not in str(refused)


def test_a_certificate_that_the_network_does_not_trust_is_told_with_the_address():
    with kpn_site(rules=KpnLoraRules(refused_hosts=frozenset({"receiver.example.nl"}))) as site:
        refused = refusal_of(site, lambda client: client.create_routing_profile(profile_wish()))

    assert f"The network must be able to push to {ADDRESS}" in str(refused)
    assert "whole chain" in str(refused)


def test_a_project_that_is_not_activated_is_told_how_to():
    with kpn_site(is_activated=False) as site:
        refused = refusal_of(site, lambda client: client.list_connectivity_plans())

    assert "`receiver kpn-lora activate` does it" in str(refused)


def test_a_refusal_that_nobody_knows_is_given_as_it_came(site):
    site.kpn.faults.order(answered(418, {"code": 418, "message": "I am a teapot", "errorId": "OSS-999"}))

    refused = refusal_of(site, lambda client: client.create_device(device_wish()))

    assert str(refused) == "KPN LoRa refused with status 418 (code 999): I am a teapot."
    assert (refused.oss_code, refused.error_id, refused.said) == (999, "OSS-999", "I am a teapot")


def test_activation_is_done_once_and_gives_its_status():
    with kpn_site(is_activated=False) as site:
        status = site.run(lambda client: client.activate("someone@example.nl", "password"))

        assert (status, site.kpn.is_activated) == ("activated", True)
        assert len(site.asked()) == 1


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_wrong_password_is_not_tried_twice(status):
    with kpn_site(rules=KpnLoraRules(wrong_login_status=status)) as site:

        async def use(client):
            await client.list_connectivity_plans()  # so that the token is known to be good
            await client.activate("someone@example.nl", "wrong-password")

        with pytest.raises(LoginRefusedError, match="before another try") as refused:
            site.run(use)

        assert site.asked("POST") == [("POST", "/activate")]
        assert "wrong-password" not in str(refused.value)


def test_several_profiles_of_one_name_are_said_with_their_refs():
    with kpn_site(rules=KpnLoraRules(has_unique_names=False)) as site:
        for as_id in ("one", "two"):
            site.run(lambda client, as_id=as_id: client.create_routing_profile(profile_wish(as_id=as_id)))

        with pytest.raises(ConflictError, match="There are 2 routing profiles named field"):
            site.run(lambda client: client.find_routing_profile("field"))


# --- servers that are none


def test_a_server_that_knows_no_pages_ends_them(site):
    everything = [{"ref": str(number), "name": f"n{number}"} for number in range(250)]
    site.kpn.faults.order(answered(200, everything), times=9)

    found = site.run(lambda client: collect(client.list_devices()))

    assert len(found) == 250
    assert site.kpn.faults.count == 2


@pytest.mark.parametrize("body", [{"data": "[]", "x-regga-type": "sniplet"}, "text", None])
def test_what_is_no_list_is_not_taken_for_an_empty_one(site, body):
    site.kpn.faults.order(answered(200, body))

    refused = refusal_of(site, lambda client: client.list_connectivity_plans())

    assert "something else than a list: the account's API URL is another one" in str(refused)


def test_an_object_with_odd_members_is_read_for_the_rest(site):
    odd = {
        "ref": 15532,
        "EUI": "01234567890abcdef",
        "name": None,
        "networkAddress": "x",
        "statistics": [],
        "geoLatitude": "52.1",
    }
    site.kpn.faults.order(answered(200, [odd, "text", None]))

    [device] = site.run(lambda client: collect(client.list_devices()))

    assert (device.ref, device.dev_eui, device.name, device.dev_addr) == ("15532", None, None, None)
    assert device.latitude == 52.1


def test_a_server_that_is_away_is_said_after_some_tries(site):
    site.server.stop()

    with pytest.raises(NoAnswerError, match="login of KPN LoRa"):
        site.run(lambda client: client.list_connectivity_plans())


def create_devices(site, count):
    async def use(client):
        for number in range(1, count + 1):
            await client.create_device(device_wish(number))

    site.run(use)
    site.kpn.asked.clear()
    site.kpn.faults.count = 0
