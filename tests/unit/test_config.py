"""Where a setting comes from, which values are refused and how, and which key-encryption key is used."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from receiver.config import ENV_PREFIX, load_settings
from receiver.errors import KeyringError, SettingsError
from receiver.keyring import Keyring
from receiver.services.retention import NOUNS

KEK = "5a" * 32


@pytest.fixture(autouse=True)
def only_these_settings(monkeypatch, tmp_path):
    """Give each test an empty directory and none of the settings of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


def problem(**overrides: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(**overrides)
    return str(caught.value)


def test_without_any_setting_the_defaults_hold():
    settings = load_settings()

    assert settings.data_dir == Path("receiver-data")
    assert settings.body_max_bytes == 256 * 1024
    assert settings.log_format == "console"


def test_a_variable_is_taken(monkeypatch):
    monkeypatch.setenv("RECEIVER_BODY_MAX_BYTES", "1000")

    assert load_settings().body_max_bytes == 1000


def test_an_empty_variable_counts_as_none(monkeypatch):
    monkeypatch.setenv("RECEIVER_KEK", "")

    assert load_settings().kek is None


def test_a_variable_of_another_program_is_left_alone(monkeypatch):
    monkeypatch.setenv("RECEIVER_PORT", "tcp://10.0.0.1:80")  # as Kubernetes gives a service named "receiver"

    load_settings()


def test_the_file_is_taken(tmp_path):
    (tmp_path / "receiver.toml").write_text("reading_idle_s = 2\n")

    assert load_settings().reading_idle_s == 2


def test_a_variable_goes_before_the_file(monkeypatch, tmp_path):
    (tmp_path / "receiver.toml").write_text("body_max_bytes = 1\n")
    monkeypatch.setenv("RECEIVER_BODY_MAX_BYTES", "2")

    assert load_settings().body_max_bytes == 2


def test_an_override_goes_before_a_variable(monkeypatch):
    monkeypatch.setenv("RECEIVER_BODY_MAX_BYTES", "2")

    assert load_settings(body_max_bytes=3).body_max_bytes == 3


def test_the_file_may_stand_elsewhere(monkeypatch, tmp_path):
    (tmp_path / "other.toml").write_text("body_max_bytes = 5\n")
    monkeypatch.setenv("RECEIVER_CONFIG", str(tmp_path / "other.toml"))

    assert load_settings().body_max_bytes == 5


def test_a_named_file_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setenv("RECEIVER_CONFIG", "absent.toml")

    assert problem() == "RECEIVER_CONFIG names absent.toml, and there is no such file."


def test_a_file_that_is_not_toml_is_refused_without_quoting_it(tmp_path):
    (tmp_path / "receiver.toml").write_text("data_dir = 'x'\nkek = hush\n")

    assert problem() == "The settings file receiver.toml is not TOML: there is a mistake at line 2, column 7."


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "receiver.toml").write_bytes(b"\xff")

    assert problem() == "The settings file receiver.toml cannot be read: it is not UTF-8 text."


def test_a_file_that_is_a_directory_is_refused(tmp_path):
    (tmp_path / "receiver.toml").mkdir()

    assert problem() == "The settings file receiver.toml cannot be read: Is a directory."


def test_an_entry_that_is_no_setting_is_refused(tmp_path):
    (tmp_path / "receiver.toml").write_text("body_max_byte = 5\n")

    assert problem() == "A setting is wrong: body_max_byte is not the name of a setting."


def test_every_wrong_setting_is_named_at_once(monkeypatch):
    monkeypatch.setenv("RECEIVER_BODY_MAX_BYTES", "many")
    monkeypatch.setenv("RECEIVER_LOG_LEVEL", "loud")

    said = problem(reading_idle_s=-1)

    assert said.startswith("3 settings are wrong: ")
    assert "RECEIVER_BODY_MAX_BYTES" in said
    assert "'many'" in said
    assert "RECEIVER_LOG_LEVEL" in said
    assert "RECEIVER_READING_IDLE_S" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("body_max_bytes", "0"),
        ("body_timeout_s", "nan"),
        ("body_timeout_s", "inf"),
        ("rejections_max_rows", "1.5"),
        ("rejections_max_bytes", "-1"),
        ("unknown_rejections_max_rows", "none"),
        ("reading_batch_rows", "0"),
        ("log_format", "xml"),
        ("public_url", "lora.example.org"),
        ("public_url", "https://lora.example.org/?a=b"),
        ("public_url", "https://[lora"),
        ("database_url", "receiver.db"),
        ("database_url", "mysql://localhost/receiver"),
        ("kek", "short"),
    ],
)
def test_a_value_of_another_form_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"RECEIVER_{name.upper()}", value)

    assert f"RECEIVER_{name.upper()} " in problem()


