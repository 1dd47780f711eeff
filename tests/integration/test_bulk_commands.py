"""`receiver bulk` against emulated networks, over real HTTP, on both databases."""

from __future__ import annotations

import csv
import json
import re

import pytest
from sqlalchemy import text

from tests.integration.bulk_use import (
    NETWORKS,
    PLAN,
    add_network_account,
    app_key,
    bulk,
    dev_eui,
    environment,
    running,
    write_csv,
)


@pytest.fixture(params=NETWORKS)
def network(request):
    with running(request.param) as found:
        yield found


@pytest.fixture
def here(engine, network, database_url, tmp_path, monkeypatch):
    """A directory, with an account in the database and the settings of commands in the environment."""
    for name, value in environment(database_url, tmp_path).items():
        monkeypatch.setenv(name, value)
    add_network_account(engine, network)
    return tmp_path


@pytest.fixture
def file(here, network):
    return write_csv(here / "devices.csv", [network.row(number) for number in range(4)])


def test_the_devices_of_a_file_are_created_as_it_says(network, file):
    done = bulk("run", file)

    assert (done.code, done.err) == (0, "")
    assert network.of.devices == {
        dev_eui(number): (f"Meter {number}", network.of.routing, network.of.profile) for number in range(4)
    }
    assert network.of.key_of(dev_eui(3)) == app_key(3)
    assert "Run 1: 4 created." in done.out


def test_a_dry_run_shows_the_plan_and_sends_nothing(network, file):
    done = bulk("run", file, "--dry-run")

    assert done.code == 0
    assert re.search(r"\b4 +to be created", done.out)
    assert f"The connectivity plan {PLAN} has 1,000 free licences; needed: 4." in done.out
    assert {one.method for one in network.asked} == {"GET"}
    assert bulk("list", "--json").json == []
    assert bulk("run", file, "--dry-run", "--json").json == {
        "dry_run": True,
        "plan": {"create": 4},
        "licences": [{"connectivity_plan": PLAN, "needed": 4, "free": 1000}],
    }


def test_what_is_there_already_is_not_made_again(network, file, here):
    bulk("run", file)
    more = [network.row(number) for number in range(6)]
    more[0]["Name"] = "Another name"

    done = bulk("run", write_csv(here / "more.csv", more), "--json")

    assert done.code == 1
    assert done.json["outcomes"] == {"created": 2, "same": 3, "differs": 1}
    assert (len(network.made), network.needless) == (6, [])
    shown = bulk("show", "2", "--failed", "--json").json["device_rows"]
    assert [(row["line"], row["dev_eui"]) for row in shown] == [(2, dev_eui(0))]
    assert shown[0]["error"] == (
        f"{network.of.platform} has this device already, and otherwise: Name. `--action update` changes it."
    )


def test_an_update_sends_only_what_differs(network, file, here):
    bulk("run", file)
    rows = [{"DevEUI": dev_eui(number), "Name": f"Meter {number}"} for number in range(5)]
    rows[2]["Name"] = "Renamed"

    done = bulk("run", write_csv(here / "names.csv", rows), "--action", "update", "--json")

    assert done.code == 1
    assert done.json["outcomes"] == {"same": 3, "updated": 1, "unknown": 1}
    assert network.of.devices[dev_eui(2)] == ("Renamed", network.of.routing, network.of.profile)
    assert network.count("PUT") == 1


def test_an_update_changes_profile_and_routing(network, file, here):
    bulk("run", file)
    row = {"DevEUI": dev_eui(1), "DeviceProfile": network.of.other_profile, "Routing": network.of.other_routing}

    assert bulk("run", write_csv(here / "changes.csv", [row]), "--action", "update").code == 0

    assert network.of.devices[dev_eui(1)] == ("Meter 1", network.of.other_routing, network.of.other_profile)


def test_devices_are_deleted_and_deleting_them_again_does_no_harm(network, file):
    bulk("run", file)

    first = bulk("run", file, "--action", "delete", "--json")
    second = bulk("run", file, "--action", "delete", "--json")

    assert (first.code, first.json["outcomes"]) == (0, {"deleted": 4})
    assert (second.code, second.json["outcomes"]) == (0, {"absent": 4})
    assert network.of.devices == {}


