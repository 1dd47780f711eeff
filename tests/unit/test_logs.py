"""What may stand in a log, and how it is written."""

from __future__ import annotations

import json
import logging

import pytest

from receiver.logs import REDACTED, configure, get_logger, redact


@pytest.fixture(autouse=True)
def logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


def written(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return dict(json.loads(line))


@pytest.mark.parametrize(
    "name",
    [
        *("key", "tunnel_key", "AppSKey", "kek_and_key", "token", "Token", "client_secret", "Authorization"),
        *("frm_payload", "payload", "query", "query_string", "passphrase", "password"),
    ],
)
def test_a_telling_name_is_redacted(name):
    assert redact(None, "info", {name: "hush"}) == {name: REDACTED}


@pytest.mark.parametrize("name", ["key_id", "tunnel_key_id", "key_check_value", "payload_state", "dev_eui", "event"])
def test_what_tells_which_key_it_was_is_kept(name):
    assert redact(None, "info", {name: "k1"}) == {name: "k1"}


def test_a_telling_name_is_redacted_at_any_depth():
    event = {"report": {"deep": [{"app_s_key": "hush"}, 1]}}

    assert redact(None, "info", event) == {"report": {"deep": [{"app_s_key": REDACTED}, 1]}}


@pytest.mark.parametrize(
    "text",
    [
        "POST /push/farm?LrnDevEui=1&Token=hush&x=1",
        "sent Bearer hush",
        "connecting to postgresql://receiver:hush@localhost/receiver",
    ],
)
def test_a_secret_inside_a_sentence_is_redacted(text):
    said = redact(None, "info", {"event": text})["event"]

    assert "hush" not in said
    assert REDACTED in said


@pytest.mark.parametrize("character", ["\x1b", "\r", "\0", "\x7f", "\x9b", "\u202e"])
def test_a_character_that_would_act_on_a_terminal_is_escaped(character):
    said = redact(None, "info", {"connection": f"a{character}b"})["connection"]

    assert said == f"a{character.encode('unicode_escape').decode()}b"


def test_the_port_of_a_url_is_no_secret():
    event = {"url": "https://127.0.0.1:8443/push/field"}

    assert redact(None, "info", event) == event


def test_bytes_are_told_by_their_number():
    assert redact(None, "info", {"body": b"hush"}) == {"body": "[4 bytes]"}


def test_an_event_is_one_json_object(capsys):
    configure("info", "json")

    get_logger("receiver.test").info("push-stored", dev_eui="0000000000000001", tunnel_key="hush")

    line = written(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "push-stored",
        "level": "info",
        "logger": "receiver.test",
        "dev_eui": "0000000000000001",
        "tunnel_key": REDACTED,
    }


def test_a_log_of_another_library_goes_the_same_way(capsys):
    configure("info", "json")

    logging.getLogger("other").warning("asked for ?Token=%s", "hush")

    assert written(capsys)["event"] == f"asked for ?Token={REDACTED}"


def test_a_flood_of_another_library_is_bounded_and_what_was_left_out_is_counted(capsys, monkeypatch):
    configure("info", "json")
    monkeypatch.setattr("time.time", lambda: 7.0)
    monkeypatch.setattr("time.time_ns", lambda: 7 * 10**9, raising=False)
    for _ in range(100):
        logging.getLogger("uvicorn.error").warning("Invalid %s", "request")
    monkeypatch.setattr("time.time", lambda: 8.0)
    monkeypatch.setattr("time.time_ns", lambda: 8 * 10**9, raising=False)
    logging.getLogger("uvicorn.error").warning("Invalid %s", "request")

    said = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    left_out = "(90 lines of uvicorn.error were left out before this one)"
    assert said == ["Invalid request"] * 10 + [f"Invalid request {left_out}"]


def test_what_the_receiver_says_itself_is_never_left_out(capsys):
    configure("info", "json")
    for _ in range(100):
        get_logger("receiver.test").info("push-stored")

    assert capsys.readouterr().err.count("\n") == 100


def test_a_level_below_the_chosen_one_is_not_written(capsys):
    configure("warning", "json")

    get_logger("receiver.test").info("push-stored")

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["httpx", "uvicorn.access"])
def test_a_library_that_tells_each_request_is_quiet(capsys, name):
    configure("debug", "json")

    logging.getLogger(name).info("POST /push/farm?Token=hush")

    assert capsys.readouterr().err == ""


def test_an_exception_is_written_with_its_traceback_and_without_local_values(capsys):
    configure("info", "console")

    def fail(app_s_key: str) -> None:
        raise ValueError("no luck with Token=hush")

    try:
        fail("quiet")
    except ValueError:
        get_logger("receiver.test").exception("reading-failed")

    said = capsys.readouterr().err
    assert "ValueError: no luck with Token=[redacted]" in said
    assert "hush" not in said
    assert "quiet'" not in said


def test_the_console_form_is_for_people(capsys):
    configure("info", "console")

    get_logger("receiver.test").info("push-stored", dev_eui="A")

    said = capsys.readouterr().err
    assert "push-stored" in said
    assert "dev_eui=A" in said


def test_nothing_is_written_to_standard_output(capsys):
    configure("debug", "console")

    get_logger("receiver.test").error("away")

    assert capsys.readouterr().out == ""


def test_a_logger_works_before_anything_is_configured(capsys):
    logging.getLogger().handlers = []

    get_logger("receiver.test").warning("away", token="hush")

    said = capsys.readouterr()
    assert "away" in said.err
    assert "hush" not in said.err
    assert said.out == ""
