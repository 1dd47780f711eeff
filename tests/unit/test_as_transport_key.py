"""The two unwrappings, with pycryptodome as second opinion: it wraps here, the receiver unwraps."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import pytest
from Crypto.Cipher import AES, PKCS1_v1_5
from Crypto.PublicKey import RSA
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from receiver.errors import AsTransportKeyError, IdentifierError
from receiver.lorawan.frm_payload import decrypt_frm_payload
from receiver.lorawan.identifiers import parse_dev_addr
from receiver.lorawan.keys import AesKey, parse_aes_key
from receiver.thingpark.as_transport_key import (
    parse_wrapped_key,
    unwrap_app_s_key,
    unwrap_as_transport_key,
    wrap_app_s_key,
)
from receiver.thingpark.rsa_key import parse_private_key, public_key_pem

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KEY = bytes.fromhex("dbfb0939c448ff1fbf84e84d6ac8ce98")

# With implicit rejection about one wrong key in 100 gives 16 bytes, which pass for a key.
ANOTHER_KEY_TRIES = 8


@pytest.fixture(scope="module", params=[1024, 2048])
def private_key(request: pytest.FixtureRequest) -> RSAPrivateKey:
    return generate_private_key(65537, request.param)


def wrap(private_key: RSAPrivateKey, plaintext: bytes) -> bytes:
    public_key = RSA.import_key(public_key_pem(private_key.public_key()))
    return PKCS1_v1_5.new(public_key).encrypt(plaintext)


def test_sixteen_raw_bytes_are_the_key(private_key: RSAPrivateKey) -> None:
    assert unwrap_as_transport_key(private_key, wrap(private_key, KEY)).reveal() == KEY


@pytest.mark.parametrize(
    "spelling", [KEY.hex(), KEY.hex().upper(), f"{KEY.hex()}\n", f" {KEY.hex()[:16]} {KEY.hex()[16:]}\r\n"]
)
def test_thirty_two_hex_digits_are_the_key(private_key: RSAPrivateKey, spelling: str) -> None:
    assert unwrap_as_transport_key(private_key, wrap(private_key, spelling.encode())).reveal() == KEY


def test_sixteen_raw_bytes_that_look_like_white_space_stay_whole(private_key: RSAPrivateKey) -> None:
    key = b"\n \t\r" * 4

    assert unwrap_as_transport_key(private_key, wrap(private_key, key)).reveal() == key


@pytest.mark.parametrize("length", [0, 1, 15, 17, 24, 31, 33, 64])
def test_another_length_is_refused_and_named(private_key: RSAPrivateKey, length: int) -> None:
    with pytest.raises(AsTransportKeyError, match=rf"decrypts to {length} bytes"):
        unwrap_as_transport_key(private_key, wrap(private_key, b"\xff" * length))


def test_thirty_two_bytes_that_are_not_hex_are_refused(private_key: RSAPrivateKey) -> None:
    with pytest.raises(AsTransportKeyError, match="decrypts to 32 bytes"):
        unwrap_as_transport_key(private_key, wrap(private_key, b"g" * 32))


def test_the_refusal_does_not_hold_what_was_decrypted(private_key: RSAPrivateKey) -> None:
    with pytest.raises(AsTransportKeyError) as caught:
        unwrap_as_transport_key(private_key, wrap(private_key, b"secret-secret-secret"))

    assert "secret" not in str(caught.value)


def test_a_ciphertext_shorter_than_the_modulus_is_refused_with_both_lengths(private_key: RSAPrivateKey) -> None:
    size = private_key.key_size // 8

    with pytest.raises(AsTransportKeyError, match=rf"has {size - 1} bytes.*has {size} \({2 * size} hex"):
        unwrap_as_transport_key(private_key, wrap(private_key, KEY)[1:])


def test_a_number_above_the_modulus_is_refused(private_key: RSAPrivateKey) -> None:
    with pytest.raises(AsTransportKeyError, match="another public key"):
        unwrap_as_transport_key(private_key, b"\xff" * (private_key.key_size // 8))


def test_another_private_key_is_refused_or_gives_another_key(private_key: RSAPrivateKey) -> None:
    other = generate_private_key(65537, private_key.key_size)
    refused = 0
    for _ in range(ANOTHER_KEY_TRIES):
        try:
            assert unwrap_as_transport_key(other, wrap(private_key, KEY)).reveal() != KEY
        except AsTransportKeyError:
            refused += 1

    assert refused >= ANOTHER_KEY_TRIES // 2


@pytest.mark.parametrize("pasted", ["0xAB cd\n01", "ab:CD:01", " abcd01\r\n", "0xab 0xcd 0x01", "AB\tCD 01"])
def test_white_space_colons_and_0x_in_pasted_hex_do_not_matter(pasted: str) -> None:
    assert parse_wrapped_key(pasted) == b"\xab\xcd\x01"


@pytest.mark.parametrize(
    ("pasted", "sentence"),
    [
        ("", "is empty"),
        (" 0x ", "is empty"),
        ("abc", "3 hexadecimal digits, an odd number"),
        ('"abcd"', "not hexadecimal"),
        ("abcg", "not hexadecimal"),
        ("\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}", "not hexadecimal"),
    ],
)
def test_pasted_text_that_is_not_hex_is_refused_with_its_fault(pasted: str, sentence: str) -> None:
    with pytest.raises(AsTransportKeyError, match=sentence):
        parse_wrapped_key(pasted)


def test_an_app_s_key_unwraps_as_pycryptodome_wrapped_it() -> None:
    for _ in range(20):
        key, app_s_key = secrets.token_bytes(16), secrets.token_bytes(16)
        field = AES.new(key, AES.MODE_ECB).encrypt(app_s_key).hex()

        assert unwrap_app_s_key(AesKey(key), field).reveal() == app_s_key


def test_an_app_s_key_wraps_into_what_pycryptodome_unwraps() -> None:
    key, app_s_key = secrets.token_bytes(16), secrets.token_bytes(16)

    field = wrap_app_s_key(AesKey(key), AesKey(app_s_key))

    assert AES.new(key, AES.MODE_ECB).decrypt(bytes.fromhex(field)) == app_s_key


def test_a_wrapped_app_s_key_is_lower_case_hex() -> None:
    field = wrap_app_s_key(AesKey(KEY), AesKey(KEY))

    assert len(field) == 32
    assert field == field.lower()


def test_an_upper_case_field_unwraps_like_a_lower_case_one() -> None:
    field = "439d42627c5afe3d4d536340646621a2"

    assert unwrap_app_s_key(AesKey(KEY), field.upper()) == unwrap_app_s_key(AesKey(KEY), field)


@pytest.mark.parametrize("field", ["", "00", "zz" * 16, "00" * 17])
def test_a_field_that_is_not_a_block_is_refused(field: str) -> None:
    with pytest.raises(IdentifierError):
        unwrap_app_s_key(AesKey(KEY), field)


@pytest.mark.shared
def test_published_as_transport_keys_unwrap_from_rsa(shared: Path) -> None:
    vectors = kpn_vectors(shared, "rsa_ask")

    for vector in vectors:
        private_key = parse_private_key(vector["private_key_pem"].encode())
        key = unwrap_as_transport_key(private_key, parse_wrapped_key(vector["rsaEncryptedASKey"]))
        assert key.reveal().hex() == vector["expected_ask"], vector["name"]
    assert len(vectors) >= 2


@pytest.mark.shared
def test_published_app_s_keys_unwrap(shared: Path) -> None:
    cases = [
        (vector["ask"], vector["encrypted_appskey"], vector["expected_appskey"])
        for vector in kpn_vectors(shared, "appskey_unwrap")
    ]
    cases += [
        (vector["ask"], vector["encrypted_appskey"], vector["appskey"])
        for vector in kpn_vectors(shared, "hsm_uplink_end_to_end")
    ]
    cases += [
        (vector["as_transport_key"], vector["AppSKey_field"], vector["expected_appskey"])
        for vector in unwrap_vectors(shared)
    ]

    for ask, field, app_s_key in cases:
        assert unwrap_app_s_key(parse_aes_key(ask), field).reveal().hex() == app_s_key.lower()
    assert len(cases) >= 5


@pytest.mark.shared
def test_published_encrypted_uplinks_decrypt_through_both_keys(shared: Path) -> None:
    cases = [
        (v["ask"], v["encrypted_appskey"], v["devaddr"], v["fcntup"], v["payload_hex"], v["expected_plain_hex"])
        for v in kpn_vectors(shared, "hsm_uplink_end_to_end")
    ]
    cases += [
        (
            v["as_transport_key"],
            v["AppSKey_field"],
            v["DevAddr"],
            v["FCntUp"],
            v["payload_hex"],
            v["expected_plain_hex"],
        )
        for v in unwrap_vectors(shared)
        if v["payload_hex"]
    ]

    for ask, field, dev_addr, f_cnt, payload, clear in cases:
        app_s_key = unwrap_app_s_key(parse_aes_key(ask), field)
        decrypted = decrypt_frm_payload(app_s_key, parse_dev_addr(dev_addr), f_cnt, bytes.fromhex(payload))
        assert decrypted.hex() == clear
    assert len(cases) >= 3


def kpn_vectors(shared: Path, kind: str) -> list[dict[str, str]]:
    vectors = json.loads((shared / "vectors" / "kpn.json").read_text())["vectors"]
    return [vector for vector in vectors if vector["kind"] == kind]


def unwrap_vectors(shared: Path) -> list[dict[str, str]]:
    """Those of the `2…` files that have a wrapped AppSKey; in one it stands in the clear."""
    vectors = [json.loads(path.read_text()) for path in sorted((shared / "vectors").glob("2*_*.json"))]
    return [vector for vector in vectors if vector["as_transport_key"]]
