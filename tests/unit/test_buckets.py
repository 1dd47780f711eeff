"""Buckets of local time against a reference that looks at each moment by itself, where clocks change and where not."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.services.buckets import Partial, merge_partials, parse_buckets

ZONES = (
    "UTC",
    "Europe/Amsterdam",
    "America/New_York",
    "Australia/Lord_Howe",  # changes by half an hour
    "Asia/Kathmandu",  # +05:45
    "America/St_Johns",
    "Africa/Casablanca",  # changes four times a year
    "America/Sao_Paulo",  # changed at midnight
    "Africa/Cairo",
    "America/Havana",
    "Pacific/Apia",  # left out a day in 2011
    "Etc/GMT+12",
    "Pacific/Kiritimati",
)
SIZES = ("1m", "5m", "15m", "30m", "60m", "1h", "2h", "6h", "8h", "12h", "24h", "1d", "2d", "7d", "30d", "1w", "2w")
CHANGES = [  # of the zones above
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2026, 2, 15, 2, tzinfo=UTC),
    datetime(2018, 11, 4, 3, tzinfo=UTC),
    datetime(2019, 2, 17, 2, tzinfo=UTC),
    datetime(2026, 10, 29, 21, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
]
moments = st.lists(
    st.builds(
        lambda change, seconds: change + timedelta(seconds=seconds),
        st.sampled_from(CHANGES),
        st.one_of(st.integers(-9000, 9000), st.integers(-4 * 86_400, 4 * 86_400)),
    ),
    min_size=1,
    max_size=60,
)


def name_of_bucket(size, at):
    """The reference: what the wall clock and the calendar say, one moment at a time."""
    number, unit = int(size[:-1]), size[-1]
    if unit in "mh":
        minutes = number * (60 if unit == "h" else 1)
        return at.date(), (at.hour * 60 + at.minute) // minutes, at.utcoffset() if minutes <= 60 else None
    if unit == "w":
        monday = at.date() - timedelta(days=at.weekday())
        return (monday - datetime(1970, 1, 5).date()).days // 7 // number  # noqa: DTZ001
    return (at.date() - datetime(1970, 1, 1).date()).days // number  # noqa: DTZ001


def sums(first_at, values):
    return Partial(first_at, len(values), min(values), max(values), sum(values), values[0], values[-1])


def grouped(values, key):
    groups = {}
    for at, value in values:
        groups.setdefault(key(at), []).append((at, value))
    return {name: sums(group[0][0], [value for _, value in group]) for name, group in groups.items()}


@given(zone=st.sampled_from(ZONES), size=st.sampled_from(SIZES), times=moments)
def test_merged_steps_are_what_each_moment_by_itself_gives(zone, size, times):
    buckets = parse_buckets(size, zone)
    values = [(at, float(place)) for place, at in enumerate(sorted(set(times)))]
    step_s = buckets.step_s(values[0][0], values[-1][0])
    steps = grouped(values, lambda at: int(at.timestamp()) // step_s)

    merged = merge_partials(steps.values(), buckets)

    reference = grouped(values, lambda at: name_of_bucket(size, at.astimezone(ZoneInfo(zone))))
    assert list(merged.values()) == list(reference.values())


@given(zone=st.sampled_from(ZONES), size=st.sampled_from(SIZES), times=moments)
def test_a_bucket_begins_at_its_first_moment(zone, size, times):
    buckets = parse_buckets(size, zone)
    for at in times:
        bucket = buckets.of(at)
        start = buckets.start(bucket)

        assert start <= at
        assert buckets.of(start) == bucket
        assert buckets.of(start - timedelta(seconds=1)) != bucket


def hours_of(zone, size, first, hours):
    buckets = parse_buckets(size, zone)
    each = [buckets.of(first + timedelta(hours=number)) for number in range(hours)]
    return Counter(buckets.start(bucket).astimezone(buckets.zone).isoformat() for bucket in each)


@pytest.mark.parametrize(
    ("day", "offset", "hours"), [(28, "+01:00", 24), (29, "+01:00", 23), (30, "+02:00", 24)], ids=str
)
def test_a_day_in_which_spring_takes_an_hour_has_23(day, offset, hours):
    found = hours_of("Europe/Amsterdam", "1d", datetime(2026, 3, 26, tzinfo=UTC), 200)

    assert found[f"2026-03-{day}T00:00:00{offset}"] == hours


def test_a_day_to_which_autumn_gives_an_hour_has_25():
    found = hours_of("Europe/Amsterdam", "1d", datetime(2026, 10, 23, tzinfo=UTC), 100)

    assert found["2026-10-25T00:00:00+02:00"] == 25


def test_the_hour_that_autumn_gives_twice_is_two_buckets():
    found = hours_of("Europe/Amsterdam", "1h", datetime(2026, 10, 24, 23, tzinfo=UTC), 4)

    assert list(found) == [
        "2026-10-25T01:00:00+02:00",
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]


def test_half_an_hour_that_autumn_gives_twice_begins_at_the_change():
    buckets = parse_buckets("1h", "Australia/Lord_Howe")
    change = datetime(2026, 4, 4, 15, tzinfo=UTC)
    starts = [buckets.start(buckets.of(change + timedelta(minutes=minutes))) for minutes in (-1, 0, 29, 30)]

    assert [(start - change) // timedelta(minutes=1) for start in starts] == [-60, 0, 0, 30]


def test_a_day_that_has_no_midnight_begins_when_the_clock_goes_on():
    buckets = parse_buckets("1d", "America/Sao_Paulo")
    start = buckets.start(buckets.of(datetime(2018, 11, 4, 12, tzinfo=UTC)))

    assert start.astimezone(buckets.zone).isoformat() == "2018-11-04T01:00:00-02:00"


def test_weeks_begin_on_monday():
    assert list(hours_of("UTC", "1w", datetime(2026, 11, 21, tzinfo=UTC), 60)) == [
        "2026-11-16T00:00:00+00:00",
        "2026-11-23T00:00:00+00:00",
    ]


@pytest.mark.parametrize(
    ("zone", "size", "step_s"),
    [
        ("UTC", "1d", 86_400),
        ("UTC", "1h", 3600),
        ("Europe/Amsterdam", "1w", 3600),
        ("Europe/Amsterdam", "15m", 900),
        ("Asia/Kathmandu", "1d", 900),
        ("Australia/Lord_Howe", "1h", 1800),
    ],
)
def test_steps_are_as_long_as_the_clock_allows(zone, size, step_s):
    buckets = parse_buckets(size, zone)

    assert buckets.step_s(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)) == step_s


@pytest.mark.parametrize(
    "size",
    ["", "h", "0h", "-1h", "1", "1s", "7m", "5h", "25h", "61m", "367d", "53w", "1.5h", "1h ", "\u0661h", "1000d"],
)
def test_another_size_is_refused(size):
    with pytest.raises(ValueError, match=f"^{re.escape(size)}$"):
        parse_buckets(size, "UTC")


@pytest.mark.parametrize(
    "zone", ["", "Nowhere", "Europe", "../etc/passwd", "/etc/passwd", "Europe/Amsterdam\0", "x" * 99]
)
def test_another_zone_is_refused(zone):
    with pytest.raises(ZoneInfoNotFoundError):
        parse_buckets("1h", zone)
