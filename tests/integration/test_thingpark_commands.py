"""`receiver thingpark …` as a person starts it, against a simulated ThingPark."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from receiver.cli import thingpark as thingpark_commands
from receiver.errors import (
    ConflictError,
    IdentifierError,
    LoginRefusedError,
    NotFoundError,
    PlatformRefusedError,
    SettingsError,
)
from receiver.simulator.management_thingpark import CLIENT_SECRET
from receiver.simulator.management_thingpark_book import SimulatedFrame
from tests.integration.thingpark_use import (
    APP_KEY,
    DEV_EUI,
    MODEL,
    NOW,
    OTHER_KEY,
    TUNNEL_KEY,
    URL,
    site_on_a_port,
)

GROUP = "70B3D57ED0FF0001"
SIM = "89310123456789012345"


@pytest.fixture
def site():
    with site_on_a_port() as site:
        yield site


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command within this process; give its output, and let what it refuses be raised."""
    monkeypatch.setenv("RECEIVER_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments, typed=None):
        done = CliRunner().invoke(thingpark_commands.app, list(arguments), input=typed)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


@pytest.fixture
def thingpark(run, site):
    """The same, with an account at the simulated ThingPark."""
    settings = site.thingpark.settings(site.server.origin)
    client_id = settings.pop("client_id")
    named = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    done = run("account", "add", "local", "--client-id", client_id, *named, typed=f"{CLIENT_SECRET}\n")
    assert done.exit_code == 0, done.output
    return run


def as_json(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def connection(thingpark, name="field"):
    arguments = ("connections", "create", name, "--url", URL, "--tunnel-key-file", "-", "--json")
    return as_json(thingpark(*arguments, typed=TUNNEL_KEY))


def device(thingpark, dev_eui=DEV_EUI, *more):
    arguments = ("devices", "create", dev_eui, "--model", MODEL, "--json", *more)
    return as_json(thingpark(*arguments, typed=APP_KEY))


# --- account and catalogue


def test_without_an_account_the_sentence_says_how_to_make_one_known(run):
    with pytest.raises(NotFoundError, match="account add NAME"):
        run("subscription", "show")


def test_the_subscription_is_shown(thingpark):
    shown = thingpark("subscription", "show").stdout

    assert "199983788" in shown
    assert "by ThingPark (BASIC)" in shown


def test_a_wrong_secret_is_told_in_one_sentence(run, site):
    settings = site.thingpark.settings(site.server.origin)
    client_id = settings.pop("client_id")
    named = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    run("account", "add", "local", "--client-id", client_id, *named, typed="another-secret\n")

    with pytest.raises(LoginRefusedError, match="client id and secret"):
        run("subscription", "show")


@pytest.mark.parametrize(
    ("group", "options", "word"),
    [
        ("device-profiles", ["--connectivity", "lorawan"], MODEL),
        ("network-subscriptions", ["--connectivity", "CELLULAR"], "acme-cs/cellular-cp"),
        ("network-contexts", [], "1AF3B"),
        ("connections", [], "Nothing to show"),
        ("devices", [], "Nothing to show"),
        ("multicast", [], "Nothing to show"),
        ("alarms", [], "Nothing to show"),
        ("iot-flow", [], "Nothing to show"),
    ],
)
def test_each_list_has_a_table_and_json(thingpark, group, options, word):
    assert word in thingpark(group, "list", *options).stdout
    assert isinstance(as_json(thingpark(group, "list", *options, "--json")), list)


# --- connections


def test_a_connection_is_created_shown_changed_and_deleted(thingpark, site):
    made = connection(thingpark)

    shown = thingpark("connections", "show", made["ID"]).stdout
    assert URL in shown
    assert TUNNEL_KEY not in shown
    assert "DEACTIVATED" in thingpark("connections", "set", "field", "--deactivated").stdout
    assert "is deleted" in thingpark("connections", "delete", "field", "--yes").stdout
    assert not site.book.app_servers


def test_a_connection_is_shown_as_json_as_it_came(thingpark):
    made = connection(thingpark)

    assert as_json(thingpark("connections", "show", "field", "--json")) == made


def test_a_dry_run_shows_the_request_without_the_key_and_sends_nothing(thingpark, site):
    done = thingpark(
        "connections", "create", "field", "--url", URL, "--tunnel-key-file", "-", "--dry-run", typed=TUNNEL_KEY
    )

    assert "POST " in done.stdout
    assert "Nothing was sent" in done.stdout
    assert TUNNEL_KEY not in done.stdout
    assert not site.thingpark.asked


@pytest.mark.parametrize("options", [(), ("--unsigned", "--tunnel-key-file", "-")])
def test_a_connection_is_signed_or_said_not_to_be(thingpark, options):
    assert thingpark("connections", "create", "field", "--url", URL, *options, typed=TUNNEL_KEY).exit_code == 2


def test_a_key_that_is_none_is_refused_and_not_shown(thingpark):
    with pytest.raises(IdentifierError) as refused:
        thingpark("connections", "create", "x", "--url", URL, "--tunnel-key-file", "-", typed="not-a-key-at-all")
    assert "not-a-key" not in str(refused.value)


def test_another_key_is_set(thingpark, site):
    made = connection(thingpark)

    done = thingpark("connections", "set-key", "field", typed=OTHER_KEY)

    assert "another tunnel key" in done.stdout
    assert OTHER_KEY not in done.stdout
    assert site.resources.app_server(made["ID"]).tunnel_key == OTHER_KEY


def test_a_taken_name_is_refused(thingpark):
    connection(thingpark)

    with pytest.raises(ConflictError, match="choose another name"):
        connection(thingpark)


def test_a_connection_that_is_not_there_is_told_so(thingpark):
    with pytest.raises(NotFoundError, match="no connection named 'other'"):
        thingpark("connections", "show", "other")


def test_a_deletion_is_asked_about(thingpark, site):
    made = connection(thingpark)
    device(thingpark, DEV_EUI, "--connection", made["ID"])

    done = thingpark("connections", "delete", "field", typed="n\n")

    assert done.exit_code == 1
    assert "1 devices have it" in done.output
    assert len(site.book.app_servers) == 1


# --- IoT Flow


def iot_flow(thingpark, name="mqtt"):
    settings = ("--set", "hostName=broker.example.org:8883", "--set", "protocol=SSL", "--set", "createDevices=false")
    arguments = ("iot-flow", "create", name, *settings, "--secret", "password=-", "--json")
    return as_json(thingpark(*arguments, typed="broker-password\n"))


def test_an_iot_flow_connection_is_created_shown_and_deleted(thingpark, site):
    made = iot_flow(thingpark)

    assert made["id"] == "1114"
    sent = site.last("POST").json["configuration"]
    assert sent == {
        "hostName": "broker.example.org:8883",
        "protocol": "SSL",
        "createDevices": False,
        "password": "broker-password",
    }
    shown = thingpark("iot-flow", "show", "mqtt").stdout
    assert "broker.example.org" in shown
    assert "broker-password" not in shown
    assert "OPENED" in thingpark("iot-flow", "list").stdout
    assert "is deleted" in thingpark("iot-flow", "delete", "1114", "--yes").stdout
    assert not site.thingpark.dx_core.connections


def test_a_configuration_may_come_from_a_file(thingpark, site, tmp_path):
    file = tmp_path / "configuration.json"
    file.write_text('{"destinationURL": "https://receiver.example.org/x"}')

    thingpark("iot-flow", "create", "http", "--connector", "actility-http-iot", "--configuration", str(file))

    assert site.last("POST").json["configuration"] == {"destinationURL": "https://receiver.example.org/x"}


@pytest.mark.parametrize("text", ["[1]", "{", "\x00"])
def test_a_file_that_is_no_configuration_is_refused(thingpark, tmp_path, text):
    file = tmp_path / "configuration.json"
    file.write_text(text)

    with pytest.raises(SettingsError, match="configuration file"):
        thingpark("iot-flow", "create", "http", "--configuration", str(file))


def test_a_change_of_an_iot_flow_connection_needs_its_secrets_anew(thingpark, site):
    iot_flow(thingpark)

    with pytest.raises(SettingsError, match="password"):
        thingpark("iot-flow", "set", "mqtt", "--set", "hostName=other.example.org:8883")
    thingpark(
        "iot-flow", "set", "mqtt", "--set", "hostName=other.example.org:8883", "--secret", "password=-", typed="new\n"
    )

    kept = site.thingpark.dx_core.connections["1114"].configuration
    assert (kept["hostName"], kept["password"], kept["protocol"]) == ("other.example.org:8883", "new", "SSL")


def test_a_dry_run_of_iot_flow_shows_no_secret(thingpark, site):
    done = thingpark(
        "iot-flow", "create", "x", "--secret", "password=-", "--dry-run", "--json", typed="broker-password\n"
    )

    assert as_json(done)["sent"] is False
    assert "broker-password" not in done.stdout
    assert not site.thingpark.asked


def test_the_kinds_of_iot_flow_connections_are_listed(thingpark):
    assert "actility-mqtt-iot" in thingpark("iot-flow", "connectors", "list").stdout


def test_a_secret_without_a_name_is_refused_and_not_shown(thingpark):
    with pytest.raises(SettingsError) as refused:
        thingpark("iot-flow", "create", "x", "--set", "=very-secret")
    assert "very-secret" not in str(refused.value)


# --- devices


def test_a_device_is_created_with_its_connection_and_shown(thingpark, site):
    there = connection(thingpark)
    made = device(thingpark, DEV_EUI, "--name", "Meter", "--connection", there["ID"])

    assert (made["EUI"], made["appServers"][0]["ID"]) == (DEV_EUI, there["ID"])
    assert APP_KEY not in json.dumps(made)
    assert site.resources.device(DEV_EUI).app_key == APP_KEY
    assert "Meter" in thingpark("devices", "show", DEV_EUI.lower()).stdout
    assert "Meter" in thingpark("devices", "list", "--connection", there["ID"]).stdout
    assert "Nothing to show" in thingpark("devices", "list", "--name", "Valve").stdout


def test_an_abp_device_is_created_with_its_session_keys(thingpark, site):
    arguments = ("devices", "create", DEV_EUI, "--model", MODEL, "--dev-addr", "0070C5BB", "--session-keys-file", "-")

    assert "ABP" in thingpark(*arguments, typed=f"{TUNNEL_KEY}\n{OTHER_KEY}\n").stdout
    assert site.resources.device(DEV_EUI).keys["nwKey"] == TUNNEL_KEY


def test_an_abp_device_needs_two_keys(thingpark):
    with pytest.raises(SettingsError, match="Two keys"):
        thingpark("devices", "create", DEV_EUI, "--model", MODEL, "--dev-addr", "0070C5BB", typed=TUNNEL_KEY)


def test_an_external_join_server_needs_a_join_eui(thingpark):
    arguments = ("devices", "create", DEV_EUI, "--model", MODEL, "--external-join-server")

    with pytest.raises(SettingsError, match="external join server"):
        thingpark(*arguments)
    assert thingpark(*arguments, "--join-eui", "70B3D57ED0000001").exit_code == 0


def test_a_device_that_is_there_is_refused_with_what_to_do(thingpark):
    device(thingpark)

    with pytest.raises(PlatformRefusedError, match="already"):
        device(thingpark)


def test_a_dry_run_of_a_device_shows_no_key(thingpark, site):
    done = thingpark("devices", "create", DEV_EUI, "--model", MODEL, "--dry-run", typed=APP_KEY)

    assert DEV_EUI in done.stdout
    assert APP_KEY not in done.stdout
    assert not site.thingpark.asked


def test_a_device_is_changed_suspended_and_deleted(thingpark, site):
    there = connection(thingpark)
    device(thingpark, DEV_EUI, "--connection", there["ID"])

    assert "Other" in thingpark("devices", "set", DEV_EUI, "--name", "Other", "--connection", "none").stdout
    assert site.resources.device(DEV_EUI).app_server_ids == ()
    assert "SUSPENDED" in thingpark("devices", "set", DEV_EUI, "--suspended").stdout
    assert "is deleted" in thingpark("devices", "delete", DEV_EUI, "--yes").stdout
    with pytest.raises(NotFoundError, match=DEV_EUI):
        thingpark("devices", "show", DEV_EUI)


def test_a_change_of_nothing_is_refused(thingpark):
    device(thingpark)

    with pytest.raises(ConflictError, match="nothing to change"):
        thingpark("devices", "set", DEV_EUI)


def test_a_cellular_device_is_created(thingpark):
    options = ("--model", "CUSTOM/LTE_Dongle", "--plan", "acme-cs/cellular-cp", "--network-context", "1AF3B")

    made = as_json(thingpark("devices", "create-cellular", SIM, *options, "--imei", "123456789012347", "--json"))

    assert (made["EUI"], made["sim"]["ID"]) == ("F03D290000000001", SIM)


def test_the_traffic_of_a_device_is_a_table_of_days(thingpark, site):
    device(thingpark)
    for hours in (1, 2, 30):
        site.resources.add_frame(DEV_EUI, SimulatedFrame(NOW - timedelta(hours=hours), 0, 12))

    done = thingpark("devices", "traffic", DEV_EUI, "--since", "2026-11-15", "--timezone", "Europe/Amsterdam")

    assert site.last("GET").query["step"] == "P1D"
    days = [line.split()[:3] for line in done.stdout.splitlines() if "2026-" in line]
    assert days == [["2026-11-19", "00:00+0100", "1"], ["2026-11-20", "00:00+0100", "2"]]
    assert len(as_json(thingpark("devices", "traffic", DEV_EUI, "--since", "2026-11-15", "--json"))) == 2


def test_a_time_zone_that_there_is_not_is_wrong_usage(thingpark):
    assert thingpark("devices", "traffic", DEV_EUI, "--timezone", "../Mars").exit_code == 2


# --- multicast groups and alarms


def test_a_multicast_group_is_created_shown_and_deleted(thingpark, site):
    options = ("--dev-addr", "785D25E2", "--name", "Valves", "--data-rate", "5", "--frequency", "869.525")
    made = as_json(
        thingpark("multicast", "create", GROUP, *options, "--tag", "north", "--json", typed=f"{TUNNEL_KEY} {OTHER_KEY}")
    )

    assert made["EUI"] == GROUP
    assert TUNNEL_KEY not in json.dumps(made)
    assert site.last("POST").json["bss"] == {"tags": [{"name": "north", "namespace": "OPERATOR"}]}
    assert "Valves" in thingpark("multicast", "show", GROUP).stdout
    assert "Valves" in thingpark("multicast", "list").stdout
    assert "is deleted" in thingpark("multicast", "delete", GROUP, "--yes").stdout
    assert "has no multicast group" in thingpark("multicast", "delete", GROUP, "--yes").stdout


def test_a_multicast_group_needs_two_keys(thingpark):
    with pytest.raises(SettingsError, match="Two keys"):
        thingpark("multicast", "create", GROUP, "--dev-addr", "785D25E2", typed=TUNNEL_KEY)


def test_alarms_are_listed_by_name_and_acknowledged(thingpark, site):
    device(thingpark)
    uid = site.resources.raise_alarm(DEV_EUI, 4, 5, ("48",))

    assert "no uplink activity" in thingpark("alarms", "list").stdout
    assert "1 alarm acknowledged" in thingpark("alarms", "ack", uid).stdout
    assert "Nothing to show" in thingpark("alarms", "list", "--open").stdout
    assert as_json(thingpark("alarms", "list", "--device", DEV_EUI, "--json"))[0]["acked"] is True


def test_an_alarm_that_is_not_there_is_refused(thingpark):
    with pytest.raises(PlatformRefusedError, match="Alarm not found"):
        thingpark("alarms", "ack", "0" * 24)
