"""The simulated ThingPark, asked by a plain HTTP client: statuses, tokens, error bodies, limits."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta

import httpx
import pytest

from receiver.lorawan.keys import AesKey
from receiver.simulator.loopback_server import HttpRequest
from receiver.simulator.lrc import SimulatedLrc
from receiver.simulator.management_http import answered
from receiver.simulator.management_thingpark import CLIENT_ID, CLIENT_SECRET, DX_CORE_PATH, DX_TOKEN_PATH, TOKEN_PATH
from receiver.simulator.management_thingpark_book import ThingParkRefusalError
from receiver.simulator.management_thingpark_resources import ThingParkResources
from receiver.thingpark.token import key_spellings
from tests.integration.thingpark_use import (
    APP_KEY,
    DEV_EUI,
    MINE,
    MODEL,
    NOW,
    OTHER_KEY,
    TUNNEL_KEY,
    URL,
    device_wish,
    site_on_a_port,
)

GRANT = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
APP_SERVER = {
    "name": "field",
    "contentType": "jsontyped",
    "destinations": [{"addresses": [URL], "ports": "*", "strategy": "SEQUENTIAL"}],
    "downlinkSecurity": {"status": "DOWNLINK_AS_KEY", "downlinkAsKey": TUNNEL_KEY, "maxTimestampDeviation": 10},
}
DEVICE = {"EUI": DEV_EUI.lower(), "activation": "OTAA", "model": {"ID": MODEL}, "appKey": APP_KEY}


@pytest.fixture
def site():
    with site_on_a_port() as site:
        yield site


@pytest.fixture
def http(site):
    with httpx.Client(base_url=site.server.origin, trust_env=False) as http:
        yield http


@pytest.fixture
def api(http):
    http.headers["Authorization"] = f"Bearer {http.post(TOKEN_PATH, data=GRANT).json()['access_token']}"
    return http


def made(api, path, body):
    reply = api.post(MINE + path, json=body)
    assert reply.status_code == 201, reply.text
    return reply.json()


# --- tokens


def test_a_token_is_given_as_keycloak_does(http):
    reply = http.post(TOKEN_PATH, data=GRANT)

    assert reply.status_code == 200
    assert (reply.json()["expires_in"], reply.json()["token_type"]) == (300, "Bearer")
    assert reply.json()["access_token"].count(".") == 2


def test_a_token_may_be_asked_for_by_http_basic(http):
    reply = http.post(TOKEN_PATH, data={"grant_type": "client_credentials"}, auth=(CLIENT_ID, CLIENT_SECRET))

    assert reply.status_code == 200


@pytest.mark.parametrize("change", [{"client_secret": "x"}, {"client_id": "x"}])
def test_wrong_credentials_are_401(http, change):
    reply = http.post(TOKEN_PATH, data=GRANT | change)

    assert (reply.status_code, reply.json()["error"]) == (401, "unauthorized_client")


def test_another_grant_is_400(http):
    assert http.post(TOKEN_PATH, data=GRANT | {"grant_type": "password"}).status_code == 400


def test_dx_admin_takes_its_values_in_the_query(http):
    assert http.post(DX_TOKEN_PATH, params=GRANT).status_code == 200
    assert http.post(DX_TOKEN_PATH, params=GRANT | {"client_secret": "x"}).json()["message"] == "Bad credentials"


def test_a_token_of_dx_admin_is_good_for_dx_core_alone(http):
    token = http.post(DX_TOKEN_PATH, params=GRANT).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    assert http.get(f"{DX_CORE_PATH}/connections", headers=headers).status_code == 200
    assert http.get(MINE, headers=headers).status_code == 401


def test_a_token_is_no_good_after_five_minutes(site, api):
    assert api.get(MINE).status_code == 200
    site.now += timedelta(seconds=300)
    assert api.get(MINE).status_code == 401


def test_without_a_token_nothing_is_answered(http):
    assert http.get(MINE).status_code == 401
    assert http.get(f"{DX_CORE_PATH}/connections").status_code == 401


# --- application servers


def test_a_creation_gives_its_address_and_no_key(api):
    reply = api.post(f"{MINE}/appServers", json=APP_SERVER)

    body = reply.json()
    uid = body["ID"].split(".")[1]
    assert reply.headers["location"] == body["href"] == f"/thingpark/wireless/rest/subscriptions/32/appServers/{uid}"
    assert body["downlinkSecurity"] == {
        "status": "DOWNLINK_AS_KEY",
        "asID": body["ID"],
        "maxTimestampDeviation": 10,
    }
    assert TUNNEL_KEY not in reply.text


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"name": None}, 400, "name"),
        ({"state": "ACTIVE"}, 403, "state"),
        ({"type": "KAFKA"}, 403, "type"),
        ({"occContext": {"version": 0}}, 403, "occContext"),
        ({"contentType": "protobuf"}, 400, "contentType"),
        ({"destinations": []}, 400, "destinations"),
        ({"destinations": [{"addresses": [URL, URL], "ports": "*", "strategy": "BLAST"}]}, 400, "destinations"),
        (
            {"destinations": [{"addresses": ["http://example.org"], "ports": "*", "strategy": "SEQUENTIAL"}]},
            400,
            "https",
        ),
        ({"destinations": [{"addresses": ["http://["], "ports": "*", "strategy": "SEQUENTIAL"}]}, 400, "URL"),
        ({"customHttpHeaders": [{"name": "Host", "value": "x"}]}, 400, "customHttpHeaders"),
        ({"customHttpHeaders": [{"name": f"X-{n}", "value": "x"} for n in range(6)]}, 400, "customHttpHeaders"),
        (
            {"customHttpHeaders": [{"name": "X-A", "value": "x"}, {"name": "x-a", "value": "y"}]},
            400,
            "customHttpHeaders",
        ),
        ({"downlinkSecurity": {"status": "DOWNLINK_AS_KEY"}}, 400, "downlinkAsKey"),
        ({"downlinkSecurity": {"status": "DOWNLINK_AS_KEY", "downlinkAsKey": "0" * 32}}, 400, "entropy"),
        ({"downlinkSecurity": {"status": "NONE", "downlinkAsKey": TUNNEL_KEY}}, 400, "forbids"),
        ({"downlinkSecurity": {"status": "ALL"}}, 400, "status"),
    ],
)
def test_a_wrong_application_server_is_refused(api, change, status, word):
    body = {name: value for name, value in (APP_SERVER | change).items() if value is not None}

    reply = api.post(f"{MINE}/appServers", json=body)

    assert reply.status_code == status
    assert set(reply.json()) == {"code", "message"}
    assert word in reply.json()["message"]


def test_a_name_that_is_taken_is_refused(api):
    made(api, "/appServers", APP_SERVER)

    assert api.post(f"{MINE}/appServers", json=APP_SERVER).status_code == 409


def test_an_update_may_not_have_the_type(api):
    uid = made(api, "/appServers", APP_SERVER)["ID"].split(".")[1]

    assert api.put(f"{MINE}/appServers/{uid}", json={"type": "HTTP"}).status_code == 403


def test_an_update_of_an_older_version_is_refused_unless_forced(api):
    there = made(api, "/appServers", APP_SERVER)
    path = f"{MINE}/appServers/{there['ID'].split('.')[1]}"
    update = {"description": "x", "occContext": there["occContext"]}

    assert api.put(path, json=update).status_code == 200
    assert api.put(path, json=update).status_code == 409
    assert api.put(path, json=update, params={"force": "true"}).status_code == 200
    assert api.put(path, json={"description": "y"}).status_code == 200
    assert api.get(path).json()["occContext"]["version"] == 3


def test_where_the_contract_is_kept_to_the_letter_an_update_needs_its_version(site, api):
    site.rules.needs_occ_context = True
    uid = made(api, "/appServers", APP_SERVER)["ID"].split(".")[1]

    assert api.put(f"{MINE}/appServers/{uid}", json={"description": "x"}).status_code == 400


def test_a_key_is_set_with_its_version_only_and_never_read(site, api):
    there = made(api, "/appServers", APP_SERVER)
    path = f"{MINE}/appServers/{there['ID'].split('.')[1]}/security"
    body = {"downlinkSecurity": APP_SERVER["downlinkSecurity"] | {"downlinkAsKey": OTHER_KEY}}

    assert api.put(path, json=body).status_code == 400
    assert api.put(path, json=body | {"occContext": {"version": 9}}).status_code == 409
    assert site.resources.app_server(there["ID"]).tunnel_key == TUNNEL_KEY
    reply = api.put(path, json=body | {"occContext": there["occContext"]})
    assert (reply.status_code, OTHER_KEY in reply.text) == (200, False)
    assert site.resources.app_server(there["ID"]).tunnel_key == OTHER_KEY


def test_lists_of_application_servers_have_no_count(api):
    made(api, "/appServers", APP_SERVER)

    assert set(api.get(f"{MINE}/appServers").json()) == {"briefs", "more"}


def test_an_application_server_with_devices_is_kept(api):
    there = made(api, "/appServers", APP_SERVER)
    made(api, "/devices", DEVICE | {"appServers": [{"ID": there["ID"]}]})

    path = f"{MINE}/appServers/{there['ID'].split('.')[1]}"
    assert api.get(path).json()["deviceCount"] == 1
    assert api.delete(path).status_code == 409


# --- devices


def test_a_device_is_kept_in_upper_case_and_shown_without_its_key(api):
    reply = api.post(f"{MINE}/devices", json=DEVICE)

    assert (reply.status_code, reply.json()["EUI"]) == (201, DEV_EUI)
    assert APP_KEY not in reply.text
    assert isinstance(reply.json()["now"], int)


@pytest.mark.parametrize("reference", [f"e{DEV_EUI.lower()}", DEV_EUI, "e", "x1"])
def test_a_reference_that_is_not_of_the_pattern_is_400(api, reference):
    made(api, "/devices", DEVICE)

    assert api.get(f"{MINE}/devices/{reference}").status_code == 400


def test_a_device_that_is_not_there_is_400(api):
    reply = api.get(f"{MINE}/devices/e{DEV_EUI}")

    assert (reply.status_code, reply.json()["message"]) == (400, "Device not found")


def test_a_device_is_found_by_its_number_as_well(api):
    there = made(api, "/devices", DEVICE)

    assert api.get(there["href"]).json()["EUI"] == DEV_EUI


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": {"ID": "NO/SUCH"}}, 400, 222),
        ({"networkSubscription": {"ID": "no/such"}}, 400, 214),
        ({"appServers": [{"ID": "TWA_1.2.AS"}]}, 400, 25),
        ({"appServers": "x"}, 400, 25),
        ({"activation": "JOIN"}, 400, 25),
        ({"EUI": "12"}, 400, 25),
        ({"appKey": "12"}, 400, 25),
        ({"occContext": {}}, 403, 25),
    ],
)
def test_a_wrong_device_is_refused(api, change, status, code):
    reply = api.post(f"{MINE}/devices", json=DEVICE | change)

    assert (reply.status_code, reply.json()["code"]) == (status, code)


def test_a_device_that_is_there_is_111(api):
    made(api, "/devices", DEVICE)

    assert api.post(f"{MINE}/devices", json=DEVICE).json() == {
        "code": 111,
        "message": "A Device report already exists for the given EUI",
    }


@pytest.mark.parametrize("member", ["EUI", "nwAddress", "activation", "connectivity", "imsi", "ownerToken"])
def test_what_cannot_be_updated_is_403(api, member):
    there = made(api, "/devices", DEVICE)

    assert api.put(there["href"], json={member: "x"}).status_code == 403


def test_a_creation_may_be_done_later(api):
    reply = api.post(f"{MINE}/devices", json=DEVICE, params={"async": "true"})

    assert (reply.status_code, reply.content) == (202, b"")
    assert "/tasks/" in reply.headers["location"]


def test_licences_are_counted_and_run_out(site, api):
    site.book.plans[0].granted = 1
    made(api, "/devices", DEVICE)

    reply = api.post(f"{MINE}/devices", json=DEVICE | {"EUI": "70B3D57ED0001A2C"})
    assert "No more license" in reply.json()["message"]
    assert api.get(f"{MINE}/networkSubscriptions").json()["briefs"][0]["used"] == 1


def test_the_count_is_on_the_first_page_only(site, api):
    site.rules.page_size = 2
    for number in range(3):
        made(api, "/devices", DEVICE | {"EUI": f"70B3D57ED0001A2{number}"})

    first = api.get(f"{MINE}/devices", params={"sort": "EUI,asc"}).json()
    second = api.get(f"{MINE}/devices", params={"sort": "EUI,asc", "pageAfter": first["cursors"]["last"]}).json()

    assert (first["count"], first["more"], len(first["briefs"])) == (3, True, 2)
    assert json.loads(base64.b64decode(first["cursors"]["last"])) == {"EUI": "70B3D57ED0001A21"}
    assert (second["count"], second["more"], "cursors" in second) == (None, False, False)


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"pageIndex": "0"}, 400),
        ({"pageIndex": "x"}, 400),
        ({"pageIndex": "101"}, 409),
        ({"pageAfter": "eyJ9"}, 400),
        ({"pageAfter": "{", "sort": "EUI,asc"}, 400),
    ],
)
def test_a_page_that_cannot_be_had_is_refused(api, params, status):
    assert api.get(f"{MINE}/devices", params=params).status_code == status


def test_a_page_size_is_held_within_its_bounds(site, api):
    site.rules.page_size, site.rules.largest_page_size = 2, 3
    for number in range(5):
        made(api, "/devices", DEVICE | {"EUI": f"70B3D57ED0001A2{number}"})

    def count(size):
        return len(api.get(f"{MINE}/devices", params={"pageSize": size}).json()["briefs"])

    assert [count(size) for size in (1, 3, 5000)] == [2, 3, 3]


# --- import, alarms, the rest


def test_an_import_without_errors_is_answered_with_nothing(api):
    csv = f"CREATE_OTAA,{DEV_EUI},,{MODEL},,{APP_KEY},,,,,Meter,52.1,4.3\n"

    reply = api.post(f"{MINE}/devices/import", files={"csv": ("devices.csv", csv, "text/csv")})

    assert (reply.status_code, reply.content) == (200, b"")
    assert api.get(f"{MINE}/devices/e{DEV_EUI}").json()["adminLat"] == 52.1


def test_an_import_with_errors_is_200_with_code_1(api):
    made(api, "/devices", DEVICE)
    csv = f"CREATE_OTAA,{DEV_EUI},,NO/SUCH,,{APP_KEY}\nDELETE,{DEV_EUI}\nMOVE,{DEV_EUI}\n"

    reply = api.post(f"{MINE}/devices/import", files={"csv": ("devices.csv", csv, "text/csv")})

    assert (reply.status_code, reply.json()["code"]) == (200, 1)
    first, second = reply.json()["message"].splitlines()
    assert first == (
        f"{DEV_EUI},line 1,[111] A Device report already exists for the given EUI,"
        "[222] No device profile for the given ID : NO/SUCH"
    )
    assert second == f"{DEV_EUI},line 3,[25] Unknown command MOVE"


def test_a_rise_of_an_alarm_takes_its_acknowledgement_back(site, api):
    made(api, "/devices", DEVICE)
    uid = site.resources.raise_alarm(DEV_EUI, 4, 3)
    assert api.post(f"{MINE}/devices/alarms/ack", json={"alarmUids": [uid]}).status_code == 204

    assert site.resources.raise_alarm(DEV_EUI, 4, 6) == uid

    [brief] = api.get(f"{MINE}/devices/alarms", params={"sort": "alarmUid,asc"}).json()["briefs"]
    assert (brief["acked"], brief["state"], brief["occurrence"]) == (False, 6, 2)


def test_an_alarm_that_was_cleared_begins_anew(site, api):
    made(api, "/devices", DEVICE)
    uid = site.resources.raise_alarm(DEV_EUI, 4, 3)
    site.resources.clear_alarm(uid)
    assert api.get(f"{MINE}/devices/alarms").json()["briefs"][0]["state"] == 1
    site.resources.raise_alarm(DEV_EUI, 4, 4)

    assert api.get(f"{MINE}/devices/alarms").json()["briefs"][0]["occurrence"] == 1


def test_alarms_are_filtered_by_state(site, api):
    made(api, "/devices", DEVICE)
    for type_, state in ((4, 3), (5, 5)):
        site.resources.raise_alarm(DEV_EUI, type_, state)

    def ids(**params):
        return [one["ID"] for one in api.get(f"{MINE}/devices/alarms", params=params).json()["briefs"]]

    assert (ids(state=4), ids(state=3, stateFiltering="EQUAL"), ids(devEUI=DEV_EUI[:6])) == ([5], [4], [4, 5])


def test_an_alarm_that_is_not_there_cannot_be_acknowledged(api):
    assert api.post(f"{MINE}/devices/alarms/ack", json={"alarmUids": ["0" * 24]}).status_code == 400


@pytest.mark.parametrize("path", ["/nothing", "/devices/x/y", "/appServers/1/x", ""])
def test_a_path_or_body_that_makes_no_sense_is_an_error_with_a_code(api, path):
    reply = api.post(MINE + path, content=b"[1")

    assert reply.status_code >= 400
    assert set(reply.json()) == {"code", "message"}


def test_faults_are_ordered_for_requests_to_come(site, api):
    site.faults.order(answered(429, retry_after_s=3), path="/devices")

    assert api.get(MINE).status_code == 200
    refused = api.get(f"{MINE}/devices")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")
    assert api.get(f"{MINE}/devices").status_code == 200


def test_routing_profiles_of_wireless_are_made_changed_and_deleted(api):
    there = made(api, "/appServersRoutingProfiles", {"name": "old", "routes": []})

    assert api.put(there["href"], json={"name": "new"}).json()["name"] == "new"
    assert [one["name"] for one in api.get(f"{MINE}/appServersRoutingProfiles").json()["briefs"]] == ["new"]
    assert api.delete(there["href"]).status_code == 204
    assert api.get(there["href"]).status_code == 400


# --- what a simulation of the field gets out of it


def test_the_resources_answer_behind_any_login():
    resources = ThingParkResources(lambda: NOW, number=100, mode="ADVANCED")
    reply = resources.answer(HttpRequest("GET", "/whatever", "", {}, b""), "")

    assert json.loads(reply.body)["networkSubscriptionsHandling"]["mode"] == "ADVANCED"


def test_a_network_pushes_as_the_application_server_was_configured(site):
    connection = site.with_connection(as_id="my-as", content_type="xml")
    site.with_device(app_server_ids=(connection.id,), name="Meter")
    site.with_device("70B3D57ED0001A2C")

    network = site.thingpark.network_of(connection.id)
    [device] = network.devices
    push = network.uplink(device)

    assert (network.as_id, key_spellings(network.key)[0]) == ("my-as", TUNNEL_KEY.lower().encode())
    assert (device.dev_eui, device.name, push.content_type) == (DEV_EUI, "Meter", "xml")
    assert site.resources.app_server(connection.id).addresses == (URL,)


def test_a_device_keeps_its_session_when_key_and_connection_change(site):
    one, other = site.with_connection("one"), site.with_connection("other")
    site.with_device(app_server_ids=(one.id,))
    before = site.thingpark.network_of(one.uid)
    before.uplink(before.devices[0])

    site.run(lambda client: client.set_app_server_security(other.id, OTHER_KEY))
    site.run(lambda client: client.set_device_app_servers(DEV_EUI, (other.id,)))
    after = site.thingpark.network_of(other.id)

    assert after.devices == before.devices
    assert after.devices[0].f_cnt_up == 1
    assert key_spellings(after.key)[0] == OTHER_KEY.lower().encode()
    assert site.thingpark.network_of(one.id).devices == []


def test_a_device_that_was_deleted_and_made_anew_has_a_new_session(site):
    connection = site.with_connection()
    site.with_device(app_server_ids=(connection.id,))
    [before] = site.thingpark.network_of(connection.id).devices
    site.run(lambda client: client.delete_device(DEV_EUI))
    site.with_device(app_server_ids=(connection.id,))

    [after] = site.thingpark.network_of(connection.id).devices

    assert after is not before


def test_payloads_are_encrypted_under_an_as_transport_key(site):
    connection = site.with_connection()
    site.with_device(app_server_ids=(connection.id,))
    network = site.thingpark.network_of(connection.id, AesKey(bytes(range(16))))

    push = network.uplink(network.devices[0], payload=b"clear text", content_type="jsontyped")

    assert b"clear text".hex() not in push.body.decode().lower()
    assert b"AppSKey" in push.body


def test_an_application_server_that_signs_nothing_has_no_network(site):
    connection = site.with_connection(tunnel_key=None)

    with pytest.raises(ThingParkRefusalError, match="no tunnel key"):
        site.thingpark.network_of(connection.id)


def test_downlinks_are_taken_on_the_same_origin(site, api):
    connection = site.with_connection()
    site.with_device(app_server_ids=(connection.id,))
    url = site.thingpark.settings(site.server.origin)["downlink_url"]
    assert api.post(url).status_code == 404

    site.thingpark.lrc = SimulatedLrc(site.thingpark.network_of(connection.id))

    assert api.post(url, params={"DevEUI": DEV_EUI}).status_code == 409


def test_many_clients_at_once_get_each_its_device(site):
    async def use(client):
        wishes = [device_wish(f"70B3D57ED00{number:05X}") for number in range(40)]
        return await asyncio.gather(*(client.create_lorawan_device(wish) for wish in wishes))

    assert len({one.uid for one in site.run(use)}) == 40
