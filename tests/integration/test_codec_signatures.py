"""Each signature is called as its network calls it, and its results are taken as its codecs give them."""

from __future__ import annotations

import pytest

from receiver.codecs.engine import CodecEngine
from receiver.codecs.values import Operation, Payload, Signature
from tests.integration.codec_use import AT, codec, decode, payload, uplink

X, TTN, CHIRPSTACK = Signature.THINGPARK_X, Signature.TTN, Signature.CHIRPSTACK


@pytest.fixture(scope="module")
def javascript():
    with CodecEngine() as engine:
        yield engine


def encode(engine, given, value, f_port=None):
    return engine.encode_downlinks(given, [value], f_port)[0]


def test_a_codec_of_the_alliance_gets_bytes_port_and_time(javascript):
    given = uplink("return {data: [Array.isArray(input.bytes), input.bytes, input.fPort, input.recvTime.getTime()]};")

    assert decode(javascript, given, payload("00ff", 7)).data == [True, [0, 255], 7, AT.timestamp() * 1000]


def test_a_codec_of_the_alliance_gives_data_warnings_and_errors(javascript):
    decoding = decode(javascript, uplink("return {data: {a: 1}, warnings: ['low battery'], errors: []};"))

    assert (decoding.data, decoding.warnings, decoding.failed) == ({"a": 1}, ("low battery",), False)


def test_errors_are_a_failure_without_data(javascript):
    decoding = decode(javascript, uplink("return {data: {a: 1}, warnings: ['w'], errors: ['unknown port', 2]};"))

    assert (decoding.data, decoding.warnings, decoding.errors) == (None, ("w",), ("unknown port", "2"))


def test_a_result_of_no_form_is_the_data(javascript):
    assert decode(javascript, uplink("return {temperature: 1.5};")).data == {"temperature": 1.5}


@pytest.mark.parametrize("body", ["return;", "return null;", "return {data: null};", "return {warnings: []};", ""])
def test_no_data_is_an_error(javascript, body):
    assert decode(javascript, uplink(body)).errors[0].startswith("decodeUplink gave no")


def test_what_is_thrown_is_told_with_its_line(javascript):
    given = codec("// one\nfunction help(x) {\n  return x.a.b;\n}\nconst decodeUplink = () => help({});")

    assert decode(javascript, given).errors == ("TypeError: cannot read property 'b' of undefined (line 3)",)


@pytest.mark.parametrize(
    ("thrown", "told"),
    [
        ("'unknown port'", "unknown port"),
        ("42", "42"),
        ("{message: 'm'}", "m"),
        ("{a: 1}", '{"a":1}'),
        ("''", "An empty"),
    ],
)
def test_what_is_thrown_and_no_error_is_told(javascript, thrown, told):
    assert decode(javascript, uplink(f"throw {thrown};")).errors[0].startswith(told)


def test_an_error_within_buffer_is_told_with_the_line_of_the_codec(javascript):
    given = uplink("\n\nreturn {data: Buffer.from(input.bytes).readUInt32BE(0)};")

    assert decode(javascript, given).errors == ("RangeError: Attempt to access memory outside buffer bounds (line 5)",)


@pytest.mark.parametrize(
    ("written", "data"),
    [
        ("NaN", None),
        ("Infinity", None),
        ("-0", 0),
        ("10n", 10),
        ("2n ** 64n", "18446744073709551616"),
        ("1e20", 1e20),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("new Date(NaN)", None),
        ("new Uint8Array([1, 2])", [1, 2]),
        ("new Float32Array([0.5])", [0.5]),
        ("Buffer.from('ab')", [97, 98]),
        ("'\\ud800 \\u20ac \\\\ud800'", "\ufffd \u20ac \\ud800"),
        ("new Map([[1, 2]])", {}),
    ],
)
def test_values_that_json_has_not_are_written(javascript, written, data):
    assert decode(javascript, uplink(f"return {{data: {{value: {written}, gone: undefined}}}};")).data == {
        "value": data
    }


def test_a_result_that_has_itself_inside_is_an_error(javascript):
    assert "circular" in decode(javascript, uplink("var o = {}; o.o = o; return {data: o};")).errors[0]


def test_json_within_a_codec_is_that_of_node(javascript):
    body = "return {data: JSON.stringify([Buffer.from([1]), new Uint8Array([1])])};"

    assert decode(javascript, uplink(body)).data == '[{"type":"Buffer","data":[1]},{"0":1}]'