def test_devices_are_moved_to_where_the_option_says(network, file):
    bulk("run", file)

    first = bulk("run", file, "--action", "move", "--to-remote", network.of.other_routing, "--json")
    second = bulk("run", file, "--action", "move", "--to-remote", network.of.other_routing, "--json")

    assert (first.code, first.json["outcomes"]) == (0, {"moved": 4})
    assert second.json["outcomes"] == {"same": 4}
    assert {routing for _name, routing, _profile in network.of.devices.values()} == {network.of.other_routing}


def test_devices_can_be_taken_off_any_connection(network, file):
    bulk("run", file)

    done = bulk("run", file, "--action", "move", "--to-remote", "none", "--json")

    assert done.json["outcomes"] == {"moved": 4}
    assert {routing for _name, routing, _profile in network.of.devices.values()} == {None}


def test_bad_rows_are_all_named_and_nothing_is_asked(network, here):
    rows = [network.row(number) for number in range(4)]
    rows[0]["AppKey"] = "12"
    rows[2]["DevEUI"] = "xyz"

    done = bulk("run", write_csv(here / "bad.csv", rows), "--result", here / "result.csv")

    assert done.code == 1
    assert done.err.splitlines() == [
        "line 2, AppKey: A key must be 32 hexadecimal digits; this text has 2 characters.",
        "line 4, DevEUI: 'xyz' is not a DevEUI: it must be 16 hexadecimal digits.",
        "receiver: The file has 2 problems; nothing was sent.",
    ]
    assert not network.asked
    result = list(csv.DictReader((here / "result.csv").read_text().splitlines()))
    assert [(row["line"], row["outcome"]) for row in result] == [("2", "bad-row"), ("4", "bad-row")]


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("ConnectivityPlan", "no/plan", "connectivity plan"),
        ("DeviceProfile", "LORA/None", "device profile"),
        ("Routing", "TWA_1.99999.AS", "routing profile or connection"),
    ],
)
def test_what_the_network_does_not_have_stops_the_run_before_it_begins(network, here, column, value, what):
    rows = [network.row(number, **{column: value}) for number in range(3)]

    done = bulk("run", write_csv(here / "wrong.csv", rows))

    assert done.code == 1
    assert f"The network has no {what} '{value}' (line 2, 3, 4); it has: " in done.err
    assert done.err.endswith("Nothing was sent.\n")
    assert network.count("POST") == 0


def test_a_plan_without_room_stops_the_run_before_it_begins(network, file):
    network.of.set_granted(3)

    done = bulk("run", file)

    assert done.code == 1
    assert f"The connectivity plan {PLAN} has 3 free licences, and 4 are needed" in done.err
    assert network.count("POST") == 0


def test_a_plan_that_fills_up_meanwhile_stops_the_run_with_one_sentence(network, here):
    file = write_csv(here / "many.csv", [network.row(number) for number in range(40)])
    network.refuse("No more licenses in the plan", method="POST", path="/devices", times=100)

    done = bulk("run", file, "--at-once", "1")

    assert done.code == 1
    assert "No more licenses" in done.err
    assert network.count("POST") == 1
    assert bulk("show", "1", "--json").json["outcomes"] == {"planned": 40}


def test_wrong_credentials_are_one_sentence(engine, network, file):
    add_network_account(engine, network, "wrong", secret="wrong-secret")

    done = bulk("run", file, "--account", "wrong")

    assert done.code == 1
    assert done.err.count("\n") == 1
    assert bulk("list", "--json").json == []


def test_a_row_of_its_own_error_does_not_stop_the_others(network, file, here):
    network.refuse(network.of.exists, status=409, method="POST", path="/devices")

    done = bulk("run", file, "--at-once", "1", "--result", here / "result.ndjson")

    assert done.code == 1
    assert len(network.of.devices) == 3
    rows = [json.loads(line) for line in (here / "result.ndjson").read_text().splitlines()]
    assert [row["outcome"] for row in rows] == ["failed", "created", "created", "created"]
    assert next((row["line"], row["dev_eui"], row["action"]) for row in rows) == (2, dev_eui(0), "create")
    assert network.of.exists in rows[0]["error"]
    assert all(row["ref"] for row in rows[1:])


