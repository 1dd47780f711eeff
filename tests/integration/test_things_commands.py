"""`receiver connection` and `receiver device` for KPN Things, as a person starts them."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from receiver.cli import connection as connection_commands
from receiver.cli import device as device_commands
from receiver.errors import ReceiverError
from tests.integration.things_use import OTHER_PLUG, PLUG, SECOND, SECRET

UUID = "737b588b-547e-45d3-96d0-f79723291bf1"
KEY_SECRET = "Key-Secret-that-nobody-may-see"


@pytest.fixture
def receiver(tmp_path, monkeypatch):
    """Run a command within this process; give its output, and let what it refuses be raised."""
    monkeypatch.setenv("RECEIVER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RECEIVER_PUBLIC_URL", "https://lora.example.org")

    def run(group, *arguments, typed=None):
        commands = {"connection": connection_commands.app, "device": device_commands.app}
        done = CliRunner().invoke(commands[group], list(arguments), input=typed)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


@pytest.fixture
def secret_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    return str(file)


@pytest.fixture
def added(receiver, secret_file):
    receiver("connection", "add", "things", "--platform", "kpn-things", "--secret-file", secret_file)
    return receiver


def as_json(done):
    return json.loads(done.stdout)


def test_a_connection_with_a_new_secret_shows_it_once_and_says_what_to_do(receiver):
    done = receiver("connection", "add", "things", "--platform", "kpn-things", "--new-secret")

    secret = re.search(r"^secret +(\S+)$", done.stdout, re.MULTILINE)[1]
    assert len(secret) >= 32
    for told in ("https://lora.example.org/push/things", "make a destination of type HTTPS", "not shown again"):
        assert told in done.stdout
    for silent in ("AS ID", "tunnel key"):
        assert silent not in done.stdout
    later = receiver("connection", "show", "things").stdout + receiver("connection", "keys", "things").stdout
    assert secret not in later
    assert "s1" in later


def test_two_secrets_may_be_given_at_once(receiver, tmp_path, secret_file):
    second = tmp_path / "second"
    second.write_text(SECOND)
    done = receiver(
        *("connection", "add", "things", "--platform", "kpn-things", "--json", "--plug-uuid", PLUG),
        *("--secret-file", secret_file, "--secret-file", str(second)),
    )

    assert as_json(done)["secret_ids"] == ["s1", "s2"]
    assert SECRET not in done.stdout
    keys = as_json(receiver("connection", "keys", "things", "--json"))
    assert [(key["key_id"], key["plug_uuid"]) for key in keys] == [("s1", PLUG), ("s2", PLUG)]


def test_a_connection_without_a_secret_says_that_every_push_is_refused(receiver):
    done = receiver("connection", "add", "things", "--platform", "kpn-things")

    assert "add-secret things --new-secret" in done.stdout


def test_a_secret_is_added_from_standard_input_and_the_old_one_retired(added):
    done = added("connection", "add-secret", "things", "--secret-file", "-", "--plug-uuid", OTHER_PLUG, typed=SECOND)
    assert "s2 of things is added" in done.stdout
    assert SECOND not in done.stdout

    added("connection", "retire-key", "things", "s1")
    keys = as_json(added("connection", "keys", "things", "--json"))
    assert [key["retired_at"] is None for key in keys] == [False, True]
    assert [key["plug_uuid"] for key in keys] == [None, OTHER_PLUG]
    with pytest.raises(ReceiverError, match=r"last live secret of things.*add-secret things"):
        added("connection", "retire-key", "things", "s2")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add-secret", "things", "--secret-file", "-"), "already, as s1"),
        (("add-key", "things", "--new-tunnel-key"), "add-secret things"),
        (("add", "other", "--platform", "kpn-things", "--new-tunnel-key"), "has shared secrets"),
        (("add", "other", "--platform", "thingpark", "--new-secret"), "for connections of KPN Things"),
        (("add", "other", "--platform", "kpn-things", "--plug-uuid", "x"), "not the UUID of a destination"),
        (("retire-key", "things", "k1"), "no secret 'k1'; it has s1"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_sentence(added, arguments, told):
    with pytest.raises(ReceiverError, match=re.escape(told)) as refused:
        added("connection", *arguments, typed=SECRET)
    assert SECRET not in str(refused.value)


def test_a_secret_that_is_too_short_is_refused_without_showing_it(added):
    with pytest.raises(ReceiverError, match="30 to 100") as refused:
        added("connection", "add-secret", "things", "--secret-file", "-", typed="Short#1secret")
    assert "Short#1secret" not in str(refused.value)


def test_an_account_is_set_shown_without_its_secret_and_removed(added, tmp_path):
    body = tmp_path / "body.json"
    body.write_text('{"data":"{payload_hex}"}')
    done = added(
        *("connection", "set-things-account", "things", "--tenant", "t1", "--key-id", "k1", "--token-url", "v2"),
        *("--api", "new", "--downlink-path", "/lora/downlinks", "--downlink-body-file", str(body)),
        typed=KEY_SECRET,
    )
    assert "auth.grip-on-it.com/v2/{tenant}/oidc/idp/token" in done.stdout

    shown = as_json(added("connection", "show", "things", "--json"))
    assert (shown["account"]["key_id"], shown["account"]["downlink_path"]) == ("k1", "/lora/downlinks")
    assert "as_id" not in shown
    assert KEY_SECRET not in done.stdout + json.dumps(shown)
    assert as_json(added("connection", "set-things-account", "things", "--remove", "--json"))["removed"] is True
    assert as_json(added("connection", "show", "things", "--json"))["account"] is None


def test_an_account_needs_its_tenant_and_its_key(added):
    done = added("connection", "set-things-account", "things", "--tenant", "t1")

    assert done.exit_code == 2


def test_a_connection_of_kpn_things_is_listed_and_removed(added):
    assert "kpn-things" in added("connection", "list").stdout
    assert "is removed" in added("connection", "remove", "things", "--yes").stdout


def test_a_uuid_is_mapped_and_listed(added):
    done = added("device", "map", UUID.upper(), "0059ac00001b3461")

    assert done.stdout == f"{UUID} is 0059AC00001B3461 now; 0 uplinks went over.\n"
    [row] = as_json(added("device", "map", "--json"))
    assert (row["uuid"], row["dev_eui"]) == (UUID, "0059AC00001B3461")
    assert added("device", "map", UUID).exit_code == 2
