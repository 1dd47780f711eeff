"""For any bytes at all: a push is taken or refused, a report is read or unreadable, and nothing else happens.

`FUZZ_EXAMPLES=20000 python -m pytest tests/unit/test_fuzz_properties.py` looks further than the usual run.
"""

from __future__ import annotations

import json
import os
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from receiver.errors import PushRejected, ReportUnreadableError
from receiver.services.connection_directory import VerifyingConnection
from receiver.services.ingest import verify_push
from receiver.thingpark.body import Body, parse_body
from receiver.thingpark.reports import read_report
from receiver.thingpark.signed_query import parse_signed_query
from receiver.thingpark.token import body_element_texts, key_spellings, read_token_elements, sign_push

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
DEV_EUI = "20635F0000000001"
CONNECTION = VerifyingConnection(1, "field", "TWA_1.1.AS", 60, (1,), (key_spellings(KEY),))
QUERY = {
    "LrnDevEui": DEV_EUI,
    "LrnFPort": "1",
    "LrnInfos": "TWA_1.1.AS-1-1",
    "AS_ID": "TWA_1.1.AS",
    "Time": "2026-11-20T12:00:00.000+00:00",
}
MEMBERS = {
    "DevEUI": DEV_EUI,
    "FPort": 1,
    "FCntUp": 13,
    "FCntDn": 7,
    "payload_hex": "0105",
    "mic_hex": "5c00ad47",
    "CustomerID": "100000001",
    "CustomerData": {"name": "Door", "alr": {"pro": "P", "ver": "1"}},
    "DevAddr": "14C4CC04",
    "Type": "join",
    "Var1": "d27a7d90c00362fd1628796f9e339ef0",
    "Lrrs": {"Lrr": [{"Lrrid": "FF01045A", "LrrRSSI": -110.0}]},
    "DevLAT": 52.09,
    "DevLON": 5.12,
    "Time": "2026-11-20T12:00:00.000+00:00",
}
KINDS = ["DevEUI_uplink", "DevEUI_downlink_Sent", "DevEUI_location", "DevEUI_notification", "DevEUI_alarm", "Other"]

# --- what may come

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([0, 1, 255, 256, 2**32 - 1, 2**32, "013", "1e1", "-0"])
)
NAMES = st.one_of(
    st.sampled_from([*MEMBERS, "fcntup", "LrrSNR", "SpFact", "Lrr", "Lrrid", "alr", "name"]), st.text(max_size=5)
)
LEAVES = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=20), st.sampled_from([*MEMBERS.values()]))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
)
REPORTS = st.builds(
    lambda kind, changed, left_out: {
        kind: {name: value for name, value in (MEMBERS | changed).items() if name not in left_out}
    },
    st.sampled_from(KINDS),
    st.dictionaries(NAMES, VALUES, max_size=5),
    st.sets(st.sampled_from(sorted(MEMBERS)), max_size=4),
)
FRAGMENTS = [
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u0000", b"\\ud800", b"NaN", b"1e9", b"\0", b"\xff"),
    *(b"<", b">", b"</", b"/>", b"<a>", b"</a>", b"<!--", b"-->", b"<!DOCTYPE a>", b"<!ENTITY", b"&a;", b"&#0;"),
    *(b"<![CDATA[", b"]]>", b"<?x ?>", b'<?xml version="1.0" encoding="UTF-16"?>', b"\xef\xbb\xbf"),
    *(b"&", b"=", b"%", b"%00", b"%FF", b"+", b"Token", b"DevEUI_uplink", b"DevEUI_location"),
    *(name.encode() for name in ("DevEUI", "FCntUp", "payload_hex", *QUERY)),
]  # fmt: skip
NOISE = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=30).map(b"".join),
    REPORTS.map(lambda report: json.dumps(report).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps({"DevEUI_uplink": value}, ensure_ascii=False).encode("utf-8", "surrogatepass")),
)


def query_text(query: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in query.items())


def signed(raw_body: bytes) -> bytes:
    """Give the query with which the network would push that body."""
    elements = read_token_elements(parse_body(raw_body))
    query = QUERY | {"LrnDevEui": elements.dev_eui or DEV_EUI, "LrnFPort": elements.f_port or "0"}
    text = query_text(query)
    return f"{text}&Token={sign_push(body_element_texts(elements)[0], query_elements=text, key=KEY)}".encode()


