"""Members of a JSON object, read leniently: what is odd is None, and never an error."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.platforms.members import Members, objects_in

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
READINGS = ("text", "integer", "number", "flag", "time", "object", "objects", "texts")


def of(value):
    return Members({"it": value})


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), ("", ""), (15532, "15532"), (1.5, "1.5"), (True, None), (None, None), (["a"], None), ({}, None)],
)
def test_a_text_is_a_text_or_a_number(value, text):
    assert of(value).text("it") == text


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((7, 7), ("7", 7), (7.0, 7), ("7.0", 7), ("-7", -7), (7.5, None), ("7.5", None), ("seven", None)),
        *((True, None), (None, None), ("", None), ("NaN", None), ("inf", None), (1e308, None), ("9" * 41, None)),
    ],
)
def test_a_whole_number_may_stand_as_a_text(value, number):
    assert of(value).integer("it") == number


@pytest.mark.parametrize(("value", "number"), [(-38.2, -38.2), ("-38.2", -38.2), ("1e2", 100.0), ([], None)])
def test_a_number_may_stand_as_a_text(value, number):
    assert of(value).number("it") == number


@pytest.mark.parametrize(
    ("value", "flag"), [(True, True), (False, False), ("true", True), ("False", False), ("yes", None), (1, None)]
)
def test_a_boolean_may_stand_as_a_text(value, flag):
    assert of(value).flag("it") is flag


@pytest.mark.parametrize(
    "value",
    [
        *(1516705619073, "1516705619073", "2018-01-23T11:06:59.073+00:00", "2018-01-23T12:06:59.073+01:00"),
        *("2018-01-23T11:06:59.073", "2018-01-23T11:06:59.073Z"),
    ],
)
def test_a_time_has_one_meaning_in_all_its_forms(value):
    assert of(value).time("it") == datetime(2018, 1, 23, 11, 6, 59, 73000, tzinfo=UTC)


def test_a_small_time_is_in_seconds():
    assert of(1516705619).time("it") == datetime(2018, 1, 23, 11, 6, 59, tzinfo=UTC)


@pytest.mark.parametrize("value", ["yesterday", -1, 1e200, True, "2018-13-23", "0001-01-01T00:00:00+23:00", "x" * 99])
def test_what_is_no_time_is_none(value):
    assert of(value).time("it") is None


def test_what_is_missing_is_none_or_empty():
    nothing = Members()

    assert [getattr(nothing, reading)("it") for reading in READINGS[:5]] == [None] * 5
    assert (nothing.object("it").as_dict, nothing.objects("it"), nothing.texts("it")) == ({}, (), ())


def test_objects_and_texts_are_picked_out_of_a_list():
    mixed = [{"a": 1}, "text", None, 5, {"b": 2}]

    assert [one.as_dict for one in of(mixed).objects("it")] == [{"a": 1}, {"b": 2}]
    assert of(mixed).texts("it") == ("text",)
    assert [one.as_dict for one in objects_in(mixed)] == [{"a": 1}, {"b": 2}]


def test_an_object_within_is_read_as_one():
    assert of({"inner": "x"}).object("it").text("inner") == "x"


def test_what_is_printed_has_names_alone():
    assert repr(of("secret")) == "Members(it)"


@given(value=JSON_VALUES)
def test_no_value_makes_an_error(value):
    for reading in READINGS:
        getattr(of(value), reading)("it")


@given(text=st.text(max_size=60))
def test_no_text_makes_an_error(text):
    members = Members(json.loads(json.dumps({"it": text})))

    for reading in READINGS:
        getattr(members, reading)("it")
