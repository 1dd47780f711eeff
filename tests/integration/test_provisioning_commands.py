"""`connect`, `rotate-key` and `disconnect` as a person starts them, and as a machine that fails ends them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.services.connections import list_connections
from receiver.services.platform_accounts import add_account
from tests.integration.provisioning_use import BEFORE, LOST, PUBLIC_URL, KpnBench, ThingParkBench

CHECKOUT = Path(__file__).parents[2]
ONE_SENTENCE = re.compile(r"receiver: [^\n]+\.\n")
BENCHES = {"kpn-lora": KpnBench, "thingpark": ThingParkBench}
WRITING_REQUEST = 3  # of both networks: what makes it


class Commands:
    """Runs commands of one network on the database of a bench."""

    def __init__(self, bench, directory, database_url):
        self.bench = bench
        self.directory = directory
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER_")}
        self.environment = inherited | {
            "RECEIVER_DATABASE_URL": database_url,
            "RECEIVER_DATA_DIR": str(directory / "data"),
            "RECEIVER_KEK": bytes(range(32)).hex(),
            "PYTHONPATH": str(CHECKOUT),
        }

    def start(self, *arguments, **settings):
        return subprocess.Popen(
            [sys.executable, "-m", "receiver", self.bench.surface, *arguments],
            cwd=self.directory,
            env=self.environment | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, code=0, typed="", **settings):
        """Give standard output, or standard error where it is to be refused."""
        with self.start(*arguments, **settings) as process:
            try:
                out, err = process.communicate(typed, timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == code, err
        assert "Traceback" not in err
        return out if code == 0 else err

    def show_connection(self, name):
        """Give what `receiver connection show` says."""
        command = [sys.executable, "-m", "receiver", "connection", "show", name, "--json"]
        done = subprocess.run(command, cwd=self.directory, env=self.environment, capture_output=True, check=True)
        return json.loads(done.stdout)

    def run_json(self, *arguments):
        return json.loads(self.run(*arguments, "--json"))

    def kill_at_request(self, number, when, *arguments):
        """Run a command until the request of that number, and kill it there as `kill -9` does."""
        process = self.start(*arguments)

        def kill():
            process.kill()
            process.wait(10)

        self.bench.door.stop_at(number, when, kill)
        with process:
            out, err = process.communicate(timeout=60)
        assert self.bench.door.has_stopped, out + err
        assert process.returncode == -9


@pytest.fixture
def make_commands(engine, keyring, now, tmp_path, database_url):
    made = []

    def make(surface, **options):
        made.append(BENCHES[surface](engine, keyring, now, **options))
        return Commands(made[-1], tmp_path, database_url)

    yield make
    for bench in made:
        bench.close()


@pytest.fixture(params=["kpn-lora", "thingpark"])
def commands(make_commands, request):
    return make_commands(request.param)


@pytest.fixture
def kpn(make_commands):
    return make_commands("kpn-lora")


one_database = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
"""What is printed is the same on both."""


@one_database
def test_a_connection_shows_what_was_made_for_it_at_the_network(commands):
    commands.run("connect", "field", "--public-url", PUBLIC_URL)

    made = commands.show_connection("field")["at_the_network"]

    assert made["state"] == "connected"
    assert made["remote_id"].startswith("TWA_")


def test_connects_and_says_what_is_left(commands):
    text = commands.run("connect", "field", "--public-url", PUBLIC_URL)

    commands.bench.assert_agrees()
    assert f"field is connected: {commands.bench.network().title} pushes to {PUBLIC_URL}/push/field by TWA_" in text
    assert "What is left:" in text
    assert "a certificate that is publicly trusted" in text
    assert "Each device must be given TWA_" in text
    assert commands.bench.key() not in text


@one_database
def test_run_again_says_that_nothing_was_changed(commands):
    commands.run("connect", "field", "--public-url", PUBLIC_URL)

    assert "field is connected already, by TWA_" in commands.run("connect", "field")


@one_database
def test_the_public_url_of_the_settings_serves_as_well(kpn):
    kpn.run("connect", "field", RECEIVER_PUBLIC_URL=PUBLIC_URL)

    kpn.bench.assert_agrees()


@one_database
def test_without_any_public_url_it_says_how_to_give_one(kpn):
    refused = kpn.run("connect", "field", code=1)

    assert ONE_SENTENCE.fullmatch(refused)
    assert "--public-url https://" in refused


@one_database
def test_tells_programs_in_json(kpn):
    done = kpn.run_json("connect", "field", "--public-url", PUBLIC_URL)

    assert done["step"] == "create"
    assert done["remote_id"] == kpn.bench.profile.id
    assert done["as_transport_key_check_value"] == kpn.bench.local.standing().active_check_value
    assert kpn.bench.key() not in json.dumps(done)


def test_a_dry_run_changes_nothing(commands):
    text = commands.run("connect", "field", "--public-url", PUBLIC_URL, "--dry-run")

    assert "Would be sent:\nPOST http://127.0.0.1:" in text
    assert text.endswith("Nothing was changed, neither here nor at the network.\n")
    assert not [asked for asked in commands.bench.simulated.asked if asked.method != "GET"]
    assert list_connections(commands.bench.engine) == []


@pytest.mark.parametrize("when", [BEFORE, LOST])
@pytest.mark.parametrize("number", range(1, WRITING_REQUEST + 1))
def test_killed_at_any_request_it_is_finished_by_the_next_run(commands, number, when):
    commands.kill_at_request(number, when, "connect", "field", "--public-url", PUBLIC_URL)

    commands.run("connect", "field", "--public-url", PUBLIC_URL)

    commands.bench.assert_agrees()


@pytest.mark.parametrize("when", [BEFORE, LOST])
def test_a_rotation_killed_at_its_last_request_is_finished_by_the_next_run(commands, when):
    bench = commands.bench
    bench.connect()
    commands.kill_at_request({"kpn-lora": 2, "thingpark": 4}[bench.surface], when, "rotate-key", "field")

    text = commands.run("rotate-key", "field")

    bench.assert_agrees()
    assert "signs with tunnel key k2 from now on." in text
    assert "k1 is taken still: keep: the network does not sign with a newer key (k2) yet" in text


@one_database
def test_rotating_waits_until_running_receivers_know_the_key(kpn):
    kpn.bench.connect()

    done = kpn.run_json("rotate-key", "field")

    assert done["tunnel_key_id"] == "k2"
    assert [one["key_id"] for one in done["kept"]] == ["k1"]
    kpn.bench.assert_agrees()


@one_database
def test_a_dry_run_of_a_rotation_changes_nothing(commands):
    commands.bench.connect()

    text = commands.run("rotate-key", "field", "--dry-run")

    assert "Would be sent:\nPUT http://127.0.0.1:" in text
    commands.bench.assert_agrees()
    assert commands.bench.local.standing().live_key_ids == ("k1",)


@one_database
def test_another_as_transport_key_is_asked_for_first(kpn):
    kpn.bench.connect()
    kpn.bench.add_device()
    before = kpn.bench.as_transport_key()

    asked = kpn.run("rotate-key", "field", "--as-transport-key", code=1, typed="n\n")
    assert "Its devices (1) must each join again" in asked
    assert kpn.bench.as_transport_key() == before

    kpn.run("rotate-key", "field", "--as-transport-key", typed="y\n")
    assert kpn.bench.as_transport_key() != before
    kpn.bench.assert_agrees()


@one_database
def test_disconnecting_asks_first(commands):
    commands.bench.connect()

    asked = commands.run("disconnect", "field", code=1, typed="n\n")
    assert "(no device uses it)?" in asked
    commands.bench.assert_agrees()

    text = commands.run("disconnect", "field", "--yes")
    assert "field stays here with its keys" in text
    assert commands.bench.local.standing().state == "removed"


@one_database
def test_disconnecting_is_refused_while_devices_use_it_unless_forced(commands):
    commands.bench.connect()
    commands.bench.add_device()

    refused = commands.run("disconnect", "field", "--yes", code=1)

    assert ONE_SENTENCE.fullmatch(refused)
    assert "nothing of them would reach this receiver any more" in refused


@one_database
def test_what_is_forced_is_still_asked_for_and_says_what_it_cuts_off(kpn):
    kpn.bench.connect()
    kpn.bench.add_device()

    asked = kpn.run("disconnect", "field", "--force", code=1, typed="n\n")

    assert "it has 1 device (0059AC0000170311), of which nothing would come here any more" in asked


@one_database
def test_disconnecting_removes_it_here_as_well_if_told(commands):
    commands.bench.connect()

    commands.run("disconnect", "field", "--remove-local", "--yes")

    assert list_connections(commands.bench.engine) == []


@one_database
def test_a_header_with_a_secret_comes_from_a_file(make_commands, tmp_path):
    thingpark = make_commands("thingpark")
    (tmp_path / "token").write_text("Bearer hush\n")

    thingpark.run("connect", "field", "--public-url", PUBLIC_URL, "--header", f"Authorization: @{tmp_path / 'token'}")

    assert thingpark.bench.app_server.members["customHttpHeaders"] == [
        {"name": "Authorization", "value": "Bearer hush"}
    ]


@one_database
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["connect", "Field", "--public-url", PUBLIC_URL], "'Field' cannot be a connection's name"),
        (["connect", "field", "--public-url", "http://a.example"], "must begin with https://"),
        (["connect", "field", "--public-url", PUBLIC_URL, "--max-deviation", "0"], "must be 1 to 86400 s"),
        (["connect", "field", "--public-url", PUBLIC_URL, "--account", "none"], "There is no account named 'none'"),
        (["rotate-key", "field"], "There is no connection named 'field'"),
        (["disconnect", "field"], "There is no connection named 'field'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(commands, arguments, sentence):
    refused = commands.run(*arguments, code=1)

    assert ONE_SENTENCE.fullmatch(refused)
    assert sentence in refused


@one_database
def test_a_wrong_secret_is_told_in_one_sentence_that_has_it_not(make_commands):
    kpn = make_commands("kpn-lora", client_secret="another")

    refused = kpn.run("connect", "field", "--public-url", PUBLIC_URL, code=1)

    assert ONE_SENTENCE.fullmatch(refused)
    assert "does not take this account" in refused
    assert "secret" not in refused.replace("client id and secret", "").replace("client secret", "")


@one_database
def test_another_account_than_it_was_made_with_is_refused(kpn, engine, keyring, now):
    kpn.bench.connect()
    add_account(engine, keyring, now, name="other", surface="kpn-lora", settings=kpn.bench.settings(), secret="secret")

    refused = kpn.run("connect", "field", "--account", "other", code=1)

    assert "field was connected with the account there, and not with other" in refused
    assert "connected already" in kpn.run("connect", "field"), "without an account it takes the one it was made with"
