"""Moments as they are typed after `--since`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
