"""Accounts at management APIs: what is taken, what is refused, and that a secret is kept sealed and shown nowhere."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from receiver.errors import ConflictError, IdentifierError, KeyringError, NotFoundError, SettingsError
from receiver.keyring import Keyring
from receiver.services.platform_accounts import (
    add_account,
    list_accounts,
    open_account,
    remove_account,
    set_account_secret,
)
from receiver.storage.platform_tables import platform_accounts

SECRET = "client-secret-that-nobody-may-see"


@pytest.fixture
def add(engine, keyring, now):
    def add(name="kpn", surface="kpn-lora", settings=None, secret=SECRET):
        settings = {"client_id": "abc"} if settings is None else settings
        return add_account(engine, keyring, now, name=name, surface=surface, settings=settings, secret=secret)

    return add


def test_an_account_has_the_usual_urls_of_its_surface(engine, keyring, add):
    add()

    account = open_account(engine, keyring, "kpn-lora")

    assert account.secret == SECRET
    assert account.settings["api_url"] == "https://api-prd.kpn.com/data/lora/thingpark"
    assert account.settings["client_id"] == "abc"


def test_the_host_of_thingpark_is_filled_into_every_url(engine, keyring, add):
    add("tpe", "thingpark", {"client_id": "sub-1/x", "host": "community.thingpark.io"})

    settings = open_account(engine, keyring, "thingpark").settings

    assert settings["api_url"] == "https://community.thingpark.io/thingpark/wireless/rest"
    assert settings["token_url"] == "https://community.thingpark.io/users-auth/protocol/openid-connect/token"
    assert not [value for value in settings.values() if "{host}" in value]


def test_a_secret_is_kept_sealed_and_is_in_no_text(engine, keyring, add):
    add()

    with engine.connect() as connection:
        row = connection.execute(select(platform_accounts)).one()
    account = open_account(engine, keyring, "kpn-lora")

    assert SECRET.encode() not in row.sealed_secret
    assert SECRET not in f"{row.settings}{list_accounts(engine)}{account}"


def test_another_keyring_does_not_open_it(engine, add):
    add()

    with pytest.raises(KeyringError):
        open_account(engine, Keyring(bytes(32)), "kpn-lora")


def test_a_new_secret_takes_the_place_of_the_old_one(engine, keyring, add):
    add()

    set_account_secret(engine, keyring, "kpn", "another one")

    assert open_account(engine, keyring, "kpn-lora").secret == "another one"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "needs client_id"),
        ({"client_id": "a", "color": "red"}, "'color' is not a setting of kpn-lora"),
        ({"client_id": "a", "api_url": "http://example.org"}, "api_url must begin with https://"),
        ({"client_id": "a", "api_url": "https://example.org/"}, "without a slash at the end"),
        ({"client_id": "a", "api_url": "nonsense"}, "is no api_url"),
        ({"client_id": "a", "api_url": "https://user@example.org"}, "is no api_url"),
        ({"client_id": "a\x00"}, "not printable ASCII"),
        ({"client_id": "a" * 501}, "more than 500 characters"),
    ],
)
def test_a_wrong_setting_is_named(add, settings, told):
    with pytest.raises(SettingsError, match=told):
        add(settings=settings)


def test_an_account_of_thingpark_needs_a_host(add):
    with pytest.raises(SettingsError, match="needs host"):
        add("tpe", "thingpark", {"client_id": "a"})


def test_a_surface_that_is_not_there_is_refused(add):
    with pytest.raises(SettingsError, match="is not a management API"):
        add(surface="loriot")


@pytest.mark.parametrize("secret", ["", "a\nb", "a" * 501])
def test_a_wrong_secret_is_refused_without_showing_it(add, secret):
    with pytest.raises(SettingsError) as refused:
        add(secret=secret)

    assert not secret or secret not in str(refused.value)


def test_a_name_is_given_once(add):
    add()

    with pytest.raises(ConflictError, match="an account named kpn already"):
        add()


def test_a_name_has_a_form(add):
    with pytest.raises(IdentifierError, match="cannot be an account's name"):
        add("Not A Name")


def test_without_a_name_the_only_account_is_meant(engine, keyring, add):
    add("tpe", "thingpark", {"client_id": "a", "host": "h.example"})
    add()

    assert open_account(engine, keyring, "kpn-lora").name == "kpn"


def test_of_several_accounts_one_must_be_named(engine, keyring, add):
    add()
    add("other")

    with pytest.raises(SettingsError, match=r"say which with --account \(kpn, other\)"):
        open_account(engine, keyring, "kpn-lora")

    assert open_account(engine, keyring, "kpn-lora", "other").name == "other"


def test_without_any_account_it_says_how_to_add_one(engine, keyring):
    with pytest.raises(NotFoundError, match="receiver thingpark account add"):
        open_account(engine, keyring, "thingpark")


def test_an_account_of_another_surface_is_not_taken(engine, keyring, add):
    add()

    with pytest.raises(SettingsError, match="is of kpn-lora, and not of thingpark"):
        open_account(engine, keyring, "thingpark", "kpn")


def test_a_removed_account_is_not_there(engine, keyring, add):
    add()

    remove_account(engine, "kpn")

    assert list_accounts(engine) == []
    with pytest.raises(NotFoundError, match="no account named 'kpn'"):
        open_account(engine, keyring, "kpn-lora", "kpn")
