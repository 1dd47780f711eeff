"""FRMPayload and AppSKeys against published frames, and against pycryptodome as a second opinion."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import IdentifierError
from receiver.lorawan.frame_counter import F_CNT_MAX
from receiver.lorawan.frm_payload import MAX_FRM_PAYLOAD_BYTES, Direction, decrypt_frm_payload, encrypt_frm_payload
from receiver.lorawan.identifiers import parse_dev_addr
from receiver.lorawan.keys import AesKey, parse_aes_key
from receiver.thingpark.as_transport_key import unwrap_app_s_key, wrap_app_s_key
from receiver.thingpark.body import parse_body
from receiver.thingpark.reports import UplinkReport, read_report

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("frame_*.json"))
KEYS = st.binary(min_size=16, max_size=16)
DEV_ADDRS = st.integers(0, 2**32 - 1).map("{:08X}".format).map(parse_dev_addr)
COUNTERS = st.integers(0, F_CNT_MAX)
PAYLOADS = st.binary(max_size=260)


def second_opinion(key: bytes, dev_addr: str, f_cnt: int, payload: bytes, direction: int) -> bytes:
    cipher = AES.new(key, AES.MODE_ECB)
    clear = bytearray()
    for start in range(0, len(payload), 16):
        address = bytes.fromhex(dev_addr)[::-1]
        block = (
            b"\x01" + bytes(4) + bytes([direction]) + address + struct.pack("<I", f_cnt) + bytes([0, start // 16 + 1])
        )
        clear += bytes(a ^ b for a, b in zip(payload[start : start + 16], cipher.encrypt(block), strict=False))
    return bytes(clear)


# --- published frames


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_published_frame_decrypts(path):
    frame = json.loads(path.read_text())
    clear = decrypt_frm_payload(
        parse_aes_key(frame["app_s_key"]),
        parse_dev_addr(frame["dev_addr"]),
        frame["f_cnt_up"],
        bytes.fromhex(frame["payload_hex"]),
    )

    assert clear.hex() == frame["frm_payload"]


@pytest.mark.parametrize(
    "path", [path for path in VECTORS if "three_blocks" not in path.stem], ids=lambda path: path.stem
)
def test_a_published_app_s_key_unwraps(path):
    frame = json.loads(path.read_text())

    app_s_key = unwrap_app_s_key(parse_aes_key(frame["as_transport_key"]), frame["wrapped_app_s_key"])

    assert app_s_key == parse_aes_key(frame["app_s_key"])


def frames(shared: Path) -> list[dict[str, object]]:
    kept = [json.loads(path.read_text()) for path in sorted((shared / "vectors").glob("*.json"))]
    return [vector for vector in kept if vector.get("kind") == "payload_decrypt"]


@pytest.mark.shared
def test_every_published_app_s_key_that_was_wrapped_unwraps(shared):
    wrapped = [vector for vector in frames(shared) if vector.get("as_transport_key")]
    clear = [unwrap_app_s_key(parse_aes_key(v["as_transport_key"]), v["AppSKey_field"]) for v in wrapped]

    assert clear == [parse_aes_key(vector["expected_appskey"]) for vector in wrapped]
    assert len(clear) > 1


@pytest.mark.shared
def test_every_published_frame_decrypts(shared):
    encrypted = [vector for vector in frames(shared) if vector.get("payload_hex")]
    assert len(encrypted) > 10

    for vector in encrypted:
        key, address = parse_aes_key(vector["appskey_clear"]), parse_dev_addr(vector["DevAddr"])
        clear = decrypt_frm_payload(key, address, vector["FCntUp"], bytes.fromhex(vector["payload_hex"]))
        assert clear.hex() == (vector.get("expected_plain_hex") or vector["expected_plain"]), vector["source"]


@pytest.mark.shared
def test_every_published_xml_body_decrypts_from_what_it_says(shared):
    bodies = [vector for vector in frames(shared) if vector.get("body")]
    assert len(bodies) > 5

    for vector in bodies:
        report, notes = read_report(parse_body(vector["body"].encode()))
        assert isinstance(report, UplinkReport)
        assert notes.sentence() is None
        assert report.f_cnt_up is not None
        address = report.heading.dev_addr or parse_dev_addr(vector["DevAddr"])  # reports of before 2016 lack it
        clear = decrypt_frm_payload(parse_aes_key(vector["appskey_clear"]), address, report.f_cnt_up, report.payload)
        assert clear.hex() == vector["expected_plain"], vector["source"]


@pytest.mark.shared
def test_every_published_lorawan_payload_of_kpn_is_the_same_here(shared):
    vectors = json.loads((shared / "vectors" / "kpn.json").read_text())["vectors"]
    payloads = [vector for vector in vectors if vector["kind"] == "lorawan_payload"]
    assert payloads

    for vector in payloads:
        key, address = parse_aes_key(vector["appskey"]), parse_dev_addr(vector["devaddr"])
        payload, direction = bytes.fromhex(vector["input_hex"]), Direction(vector["direction"])
        assert (
            encrypt_frm_payload(key, address, vector["fcnt"], payload, direction).hex() == vector["computed_php_port"]
        )


# --- a second opinion


@given(KEYS, DEV_ADDRS, COUNTERS, PAYLOADS, st.sampled_from(Direction))
def test_any_payload_decrypts_as_pycryptodome_does_it(key, dev_addr, f_cnt, payload, direction):
    expected = second_opinion(key, dev_addr, f_cnt, payload, direction)

    assert decrypt_frm_payload(AesKey(key), dev_addr, f_cnt, payload, direction) == expected


@given(KEYS, DEV_ADDRS, COUNTERS, PAYLOADS, st.sampled_from(Direction))
def test_encrypting_and_decrypting_undo_each_other(key, dev_addr, f_cnt, payload, direction):
    encrypted = encrypt_frm_payload(AesKey(key), dev_addr, f_cnt, payload, direction)

    assert decrypt_frm_payload(AesKey(key), dev_addr, f_cnt, encrypted, direction) == payload


@given(KEYS, KEYS)
def test_an_app_s_key_unwraps_as_pycryptodome_decrypts_a_block(transport_key, wrapped):
    expected = AES.new(transport_key, AES.MODE_ECB).decrypt(wrapped)

    assert unwrap_app_s_key(AesKey(transport_key), wrapped.hex()).reveal() == expected


@given(KEYS, KEYS)
def test_wrapping_and_unwrapping_an_app_s_key_undo_each_other(transport_key, app_s_key):
    field = wrap_app_s_key(AesKey(transport_key), AesKey(app_s_key))

    assert unwrap_app_s_key(AesKey(transport_key), field).reveal() == app_s_key


def test_the_longest_payload_decrypts_as_pycryptodome_does_it():
    payload = bytes(range(256)) * 16
    payload = payload[:MAX_FRM_PAYLOAD_BYTES]

    assert len(payload) == MAX_FRM_PAYLOAD_BYTES
    assert decrypt_frm_payload(AesKey(bytes(16)), parse_dev_addr("01234567"), 1, payload) == second_opinion(
        bytes(16), "01234567", 1, payload, 0
    )


# --- what each input does


KEY, DEV_ADDR = AesKey(bytes(range(16))), parse_dev_addr("14C4CC04")


def test_the_empty_payload_stays_empty():
    assert decrypt_frm_payload(KEY, DEV_ADDR, 1, b"") == b""


def test_leading_zeros_of_a_payload_are_kept():
    stream = decrypt_frm_payload(KEY, DEV_ADDR, 1, bytes(40))

    assert decrypt_frm_payload(KEY, DEV_ADDR, 1, stream) == bytes(40)


def test_counters_with_the_same_16_bits_give_different_bytes():
    assert decrypt_frm_payload(KEY, DEV_ADDR, 13, bytes(8)) != decrypt_frm_payload(KEY, DEV_ADDR, 13 + 2**16, bytes(8))


def test_the_two_directions_give_different_bytes():
    up, down = (decrypt_frm_payload(KEY, DEV_ADDR, 13, bytes(8), direction) for direction in Direction)

    assert up != down


@pytest.mark.parametrize("f_cnt", [-1, 2**32, 2**64])
def test_a_counter_out_of_range_is_an_identifier_error(f_cnt):
    with pytest.raises(IdentifierError, match=str(f_cnt)):
        decrypt_frm_payload(KEY, DEV_ADDR, f_cnt, b"\x01")


def test_a_payload_longer_than_the_cipher_is_an_identifier_error():
    with pytest.raises(IdentifierError, match="4081 bytes"):
        decrypt_frm_payload(KEY, DEV_ADDR, 1, bytes(MAX_FRM_PAYLOAD_BYTES + 1))
