"""`receiver redecode`, as a person types it."""

from __future__ import annotations

import json

import pytest

from receiver.codecs.engine import CodecEngine
from receiver.codecs.values import Codec, Signature
from receiver.services.codecs import Scope, add_codec, assign_codec
from receiver.services.decoding import Decoder
from receiver.services.redecoding import begin_redecoding, redecode
from receiver.storage.tables import uplinks
from receiver.storage.telemetry_tables import decodings, redecodings, series, telemetry_values
from tests.integration.codec_scripts import TENFOLD, climate
from tests.integration.command_line import run

EUI = "20635F0000000001"


@pytest.fixture
def receiver(tmp_path, database_url):
    return lambda *arguments: run(tmp_path, database_url, *arguments)


@pytest.fixture
def history(field):
    """Three frames that were decoded as they came, and a new version of their codec."""
    network = field.connect()
    device = network.add_device(dev_eui=EUI)
    add_codec(field.engine, field.now, "climate", climate(), None)
    assign_codec(field.engine, field.now, "climate", Scope(dev_eui=EUI))
    for number in range(3):
        field.take_and_read(network.uplink(device, f_port=5, payload=bytes([0, 200 + number, 1])))
        field.wait(minutes=1)
    with CodecEngine() as codec_engine:
        Decoder(field.engine, codec_engine).decode_batch(field.now, 200)
    add_codec(field.engine, field.now, "climate", climate(TENFOLD), None)


def said(answer) -> str:
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def everything(field):
    return [field.rows(table) for table in (decodings, series, telemetry_values, redecodings)]


def test_a_dry_run_shows_what_would_change_and_changes_nothing(receiver, field, history):
    before = everything(field)
    told = said(receiver("redecode", "--device", EUI, "--dry-run"))

    assert "3 frames decoded, 0 failed." in told
    assert "Measurements: 0 added, 0 removed, 3 changed, 12 unchanged." in told
    assert "This was a dry run: nothing was changed." in told
    [line] = [line for line in told.splitlines() if "20.1 Cel" in line]
    assert line.split() == ["2026-11-20", "12:00:59Z", EUI, "temperature", "20.1", "Cel", "2010", "Cel"]
    assert everything(field) == before


def test_a_run_changes_what_it_tells(receiver, field, history):
    answer = receiver("redecode", "--device", EUI)

    assert said(answer) == ("3 frames decoded, 0 failed.\nMeasurements: 0 added, 0 removed, 3 changed, 12 unchanged.\n")
    assert answer.stderr == f"Decoding again: device {EUI}.\n"
    assert sorted(row.value for row in field.rows(telemetry_values) if row.value)[-3:] == [2000.0, 2010.0, 2020.0]


def test_json_has_the_counts_and_for_a_dry_run_the_differences(receiver, field, history):
    dry = json.loads(said(receiver("redecode", "--all", "--dry-run", "--json")))
    assert (dry["dry_run"], dry["run_id"], dry["changed"], len(dry["samples"])) == (True, None, 3, 3)
    assert dry["samples"][0] == {
        "dev_eui": EUI,
        "at": field.rows(uplinks)[0].at.isoformat().replace("+00:00", "Z"),
        "name": "temperature",
        "before": {"value": 20.0, "unit": "Cel"},
        "after": {"value": 2000.0, "unit": "Cel"},
    }

    done = json.loads(said(receiver("redecode", "--all", "--json")))
    assert done == {
        "dry_run": False,
        "run_id": 1,
        "decoded": 3,
        "failed": 0,
        "left": 0,
        "added": 0,
        "removed": 0,
        "changed": 3,
        "unchanged": 12,
    }


def test_a_run_that_was_stopped_is_gone_on_with(receiver, field, history):
    with CodecEngine() as codec_engine:
        begun = begin_redecoding(field.engine, codec_engine, field.now, Scope(dev_eui=EUI))
        next(redecode(field.engine, codec_engine, begun, lambda: field.now, step_frames=1))
    answer = receiver("redecode", "--resume")

    assert "3 frames decoded" in said(answer)
    assert answer.stderr == f"Decoding again, from where it stopped: device {EUI}.\n"
    again = receiver("redecode", "--resume")
    assert (again.returncode, "There is no redecoding to go on with" in again.stderr) == (1, True)


def test_frames_that_no_codec_is_for_are_told(receiver, field, history):
    said(receiver("codec", "unassign", "--device", EUI))

    assert "3 frames left as they were: no codec is for them." in said(receiver("redecode", "--all"))


def test_what_a_codec_gives_cannot_move_a_terminals_cursor(receiver, field, history):
    script = r"""decodeUplink = () => ({data: {"na\u001bme": "a\u001b[2Jb"}})"""
    add_codec(field.engine, field.now, "sly", Codec(Signature.LORA_ALLIANCE, script), None)
    told = said(receiver("redecode", "--all", "--codec", "sly", "--dry-run"))

    assert "\x1b" not in told
    assert "�[2Jb" in told


@pytest.mark.parametrize(
    "arguments",
    [(), ("--codec", "climate"), ("--dry-run",), ("--all", "--port", "5"), ("--resume", "--all"), ("--since", "when")],
)
def test_a_run_must_say_which_frames(receiver, arguments):
    assert receiver("redecode", *arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--all", "--codec", "nothing"), "There is no codec named nothing."),
        (("--connection", "nowhere"), "There is no connection named nowhere."),
        (("--device", "12"), "DevEUI"),
        (("--resume",), "There is no redecoding to go on with"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(receiver, field, arguments, sentence):
    answer = receiver("redecode", *arguments)

    assert answer.returncode == 1
    assert sentence in answer.stderr
    assert "Traceback" not in answer.stderr
    assert field.count(redecodings) == 0
