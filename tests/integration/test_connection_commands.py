"""`receiver connection` as a person starts it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from receiver.cli.connection import app

if TYPE_CHECKING:
    from collections.abc import Callable

Done = subprocess.CompletedProcess[str]

CHECKOUT = Path(__file__).parents[2]
KEY = "6DD70C85-11e0-2ac8-33ad-d9a146f5bf23"
OTHER_KEY = "c6f5e3b263092120b8766b9aed9c41b4"
ONE_SENTENCE = re.compile(r"receiver: [^\n]+\.\n")


@pytest.fixture
def receiver(tmp_path: Path) -> Callable[..., Done]:
    def run(*arguments: str, typed: str = "", **settings: str) -> Done:
        return run_receiver(tmp_path, *arguments, typed=typed, **settings)

    return run


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a connection named demo, to be copied."""
    directory = tmp_path_factory.mktemp("prepared")
    added = run_receiver(directory, "connection", "add", "demo", "--platform", "thingpark", "--tunnel-key", KEY)
    assert added.returncode == 0, added.stderr
    return directory


@pytest.fixture
def with_demo(receiver: Callable[..., Done], prepared: Path, tmp_path: Path) -> Callable[..., Done]:
    shutil.copytree(prepared / "data", tmp_path / "data")
    return receiver


