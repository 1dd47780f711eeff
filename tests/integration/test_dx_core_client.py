"""The client of DX Core: connections of IoT Flow, whose secrets never go back as they were hidden."""

from __future__ import annotations

import pytest

from receiver.errors import ConflictError, NotFoundError, PlatformRefusedError, SettingsError
from receiver.platforms.dx_core import PAGE, ConnectionWish, hidden_members
from receiver.simulator.management_http import CUT, LOST, answered
from tests.integration.thingpark_use import ByHeart, site_on_a_port

PASSWORD = "Broker-Password-that-nobody-may-see"
CONFIGURATION = {
    "uplinkTopicPattern": "mqtt/things/{DevEUI}/uplink",
    "downlinkTopicPattern": "mqtt/things/{DevEUI}/downlink",
    "hostName": "broker.example.org:8883",
    "protocol": "SSL",
    "username": "receiver",
    "password": PASSWORD,
}


@pytest.fixture
def site():
    with site_on_a_port() as site:
        yield site


@pytest.fixture
def by_heart():
    with ByHeart() as server:
        yield server


def wish(name="mqtt", **configuration):
    return ConnectionWish("actility-mqtt-iot", name, {**CONFIGURATION, **configuration})


def made_at(site, name="mqtt"):
    return site.run(lambda client: client.create_connection(wish(name)), dx_core=True)


def test_a_connection_is_closed_at_first_and_open_soon_after(site):
    made = made_at(site)

    async def states(client):
        return [(await client.get_connection(made.id)).state for _ in range(2)]

    assert (made.id, made.state) == ("1114", "CLOSED")
    assert site.run(states, dx_core=True)[-1] == "OPENED"


def test_a_token_of_dx_admin_is_good_for_it(site):
    assert site.run(lambda client: client.list_connections(), dx_core=True, dx_admin=True) == []


def test_a_connection_shows_up_as_an_application_server(site):
    made = made_at(site)

    [app_server] = site.run(lambda client: client.list_app_servers(iot_flow_connection_id=made.id))

    assert (app_server.type, app_server.iot_flow.connection_id) == ("KAFKA", made.id)


def test_an_iot_flow_connection_is_not_to_be_deleted_as_an_application_server(site):
    made_at(site)
    [app_server] = site.run(lambda client: client.list_app_servers())

    with pytest.raises(PlatformRefusedError, match="DX Core"):
        site.run(lambda client: client.delete_app_server(app_server.id))


def test_the_secret_is_sent_and_never_shown(site):
    made = made_at(site)
    read = site.run(lambda client: client.get_connection(made.id), dx_core=True)

    assert site.last("POST").json["configuration"]["password"] == PASSWORD
    assert PASSWORD not in f"{wish()!r}{made!r}{made.raw}{read.configuration}"
    assert hidden_members(read.configuration) == ["password"]


def test_what_would_be_sent_is_shown_without_the_secret(site):
    async def use(client):
        return client.build_create_connection_call(wish()).shown(client.base_url)

    shown = site.run(use, dx_core=True)

    assert "broker.example.org" in shown
    assert PASSWORD not in shown


def test_a_configuration_as_it_was_read_back_is_not_sent(site):
    made = made_at(site)

    async def use(client):
        there = await client.get_connection(made.id)
        return await client.update_connection(made.id, ConnectionWish(there.connector_id, "x", there.configuration))

    with pytest.raises(SettingsError, match="password"):
        site.run(use, dx_core=True)
    assert not site.asked("PUT")


def test_a_hidden_member_deep_in_a_configuration_is_found():
    assert hidden_members({"headers": {"X-Key": "*****", "X-Site": "a"}, "url": "b"}) == ["headers.X-Key"]


def test_an_update_carries_the_whole_configuration(site):
    made = made_at(site)
    changed = wish(hostName="other.example.org:8883")

    site.run(lambda client: client.update_connection(made.id, changed), dx_core=True)

    assert site.last("PUT").json["configuration"] == changed.configuration
    assert site.thingpark.dx_core.connections[made.id].configuration == changed.configuration


def test_a_second_connection_of_the_same_name_is_refused(site):
    made_at(site)

    with pytest.raises(ConflictError, match="already"):
        made_at(site)


