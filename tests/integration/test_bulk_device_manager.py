"""Devices by the file with a person's login: one session for all of a run, at connections and AS routing profiles."""

from __future__ import annotations

import json

import pytest

from receiver.simulator.management_device_manager import SimulatedDeviceManager
from receiver.simulator.management_device_manager_login import LOGIN_PAGE_PATH
from receiver.simulator.management_thingpark_book import REST_PATH
from tests.integration.bulk_use import (
    NETWORKS,
    ThingPark,
    add_network_account,
    bulk,
    dev_eui,
    environment,
    running,
    utc_now,
    write_csv,
)

DEVICES = 3
LOGIN, PASSWORD = "ada@example.com", "Right#1password"


class DeviceManager(ThingPark):
    """The emulated ThingPark behind a login, with two AS routing profiles besides its connections."""

    surface = "device-manager"
    platform = "The Device Manager"
    secret = PASSWORD
    answers = "json"

    def __init__(self):
        super().__init__()
        self.simulated = SimulatedDeviceManager(self.simulated.resources, clock=utc_now, login=LOGIN, password=PASSWORD)
        self.profiles = [self._make_profile(name) for name in ("here", "there")]

    def _make_profile(self, name):
        uid = self.book.next_uid()
        self.book.routing_profiles[uid] = ({"name": name, "routes": []}, self.book.new_occ())
        return f"TWA_{self.book.subscriber_id}.{uid}"

    def settings(self, origin):
        urls = {"api_url": origin + REST_PATH, "login_url": origin + LOGIN_PAGE_PATH}
        return {"login": LOGIN, "answers": self.answers, **urls}

    def routing_of(self, eui):
        members = self.book.devices[eui].members
        profile = members.get("appServersRoutingProfile")
        return profile["ID"] if profile else next(iter(self.book.devices[eui].app_server_ids), None)


class DeviceManagerInXml(DeviceManager):
    """The same, asked for XML."""

    answers = "xml"


@pytest.fixture(params=[DeviceManager, DeviceManagerInXml], ids=["json", "xml"])
def network(request, monkeypatch):
    monkeypatch.setitem(NETWORKS, "device-manager", request.param)
    with running("device-manager") as found:
        yield found
        assert found.of.simulated.sessions == 0


@pytest.fixture
def file(engine, database_url, network, tmp_path, monkeypatch):
    """Give what writes a file of devices, for an account that is there."""
    for name, value in environment(database_url, tmp_path).items():
        monkeypatch.setenv(name, value)
    add_network_account(engine, network)

    def write(**changes):
        rows = [network.row(number, **changes) for number in range(DEVICES)]
        return write_csv(tmp_path / "devices.csv", rows)

    return write


def everything():
    return [dev_eui(number) for number in range(DEVICES)]


def logins(network):
    return [one for one in network.asked if one.path == LOGIN_PAGE_PATH]


def test_devices_are_created_within_one_session(network, file):
    done = bulk("run", file(), "--json")

    assert (done.code, done.json["outcomes"]) == (0, {"created": DEVICES})
    assert sorted(network.of.devices) == everything()
    assert [network.of.key_of(eui) for eui in everything()] == [f"{0xA5A5 << 112 | n:032x}" for n in range(DEVICES)]
    assert len(logins(network)) == 1
    assert bulk("run", file(), "--json").json["outcomes"] == {"same": DEVICES}


def test_devices_are_created_on_an_as_routing_profile(network, file):
    done = bulk("run", file(Routing=network.of.profiles[0]), "--json")

    assert done.json["outcomes"] == {"created": DEVICES}
    assert {network.of.routing_of(eui) for eui in everything()} == {network.of.profiles[0]}
    assert bulk("run", file(Routing=network.of.profiles[0]), "--json").json["outcomes"] == {"same": DEVICES}


def test_devices_are_moved_from_connections_to_a_profile_and_on_to_another(network, file):
    devices = file()
    bulk("run", devices)

    for profile in network.of.profiles:
        moved = bulk("run", devices, "--action", "move", "--to-remote", profile, "--json")
        assert moved.json["outcomes"] == {"moved": DEVICES}
        assert {network.of.routing_of(eui) for eui in everything()} == {profile}


def test_a_device_stays_on_its_profile_where_no_document_says_how_to_take_it_off(network, file):
    devices = file(Routing=network.of.profiles[0])
    bulk("run", devices)

    done = bulk("run", devices, "--action", "move", "--to-remote", network.of.routing, "--json")
    shown = bulk("show", "2", "--json").json

    assert (done.code, done.json["outcomes"]) == (1, {"failed": DEVICES})
    assert "is on the AS routing profile" in shown["device_rows"][0]["error"]
    assert {network.of.routing_of(eui) for eui in everything()} == {network.of.profiles[0]}


def test_devices_are_changed_and_deleted(network, file):
    bulk("run", file())

    changed = bulk("run", file(Name="Other"), "--action", "update", "--json")
    names = {one[0] for one in network.of.devices.values()}
    deleted = bulk("run", file(), "--action", "delete", "--json")

    assert (changed.json["outcomes"], names) == ({"updated": DEVICES}, {"Other"})
    assert deleted.json["outcomes"] == {"deleted": DEVICES}
    assert network.of.devices == {}


def test_a_session_that_ends_amid_a_run_is_begun_anew(network, file):
    def answer(request):
        if request.method == "POST" and request.path.endswith("/devices") and len(network.made) == 1:
            network.server.answer = network.answer
            network.of.simulated.end_sessions()
        return network.answer(request)

    network.server.answer = answer
    done = bulk("run", file(), "--at-once", "1", "--json")

    assert done.json["outcomes"] == {"created": DEVICES}
    assert len(logins(network)) == 2
    assert network.needless == []


def test_a_refused_password_is_sent_once(network, file):
    network.of.simulated.login.password = "Another#1password"

    for _ in range(2):
        done = bulk("run", file())
        assert done.code == 1
        assert "does not take this login and password (error 108)" in done.err
    assert len(logins(network)) == 1


def test_a_profile_that_is_not_there_is_told_before_anything_is_sent(network, file):
    done = bulk("run", file(Routing="TWA_1.9"))

    assert done.code == 1
    assert "no routing profile or connection 'TWA_1.9'" in done.err
    assert network.count("POST", "/devices") == 0


def test_the_template_is_that_of_thingpark():
    told = bulk("template", "--surface", "device-manager", "--format", "json").out

    assert "NwkKey" in told
    assert [list(one) for one in json.loads(told)[1:]] == [
        list(one) for one in json.loads(bulk("template", "--surface", "thingpark", "--format", "json").out)[1:]
    ]


def test_devices_are_compared_with_those_here(network, file):
    bulk("run", file())

    compared = bulk("sync", "--apply", "devices", "--json").json
    again = bulk("sync", "--json").json

    assert {row["difference"] for row in compared["differences"]} == {"only-there"}
    assert compared["taken"]["devices"] == DEVICES
    assert (again["there"], again["both"], again["differences"]) == (DEVICES, DEVICES, [])