def run_receiver(directory: Path, *arguments: str, typed: str = "", **settings: str) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "receiver", *arguments],
        cwd=directory,
        env={"RECEIVER_DATA_DIR": "data", "PYTHONPATH": str(CHECKOUT), **settings},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_refused(done: Done, sentence: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    assert ONE_SENTENCE.fullmatch(done.stderr), done.stderr
    assert sentence in done.stderr


def test_adding_a_connection_says_what_to_paste_where(receiver: Callable[..., Done]) -> None:
    done = receiver(
        *("connection", "add", "demo", "--platform", "thingpark", "--as-id", "TWA_1.2.AS", "--new-tunnel-key"),
        RECEIVER_PUBLIC_URL="https://lora.example.org/",
    )

    assert done.returncode == 0
    assert "https://lora.example.org/push/demo" in done.stdout
    assert "AS ID TWA_1.2.AS" in done.stdout
    assert len(re.findall(r"\b[0-9a-f]{32}\b", done.stdout)) == 1
    assert "not shown again" in done.stdout


def test_a_new_tunnel_key_is_shown_once_and_never_again(receiver: Callable[..., Done]) -> None:
    added = receiver("connection", "add", "demo", "--platform", "kpn-lora", "--new-tunnel-key", "--json")
    key = json.loads(added.stdout)["tunnel_key"]

    later = [
        receiver("connection", *arguments).stdout
        for arguments in (("list", "--json"), ("show", "demo"), ("show", "demo", "--json"), ("keys", "demo", "--json"))
    ]

    assert re.fullmatch(r"[0-9a-f]{32}", key)
    assert not [output for output in later if key in output]


@pytest.mark.parametrize("json_option", [(), ("--json",)])
def test_a_key_that_was_typed_is_not_shown(receiver: Callable[..., Done], json_option: tuple[str, ...]) -> None:
    done = receiver(
        "connection", "add", "demo", "--platform", "thingpark", "--tunnel-key", "-", *json_option, typed=f"{KEY}\n"
    )

    assert done.returncode == 0
    assert KEY not in done.stdout + done.stderr


def test_a_connection_without_a_key_says_that_pushes_are_refused(receiver: Callable[..., Done]) -> None:
    done = receiver("connection", "add", "demo", "--platform", "thingpark")

    assert done.returncode == 0
    assert "every push is refused" in done.stdout


def test_a_key_that_is_easy_to_guess_is_taken_with_a_warning(receiver: Callable[..., Done]) -> None:
    done = receiver("connection", "add", "demo", "--platform", "thingpark", "--tunnel-key", "0" * 32)

    assert done.returncode == 0
    assert "easier to guess" in done.stderr


def test_an_empty_standard_input_is_no_key(receiver: Callable[..., Done]) -> None:
    done = receiver("connection", "add", "demo", "--platform", "thingpark", "--tunnel-key", "-")

    assert_refused(done, "No tunnel key came")


def test_a_tunnel_key_for_kpn_things_is_refused_with_one_sentence(receiver: Callable[..., Done]) -> None:
    done = receiver("connection", "add", "things", "--platform", "kpn-things", "--tunnel-key", "0" * 32)

    assert_refused(done, "has shared secrets")


def test_a_name_that_is_taken_is_refused_with_one_sentence(with_demo: Callable[..., Done]) -> None:
    assert_refused(with_demo("connection", "add", "demo", "--platform", "thingpark"), "named demo already")


def test_a_bad_key_is_refused_without_showing_it(receiver: Callable[..., Done]) -> None:
    done = receiver("connection", "add", "demo", "--platform", "thingpark", "--tunnel-key", KEY[:-1])

    assert_refused(done, "32 hexadecimal digits")
    assert KEY[:8] not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "demo"),
        ("add", "demo", "--platform", "ttn"),
        ("add", "demo", "--platform", "thingpark", "--max-deviation", "soon"),
        ("add", "demo", "--platform", "thingpark", "--new-tunnel-key", "--tunnel-key", KEY),
        ("add-key", "demo"),
        ("keys",),
    ],
)
def test_wrong_usage_exits_with_two(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 2
    assert "Usage:" in done.stderr


def test_an_unknown_command_is_wrong_usage(receiver: Callable[..., Done]) -> None:
    done = receiver("connection", "teleport")

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_connections_are_listed_as_json(with_demo: Callable[..., Done]) -> None:
    (row,) = json.loads(with_demo("connection", "list", "--json").stdout)

    assert (row["name"], row["platform"], row["as_id"], row["push_path"]) == (
        "demo",
        "thingpark",
        "demo",
        "/push/demo",
    )


def test_no_connections_are_an_empty_json_array(receiver: Callable[..., Done]) -> None:
    assert json.loads(receiver("connection", "list", "--json").stdout) == []


def test_connections_are_listed_for_people(with_demo: Callable[..., Done]) -> None:
    done = with_demo("connection", "list")

    assert re.search(r"demo +thingpark +demo +auto +60", done.stdout)


def test_a_connection_is_shown_with_check_values(with_demo: Callable[..., Done]) -> None:
    record = json.loads(with_demo("connection", "show", "demo", "--json").stdout)

    assert list(record["tunnel_keys"]) == ["k1"]
    assert re.fullmatch(r"[0-9A-F]{6}", record["tunnel_keys"]["k1"])
    assert record["as_transport_key_check_value"] is None


def test_an_unknown_connection_is_refused_with_one_sentence(with_demo: Callable[..., Done]) -> None:
    assert_refused(with_demo("connection", "show", "nope"), "there are: demo")


def test_a_second_key_is_added_listed_and_the_first_retired(with_demo: Callable[..., Done]) -> None:
    added = with_demo("connection", "add-key", "demo", "--tunnel-key", "-", "--json", typed=OTHER_KEY)
    retired = with_demo("connection", "retire-key", "demo", "k1")
    listed = json.loads(with_demo("connection", "keys", "demo", "--json").stdout)

    assert json.loads(added.stdout) == {"name": "demo", "key_id": "k2", "warnings": []}
    assert retired.returncode == 0
    assert [(key["key_id"], key["retired_at"] is not None) for key in listed] == [("k1", True), ("k2", False)]


def test_an_added_key_is_shown_if_it_was_made_here(with_demo: Callable[..., Done]) -> None:
    done = with_demo("connection", "add-key", "demo", "--new-tunnel-key")

    assert len(re.findall(r"^  [0-9a-f]{32}$", done.stdout, flags=re.MULTILINE)) == 1


def test_keys_are_listed_with_a_judgement(with_demo: Callable[..., Done]) -> None:
    assert "needed: the only live key" in with_demo("connection", "keys", "demo").stdout


def test_the_last_live_key_is_not_retired_without_force(with_demo: Callable[..., Done]) -> None:
    assert_refused(with_demo("connection", "retire-key", "demo", "k1"), "last live key")
    assert with_demo("connection", "retire-key", "demo", "k1", "--force", "--json").returncode == 0


def test_a_removal_that_is_not_confirmed_removes_nothing(with_demo: Callable[..., Done]) -> None:
    done = with_demo("connection", "remove", "demo", typed="n\n")

    assert done.returncode == 1
    assert "AS transport key is lost" in done.stderr
    assert len(json.loads(with_demo("connection", "list", "--json").stdout)) == 1


def test_a_removal_says_what_stays(with_demo: Callable[..., Done]) -> None:
    done = with_demo("connection", "remove", "demo", "--yes")

    assert done.returncode == 0
    assert "reports (0), uplinks and devices stay" in done.stdout
    assert json.loads(with_demo("connection", "list", "--json").stdout) == []


def test_a_removal_answers_in_json(with_demo: Callable[..., Done]) -> None:
    done = with_demo("connection", "remove", "demo", "--yes", "--json")

    assert json.loads(done.stdout) == {"name": "demo", "tunnel_keys_removed": 1, "reports_that_stay": 0}


def test_a_wrong_setting_is_refused_with_its_name(receiver: Callable[..., Done]) -> None:
    done = receiver("connection", "list", RECEIVER_READING_BATCH_ROWS="many")

    assert done.returncode == 1
    assert "RECEIVER_READING_BATCH_ROWS" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_away_is_refused_with_one_sentence(receiver: Callable[..., Done]) -> None:
    done = receiver("connection", "list", RECEIVER_DATABASE_URL="postgresql://nobody@127.0.0.1:9/receiver")

    assert_refused(done, "The database")


def test_the_version_is_printed(receiver: Callable[..., Done]) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", receiver("--version").stdout)
