"""What the network answers to a downlink request, in both versions, read by one table."""

from __future__ import annotations

import json

import pytest

from receiver.thingpark.downlink_answers import Verdict, read_downlink_answer

TEXTS = [  # code, the text of version 2, that of version 1, what it means
    (100, "Invalid DevEUI", "Invalid DevEUI", Verdict.REFUSED, "invalid-dev-eui"),
    (
        103,
        "Confirmed downlink is not authorized for this device",
        "Confirmed downlink is not authorized for this device",
        Verdict.REFUSED,
        "confirmed-not-allowed",
    ),
    (104, "Invalid LoRa port", "Invalid LoRa port", Verdict.REFUSED, "invalid-f-port"),
    (
        105,
        "Security Check: AS_ID is mandatory",
        "Security Check. AS_ID is mandatory",
        Verdict.HOLD,
        "as-id-missing",
    ),
    (
        106,
        "Security Check: Missing timestamp",
        "Security Check. missing timestamp/token",
        Verdict.HOLD,
        "token-missing",
    ),
    (107, "Security Check: Bad AS_ID", "Security Check. bad AS_ID", Verdict.HOLD, "bad-as-id"),
    (
        108,
        "Security Check: Server Decrypt Error",
        "Security Check. Server Decrypt Error (missing/badly formatted token)",
        Verdict.HOLD,
        "token-unreadable",
    ),
    (
        109,
        "Security Check: Malformed ISO 8601 time",
        "Security Check. malformed ISO8601 time",
        Verdict.HOLD,
        "time-malformed",
    ),
    (
        110,
        "Security Check: Invalid downlink frame timestamp",
        "Security Check. Invalid downlink frame timestamp",
        Verdict.HOLD,
        "time-deviates",
    ),
    (111, "Security Check: Bad token", "Security Check. bad token", Verdict.HOLD, "bad-token"),
    (112, "Validity time expired or invalid", "ValidityTime expired or invalid", Verdict.REFUSED, "expired"),
    (113, "Payload too big or invalid size", "Payload too big or invalid size", Verdict.REFUSED, "too-long"),
    (114, "Downlink transmission disabled", "Downlink transmission disabled", Verdict.REFUSED, "disabled"),
    (115, "No Base Station Available", "No Base Station Available", Verdict.RETRY, "no-gateway"),
    (
        116,
        "Invalid payload size according to currents DR",
        "Invalid payload size according to currents DR",
        Verdict.REFUSED,
        "too-long-for-data-rate",
    ),
    (
        117,
        "Invalid Correlation ID. Must be a 64 bits hexadecimal value encoded as string",
        "Invalid CorrelationID",
        Verdict.REFUSED,
        "bad-correlation",
    ),
    (118, "Invalid payload. Must not be empty", "Invalid payload. Must not be empty", Verdict.REFUSED, "empty"),
    (
        119,
        "Payload must be provided encrypted with the downlink counter value",
        "Payload must be provided encrypted with the downlink counter value",
        Verdict.REFUSED,
        "not-encrypted",
    ),
    (121, "Token bucket limit reached", "Token bucket limit reached", Verdict.RETRY, "rate-limited"),
]
CODES = [row[0] for row in TEXTS]


def html(text):
    return f"<html><body>{text}</body></html>".encode()


def in_json(**members):
    return json.dumps(members).encode()


@pytest.mark.parametrize(("code", "_message", "text", "verdict", "cause"), TEXTS, ids=CODES)
def test_a_refusal_of_version_1_is_read_by_its_text(code, _message, text, verdict, cause):
    answer = read_downlink_answer(404 if code == 115 else 350, html(text))

    assert (answer.verdict, answer.cause) == (verdict, cause)
    assert answer.text.endswith(".")


@pytest.mark.parametrize(("code", "message", "_text", "verdict", "cause"), TEXTS, ids=CODES)
def test_a_refusal_of_version_2_is_read_by_its_code(code, message, _text, verdict, cause):
    answer = read_downlink_answer(409, in_json(code=code, message=message))

    assert (answer.verdict, answer.cause) == (verdict, cause)


@pytest.mark.parametrize(("_code", "message", "_text", "verdict", "cause"), TEXTS, ids=CODES)
def test_a_refusal_of_version_2_without_a_code_is_read_by_its_message(_code, message, _text, verdict, cause):
    answer = read_downlink_answer(409, in_json(message=message))

    assert (answer.verdict, answer.cause) == (verdict, cause)


