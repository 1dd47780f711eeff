"""The engine itself: batches, scripts that do not load, and what it gives scripts beside the language."""

from __future__ import annotations

import math
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from receiver.codecs import engine_pipe
from receiver.codecs.engine import CALLS_MAX, CodecEngine
from receiver.errors import CodecEngineUnavailableError, CodecScriptError
from tests.integration.codec_use import codec, decode, payload, uplink

FIRST = uplink("return {data: input.bytes[0]};")


@pytest.fixture(scope="module")
def javascript():
    with CodecEngine() as engine:
        yield engine


def value_of(engine, expression, frm_payload=""):
    """Give what an expression is in a codec, where `b` is a Buffer of the payload."""
    decoding = decode(
        engine, uplink(f"var b = Buffer.from(input.bytes); return {{data: {{v: {expression}}}}};"), payload(frm_payload)
    )
    assert decoding.errors == ()
    return decoding.data["v"]


def error_of(engine, expression, frm_payload=""):
    given = uplink(f"var b = Buffer.from(input.bytes); return {{data: {{v: {expression}}}}};")
    return decode(engine, given, payload(frm_payload)).errors[0]


@pytest.mark.parametrize("number", [0, 1, 2, CALLS_MAX, CALLS_MAX + 1, 1000])
def test_a_batch_is_answered_in_its_order(javascript, number):
    payloads = [payload(bytes([n % 256])) for n in range(number)]

    assert [one.data for one in javascript.decode_uplinks(FIRST, payloads)] == [n % 256 for n in range(number)]


def test_a_batch_larger_than_a_pipe_holds_is_answered(javascript):
    given = uplink("return {data: input.bytes.map((b) => 'x'.repeat(100) + b)};")

    decodings = javascript.decode_uplinks(given, [payload(bytes(242))] * 300)

    assert [one.data for one in decodings] == [["x" * 100 + "0"] * 242] * 300


def test_what_a_payload_left_in_a_variable_does_not_reach_the_next(javascript):
    given = uplink(
        "count++; kept[input.bytes[0]] = true; return {data: {count, kept}};", "let count = 0; var kept = {};"
    )

    assert [one.data for one in decode(javascript, given, payload("01"), payload("02"))] == [
        {"count": 1, "kept": {"1": True}},
        {"count": 1, "kept": {"2": True}},
    ]


def test_several_threads_may_use_one_engine(javascript):
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda n: decode(javascript, FIRST, payload(bytes([n]))).data, range(200)))

    assert results == list(range(200))


def test_the_end_of_the_thread_that_began_does_not_end_the_process():
    with CodecEngine() as engine:
        thread = threading.Thread(target=decode, args=(engine, FIRST))
        thread.start()
        thread.join()
        pid = engine.pid

        assert decode(engine, FIRST).data == 1
        assert engine.pid == pid


def test_a_closed_engine_starts_again(javascript):
    engine = CodecEngine()
    decode(engine, FIRST)
    engine.close()

    assert engine.pid is None
    assert decode(engine, FIRST).data == 1
    engine.close()


def test_an_interrupted_batch_answers_no_other(monkeypatch):
    def interrupt(line):
        raise KeyboardInterrupt

    with CodecEngine() as engine:
        decode(engine, FIRST)
        with monkeypatch.context() as patch:
            patch.setattr("receiver.codecs.engine.read_answer", interrupt)
            with pytest.raises(KeyboardInterrupt):
                engine.decode_uplinks(FIRST, [payload("05")] * 3)

        assert decode(engine, FIRST).data == 1


def test_an_engine_that_cannot_start_is_unavailable(monkeypatch, tmp_path):
    monkeypatch.setattr(engine_pipe.sys, "executable", str(tmp_path / "nothing"))

    with CodecEngine() as engine, pytest.raises(CodecEngineUnavailableError, match="cannot be started"):
        decode(engine, FIRST)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("function decodeUplink() {\n  return {;\n}", r"SyntaxError: .* \(line 2\)"),
        ("\nnothing.here();", r"ReferenceError: nothing is not defined \(line 2\)"),
        ("export function decodeUplink() {}", "ES module"),
        ("import x from 'y';", "ES module"),
        ("const fs = require('fs');", r"require\('fs'\) is not possible"),
        ("while (true);", r"did not end within 0\.\d s"),
    ],
)
def test_a_script_that_does_not_load_says_why(javascript, script, sentence):
    with pytest.raises(CodecScriptError, match=sentence):
        javascript.operations(codec(script))

    assert decode(javascript, codec(script)).failed


def test_the_console_is_kept_for_who_asks(javascript):
    given = uplink("console.log('a', 1, {b: [2]}, null, undefined); console.error(new Error('e')); return {data: 1};")

    assert decode(javascript, given, with_console=True).console == ('a 1 {"b":[2]} null undefined', "Error: e (line 3)")
    assert decode(javascript, given).console == ()


def test_no_word_of_a_payload_stands_in_a_representation(javascript):
    assert "secret" not in repr(
        decode(javascript, uplink("console.log('secret'); return {data: 'secret'};"), with_console=True)
    )


def test_the_clock_of_a_codec_is_utc(javascript):
    assert value_of(javascript, "new Date(2026, 0, 1).toISOString()") == "2026-01-01T00:00:00.000Z"


PACKED = struct.pack(">bBhHiIqQfd", -2, 200, -300, 60_000, -70_000, 4_000_000_000, -5, 2**63, 1.5, -2.25)
OFFSETS = {
    "Int8": 0,
    "UInt8": 1,
    "Int16": 2,
    "UInt16": 4,
    "Int32": 6,
    "UInt32": 10,
    "BigInt64": 14,
    "BigUInt64": 22,
    "Float": 30,
    "Double": 34,
}
VALUES = (-2, 200, -300, 60_000, -70_000, 4_000_000_000, -5, str(2**63), 1.5, -2.25)