@pytest.mark.parametrize(("name", "value"), [("kek", "hush"), ("database_url", "mysql://root:hush@localhost/x")])
def test_a_refused_secret_is_not_shown(monkeypatch, name, value):
    monkeypatch.setenv(f"RECEIVER_{name.upper()}", value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert "hush" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_settings_do_not_show_their_secrets():
    settings = load_settings(kek=KEK, database_url="postgresql://receiver:hush@localhost/receiver")

    assert "hush" not in repr(settings)
    assert KEK not in repr(settings)


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        load_settings().data_dir = Path("elsewhere")


def test_upper_case_is_as_good_for_a_word(monkeypatch):
    monkeypatch.setenv("RECEIVER_LOG_LEVEL", "DEBUG")

    assert load_settings().log_level == "debug"


def test_the_public_url_has_no_slash_at_its_end():
    assert load_settings(public_url="https://lora.example.org/").public_url == "https://lora.example.org"


def test_without_a_database_url_the_file_stands_in_the_data_directory():
    assert load_settings(data_dir="/srv/x").resolved_database_url == "sqlite:////srv/x/receiver.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_is_the_same_driver(scheme):
    settings = load_settings(database_url=f"{scheme}://u@h/d")

    assert settings.resolved_database_url == "postgresql+psycopg://u@h/d"


def test_a_tilde_is_the_home_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")

    assert load_settings(data_dir="~/receiver").data_dir == Path("/home/someone/receiver")


def test_the_given_key_opens_the_keyring():
    assert load_settings(kek=KEK).open_keyring().kek_id == Keyring(bytes.fromhex(KEK)).kek_id


def test_the_key_file_opens_the_keyring(tmp_path):
    (tmp_path / "kek.txt").write_text(KEK)

    assert load_settings(kek_file="kek.txt").open_keyring().kek_id == Keyring(bytes.fromhex(KEK)).kek_id


def test_the_given_key_goes_before_the_key_file():
    settings = load_settings(kek=KEK, kek_file="absent")

    assert settings.open_keyring().kek_id == Keyring(bytes.fromhex(KEK)).kek_id


def test_a_key_file_that_is_not_there_is_named_and_not_made(tmp_path):
    with pytest.raises(KeyringError, match="absent cannot be read"):
        load_settings(kek_file="absent").open_keyring()

    assert list(tmp_path.iterdir()) == []


def test_without_a_key_one_is_made_in_the_data_directory_and_kept():
    settings = load_settings()

    first = settings.open_keyring()

    assert settings.open_keyring().kek_id == first.kek_id
    assert stat.S_IMODE((settings.data_dir / "kek").stat().st_mode) == 0o600


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError, match="RECEIVER_DATA_DIR"):
        load_settings(data_dir="file/data").open_keyring()


def test_only_what_the_networks_keep_too_has_an_age_unless_a_setting_gives_one():
    ages = {"events": timedelta(days=7), "alarms": timedelta(days=365), "traffic": timedelta(days=90)}

    assert load_settings().keep_ages == ages


def test_each_table_has_its_own_age(monkeypatch):
    monkeypatch.setenv("RECEIVER_REPORTS_KEEP_DAYS", "90")
    monkeypatch.setenv("RECEIVER_REJECTIONS_KEEP_DAYS", "7")

    ages = load_settings().keep_ages

    assert (ages["reports"], ages["rejections"]) == (timedelta(days=90), timedelta(days=7))
    assert "uplinks" not in ages


def test_every_table_that_is_pruned_has_a_setting():
    assert set(load_settings(**{f"{noun}_keep_days": 1 for noun in NOUNS}).keep_ages) == set(NOUNS)


@pytest.mark.parametrize("days", ["0", "-1", "0.5", "36501", "for ever"])
def test_an_age_that_is_none_is_refused(monkeypatch, days):
    monkeypatch.setenv("RECEIVER_UPLINKS_KEEP_DAYS", days)

    with pytest.raises(SettingsError, match="RECEIVER_UPLINKS_KEEP_DAYS"):
        load_settings()
