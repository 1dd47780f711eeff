"""The one look at a usual query says what reading its parameters one by one says, for any text at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import PushRejected
from receiver.thingpark.signed_query import _read_query, _usual_query, parse_signed_query

PAIRS = (
    "LrnDevEui=0059AC0000000001",
    "LrnFPort=2",
    "LrnInfos=TWA_100006211.507.AS-1-85620507",
    "AS_ID=orchard",
    "Time=2026-11-21T08%3A30%3A00.000%2B01%3A00",
    "Token=" + "0a" * 32,
)
ODD = st.sampled_from(
    ["", "x=1", "LrnFPort=", "LrnFPort=3", "Time=2026-11-21T07:30:00Z", "AS_ID=a%20b", "Token=" + "0" * 64]
)


def read_one_by_one(text):
    try:
        return _read_query(text)
    except (PushRejected, UnicodeDecodeError):
        return None


@given(st.permutations(PAIRS))
def test_the_usual_query_is_read_with_one_look_in_any_order(pairs):
    text = "&".join(pairs)

    assert _usual_query(text) == _read_query(text)


@given(st.lists(st.one_of(st.sampled_from(PAIRS), ODD), max_size=9))
def test_it_agrees_on_parameters_that_are_missing_doubled_or_others(pairs):
    text = "&".join(pairs)

    assert _usual_query(text) in {None, read_one_by_one(text)}


@given(st.permutations(PAIRS), st.data())
def test_it_agrees_on_a_usual_query_with_a_character_changed(pairs, data):
    text = "&".join(pairs)
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.text(max_size=2)) + text[at + data.draw(st.integers(0, 2)) :]

    assert _usual_query(changed) in {None, read_one_by_one(changed)}


@pytest.mark.parametrize("place", range(6))
def test_what_is_stored_is_the_query_without_its_token_wherever_that_stood(place):
    others = list(PAIRS[:5])
    pairs = [*others[:place], PAIRS[5], *others[place:]]

    assert parse_signed_query("&".join(pairs).encode()).without_token == "&".join(others)
