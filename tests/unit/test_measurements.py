"""From decoded objects, points and normalized data to rows: names, values, times, units and bounds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.codecs.measurements import NORMALIZED_UNITS, measure, measure_normalized, measure_points
from receiver.codecs.rows import MAX_DEPTH, MAX_MEASUREMENTS, MAX_NAME, MAX_TEXT
from receiver.codecs.values import Measurement

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=10)
EARLIEST = NOW - timedelta(minutes=20)


def named(measured):
    return {row.name: row.value for row in measured.measurements}


def timed(measured):
    return [(row.name, row.at, row.value) for row in measured.measurements]


def measured(data, units=None):
    return measure(data, NOW, units or {})


# --- names and values


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ({"temperature": 21.5}, {"temperature": 21.5}),
        ({"wind": [{"speed": 1}, {"speed": 2}]}, {"wind.0.speed": 1, "wind.1.speed": 2}),
        ({"a": {"b": {"c": True}}}, {"a.b.c": True}),
        ({"a.b": 1}, {"a.b": 1}),
        ({"raw": [1, 2]}, {"raw.0": 1, "raw.1": 2}),
        ({"state": "on", "error": None, "alarms": [], "extra": {}}, {"state": "on"}),
        ([1, "two"], {"0": 1, "1": "two"}),
        (5, {"value": 5}),
        ("open", {"value": "open"}),
        ({"": 5}, {"value": 5}),
        (None, {}),
        ({}, {}),
        ([], {}),
    ],
)
def test_names_join_with_dots_and_arrays_count(data, rows):
    result = measured(data)

    assert named(result) == rows
    assert result.warnings == ()
    assert all(row.at == NOW for row in result.measurements)


def test_numbers_booleans_and_texts_stay_what_they_are():
    kept = named(measured({"a": 1, "b": 1.0, "c": True, "d": "1"}))

    assert [type(value) for value in kept.values()] == [int, float, bool, str]


def test_a_large_whole_number_is_a_double():
    kept = named(measured({"exact": 2**53, "large": 2**53 + 1}))

    assert [type(value) for value in kept.values()] == [int, float]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400])
def test_what_is_no_number_is_left_out(number):
    result = measured({"a": number, "b": 1})

    assert named(result) == {"b": 1}
    assert result.warnings == ("Left out, as they are no number that can be kept: a.",)


def test_control_characters_leave_a_name():
    result = measured({"tem\x00pera\nture\ud800": 1})

    assert named(result) == {"temperature": 1}
    assert result.warnings == ("Characters that cannot be printed were left out of the names: temperature.",)


def test_a_long_name_is_cut():
    result = measured({"n" * (MAX_NAME + 1): 1, "m" * MAX_NAME: 2})

    assert [len(row.name) for row in result.measurements] == [MAX_NAME, MAX_NAME]
    assert result.warnings == (f"Cut to 120 characters were the names: {'n' * MAX_NAME}.",)


def test_a_long_text_is_cut():
    result = measured({"a": "x" * (MAX_TEXT + 1), "b": "y" * MAX_TEXT})

    assert [len(text) for text in named(result).values()] == [MAX_TEXT, MAX_TEXT]
    assert result.warnings == ("Cut to 1,000 characters were the texts of: a.",)


def test_a_text_is_one_that_a_database_takes():
    assert named(measured({"a": "\0b", "c": "\ud83d\ude00 \ud83d", "d": "é\n"})) == {"a": "�b", "c": "😀 �", "d": "é\n"}


def test_of_two_values_of_one_name_the_first_stands():
    result = measured({"a": {"b": 1}, "a.b": 2})

    assert named(result) == {"a.b": 1}
    assert result.warnings == ("Left out, as another value has this name already: a.b.",)


def test_a_frame_gives_a_bounded_number_of_measurements():
    result = measured({f"k{number}": number for number in range(MAX_MEASUREMENTS + 5)})

    assert len(result.measurements) == MAX_MEASUREMENTS
    assert result.warnings == ("Left out, as a frame gives at most 500 measurements: k500, k501, k502 and 2 more.",)


def test_what_lies_too_deep_is_left_out():
    data = 1
    for _ in range(MAX_DEPTH):
        data = {"a": data}

    assert len(measured(data).measurements) == 1
    assert measured({"a": data}).measurements == []
    assert measured({"a": data}).warnings[0].startswith("Left out, as they lie deeper than 16 levels: a.a")


# --- units


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("temperature", "Cel"),
        ("temperature_12", "Cel"),
        ("temperature.0", "Cel"),
        ("0.temperature", "Cel"),
        ("gps_3.latitude", "lat"),
        ("temperature_2m", "K"),
        ("temperature_x", None),
        ("other", None),
    ],
)
def test_a_unit_is_found_by_the_name_and_then_without_channel_and_index(name, unit):
    units = {"temperature": "Cel", "gps.latitude": "lat", "temperature_2m": "K"}

    assert measured({name: 1}, units).measurements == [Measurement(name, NOW, 1, unit)]


# --- own times


@pytest.mark.parametrize("key", ["time", "timestamp", "at", "measuredAt"])
@pytest.mark.parametrize(
    "own",
    ["2026-11-20T11:50:00Z", "2026-11-20T12:50:00.000+01:00", EARLIER.timestamp(), EARLIER.timestamp() * 1000],
    ids=["text", "text with a zone", "seconds", "milliseconds"],
)
def test_a_list_whose_elements_have_times_gives_values_with_those_times(key, own):
    data = [{key: own, "temperature": 1}, {key: "2026-11-20T11:40:00Z", "temperature": 2}]

    assert timed(measured(data)) == [("temperature", EARLIER, 1), ("temperature", EARLIEST, 2)]


@pytest.mark.parametrize(
    "own",
    [
        *("2026-11-20T11:50:00", "yesterday", "1970-01-01T00:00:00Z", "2026-11-22T12:00:00Z", "2" * 50),
        *(0, 12_345, 1e300, -1e300, True, None, [], "0001-01-01T00:00:00+23:59"),
    ],
)
def test_a_list_of_which_one_element_has_no_plausible_time_is_counted(own):
    data = [{"time": "2026-11-20T11:50:00Z", "temperature": 1}, {"time": own, "temperature": 2}]

    rows = timed(measured(data))

    assert [row for row in rows if "temperature" in row[0]] == [("0.temperature", NOW, 1), ("1.temperature", NOW, 2)]


def test_the_bounds_of_a_plausible_time_are_ten_years_before_and_a_day_after():
    for own, name in [
        (NOW - timedelta(days=3653), "a"),
        (NOW - timedelta(days=3654), "0.a"),
        (NOW + timedelta(days=1), "a"),
        (NOW + timedelta(days=1, seconds=1), "0.a"),
    ]:
        assert name in named(measured([{"time": own.isoformat(), "a": 1}]))


def test_values_of_one_time_are_told_apart_by_the_index():
    data = [{"time": "2026-11-20T11:50:00Z", "a": 1}, {"time": "2026-11-20T11:50:00Z", "a": 2}]

    assert timed(measured(data)) == [("0.a", EARLIER, 1), ("1.a", EARLIER, 2)]


def test_an_object_s_own_time_is_a_value_as_others():
    assert named(measured({"time": "2026-11-20T11:50:00Z", "a": 1})) == {"time": "2026-11-20T11:50:00Z", "a": 1}


# --- normalized data


def test_normalized_data_has_the_units_of_its_schema():
    rows = measure_normalized({"air": {"temperature": 20.5, "location": "indoor"}, "battery": 3.6}, NOW)

    assert rows.measurements == [
        Measurement("air.temperature", NOW, 20.5, "Cel"),
        Measurement("air.location", NOW, "indoor"),
        Measurement("battery", NOW, 3.6, "V"),
    ]


def test_normalized_elements_keep_their_times():
    normalized = [{"air": {"co2": 400}}, {"time": "2026-11-20T11:50:00Z", "air": {"co2": 410}}]

    assert timed(measure_normalized(normalized, NOW)) == [("air.co2", NOW, 400), ("air.co2", EARLIER, 410)]


def test_normalized_elements_of_one_time_are_told_apart_and_keep_their_units():
    rows = measure_normalized([{"soil": {"depth": 10, "pH": 5}}, {"soil": {"depth": 20, "pH": 6}}], NOW)

    assert [(row.name, row.value, row.unit) for row in rows.measurements] == [
        ("0.soil.depth", 10, "cm"),
        ("0.soil.pH", 5, "pH"),
        ("1.soil.depth", 20, "cm"),
        ("1.soil.pH", 6, "pH"),
    ]


def test_a_normalized_time_that_is_none_gives_way_to_the_frame_s():
    rows = measure_normalized({"time": "soon", "battery": 3.6}, NOW)

    assert timed(rows) == [("battery", NOW, 3.6)]
    assert rows.warnings == ("Kept with the frame's time, as their own is no plausible time with a zone: time.",)


def test_the_units_are_those_of_the_schema():
    assert {name: NORMALIZED_UNITS[name] for name in ("wind.speed", "soil.ec", "metering.water.total")} == {
        "wind.speed": "m/s",
        "soil.ec": "dS/m",
        "metering.water.total": "l",
    }


# --- points of Actility drivers


@pytest.mark.parametrize(
    ("point", "rows"),
    [
        (5.5, [("p", NOW, 5.5)]),
        ({"record": 5.5}, [("p", NOW, 5.5)]),
        ({"record": [52.1, 5.2]}, [("p.0", NOW, 52.1), ("p.1", NOW, 5.2)]),
        ([52.1, 5.2], [("p.0", NOW, 52.1), ("p.1", NOW, 5.2)]),
        ({"eventTime": "2026-11-20T11:50:00Z", "value": True}, [("p", EARLIER, True)]),
        ({"records": [{"eventTime": "2026-11-20T11:50:00Z", "value": 1}]}, [("p", EARLIER, 1)]),
        (
            [{"eventTime": "2026-11-20T11:50:00Z", "value": 1}, {"eventTime": "2026-11-20T11:40:00Z", "value": 2}],
            [("p", EARLIER, 1), ("p", EARLIEST, 2)],
        ),
        ({"records": [{"value": 1}, {"value": 2}]}, [("p.0", NOW, 1), ("p.1", NOW, 2)]),
        ({"records": [1, 2]}, [("p.0", NOW, 1), ("p.1", NOW, 2)]),
        ({"value": {"min": 1, "max": 2}}, [("p.min", NOW, 1), ("p.max", NOW, 2)]),
        ({"unitId": "V", "min": 1, "max": 2}, [("p.min", NOW, 1), ("p.max", NOW, 2)]),
        ({"records": []}, []),
        (None, []),
        ({}, []),
    ],
)
def test_every_form_of_a_point_is_read(point, rows):
    result = measure_points({"p": point}, NOW, {})

    assert timed(result) == rows
    assert result.warnings == ()


def test_a_point_s_own_unit_goes_before_the_driver_s():
    points = {"a": {"unitId": "K", "record": 1}, "b": {"record": 2}, "c": 3}

    assert [row.unit for row in measure_points(points, NOW, {"a": "Cel", "b": "Cel"}).measurements] == [
        "K",
        "Cel",
        None,
    ]


def test_an_event_time_that_is_none_gives_way_to_the_frame_s():
    rows = measure_points({"p": [{"eventTime": "2026-11-20 11:50", "value": 1}]}, NOW, {})

    assert timed(rows) == [("p", NOW, 1)]
    assert rows.warnings == ("Kept with the frame's time, as their own is no plausible time with a zone: p.",)


def test_points_that_come_to_one_name_are_one():
    result = measure_points({"a": {"record": {"b": 1}}, "a.b": 2}, NOW, {})

    assert timed(result) == [("a.b", NOW, 1)]
    assert result.warnings == ("Left out, as another value has this name already: a.b.",)


# --- any object at all

KEYS = st.text(max_size=4) | st.sampled_from(["time", "at", "value", "record", "records", "eventTime", "unitId", "a.b"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just("2026-11-20T11:50:00Z"), st.just(1e9)
)
OBJECTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


@given(OBJECTS)
def test_any_object_gives_rows_that_a_database_takes(data):
    for result in (measured(data), measure_normalized(data, NOW), measure_points({"p": data}, NOW, {})):
        assert len({(row.name, row.at) for row in result.measurements}) == len(result.measurements)
        for row in result.measurements:
            assert 0 < len(row.name) <= MAX_NAME
            assert row.name.isprintable()
            assert row.at.tzinfo is UTC
            json.dumps(row.value, allow_nan=False)
            str(row.value).encode()
            assert "\0" not in str(row.value)
