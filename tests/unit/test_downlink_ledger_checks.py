"""The forms of what a downlink is asked for with: payloads, times, and what tells one wish from another."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.lorawan.identifiers import DevEui
from receiver.services.downlink_checks import (
    DownlinkRefusedError,
    DownlinkWish,
    check_times,
    digest_wish,
    parse_payload,
    parse_when,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
WISH = DownlinkWish(DevEui("20635F0000000001"), f_port=1, payload=b"\x01")


def field_of(ask, *arguments):
    with pytest.raises(DownlinkRefusedError) as caught:
        ask(*arguments)
    assert str(caught.value).endswith(".")
    return caught.value.field


def refused_field(ask):
    try:
        ask()
    except DownlinkRefusedError as exc:
        return exc.field
    return None


@pytest.mark.parametrize("text", ["01aB", "01 AB", "01:ab", "01-AB"])
def test_hex_may_be_in_either_case_and_grouped(text):
    assert parse_payload(text, None) == b"\x01\xab"


@pytest.mark.parametrize("text", ["0", "0x01", "01zz", "é1", "\u0660\u0661", "01\n"])
def test_what_is_no_hex_is_refused(text):
    assert field_of(parse_payload, text, None) == "payload_hex"


def test_base64_is_the_standard_one():
    assert parse_payload(None, "+/8=") == b"\xfb\xff"


@pytest.mark.parametrize("text", ["-_8=", "+/8", "A", "QQ==\n", "Q Q==", "é==="])
def test_what_is_no_base64_is_refused(text):
    assert field_of(parse_payload, None, text) == "payload_base64"


def test_a_payload_is_given_once():
    assert field_of(parse_payload, "01", "AQ==") == "payload_base64"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("10min", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_a_span_is_from_now(text, span):
    assert parse_when("expires_at", text) == span
    assert check_times(replace(WISH, expires_at=span), NOW)[1] == NOW + span


def test_a_moment_may_be_in_any_zone_and_is_utc_without_one():
    assert parse_when("expires_at", "2026-11-20T13:00:00+01:00") == NOW
    assert parse_when("expires_at", "2026-11-20T12:00:00") == NOW
    assert parse_when("expires_at", "2026-11-20T12:00:00Z") == NOW


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_is_refused_by_the_field(text):
    def ask():
        check_times(replace(WISH, not_before=parse_when("not_before", text)), NOW)

    assert refused_field(ask) in {None, "not_before"}


@given(st.text(alphabet=string.printable + "é", max_size=30), st.booleans())
def test_any_text_is_a_payload_or_is_refused_by_the_field(text, is_hex):
    given_as = (text, None) if is_hex else (None, text)

    assert refused_field(lambda: parse_payload(*given_as)) in {None, "payload_hex" if is_hex else "payload_base64"}


@pytest.mark.parametrize(
    "other",
    [
        {"dev_eui": "20635F0000000002"},
        {"f_port": 2},
        {"payload": b"\x02"},
        {"payload": None, "object": {}},
        {"payload": None},
        {"connection": "field"},
        {"confirmed": True},
        {"flush": True},
        {"replace": True},
        {"priority": 1},
        {"not_before": timedelta(hours=1)},
        {"not_before": NOW},
        {"expires_at": timedelta(hours=1)},
        {"reference": "a"},
    ],
    ids=str,
)
def test_wishes_that_differ_have_other_digests(other):
    assert digest_wish(replace(WISH, **other)) != digest_wish(WISH)


def test_the_same_object_has_the_same_digest_in_any_order():
    one, other = ({"a": 1, "b": [1.5, None]}, {"b": [1.5, None], "a": 1})

    assert digest_wish(replace(WISH, object=one)) == digest_wish(replace(WISH, object=other))
