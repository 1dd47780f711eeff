"""The `account` commands of management APIs, on both databases."""

from __future__ import annotations

import json

import pytest

from receiver.cli import kpn_lora
from receiver.cli.platform_account import account_app
from receiver.storage import platform_accounts
from receiver.storage.engine import read
from tests.integration.kpn_lora_use import PLAN, Commands, add_account, kpn_site, use_settings


@pytest.fixture
def settings(database_url, tmp_path, monkeypatch):
    use_settings(monkeypatch, tmp_path, database_url)


@pytest.fixture
def site():
    with kpn_site() as site:
        yield site


@pytest.fixture
def command(settings, site):
    command = Commands(kpn_lora.app)
    add_account(command, site)
    return command


def test_an_account_is_added_with_its_secret_from_standard_input(settings, site, engine, keyring):
    shown = add_account(Commands(kpn_lora.app), site)

    with read(engine) as tx:
        account = platform_accounts.find_account(tx, "kpn")
    assert (account.surface, account.settings["client_id"]) == ("kpn-lora", "client")
    assert keyring.open(account.sealed_secret, f"platform_account:{account.id}") == b"secret"
    assert "Nothing was asked of KPN LoRa yet" in shown
    assert not site.kpn.logins


def test_a_secret_can_come_from_a_file(settings, site, tmp_path):
    command = Commands(kpn_lora.app)
    (tmp_path / "secret").write_text("secret\n")
    urls = ("--set", f"api-url={site.base_url}", "--set", f"token-url={site.token_url}")

    command("account", "add", "kpn", "--client-id", "client", "--client-secret-file", "secret", *urls)

    assert command.json("plans", "list")[0]["id"] == PLAN


def test_accounts_are_listed_without_secrets(command):
    [account] = command.json("account", "list")

    assert (account["name"], account["client_id"]) == ("kpn", "client")
    assert "secret" not in json.dumps(account)
    assert "kpn" in command("account", "list")


def test_an_account_is_removed(command):
    command("account", "remove", "kpn")

    assert command("account", "list").startswith("There is no account of KPN LoRa yet")
    assert "`receiver kpn-lora account add NAME`" in command.sentence("plans", "list")


def test_another_secret_is_in_force_at_once(command, site):
    command("account", "set-secret", "kpn", typed="wrong\n")

    assert "does not take this account" in command.sentence("plans", "list")
    assert site.asked() == []


def test_the_settings_of_an_account_are_listed_with_their_defaults(command):
    rows = {row["name"]: row for row in command.json("account", "settings")}

    assert rows["client_id"] == {"name": "client_id", "default": None, "must_be_given": True}
    assert rows["api_url"]["default"] == "https://api-prd.kpn.com/data/lora/thingpark"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("two",), "An account of kpn-lora needs client_id."),
        (("two", "--client-id", "c", "--set", "colour"), "write --set NAME=VALUE"),
        (("two", "--client-id", "c", "--set", "colour=red"), "'colour' is not a setting of kpn-lora"),
        (("two", "--client-id", "c", "--set", "api_url=http://api.example.nl"), "must begin with https://"),
        (("kpn", "--client-id", "c"), "There is an account named kpn already"),
        (("Two!", "--client-id", "c"), "cannot be an account's name"),
        (("two", "--client-id", "c", "--client-secret-file", "nowhere"), "nowhere cannot be read"),
    ],
)
def test_an_account_that_cannot_be_is_refused_in_one_sentence(command, arguments, sentence):
    assert sentence in command.sentence("account", "add", *arguments, typed="secret\n")


def test_an_account_without_a_secret_is_refused(command):
    assert "No client secret came on standard input" in command.sentence(
        "account", "add", "two", "--client-id", "c", typed=""
    )


@pytest.mark.parametrize("action", ["remove", "set-secret"])
def test_an_account_of_another_surface_is_not_touched(command, action):
    of_thingpark = Commands(account_app("thingpark"))

    assert of_thingpark.sentence(action, "kpn", typed="x\n") == (
        "The account kpn is of kpn-lora, and not of thingpark."
    )


@pytest.mark.parametrize(
    ("surface", "option", "file_option"),
    [("thingpark", "--client-id", "--client-secret-file"), ("device-manager", "--login", "--password-file")],
)
def test_each_surface_has_its_own_options(settings, surface, option, file_option, tmp_path):
    command = Commands(account_app(surface))
    (tmp_path / "secret").write_text("secret")

    command("add", "other", option, "someone", "--host", "community.thingpark.io", file_option, "secret")

    [account] = command.json("list")
    assert account["settings"] == {"host": "community.thingpark.io"}


def test_of_several_accounts_one_must_be_named(command, site):
    add_account(command, site, "second")

    assert "say which with --account (kpn, second)" in command.sentence("plans", "list")
    assert command.json("plans", "list", "--account", "second")
