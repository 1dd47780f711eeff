from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from receiver.errors import AsTransportKeyError
from receiver.services.escrow_file import check_passphrase, open_escrow, seal_escrow

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PASSPHRASE = "correct horse battery"
CONTENT = {"as_transport_keys": [{"key": "dbfb0939c448ff1fbf84e84d6ac8ce98"}]}


@pytest.fixture(scope="module")
def escrowed() -> bytes:
    return seal_escrow(CONTENT, PASSPHRASE, "demo", NOW)


def changed(escrowed: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    file = json.loads(escrowed)
    change(file)
    return json.dumps(file).encode()


def test_a_file_opens_with_its_passphrase(escrowed: bytes) -> None:
    assert open_escrow(escrowed, PASSPHRASE) == CONTENT


def test_a_passphrase_composed_otherwise_by_the_keyboard_opens_it_too() -> None:
    composed = "caf\N{LATIN SMALL LETTER E WITH ACUTE} at noon"
    decomposed = "cafe\N{COMBINING ACUTE ACCENT} at noon"

    assert open_escrow(seal_escrow(CONTENT, composed, "demo", NOW), decomposed) == CONTENT


def test_another_passphrase_does_not_open_it(escrowed: bytes) -> None:
    with pytest.raises(AsTransportKeyError, match="another passphrase"):
        open_escrow(escrowed, PASSPHRASE + ".")


def test_the_header_tells_what_it_is_and_no_key(escrowed: bytes) -> None:
    header = json.loads(escrowed)

    assert header["connection"] == "demo"
    assert header["kdf"]["n"] == 2**17
    assert b"dbfb" not in escrowed


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.update(connection="other"),
        lambda file: file.update(created_at="2020-01-01T00:00:00+00:00"),
        lambda file: file["cipher"].update(nonce="AAAAAAAAAAAAAAAA"),
        lambda file: file["kdf"].update(salt="AAAAAAAAAAAAAAAAAAAAAA=="),
        lambda file: file["kdf"].update(n=2**12),
        lambda file: file.update(sealed="AAAA" + file["sealed"][4:]),
    ],
)
def test_a_changed_file_does_not_open(escrowed: bytes, change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(AsTransportKeyError, match="does not open"):
        open_escrow(changed(escrowed, change), PASSPHRASE)


@pytest.mark.parametrize("kdf", [{"n": 2**30}, {"n": 3}, {"n": 0}, {"n": -4}, {"p": 1000}, {"r": 1024}])
def test_a_file_that_asks_for_more_than_the_bounds_is_refused_at_once(escrowed: bytes, kdf: dict[str, int]) -> None:
    with pytest.raises(AsTransportKeyError, match="outside of the bounds"):
        open_escrow(changed(escrowed, lambda file: file["kdf"].update(kdf)), PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.update(version=2),
        lambda file: file.update(format="another"),
        lambda file: file["kdf"].update(name="pbkdf2"),
        lambda file: file["cipher"].update(name="AES-128-GCM"),
    ],
)
def test_a_file_of_another_form_is_refused(escrowed: bytes, change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(AsTransportKeyError, match="does not know"):
        open_escrow(changed(escrowed, change), PASSPHRASE)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\xff", b'"sealed"', b'{"sealed": 1}', b"[" * 100_000],
)
def test_what_is_no_escrow_file_is_refused(data: bytes) -> None:
    with pytest.raises(AsTransportKeyError, match="not an escrow file"):
        open_escrow(data, PASSPHRASE)


@pytest.mark.parametrize("passphrase", ["", "eleven char"])
def test_a_short_passphrase_is_refused_without_showing_it(passphrase: str) -> None:
    with pytest.raises(AsTransportKeyError, match=f"of {len(passphrase)} characters is too short") as caught:
        check_passphrase(passphrase)

    assert "eleven" not in str(caught.value)


def test_twelve_characters_are_a_passphrase() -> None:
    assert check_passphrase("twelve chars") == "twelve chars"