@pytest.mark.parametrize(("kind", "value"), list(zip(OFFSETS, VALUES, strict=True)))
def test_numbers_are_read_and_written_in_both_orders(javascript, kind, value):
    offset = OFFSETS[kind]
    order = "" if kind.endswith("nt8") else "BE"
    back = "" if kind.endswith("nt8") else "LE"
    big = "BigInt" if kind.startswith("Big") else ""

    assert value_of(javascript, f"b.read{kind}{order}({offset})", PACKED) == value
    assert value_of(javascript, f"(b.write{kind}{back}({big}('{value}'), 1), b.read{kind}{back}(1))", bytes(9)) == value
    assert error_of(javascript, f"b.read{kind}{order}(100)", PACKED).startswith("RangeError: ")
    assert error_of(javascript, f"b.read{kind}{order}(-1)", PACKED).startswith("RangeError: ")
    assert error_of(javascript, f"b.read{kind}{order}(0.5)", PACKED).startswith("RangeError: ")


@pytest.mark.parametrize("size", range(1, 7))
def test_numbers_of_any_size_are_read_and_written(javascript, size):
    octets = bytes(range(0xF1, 0xF1 + size))
    for order, python in (("BE", "big"), ("LE", "little")):
        signed = int.from_bytes(octets, python, signed=True)
        assert value_of(javascript, f"b.readUInt{order}(0, {size})", octets) == int.from_bytes(octets, python)
        assert value_of(javascript, f"b.readInt{order}(0, {size})", octets) == signed
        assert value_of(javascript, f"(b.writeInt{order}({signed}, 0, {size}), b)", bytes(size)) == list(octets)
    assert error_of(javascript, f"b.readUIntBE(1, {size})", octets).startswith("RangeError: ")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("b.toString('hex')", "00c3a9ff"),
        ("b.toString()", "\0\u00e9\ufffd"),
        ("b.toString('latin1', 1, 3)", "\u00c3\u00a9"),
        ("b.toString('ascii', 1, 2)", "C"),
        ("b.toString('base64')", "AMOp/w=="),
        ("b.toString('base64url')", "AMOp_w"),
        ("Buffer.from('AMOp/w==', 'base64').equals(b)", True),
        ("Buffer.from('00c3a9fg', 'hex')", [0, 0xC3, 0xA9]),
        ("Buffer.from('\u00e9\U0001f600')", list("\u00e9\U0001f600".encode())),
        ("Buffer.from('ab', 'utf16le')", [97, 0, 98, 0]),
        ("new Buffer(2)", [0, 0]),
        ("Buffer([1, 257, -1])", [1, 1, 255]),
        ("Buffer.alloc(3, 'ab')", [97, 98, 97]),
        ("Buffer.concat([b, [1]].map((x) => Buffer.from(x))).length", 5),
        ("(b.slice(1)[0] = 9, b)", [0, 9, 0xA9, 0xFF]),
        ("b.subarray(-2, -1)", [0xA9]),
        ("b.slice(3, 1).length", 0),
        ("Buffer.isBuffer(b.slice(1)) && Buffer.isBuffer(b.map((x) => x)) && b instanceof Uint8Array", True),
        ("Buffer.isBuffer([])", False),
        ("Buffer.byteLength('\u00e9')", 2),
        ("[b.indexOf(0xa9), b.indexOf('\u00e9'), b.indexOf(5), b.includes(255)]", [2, 1, -1, True]),
        ("b.fill(7, 1, 3)", [0, 7, 7, 0xFF]),
        ("b.swap16()", [0xC3, 0, 0xFF, 0xA9]),
        ("b.swap32()", [0xFF, 0xA9, 0xC3, 0]),
        ("(b.write('xy', 1), b)", [0, 120, 121, 255]),
        ("(b.copy(b, 0, 2), b)", [0xA9, 0xFF, 0xA9, 0xFF]),
        ("[Buffer.compare(b, b), b.compare(Buffer.from([1]))]", [0, -1]),
        ("JSON.parse(JSON.stringify(b)).type + Buffer.from(JSON.parse(JSON.stringify(b))).length", "Buffer4"),
        ("[...b.entries()].length", 4),
        ("b.readUint8(1)", 0xC3),
        ("btoa(atob('AMOp'))", "AMOp"),
        ("new TextDecoder().decode(b)", "\0\u00e9\ufffd"),
        ("new TextDecoder('utf-8').decode(new Uint8Array([0xf0, 0x9f, 0x98, 0x80, 0xe2, 0x82]))", "\U0001f600\ufffd"),
        ("new TextEncoder().encode('\u20ac')", [0xE2, 0x82, 0xAC]),
    ],
)
def test_what_scripts_know_of_node_and_the_web_is_there(javascript, expression, value):
    assert value_of(javascript, expression, "00c3a9ff") == value


@pytest.mark.parametrize("octets", ["c080", "eda080", "f4908080", "f0808080", "e282", "80", "ff", "e28241", "f09f9841"])
def test_utf8_that_is_wrong_is_decoded_as_elsewhere(javascript, octets):
    assert value_of(javascript, "b.toString('utf8')", octets) == bytes.fromhex(octets).decode("utf-8", "replace")


def test_a_double_comes_out_as_it_was(javascript):
    assert value_of(javascript, "Math.PI / 1e9") == math.pi / 1e9


def test_text_beyond_ascii_crosses_whole(javascript):
    assert decode(javascript, uplink("return {data: '\U0001f600 \u00e9 \u2028'};")).data == "\U0001f600 \u00e9 \u2028"
