"""Secrets at rest: only the right key, for the same purpose, opens what was sealed."""

from __future__ import annotations

import base64
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import KeyringError
from receiver.keyring import KEK_BYTES, Keyring, load_kek, load_or_create_kek, parse_kek

KEK = bytes(range(KEK_BYTES))
PURPOSE = "tunnel_key:1:k1"
HEADER_BYTES, NONCE_BYTES, TAG_BYTES = 5, 12, 16


@given(secret=st.binary(max_size=300), purpose=st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_was_sealed_opens(secret, purpose):
    keyring = Keyring(KEK)

    assert keyring.open(keyring.seal(secret, purpose), purpose) == secret


def test_a_second_implementation_opens_what_was_sealed(keyring):
    sealed = keyring.seal(b"hush", PURPOSE)
    header, nonce = sealed[:HEADER_BYTES], sealed[HEADER_BYTES : HEADER_BYTES + NONCE_BYTES]
    cipher = AES.new(KEK, AES.MODE_GCM, nonce=nonce)
    cipher.update(header + PURPOSE.encode())

    body = sealed[HEADER_BYTES + NONCE_BYTES :]
    assert cipher.decrypt_and_verify(body[:-TAG_BYTES], body[-TAG_BYTES:]) == b"hush"


def test_two_seals_of_one_secret_differ(keyring):
    assert keyring.seal(b"hush", PURPOSE) != keyring.seal(b"hush", PURPOSE)


def test_a_sealed_secret_names_the_key_that_it_needs(keyring):
    assert keyring.seal(b"hush", PURPOSE)[:HEADER_BYTES] == b"\x01" + keyring.kek_id


def test_a_secret_moved_to_another_row_does_not_open(keyring):
    sealed = keyring.seal(b"hush", PURPOSE)

    with pytest.raises(KeyringError, match="copied from another row"):
        keyring.open(sealed, "tunnel_key:2:k1")


@pytest.mark.parametrize("position", [HEADER_BYTES, HEADER_BYTES + NONCE_BYTES, -1])
def test_a_changed_byte_does_not_open(keyring, position):
    sealed = bytearray(keyring.seal(b"hush", PURPOSE))
    sealed[position] ^= 1

    with pytest.raises(KeyringError, match="was changed"):
        keyring.open(bytes(sealed), PURPOSE)


def test_another_key_is_told_apart_by_its_id(keyring):
    other = Keyring(secrets.token_bytes(KEK_BYTES))

    with pytest.raises(KeyringError, match=f"{other.kek_id.hex()}.*{keyring.kek_id.hex()}.*RECEIVER_KEK_FILE"):
        keyring.open(other.seal(b"hush", PURPOSE), PURPOSE)


def test_an_unknown_form_is_refused(keyring):
    sealed = b"\x02" + keyring.seal(b"hush", PURPOSE)[1:]

    with pytest.raises(KeyringError, match="not in a form"):
        keyring.open(sealed, PURPOSE)


@given(sealed=st.binary(max_size=80))
def test_any_other_bytes_are_refused_with_a_sentence(sealed):
    with pytest.raises(KeyringError):
        Keyring(KEK).open(sealed, PURPOSE)


@given(cut=st.integers(min_value=0, max_value=36))
def test_a_cut_secret_is_refused_with_a_sentence(cut):
    keyring = Keyring(KEK)
    sealed = keyring.seal(b"hush", PURPOSE)

    with pytest.raises(KeyringError):
        keyring.open(sealed[:cut], PURPOSE)


def test_a_keyring_shows_the_id_of_its_key_and_not_the_key(keyring):
    assert repr(keyring) == f"Keyring(kek_id={keyring.kek_id.hex()})"
    assert KEK.hex() not in f"{keyring} {keyring!r}"


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_size_is_refused(size):
    with pytest.raises(KeyringError, match=f"this one has {size}"):
        Keyring(bytes(size))


@pytest.mark.parametrize("text", [KEK.hex(), KEK.hex().upper(), base64.b64encode(KEK).decode(), f"  {KEK.hex()}\n"])
def test_a_key_is_read_from_hex_or_base64(text):
    assert parse_kek(text) == KEK


@pytest.mark.parametrize("text", ["", "hush", KEK.hex()[:-2], KEK.hex() + "00", base64.b64encode(KEK[:16]).decode()])
def test_text_that_is_no_key_is_refused_without_showing_it(text):
    with pytest.raises(KeyringError) as caught:
        parse_kek(text)

    assert not text or text not in str(caught.value)


def test_a_key_is_made_where_there_is_none(tmp_path):
    path = tmp_path / "data" / "kek"

    kek = load_or_create_kek(path)

    assert len(kek) == KEK_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_key_that_is_there_is_kept(tmp_path):
    path = tmp_path / "kek"
    path.write_text(KEK.hex())

    assert load_or_create_kek(path) == KEK


def test_many_that_make_the_key_at_once_end_with_the_same(tmp_path):
    path = tmp_path / "kek"

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_or_create_kek, [path] * 32))

    assert len(keys) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["kek"]


def test_a_key_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(KeyringError, match="kek cannot be read: No such file"):
        load_kek(tmp_path / "kek")


def test_a_key_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "kek").write_bytes(b"\xff\xfe")

    with pytest.raises(KeyringError, match="kek cannot be read: not text"):
        load_kek(tmp_path / "kek")


def test_a_key_file_that_holds_no_key_is_refused(tmp_path):
    (tmp_path / "kek").write_text("hush")

    with pytest.raises(KeyringError, match="must be 32 bytes"):
        load_kek(tmp_path / "kek")
