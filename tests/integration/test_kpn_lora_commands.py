"""The commands of `receiver kpn-lora`, against a simulated KPN LoRa. Their accounts have a test file of their own."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest
import typer
from typer.testing import CliRunner

from receiver.cli import kpn_lora
from receiver.simulator.management_kpn_lora_alarms import SimulatedFrame
from receiver.thingpark.as_transport_key import parse_wrapped_key, unwrap_as_transport_key
from tests.integration.kpn_lora_use import (
    ADDRESS,
    APP_KEY,
    AS_ID,
    AS_KEY,
    DEVICE_PROFILE,
    NOW,
    PLAN,
    Commands,
    add_account,
    kpn_site,
    rsa_pair,
    use_settings,
)

EUI = "0059AC0000170311"
CREATE_DEVICE = ("devices", "create", EUI, "--join-eui", "70B3D53260000003", "--plan", PLAN)
CREATE_DEVICE += ("--device-profile", DEVICE_PROFILE, "--app-key-file", "-")
CREATE_PROFILE = ("routing-profiles", "create", "field", "--url", ADDRESS, "--as-id", AS_ID, "--tunnel-key-file", "-")


@pytest.fixture
def settings(sqlite_template, tmp_path, monkeypatch):
    shutil.copy(sqlite_template, tmp_path / "receiver.db")
    use_settings(monkeypatch, tmp_path, f"sqlite:///{tmp_path / 'receiver.db'}")


@pytest.fixture
def site():
    with kpn_site() as site:
        yield site


@pytest.fixture
def command(settings, site):
    command = Commands(kpn_lora.app)
    add_account(command, site)
    return command


# --- the subscription


def test_plans_are_listed_with_what_is_free(command):
    [row] = command.json("plans", "list")

    assert (row["id"], row["grantedConnections"], row["usedConnections"]) == (PLAN, 1000, 0)
    table = command("plans", "list")
    assert [word for word in ("granted", "free", PLAN, "1000") if word not in table] == []


def test_device_profiles_and_hsm_groups_are_listed(command):
    assert DEVICE_PROFILE in [row["id"] for row in command.json("device-profiles", "list")]
    assert DEVICE_PROFILE in command("device-profiles", "list")
    assert command.json("hsm-groups", "list") == [{"id": "HSM_KPN-OPE.1", "name": "HSM_KPN-OPE.1"}]
    assert "HSM_KPN-OPE.1" in command("hsm-groups", "list")


@pytest.mark.parametrize(
    ("group", "named", "id_"),
    [
        ("plans", PLAN, PLAN),
        ("plans", "600", PLAN),
        ("device-profiles", "LoRaWAN class C", "LORA/GenericC.1_ETSI_Rx2-SF9"),
        ("hsm-groups", "HSM_KPN-OPE.1", "HSM_KPN-OPE.1"),
    ],
)
def test_one_of_what_there_is_is_shown_by_its_id_or_name(command, group, named, id_):
    assert command.json(group, "show", named)["id"] == id_
    assert id_ in command(group, "show", named)


@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        ("plans", "The network has no connectivity plan 'other'; there are: kpn-ope-cs/often."),
        (
            "device-profiles",
            "The network has no device profile 'other'; there are: CUSTOM/Static V 1.0 Class A (Static",
        ),
        ("hsm-groups", "The network has no HSM group 'other'; there are: HSM_KPN-OPE.1."),
    ],
)
def test_what_is_not_there_is_told_with_what_is(command, group, sentence):
    assert sentence in command.sentence(group, "show", "other")


def test_a_project_is_activated(settings):
    with kpn_site(is_activated=False) as site:
        command = Commands(kpn_lora.app)
        add_account(command, site)

        assert "receiver kpn-lora activate" in command.sentence("plans", "list")
        shown = command("activate", "--username", "someone@example.nl", typed="password\n")

        assert shown == "The project is activated (activated).\n"
        assert command.json("plans", "list")


def test_a_wrong_password_is_told_and_not_shown(command):
    sentence = command.sentence("activate", "--username", "someone@example.nl", typed="wrong-password\n")

    assert "check user name and password" in sentence
    assert "wrong-password" not in sentence


# --- routing profiles


def test_a_routing_profile_is_created_listed_shown_and_deleted(command):
    made = command.json(*CREATE_PROFILE, typed=AS_KEY)

    assert made["routes"][0] == {
        "sourcePorts": "*",
        "strategy": "SEQUENTIAL",
        "contentType": "JSON",
        "asId": AS_ID,
        "addresses": [ADDRESS],
    }
    assert command.json("routing-profiles", "list") == [made]
    for named in (made["ref"], made["id"], "field"):
        assert command.json("routing-profiles", "show", named) == made
    assert ADDRESS in command("routing-profiles", "show", "field")
    assert command("routing-profiles", "delete", "field", "--yes") == f"field ({made['id']}) is deleted.\n"
    assert command.json("routing-profiles", "list") == []


def test_a_wrapped_key_is_shown_once_with_what_to_do(command, site, tmp_path):
    private_key, pem = rsa_pair()
    (tmp_path / "public.pem").write_text(pem)

    shown = command(*CREATE_PROFILE, "--public-key-file", "public.pem", typed=AS_KEY)

    [line] = [line for line in shown.splitlines() if line.startswith("rsaEncryptedASKey")]
    [profile] = site.kpn.profiles.values()
    assert unwrap_as_transport_key(private_key, parse_wrapped_key(line.split()[1])) == profile.as_transport_key
    assert "receiver as-key import NAME --wrapped HEX" in shown
    assert AS_KEY not in shown


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("-----BEGIN PRIVATE KEY-----x", "must begin with -----BEGIN PUBLIC KEY-----"),
        ("é", "is not PEM"),
        ("x" * 20_000, "is larger than"),
    ],
)
def test_a_file_that_is_no_public_key_is_not_sent(command, site, tmp_path, text, sentence):
    (tmp_path / "public.pem").write_text(text, encoding="utf-8")

    assert sentence in command.sentence(*CREATE_PROFILE, "--public-key-file", "public.pem", typed=AS_KEY)
    assert site.asked() == []


def test_a_dry_run_shows_the_request_and_sends_nothing(command, site):
    shown = command(*CREATE_PROFILE, "--dry-run", typed=AS_KEY)

    assert f"POST {site.base_url}/routingProfiles" in shown
    assert ADDRESS in shown
    assert AS_KEY not in shown
    assert site.asked("POST") == []


def test_a_name_that_is_taken_is_not_asked_for(command, site):
    command(*CREATE_PROFILE, typed=AS_KEY)

    assert "There is a routing profile named field already" in command.sentence(*CREATE_PROFILE, typed=AS_KEY)
    assert len(site.asked("POST")) == 1


def test_a_profile_that_is_not_there_is_told_with_those_that_are(command):
    command(*CREATE_PROFILE, typed=AS_KEY)

    told = command.sentence("routing-profiles", "show", "other")

    assert "The network has no routing profile 'other'; there are: TWA_100001135." in told
    assert told.endswith("(field).")


@pytest.mark.parametrize(("answer", "is_deleted"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_deletion_asks_first(command, site, answer, is_deleted):
    command(*CREATE_PROFILE, typed=AS_KEY)

    command.runner.invoke(command.app, ["routing-profiles", "delete", "field"], input=answer)

    assert (not site.kpn.profiles) is is_deleted


# --- devices


def test_a_device_is_created_listed_shown_changed_and_deleted(command, site):
    profile = command.json(*CREATE_PROFILE, typed=AS_KEY)

    made = command.json(*CREATE_DEVICE, "--routing-profile", "field", "--name", "sensor", typed=APP_KEY)

    assert (made["EUI"], made["routingProfileId"], made["hsmGroupId"]) == (EUI, profile["id"], "HSM_KPN-OPE.1")
    assert site.kpn.device_of(EUI).app_key.reveal().hex() == APP_KEY
    assert [row["name"] for row in command.json("devices", "list")] == ["sensor"]
    assert EUI in command("devices", "list", "--long")
    changed = command.json("devices", "set", EUI, "--name", "other", "--strategy", "noas")
    assert (changed["name"], changed["processingStrategyId"]) == ("other", "NOAS")
    assert "other" in command("devices", "show", EUI.lower())
    assert command("devices", "delete", EUI, "--yes") == f"{EUI} is deleted at KPN.\n"
    assert f"There is no device {EUI} in this subscription" in command.sentence("devices", "show", EUI)


def test_an_app_key_can_come_from_a_file_and_is_nowhere_shown(command, site, tmp_path):
    (tmp_path / "key").write_text(APP_KEY.upper())

    arguments = [*CREATE_DEVICE[:-1], "key", "--strategy", "NOAS"]
    shown = command(*arguments, "--dry-run") + command(*arguments)

    assert APP_KEY not in shown.lower()
    assert site.kpn.device_of(EUI).app_key.reveal().hex() == APP_KEY


@pytest.mark.parametrize("key", ["", "too short", "g" * 32])
def test_an_app_key_that_is_none_is_not_sent(command, site, key):
    sentence = command.sentence(*CREATE_DEVICE, "--strategy", "NOAS", typed=key)

    assert key == "" or key not in sentence
    assert site.asked() == []


@pytest.mark.parametrize("routing", [(), ("--strategy", "NOAS", "--routing-profile", "field")])
def test_a_device_needs_one_routing(command, site, routing):
    assert "--strategy" in command.wrong_usage(*CREATE_DEVICE, *routing, typed=APP_KEY)
    assert site.asked() == []


def test_a_plan_without_room_is_told_before_the_device_is_asked_for(settings):
    with kpn_site(plans=((PLAN, 0),)) as site:
        command = Commands(kpn_lora.app)
        add_account(command, site)

        sentence = command.sentence(*CREATE_DEVICE, "--strategy", "NOAS", typed=APP_KEY)

    assert "has 0 free of 0 licences" in sentence
    assert site.asked("POST") == []


def test_plan_and_routing_of_a_device_can_be_taken_away(command, site):
    command(*CREATE_PROFILE, typed=AS_KEY)
    command(*CREATE_DEVICE, "--routing-profile", "field", typed=APP_KEY)

    changed = command.json("devices", "set", EUI, "--plan", "none", "--routing-profile", "none")

    assert not {"connectivityPlanId", "routingProfileId"} & set(changed)
    assert site.kpn.asked[-2].json == {"routingProfileId": "reset", "connectivityPlanId": "reset"}


def test_nothing_to_change_is_told(command):
    command(*CREATE_DEVICE, "--strategy", "NOAS", typed=APP_KEY)

    assert command.sentence("devices", "set", EUI) == "Nothing of the device is to change."


def test_a_dev_eui_that_is_none_is_told(command, site):
    assert "is not a DevEUI" in command.sentence("devices", "show", "abc")
    assert site.asked() == []


# --- alarms and statistics


def test_alarms_are_listed_shown_and_acknowledged(command, site):
    command(*CREATE_DEVICE, "--strategy", "NOAS", typed=APP_KEY)
    alarm = site.kpn.add_alarm(EUI, 4, "MAJOR", ("2 h",))

    [row] = command.json("alarms", "list", "--device", EUI)
    table = command("alarms", "list")
    done = command("alarms", "ack", alarm.ref)

    assert (row["ref"], row["deviceAlarmTypeId"]) == (alarm.ref, 4)
    assert "no uplink activity" in table
    assert done == f"{alarm.ref} is acknowledged.\n"
    assert command.json("alarms", "show", alarm.ref)["acked"] is True
    assert "acked" in command("alarms", "show", alarm.ref)


def test_statistics_of_frames_are_listed(command, site):
    command(*CREATE_DEVICE, "--strategy", "NOAS", typed=APP_KEY)
    for hours in (1, 2, 30):
        site.kpn.add_frame(SimulatedFrame(EUI, NOW + timedelta(hours=hours), is_up=True, payload_bytes=8))

    rows = command.json("frames", "list", EUI, "--since", NOW.isoformat(), "--days", "1", "--step", "24")

    assert sum(row["frameCount"] for row in rows) == 2
    assert "UPLINK" in command("frames", "list")


def test_health_is_shown(command):
    assert command.json("health") == {"initCount": 0, "activeCount": 0, "rfConnectionErrorCount": 0, "totalCount": 0}
    assert "rf_connection_error" in command("health")


def test_the_group_can_be_put_into_another():
    app = typer.Typer()
    app.add_typer(kpn_lora.app, name="kpn-lora")

    assert CliRunner().invoke(app, ["kpn-lora", "devices", "--help"]).exit_code == 0
