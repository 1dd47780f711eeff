"""`receiver device` as a person starts it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from receiver.cli.device import app, battery_text

if TYPE_CHECKING:
    from collections.abc import Callable

Done = subprocess.CompletedProcess[str]

CHECKOUT = Path(__file__).parents[2]
DEV_EUI = "0016C001F004A480"
APP_S_KEY = "dbfb0939c448ff1fbf84e84d6ac8ce98"
CHECK_VALUE = "F96E28"  # openssl enc -aes-128-ecb -nopad over 16 zero bytes


@pytest.fixture
def receiver(tmp_path: Path) -> Callable[..., Done]:
    return partial(run_receiver, tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one device, to be copied."""
    directory = tmp_path_factory.mktemp("prepared")
    arguments = ("set", DEV_EUI, "--app-s-key", "-", "--dev-addr", "1556dc96", "--name", "Kitchen")
    done = run_receiver(directory, *arguments, typed=APP_S_KEY)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def with_device(receiver: Callable[..., Done], prepared: Path, tmp_path: Path) -> Callable[..., Done]:
    shutil.copytree(prepared / "data", tmp_path / "data")
    return receiver


def run_receiver(directory: Path, *arguments: str, typed: str = "") -> Done:
    return subprocess.run(
        [sys.executable, "-m", "receiver", "device", *arguments],
        cwd=directory,
        env={"RECEIVER_DATA_DIR": "data", "PYTHONPATH": str(CHECKOUT)},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_refused(done: Done, sentence: str) -> None:
    assert done.returncode == 1
    assert re.fullmatch(r"receiver: [^\n]+\.\n", done.stderr), done.stderr
    assert sentence in done.stderr


def test_an_abp_device_is_set_up_before_it_is_heard(receiver: Callable[..., Done]) -> None:
    done = receiver("set", "00-16-c0-01-f0-04-a4-80", "--app-s-key", APP_S_KEY, "--dev-addr", "1556DC96", "--json")

    assert json.loads(done.stdout) == {
        "dev_eui": DEV_EUI,
        "dev_addr": "1556DC96",
        "app_s_key_check_value": CHECK_VALUE,
        "reports_to_read_again": 0,
    }


def test_a_device_is_listed_as_json(with_device: Callable[..., Done]) -> None:
    (device,) = json.loads(with_device("list", "--json").stdout)

    assert (device["dev_eui"], device["name"], device["connection"]) == (DEV_EUI, "Kitchen", None)


def test_a_device_is_listed_for_people(with_device: Callable[..., Done]) -> None:
    assert re.search(rf"{DEV_EUI} +Kitchen +-", with_device("list").stdout)


def test_no_devices_are_an_empty_json_array(receiver: Callable[..., Done]) -> None:
    assert json.loads(receiver("list", "--json").stdout) == []


def test_a_device_is_shown_with_its_sessions_and_no_key(with_device: Callable[..., Done]) -> None:
    as_json, for_people = with_device("show", DEV_EUI, "--json").stdout, with_device("show", DEV_EUI).stdout

    assert json.loads(as_json)["sessions"][0]["app_s_key_check_value"] == CHECK_VALUE
    assert CHECK_VALUE in for_people
    assert APP_S_KEY not in as_json + for_people


def test_a_device_is_named_and_its_name_given_back(with_device: Callable[..., Done]) -> None:
    named = with_device("set", DEV_EUI, "--name", "Attic")
    given_back = with_device("set", DEV_EUI, "--name", "")

    assert named.stdout == f"{DEV_EUI} is named Attic.\n"
    assert given_back.returncode == 0
    assert json.loads(with_device("show", DEV_EUI, "--json").stdout)["name"] is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", DEV_EUI), "was not heard yet"),
        (("set", DEV_EUI, "--name", "x"), "was not heard yet"),
        (("show", "kitchen"), "is not a DevEUI"),
        (("set", DEV_EUI, "--app-s-key", APP_S_KEY, "--dev-addr", "15"), "is not a DevAddr"),
        (("set", DEV_EUI, "--app-s-key", APP_S_KEY[1:], "--dev-addr", "1556DC96"), "32 hexadecimal digits"),
    ],
)
def test_what_cannot_be_done_is_refused_with_one_sentence(
    receiver: Callable[..., Done], arguments: tuple[str, ...], sentence: str
) -> None:
    done = receiver(*arguments)

    assert_refused(done, sentence)
    assert APP_S_KEY[1:] not in done.stderr


@pytest.mark.parametrize(
    "arguments", [("set", DEV_EUI), ("set", DEV_EUI, "--app-s-key", APP_S_KEY), ("show",), ("set", DEV_EUI, "--codec")]
)
def test_wrong_usage_exits_with_two(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 2
    assert "Usage:" in done.stderr


@pytest.mark.parametrize(
    ("level", "text"), [(None, None), (0, "mains"), (1, "0%"), (127, "50%"), (254, "100%"), (255, "not measurable")]
)
def test_a_battery_level_is_told_as_people_read_it(level: int | None, text: str | None) -> None:
    assert battery_text(level) == text
