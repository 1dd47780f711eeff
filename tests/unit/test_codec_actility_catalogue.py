"""One driver from a checkout laid out as Actility's device catalogue, the present and the older one."""

from __future__ import annotations

import json

import pytest

from receiver.codecs.actility_catalogue import TERMS, list_actility_catalogue, read_from_actility_catalogue
from receiver.codecs.values import Operation, Signature
from receiver.errors import CodecSourceError

SCRIPT = "function decodeUplink(input) { return { data: { v: input.bytes[0] } }; }\n"
PART = "let helper = require('./helper');\nexports.decodeUplink = helper.decode;\n"
DRIVER = "vendors/acme/drivers/t1"
EXAMPLES = [{"type": "uplink", "description": "one", "input": {"bytes": [7], "fPort": 1}, "output": {"data": {"v": 7}}}]
OLDER_PACKAGE = {
    "main": "index.js",
    "license": "ISC",
    "driver": {
        "type": "thingpark-x-js",
        "application": {"producerId": "acme", "moduleId": "t1", "version": "1"},
        "points": {"volume": {"unitId": "l", "type": "double"}, "state": {"type": "string"}, "odd": 3},
    },
}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    return write


@pytest.fixture
def driver(write):
    write(f"{DRIVER}/driver.yaml", "name: T1\nprotocolId: acme:t1:2\nsignature: lora-alliance\n")
    write(f"{DRIVER}/package.json", {"main": "./index.js", "license": "MIT"})
    write(f"{DRIVER}/index.js", SCRIPT)
    write(f"{DRIVER}/examples.json", EXAMPLES)
    write("vendors/acme/models/t1-eu/model.yaml", "modelId: acme:t1-eu:1\nprotocolId:\n  - acme:t1:2\n  - acme:t0:1\n")
    write("vendors/acme/models/t1-us/model.yaml", "modelId: acme:t1-us:1\nprotocolId: acme:t1:2\n")
    write("vendors/acme/models/t9/model.yaml", "modelId: acme:t9:1\nprotocolId: acme:t9:1\n")
    write("vendors/acme/models/broken/model.yaml", "[")


@pytest.fixture
def older(write):
    write("acme/t1/package.json", OLDER_PACKAGE)
    write("acme/t1/index.js", SCRIPT + "function extractPoints(input) {}")
    write("acme/t1/examples/a.examples.json", [{"type": "uplink", "bytes": "07", "fPort": 1, "data": {"v": 7}}])
    write("acme/t1/errors/a.errors.json", [{"type": "uplink", "bytes": "", "fPort": 1, "error": "empty"}])
    write("templates/simple/package.json", {})


def read(tmp_path, **options):
    return read_from_actility_catalogue(tmp_path, "acme/t1", **options)


def test_the_drivers_are_listed_by_their_names(tmp_path, write, driver):
    write("vendors/zeta/drivers/z1/driver.yaml", "protocolId: zeta:z1:1")
    write("vendors/zeta/drivers/notes/README.md", "")

    assert list_actility_catalogue(tmp_path).names == ("acme/t1", "zeta/z1")
    assert list_actility_catalogue(tmp_path, vendor="zeta").names == ("zeta/z1",)


def test_the_drivers_of_the_older_layout_are_listed(tmp_path, older):
    assert list_actility_catalogue(tmp_path).names == ("acme/t1",)


@pytest.mark.parametrize("vendor", [None, "none"])
def test_a_folder_without_drivers_is_no_checkout(tmp_path, vendor):
    with pytest.raises(CodecSourceError, match="has no drivers"):
        list_actility_catalogue(tmp_path, vendor=vendor)


def test_a_driver_has_its_script_its_examples_and_its_keys(tmp_path, driver):
    found = read(tmp_path)

    assert (found.name, found.source, found.terms) == ("acme-t1", f"{DRIVER}/index.js", TERMS)
    assert (found.codec.signature, found.codec.script) == (Signature.LORA_ALLIANCE, SCRIPT)
    assert (found.driver_keys, found.model_keys) == (("acme:t1:2",), ("acme:t1-eu:1", "acme:t1-us:1"))
    assert [example.description for example in found.codec.examples] == ["one"]
    assert found.licence == "package.json says MIT."
    assert found.warnings == ()


def test_a_driver_of_the_older_layout_has_its_units_and_both_kinds_of_examples(tmp_path, older):
    found = read(tmp_path)

    assert (found.source, found.codec.signature) == ("acme/t1/index.js", Signature.THINGPARK_X)
    assert (found.codec.units, found.driver_keys) == ({"volume": "l"}, ("acme:t1:1",))
    good, bad = found.codec.examples
    assert (good.operation, good.frm_payload, good.data) == (Operation.DECODE_UPLINK, b"\x07", {"v": 7})
    assert bad.errors == ("empty",)


