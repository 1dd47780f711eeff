"""`receiver as-key` as a person starts it."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from Crypto.Cipher import PKCS1_v1_5
from Crypto.PublicKey import RSA
from typer.testing import CliRunner

from receiver.cli.as_key import app

if TYPE_CHECKING:
    from collections.abc import Callable

Done = subprocess.CompletedProcess[str]

ENVIRONMENT = {"RECEIVER_DATA_DIR": "data", "PYTHONPATH": str(Path(__file__).parents[2])}
KEY = bytes.fromhex("dbfb0939c448ff1fbf84e84d6ac8ce98")
CHECK_VALUE = "F96E28"  # openssl enc -aes-128-ecb -nopad over 16 zero bytes
PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data directories to be copied: a connection named demo, without and with an AS transport key."""
    directory = tmp_path_factory.mktemp("prepared")
    run_receiver(directory, "connection", "add", "demo", "--platform", "kpn-lora")
    shutil.copytree(directory / "data", directory / "bare")
    run_receiver(directory, "as-key", "import", "demo", "--clear", "-", typed=KEY.hex())
    return directory


@pytest.fixture
def receiver(prepared: Path, tmp_path: Path) -> Callable[..., Done]:
    """Run a command beside a connection named demo that has no AS transport key."""
    shutil.copytree(prepared / "bare", tmp_path / "data")
    return partial(run_receiver, tmp_path)


@pytest.fixture
def with_key(prepared: Path, tmp_path: Path) -> Callable[..., Done]:
    """Run a command beside a connection named demo that has an AS transport key."""
    shutil.copytree(prepared / "data", tmp_path / "data")
    return partial(run_receiver, tmp_path)


def run_receiver(directory: Path, *arguments: str, typed: str = "", **settings: str) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "receiver", *arguments],
        cwd=directory,
        env=ENVIRONMENT | settings,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_refused(done: Done, sentence: str) -> None:
    assert done.returncode == 1
    assert re.fullmatch(r"receiver: [^\n]+\.\n", done.stderr), done.stderr
    assert sentence in done.stderr


def network_answer(public_pem: str) -> str:
    return PKCS1_v1_5.new(RSA.import_key(public_pem)).encrypt(KEY).hex()


def test_the_whole_way_from_a_new_pair_to_an_active_key(receiver: Callable[..., Done]) -> None:
    pem = json.loads(receiver("as-key", "new", "demo", "--json").stdout)["public_key_pem"]
    answer = network_answer(pem)
    pasted = f"0x{answer[:100]}\n{answer[100:]}\n"

    imported = receiver("as-key", "import", "demo", "--wrapped", "-", typed=pasted)

    assert imported.returncode == 0, imported.stderr
    assert f"key check value is {CHECK_VALUE}" in imported.stdout
    assert "untested" in imported.stdout
    (shown,) = json.loads(receiver("as-key", "show", "demo", "--json").stdout)
    assert (shown["state"], shown["key_check_value"], shown["rsa_bits"]) == ("active", CHECK_VALUE, 2048)
    assert KEY.hex() not in imported.stdout + json.dumps(shown)


def test_a_new_pair_prints_the_public_key_and_what_to_do_with_it(receiver: Callable[..., Done]) -> None:
    done = receiver("as-key", "new", "demo", "--bits", "1024")

    assert done.stdout.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert "receiver as-key import demo --wrapped -" in done.stdout
    assert "PRIVATE" not in done.stdout


def test_the_public_key_on_one_line_is_nothing_else(receiver: Callable[..., Done]) -> None:
    made = receiver("as-key", "new", "demo", "--one-line").stdout
    shown = receiver("as-key", "show", "demo", "--one-line").stdout

    assert re.fullmatch(r"-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=]+-----END PUBLIC KEY-----\n", made)
    assert shown == made


def test_a_key_of_another_size_is_refused(receiver: Callable[..., Done]) -> None:
    assert_refused(receiver("as-key", "new", "demo", "--bits", "4096"), "2048")


def test_a_second_pair_is_refused_unless_it_is_to_replace(receiver: Callable[..., Done]) -> None:
    receiver("as-key", "new", "demo", "--bits", "1024")

    assert_refused(receiver("as-key", "new", "demo", "--bits", "1024"), "--replace")
    assert receiver("as-key", "new", "demo", "--bits", "1024", "--replace").returncode == 0


def test_an_active_key_is_not_overwritten_in_silence(with_key: Callable[..., Done]) -> None:
    other = "00112233445566778899aabbccddeeff"

    refused = with_key("as-key", "import", "demo", "--clear", "-", typed=other)

    assert_refused(refused, "join again")
    assert other not in refused.stderr
    assert with_key("as-key", "import", "demo", "--clear", "-", "--replace", typed=other).returncode == 0


def test_a_wrapped_key_of_the_wrong_length_is_refused(receiver: Callable[..., Done]) -> None:
    receiver("as-key", "new", "demo", "--bits", "1024")

    assert_refused(receiver("as-key", "import", "demo", "--wrapped", "00" * 256), "has 128 (256 hexadecimal digits)")


