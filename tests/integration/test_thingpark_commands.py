"""`receiver thingpark …` as a person starts it, against a simulated ThingPark.

What the Device Manager API has is asked for by `receiver device-manager …` as well: in sessions, with JSON and XML.
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from receiver.cli import device_manager as device_manager_commands
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
    LOGIN,
    MODEL,
    NOW,
    OTHER_KEY,
    PASSWORD,
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

    def run(*arguments, typed=None, of=thingpark_commands):
        done = CliRunner().invoke(of.app, list(arguments), input=typed)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


@pytest.fixture
def thingpark(run, site):
    """The same, with an account at the simulated ThingPark."""
    settings = site.thingpark.settings(site.server.origin)
    add_account(run, settings, "--client-id", settings.pop("client_id"), typed=CLIENT_SECRET)
    return run


@pytest.fixture(params=["token", "session", "session-xml"])
def network(request, run, site):
    """The same for what two groups of commands have: under `thingpark`, and under `device-manager` by a login."""
    if request.param == "token":
        yield request.getfixturevalue("thingpark")
        return
    settings = site.login_settings(answers="xml" if request.param == "session-xml" else "json")
    add_account(run, settings, "--login", LOGIN, typed=PASSWORD, of=device_manager_commands)
    yield lambda *arguments, typed=None: run(*arguments, typed=typed, of=device_manager_commands)
    assert not site.thingpark.asked
    assert site.manager.sessions == 0


def add_account(run, settings, *own, typed, of=thingpark_commands):
    named = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    done = run("account", "add", "local", *own, *named, typed=f"{typed}\n", of=of)
    assert done.exit_code == 0, done.output


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


def test_the_subscription_is_shown(network):
    shown = network("subscription", "show").stdout

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
        ("routing-profiles", [], "Nothing to show"),
        ("devices", [], "Nothing to show"),
        ("multicast", [], "Nothing to show"),
        ("alarms", [], "Nothing to show"),
    ],
)
def test_each_list_has_a_table_and_json(network, group, options, word):
    assert word in network(group, "list", *options).stdout
    assert isinstance(as_json(network(group, "list", *options, "--json")), list)


@pytest.mark.parametrize(
    ("group", "named", "word"),
    [
        ("device-profiles", MODEL, "LoRaWAN 1.0.4 revA - class A"),
        ("device-profiles", "LoRaWAN 1.0.4 revA - class A", MODEL),
        ("network-subscriptions", "acme-cs/cellular-cp", "Cellular CP"),
        ("network-subscriptions", "98", "acme-cs/cellular-cp"),
        ("network-contexts", "My cellular network context", "1AF3B"),
    ],
)
def test_what_there_is_to_choose_from_is_shown_by_its_id_or_name(network, group, named, word):
    assert word in network(group, "show", named).stdout
    assert isinstance(as_json(network(group, "show", named, "--json")), dict)


@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        ("device-profiles", f"no device profile 'other'; there are: .*{MODEL} \\("),
        ("network-subscriptions", "no connectivity plan 'other'; there are: acme-cs/basic"),
        ("network-contexts", "no network context 'other'; there are: 1AF3B"),
    ],
)
def test_what_is_not_there_to_choose_is_told_with_what_is(network, group, sentence):
    with pytest.raises(NotFoundError, match=sentence):
        network(group, "show", "other")


def test_of_several_plans_of_one_name_the_id_is_to_be_given(network, site):
    site.book.plans[0].name = site.book.plans[1].name

    with pytest.raises(ConflictError, match=r"say which by its id \(acme-cs/basic \(.*acme-cs/geo"):
        network("network-subscriptions", "show", site.book.plans[0].name)


# --- connections


def test_a_connection_is_created_shown_changed_and_deleted(network, site):
    made = connection(network)

    shown = network("connections", "show", made["ID"]).stdout
    assert URL in shown
    assert TUNNEL_KEY not in shown
    assert "DEACTIVATED" in network("connections", "set", "field", "--deactivated").stdout
    assert "is deleted" in network("connections", "delete", "field", "--yes").stdout
    assert not site.book.app_servers


def test_a_connection_is_shown_as_json_as_it_came(network):
    made = connection(network)

    assert as_json(network("connections", "show", "field", "--json")) == made


def test_a_dry_run_shows_the_request_without_the_key_and_sends_nothing(network, site):
    done = network(
        "connections", "create", "field", "--url", URL, "--tunnel-key-file", "-", "--dry-run", typed=TUNNEL_KEY
    )

    assert "POST " in done.stdout
    assert "Nothing was sent" in done.stdout
    assert TUNNEL_KEY not in done.stdout
    assert not site.sent()


@pytest.mark.parametrize("options", [(), ("--unsigned", "--tunnel-key-file", "-")])
def test_a_connection_is_signed_or_said_not_to_be(network, options):
    assert network("connections", "create", "field", "--url", URL, *options, typed=TUNNEL_KEY).exit_code == 2


def test_a_key_that_is_none_is_refused_and_not_shown(network):
    with pytest.raises(IdentifierError) as refused:
        network("connections", "create", "x", "--url", URL, "--tunnel-key-file", "-", typed="not-a-key-at-all")
    assert "not-a-key" not in str(refused.value)


def test_another_key_is_set(network, site):
    made = connection(network)

    done = network("connections", "set-key", "field", typed=OTHER_KEY)

    assert "another tunnel key" in done.stdout
    assert OTHER_KEY not in done.stdout
    assert site.resources.app_server(made["ID"]).tunnel_key == OTHER_KEY


def test_a_taken_name_is_refused(network):
    connection(network)

    with pytest.raises(ConflictError, match="choose another name"):
        connection(network)


def test_a_connection_that_is_not_there_is_told_so(network):
    with pytest.raises(NotFoundError, match="no connection named 'other'"):
        network("connections", "show", "other")


def test_a_deletion_is_asked_about(network, site):
    made = connection(network)
    device(network, DEV_EUI, "--connection", made["ID"])

    done = network("connections", "delete", "field", typed="n\n")

    assert done.exit_code == 1
    assert "1 devices have it" in done.output
    assert len(site.book.app_servers) == 1


# --- IoT Flow


def iot_flow(thingpark, name="mqtt"):
    settings = ("--set", "hostName=broker.example.org:8883", "--set", "protocol=SSL", "--set", "createDevices=false")
    arguments = ("iot-flow", "create", name, *settings, "--secret", "password=-", "--json")
    return as_json(thingpark(*arguments, typed="broker-password\n"))


def test_connections_of_iot_flow_are_listed_as_a_table_and_json(thingpark):
    assert "Nothing to show" in thingpark("iot-flow", "list").stdout
    assert as_json(thingpark("iot-flow", "list", "--json")) == []


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
    assert as_json(thingpark("iot-flow", "connectors", "show", "actility-mqtt-iot", "--json"))["version"] == "1"
    with pytest.raises(NotFoundError, match="no connector 'other'; there are: actility-http-iot"):
        thingpark("iot-flow", "connectors", "show", "other")


def test_a_secret_without_a_name_is_refused_and_not_shown(thingpark):
    with pytest.raises(SettingsError) as refused:
        thingpark("iot-flow", "create", "x", "--set", "=very-secret")
    assert "very-secret" not in str(refused.value)


# --- AS routing profiles


def test_a_routing_profile_is_created_shown_and_deleted(network, site):
    urls = ("--url", "https://one.example/push", "--url", "https://two.example/push")

    made = as_json(network("routing-profiles", "create", "field", *urls, "--json"))

    uid = made["ID"].rpartition(".")[2]
    assert "field" in network("routing-profiles", "list").stdout
    assert "https://one.example/push, https://two.example/push" in network("routing-profiles", "show", uid).stdout
    assert as_json(network("routing-profiles", "show", "field", "--json"))["name"] == "field"
    with pytest.raises(ConflictError, match="'field' already"):
        network("routing-profiles", "create", "field", *urls)
    assert network("routing-profiles", "delete", "field", typed="n\n").exit_code == 1
    assert len(site.book.routing_profiles) == 1
    assert "Routing profile field is deleted" in network("routing-profiles", "delete", uid, "--yes").stdout
    with pytest.raises(NotFoundError, match="no routing profile named 'field'"):
        network("routing-profiles", "show", "field")


def test_a_routing_profile_can_be_looked_at_before_it_is_sent(network, site):
    arguments = ("routing-profiles", "create", "field", "--url", "https://one.example", "--xml-destinations")

    shown = as_json(network(*arguments, "--dry-run", "--json"))["request"]

    assert "POST http" in shown
    assert "<destinations>" in shown
    assert not site.sent()


def test_a_routing_profile_may_be_given_whole(network, tmp_path):
    file = tmp_path / "profile.json"
    file.write_text('{"name":"other","routes":[{"sourcePort":"*"}],"isDefault":true}')

    made = as_json(network("routing-profiles", "create", "field", "--body-file", str(file), "--json"))

    assert (made["name"], str(made["isDefault"]).lower()) == ("field", "true")


@pytest.mark.parametrize("text", ["[1]", "{", "\x00"])
def test_a_file_that_is_no_routing_profile_is_refused(thingpark, tmp_path, text):
    file = tmp_path / "profile.json"
    file.write_text(text)

    with pytest.raises(SettingsError, match="body file"):
        thingpark("routing-profiles", "create", "field", "--body-file", str(file))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("field",), "at least one address"),
        (("field", "--url", "https://x", "--strategy", "FAST"), "'FAST' is no strategy"),
    ],
)
def test_a_routing_profile_that_cannot_be_is_not_sent(thingpark, site, arguments, told):
    with pytest.raises(SettingsError, match=told):
        thingpark("routing-profiles", "create", *arguments)
    assert not site.sent()


# --- devices


def test_a_device_is_created_with_its_connection_and_shown(network, site):
    there = connection(network)
    made = device(network, DEV_EUI, "--name", "Meter", "--connection", there["ID"])

    assert (made["EUI"], made["appServers"][0]["ID"]) == (DEV_EUI, there["ID"])
    assert APP_KEY not in json.dumps(made)
    assert site.resources.device(DEV_EUI).app_key == APP_KEY
    assert "Meter" in network("devices", "show", DEV_EUI.lower()).stdout
    assert "Meter" in network("devices", "list", "--connection", there["ID"]).stdout
    assert "Nothing to show" in network("devices", "list", "--name", "Valve").stdout


def test_an_abp_device_is_created_with_its_session_keys(network, site):
    arguments = ("devices", "create", DEV_EUI, "--model", MODEL, "--dev-addr", "0070C5BB", "--session-keys-file", "-")

    assert "ABP" in network(*arguments, typed=f"{TUNNEL_KEY}\n{OTHER_KEY}\n").stdout
    assert site.resources.device(DEV_EUI).keys["nwKey"] == TUNNEL_KEY


def test_an_abp_device_needs_two_keys(network):
    with pytest.raises(SettingsError, match="Two keys"):
        network("devices", "create", DEV_EUI, "--model", MODEL, "--dev-addr", "0070C5BB", typed=TUNNEL_KEY)


def test_an_external_join_server_needs_a_join_eui(network):
    arguments = ("devices", "create", DEV_EUI, "--model", MODEL, "--external-join-server")

    with pytest.raises(SettingsError, match="external join server"):
        network(*arguments)
    assert network(*arguments, "--join-eui", "70B3D57ED0000001").exit_code == 0


def test_a_device_that_is_there_is_refused_with_what_to_do(network):
    device(network)

    with pytest.raises(PlatformRefusedError, match="already"):
        device(network)


def test_a_dry_run_of_a_device_shows_no_key(network, site):
    done = network("devices", "create", DEV_EUI, "--model", MODEL, "--dry-run", typed=APP_KEY)

    assert DEV_EUI in done.stdout
    assert APP_KEY not in done.stdout
    assert not site.sent()


def test_a_device_is_changed_suspended_and_deleted(network, site):
    there = connection(network)
    device(network, DEV_EUI, "--connection", there["ID"])

    assert "Other" in network("devices", "set", DEV_EUI, "--name", "Other", "--connection", "none").stdout
    assert site.resources.device(DEV_EUI).app_server_ids == ()
    assert "SUSPENDED" in network("devices", "set", DEV_EUI, "--suspended").stdout
    assert "is deleted" in network("devices", "delete", DEV_EUI, "--yes").stdout
    with pytest.raises(NotFoundError, match=DEV_EUI):
        network("devices", "show", DEV_EUI)


def test_a_device_is_created_on_a_routing_profile_and_put_on_another(network):
    url = ("--url", "https://one.example", "--json")
    here, there = (as_json(network("routing-profiles", "create", name, *url))["ID"] for name in ("here", "there"))
    made = device(network, DEV_EUI, "--routing-profile", here)

    assert made["appServersRoutingProfile"]["ID"] == here
    assert here in network("devices", "show", DEV_EUI).stdout
    assert there in network("devices", "set", DEV_EUI, "--routing-profile", there).stdout


def test_a_device_has_connections_or_a_routing_profile(thingpark, site):
    more = ("--connection", "TWA_1.2.AS", "--routing-profile", "TWA_1.3")

    with pytest.raises(SettingsError, match="not both"):
        device(thingpark, DEV_EUI, *more)
    assert not site.sent()


def test_a_device_is_not_deleted_without_being_asked(network, site):
    device(network)

    assert network("devices", "delete", DEV_EUI, typed="n\n").exit_code == 1
    assert DEV_EUI in site.book.devices


def test_a_filter_goes_to_the_network_as_it_is(network, site):
    network("devices", "list", "--filter", "tag=north side")

    assert site.last("GET").query["tag"] == "north side"
    with pytest.raises(SettingsError, match="--filter NAME=VALUE"):
        network("devices", "list", "--filter", "tag")


def test_a_change_of_nothing_is_refused(network):
    device(network)

    with pytest.raises(ConflictError, match="nothing to change"):
        network("devices", "set", DEV_EUI)


def test_a_cellular_device_is_created(network):
    options = ("--model", "CUSTOM/LTE_Dongle", "--plan", "acme-cs/cellular-cp", "--network-context", "1AF3B")

    made = as_json(network("devices", "create-cellular", SIM, *options, "--imei", "123456789012347", "--json"))

    assert (made["EUI"], made["sim"]["ID"]) == ("F03D290000000001", SIM)


def test_the_traffic_of_a_device_is_a_table_of_days(network, site):
    device(network)
    for hours in (1, 2, 30):
        site.resources.add_frame(DEV_EUI, SimulatedFrame(NOW - timedelta(hours=hours), 0, 12))

    done = network("devices", "traffic", DEV_EUI, "--since", "2026-11-15", "--timezone", "Europe/Amsterdam")

    assert site.last("GET").query["step"] == "P1D"
    days = [line.split()[:3] for line in done.stdout.splitlines() if "2026-" in line]
    assert days == [["2026-11-19", "00:00+0100", "1"], ["2026-11-20", "00:00+0100", "2"]]
    assert len(as_json(network("devices", "traffic", DEV_EUI, "--since", "2026-11-15", "--json"))) == 2


def test_a_time_zone_that_there_is_not_is_wrong_usage(network):
    assert network("devices", "traffic", DEV_EUI, "--timezone", "../Mars").exit_code == 2


# --- multicast groups and alarms


def test_a_multicast_group_is_created_shown_and_deleted(network, site):
    options = ("--dev-addr", "785D25E2", "--name", "Valves", "--data-rate", "5", "--frequency", "869.525")
    made = as_json(
        network("multicast", "create", GROUP, *options, "--tag", "north", "--json", typed=f"{TUNNEL_KEY} {OTHER_KEY}")
    )

    assert made["EUI"] == GROUP
    assert TUNNEL_KEY not in json.dumps(made)
    assert site.last("POST").json["bss"] == {"tags": [{"name": "north", "namespace": "OPERATOR"}]}
    assert "Valves" in network("multicast", "show", GROUP).stdout
    assert "Valves" in network("multicast", "list").stdout
    assert "is deleted" in network("multicast", "delete", GROUP, "--yes").stdout
    assert "has no multicast group" in network("multicast", "delete", GROUP, "--yes").stdout


def test_a_multicast_group_needs_two_keys(network):
    with pytest.raises(SettingsError, match="Two keys"):
        network("multicast", "create", GROUP, "--dev-addr", "785D25E2", typed=TUNNEL_KEY)


def test_alarms_are_listed_by_name_and_acknowledged(network, site):
    device(network)
    uid = site.resources.raise_alarm(DEV_EUI, 4, 5, ("48",))

    assert "no uplink activity" in network("alarms", "list").stdout
    assert "no uplink activity" in network("alarms", "show", uid).stdout
    assert as_json(network("alarms", "show", uid, "--json"))["alarmUid"] == uid
    assert "1 alarm acknowledged" in network("alarms", "ack", uid).stdout
    assert "Nothing to show" in network("alarms", "list", "--open").stdout
    assert str(as_json(network("alarms", "list", "--device", DEV_EUI, "--json"))[0]["acked"]).lower() == "true"


def test_an_alarm_that_is_not_there_is_refused(network):
    with pytest.raises(PlatformRefusedError, match="Alarm not found"):
        network("alarms", "ack", "0" * 24)
    with pytest.raises(NotFoundError, match="no alarm 000000"):
        network("alarms", "show", "0" * 24)