def test_failed_rows_are_tried_again_when_asked_for(network, file):
    network.refuse(network.of.exists, status=409, method="POST", path="/devices")
    bulk("run", file, "--at-once", "1")

    refused = bulk("resume", "1", file)
    done = bulk("resume", "1", file, "--failed", "--json")

    assert refused.err == ("receiver: Nothing of run 1 is left to be done. `--failed` tries its 1 failed rows again.\n")
    assert (done.code, done.json["outcomes"], done.json["state"]) == (0, {"created": 4}, "done")


def test_the_same_words_for_each_device_stop_the_run(network, here):
    file = write_csv(here / "many.csv", [network.row(number) for number in range(60)])
    network.refuse("The tides are wrong", method="POST", path="/devices", times=100)

    done = bulk("run", file, "--at-once", "1", "--json")

    assert done.code == 1
    assert done.json["stop_reason"].startswith("20 devices in a row were refused with the same words: ")
    assert done.json["outcomes"] == {"failed": 20, "planned": 40}


def test_another_file_does_not_go_on_with_a_run(network, here, file):
    network.refuse("No more licenses", method="POST", path="/devices", times=100)
    bulk("run", file)
    other = write_csv(here / "other.csv", [network.row(number) for number in range(1, 5)])

    done = bulk("resume", "1", other)

    assert done.code == 1
    assert "This is not the file that run 1 was begun with (devices.csv)" in done.err


def test_no_key_is_anywhere_but_at_the_network(engine, network, file, here, capfd, caplog):
    echo = f"The application key {app_key(0).upper()} is too weak"
    network.refuse(echo, method="POST", path="/devices")

    done = bulk("run", file, "--at-once", "1", "--result", here / "result.csv")

    everywhere = [done.out, done.err, (here / "result.csv").read_text(), caplog.text, *capfd.readouterr()]
    with engine.connect() as connection:
        for table in ("device_runs", "device_run_rows", "devices"):
            everywhere += [str(tuple(row)) for row in connection.execute(text(f"SELECT * FROM {table}"))]  # noqa: S608 - a constant
    assert "The application key … is too weak" in "".join(everywhere)
    for number in range(4):
        assert app_key(number) not in "".join(everywhere).lower()


def test_a_result_is_not_written_over_the_file_of_devices(file, here):
    for arguments, said in (
        (("--result", file), "is the file of devices itself"),
        (("--result", here / "result.xlsx"), "must end in .csv, .ndjson or .jsonl"),
        (("--result", here / "none" / "result.csv"), "there is no directory"),
    ):
        done = bulk("run", file, *arguments)
        assert (done.code, said in done.err) == (1, True)
    (here / "there.csv").write_text("mine")
    assert "is there already" in bulk("run", file, "--result", here / "there.csv").err
    assert bulk("run", file, "--result", here / "there.csv", "--overwrite").code == 0


def test_runs_are_listed_with_the_newest_first(file):
    bulk("run", file)
    bulk("run", file, "--action", "delete")

    found = bulk("list", "--json").json

    assert [(run["id"], run["action"], run["rows"], run["open"], run["failed"]) for run in found] == [
        (2, "delete", 4, 0, 0),
        (1, "create", 4, 0, 0),
    ]
    assert bulk("show", "9").err == "receiver: There is no run 9: `receiver bulk list` shows those there are.\n"


def test_what_is_the_same_for_all_is_given_once(network, here):
    rows = [network.row(number) for number in range(2)]
    for row in rows:
        del row["DeviceProfile"], row["ConnectivityPlan"], row["Routing"]
    file = write_csv(here / "short.csv", rows)

    done = bulk(
        *("run", file, "--set", f"DeviceProfile={network.of.profile}", "--set", f"plan={PLAN}"),
        *("--to-remote", network.of.routing),
    )

    assert (done.code, done.err) == (0, "")
    assert bulk("run", file, "--set", f"AppKey={app_key(1)}").err.startswith(
        "receiver: 'AppKey' cannot be set for all rows"
    )


def test_a_connection_that_was_not_set_up_from_here_is_not_moved_to(file):
    done = bulk("run", file, "--to", "field")

    assert done.code == 1
    assert "The connection 'field' was not set up with the account test from here" in done.err


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_template_is_printed_for_either_network(network, form):
    done = bulk("template", "--surface", network.of.surface, "--format", form)

    assert done.code == 0
    assert "DevEUI" in done.out