def test_a_private_key_file_unwraps(receiver: Callable[..., Done], tmp_path: Path) -> None:
    pair = RSA.generate(2048)
    (tmp_path / "private.pem").write_bytes(pair.export_key())
    answer = network_answer(pair.public_key().export_key().decode())

    done = receiver("as-key", "import", "demo", "--wrapped", answer, "--private-key", "private.pem", "--json")

    assert json.loads(done.stdout)["key_check_value"] == CHECK_VALUE


def test_a_private_key_file_that_is_not_there_is_refused(receiver: Callable[..., Done]) -> None:
    done = receiver("as-key", "import", "demo", "--wrapped", "00", "--private-key", "nowhere.pem")

    assert_refused(done, "No such file")


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "demo"),
        ("import", "demo", "--wrapped", "00", "--clear", "00"),
        ("import", "demo", "--clear", "00", "--private-key", "x"),
        ("escrow", "demo"),
        ("new",),
    ],
)
def test_wrong_usage_exits_with_two(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 2
    assert "Usage:" in done.stderr


def test_a_connection_without_keys_says_how_to_begin(receiver: Callable[..., Done]) -> None:
    assert "receiver as-key new demo" in receiver("as-key", "show", "demo").stdout
    assert_refused(receiver("as-key", "show", "demo", "--one-line"), "receiver as-key new demo")


def test_an_escrow_file_restores_the_key(with_key: Callable[..., Done], tmp_path: Path) -> None:
    with_key("connection", "add", "rebuilt", "--platform", "kpn-lora")
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n", encoding="utf-8")

    made = with_key("as-key", "escrow", "demo", "--out", "demo.escrow", RECEIVER_ESCROW_PASSPHRASE=PASSPHRASE)
    restored = with_key(
        "as-key", "import", "rebuilt", "--escrow", "demo.escrow", "--passphrase-file", "passphrase", "--json"
    )

    assert made.returncode == 0
    assert json.loads(restored.stdout)["key_check_value"] == CHECK_VALUE
    assert PASSPHRASE not in made.stdout + restored.stdout


def test_an_escrow_file_is_of_its_owner_only_and_shows_no_key(with_key: Callable[..., Done], tmp_path: Path) -> None:

    with_key("as-key", "escrow", "demo", "--out", "demo.escrow", RECEIVER_ESCROW_PASSPHRASE=PASSPHRASE)

    assert (tmp_path / "demo.escrow").stat().st_mode & 0o777 == 0o600
    assert KEY.hex() not in (tmp_path / "demo.escrow").read_text(encoding="utf-8")


def test_an_escrow_file_is_not_overwritten(with_key: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "demo.escrow").write_text("mine", encoding="utf-8")

    done = with_key("as-key", "escrow", "demo", "--out", "demo.escrow", RECEIVER_ESCROW_PASSPHRASE=PASSPHRASE)

    assert_refused(done, "is there already")
    assert (tmp_path / "demo.escrow").read_text(encoding="utf-8") == "mine"


def test_a_short_passphrase_is_refused_and_leaves_no_file(with_key: Callable[..., Done], tmp_path: Path) -> None:

    done = with_key("as-key", "escrow", "demo", "--out", "demo.escrow", RECEIVER_ESCROW_PASSPHRASE="short")

    assert_refused(done, "too short")
    assert not (tmp_path / "demo.escrow").exists()


def test_without_a_terminal_a_passphrase_is_asked_for_in_words(receiver: Callable[..., Done]) -> None:
    assert_refused(receiver("as-key", "escrow", "demo", "--out", "demo.escrow"), "RECEIVER_ESCROW_PASSPHRASE")


def test_an_escrow_file_with_another_passphrase_is_refused(with_key: Callable[..., Done]) -> None:
    with_key("as-key", "escrow", "demo", "--out", "demo.escrow", RECEIVER_ESCROW_PASSPHRASE=PASSPHRASE)

    done = with_key("as-key", "import", "demo", "--escrow", "demo.escrow", RECEIVER_ESCROW_PASSPHRASE="another one")

    assert_refused(done, "another passphrase")


def test_an_escrow_file_into_a_directory_that_is_not_there_is_refused(with_key: Callable[..., Done]) -> None:

    done = with_key("as-key", "escrow", "demo", "--out", "nowhere/demo", RECEIVER_ESCROW_PASSPHRASE=PASSPHRASE)

    assert_refused(done, "cannot be written")


def test_on_a_terminal_the_passphrase_is_typed_twice_and_not_shown(
    with_key: Callable[..., Done], tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "receiver", "as-key", "escrow", "demo", "--out", "demo.escrow"]

    with subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        screen = read_until(ours, b"Passphrase: ")
        os.write(ours, f"{PASSPHRASE}\n".encode())
        screen += read_until(ours, b"Repeat for confirmation: ")
        os.write(ours, f"{PASSPHRASE}\n".encode())
        screen += read_until(ours, None)
    os.close(ours)

    assert process.returncode == 0
    assert PASSPHRASE.encode() not in screen
    assert (tmp_path / "demo.escrow").exists()


def read_until(terminal: int, prompt: bytes | None) -> bytes:
    """Read what a program shows, up to its prompt, or to its end."""
    screen = b""
    while prompt is None or not screen.endswith(prompt):
        try:
            shown = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other side is closed
            break
        if not shown:
            break
        screen += shown
    return screen
