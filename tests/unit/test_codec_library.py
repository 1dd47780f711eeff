"""One script from a file, with what lies beside it."""

from __future__ import annotations

import json

import pytest

from receiver.codecs.library import read_codec_file
from receiver.codecs.script_text import find_functions, find_licence, guess_signature, why_not_alone
from receiver.codecs.values import Operation, Signature
from receiver.errors import CodecSourceError

TS013 = "function decodeUplink(input) { return { data: { first: input.bytes[0] } }; }\n"
EXAMPLE = {
    "description": "one",
    "type": "uplink",
    "input": {"bytes": [7], "fPort": 1},
    "output": {"data": {"first": 7}},
}
DEFINITION = """
uplinkDecoder:
  fileName: {name}
  examples:
    - description: one
      input: {{fPort: 1, bytes: [7], recvTime: 2024-05-01T10:00:00Z}}
      output: {{data: {{first: 7}}}}
"""


@pytest.mark.parametrize(
    ("script", "signature"),
    [
        (TS013, Signature.LORA_ALLIANCE),
        ("var decodeUplink = (input) => ({});", Signature.LORA_ALLIANCE),
        ("exports.decodeUplink = function (i) {};", Signature.LORA_ALLIANCE),
        ('var d = { "decodeUplink": () => f };', Signature.LORA_ALLIANCE),
        ("class D { decodeUplink(input) { } }", Signature.LORA_ALLIANCE),
        ("function encodeDownlink(input) {}", Signature.LORA_ALLIANCE),
        (TS013 + "function extractPoints(input) {}", Signature.THINGPARK_X),
        ("function Decoder(bytes, port) {}", Signature.TTN),
        ("function Decode(fPort, bytes, variables) {}", Signature.CHIRPSTACK),
        (TS013 + "function Decoder(b, p) {} function Decode(p, b) {}", Signature.LORA_ALLIANCE),
        ("// function decodeUplink(input) {}\nfunction Decode(fPort, bytes) {}", Signature.CHIRPSTACK),
        ("/* decodeUplink = */ function Decoder(bytes, port) {}", Signature.TTN),
        ('var s = "function decodeUplink("; function Decode(p, b) {}', Signature.CHIRPSTACK),
        ("var u = 'http://x'; function Decoder(b, p) {}", Signature.TTN),
        ("function myDecoder(b) {} function DecoderX(b) {} if (Decoder == 1) {}", None),
        ("decodeUplink(x);", None),
        ("", None),
    ],
)
def test_the_signature_is_guessed_from_what_the_text_declares(script, signature):
    assert guess_signature(script) is signature


@pytest.mark.parametrize(
    "text", ["`\\" * 200_000, "/*" * 300_000, "'\\" * 200_000, "/*" + "*" * 500_000, "(" * 500_000]
)
def test_a_text_that_closes_nothing_is_looked_through_in_no_time(text):
    assert find_functions(text) == frozenset()
    assert why_not_alone(text) is None


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ('import { a } from "./a.js";\n', "is the source of an ES module (it imports or exports)"),
        ("import a from './a';\n", "is the source of an ES module (it imports or exports)"),
        (TS013 + "export default decodeUplink;", "is the source of an ES module (it imports or exports)"),
        ("let u = require('./util');", "needs another file, ./util"),
        ('const u = require ( "../util.js" );', "needs another file, ../util.js"),
        ("// import a from 'a'\n/*\nexport default x\n*/", None),
        ("let u = __webpack_require__(94); t.require('./x');", None),
        ("var important = 1; exports.decodeUplink = f;", None),
        ("var s = `\nimport a from 'b'\n`;", None),
    ],
)
def test_a_part_of_a_bundle_is_known(script, why):
    assert why_not_alone(script) == why


@pytest.mark.parametrize(
    ("script", "licence"),
    [
        ("/**\n * Copyright 2024 Acme\n * License: MIT\n */\nvar a;", "Copyright 2024 Acme License: MIT"),
        ("// SPDX-License-Identifier: MIT\n// Acme\nvar a; // more", "SPDX-License-Identifier: MIT Acme"),
        ("// A decoder\n" + TS013, None),
        ("// A decoder\nvar a;\n/* (c) Acme, licence below */", "(c) Acme, licence below"),
        ("var copyright = 1;", None),
    ],
)
def test_the_licence_is_the_comment_that_speaks_of_it(script, licence):
    assert find_licence(script) == licence


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "acme-t1"
    made.mkdir()
    return made


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_script_alone_is_a_codec(folder):
    found = read_codec_file(write(folder, "T1 decoder.js", TS013))

    assert (found.name, found.source) == ("t1-decoder", "T1 decoder.js")
    assert (found.codec.signature, found.codec.script) == (Signature.LORA_ALLIANCE, TS013)
    assert (found.codec.examples, found.warnings, found.terms) == ((), (), "")
    assert found.licence == "Neither the script nor a package.json beside it names a licence."


