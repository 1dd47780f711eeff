"""What alarms are called."""

from __future__ import annotations

import pytest

from receiver.platforms.alarm_types import ALARM_NAMES, EVENT_TYPES, AlarmState, alarm_name, alarm_state_name


def test_the_sixteen_types_that_are_published_have_names_of_their_own():
    assert sorted(ALARM_NAMES) == list(range(1, 17))
    assert len(set(ALARM_NAMES.values())) == 16


@pytest.mark.parametrize(
    ("alarm_id", "words"),
    [(1, "battery"), (4, "no uplink"), (8, "wrong MIC"), (13, "no reply"), (16, "uplink frame")],
)
def test_a_type_is_told_by_what_happened(alarm_id, words):
    assert words in alarm_name(alarm_id)


@pytest.mark.parametrize("alarm_id", [0, 17, 101, -1])
def test_a_type_that_nothing_published_names_is_told_by_its_number(alarm_id):
    assert alarm_name(alarm_id) == f"alarm {alarm_id}"


def test_an_alarm_without_a_type_has_a_name_all_the_same():
    assert alarm_name(None) == "alarm of no known type"


def test_events_are_types_that_have_names():
    assert set(ALARM_NAMES) >= EVENT_TYPES


@pytest.mark.parametrize(
    ("state", "name"),
    [(1, "cleared"), (2, "indeterminate"), (3, "warning"), (4, "minor"), (5, "major"), (6, "critical")],
)
def test_states_have_their_names(state, name):
    assert alarm_state_name(state) == name
    assert AlarmState(state).name.lower() == name


@pytest.mark.parametrize(("state", "name"), [(9, "state 9"), (None, "unknown")])
def test_a_state_that_is_not_known_is_told_so(state, name):
    assert alarm_state_name(state) == name
