"""Devices over the API: all, page by page, and one with its sessions and measurements."""

from __future__ import annotations

import pytest

from tests.integration.api_use import DEVICE, assert_refused, client_of, store_values, walk


@pytest.fixture
def client(engine, keyring, now):
    return client_of(engine, keyring, now)


@pytest.fixture
def network(field):
    return field.connect()


def test_devices_are_listed_by_dev_eui(field, network, client):
    for number in (3, 1, 2):
        device = network.add_device(dev_eui=f"20635F000000000{number}")
        field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))

    listed = client.get("/devices").json()

    assert [device["dev_eui"][-1] for device in listed["devices"]] == ["1", "2", "3"]
    assert listed["next_cursor"] is None
    assert listed["devices"][0]["connection"] == "field"
    assert walk(client, "/devices", "devices", 1) == listed["devices"]


def test_a_device_is_named_with_scope_admin(field, network, engine, keyring, now):
    device = network.add_device(dev_eui=DEVICE)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))
    admin = client_of(engine, keyring, now, "admin")

    changed = admin.patch(f"/devices/{DEVICE}", {"name": "  boiler ", "lorawan_version": "1.1"})
    given_back = admin.patch(f"/devices/{DEVICE}", {"name": None})

    assert (changed.status_code, changed.json()["name"], changed.json()["lorawan_version"]) == (200, "boiler", "1.1")
    assert given_back.json()["name_by_hand"] is False


@pytest.mark.parametrize(
    ("body", "status"),
    [({"name": "x" * 257}, 400), ({"names": "x"}, 400), ({"lorawan_version": "2"}, 400), ({"name": 1}, 400)],
)
def test_a_change_that_is_none_is_refused(field, network, engine, keyring, now, body, status):
    field.take_and_read(network.uplink(network.add_device(dev_eui=DEVICE), f_port=5, payload=b"x"))

    assert client_of(engine, keyring, now, "admin").patch(f"/devices/{DEVICE}", body).status_code == status


def test_a_device_that_nobody_heard_is_not_changed(engine, keyring, now):
    answer = client_of(engine, keyring, now, "admin").patch(f"/devices/{DEVICE}", {"name": "x"})

    assert answer.status_code == 404


def test_one_device_is_shown_with_its_sessions_and_measurements(field, network, client, engine):
    device = network.add_device(dev_eui=DEVICE)
    field.take_and_read(network.join(device), network.uplink(device, f_port=5, payload=b"x"))
    store_values(engine, "temperature", [(field.now, 21.5)])

    shown = client.get(f"/devices/{DEVICE.lower()}").json()

    assert shown["dev_eui"] == DEVICE
    assert shown["measurements"] == [{"name": "temperature", "unit": "Cel"}]
    assert shown["sessions"][0]["dev_addr"] is not None
    assert shown["reports_waiting_for_key"] == 0


def test_no_device_shows_anything_of_a_key(field, client):
    network = field.connect("encrypted", encrypted=True)
    field.import_as_transport_key("encrypted")
    device = network.add_device(dev_eui=DEVICE)
    field.take_and_read(network.join(device), network.uplink(device, f_port=5, payload=b"x"), name="encrypted")

    text = client.get(f"/devices/{DEVICE}").text

    assert "key" not in text.replace("reports_waiting_for_key", "")


@pytest.mark.parametrize("dev_eui", ["20635F0000000009", "20635F", "x", "%00", "20635F0000000009%00"])
def test_a_device_that_is_not_there_is_404(client, dev_eui):
    answer = client.get(f"/devices/{dev_eui}")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("query", "parameter"), [("colour=green", "colour"), ("limit=0", "limit"), ("cursor=x", "cursor")]
)
def test_a_wrong_parameter_is_named(client, query, parameter):
    assert_refused(client.get(f"/devices?{query}"), parameter)


def test_one_device_takes_no_parameter(client):
    answer = client.get(f"/devices/{DEVICE}?limit=1")

    assert (answer.status_code, answer.json()["parameter"]) == (400, "limit")