@pytest.mark.parametrize(
    "script",
    [
        "async function decodeUplink() { await null; return {data: 5}; }",
        "function decodeUplink() { return Promise.resolve({data: 5}); }",
    ],
)
def test_an_asynchronous_codec_that_settles_at_once_decodes(javascript, script):
    assert decode(javascript, codec(script)).data == 5


def test_an_asynchronous_codec_that_fails_is_told(javascript):
    assert decode(javascript, codec("async function decodeUplink() { throw new Error('no'); }")).errors == (
        "Error: no (line 1)",
    )


def test_an_asynchronous_codec_that_waits_is_an_error(javascript):
    assert "settle at once" in decode(javascript, uplink("return new Promise(() => {});")).errors[0]


def test_normalized_data_stand_beside_the_data(javascript):
    given = uplink(
        "return {data: {t: 1}};", "function normalizeUplink(i) { return {data: [{air: {temperature: i.data.t}}]}; }"
    )

    decoding = decode(javascript, given)

    assert (decoding.data, decoding.normalized) == ({"t": 1}, [{"air": {"temperature": 1}}])


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        ("return {errors: ['e']};", "e"),
        ("throw new RangeError('r');", "RangeError: r (line 1)"),
        ("", "gave no object"),
    ],
)
def test_what_does_not_normalize_is_a_warning(javascript, body, warning):
    decoding = decode(javascript, uplink("return {data: 1};", f"function normalizeUplink() {{ {body} }}"))

    assert (decoding.data, decoding.warnings, decoding.errors) == (1, (f"normalizeUplink: {warning}",), ())


def test_an_older_driver_of_actility_gets_a_buffer_and_the_text_of_the_time(javascript):
    script = (
        "function decodeUplink(i) { return [Buffer.isBuffer(i.bytes), i.bytes.toString('hex'), i.recvTime, i.time]; }"
    )
    text = "2026-11-20T13:00:00.250+01:00"

    assert decode(javascript, codec(script, X), payload("00ff", at_text=text)).data == [
        True,
        "00ff",
        text,
        "2026-11-20T12:00:00.250Z",
    ]
    assert decode(javascript, codec(script, X)).data[2] == "2026-11-20T12:00:00.250+00:00"


@pytest.mark.parametrize(
    ("result", "data"),
    [
        ("{data: 1, other: 2}", {"data": 1, "other": 2}),
        ("{data: {a: 1}, warnings: []}", {"a": 1}),
        ("{t: 1}", {"t": 1}),
    ],
)
def test_an_older_driver_gives_the_object_itself(javascript, result, data):
    assert decode(javascript, codec(f"function decodeUplink() {{ return {result}; }}", X)).data == data


def test_an_older_driver_gives_points(javascript):
    script = (
        "function decodeUplink() { return {t: 1}; } function extractPoints(i) { return {temperature: i.message.t}; }"
    )

    assert decode(javascript, codec(script, X)).points == {"temperature": 1}


def test_an_older_driver_encodes_the_object_itself(javascript):
    script = "function encodeDownlink(o) { return {bytes: Buffer.from([o.a]), fPort: 3}; }"

    encoding = encode(javascript, codec(script, X), {"a": 9})

    assert (encoding.frm_payload, encoding.f_port) == (b"\x09", 3)


def test_a_codec_of_the_things_network_decodes_converts_and_encodes(javascript):
    given = codec(
        "function Decoder(bytes, port) { return {v: bytes[0] + port}; }"
        "function Converter(decoded, port) { decoded.c = port; return decoded; }"
        "function Encoder(object, port) { return [object.v, port]; }",
        TTN,
    )

    assert decode(javascript, given).data == {"v": 3, "c": 2}
    assert encode(javascript, given, {"v": 1}, 5).frm_payload == b"\x01\x05"


def test_a_codec_of_chirpstack_decodes_and_encodes(javascript):
    given = codec(
        "function Decode(fPort, bytes, variables) { return {v: bytes[0], p: fPort, n: Object.keys(variables).length}; }"
        "function Encode(fPort, object, variables) { return [fPort, object.v]; }",
        CHIRPSTACK,
    )

    assert decode(javascript, given).data == {"v": 1, "p": 2, "n": 0}
    assert encode(javascript, given, {"v": 1}, 5).frm_payload == b"\x05\x01"


