"""`receiver alarms`, as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from receiver.services.platform_accounts import set_account_secret
from receiver.simulator.management_http import LOST
from tests.integration.alarm_networks import network_with_devices
from tests.integration.alarm_use import DEVICE, ONLY_ALARMS, OTHER_DEVICE, Clock, alarms_of, run_polls
from tests.integration.command_line import CHECKOUT

# The groups, whether `receiver` has them by itself or not.
RECEIVER = """
from receiver.cli import alarms, main, traffic
for name, group in (("alarms", alarms), ("traffic", traffic)):
    if name not in [one.name for one in main.app.registered_groups]:
        main.app.add_typer(group.app, name=name)
main.main()
"""


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture
def thingpark(clock, engine, keyring):
    with network_with_devices("thingpark", clock, engine, keyring) as network:
        yield network


@pytest.fixture
def kpn(clock, engine, keyring):
    with network_with_devices("kpn-lora", clock, engine, keyring) as network:
        yield network


@pytest.fixture
def poll(engine, keyring, clock):
    return lambda: run_polls(engine, keyring, clock, ONLY_ALARMS)


@pytest.fixture
def receiver(tmp_path, database_url):
    environment = {
        "PYTHONPATH": str(CHECKOUT),
        "RECEIVER_DATABASE_URL": database_url,
        "RECEIVER_DATA_DIR": str(tmp_path / "data"),
        "RECEIVER_KEK": bytes(range(32)).hex(),
    }

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", RECEIVER, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def said(answer):
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def assert_refused(answer, told, code=1):
    """One sentence, no traceback, and the exit code."""
    assert answer.returncode == code, answer.stdout
    assert "Traceback" not in answer.stderr
    assert told in " ".join(answer.stderr.replace("│", " ").split())


def test_a_poll_by_hand_says_what_it_found_and_the_list_shows_it(receiver, thingpark):
    thingpark.raise_alarm(DEVICE, 4, "MAJOR", ["26"])
    thingpark.raise_alarm(OTHER_DEVICE, 1, "CLEARED")

    polled = said(receiver("alarms", "poll"))
    listed = said(receiver("alarms", "list"))

    assert polled == "thingpark, alarms: 2 listed, 2 new, 0 changed, 0 gone\n"
    assert "no uplink activity" in listed
    assert "MAJOR" in listed
    assert OTHER_DEVICE not in listed  # cleared ones are not listed unless they are asked for
    assert OTHER_DEVICE in said(receiver("alarms", "list", "--state", "cleared"))


def test_of_kpn_lora_the_health_of_its_devices_comes_too(receiver, kpn):
    rows = json.loads(said(receiver("alarms", "poll", "--account", "kpn-lora", "--json")))

    assert [(row["what"], row["failure"]) for row in rows] == [("alarms", None), ("health", None)]
    assert rows[1]["result"] == {"init": 2, "active": 0, "rf_connection_error": 0, "total": 2}


def test_the_list_is_narrowed_and_comes_as_json(receiver, thingpark, poll):
    for number in range(5):
        thingpark.raise_alarm((DEVICE, OTHER_DEVICE)[number % 2], 1 + number)
    poll()

    rows = json.loads(said(receiver("alarms", "list", "--device", DEVICE.lower(), "--json", "--limit", 2)))
    older = json.loads(said(receiver("alarms", "list", "--device", DEVICE, "--json", "--before", rows[-1]["id"])))

    assert (len(rows), len(older)) == (2, 1)
    assert {row["type"] for row in rows + older} == {1, 3, 5}
    assert json.loads(said(receiver("alarms", "list", "--acked", "--json"))) == []
    assert len(json.loads(said(receiver("alarms", "list", "--type", 2, "--json")))) == 1


def test_one_alarm_is_shown_with_all_that_is_known(receiver, thingpark, poll):
    thingpark.raise_alarm(DEVICE, 6, "MAJOR", ["SF12", "SF10"])
    poll()

    shown = said(receiver("alarms", "show", 1))

    assert "lower data rate than expected" in shown
    assert "SF12, SF10" in shown


def test_alarms_are_acknowledged_by_id_by_device_and_all(receiver, engine, thingpark, poll):
    uids = [thingpark.raise_alarm((DEVICE, OTHER_DEVICE)[number % 2], 1 + number) for number in range(5)]
    poll()
    by_uid = {alarm.remote_id: alarm.id for alarm in alarms_of(engine)}

    assert said(receiver("alarms", "ack", by_uid[uids[0]])) == "1 alarm acknowledged.\n"
    assert [thingpark.is_acked(uid) for uid in uids] == [True, False, False, False, False]
    assert said(receiver("alarms", "ack", "--device", OTHER_DEVICE)) == "2 alarms acknowledged.\n"
    assert [thingpark.is_acked(uid) for uid in uids] == [True, True, False, True, False]
    assert said(receiver("alarms", "ack", "--all")) == "2 alarms acknowledged.\n"

    assert all(thingpark.is_acked(uid) for uid in uids)
    assert all((alarm.acked, alarm.acked_by) == (True, "command") for alarm in alarms_of(engine))
    assert said(receiver("alarms", "ack", "--all")) == "0 alarms acknowledged.\n"
    assert said(receiver("alarms", "ack", by_uid[uids[0]])) == "1 alarm had been acknowledged before.\n"


def test_a_thousand_are_acknowledged_by_a_few_requests_and_one_that_is_gone_stops_none(
    receiver, engine, thingpark, poll
):
    for number in range(300):
        thingpark.raise_alarm(DEVICE, 1 + number)
    poll()
    gone = alarms_of(engine)[150]
    thingpark.forget_alarm(gone.remote_id)
    thingpark.emulator.asked.clear()

    answer = receiver("alarms", "ack", "--all")

    assert_refused(answer, f"alarm {gone.id}: ")
    assert "299 alarms acknowledged." in answer.stdout
    assert len([alarm for alarm in alarms_of(engine) if alarm.acked]) == 299
    assert len(thingpark.emulator.asked) < 30


def test_a_lost_answer_to_an_acknowledgement_is_harmless(receiver, kpn, poll):
    alarm = kpn.raise_alarm(DEVICE, 4)
    poll()
    kpn.emulator.faults.order(LOST, path=kpn.ack_path)

    assert said(receiver("alarms", "ack", 1)) == "1 alarm acknowledged.\n"
    assert kpn.is_acked(alarm)


def test_both_networks_are_acknowledged_at_once(receiver, kpn, thingpark, poll):
    alarms = [kpn.raise_alarm(DEVICE, 4), thingpark.raise_alarm(DEVICE, 4)]
    poll()

    assert said(receiver("alarms", "ack", "--device", DEVICE)) == "2 alarms acknowledged.\n"
    assert kpn.is_acked(alarms[0])
    assert thingpark.is_acked(alarms[1])


def test_an_account_that_fails_is_told_beside_the_others(receiver, engine, keyring, kpn, thingpark):
    set_account_secret(engine, keyring, "kpn-lora", "wrong")
    thingpark.raise_alarm(DEVICE, 4)

    answer = receiver("alarms", "poll")
    listed = receiver("alarms", "list")
    accounts = json.loads(said(receiver("alarms", "accounts", "--json")))

    assert answer.returncode == 1
    assert "thingpark, alarms: 1 listed, 1 new" in answer.stdout
    assert "kpn-lora, alarms: The login of KPN LoRa does not take this account." in answer.stdout
    assert "The alarms of kpn-lora could not be polled since" in listed.stderr
    found = {(row["account"], row["what"]): row for row in accounts}
    assert found["kpn-lora", "alarms"]["refused"]
    assert (found["thingpark", "alarms"]["failures"], found["thingpark", "alarms"]["failure"]) == (0, None)
    assert "wrong" not in answer.stdout + answer.stderr + listed.stderr + str(accounts)


def test_a_poll_by_hand_tries_a_refused_login_again(receiver, engine, keyring, thingpark, poll):
    set_account_secret(engine, keyring, "thingpark", "wrong")
    poll()
    thingpark.emulator._client = thingpark.emulator._client[0], "wrong"  # it was mended at the network
    thingpark.raise_alarm(DEVICE, 4)
    poll()
    assert alarms_of(engine) == []

    said(receiver("alarms", "poll"))

    assert len(alarms_of(engine)) == 1


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["list", "--state", "worse"], "is not a state", 2),
        (["list", "--device", "77"], "77", 1),
        (["list", "--account", "nobody"], "There is no account 'nobody'", 1),
        (["show", "7"], "There is no alarm 7", 1),
        (["ack"], "Say which", 2),
        (["ack", "1", "--all"], "Say which", 2),
        (["ack", "1", "--account", "thingpark"], "--account goes with --all", 2),
        (["ack", "7"], "There is no alarm 7", 1),
        (["ack", "--", "-1"], "An ID is a whole number", 2),
        (["poll", "--account", "nobody"], "There is no account 'nobody'", 1),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(receiver, thingpark, arguments, told, code):
    assert_refused(receiver("alarms", *arguments), told, code)


def test_without_an_account_the_list_says_what_to_do(receiver):
    answer = receiver("alarms", "list")

    assert said(answer) == "Nothing to show.\n"
    assert "makes one known" in answer.stderr
    assert_refused(receiver("alarms", "poll"), "makes one known")
