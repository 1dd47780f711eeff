"""One device's codec from a checkout laid out as the LoRaWAN device repository."""

from __future__ import annotations

import json

import pytest
import quickjs

from receiver.codecs.device_repository import TERMS, list_device_repository, read_from_device_repository
from receiver.codecs.values import Operation, Signature
from receiver.errors import CodecSourceError

UP = "const OFFSET = 1;\nfunction decodeUplink(i) { return { data: { v: i.bytes[0] + OFFSET } }; }\n"
DOWN = """"use strict";
const OFFSET = 2;
function encodeDownlink(i) { return { bytes: [i.data.v + OFFSET], fPort: 9 }; }
"""

FILES = {
    "vendor/index.yaml": "vendors: [{id: acme, name: Acme}, {id: numbers-only}, {id: zeta}]\n",
    "vendor/acme/index.yaml": "endDevices:\n  - t1\n  - bare\n",
    "vendor/zeta/index.yaml": "endDevices: [z1, ../../etc]\n",
    "vendor/acme/t1.yaml": """
name: T1
firmwareVersions:
  - version: '1.0'
    profiles:
      EU863-870: {id: profile, codec: t1-codec}
      US902-928: {id: profile, codec: t1-codec}
""",
    "vendor/acme/bare.yaml": "name: Bare\nfirmwareVersions: [{version: '1.0', profiles: {EU863-870: {id: profile}}}]\n",
    "vendor/acme/t1-codec.yaml": """
uplinkDecoder:
  fileName: t1.js
  examples:
    - description: on
      input: {fPort: 3, bytes: [6], recvTime: 2024-05-01T10:00:00+02:00}
      output: {data: {v: 7, state: on}}
      normalizedOutput: {data: [{air: {temperature: 7}}]}
downlinkEncoder:
  fileName: t1.js
  examples:
    - {description: set, input: {data: {v: 1}}, output: {bytes: [3], fPort: 9}}
""",
    "vendor/acme/t1.js": "// Copyright Acme, MIT licence\n" + UP,
}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    for name, content in FILES.items():
        write(name, content)
    return write


def test_the_devices_are_listed_by_their_names(tmp_path, write):
    found = list_device_repository(tmp_path)

    assert (found.names, found.warnings) == (("acme/bare", "acme/t1", "zeta/z1"), ())


def test_the_devices_of_one_vendor_are_listed(tmp_path, write):
    assert list_device_repository(tmp_path, vendor="acme").names == ("acme/bare", "acme/t1")


def test_a_vendor_that_cannot_be_read_is_told_and_the_others_are_listed(tmp_path, write):
    write("vendor/acme/index.yaml", "[")

    found = list_device_repository(tmp_path)

    assert found.names == ("zeta/z1",)
    assert found.warnings[0].startswith("vendor/acme/index.yaml is not YAML")


def test_another_folder_is_no_checkout(tmp_path):
    with pytest.raises(CodecSourceError, match=r"has no vendor/index\.yaml; give the folder of a checkout"):
        list_device_repository(tmp_path)


def test_a_device_has_its_script_and_its_examples(tmp_path, write):
    found = read_from_device_repository(tmp_path, "acme/t1")

    assert (found.name, found.source, found.terms) == ("acme-t1", "vendor/acme/t1.js", TERMS)
    assert (found.codec.signature, found.codec.script) == (Signature.LORA_ALLIANCE, FILES["vendor/acme/t1.js"])
    assert found.licence == "a script begins with “Copyright Acme, MIT licence”."
    assert (found.driver_keys, found.warnings) == ((), ())
    up, down = found.codec.examples
    assert (up.operation, up.data, up.at_text) == (
        Operation.DECODE_UPLINK,
        {"v": 7, "state": "on"},
        "2024-05-01T10:00:00+02:00",
    )
    assert up.normalized == [{"air": {"temperature": 7}}]
    assert (down.operation, down.frm_payload, down.f_port) == (Operation.ENCODE_DOWNLINK, b"\x03", 9)


TWO_CODECS = """
firmwareVersions:
  - {version: '2.0', profiles: {EU863-870: {codec: new-codec}, US902-928: {codec: new-codec}}}
  - {version: '1.0', profiles: {EU863-870: {codec: t1-codec}}}
"""


def test_of_several_codecs_the_one_listed_last_is_read_and_the_others_are_told(tmp_path, write):
    write("vendor/acme/t1.yaml", TWO_CODECS)

    found = read_from_device_repository(tmp_path, "acme/t1")

    assert found.source == "vendor/acme/t1.js"
    assert found.warnings == (
        "vendor/acme/t1.yaml names several codecs: t1-codec, of the firmware listed last, was read, and not new-codec.",
    )


def test_the_caller_may_choose_among_several_codecs(tmp_path, write):
    write("vendor/acme/t1.yaml", TWO_CODECS)
    write("vendor/acme/new-codec.yaml", "uplinkDecoder: {fileName: new.js}")
    write("vendor/acme/new.js", UP)

    found = read_from_device_repository(tmp_path, "acme/t1", codec="new-codec")

    assert (found.source, found.warnings) == ("vendor/acme/new.js", ())


