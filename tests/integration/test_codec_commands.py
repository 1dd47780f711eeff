"""`receiver codec` and `receiver telemetry`, as a person types them."""

from __future__ import annotations

import json

import pytest

from receiver.simulator.device_codecs import SCRIPTS
from receiver.simulator.sensors import SENSORS
from tests.integration.codec_scripts import CLIMATE
from tests.integration.command_line import run

EXAMPLES = [
    {
        "type": "uplink",
        "description": "warm",
        "input": {"bytes": "00d701", "fPort": 5},
        "output": {"data": {"temperature": 21.5, "door": {"open": True}, "state": "good", "levels": [1, 2]}},
    },
    {
        "type": "uplink",
        "description": "cold",
        "input": {"bytes": "000a00", "fPort": 5},
        "output": {"data": {"temperature": 2, "door": {"open": False}, "state": "good", "levels": [1, 2]}},
    },
]


@pytest.fixture
def receiver(tmp_path, database_url):
    return lambda *arguments: run(tmp_path, database_url, *arguments)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "climate.js"
    path.write_text(CLIMATE)
    (tmp_path / "climate.examples.json").write_text(json.dumps(EXAMPLES))
    return path


def said(answer) -> str:
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_a_codec_is_added_shown_and_removed(receiver, script):
    assert said(receiver("codec", "add", str(script), "--unit", "temperature=Cel")).startswith("climate added: ")
    shown = json.loads(said(receiver("codec", "show", "climate", "--json")))
    assert (shown["signature"], shown["units"], shown["examples"]) == ("lora-alliance", {"temperature": "Cel"}, 2)
    assert said(receiver("codec", "show", "climate", "--script")).strip() == CLIMATE.strip()

    assert said(receiver("codec", "remove", "climate")) == "climate is removed.\n"
    assert said(receiver("codec", "list")) == "Nothing to show.\n"


def test_a_changed_script_is_a_new_version_and_the_same_one_is_not(receiver, script):
    receiver("codec", "add", str(script))
    assert "had this version already" in said(receiver("codec", "add", str(script)))
    script.write_text(CLIMATE.replace("/ 10", "/ 100"))
    assert "has a new version" in said(receiver("codec", "add", str(script)))

    [codec] = json.loads(said(receiver("codec", "list", "--json")))
    assert codec["versions"] == 2


def test_the_examples_of_a_codec_show_each_difference(receiver, script):
    receiver("codec", "add", str(script))
    answer = receiver("codec", "test", "climate")

    assert answer.returncode == 1
    assert "ok      decodeUplink: warm" in answer.stdout
    assert "differs decodeUplink: cold" in answer.stdout
    assert "data.temperature: expected 2, got 1" in answer.stdout
    assert "2 examples, 1 of them with differences." in answer.stdout


def test_a_script_is_tested_before_it_is_added(receiver, script):
    results = json.loads(receiver("codec", "test", str(script), "--json").stdout)

    assert [result["passed"] for result in results] == [True, False]


@pytest.mark.parametrize("kind", SENSORS)
def test_the_codec_of_each_simulated_device_passes_its_examples(receiver, kind):
    assert "none of them with differences" in said(receiver("codec", "test", str(SCRIPTS / f"{kind}.js")))


def test_an_assignment_is_listed_replaced_and_taken_back(receiver, script):
    receiver("codec", "add", str(script))
    receiver("codec", "add", str(script), "--name", "other")
    scope = ("--model", "ACME/Climate", "--port", "5")
    assert said(receiver("codec", "assign", "climate", *scope)) == (
        "climate decodes what comes from now on of model ACME/Climate, FPort 5.\n"
    )
    assert "in place of climate" in said(receiver("codec", "assign", "other", *scope))
    assert "other is for model ACME/Climate, FPort 5" in said(receiver("codec", "list"))
    refused = receiver("codec", "remove", "other")
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)

    assert said(receiver("codec", "unassign", *scope)) == (
        "No codec is assigned to model ACME/Climate, FPort 5 any more.\n"
    )
    assert receiver("codec", "unassign", *scope).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("codec", "assign", "nothing", "--port", "1"), "There is no codec named nothing."),
        (("codec", "assign", "senml"), "Say which frames"),
        (("codec", "assign", "senml", "--connection", "nowhere"), "There is no connection named nowhere."),
        (("codec", "assign", "senml", "--device", "12"), "DevEUI"),
        (("codec", "show", "senml@12"), "There is no version 12 of a codec senml."),
        (("codec", "add", "nowhere.js"), "nowhere.js"),
        (("codec", "import", "."), "checkout"),
        (("telemetry", "list", "--device", "xyz"), "DevEUI"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(receiver, arguments, sentence):
    answer = receiver(*arguments)

    assert answer.returncode == 1
    assert sentence in answer.stderr
    assert "Traceback" not in answer.stderr


def test_one_device_of_a_checkout_is_imported_with_its_terms(receiver, tmp_path):
    driver = tmp_path / "catalogue" / "vendors" / "acme" / "drivers" / "climate"
    driver.mkdir(parents=True)
    (driver / "driver.yaml").write_text("name: Climate\nprotocolId: acme:climate:1\nsignature: lora-alliance\n")
    (driver / "index.js").write_text(CLIMATE)
    (driver / "examples.json").write_text(json.dumps(EXAMPLES))
    checkout = str(tmp_path / "catalogue")
    assert said(receiver("codec", "import", checkout)) == "acme/climate\n"

    told = said(receiver("codec", "import", checkout, "acme/climate"))
    assert "acme-climate added" in told
    assert "receiver codec assign acme-climate --driver acme:climate:1" in told
    assert "licence" in told.lower()
    assert said(receiver("codec", "assign", "acme-climate", "--driver", "acme:climate:1"))