@pytest.mark.parametrize("fault", [LOST, CUT])
def test_a_connection_whose_answer_is_lost_is_made_once(site, fault):
    site.faults.order(fault, method="POST")

    assert made_at(site).name == "mqtt"
    assert len(site.thingpark.dx_core.connections) == 1


def test_a_sixth_connection_is_refused_with_what_to_do(site):
    for number in range(5):
        made_at(site, f"mqtt-{number}")

    with pytest.raises(PlatformRefusedError, match="delete one that is not needed") as refused:
        made_at(site, "mqtt-5")
    assert refused.value.status == 400


def test_a_configuration_that_lacks_something_is_told_in_dx_core_s_words(site):
    without_host = ConnectionWish("actility-mqtt-iot", "x", {"protocol": "SSL"})

    with pytest.raises(PlatformRefusedError, match=r"configuration\.hostName is mandatory"):
        site.run(lambda client: client.create_connection(without_host), dx_core=True)


def test_a_number_in_an_error_s_name_is_the_platform_s_own(site):
    site.faults.order(answered(400, {"code": 400, "message": "Bad request: No plan", "errorId": "OSS-214"}))

    with pytest.raises(PlatformRefusedError) as refused:
        site.run(lambda client: client.list_connections(), dx_core=True)

    assert (refused.value.oss_code, refused.value.error_id) == (214, "OSS-214")


def test_a_connection_is_deleted_once_and_its_application_server_with_it(site):
    made = made_at(site)

    async def use(client):
        return await client.delete_connection(made.id), await client.delete_connection(made.id)

    assert site.run(use, dx_core=True) == (True, False)
    assert site.run(lambda client: client.list_app_servers()) == []


def test_a_connection_that_is_not_there_is_told_so(site):
    with pytest.raises(NotFoundError, match="4711"):
        site.run(lambda client: client.get_connection("4711"), dx_core=True)


def test_a_strange_id_stays_within_the_path(site):
    with pytest.raises(NotFoundError):
        site.run(lambda client: client.get_connection("../connectors?x"), dx_core=True)
    assert site.thingpark.asked[-1].path.endswith("/connections/..%2Fconnectors%3Fx")


def test_the_kinds_of_connections_are_listed(site):
    found = site.run(lambda client: client.list_connectors(), dx_core=True)

    assert "actility-mqtt-iot" in {one.id for one in found}


def test_a_long_list_is_read_page_by_page_until_a_short_one(by_heart):
    by_heart.prepare([{"id": str(number)} for number in range(PAGE)])
    by_heart.prepare([{"id": "last"}])

    found = by_heart.run(lambda client: client.list_connections(), dx_core=True)

    assert len(found) == PAGE + 1
    assert [one.query for one in by_heart.requests] == ["", "pageIndex=2"]


def test_a_list_that_knows_no_pages_is_read_once(by_heart):
    for _ in range(2):
        by_heart.prepare([{"id": str(number)} for number in range(PAGE)])

    assert len(by_heart.run(lambda client: client.list_connections(), dx_core=True)) == PAGE


def test_a_list_in_an_object_is_read_as_well(by_heart):
    by_heart.prepare({"list": [{"id": "1", "name": "a"}], "totalCount": 1})

    assert [one.name for one in by_heart.run(lambda client: client.list_connections(), dx_core=True)] == ["a"]


def test_values_of_headers_are_not_shown(by_heart):
    configuration = {"headers": {"Authorization": "Bearer very-secret"}, "destinationURL": "https://example.org"}
    by_heart.prepare({"id": "7", "name": "http", "configuration": configuration})

    found = by_heart.run(lambda client: client.get_connection("7"), dx_core=True)

    assert "very-secret" not in f"{found!r}{found.raw}"


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"", b"{}"])
def test_a_page_that_is_no_list_is_not_taken_for_an_empty_one(by_heart, body):
    by_heart.prepare(body)

    with pytest.raises(PlatformRefusedError, match="dx_core_url"):
        by_heart.run(lambda client: client.list_connections(), dx_core=True)


def test_an_answer_that_is_no_connection_is_told_so(by_heart):
    by_heart.prepare(b"<html>Log in</html>")

    with pytest.raises(PlatformRefusedError, match="no connection"):
        by_heart.run(lambda client: client.get_connection("7"), dx_core=True)
