"""`receiver simulate platforms`: what it prints is enough to use the commands of each network against it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.integration.command_line import CHECKOUT, run

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

OWN_OPTIONS = {"kpn-lora": "--client-id", "thingpark": "--client-id", "device-manager": "--login"}
QUESTIONS = {
    "kpn-lora": ("kpn-lora", "plans", "list"),
    "thingpark": ("thingpark", "subscription", "show"),
    "device-manager": ("device-manager", "subscription", "show"),
}


@pytest.fixture
def platforms():
    """Start them as a person does, and give what was printed."""
    command = [sys.executable, "-m", "receiver", "simulate", "platforms", "--port", "0", "--for", "100", "--json"]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    try:
        yield {one["surface"]: one for one in json.loads(process.stdout.readline())}
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_each_platform_answers_the_account_that_is_printed(tmp_path, database_url, platforms):
    for surface, own_option in OWN_OPTIONS.items():
        one = platforms[surface]
        secret = tmp_path / surface
        secret.write_text(one["secret"])
        option = "--password-file" if surface == "device-manager" else "--client-secret-file"
        settings = [f"--set={name}={value}" for name, value in one["settings"].items()]
        added = run(
            *(tmp_path, database_url, surface, "account", "add", "simulated"),
            *(own_option, one["as"], option, str(secret), *settings),
        )
        assert added.returncode == 0, added.stderr
        asked = run(tmp_path, database_url, *QUESTIONS[surface], "--json")
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout)
        assert run(tmp_path, database_url, surface, "account", "remove", "simulated").returncode == 0


def test_kpn_things_answers_the_account_that_is_printed(tmp_path, database_url, platforms):
    secret = tmp_path / "secret"
    secret.write_text(platforms["kpn-things"]["secret"])
    options = [
        part
        for name, value in platforms["kpn-things"]["settings"].items()
        for part in (f"--{name.replace('_', '-')}", value)
    ]
    key = ("--key-id", platforms["kpn-things"]["as"], "--key-secret-file", str(secret))
    for command in (
        ("connection", "add", "things", "--platform", "kpn-things", "--new-secret"),
        ("connection", "set-things-account", "things", *key, *options),
    ):
        done = run(tmp_path, database_url, *command)
        assert done.returncode == 0, done.stderr

    listed = run(tmp_path, database_url, "kpn-things", "devices", "list", "--json")

    assert [one["name"] for one in json.loads(listed.stdout)] == ["Device 1", "Device 2", "Device 3"]


def test_a_port_that_is_taken_is_told(tmp_path, database_url, platforms):
    port = platforms["kpn-lora"]["settings"]["api_url"].split(":")[2].split("/")[0]

    done = run(tmp_path, database_url, "simulate", "platforms", "--port", port, "--for", "1")

    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stderr