@pytest.mark.parametrize(
    ("said", "script", "signature", "warnings"),
    [
        ("", SCRIPT, Signature.LORA_ALLIANCE, 0),
        ("", SCRIPT + "function extractPoints(i) {}", Signature.LORA_ALLIANCE, 0),
        ("actility", SCRIPT, Signature.THINGPARK_X, 0),
        ("thingpark-x-js", SCRIPT, Signature.THINGPARK_X, 0),
        ("ttn", "function Decoder(b, p) {}", Signature.TTN, 0),
        ("ttn", SCRIPT + "function Decoder(b, p) {}", Signature.TTN, 0),
        ("chirpstack", "function Decode(p, b, v) {}", Signature.CHIRPSTACK, 0),
        ("lora-alliance", "function Decoder(b, p) {}", Signature.TTN, 1),
        ("sigfox", SCRIPT, Signature.LORA_ALLIANCE, 1),
    ],
)
def test_the_driver_says_how_it_is_called_unless_its_text_cannot_be(
    tmp_path, write, driver, said, script, signature, warnings
):
    write(f"{DRIVER}/driver.yaml", f"protocolId: acme:t1:2\nsignature: {said}\n")
    write(f"{DRIVER}/index.js", script)

    found = read(tmp_path)

    assert (found.codec.signature, len(found.warnings)) == (signature, warnings)


def test_the_caller_may_say_how_it_is_called(tmp_path, driver):
    assert read(tmp_path, signature=Signature.CHIRPSTACK).codec.signature is Signature.CHIRPSTACK


@pytest.mark.parametrize("bundle", ["main.js", "dist/acme.js"])
def test_where_package_json_names_a_part_the_bundle_is_read(tmp_path, write, driver, bundle):
    write(f"{DRIVER}/package.json", {"main": "./src/index.js"})
    write(f"{DRIVER}/src/index.js", PART)
    write(f"{DRIVER}/index.js", PART)
    write(f"{DRIVER}/{bundle}", SCRIPT)

    assert read(tmp_path).source == f"{DRIVER}/{bundle}"


@pytest.mark.parametrize("part", [PART, "import { a } from './a.js';\n" + SCRIPT])
def test_where_there_are_only_parts_the_bundle_is_asked_for(tmp_path, write, driver, part):
    write(f"{DRIVER}/index.js", part)

    with pytest.raises(CodecSourceError, match=r"index\.js .*: build its bundle first"):
        read(tmp_path)


def test_a_main_that_leads_out_is_not_read(tmp_path, write, driver):
    write("secret.js", SCRIPT)
    write(f"{DRIVER}/package.json", {"main": "../../../../secret.js"})

    assert read(tmp_path).source == f"{DRIVER}/index.js"


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ("protocolId: os1-acme:t1:2", "describes a driver whose script is not in the catalogue"),
        ("packageName: acme-t1\npackageVersion: 2.0.0", "the npm package 'acme-t1', version '2.0.0'"),
    ],
)
def test_a_description_without_a_script_is_told(tmp_path, write, about, told):
    write(f"{DRIVER}/driver.yaml", about)

    with pytest.raises(CodecSourceError, match=told):
        read(tmp_path)


def test_a_driver_that_is_linked_to_another_is_read(tmp_path, driver):
    (tmp_path / "vendors/acme/drivers/t2").symlink_to(tmp_path / DRIVER)

    assert read_from_actility_catalogue(tmp_path, "acme/t2").driver_keys == ("acme:t1:2",)


def test_a_driver_that_is_linked_out_of_the_checkout_is_refused(tmp_path, driver):
    (tmp_path / "inner" / "vendors/acme/drivers").mkdir(parents=True)
    (tmp_path / "inner" / DRIVER).symlink_to(tmp_path / DRIVER)

    with pytest.raises(CodecSourceError):
        read(tmp_path / "inner")


def test_an_odd_protocol_is_told_and_is_no_key(tmp_path, write, driver):
    write(f"{DRIVER}/driver.yaml", "protocolId: acme t1\n")

    found = read(tmp_path)

    assert found.driver_keys == ()
    assert "'acme t1', which is not vendor:protocol:version" in found.warnings[0]


def test_a_driver_that_keeps_a_context_is_told(tmp_path, write, driver):
    write(f"{DRIVER}/driver.yaml", "protocolId: acme:t1:2\nuseContext: true\n")

    assert "keeps a context" in read(tmp_path).warnings[0]


def test_examples_that_cannot_be_read_are_told(tmp_path, write, driver):
    write(f"{DRIVER}/examples.json", "{")

    found = read(tmp_path)

    assert found.codec.examples == ()
    assert found.warnings[0].startswith(f"{DRIVER}/examples.json is not JSON")


def test_a_driver_that_is_not_there_is_told(tmp_path, driver):
    with pytest.raises(CodecSourceError, match="list the drivers of acme"):
        read_from_actility_catalogue(tmp_path, "acme/t7")
