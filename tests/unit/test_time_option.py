"""Moments as they are typed after `--since`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import typer

from receiver.cli.time_option import parse_moment, parse_optional_moment

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("15min", NOW - timedelta(minutes=15)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        (" 1w ", NOW - timedelta(weeks=1)),
        ("2026-11-19", datetime(2026, 11, 19, tzinfo=UTC)),
        ("2026-11-19T08:00:00+01:00", datetime(2026, 11, 19, 7, tzinfo=UTC)),
        ("2026-11-19T08:00:00Z", datetime(2026, 11, 19, 8, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_or_a_span_before_now(text, expected):
    assert parse_moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2", "h", "-2h", "2y", "2026-13-01", "999999w", "\u0662h"])
def test_anything_else_is_wrong_usage(text):
    with pytest.raises(typer.BadParameter, match="is not a moment"):
        parse_moment(text, NOW)


def test_no_moment_is_none():
    assert parse_optional_moment(None, NOW) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-10-25T01:30", datetime(2026, 10, 24, 23, 30, tzinfo=UTC)),
        ("2026-10-25T04:00", datetime(2026, 10, 25, 3, tzinfo=UTC)),
        ("2026-10-25T01:30Z", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_is_in_the_zone(text, expected):
    assert parse_moment(text, NOW, ZoneInfo("Europe/Amsterdam")) == expected


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:00:00-05:00"])
def test_a_time_that_has_no_year_in_utc_is_wrong_usage(text):
    with pytest.raises(typer.BadParameter, match="is not a moment"):
        parse_moment(text, NOW)
