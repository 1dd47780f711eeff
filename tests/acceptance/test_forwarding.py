"""Forwarders in real workers: killed before they commit, two at a time; and commands as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from receiver.simulator.network import SimulatedNetwork
from receiver.storage.engine import read
from receiver.storage.events import newest_event_id
from receiver.storage.forwarders import get_forwarder
from tests.acceptance.running_receiver import AS_ID, KEY, utc_now, wait_until
from tests.integration.forward_use import HookServer

NAME = "hook"


@pytest.fixture
def hook():
    with HookServer() as server:
        yield server


@pytest.fixture
def add(installation, hook):
    def add(*options):
        told = installation.run("forwarder", "add-webhook", NAME, hook.url, *options, "--json")
        hook.secret = json.loads(told)["secret"]
        return hook.secret

    installation.add_connection("field")
    return add


@contextmanager
def worker(installation, log):
    with (installation.directory / log).open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "receiver", "worker", "--json"],
            cwd=installation.directory,
            env=installation.environment,
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10)
    assert "Traceback" not in (installation.directory / log).read_text()


@pytest.fixture
def network():
    return SimulatedNetwork(key=KEY, as_id=AS_ID, clock=utc_now, as_transport_key=None, seed=7)


def row(installation):
    with read(installation.engine) as connection:
        return get_forwarder(connection, NAME)


def has_passed_all(installation, count):
    with read(installation.engine) as connection:
        newest = newest_event_id(connection)
    return newest >= count and row(installation).position == newest


def test_a_worker_that_is_killed_between_sending_and_committing_loses_nothing(installation, add, hook, network):
    add()
    devices = [network.add_device(dev_eui=f"20635F000000000{number}") for number in range(1, 5)]
    pushes = [network.uplink(device, f_port=5, payload=b"hi") for _ in range(10) for device in devices]
    with installation.serve("--without-worker") as served:
        assert served.push("field", pushes, at_once=1) == [200] * 40
    killed = 0
    for number in range(2):
        with worker(installation, f"killed-{number}.log") as process:
            before = len(hook.taken)
            wait_until(lambda before=before: len(hook.taken) > before + 5 or has_passed_all(installation, 40))
            killed += process.poll() is None
            process.kill()
    with worker(installation, "last.log"):
        wait_until(lambda: has_passed_all(installation, 40))

    assert killed == 2
    assert len({one.message_id for one in hook.taken}) == 40
    for device in devices:
        first_seen = list(dict.fromkeys(hook.ids_of(device.dev_eui)))
        assert first_seen == sorted(first_seen)


def test_of_two_workers_one_delivers_and_the_other_takes_over_when_it_is_killed(installation, add, hook, network):
    add()
    device = network.add_device(dev_eui="20635F0000000001")
    with installation.serve("--without-worker") as served, worker(installation, "first.log") as first:
        wait_until(lambda: row(installation).lease_holder)
        holder = row(installation).lease_holder
        with worker(installation, "second.log"):
            served.push("field", [network.uplink(device, f_port=5, payload=b"hi") for _ in range(5)], at_once=1)
            wait_until(lambda: has_passed_all(installation, 5))
            assert row(installation).lease_holder == holder
            first.kill()
            served.push("field", [network.uplink(device, f_port=5, payload=b"hi") for _ in range(5)], at_once=1)
            wait_until(lambda: has_passed_all(installation, 10))
            assert row(installation).lease_holder != holder

    assert len(hook.taken) == 10
    assert hook.ids_of(device.dev_eui) == sorted(hook.ids_of(device.dev_eui))


def test_a_worker_that_is_stopped_gives_its_forwarders_back(installation, add):
    add()
    with worker(installation, "stopped.log") as process:
        wait_until(lambda: row(installation).lease_holder)
        process.terminate()
        assert process.wait(20) == 0
    assert row(installation).lease_holder is None


def test_a_forwarder_that_is_paused_and_resumed_goes_on_in_the_running_worker(installation, add, hook, network):
    secret = add()
    device = network.add_device(dev_eui="20635F0000000001")
    with installation.serve() as served:
        installation.run("forwarder", "pause", NAME)
        wait_until(lambda: row(installation).lease_holder is None)
        served.push("field", [network.uplink(device, f_port=5, payload=b"hi")])
        assert "paused since" in installation.run("forwarder", "list")
        installation.run("forwarder", "resume", NAME)
        wait_until(lambda: hook.taken)
        log = served.log
    assert secret.removeprefix("whsec_") not in log.read_text()
    assert hook.url not in log.read_text()


ONCE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
"""What a command says is the same on either database, and each takes seconds to start."""


@ONCE
def test_what_is_shown_of_a_forwarder_has_no_secret(installation, add):
    secret = add("--type", "uplink", "--port", "5", "--since", "2h").removeprefix("whsec_")
    listed = installation.run("forwarder", "list", "--json")
    shown = installation.run("forwarder", "show", NAME)

    assert json.loads(listed)[0]["state"] == "waits for a worker: run `receiver serve` or `receiver worker`"
    assert "types: uplink; ports: 5" in shown
    assert secret not in listed + shown + installation.run("forwarder", "show", NAME, "--json")


@ONCE
def test_a_secret_is_changed_without_losing_a_webhook(installation, add, hook):
    add()
    assert "It was answered 204." in installation.run("forwarder", "test", NAME)
    hook.secret = json.loads(installation.run("forwarder", "rotate-secret", NAME, "--json"))["secret"]
    installation.run("forwarder", "test", NAME)
    assert "new secret only" in installation.run("forwarder", "rotate-secret", NAME, "--finish")
    hook.answer = lambda _received: 500
    installation.run("forwarder", "test", NAME, code=1)
    assert len(hook.came) == 3


@ONCE
def test_sending_again_and_removing_say_what_they_do(installation, add):
    add()
    assert installation.run("forwarder", "dead-letters", NAME) == "Nothing to show.\n"
    assert installation.run("forwarder", "replay", NAME, "--all-dead", "--dry-run").startswith("0 events would be sent")
    assert "will be sent again" in installation.run("forwarder", "replay", NAME, "--since", "2h")
    assert "is removed" in installation.run("forwarder", "remove", NAME)
    assert "There is no forwarder named 'hook'" in installation.run("forwarder", "show", NAME, code=1)


@ONCE
def test_wrong_usage_is_said_in_a_sentence(installation):
    refused = installation.run("forwarder", "add-webhook", NAME, "http://example.org/x", code=1)
    assert refused.startswith("receiver: A webhook over http:// can be read by everybody")
    assert "https:// URL" in refused
    unknown = installation.run("forwarder", "add-mqtt", NAME, "mqtts://example.org", "--topic", "{name}", code=1)
    assert "A topic cannot have {name} in it" in unknown
    installation.run("forwarder", "replay", NAME, code=2)
    installation.run("forwarder", "add-webhook", NAME, "https://example.org", "--give-up-after", "soon", code=2)


@ONCE
def test_a_password_comes_on_standard_input(installation):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "receiver", "forwarder", "add-mqtt", "broker", "mqtt://127.0.0.1:1"),
            *("--username", "u", "--password", "-"),
        ],
        cwd=installation.directory,
        env={**os.environ, **installation.environment},
        input="correct horse\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "correct horse" not in done.stdout + installation.run("forwarder", "show", "broker")
