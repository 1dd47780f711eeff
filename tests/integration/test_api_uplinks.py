"""Uplinks over the API: in the order of time, narrowed, page by page, and one with all that belongs to it."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import pytest

from receiver.storage import uplink_pages
from receiver.storage.engine import read
from receiver.storage.uplink_pages import UplinkFilter, list_uplink_page
from tests.integration.api_use import DEVICE, OTHER_DEVICE, assert_refused, client_of, walk


@pytest.fixture
def client(engine, keyring, now):
    return client_of(engine, keyring, now)


@pytest.fixture
def uplinks(field):
    """Twelve uplinks of two devices, a minute apart, on ports 1 and 2."""
    network = field.connect()
    devices = [network.add_device(dev_eui=dev_eui) for dev_eui in (DEVICE, OTHER_DEVICE)]
    for number in range(12):
        field.take_and_read(network.uplink(devices[number % 2], f_port=1 + number // 6, payload=bytes([number])))
        field.wait(minutes=1)
    return network, devices


def payloads(rows):
    return [int(row["frm_payload"], 16) for row in rows]


def test_uplinks_come_newest_first_with_their_payloads(uplinks, client):
    listed = client.get("/uplinks").json()

    assert payloads(listed["uplinks"]) == [*range(11, -1, -1)]
    assert listed["next_cursor"] is None
    first = listed["uplinks"][0]
    assert (first["connection"], first["dev_eui"], first["f_port"]) == ("field", OTHER_DEVICE, 2)
    assert first["at"].endswith("Z")


@pytest.mark.parametrize("limit", [1, 5, 12, 13])
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_follow_each_other_without_a_gap(uplinks, client, limit, order):
    rows = walk(client, "/uplinks", "uplinks", limit, order=order)

    assert payloads(rows) == ([*range(12)] if order == "oldest" else [*range(11, -1, -1)])


def test_uplinks_that_come_meanwhile_are_not_on_later_pages(uplinks, client, field):
    network, devices = uplinks
    page = client.get("/uplinks?limit=5").json()
    field.take_and_read(network.uplink(devices[0], f_port=1, payload=b"\x63"))

    rest = client.get("/uplinks", params={"limit": 100, "cursor": page["next_cursor"]}).json()

    assert payloads(rest["uplinks"]) == [*range(6, -1, -1)]


def test_pages_in_order_of_arrival_go_on_with_what_comes(uplinks, client, field):
    network, devices = uplinks
    page = client.get("/uplinks?limit=11&order=oldest").json()
    field.take_and_read(network.uplink(devices[0], f_port=1, payload=b"\x63"))

    rest = client.get("/uplinks", params={"order": "oldest", "cursor": page["next_cursor"]}).json()

    assert payloads(rest["uplinks"]) == [11, 0x63]


def test_uplinks_can_be_narrowed(uplinks, client, now):
    def found(**parameters):
        return payloads(client.get("/uplinks", params={"order": "oldest", **parameters}).json()["uplinks"])

    half = (now + timedelta(minutes=5, seconds=30)).isoformat()
    assert found(device=DEVICE.lower()) == [0, 2, 4, 6, 8, 10]
    assert found(device="20635F0000000009") == []
    assert found(port=2) == [6, 7, 8, 9, 10, 11]
    assert found(port=3) == []
    assert found(connection="field", device=OTHER_DEVICE, port=1) == [1, 3, 5]
    assert found(until=half) == [0, 1, 2, 3, 4, 5]
    assert found(since=half, device=DEVICE) == [6, 8, 10]


def test_the_end_of_a_time_is_not_in_it(uplinks, client):
    moment = client.get("/uplinks?limit=1").json()["uplinks"][0]["at"]

    assert client.get("/uplinks", params={"since": moment, "until": moment}).json()["uplinks"] == []
    assert len(client.get("/uplinks", params={"since": moment}).json()["uplinks"]) == 1


def test_a_time_may_be_of_any_zone_and_its_plus_need_not_be_encoded(uplinks, client, now):
    there = (now + timedelta(minutes=9, seconds=30, hours=2)).replace(tzinfo=None).isoformat()

    for since in (f"{there}+02:00", quote(f"{there}+02:00")):
        assert payloads(client.get(f"/uplinks?since={since}").json()["uplinks"]) == [11, 10]


def test_a_filter_that_leaves_few_costs_no_more_than_its_share(uplinks, engine, monkeypatch):
    monkeypatch.setattr(uplink_pages, "MOST_EXAMINED", 4)
    found, place, pages = [], None, 0
    while pages == 0 or place is not None:
        with read(engine) as tx:
            rows, place = list_uplink_page(tx, UplinkFilter(f_port=1, dev_eui=DEVICE), limit=10, after=place)
        found += rows
        pages += 1

    assert (len(found), pages) == (3, 2)


def test_one_uplink_comes_with_its_receptions_and_deliveries(uplinks, client):
    newest = client.get("/uplinks?limit=1").json()["uplinks"][0]

    shown = client.get(f"/uplinks/{newest['id']}").json()

    assert {name: shown[name] for name in ("id", "at", "dev_eui", "frm_payload")} == {
        name: newest[name] for name in ("id", "at", "dev_eui", "frm_payload")
    }
    assert shown["receptions"][0]["lrr_id"] == shown["lrr_id"]
    assert shown["deliveries"][0]["connection"] == "field"
    assert shown["decoding"] is None
    assert "body" not in shown


@pytest.mark.parametrize("path", ["999", "x", "-1", "9223372036854775808", "99999999999999999999", "%D9%A1"])
def test_an_uplink_that_is_not_there_is_404(client, path):
    answer = client.get(f"/uplinks/{path}")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("device=x", "device"),
        ("device=", "device"),
        ("device=20635F0000000001&device=20635F0000000001", "device"),
        ("connection=nobody", "connection"),
        ("connection=%00", "connection"),
        ("port=256", "port"),
        ("since=yesterday", "since"),
        ("order=best", "order"),
        ("limit=1001", "limit"),
        ("cursor=%00", "cursor"),
        ("cursor=WzEsInVwbGlua3MiLDEsMl0", "cursor"),
        ("format=xml", "format"),
        ("name=temperature", "name"),
    ],
)
def test_a_wrong_parameter_is_named(client, query, parameter):
    assert_refused(client.get(f"/uplinks?{query}"), parameter)


def test_a_cursor_of_another_list_is_refused(uplinks, client):
    cursor = client.get("/uplinks?limit=1").json()["next_cursor"]

    for query in (f"/devices?cursor={cursor}", f"/uplinks?order=oldest&cursor={cursor}"):
        assert_refused(client.get(query), "cursor")