def test_a_script_of_no_telling_name_is_named_as_its_folder(folder):
    assert read_codec_file(write(folder, "index.js", TS013)).name == "acme-t1"


def test_the_caller_may_say_how_it_is_called(folder):
    path = write(folder, "t1.js", TS013 + "function extractPoints(i) {}")

    assert read_codec_file(path, signature=Signature.LORA_ALLIANCE).codec.signature is Signature.LORA_ALLIANCE


def test_a_guess_that_may_be_wrong_is_told(folder):
    found = read_codec_file(write(folder, "t1.js", TS013 + "function extractPoints(i) {}"))

    assert found.codec.signature is Signature.THINGPARK_X
    assert "say lora-alliance if they give {data: …}" in found.warnings[0]


def test_a_codec_for_downlinks_only_is_told(folder):
    found = read_codec_file(write(folder, "t1.js", "function encodeDownlink(i) {}"))

    assert "t1.js declares no decodeUplink: it only concerns downlinks." in found.warnings[0]


@pytest.mark.parametrize(
    ("beside", "content"),
    [
        ("t1.examples.json", [EXAMPLE]),
        ("examples.json", [EXAMPLE]),
        ("t1-codec.yaml", DEFINITION.format(name="t1.js")),
        ("t1.yaml", DEFINITION.format(name="t1.js")),
        ("family-codec.yaml", DEFINITION.format(name="t1.js")),
    ],
)
def test_the_examples_beside_it_are_read(folder, beside, content):
    write(folder, beside, content)

    found = read_codec_file(write(folder, "t1.js", TS013))

    [example] = found.codec.examples
    assert (example.operation, example.frm_payload, example.data) == (Operation.DECODE_UPLINK, b"\x07", {"first": 7})
    assert found.warnings == ()


def test_the_time_of_an_example_stays_the_text_it_is(folder):
    write(folder, "t1-codec.yaml", DEFINITION.format(name="t1.js"))

    assert read_codec_file(write(folder, "t1.js", TS013)).codec.examples[0].at_text == "2024-05-01T10:00:00Z"


def test_the_definition_of_another_script_is_not_its_own(folder):
    write(folder, "other-codec.yaml", DEFINITION.format(name="other.js"))
    write(folder, "broken-codec.yaml", "[")

    found = read_codec_file(write(folder, "t1.js", TS013))

    assert (found.codec.examples, found.warnings) == ((), ())


@pytest.mark.parametrize(("beside", "content"), [("examples.json", "{"), ("t1-codec.yaml", "[")])
def test_examples_that_cannot_be_read_are_told_and_the_script_is_found_all_the_same(folder, beside, content):
    write(folder, beside, content)

    found = read_codec_file(write(folder, "t1.js", TS013))

    assert found.codec.script == TS013
    assert "No examples were read" in found.warnings[0]


def test_the_source_is_told_within_its_checkout(folder):
    commit = "a" * 40
    write(folder, ".git/HEAD", commit)

    assert read_codec_file(write(folder, "codecs/t1.js", TS013)).source == f"codecs/t1.js, commit {commit[:12]}"


@pytest.mark.parametrize(
    ("name", "script", "told"),
    [
        ("t1.py", TS013, "is not a .js file"),
        ("t1.js", "var a = 1;", "declares none of decodeUplink, Decoder and Decode"),
        ("t1.js", "import a from './a';\n" + TS013, "build its bundle first"),
    ],
)
def test_what_is_no_codec_is_refused_with_what_to_do(folder, name, script, told):
    with pytest.raises(CodecSourceError) as refused:
        read_codec_file(write(folder, name, script))

    assert told in str(refused.value)


def test_a_file_that_is_not_there_is_named(folder):
    with pytest.raises(CodecSourceError, match=r"t1\.js is not in"):
        read_codec_file(folder / "t1.js")
