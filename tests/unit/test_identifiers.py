"""DevEUIs, DevAddrs and keys: one spelling each, checked on the way in, and keys that never show themselves."""

from __future__ import annotations

import pickle

import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import IdentifierError
from receiver.lorawan.identifiers import parse_dev_addr, parse_dev_eui
from receiver.lorawan.keys import AesKey, key_check_value, parse_aes_key

KEY_TEXT = "c26cbb4e64fa2598e083207676972385"
KEY = bytes.fromhex(KEY_TEXT)


@pytest.mark.parametrize(
    "text",
    ["20635f0108000496", "20635F0108000496", "20-63-5F-01-08-00-04-96", "20:63:5f:01:08:00:04:96", "20635F01 08000496"],
)
def test_a_dev_eui_in_any_grouping_and_case_is_the_same(text):
    assert parse_dev_eui(text) == "20635F0108000496"


@pytest.mark.parametrize("text", ["14c4cc04", "14-C4-CC-04", "14:c4:cc:04", " 14C4CC04 "])
def test_a_dev_addr_in_any_grouping_and_case_is_the_same(text):
    assert parse_dev_addr(text) == "14C4CC04"


NO_IDENTIFIERS = ["", "-", "0", "XXXX", "+1", "0x14", "14C4CC0\n", "14C4CC04\n", "\uff11\uff14C4CC04", "14C4CC0½"]


@pytest.mark.parametrize("parse", [parse_dev_eui, parse_dev_addr])
@pytest.mark.parametrize("text", [*NO_IDENTIFIERS, "14C4CC0", "14C4CC04F", "20635F010800049", "20635F01080004961"])
def test_what_is_no_identifier_is_an_error_and_never_zeros(parse, text):
    with pytest.raises(IdentifierError, match="hexadecimal"):
        parse(text)


def test_the_message_about_a_long_text_stays_short():
    with pytest.raises(IdentifierError) as caught:
        parse_dev_eui("F" * 10_000)

    assert len(str(caught.value)) < 150


@given(st.text(max_size=30))
def test_any_text_is_an_identifier_or_an_identifier_error(text):
    for parse, digits in ((parse_dev_eui, 16), (parse_dev_addr, 8)):
        try:
            parsed = parse(text)
        except IdentifierError:
            continue
        assert len(parsed) == digits
        assert int(parsed, 16) >= 0
        assert parsed == parsed.upper()


@pytest.mark.parametrize("text", [KEY_TEXT, KEY_TEXT.upper(), "c26cbb4e-64fa-2598-e083-207676972385", f" {KEY_TEXT}\n"])
def test_a_key_in_any_grouping_and_case_is_the_same(text):
    assert parse_aes_key(text).reveal() == KEY


@pytest.mark.parametrize("text", ["", "c26c", KEY_TEXT + "00", KEY_TEXT[:-1] + "g", KEY_TEXT[:-1] + "\uff11"])
def test_a_text_that_is_no_key_is_refused_without_being_shown(text):
    with pytest.raises(IdentifierError) as caught:
        parse_aes_key(text)

    assert KEY_TEXT[:12] not in str(caught.value)


@pytest.mark.parametrize("size", [0, 15, 17, 24, 32])
def test_a_key_has_sixteen_bytes(size):
    with pytest.raises(IdentifierError, match=f"this one has {size}"):
        AesKey(bytes(size))


@pytest.mark.parametrize("show", [repr, "{}".format, "{0!r}".format, "{0:>40}".format, lambda key: f"{[key]}"])
def test_a_key_shows_itself_in_no_text(show):
    assert show(AesKey(KEY)).strip("[]") == "AesKey(…)"


def test_a_key_has_no_str():
    with pytest.raises(TypeError):
        str(AesKey(KEY))


def test_a_key_is_not_pickled():
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(AesKey(KEY))


def test_keys_are_equal_by_their_bytes():
    assert AesKey(KEY) == parse_aes_key(KEY_TEXT)
    assert AesKey(KEY) != AesKey(bytes(16))
    assert AesKey(KEY) != KEY


def test_equal_keys_hash_alike():
    assert hash(AesKey(KEY)) == hash(parse_aes_key(KEY_TEXT))


@given(st.binary(min_size=16, max_size=16))
def test_a_key_check_value_is_the_start_of_the_encrypted_zero_block(key):
    expected = AES.new(key, AES.MODE_ECB).encrypt(bytes(16))[:3].hex().upper()

    assert key_check_value(AesKey(key)) == expected
