"""What reports say of devices: names, places, battery and margin."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from receiver.services.devices import set_device_name
from receiver.storage.tables import devices, locations, notifications, reports, uplinks
from tests.integration.reading_field import FIX, changed


def test_a_fix_that_the_network_repeats_is_one_location(field):
    network = field.connect()
    device = network.add_device()
    field.take_and_read(network.location(device, fix=FIX))
    for _ in range(4):
        field.wait(minutes=10)
        field.take_and_read(network.uplink(device))

    row = field.row(locations)
    assert (row.dev_eui, row.at, row.latitude, row.longitude) == (device.dev_eui, FIX.at, 52.1, 5.2)
    assert (row.radius_m, row.f_cnt_up_used, row.algorithm) == (455.0, 27_418, "tdoa")
    assert row.report_id == field.rows(reports)[0].id


def test_a_fix_that_two_reports_of_one_batch_repeat_is_one_location(field):
    network = field.connect()
    device = network.add_device()
    field.take_and_read(network.location(device, fix=FIX), network.uplink(device), network.uplink(device))

    assert field.count(locations) == 1


def test_a_new_fix_is_another_location(field):
    network = field.connect()
    device = network.add_device()
    field.take_and_read(network.location(device, fix=FIX))
    field.take_and_read(network.location(device, fix=replace(FIX, at=FIX.at + timedelta(minutes=1))))

    assert field.count(locations) == 2


def test_a_location_of_nowhere_is_none(field):
    network = field.connect()
    push = network.location(network.add_device(), fix=replace(FIX, latitude=0.0, longitude=0.0))
    field.take_and_read(push)

    assert (field.count(locations), field.states()) == (0, ["read"])


def test_a_device_is_made_on_first_sight_and_named_by_the_network(field):
    network = field.connect()
    device = network.add_device(name="Meter 1")
    push = network.uplink(device)
    field.take_and_read(push)

    row, report = field.row(devices), field.row(reports)
    assert (row.dev_eui, row.name, row.name_by_hand) == (device.dev_eui, "Meter 1", False)
    assert (row.connection_id, row.customer_id, row.model_version) == (report.connection_id, "100000001", "1")
    assert row.model == device.sensor.profile
    assert (row.first_seen_at, row.last_seen_at, row.last_f_cnt_up) == (field.now, field.now, 0)


def test_a_device_that_is_heard_again_keeps_its_first_sight(field):
    network = field.connect()
    device = network.add_device()
    field.take_and_read(network.uplink(device))
    first = field.now
    field.wait(hours=1)
    field.take_and_read(network.uplink(device))

    row = field.row(devices)
    assert (row.first_seen_at, row.last_seen_at, row.last_f_cnt_up) == (first, field.now, 1)


def test_a_name_that_the_network_changes_is_taken_over(field):
    network = field.connect()
    device = network.add_device(name="Old")
    field.take_and_read(network.uplink(device))
    device.name = "New"
    field.take_and_read(network.uplink(device))

    assert field.row(devices).name == "New"


def test_a_name_given_by_hand_is_kept(field):
    network = field.connect()
    device = network.add_device(name="Theirs")
    field.take_and_read(network.uplink(device))
    set_device_name(field.engine, device.dev_eui, "Ours")
    field.take_and_read(network.uplink(device))

    assert field.row(devices).name == "Ours"


def test_a_report_that_says_nothing_of_the_device_erases_nothing(field):
    network = field.connect()
    device = network.add_device(name="Meter 1")
    field.take_and_read(network.uplink(device))
    before = field.row(devices)
    field.take_and_read(changed(network, network.uplink(device), ["CustomerData"]))

    after = field.row(devices)
    assert (after.name, after.model, after.model_version) == (before.name, before.model, before.model_version)


@pytest.mark.parametrize("content_type", ["xml", "jsontyped", "json"])
@pytest.mark.parametrize(
    "name",
    ["Gew\u00e4chshaus \N{HERB} 3", "\N{SATELLITE ANTENNA}\u200d\N{EARTH GLOBE EUROPE-AFRICA}", "\u6e29\u5ea6 <&> \"'"],
)
def test_a_name_may_be_in_any_script(field, name, content_type):
    network = field.connect()
    field.take_and_read(network.uplink(network.add_device(name=name), content_type=content_type))

    assert field.row(devices).name == name


@pytest.mark.parametrize("form", ["json-text", "pseudo-json"])
def test_a_name_is_found_in_every_form_of_customer_data(field, form):
    network = field.connect(customer_data=form)
    field.take_and_read(network.uplink(network.add_device(name="Meter 1")))

    assert field.row(devices).name == "Meter 1"


def test_a_very_long_name_is_cut_and_stands_whole_in_the_body(field):
    network = field.connect()
    name = "\N{HERB}" * 5000
    field.take_and_read(network.uplink(network.add_device(name=name)))

    assert field.row(devices).name == "\N{HERB}" * 256
    assert name in bytes(field.row(reports).body).decode()


def test_battery_and_margin_of_an_uplink_are_a_status_of_the_device(field):
    network = field.connect()
    device = network.add_device()
    told = {"BatteryLevel": 200, "Margin": -5, "BatteryTime": "2026-11-20T12:30:00.0+01:00"}
    field.take_and_read(changed(network, network.uplink(device), **told))
    field.take_and_read(changed(network, network.uplink(device), **told))

    at = datetime(2026, 11, 20, 11, 30, tzinfo=UTC)
    row, status = field.row(devices), field.row(notifications)
    assert (row.battery_level, row.margin_db, row.status_at) == (200, -5.0, at)
    assert (status.type, status.battery_level, status.margin_db, status.at) == ("devstatusans", 200, -5.0, at)


def test_a_status_notification_is_a_row_and_the_devices_status(field):
    network = field.connect()
    device = network.add_device()
    push = network.device_status(device, battery_level=120, margin_db=-9)
    field.take_and_read(push)

    row, status = field.row(devices), field.row(notifications)
    assert (row.battery_level, row.margin_db, row.status_at) == (120, -9.0, push.received_at)
    assert (status.type, status.battery_level, status.margin_db, status.session_id) == ("devstatusans", 120, -9.0, None)
    assert field.count(uplinks) == 0


def test_an_older_status_does_not_replace_a_newer_one(field):
    network = field.connect()
    device = network.add_device()
    older = network.device_status(device, battery_level=200)
    field.wait(minutes=5)
    newer = network.device_status(device, battery_level=100)
    older = network._signer.deliver(replace(older, sent_at=field.now))
    field.take_and_read(newer)
    field.take_and_read(older)

    assert field.row(devices).battery_level == 100
    assert field.count(notifications) == 2