@pytest.mark.parametrize("signature", [TTN, CHIRPSTACK])
def test_their_newer_form_is_that_of_the_alliance(javascript, signature):
    assert decode(javascript, codec("function decodeUplink(i) { return {data: i.fPort}; }", signature)).data == 2


@pytest.mark.parametrize(
    ("signature", "name"), [(Signature.LORA_ALLIANCE, "decodeUplink"), (TTN, "Decoder"), (CHIRPSTACK, "Decode")]
)
def test_a_missing_function_is_named(javascript, signature, name):
    assert decode(javascript, codec("var x = 1;", signature)).errors == (f"The script has no function {name}",)


def test_a_downlink_is_decoded(javascript):
    given = codec("function decodeDownlink(i) { return {data: {first: i.bytes[0]}}; }")

    assert javascript.decode_downlinks(given, [payload()])[0].data == {"first": 1}


@pytest.mark.parametrize(
    ("result", "frm_payload", "f_port"),
    [
        ("{bytes: [1, 255], fPort: 4}", b"\x01\xff", 4),
        ("{bytes: [-1, -128]}", b"\xff\x80", 9),
        ("{bytes: [], fPort: 4}", b"", 4),
        ("{bytes: 'ff00'}", b"\xff\x00", 9),
        ("{bytes: new Uint8Array([3])}", b"\x03", 9),
        ("[input.data.a, input.fPort]", b"\x07\x09", 9),
    ],
)
def test_bytes_are_encoded(javascript, result, frm_payload, f_port):
    encoding = encode(javascript, codec(f"function encodeDownlink(input) {{ return {result}; }}"), {"a": 7}, 9)

    assert (encoding.frm_payload, encoding.f_port, encoding.errors) == (frm_payload, f_port, ())


@pytest.mark.parametrize(
    "result",
    [
        *("null", "{}", "{bytes: [256]}", "{bytes: [-129]}", "{bytes: [1.5]}", "{bytes: [NaN]}", "{bytes: ['1']}"),
        *("{bytes: [true]}", "{bytes: 5}", "{bytes: {}}", "{bytes: 'xy'}", "{bytes: new Array(243).fill(0)}"),
        *("{bytes: [1], fPort: 256}", "{bytes: [1], fPort: 'a'}", "{bytes: [1], errors: ['no']}"),
    ],
)
def test_what_is_no_frame_is_an_error(javascript, result):
    encoding = encode(javascript, codec(f"function encodeDownlink() {{ return {result}; }}"), {}, 9)

    assert len(encoding.errors) == 1
    assert encoding.frm_payload == b""


@pytest.mark.parametrize(
    "script",
    [
        "function decodeUplink() { return {data: 1}; }",
        "const decodeUplink = () => ({data: 1});",
        "'use strict'; let decodeUplink = function () { return {data: 1}; } // end",
        "decodeUplink = () => ({data: 1});",
        "this.decodeUplink = () => ({data: 1});",
        "module.exports = {decodeUplink: () => ({data: 1})};",
        "exports.decodeUplink = () => ({data: 1});",
        "exports.driver = new (class { decodeUplink() { return this.give(); } give() { return {data: 1}; } })();",
        "var driver; (() => { driver = {decodeUplink: () => ({data: 1})}; })();",
        "const { Buffer } = require('buffer'); function decodeUplink() { return {data: Buffer.from([1])[0]}; }",
        "!function (root, make) { module.exports = make(); }(this, () => ({decodeUplink: () => ({data: 1})}));",
    ],
)
def test_functions_are_found_however_a_script_gives_them(javascript, script):
    assert decode(javascript, codec(script)).data == 1


def test_operations_are_those_that_the_script_has(javascript):
    every = "".join(f"function {name}() {{}}" for name in Operation)

    assert javascript.operations(codec(every)) == set(Operation)
    assert javascript.operations(codec("function Decoder() {}", TTN)) == {Operation.DECODE_UPLINK}
    assert javascript.operations(codec("")) == set()


@pytest.mark.parametrize("signature", [Signature.CAYENNE_LPP, Signature.SENML])
def test_a_codec_that_is_built_in_has_no_script_to_run(javascript, signature):
    with pytest.raises(ValueError, match="built in"):
        javascript.decode_uplinks(codec("", signature), [Payload(b"", 1, AT)])
