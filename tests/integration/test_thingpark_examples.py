"""Each published example of ThingPark's management API: the request as it is sent, the reply as it is read.

The examples were published by Actility; they are read from where they lie, and these tests are skipped without them.
`test_thingpark_client`, `…_devices` and `test_dx_core_client` hold the same with values of their own; so do the tests
at the end here.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest

from receiver.errors import PlatformRefusedError
from receiver.platforms.dx_core import ConnectionWish, hidden_members
from receiver.platforms.thingpark_app_servers import AppServerWish
from receiver.platforms.thingpark_wishes import CellularDeviceWish, LorawanDeviceWish, MulticastGroupWish
from tests.integration.thingpark_use import ByHeart, collected

shared_example = pytest.mark.shared

EUI = "70B3D5E756000999"
NONE_YET = {"briefs": [], "more": False}
MODEL = "SMTC/LoRaMoteA.1_EU"
AS_ID = "TWA_199982747.1972.AS"


@pytest.fixture
def by_heart():
    with ByHeart() as server:
        yield server


@pytest.fixture
def example(shared):
    return lambda name: json.loads((shared / "examples" / "management" / name).read_text())


def at(milliseconds):
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


# --- the tutorial's requests, as their lines have them


LISTS = {
    "deviceProfiles?connectivity=LORAWAN": lambda client: client.list_device_profiles("LORAWAN"),
    "deviceProfiles?connectivity=CELLULAR": lambda client: client.list_device_profiles("CELLULAR"),
    "networkSubscriptions?connectivity=CELLULAR": lambda client: client.list_network_subscriptions("CELLULAR"),
    "appServers": lambda client: client.list_app_servers(),
    "cellularNetworkContexts": lambda client: client.list_cellular_network_contexts(),
    f"devices/e{EUI}": lambda client: client.get_device(EUI),
    "devices?sort=EUI%2Casc": lambda client: collected(client.list_devices()),
    "devices/alarms?sort=alarmUid%2Casc": lambda client: collected(client.list_alarms()),
    f"devices/e{EUI}/frames/aggregated?duration=P7D&step=P1D&timezone=Europe/Paris": lambda client: (
        client.list_aggregated_frames(EUI, "P7D", "P1D", "Europe/Paris")
    ),
}
SUBSCRIPTION = "/thingpark/wireless/rest/subscriptions/mine/"


@pytest.mark.parametrize("line", LISTS)
def test_what_the_tutorial_asks_for_is_asked_for_so(by_heart, line):
    by_heart.prepare(NONE_YET)
    by_heart.run(LISTS[line])

    [request] = by_heart.requests
    path, _, query = line.partition("?")
    assert (request.method, request.path) == ("GET", SUBSCRIPTION + path)
    assert parse_qsl(request.query) == parse_qsl(query)
    assert request.headers["accept"] == "application/json"
    assert request.headers["authorization"] == "Bearer a.b.c"


@shared_example
def test_all_requests_of_the_tutorial_are_held_here(shared):
    [tutorial] = (shared / "seeds").glob("004_*.txt")
    lines = re.findall(r"^(GET|POST|PUT|DELETE) (\S+) HTTP/1\.1$", tutorial.read_text(), re.MULTILINE)
    gets = {target.removeprefix(SUBSCRIPTION) for method, target in lines if method == "GET"}
    posts = [target for method, target in lines if method == "POST"]

    assert {one for one in gets if "pageAfter" not in one} == set(LISTS)
    assert len([one for one in gets if "pageAfter" in one]) == 2
    assert posts == [
        "/thingpark/dx/core/latest/api/connections",
        f"{SUBSCRIPTION}appServers",
        f"{SUBSCRIPTION}devices?networkSubscriptionsHandlingMode=BASIC",
        f"{SUBSCRIPTION}devices",
        f"{SUBSCRIPTION}devices?networkSubscriptionsHandlingMode=BASIC",  # a slip: the contract has multicastGroups
    ]


# --- creations: request and reply


@shared_example
def test_example_of_an_iot_flow_connection(by_heart, example):
    wanted = example("00_seed004_POST_dxcore_connections_req.json")
    by_heart.prepare([])
    by_heart.prepare(example("01_seed004_POST_dxcore_connections_resp_partial.json"), 201, Location="/connections/1114")
    wish = ConnectionWish(wanted["connectorId"], wanted["name"], wanted["configuration"])

    made = by_heart.run(lambda client: client.create_connection(wish), dx_core=True)

    request = by_heart.requests[-1]
    assert (request.method, request.path) == ("POST", "/thingpark/dx/core/latest/api/connections")
    assert by_heart.body() == wanted
    assert (made.id, made.state, made.name) == ("1114", "OPENED", "My MQTT connection")


@shared_example
@pytest.mark.parametrize("name", ["tpxdoc_connections_POST_http_req.json", "tpxdoc_connections_POST_mqtt_req.json"])
def test_example_of_another_iot_flow_connection(by_heart, example, name):
    wanted = example(name)
    by_heart.prepare([])
    by_heart.prepare({"id": "9"}, 201)
    wish = ConnectionWish(wanted["connectorId"], wanted["name"], wanted["configuration"])

    by_heart.run(lambda client: client.create_connection(wish), dx_core=True)

    assert by_heart.body() == wanted


@shared_example
def test_example_of_iot_flow_connections_as_they_are_read_back(by_heart, example):
    by_heart.prepare(example("tpxdoc_connections_GET_reply.json"))

    [found] = by_heart.run(lambda client: client.list_connections(), dx_core=True)

    assert (found.id, found.connector_id, found.state, found.is_active) == ("8", "actility-aws-iot", "OPENED", True)
    assert found.started_at == datetime(2019, 9, 27, 8, 8, 8, 309000, UTC)
    assert set(hidden_members(found.configuration)) == {"accessKeyId", "secretAccessKey", "privateKey", "certificate"}


@shared_example
@pytest.mark.parametrize(
    ("name", "content_type"),
    [("02_seed004_POST_appServers_req.json", "jsontyped"), ("oa73_appServers_POST_req.json", "json")],
)
def test_example_of_a_basic_https_connection(by_heart, example, name, content_type):
    wanted = example(name)
    by_heart.prepare(NONE_YET)
    location = "/thingpark/wireless/rest/subscriptions/32/appServers/2227"
    by_heart.prepare(example("03_seed004_POST_appServers_resp_partial.json"), 201, Location=location)
    wish = AppServerWish(
        wanted["name"],
        "https://www.example.com/myApp",
        wanted["downlinkSecurity"]["downlinkAsKey"],
        content_type=content_type,
        max_timestamp_deviation_s=10,
    )

    made = by_heart.run(lambda client: client.create_app_server(wish))

    assert by_heart.requests[-1].path == f"{SUBSCRIPTION}appServers"
    assert by_heart.body() == wanted
    assert (made.id, made.uid, made.name) == ("TWA_199983788.568.AS", "568", "My Basic HTTPS connection")


@shared_example
def test_example_of_a_lorawan_device(by_heart, example):
    wanted = example("06_seed004_POST_devices_req.json")
    location = "/thingpark/wireless/rest/subscriptions/32/devices/2227"
    by_heart.prepare(example("07_seed004_POST_devices_resp_partial.json"), 201, Location=location)
    wish = LorawanDeviceWish(
        EUI, MODEL, "My device", app_key=wanted["appKey"], app_server_ids=(AS_ID,), handling_mode="BASIC"
    )

    made = by_heart.run(lambda client: client.create_lorawan_device(wish))

    [request] = by_heart.requests
    assert (request.path, request.query) == (f"{SUBSCRIPTION}devices", "networkSubscriptionsHandlingMode=BASIC")
    assert by_heart.body() == wanted
    assert (made.eui, made.uid, made.name) == (EUI, "2227", "My device")


@shared_example
@pytest.mark.parametrize("kind", ["otaa", "abp"])
def test_example_of_a_device_of_the_contract(by_heart, example, kind):
    wanted = example(f"oa73_devices_POST_{kind}_req.json")
    by_heart.prepare({"EUI": wanted["EUI"]}, 201)
    keys = (
        {"app_key": wanted["appKey"]}
        if kind == "otaa"
        else {
            "activation": "ABP",
            "dev_addr": wanted["nwAddress"],
            "nwk_s_key": wanted["nwKey"],
            "app_s_key": re.search(r">([0-9A-F]{32})<", wanted["appKeys"])[1],
        }
    )
    wish = LorawanDeviceWish(
        wanted["EUI"],
        wanted["model"]["ID"],
        wanted["name"],
        app_server_ids=(wanted["appServers"][0]["ID"],),
        nw_geolocalization=True,
        **keys,
    )

    by_heart.run(lambda client: client.create_lorawan_device(wish))

    assert by_heart.body() == {"connectivity": "LORAWAN", **wanted}  # which is what is meant without it


@shared_example
def test_example_of_a_cellular_device(by_heart, example):
    wanted = example("12_seed004_POST_devices_req.json")
    by_heart.prepare(example("13_seed004_POST_devices_resp_partial.json"), 201)
    wish = CellularDeviceWish(
        "CUSTOM/LTE_Dongle",
        "89208013535718672291",
        "My device",
        "123456789012347",
        network_subscription_id="acme-cs/cellular-cp",
        network_context_id="1AF3B",
        app_server_ids=(AS_ID,),
    )

    made = by_heart.run(lambda client: client.create_cellular_device(wish))

    assert (by_heart.requests[0].path, by_heart.requests[0].query) == (f"{SUBSCRIPTION}devices", "")
    assert by_heart.body() == wanted
    assert (made.eui, made.imei, made.sim_id) == ("F03D290000000001", "123456789012347", "89208013535718672291")


@shared_example
def test_example_of_a_multicast_group(by_heart, example):
    wanted = example("20_seed004_POST_devices_req.json")
    by_heart.prepare(example("21_seed004_POST_devices_resp_partial.json"), 201)
    wish = MulticastGroupWish(
        EUI,
        wanted["nwAddress"],
        wanted["nwKey"],
        re.search(r">([0-9A-F]{32})<", wanted["appKeys"])[1],
        name="My multicast group",
        downlink_data_rate=15,
        downlink_frequency_mhz=869.525,
        tags=(("tag1", "OPERATOR"),),
        app_server_ids=(AS_ID,),
        handling_mode="BASIC",
    )

    made = by_heart.run(lambda client: client.create_multicast_group(wish))

    assert by_heart.requests[0].path == f"{SUBSCRIPTION}multicastGroups"
    assert by_heart.body() == wanted
    assert (made.eui, made.name) == (EUI, "My multicast group")


# --- replies


@shared_example
def test_examples_of_device_profiles(by_heart, example):
    by_heart.prepare(example("04_seed004_GET_deviceProfiles_resp_partial.json"))
    by_heart.prepare(example("08_seed004_GET_deviceProfiles_resp_partial.json"))

    [lorawan] = by_heart.run(lambda client: client.list_device_profiles("LORAWAN"))
    [cellular] = by_heart.run(lambda client: client.list_device_profiles("CELLULAR"))

    assert (lorawan.id, lorawan.vendor_name, lorawan.mac_version) == (MODEL, "Semtech", "1.0")
    assert lorawan.ism_bands == ("eu868", "ru864")
    assert (cellular.id, cellular.connectivity, cellular.mac_version) == ("CUSTOM/LTE_Dongle", "CELLULAR", None)


@shared_example
@pytest.mark.parametrize(
    "name", ["05_seed004_GET_appServers_resp_partial.json", "10_seed004_GET_appServers_resp_partial.json"]
)
def test_example_of_a_list_of_connections(by_heart, example, name):
    by_heart.prepare(example(name))

    [found] = by_heart.run(lambda client: client.list_app_servers())

    assert (found.id, found.uid, found.type, found.device_count) == (AS_ID, "1972", "KAFKA", 22)


@shared_example
def test_example_of_the_contract_s_list_of_connections(by_heart, example):
    by_heart.prepare(example("oa73_appServers_GET_briefs.json"))

    http, mqtt, cumulocity = by_heart.run(lambda client: client.list_app_servers())

    assert (http.type, http.iot_flow, http.device_count) == ("HTTP", None, 40)
    assert (mqtt.health_state, mqtt.iot_flow.connection_id, mqtt.iot_flow.state) == ("ERROR", "24", "UNREACHABLE")
    assert cumulocity.iot_flow.connector_id == "actility-cumulocity-iot"


@shared_example
def test_example_of_a_connectivity_plan(by_heart, example):
    by_heart.prepare(example("09_seed004_GET_networkSubscriptions_resp_partial.json"))

    [plan] = by_heart.run(lambda client: client.list_network_subscriptions("CELLULAR"))

    assert (plan.id, plan.used, plan.granted, plan.free) == ("acme-cs/cellular-cp", 23, 100, 77)


@shared_example
def test_example_of_a_network_context(by_heart, example):
    by_heart.prepare(example("11_seed004_GET_cellularNetworkContexts_resp_partial.json"))

    [context] = by_heart.run(lambda client: client.list_cellular_network_contexts())

    assert (context.id, context.mode, context.subnet, context.source_port) == ("1AF3B", "MIXED", "10.20.0.0/16", 45826)


@shared_example
def test_example_of_pages_of_devices(by_heart, example):
    first = example("14_seed004_GET_devices_resp_partial.json")
    by_heart.prepare(first)
    by_heart.prepare(example("15_seed004_GET_devices_resp_partial.json") | {"more": False})

    one, other = by_heart.run(lambda client: collected(client.list_devices()))

    assert (one.eui, one.uid, other.eui, other.uid) == (EUI, "2227", "70B3D5E756111999", "3054")
    assert one.model_name == "LoRaMote EU fw4 - class A"
    assert by_heart.requests[1].query == "sort=EUI%2Casc&pageAfter=eyJFVUkiOiI3MEIzRDVFNzU2MTAwOTk5In0%3D"


@shared_example
def test_example_of_a_device(by_heart, example):
    by_heart.prepare(example("16_seed004_GET_devices_e70B3D5E756000999_resp_partial.json"))

    device = by_heart.run(lambda client: client.get_device(EUI))

    assert (device.eui, device.join_eui, device.activation) == (EUI, "65FC7B3530A44FB9", "OTAA")


@shared_example
def test_example_of_a_traffic_history(by_heart, example):
    by_heart.prepare(example("17_seed004_GET_devices_e70B3D5E756000999_frames_aggregated_resp_partial.json"))

    [day] = by_heart.run(lambda client: client.list_aggregated_frames(EUI, "P7D", "P1D", "Europe/Paris"))

    assert day.at == at(1_691_532_000_000)
    assert (day.up_count, day.up_bytes, day.up_lost, day.down_sent, day.down_failed) == (58, 530, 8, 59, 1)
    assert (day.rssi_dbm_mean, day.join_requests) == (-60.898304, 0)


@shared_example
def test_example_of_a_traffic_history_in_seconds(by_heart, example):
    by_heart.prepare({"briefs": example("oa73_frames_aggregated_briefs.json"), "now": 1})

    slots = by_heart.run(lambda client: client.list_aggregated_frames(EUI))

    assert [one.at for one in slots] == sorted(one.at for one in slots)
    assert slots[-1].at == at(1_673_478_000_000)
    assert (slots[-1].up_late, slots[-1].join_requests, slots[-1].join_accepts) == (1, 2, 251)


@shared_example
def test_example_of_pages_of_alarms(by_heart, example):
    by_heart.prepare(example("18_seed004_GET_devices_alarms_resp_partial.json"))
    by_heart.prepare(example("19_seed004_GET_devices_alarms_resp_partial.json") | {"more": False})

    one, other = by_heart.run(lambda client: collected(client.list_alarms()))

    assert (one.uid, one.name, one.dev_eui) == ("5b1f81e7a1ae4234a037be11", "no uplink activity", EUI)
    assert (other.name, other.device_name) == ("alarm 17", "My device 101")
    wanted = "eyJhbGFybVVpZCI6IjViMWY4MWU3YTFhZTQyMzRhMDM3Y2QzNyJ9"
    assert by_heart.requests[1].query == f"sort=alarmUid%2Casc&pageAfter={wanted}"


@shared_example
def test_example_of_an_alarm_with_all_that_it_has(by_heart, example):
    by_heart.prepare({"briefs": [example("oa73_alarmBrief_merged_examples.json")], "more": False})

    [alarm] = by_heart.run(lambda client: collected(client.list_alarms(EUI)))

    assert (alarm.type_id, alarm.state_name, alarm.additional) == (13, "warning", ("DevStatusReq", "4"))
    assert (alarm.is_acknowledged, alarm.acknowledged_by, alarm.dev_eui) == (True, "John Doe", EUI)
    assert alarm.acknowledged_at == alarm.created_at == at(1_577_836_800_000)


@shared_example
def test_example_of_an_acknowledgement(by_heart, example):
    wanted = example("oa73_alarms_ack_req.json")
    by_heart.prepare(None, 204)

    by_heart.run(lambda client: client.acknowledge_alarms(wanted["alarmUids"]))

    assert by_heart.requests[0].path == f"{SUBSCRIPTION}devices/alarms/ack"
    assert by_heart.body() == wanted


@shared_example
def test_example_of_an_import_with_errors(by_heart, example):
    by_heart.prepare(example("oa73_devices_import_200_error.json"))

    errors = by_heart.run(lambda client: client.import_devices("x")).errors

    assert [(one.line, one.dev_eui, one.codes) for one in errors] == [
        (6, "999900FFFF002993", (111,)),
        (7, "999900FFFF002993", (111, 222)),
    ]


@shared_example
def test_example_of_an_error_of_the_gateway(by_heart, example):
    by_heart.prepare(example("dx_error_400_from_seed002.json"), 400)

    with pytest.raises(PlatformRefusedError, match="no such connectivity plan") as refused:
        by_heart.run(lambda client: client.list_connections(), dx_core=True)

    assert refused.value.oss_code == 214


@shared_example
def test_example_of_a_group_s_history(by_heart, example):
    by_heart.prepare(example("oa73_multicast_frames_aggregated.json"))

    history = by_heart.run(lambda client: client.get_multicast_history(EUI))

    newest = history.objects("briefs")[0]
    assert [one.integer("count") for one in newest.objects("successfulTransmissionValues")] == [5, 3, 2, 0]


# --- the same bodies with values of our own


def test_a_connection_is_written_member_by_member(by_heart):
    by_heart.prepare(NONE_YET)
    by_heart.prepare({"ID": "TWA_100000001.7.AS"}, 201)
    wish = AppServerWish("field", "https://receiver.example.org/push/field", "3f9c2e7a1b8d604557e2c90fa6d1b834")

    by_heart.run(lambda client: client.create_app_server(wish))

    assert by_heart.body() == {
        "contentType": "jsontyped",
        "destinations": [
            {"addresses": ["https://receiver.example.org/push/field"], "ports": "*", "strategy": "SEQUENTIAL"}
        ],
        "downlinkSecurity": {
            "downlinkAsKey": "3f9c2e7a1b8d604557e2c90fa6d1b834",
            "maxTimestampDeviation": 10,
            "status": "DOWNLINK_AS_KEY",
        },
        "name": "field",
    }


def test_a_device_is_written_member_by_member(by_heart):
    by_heart.prepare({}, 201, Location="/thingpark/wireless/rest/subscriptions/7/devices/31")
    wish = LorawanDeviceWish(
        "70b3d57ed0001a2b",
        "LORA/GenericA.1.0.4a_ETSI",
        "Meter",
        app_key="6b1d94e2f70835ac0e4d7b21c96f58a3",
        app_server_ids=("TWA_100000001.7.AS",),
    )
    made = by_heart.run(lambda client: client.create_lorawan_device(wish))

    assert by_heart.body() == {
        "connectivity": "LORAWAN",
        "activation": "OTAA",
        "EUI": "70B3D57ED0001A2B",
        "model": {"ID": "LORA/GenericA.1.0.4a_ETSI"},
        "networkSubscription": {"nwGeolocalization": False, "prAllowed": False},
        "appServers": [{"ID": "TWA_100000001.7.AS"}],
        "appKey": "6B1D94E2F70835AC0E4D7B21C96F58A3",
        "name": "Meter",
    }
    assert (made.eui, made.uid) == ("70B3D57ED0001A2B", "31")


def test_a_group_is_written_member_by_member(by_heart):
    by_heart.prepare({}, 201)
    wish = MulticastGroupWish(
        "70B3D57ED0FF0001",
        "01abcdef",
        "3f9c2e7a1b8d604557e2c90fa6d1b834",
        "a07d51c3e8964bf21d3a78e5604c9bf2",
        device_class="B",
        ping_slot_period_s=8,
        tags=(("north", "SUBSCRIBER"),),
    )
    by_heart.run(lambda client: client.create_multicast_group(wish))

    assert by_heart.body() == {
        "EUI": "70B3D57ED0FF0001",
        "nwAddress": "01ABCDEF",
        "nwKey": "3F9C2E7A1B8D604557E2C90FA6D1B834",
        "appKeys": '<AppSKeys><AppSKey Port="*">A07D51C3E8964BF21D3A78E5604C9BF2</AppSKey></AppSKeys>',
        "class": "B",
        "pingSlotPeriod": 8,
        "bss": {"tags": [{"name": "north", "namespace": "SUBSCRIBER"}]},
    }


def test_a_history_is_read_in_seconds_as_in_milliseconds(by_heart):
    by_heart.prepare({"briefs": [{"timestamp": 1_700_000_000, "up": {"count": 1}}, {"timestamp": 1_699_999_000_000}]})

    older, newer = by_heart.run(lambda client: client.list_aggregated_frames(EUI))

    assert (older.at, newer.at) == (at(1_699_999_000_000), at(1_700_000_000_000))
    assert (newer.up_count, newer.join_requests) == (1, None)


def test_an_alarm_is_read_member_by_member(by_heart):
    brief = {
        "ID": 5,
        "alarmUid": "6a0c",
        "state": 5,
        "level": 4,
        "occurrence": 3,
        "acked": False,
        "creationTimestamp": 1_700_000_000_000,
        "updateTimestamp": 1_700_000_060_000,
        "addInfo": "7",
        "addInfo2": "",
        "addInfo3": "12",
        "device": {"EUI": "70B3D57ED0001A2B", "name": "Meter"},
        "href": "/thingpark/wireless/rest/subscriptions/7/devices/31/alarms/6a0c",
    }
    by_heart.prepare({"briefs": [brief], "more": False, "count": 1})

    [alarm] = by_heart.run(lambda client: collected(client.list_alarms()))

    assert (alarm.uid, alarm.name, alarm.state_name) == ("6a0c", "higher data rate than expected", "major")
    assert (alarm.occurrence, alarm.level, alarm.is_acknowledged) == (3, 4, False)
    assert (alarm.additional, alarm.dev_eui, alarm.device_name) == (("7", "", "12"), "70B3D57ED0001A2B", "Meter")
    assert alarm.updated_at > alarm.created_at
    assert alarm.raw == brief