def test_a_codec_may_lie_with_the_vendor_of_the_profile(tmp_path, write):
    write("vendor/acme/t1.yaml", "firmwareVersions: [{profiles: {EU863-870: {vendorID: zeta, codec: module}}}]")
    write("vendor/zeta/module.yaml", "uplinkDecoder: {fileName: module.js}")
    write("vendor/zeta/module.js", UP)

    assert read_from_device_repository(tmp_path, "acme/t1").source == "vendor/zeta/module.js"


def test_different_scripts_are_joined_and_their_helpers_do_not_meet(tmp_path, write):
    write("vendor/acme/t1-codec.yaml", "uplinkDecoder: {fileName: t1.js}\ndownlinkEncoder: {fileName: down.js}")
    write("vendor/acme/down.js", DOWN)

    found = read_from_device_repository(tmp_path, "acme/t1")

    context = quickjs.Context()
    context.eval(found.codec.script)
    assert json.loads(context.eval("JSON.stringify(decodeUplink({ bytes: [5] }))")) == {"data": {"v": 6}}
    assert json.loads(context.eval("JSON.stringify(encodeDownlink({ data: { v: 5 } }))")) == {"bytes": [7], "fPort": 9}
    assert context.eval("typeof OFFSET + typeof decodeDownlink + typeof module") == "undefined" * 3
    assert found.warnings == ("t1.js, down.js were joined to one script, each in a scope of its own.",)
    assert found.source == "vendor/acme/t1.js, vendor/acme/down.js"


def test_of_a_joined_script_only_what_its_section_names_is_taken(tmp_path, write):
    stray = "function encodeDownlink() { return 'stray'; }\n"
    write("vendor/acme/t1-codec.yaml", "downlinkEncoder: {fileName: down.js}\nuplinkDecoder: {fileName: t1.js}")
    write("vendor/acme/t1.js", UP + stray + "// no end of line")
    write("vendor/acme/down.js", "let exports = {}; let module = {};\n" + DOWN)

    context = quickjs.Context()
    context.eval(read_from_device_repository(tmp_path, "acme/t1").codec.script)

    assert json.loads(context.eval("JSON.stringify(encodeDownlink({ data: { v: 5 } }))"))["bytes"] == [7]


def test_a_joined_script_may_export_its_function(tmp_path, write):
    write("vendor/acme/t1-codec.yaml", "downlinkEncoder: {fileName: down.js}\nuplinkDecoder: {fileName: t1.js}")
    write("vendor/acme/down.js", "exports.encodeDownlink = () => ({ bytes: [1] });")

    context = quickjs.Context()
    context.eval(read_from_device_repository(tmp_path, "acme/t1").codec.script)

    assert context.eval("encodeDownlink().bytes[0]") == 1


def test_scripts_that_are_called_otherwise_are_not_joined(tmp_path, write):
    write("vendor/acme/t1-codec.yaml", "uplinkDecoder: {fileName: t1.js}\ndownlinkEncoder: {fileName: down.js}")
    write("vendor/acme/down.js", "function Encoder(object, port) {}")

    with pytest.raises(CodecSourceError, match=r"down\.js is called as ttn, and is not joined with others"):
        read_from_device_repository(tmp_path, "acme/t1")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("vendor/acme/t1-codec.yaml", "uplinkDecoder: {fileName: ../../secret.js}", "not a plain file name"),
        ("vendor/acme/t1-codec.yaml", "uplinkDecoder: {fileName: none.js}", "vendor/acme/none.js is not in"),
        ("vendor/acme/t1-codec.yaml", "name: x", "t1-codec.yaml names no script"),
        ("vendor/acme/t1-codec.yaml", "a: &a [1]\nb: *a", "uses an alias"),
        ("vendor/acme/t1.yaml", "firmwareVersions: [{profiles: {EU: {codec: ../x}}}]", "not a plain file name"),
        ("vendor/acme/t1.js", "import './x';", "build its bundle first"),
        ("vendor/acme/t1.js", "var x;", "declares none of"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_do(tmp_path, write, name, content, told):
    (tmp_path / "secret.js").write_text(UP)
    write(name, content)

    with pytest.raises(CodecSourceError) as refused:
        read_from_device_repository(tmp_path, "acme/t1")

    assert told in str(refused.value)


def test_a_device_without_a_codec_is_told(tmp_path, write):
    with pytest.raises(CodecSourceError, match=r"bare\.yaml names no codec: the vendor gave none"):
        read_from_device_repository(tmp_path, "acme/bare")


def test_a_device_that_is_not_there_is_told(tmp_path, write):
    with pytest.raises(CodecSourceError, match="list the devices of acme"):
        read_from_device_repository(tmp_path, "acme/t2")


def test_a_codec_that_the_device_does_not_name_is_told(tmp_path, write):
    with pytest.raises(CodecSourceError, match="It names t1-codec"):
        read_from_device_repository(tmp_path, "acme/t1", codec="index")
