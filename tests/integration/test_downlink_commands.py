"""`receiver downlink`, as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from receiver.services.downlink_encoding import ObjectEncoder
from tests.integration.api_use import DEVICE, OTHER_DEVICE
from tests.integration.command_line import CHECKOUT
from tests.integration.downlink_ledger_use import VALVE, Ledger

# The group, whether `receiver` has it by itself or not.
RECEIVER = """
from receiver.cli import downlink, main
if "downlink" not in [group.name for group in main.app.registered_groups]:
    main.app.add_typer(downlink.app, name="downlink")
main.main()
"""


@pytest.fixture
def ledger(field):
    with ObjectEncoder() as encoder:
        yield Ledger(field, encoder)


@pytest.fixture
def receiver(tmp_path, database_url, ledger):
    environment = {
        "PYTHONPATH": str(CHECKOUT),
        "RECEIVER_DATABASE_URL": database_url,
        "RECEIVER_DATA_DIR": str(tmp_path / "data"),
        "RECEIVER_KEK": bytes(range(32)).hex(),
    }

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", RECEIVER, "downlink", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def said(answer) -> str:
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def assert_refused(answer, told, code=1):
    """One sentence, no traceback, and the exit code."""
    assert answer.returncode == code, answer.stderr
    assert told in " ".join(answer.stderr.replace("│", " ").split())
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_a_downlink_is_sent_listed_shown_and_taken_back(receiver, ledger):
    sent = said(receiver("send", DEVICE, "--port", "10", "--hex", "de ad", "--reference", "r", "--expires", "10m"))
    assert "2 bytes on FPort 10, is queued by connection field." in sent
    [row] = json.loads(said(receiver("list", "--json")))
    assert (row["state"], row["payload_hex"], row["created_by"]) == ("queued", "dead", "command")
    downlink_id = str(row["id"])
    assert f"receiver downlink show {downlink_id}" in sent
    assert "queued" in said(receiver("list", "--device", DEVICE, "--state", "queued", "--reference", "r"))

    shown = json.loads(said(receiver("show", downlink_id, "--json")))
    assert [event["state"] for event in shown["events"]] == ["queued"]
    assert "Steps, oldest first:" in said(receiver("show", downlink_id))

    assert said(receiver("cancel", downlink_id)) == f"Downlink {downlink_id} is cancelled.\n"
    assert_refused(receiver("cancel", downlink_id), "cancelled already")
    assert ledger.states() == ["cancelled"]


def test_a_payload_may_be_in_base64_and_an_object_goes_through_the_codec(receiver, ledger):
    ledger.assign(VALVE)

    sent = json.loads(said(receiver("send", DEVICE, "--port", "1", "--base64", "3q0=", "--json")))
    assert sent["payload_hex"] == "dead"
    sent = json.loads(said(receiver("send", DEVICE, "--object", '{"open": true}', "--confirmed", "--json")))
    assert (sent["payload_hex"], sent["f_port"], sent["confirmed"]) == ("01", 15, True)
    shown = said(receiver("show", str(sent["id"])))
    assert '{"open": true}' in shown
    assert_refused(receiver("send", DEVICE, "--object", "{}"), "open must be true or false.")


def test_the_same_command_with_the_same_key_sends_nothing_more(receiver, ledger):
    arguments = ("send", DEVICE, "--port", "1", "--hex", "01", "--idempotency-key", "k")

    assert "is queued" in said(receiver(*arguments))
    assert "was put in before" in said(receiver(*arguments))
    assert_refused(receiver(*arguments, "--priority", "1"), "something else was asked for")
    assert ledger.states() == ["queued"]


def test_replace_and_flush_say_what_they_do(receiver, ledger):
    ledger.put()

    sent = said(receiver("send", DEVICE, "--flush", "--replace", "--not-before", "1h"))

    assert "empties the network's queue" in sent
    assert "1 queued downlink" in sent
    assert ledger.states() == ["cancelled", "queued"]


def test_a_warning_goes_to_standard_error(receiver, ledger):
    ledger.hear_at(12)

    answer = receiver("send", DEVICE, "--port", "1", "--hex", "00" * 52)

    assert answer.returncode == 0
    assert "SF12" in answer.stderr


@pytest.mark.parametrize(
    ("code", "told", "arguments"),
    [
        (2, "Give one of --hex, --base64 and --object", ("--port", "1")),
        (2, "Give one of --hex, --base64 and --object", ("--port", "1", "--hex", "01", "--base64", "AQ==")),
        (2, "--object is not JSON", ("--object", "{")),
        (2, "--expires is 'soon'", ("--port", "1", "--hex", "01", "--expires", "soon")),
        (1, "It expired at", ("--port", "1", "--hex", "01", "--expires", "2020-01-01")),
        (1, "two hexadecimal digits", ("--port", "1", "--hex", "0")),
        (1, "0 is for MAC commands", ("--port", "0", "--hex", "01")),
        (1, "needs an FPort", ("--hex", "01")),
        (1, "There is no connection 'nowhere'", ("--port", "1", "--hex", "01", "--connection", "nowhere")),
        (1, "connection must be", ("--port", "1", "--hex", "01", "--connection", b"\xff")),
        (1, "Idempotency-Key must be", ("--port", "1", "--hex", "01", "--idempotency-key", "")),
    ],
    ids=str,
)
def test_what_cannot_be_sent_is_refused_in_one_sentence(receiver, ledger, code, told, arguments):
    assert_refused(receiver("send", DEVICE, *arguments), told, code)
    assert ledger.states() == []


def test_a_device_that_nobody_heard_and_an_id_that_is_none_are_refused(receiver):
    assert_refused(receiver("send", OTHER_DEVICE, "--port", "1", "--hex", "01"), "was not heard yet")
    assert_refused(receiver("send", "20635F", "--port", "1", "--hex", "01"), "is not a DevEUI")
    assert_refused(receiver("show", "99"), "There is no downlink 99")
    assert_refused(receiver("cancel", "99"), "There is no downlink 99")
    assert_refused(receiver("list", "--state", "gone"), "is not a state", 2)
    assert_refused(receiver("list", "--connection", "nowhere"), "no connection named")
