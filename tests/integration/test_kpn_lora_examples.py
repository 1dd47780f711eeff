"""Each example of KPN's documentation page, as it is sent and as it is read; and the same with values of our own."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from receiver.errors import PlatformRefusedError
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.lorawan.keys import parse_aes_key
from receiver.platforms.calls import PlatformCall
from receiver.platforms.kpn_lora_calls import KpnDeviceWish, RouteWish, RoutingProfileWish
from receiver.platforms.kpn_lora_records import KpnDevice
from receiver.platforms.members import Members
from receiver.simulator.management_http import answered
from receiver.thingpark.rsa_key import describe_public_key, one_line
from tests.integration.kpn_lora_use import collect, kpn_site, rsa_pair

PAGE = "002_329d2e0512ee82b5.txt"
NAMES = (
    *("activate", "plans", "profile_request", "profile", "device_request", "device", "alarms", "frames", "health"),
    "error",
)
"""What the examples of the page are, in its order."""


def own_examples():
    route = {"sourcePorts": "1-10", "strategy": "BLAST", "contentType": "XML", "asId": "as-7"}
    addresses = {"addresses": ["https://one.example.nl/push/a", "https://two.example.nl/push/a"]}
    device = {
        "name": "Meter 12",
        "EUI": "70B3D5499A1B2C3D",
        "activationType": "OTAA",
        "deviceProfileId": "LORA/GenericC.1_ETSI_Rx2-SF9",
        "hsmGroupId": "HSM_KPN-OPE.1",
        "connectivityPlanId": "customer-cs/daily 24",
        "routingProfileId": "TWA_200000001.9",
        "applicationEUI": "70B3D54990000001",
    }
    alarm = {
        "ref": "6f0123456789abcdef012345",
        "alarmState": "CRITICAL",
        "occurrence": 3,
        "acked": True,
        "creationTime": "2026-03-01T06:07:08.009+01:00",
        "lastUpdateTime": "2026-03-01T07:07:08.009+01:00",
        "additionalInfo1": "2 h",
        "deviceRef": "77",
        "deviceAlarmTypeId": 4,
    }
    up = {"type": "UPLINK", "date": "2026-03-01T06:00:00.000+00:00", "frameCount": 40, "payloadSize": 480}
    up |= {"baseStationRSSI": -101.5, "baseStationSNR": -3.25, "payloadReceivedOnTime": 39, "payloadReceivedLate": 1}
    up |= {"payloadReceivedOnTimeSize": 468, "payloadReceivedLateSize": 12, "averagePER": 0.02}
    down = {"type": "DOWNLINK", "date": "2026-03-01T06:00:00.000+00:00", "frameCount": 2, "payloadSize": 6}
    down |= {"payloadSentWithSuccess": 1, "payloadSentWithSuccessSize": 3}
    down |= {"payloadSentWithFailure": 1, "payloadSentWithFailureSize": 3}
    plan = {"id": "customer-cs/daily 24", "ref": "9", "name": "Daily 24", "grantedConnections": 5, "usedConnections": 5}
    request = {"name": "gateway north", "default": True, "hsmGroupId": "HSM_KPN-OPE.1"}
    request |= {"rsaPublicKey": one_line(rsa_pair()[1])}
    return {
        "activate": {"thingpark_username": "me@example.nl", "thingpark_password": "my password"},
        "plans": [{**plan, "communicationType": "MULTICAST"}],
        "profile_request": {**request, "routes": [{**route, "asKey": "9d3b71c05f2e8a64d1b7e03f58a2c694", **addresses}]},
        "profile": {
            "id": "TWA_200000001.9",
            "ref": "9",
            "name": "gateway north",
            "default": True,
            "rsaEncryptedASKey": "0123456789abcdef" * 32,
            "routes": [{**route, **addresses}],
        },
        "device_request": {**device, "applicationKey": "c4d81e2f90ab7365c4d81e2f90ab7365"},
        "device": {"ref": "41", **device},
        "alarms": [alarm],
        "frames": [up, down],
        "health": {"initCount": 1, "activeCount": 2, "rfConnectionErrorCount": 3, "totalCount": 6},
        "error": {
            "code": 400,
            "message": "Bad request: No ConnectivityPlan for ID: customer-cs/none and Operator: 31",
            "errorId": "OSS-214",
        },
    }


def published_examples(text):
    """Give the JSON values that begin a line of the page, and the body within its cURL request, in their order."""
    found = []
    for line in text.splitlines():
        if line.startswith("{ POST"):
            line = line[line.index("--data-raw '") + len("--data-raw '") :]  # noqa: PLW2901
        if line.startswith(("{", "[")):
            found.append(json.JSONDecoder().raw_decode(line)[0])
    return dict(zip(NAMES, found, strict=True))


@pytest.fixture(params=["own", pytest.param("published", marks=pytest.mark.shared)])
def examples(request):
    if request.param == "own":
        return own_examples()
    return published_examples((request.getfixturevalue("shared") / "seeds" / PAGE).read_text())


@pytest.fixture
def site():
    with kpn_site() as site:
        yield site


def read(site, status, example, use):
    """Give what the client makes of an answer, and the request that got it."""
    site.kpn.faults.order(answered(status, example))
    found = site.run(use)
    return found, site.kpn.asked[-1]


def test_activation_is_sent(site, examples):
    login = examples["activate"]
    status, asked = read(
        site,
        200,
        {"status": "done"},
        lambda client: client.activate(login["thingpark_username"], login["thingpark_password"]),
    )

    assert (asked.method, asked.path) == ("POST", "/data/lora/thingpark/activate")
    assert asked.headers["authorization"].startswith("Bearer ")
    assert asked.headers["content-type"] == "application/json"
    assert (asked.json, status) == (login, "done")


def test_connectivity_plans_are_read(site, examples):
    plans, asked = read(site, 200, examples["plans"], lambda client: client.list_connectivity_plans())

    assert (asked.method, asked.path) == ("GET", "/data/lora/thingpark/connectivityPlans")
    assert [
        {
            "id": plan.id,
            "ref": plan.ref,
            "name": plan.name,
            "grantedConnections": plan.granted_connections,
            "usedConnections": plan.used_connections,
            "communicationType": plan.communication_type,
        }
        for plan in plans
    ] == examples["plans"]
    assert [plan.free_connections for plan in plans] == [
        plan["grantedConnections"] - plan["usedConnections"] for plan in examples["plans"]
    ]


def in_lines(pem):
    """Give a PEM on one line as files have it."""
    begin, end = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
    digits = pem.removeprefix(begin).removesuffix(end)
    return "\n".join([begin, *(digits[at : at + 64] for at in range(0, len(digits), 64)), end, ""])


def test_a_routing_profile_is_sent_and_its_answer_read(site, examples):
    wanted, reply = examples["profile_request"], examples["profile"]
    [route] = wanted["routes"]
    wish = RoutingProfileWish(
        wanted["name"],
        (
            RouteWish(
                tuple(route["addresses"]),
                route["asId"],
                route["asKey"],
                route["contentType"],
                route["strategy"],
                route["sourcePorts"],
            ),
        ),
        wanted["hsmGroupId"],
        in_lines(wanted["rsaPublicKey"]),
        is_default=wanted["default"],
    )

    profile, asked = read(site, 201, reply, lambda client: client.create_routing_profile(wish))

    assert (asked.method, asked.path) == ("POST", "/data/lora/thingpark/routingProfiles")
    assert asked.json == wanted
    assert describe_public_key(in_lines(wanted["rsaPublicKey"]))[0] == 2048
    assert (profile.id, profile.ref, profile.name, profile.is_default) == (
        reply["id"],
        reply["ref"],
        reply["name"],
        reply["default"],
    )
    assert profile.rsa_encrypted_as_key == reply["rsaEncryptedASKey"]
    assert len(profile.rsa_encrypted_as_key) == 512
    [read_route] = profile.routes
    assert (read_route.as_id, read_route.addresses) == (route["asId"], tuple(route["addresses"]))
    assert (read_route.source_ports, read_route.strategy) == (route["sourcePorts"], route["strategy"])
    assert read_route.content_type == route["contentType"]


def test_a_device_is_sent_and_its_answer_read(site, examples):
    wanted, reply = examples["device_request"], examples["device"]
    wish = KpnDeviceWish(
        parse_dev_eui(wanted["EUI"]),
        parse_dev_eui(wanted["applicationEUI"]),
        parse_aes_key(wanted["applicationKey"]),
        wanted["name"],
        wanted["deviceProfileId"],
        wanted["connectivityPlanId"],
        wanted["routingProfileId"],
        hsm_group_id=wanted["hsmGroupId"],
    )

    device, asked = read(site, 201, reply, lambda client: client.create_device(wish))

    assert (asked.method, asked.path) == ("POST", "/data/lora/thingpark/devices")
    assert asked.json == {**wanted, "EUI": wanted["EUI"].upper()}  # both cases are in use
    assert (device.ref, device.name, device.dev_eui) == (reply["ref"], reply["name"], reply["EUI"].upper())
    assert device.device_profile_id == reply["deviceProfileId"]
    assert device.connectivity_plan_id == reply["connectivityPlanId"]
    assert (device.routing_profile_id, device.hsm_group_id) == (reply["routingProfileId"], reply["hsmGroupId"])
    assert device.activation_type == "OTAA"


def test_an_app_eui_with_a_digit_too_many_costs_nothing_else():
    device = KpnDevice.read(Members({"ref": "15532", "applicationEUI": "01234567890abcdef", "name": "x"}))

    assert (device.ref, device.join_eui, device.name) == ("15532", None, "x")


def test_a_device_is_deleted_by_its_ref(site, examples):
    ref = examples["device"]["ref"]

    was_there, asked = read(site, 204, None, lambda client: client.delete_device(ref))

    assert (asked.method, asked.path) == ("DELETE", f"/data/lora/thingpark/devices/{ref}")
    assert was_there


def test_alarms_are_asked_for_and_read(site, examples):
    alarms, asked = read(site, 200, examples["alarms"], lambda client: collect(client.list_alarms("0059AC0000170311")))

    assert (asked.method, asked.path) == ("GET", "/data/lora/thingpark/deviceAlarms")
    assert asked.query["deviceEUI"] == "0059AC0000170311"
    for alarm, example in zip(alarms, examples["alarms"], strict=True):
        assert (alarm.ref, alarm.state, alarm.occurrence) == (
            example["ref"],
            example["alarmState"],
            example["occurrence"],
        )
        assert (alarm.acked, alarm.device_ref) == (example["acked"], example["deviceRef"])
        assert alarm.alarm_type_id == example["deviceAlarmTypeId"]
        assert alarm.created_at == datetime.fromisoformat(example["creationTime"]).astimezone(UTC)
        assert alarm.updated_at == datetime.fromisoformat(example["lastUpdateTime"]).astimezone(UTC)
        assert list(alarm.additional_info) == [v for name, v in example.items() if name.startswith("additionalInfo")]


def test_frame_statistics_are_asked_for_and_read(site, examples):
    frames, asked = read(
        site, 200, examples["frames"], lambda client: client.list_frame_statistics(["0059AC0000170311"])
    )

    assert (asked.method, asked.path) == ("GET", "/data/lora/thingpark/deviceFrameStatistics")
    assert dict(asked.query) == {"deviceEUIList": "0059AC0000170311"}
    for frame, example in zip(frames, examples["frames"], strict=True):
        counted = {
            "type": frame.type,
            "frameCount": frame.frame_count,
            "payloadSize": frame.payload_bytes,
            "baseStationRSSI": frame.rssi_dbm,
            "baseStationSNR": frame.snr_db,
            "payloadReceivedOnTime": frame.on_time,
            "payloadReceivedLate": frame.late,
            "payloadReceivedOnTimeSize": frame.on_time_bytes,
            "payloadReceivedLateSize": frame.late_bytes,
            "payloadSentWithSuccess": frame.sent,
            "payloadSentWithSuccessSize": frame.sent_bytes,
            "payloadSentWithFailure": frame.not_sent,
            "payloadSentWithFailureSize": frame.not_sent_bytes,
            "averagePER": frame.average_per,
        }
        assert {name: value for name, value in counted.items() if value is not None} == {
            name: value for name, value in example.items() if name != "date"
        }
        assert frame.at == datetime.fromisoformat(example["date"])


def test_health_statistics_are_asked_for_and_read(site, examples):
    health, asked = read(site, 200, examples["health"], lambda client: client.get_health_statistics())

    assert (asked.method, asked.path) == ("GET", "/data/lora/thingpark/deviceHealthStatistics")
    assert {
        "initCount": health.init,
        "activeCount": health.active,
        "rfConnectionErrorCount": health.rf_connection_error,
        "totalCount": health.total,
    } == examples["health"]


def test_the_error_is_read_and_names_the_plan(site, examples):
    example = examples["error"]
    plan = example["message"].split("ID: ")[1].split(" and ")[0]

    with pytest.raises(PlatformRefusedError, match=f"There is no connectivity plan {plan} in this") as refused:
        read(site, 400, example, lambda client: client.get_device("15532"))

    assert (refused.value.status, refused.value.oss_code, refused.value.error_id) == (400, 214, "OSS-214")
    assert refused.value.said == example["message"]


def test_the_simulated_answers_have_the_members_of_the_examples(site, examples):
    wanted, device = examples["profile_request"], examples["device_request"]
    kpn = site.kpn
    kpn.plans[0].id = device["connectivityPlanId"]

    async def use(client):
        ask = client._caller.call
        made = await ask(PlatformCall("POST", "/routingProfiles", body={**wanted, "hsmGroupId": "HSM_KPN-OPE.1"}))
        changes = {"hsmGroupId": "HSM_KPN-OPE.1", "routingProfileId": made.members.text("id")}
        created = await ask(PlatformCall("POST", "/devices", body={**device, **changes}))
        kpn.add_alarm(device["EUI"], 6, "MAJOR", ("SF12",))
        alarms = await ask(PlatformCall("GET", "/deviceAlarms"))
        plans = await ask(PlatformCall("GET", "/connectivityPlans"))
        health = await ask(PlatformCall("GET", "/deviceHealthStatistics"))
        return made.value, created.value, alarms.value[0], plans.value[0], health.value

    profile, created, alarm, plan, health = site.run(use)

    assert set(profile) - {"hsmGroupId"} == set(examples["profile"])
    assert set(profile["routes"][0]) == set(examples["profile"]["routes"][0])
    assert set(created) == set(examples["device"])
    assert set(alarm) - {"additionalInfo1"} <= set(examples["alarms"][0])
    assert set(plan) == set(examples["plans"][0])
    assert set(health) == set(examples["health"])
