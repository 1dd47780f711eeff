"""`receiver bulk sync`: devices here and at a network, compared both ways."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, update

from receiver.keyring import Keyring
from receiver.services.connections import add_connection
from receiver.services.devices import set_device_name
from receiver.storage.engine import read, write
from receiver.storage.provisioning_tables import provisionings
from receiver.storage.tables import devices
from tests.integration.bulk_use import (
    KEK,
    NETWORKS,
    add_network_account,
    bulk,
    dev_eui,
    environment,
    running,
    utc_now,
    write_csv,
)


@pytest.fixture(params=NETWORKS)
def network(request):
    with running(request.param) as found:
        yield found


class Here:
    """The database, with an account and two connections that are set up at the network."""

    def __init__(self, engine, network, directory):
        self.engine = engine
        self.network = network
        self.directory = directory
        self.account = add_network_account(engine, network)
        self.connections = {
            name: self._connect(name, remote)
            for name, remote in (("here", network.of.routing), ("there", network.of.other_routing))
        }

    def _connect(self, name, remote_id):
        surface = self.network.of.surface
        made = add_connection(
            *(self.engine, Keyring(KEK), utc_now()), name=name, platform=surface, tunnel_key="00112233" * 4
        )
        values = {"connection_id": made.id, "account_id": self.account.id, "surface": surface, "state": "connected"}
        values |= {"wanted": "{}", "remote_id": remote_id, "created_at": utc_now(), "updated_at": utc_now()}
        with write(self.engine) as tx:
            tx.execute(insert(provisionings).values(values))
        return made.id

    def heard(self, number, name=None, connection="here"):
        with write(self.engine) as tx:
            tx.execute(
                insert(devices).values(
                    dev_eui=dev_eui(number),
                    name=name,
                    name_by_hand=False,
                    connection_id=self.connections.get(connection),
                    first_seen_at=utc_now(),
                    last_seen_at=utc_now(),
                )
            )

    def at_network(self, *numbers, **changes):
        rows = [self.network.row(number, **changes) for number in numbers]
        done = bulk("run", write_csv(self.directory / f"devices-{numbers[0]}.csv", rows))
        assert done.code == 0, done.err

    def names(self):
        with read(self.engine) as tx:
            return {row.dev_eui: row.name for row in tx.execute(select(devices.c.dev_eui, devices.c.name))}


@pytest.fixture
def here(engine, network, database_url, tmp_path, monkeypatch):
    for name, value in environment(database_url, tmp_path).items():
        monkeypatch.setenv(name, value)
    return Here(engine, network, tmp_path)


def differences(*arguments):
    found = bulk("sync", "--json", *arguments).json["differences"]
    return [(one["difference"], one["dev_eui"], one["here"], one["there"]) for one in found]


def test_what_is_the_same_on_both_sides_is_no_difference(here):
    here.at_network(1)
    here.heard(1, "Meter 1")

    assert differences() == []
    assert "There is no difference." in bulk("sync").out


def test_each_kind_of_difference_is_found(here):
    here.at_network(1, 2, 3)
    here.at_network(4, Routing="none")
    here.heard(1, "Renamed here")
    here.heard(2, "Meter 2", connection="there")
    here.heard(4, "Meter 4")
    here.heard(5, "Only here")

    assert differences() == [
        ("only-there", dev_eui(3), None, "Meter 3"),
        ("only-here", dev_eui(5), "Only here", None),
        ("name", dev_eui(1), "Renamed here", "Meter 1"),
        ("other-connection", dev_eui(2), "there", "here"),
        ("no-connection", dev_eui(4), "here", None),
    ]
    shown = bulk("sync").out
    assert "1 device on no connection at the network: what they send goes to nobody:" in shown
    assert "4 devices at the network, 4 here by its connections; 3 on both sides." in shown


def test_nothing_is_taken_over_unasked(here):
    here.at_network(1, 2)
    here.heard(1, "Renamed here")
    requests = len(here.network.asked)

    bulk("sync")

    assert here.names() == {dev_eui(1): "Renamed here"}
    assert {one.method for one in list(here.network.asked)[requests:]} == {"GET"}


def test_devices_of_the_network_are_made_known_here(here):
    here.at_network(1, 2)
    here.heard(1, "Renamed here")

    done = bulk("sync", "--apply", "devices")

    assert "Made known here: 1 device; names taken from the network: 0." in done.out
    assert here.names() == {dev_eui(1): "Renamed here", dev_eui(2): "Meter 2"}


def test_names_of_the_network_are_taken_but_for_those_given_by_hand(engine, here):
    here.at_network(1, 2)
    here.heard(1, "Old name")
    here.heard(2)
    set_device_name(engine, dev_eui(2), "By hand")

    taken = bulk("sync", "--apply", "names", "--json").json["taken"]

    assert taken == {"devices": 0, "names": 1, "left": 1, "dry_run": False}
    assert here.names() == {dev_eui(1): "Meter 1", dev_eui(2): "By hand"}


def test_a_dry_run_of_taking_over_changes_nothing(here):
    here.at_network(1, 2)
    here.heard(1, "Old name")

    taken = bulk("sync", "--apply", "names", "--apply", "devices", "--dry-run", "--json").json["taken"]

    assert taken == {"devices": 1, "names": 1, "left": 0, "dry_run": True}
    assert here.names() == {dev_eui(1): "Old name"}


def test_devices_of_other_platforms_and_accounts_are_not_looked_for_at_this_one(engine, here):
    here.heard(1, connection=None)
    here.heard(2, connection="there")
    other = add_network_account(engine, here.network, "other")
    with write(engine) as tx:
        own = provisionings.c.connection_id == here.connections["there"]
        tx.execute(update(provisionings).where(own).values(account_id=other.id))

    assert bulk("sync", "--account", "test", "--json").json["differences"] == []
    assert [one["dev_eui"] for one in bulk("sync", "--account", "other", "--json").json["differences"]] == [dev_eui(2)]


def test_devices_are_moved_to_a_connection_by_its_name_here(here):
    here.at_network(1, 2)
    file = write_csv(here.directory / "move.csv", [{"DevEUI": dev_eui(1)}])

    done = bulk("run", file, "--action", "move", "--to", "there")

    assert done.code == 0, done.err
    assert here.network.of.devices[dev_eui(1)][1] == here.network.of.other_routing
    assert here.network.of.devices[dev_eui(2)][1] == here.network.of.routing


def test_more_devices_than_a_page_are_compared(here):
    here.at_network(*range(205))

    assert len(differences()) == 205
    bulk("sync", "--apply", "devices")
    assert differences() == []