def texts_in(value: object) -> list[str]:
    """Give all texts in a report, which are to stand in columns."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for item in value for text in texts_in(item)]
    if is_dataclass(value):
        return [text for field in fields(value) for text in texts_in(getattr(value, field.name))]
    return []


# --- any bytes at all


def outcome(judge, *arguments):
    """Give what `judge` gives, or the refusal that it raises, whose sentence a database must be able to hold."""
    try:
        return judge(*arguments)
    except PushRejected as exc:
        refusal = exc
    assert "\0" not in refusal.detail
    assert refusal.detail.encode("utf-8").endswith(b".")
    return refusal


@fuzz
@given(NOISE)
@example(b'{"a":' * 10_000)
@example(b"<a>" * 10_000)
@example(b'{"DevEUI_uplink": {"a": ' + b"9" * 10_000 + b"}}")
def test_any_bytes_are_a_body_or_a_refused_push(raw):
    assert isinstance(outcome(parse_body, raw), Body | PushRejected)


@fuzz
@given(st.one_of(NOISE, st.lists(st.sampled_from(FRAGMENTS) | NOISE, max_size=8).map(b"&".join)))
def test_any_bytes_are_a_query_or_a_refused_push(raw):
    query = outcome(parse_signed_query, raw)

    assert isinstance(query, PushRejected) or ("\0" not in query.without_token and query.at.tzinfo is UTC)


@fuzz
@given(NOISE)
def test_any_body_has_token_elements_or_is_a_refused_push(raw):
    body = outcome(parse_body, raw)
    elements = body if isinstance(body, PushRejected) else outcome(read_token_elements, body)

    assert isinstance(elements, PushRejected) or body_element_texts(elements)


@fuzz
@given(NOISE, NOISE)
def test_any_query_and_body_are_refused_without_the_key(raw_query, raw_body):
    with pytest.raises(PushRejected):
        verify_push(CONNECTION, "field", raw_query, raw_body, NOW)


@fuzz
@given(REPORTS)
def test_any_report_that_the_network_signs_is_stored_or_refused_as_malformed(report):
    raw = json.dumps(report).encode()
    raw_query = outcome(signed, raw)
    if isinstance(raw_query, PushRejected):
        return
    stored = verify_push(CONNECTION, "field", raw_query, raw, NOW)

    assert stored.body == raw
    assert stored.kind == next(iter(report))


@fuzz
@given(NOISE)
def test_any_body_is_a_report_or_an_unreadable_one(raw):
    body = outcome(parse_body, raw)
    assume(isinstance(body, Body))
    try:
        report, notes = read_report(body)
    except ReportUnreadableError:
        return
    for text in (*texts_in(report), notes.sentence() or ""):
        assert "\0" not in text
        assert text.encode("utf-8") is not None


# --- a real push, changed


def changed_bytes(raw: bytes) -> st.SearchStrategy[bytes]:
    """Give `raw` with up to three changes: bytes left out, put in, doubled or replaced."""

    def change(raw: bytes, changes: list[tuple[int, int, bytes, bool]]) -> bytes:
        for start, length, inserted, doubled in changes:
            at = start % (len(raw) + 1)
            raw = (
                raw[:at]
                + inserted
                + (raw[at : at + length] if doubled else b"")
                + raw[at + (0 if doubled else length) :]
            )
        return raw

    piece = st.one_of(
        st.just(b""), st.sampled_from(FRAGMENTS), st.binary(max_size=2), st.sampled_from(b"0123456789").map(bytes)
    )
    digits = st.sampled_from([b"0", b"1", b"5", b"9", b".0", b" "])
    one = st.tuples(st.integers(0, 10_000), st.integers(0, 6), piece | digits, st.booleans())
    return st.lists(one, min_size=1, max_size=3).map(lambda changes: change(raw, changes))


def as_xml(kind: str) -> bytes:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in MEMBERS.items() if not isinstance(value, dict))
    return f'<?xml version="1.0"?><{kind} xmlns="http://uri.actility.com/lora">{inner}</{kind}>'.encode()


PUSHES = [
    (signed(body), body)
    for body in (*(json.dumps({kind: MEMBERS}).encode() for kind in KINDS), *(as_xml(kind) for kind in KINDS[:4]))
]


@st.composite
def changed_pushes(draw: st.DrawFn) -> tuple[int, bytes, bytes]:
    number = draw(st.integers(0, len(PUSHES) - 1))
    raw_query, raw_body = PUSHES[number]
    which = draw(st.sampled_from(["query", "body", "both"]))
    return (
        number,
        draw(changed_bytes(raw_query)) if which != "body" else raw_query,
        draw(changed_bytes(raw_body)) if which != "query" else raw_body,
    )


@fuzz
@given(changed_pushes())
def test_a_changed_push_is_accepted_only_as_the_delivery_that_was_signed(changed):
    number, raw_query, raw_body = changed
    original_query, original_body = PUSHES[number]
    assume((raw_query, raw_body) != (original_query, original_body))
    original = verify_push(CONNECTION, "field", original_query, original_body, NOW)
    stored = outcome(verify_push, CONNECTION, "field", raw_query, raw_body, NOW)
    if isinstance(stored, PushRejected):
        return

    assert stored.delivery_id == original.delivery_id
    assert stored.sent_at == original.sent_at
    assert parse_signed_query(raw_query).signed_elements == parse_signed_query(original_query).signed_elements


@fuzz
@given(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=8), st.data())
def test_an_uplink_with_another_counter_port_or_payload_is_another_delivery_or_refused(f_port, f_cnt_up, payload, data):
    """The text that is hashed has no separators: whatever is moved in it, it stays one delivery."""
    members = MEMBERS | {"FPort": f_port, "FCntUp": f_cnt_up, "payload_hex": payload.hex()}
    raw_body = json.dumps({"DevEUI_uplink": members}).encode()
    raw_query = signed(raw_body)
    original = verify_push(CONNECTION, "field", raw_query, raw_body, NOW)
    run_together = f"{f_port}{f_cnt_up}{payload.hex()}"
    first, second = (data.draw(st.integers(0, min(len(run_together), 13))) for _ in range(2))
    first, second = min(first, second), max(first, second)
    moved = {"FPort": run_together[:first], "FCntUp": run_together[first:second], "payload_hex": run_together[second:]}
    moved_body = json.dumps({"DevEUI_uplink": MEMBERS | moved}).encode()
    stored = outcome(verify_push, CONNECTION, "field", raw_query, moved_body, NOW)
    if isinstance(stored, PushRejected):
        return

    assert stored.delivery_id == original.delivery_id
    assert moved["FPort"] in {str(f_port), ""}
