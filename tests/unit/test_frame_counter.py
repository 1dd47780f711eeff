"""Frame counters: only canonical decimals, and what shows that a device began anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import IdentifierError
from receiver.lorawan.frame_counter import F_CNT_MAX, F_PORT_MAX, SAME_FRAME_WINDOW, parse_canonical, restarts

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATER = AT + SAME_FRAME_WINDOW + timedelta(seconds=1)


@given(st.integers(0, F_CNT_MAX))
def test_every_counter_in_its_plain_spelling_is_taken(number):
    assert parse_canonical(str(number), F_CNT_MAX) == number


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "00",
            "013",
            "+13",
            "-0",
            "-1",
            " 13",
            "13 ",
            "13\n",
            "1_3",
            "0x13",
            "13.0",
            "13.",
            "1e1",
            "1E1",
            "١٣",
            "\uff11\uff13",
        ),
        *("²", "NaN", "inf", "true", "None", "13\0", "1,3", "1'3", "13L", "0b1"),
    ],
)
def test_another_spelling_is_refused(text):
    with pytest.raises(IdentifierError, match="without leading zeros"):
        parse_canonical(text, F_CNT_MAX)


@given(st.text(max_size=12))
def test_what_is_taken_is_spelled_as_python_spells_it(text):
    try:
        number = parse_canonical(text, F_CNT_MAX)
    except IdentifierError:
        return
    assert str(number) == text


@pytest.mark.parametrize(("text", "maximum"), [("4294967296", F_CNT_MAX), ("256", F_PORT_MAX), ("1", 0)])
def test_a_number_above_the_maximum_is_refused(text, maximum):
    with pytest.raises(IdentifierError, match=f"from 0 to {maximum} "):
        parse_canonical(text, maximum)


@pytest.mark.parametrize(("text", "maximum"), [("4294967295", F_CNT_MAX), ("255", F_PORT_MAX), ("0", 0)])
def test_the_maximum_is_taken(text, maximum):
    assert parse_canonical(text, maximum) == maximum


def test_ten_thousand_digits_are_refused_in_a_short_message():
    with pytest.raises(IdentifierError, match=r"10000 characters") as caught:
        parse_canonical("1" * 10_000, F_CNT_MAX)

    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("f_cnt", "at", "late", "expected"),
    [
        (5, LATER, False, True),
        (0, LATER, False, True),
        (10, LATER, False, True),  # the same counter again, long after
        (11, LATER, False, False),
        (5, LATER, True, False),  # buffered in the gateway
        (5, AT + SAME_FRAME_WINDOW, False, False),  # a copy, or reordered
        (5, AT - timedelta(hours=1), False, False),
        (10, AT, False, False),
    ],
)
def test_only_a_newer_frame_with_a_counter_that_is_not_higher_shows_a_restart(f_cnt, at, late, expected):
    assert restarts(last_f_cnt=10, last_at=AT, f_cnt=f_cnt, at=at, late=late) is expected