def test_a_code_may_be_spelled_as_text():
    assert read_downlink_answer(409, in_json(code="111", message="?")).cause == "bad-token"


@pytest.mark.parametrize(
    ("text", "cause", "expected"),
    [
        ("Downlink counter value already used. Expected=1238", "counter-used", 1238),
        ("Downlink counter value increment too large. Expected=1001", "counter-too-large", 1001),
        ("Downlink counter value already used. Expected = 0", "counter-used", 0),
        ("Downlink counter value already used. Expected=4294967295", "counter-used", 2**32 - 1),
    ],
)
def test_the_expected_counter_is_read_from_the_text_of_version_1(text, cause, expected):
    answer = read_downlink_answer(350, html(text))

    assert (answer.verdict, answer.cause, answer.expected) == (Verdict.COUNTER, cause, expected)


@pytest.mark.parametrize("spelled", [1238, "1238"])
@pytest.mark.parametrize(("code", "cause"), [(101, "counter-used"), (102, "counter-too-large")])
def test_the_expected_counter_is_a_member_of_version_2(code, cause, spelled):
    answer = read_downlink_answer(409, in_json(code=code, message="Downlink counter value …", expected=spelled))

    assert (answer.verdict, answer.cause, answer.expected) == (Verdict.COUNTER, cause, 1238)


@pytest.mark.parametrize("expected", [None, -1, 2**32, "x", 1.5, True, "9" * 30])
def test_a_counter_that_is_not_named_is_a_refusal(expected):
    members = {} if expected is None else {"expected": expected}
    answer = read_downlink_answer(409, in_json(code=101, message="?", **members))

    assert (answer.verdict, answer.cause, answer.expected) == (Verdict.REFUSED, "counter-used", None)


def test_the_greatest_size_and_the_data_rate_are_told():
    answer = read_downlink_answer(409, in_json(code=116, message="?", maxSize=51, rx2DR=0))

    assert answer.max_size == 51
    assert "At most 51 bytes fit." in answer.text
    assert "DR0" in answer.text


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, html("Request queued by LRC")), (202, b""), (200, b""), (204, b"")],
)
def test_a_success_is_accepted(status, body):
    answer = read_downlink_answer(status, body)

    assert (answer.verdict, answer.cause) == (Verdict.ACCEPTED, None)


def test_a_success_in_other_words_says_which():
    assert "Welcome" in read_downlink_answer(200, b"<html>Welcome</html>").text


def test_a_refusal_in_a_success_is_believed():
    assert read_downlink_answer(200, html("Security Check. bad token")).cause == "bad-token"


@pytest.mark.parametrize(
    ("status", "body", "verdict", "cause"),
    [
        (350, html("Something new"), Verdict.REFUSED, "status-350"),
        (409, in_json(code=120, message="Something new"), Verdict.REFUSED, "status-409"),
        (409, in_json(code=999), Verdict.REFUSED, "status-409"),
        (400, b"", Verdict.REFUSED, "status-400"),
        (404, b"", Verdict.RETRY, "no-gateway"),
        (404, b"<html>Not found</html>", Verdict.HOLD, "not-found"),
        (401, b"", Verdict.HOLD, "unauthorised"),
        (403, b"Forbidden", Verdict.HOLD, "unauthorised"),
        (301, b"", Verdict.HOLD, "redirected"),
        (302, b"", Verdict.HOLD, "redirected"),
        (307, b"", Verdict.HOLD, "redirected"),
        (429, b"", Verdict.RETRY, "busy"),
        (502, b"", Verdict.UNKNOWN, "fault"),
        (503, b"", Verdict.RETRY, "busy"),
        (504, b"", Verdict.UNKNOWN, "fault"),
        (500, b"", Verdict.UNKNOWN, "fault"),
        (599, b"", Verdict.UNKNOWN, "fault"),
    ],
)
def test_what_is_not_in_the_table_is_read_by_its_status(status, body, verdict, cause):
    answer = read_downlink_answer(status, body)

    assert (answer.verdict, answer.cause) == (verdict, cause)


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe\x00", b"{", b"{}", b"[]", b"null", b"{" * 10_000, b"<" * 10_000, b'{"code":' + b"9" * 5000 + b"}"],
)
@pytest.mark.parametrize("status", [200, 350, 409, 500, 0, 999])
def test_any_bytes_have_a_reading(status, body):
    assert read_downlink_answer(status, body).text
