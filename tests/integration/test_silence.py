"""Silence: of devices against their own rhythm, and of connections."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from receiver.services.devices import set_device_name
from receiver.services.silence import PAGE_DEVICES, look_for_silence
from receiver.storage.devices import insert_device_unless_known
from receiver.storage.engine import read, write
from receiver.storage.silence import list_heard_devices
from tests.integration.command_line import run


@pytest.fixture
def network(field):
    return field.connect()


def hear(field, network, device, *, times=6, every=timedelta(hours=1)):
    """Let a device be heard so often, at that interval; the last time is now."""
    for number in range(times):
        if number:
            field.now += every
        field.take(network.uplink(device, f_port=5, payload=b"x"))
    field.read()


def verdicts(field, **options):
    silence = look_for_silence(field.engine, field.now, **options)
    return {device.dev_eui: device.verdict for device in silence.devices}


def test_a_device_that_keeps_its_rhythm_is_heard(field, network):
    hear(field, network, network.add_device())
    field.wait(hours=2, minutes=50)

    silence = look_for_silence(field.engine, field.now)

    assert (silence.devices, silence.heard_devices) == ([], 1)


def test_a_device_is_silent_after_three_of_its_intervals(field, network):
    device = network.add_device()
    hear(field, network, device)
    field.wait(hours=3, minutes=1)

    (silent,) = look_for_silence(field.engine, field.now).devices

    assert (silent.dev_eui, silent.connection, silent.verdict) == (device.dev_eui, "field", "silent")
    assert silent.silent_s == pytest.approx(3 * 3600 + 60, abs=2)
    assert silent.usual_s == pytest.approx(3600, abs=2)
    assert silent.allowed_s == pytest.approx(3 * 3600, abs=6)


def test_each_device_is_judged_by_its_own_rhythm(field, network):
    quick, slow = network.add_device(), network.add_device()
    hear(field, network, slow, every=timedelta(days=1))
    hear(field, network, quick, every=timedelta(minutes=1))
    field.wait(hours=1)

    assert verdicts(field) == {quick.dev_eui: "silent"}


def test_the_factor_is_how_many_intervals_may_pass(field, network):
    device = network.add_device()
    hear(field, network, device)
    field.wait(hours=4)

    assert verdicts(field, factor=5) == {}
    assert verdicts(field, factor=2) == {device.dev_eui: "silent"}


def test_a_device_without_a_rhythm_is_not_called_silent(field, network):
    device = network.add_device()
    hear(field, network, device, times=4)
    with write(field.engine) as connection:
        insert_device_unless_known(connection, "0059AC0000000001", field.now)
    field.wait(days=300)

    assert verdicts(field) == {device.dev_eui: "too_few", "0059AC0000000001": "never"}


def test_a_fleet_of_several_pages_is_judged_whole(field):
    with write(field.engine) as connection:
        for number in range(PAGE_DEVICES + 1):
            insert_device_unless_known(connection, f"{number:016X}", field.now)

    assert len(verdicts(field)) == PAGE_DEVICES + 1


def test_a_connection_that_was_never_called_is_told(field):
    field.connect("quiet")

    (connection,) = look_for_silence(field.engine, field.now).connections

    assert (connection.name, connection.verdict, connection.last_report_at) == ("quiet", "never", None)


def test_a_connection_is_judged_by_all_its_devices_together(field, network):
    first, second = network.add_device(), network.add_device()
    for _ in range(4):  # each daily, together every twelve hours
        hear(field, network, first, times=1)
        field.wait(hours=12)
        hear(field, network, second, times=1)
        field.wait(hours=12)
    last_at = field.now - timedelta(hours=12)

    def judged():
        (connection,) = look_for_silence(field.engine, field.now).connections
        return connection.verdict, connection.last_report_at

    assert judged() == ("heard", last_at)
    field.wait(hours=25)
    assert judged() == ("silent", last_at)


def test_a_connection_whose_reports_are_not_read_yet_is_not_silent(field, network):
    device = network.add_device()
    hear(field, network, device)
    field.wait(days=1)
    field.take(network.uplink(device, f_port=5, payload=b"x"))

    (connection,) = look_for_silence(field.engine, field.now).connections

    assert (connection.verdict, connection.last_report_at) == ("heard", field.now)


def test_the_newest_times_are_found_by_index_and_no_uplink_beside_them_is_read(field, network, engine):
    hear(field, network, network.add_device())
    asked = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, sql, values, *_: asked.append((sql, values)))
    with read(engine) as connection:
        list_heard_devices(connection, after="", limit=10, newest=3)
        sql, values = asked[-1]
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # a small table is read whole otherwise
            plan = connection.exec_driver_sql(f"EXPLAIN {sql}", values)
        else:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
        told = "\n".join(" ".join(map(str, row)) for row in plan)

    assert "ix_uplinks_dev_eui_at" in told
    assert "TEMP B-TREE" not in told


@pytest.fixture
def silent_device(field, network):
    """A device that was heard every hour until yesterday, by this machine's clock."""
    field.now = datetime.now(UTC) - timedelta(days=1, hours=5)
    device = network.add_device()
    hear(field, network, device)
    set_device_name(field.engine, device.dev_eui, "Meter")
    return device


def test_the_command_lists_silent_devices(silent_device, database_url, tmp_path):
    (row,) = json.loads(run(tmp_path, database_url, "device", "silent", "--json").stdout)
    table = run(tmp_path, database_url, "device", "silent").stdout

    assert (row["dev_eui"], row["name"], row["verdict"]) == (silent_device.dev_eui, "Meter", "silent")
    assert "1 hour" in table
    assert run(tmp_path, database_url, "device", "silent", "--factor", "100").stdout == "Nothing to show.\n"


def test_devices_without_a_rhythm_are_listed_on_demand_only(field, network, database_url, tmp_path):
    field.now = datetime.now(UTC)
    hear(field, network, network.add_device(), times=1)

    assert run(tmp_path, database_url, "device", "silent").stdout == "Nothing to show.\n"
    assert "too few uplinks" in run(tmp_path, database_url, "device", "silent", "--all").stdout


def test_the_command_tells_what_each_connection_last_brought(silent_device, database_url, tmp_path):
    (row,) = json.loads(run(tmp_path, database_url, "connection", "silent", "--json").stdout)

    assert (row["name"], row["verdict"]) == ("field", "silent")
    assert "silent" in run(tmp_path, database_url, "connection", "silent").stdout
