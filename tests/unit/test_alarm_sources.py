"""What the networks say of alarms and traffic becomes one shape, however odd it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from receiver.platforms.kpn_lora_records import FrameStatistics
from receiver.platforms.members import Members
from receiver.services.alarm_sources import (
    MOST_COUNT,
    MOST_INFO,
    clean,
    clean_infos,
    count,
    dev_eui_of,
    merge_kpn_statistics,
    parse_state,
    ratio,
    remote_id_of,
    state_of,
    window_start,
)
from receiver.services.alarm_walk import days_since
from receiver.services.polls import FIRST_PAUSE, LONGEST_PAUSE, is_due, pause_after, poll_times
from receiver.storage.alarms import AlarmState
from receiver.storage.platform_polls import Polled, StoredPoll

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
START = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "state"),
    [(1, "CLEARED"), (2, "INDETERMINATE"), (3, "WARNING"), (4, "MINOR"), (5, "MAJOR"), (6, "CRITICAL")],
)
def test_thingpark_counts_the_states(number, state):
    assert state_of(number).value == state
    assert state_of(number).gravity == number


@pytest.mark.parametrize("number", [None, 0, 7, -1])
def test_a_number_that_is_no_state_is_not_cleared(number):
    assert state_of(number) is AlarmState.INDETERMINATE


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("CLEARED", "CLEARED"),
        ("UNCLEARED", "INDETERMINATE"),
        ("major", "MAJOR"),
        (None, "INDETERMINATE"),
        ("?", "INDETERMINATE"),
    ],
)
def test_kpn_names_the_states(text, state):
    assert parse_state(text).value == state


def test_a_state_knows_those_that_are_graver():
    assert AlarmState.MINOR.and_graver == ["MINOR", "MAJOR", "CRITICAL"]
    assert AlarmState.CLEARED.and_graver == [state.value for state in AlarmState]


@pytest.mark.parametrize(
    ("text", "kept"), [(None, None), ("20%", "20%"), ("a\0b", "ab"), ("\ud800", "?"), ("x" * 600, "x" * MOST_INFO)]
)
def test_a_text_is_one_that_both_databases_take(text, kept):
    assert clean(text) == kept


def test_empty_texts_at_the_end_are_left_out_and_those_amid_stay():
    assert clean_infos(["SF12", "", "3", None, ""]) == ("SF12", "", "3")


@pytest.mark.parametrize(("number", "kept"), [(None, None), (0, 0), (5, 5), (-1, None), (2**40, MOST_COUNT)])
def test_a_count_fits_its_column(number, kept):
    assert count(number) == kept


@pytest.mark.parametrize(
    ("number", "kept"), [(None, None), (0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (1.5, None), (-0.1, None)]
)
def test_an_error_rate_is_between_nothing_and_all(number, kept):
    assert ratio(number) == kept


@pytest.mark.parametrize("text", [None, "", "a\nb", "é", "x" * 101])
def test_what_cannot_name_an_alarm_does_not(text):
    assert remote_id_of(text) is None


def test_a_dev_eui_is_spelt_as_here_or_not_at_all():
    assert dev_eui_of("70b3d5e756000999") == "70B3D5E756000999"
    assert dev_eui_of("70B3") is None
    assert dev_eui_of(None) is None


# --- KPN's statistics


def statistics(**members):
    return FrameStatistics.read(Members({"date": "2026-11-20T10:00:00.000+00:00", **members}))


def test_both_directions_of_an_hour_become_one_span():
    up = statistics(
        type="UPLINK",
        frameCount=173,
        payloadSize=14,
        baseStationRSSI=-29.7,
        baseStationSNR=4.6,
        payloadReceivedOnTime=170,
        payloadReceivedLate=3,
        payloadReceivedOnTimeSize=2400,
        payloadReceivedLateSize=28,
        averagePER=0.25,
    )
    down = statistics(
        type="DOWNLINK",
        frameCount=20,
        payloadSize=0,
        payloadSentWithSuccess=18,
        payloadSentWithSuccessSize=36,
        payloadSentWithFailure=2,
        payloadSentWithFailureSize=4,
    )

    (span,) = merge_kpn_statistics([up, down], START)

    assert (span.up_count, span.up_size_bytes, span.up_late_count, span.up_lost_count) == (173, 2428, 3, None)
    assert (span.down_count, span.down_size_bytes, span.down_failed_count) == (20, 40, 2)
    assert (span.rssi_dbm, span.snr_db, span.mean_per, span.esp_dbm) == (-29.7, 4.6, 0.25, None)


def test_without_its_parts_a_size_is_taken_as_it_stands():
    (span,) = merge_kpn_statistics([statistics(type="UPLINK", frameCount=2, payloadSize=20)], START)

    assert (span.up_count, span.up_size_bytes) == (2, 20)


def test_an_hour_that_began_before_the_window_is_not_whole_and_left_out():
    before = statistics(type="UPLINK", frameCount=2)

    assert merge_kpn_statistics([before], datetime(2026, 11, 20, 11, tzinfo=UTC)) == []


@pytest.mark.parametrize("members", [{"date": None}, {"date": "soon"}, {"frameCount": 0}])
def test_what_has_no_time_or_nothing_in_it_is_left_out(members):
    assert merge_kpn_statistics([statistics(type="UPLINK", **{"frameCount": 1, **members})], START) == []


# --- what is asked for, and when


@pytest.mark.parametrize("days", [1, 7])
def test_a_window_is_of_whole_hours_and_has_the_present_one_in_it(days):
    start = window_start(NOW, days)

    assert start.minute == 0
    assert start + timedelta(days=days) == datetime(2026, 11, 20, 13, tzinfo=UTC)


@pytest.mark.parametrize("hours", range(200))
def test_the_hour_in_which_the_last_walk_began_is_asked_for_again(hours):
    last_from = NOW - timedelta(hours=hours, minutes=17)
    days = days_since(last_from, NOW)

    assert 1 <= days <= 7
    if days < 7:
        assert window_start(NOW, days) <= last_from.replace(minute=0)


def test_without_a_walk_before_a_week_is_asked_for():
    assert days_since(None, NOW) == 7
    assert days_since(NOW + timedelta(hours=1), NOW) == 7


def test_pauses_double_up_to_an_hour():
    assert pause_after(0) == FIRST_PAUSE
    assert pause_after(3) == 8 * FIRST_PAUSE
    assert pause_after(10**9) == LONGEST_PAUSE


def test_nought_is_never():
    assert poll_times(0, 6) == (None, timedelta(hours=6))
    assert poll_times(2.5, 0) == (timedelta(minutes=2.5), None)
    assert poll_times(5, 6).of(Polled.HEALTH) == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("due_in_s", "refused", "due"), [(0, None, True), (1, None, False), (-9, "mark", False), (9, "other", True)]
)
def test_after_a_refused_login_only_a_change_makes_it_due(due_in_s, refused, due):
    nothing = dict.fromkeys(["began_at", "position", "done_from", "done_at", "failed_at", "failure"])
    poll = StoredPoll(
        account_id=1,
        account="kpn",
        surface="kpn-lora",
        what=Polled.ALARMS,
        due_at=NOW + timedelta(seconds=due_in_s),
        result={},
        failures=0,
        refused_account=refused,
        **nothing,
    )

    assert is_due(poll, "mark", NOW) is due
