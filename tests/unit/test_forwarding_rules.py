"""Signing, topics, pauses and the order of deliveries: all without a network or a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from receiver.errors import IdentifierError, NoAnswerError, SettingsError
from receiver.http_client import HttpAnswer
from receiver.services.event_contents import EventContent
from receiver.services.forward_backoff import TargetHealth, backoff_s, is_to_give_up, parse_retry_after
from receiver.services.forward_plan import DeliveryPlan, lane_of
from receiver.services.forward_signing import parse_signing_secret, sign_webhook, write_signing_secret
from receiver.services.forward_targets import Verdict
from receiver.services.forward_topics import check_topic, write_topic
from receiver.services.forward_webhook import judge_answer, judge_fault
from receiver.storage.events import Event, EventKind

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)

# The vector that the libraries of Standard Webhooks share in their tests; the Python one confirmed it here.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_AT = datetime.fromtimestamp(1_614_265_330, UTC)
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector_is_signed_as_published():
    headers = sign_webhook([parse_signing_secret(VECTOR_SECRET)], VECTOR_ID, VECTOR_AT, VECTOR_BODY)

    assert headers == {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": VECTOR_SIGNATURE,
    }
    assert Webhook(VECTOR_SECRET).sign(VECTOR_ID, VECTOR_AT, VECTOR_BODY.decode()) == VECTOR_SIGNATURE


@given(st.binary(min_size=24, max_size=64), st.text(), st.integers(0, 2**32))
def test_the_second_implementation_signs_alike(key, body, second):
    secret = write_signing_secret(key)
    at = datetime.fromtimestamp(second, UTC)
    try:
        data = body.encode()
    except UnicodeEncodeError:
        return

    signature = sign_webhook([secret], "evt_a_1", at, data)["webhook-signature"]
    assert signature == Webhook(secret.reveal()).sign("evt_a_1", at, body)


def test_two_secrets_make_two_signatures():
    secrets = [parse_signing_secret(VECTOR_SECRET), write_signing_secret(bytes(32))]
    signed = sign_webhook(secrets, VECTOR_ID, VECTOR_AT, VECTOR_BODY)["webhook-signature"].split(" ")

    assert signed[0] == VECTOR_SIGNATURE
    assert len(signed) == 2


@pytest.mark.parametrize("text", ["whsec_=", "whsec_AAAA", "not base64!", "whsec_" + "A" * 120])
def test_a_secret_of_another_form_is_refused_and_not_repeated(text):
    with pytest.raises(IdentifierError) as refused:
        parse_signing_secret(text)
    assert text not in str(refused.value)


def test_a_topic_has_the_values_without_what_a_topic_cannot_have():
    values = {"type": "uplink", "dev_eui": "20635F0000000001", "connection": "a/b+c#d\x00e\nf", "f_port": None}

    assert write_topic("x/{connection}/{dev_eui}/{f_port}/{type}", values) == "x/a_b_c_d_e_f/20635F0000000001/-/uplink"


@pytest.mark.parametrize(
    "template", ["", "a/{b}", "a/{}", "a/{0}", "a/{type!r}", "a/{type:9}", "a/{type.real}", "{", "a/+"]
)
def test_a_template_that_makes_no_topic_is_refused(template):
    with pytest.raises(SettingsError):
        check_topic(template)


def test_pauses_double_up_to_an_hour_and_chance_takes_off_up_to_half():
    assert [backoff_s(failures, 1.0) for failures in (1, 2, 3, 10, 11, 1000)] == [5, 10, 20, 2560, 3600, 3600]
    assert backoff_s(1, 0.0) == 2.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        ("0", 0.0),
        ("99999999999", 3600.0),
        ("Fri, 20 Nov 2026 12:10:00 GMT", 600.0),
        ("Fri, 20 Nov 2026 11:10:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_or_a_date_and_bounded(text, seconds):
    assert parse_retry_after(text, NOW) == seconds


@given(st.text())
def test_no_retry_after_does_harm(text):
    assert parse_retry_after(text, NOW) is None or 0 <= parse_retry_after(text, NOW) <= 3600


def test_an_event_is_given_up_after_its_time_and_enough_tries():
    assert not is_to_give_up(4, NOW - 2 * DAY, NOW, DAY)
    assert not is_to_give_up(5, NOW - DAY / 2, NOW, DAY)
    assert is_to_give_up(5, NOW - DAY, NOW, DAY)


def test_three_devices_in_a_row_are_the_target_and_one_success_between_is_not():
    health = TargetHealth()
    assert not health.note_failure("a", NOW, 1.0, first_try=True, asked_s=None)
    assert not health.note_failure("b", NOW, 1.0, first_try=True, asked_s=None)
    health.note_success()
    assert not health.note_failure("c", NOW, 1.0, first_try=True, asked_s=None)
    assert not health.note_failure("d", NOW, 1.0, first_try=True, asked_s=None)
    assert not health.note_failure("e", NOW, 1.0, first_try=False, asked_s=None)
    assert health.note_failure("e", NOW, 1.0, first_try=True, asked_s=None)
    assert not health.may_try(NOW)
    assert health.may_try(NOW + timedelta(seconds=5))


def test_what_was_under_way_when_a_pause_began_does_not_lengthen_it():
    health = TargetHealth()
    for _ in range(8):
        health.note_away(NOW, 1.0, None)
    assert health.until == NOW + timedelta(seconds=5)
    health.note_away(NOW + timedelta(seconds=5), 1.0, None)
    assert health.until == NOW + timedelta(seconds=15)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.TAKEN),
        (204, Verdict.TAKEN),
        (299, Verdict.TAKEN),
        (301, Verdict.NOT_TAKEN),
        (400, Verdict.NOT_TAKEN),
        (401, Verdict.NOT_TAKEN),
        (404, Verdict.NOT_TAKEN),
        (410, Verdict.GONE),
        (429, Verdict.AWAY),
        (500, Verdict.NOT_TAKEN),
        (503, Verdict.NOT_TAKEN),
    ],
)
def test_answers_mean_what_standard_webhooks_says(status, verdict):
    assert judge_answer(HttpAnswer(status, {}, b""), NOW).verdict is verdict


def test_that_nothing_was_sent_is_no_event_s_fault():
    assert judge_fault(NoAnswerError("No.", was_sent=False)).verdict is Verdict.AWAY
    assert judge_fault(NoAnswerError("No.", was_sent=True)).verdict is Verdict.NOT_TAKEN


def content(event_id, device="A", connection_id=1, kind=EventKind.UPLINK):
    return EventContent(Event(event_id, kind, event_id, device, connection_id, NOW), "field", 5, b"{}")


def plan_of(*contents):
    plan = DeliveryPlan(0, [], DAY)
    plan.add_new(contents, contents[-1].event.id)
    return plan


def test_a_refused_push_has_the_lane_of_its_connection():
    assert lane_of(content(1, None, 7, EventKind.REJECTION).event) == "connection/7"
    assert lane_of(content(1, None, None, EventKind.REJECTION).event) == "others"


def test_of_a_device_one_event_is_under_way_at_a_time():
    plan = plan_of(content(1, "A"), content(2, "A"), content(3, "B"))
    first = plan.take(8)
    assert [each.event_id for each in first] == [1, 3]
    assert plan.take(8) == []
    plan.note_delivered(first[0], NOW)
    assert [each.event_id for each in plan.take(8)] == [2]


def test_the_position_is_behind_the_first_that_is_not_settled():
    plan = plan_of(content(1, "A"), content(2, "B"), content(5, "C"))
    one, two, five = plan.take(8)
    plan.note_delivered(two, NOW)
    plan.note_delivered(five, NOW)
    assert plan.position == 0
    plan.note_delivered(one, NOW)
    assert plan.position == 5


def test_what_fails_goes_to_the_retries_with_all_behind_it_and_is_passed():
    plan = plan_of(content(1, "A"), content(2, "B"), content(3, "A"))
    one, two = plan.take(8)
    plan.note_failed(one, NOW, 1.0, "No.")
    plan.note_delivered(two, NOW)
    progress = plan.take_progress()

    assert progress.position == 3
    assert [(row.event_id, row.attempts, row.next_at is not None) for row in progress.new_retries] == [
        (1, 1, True),
        (3, 0, False),
    ]
    plan.note_committed(progress, {"device/A"})
    plan.add_new([content(4, "A")], 4)
    assert [row.event_id for row in plan.take_progress().new_retries] == [4]


def test_a_lane_whose_retries_have_ended_is_delivered_at_once_again():
    plan = plan_of(content(1, "A"))
    plan.note_failed(plan.take(8)[0], NOW, 1.0, "No.")
    progress = plan.take_progress()
    plan.note_committed(progress, {"device/A"})
    [row] = progress.new_retries
    plan.add_retries("device/A", [row], {1: content(1, "A")})
    plan.note_delivered(plan.take(8)[0], NOW)
    progress = plan.take_progress()
    assert progress.ended_retries == [1]
    plan.note_committed(progress, set())
    plan.add_new([content(2, "A")], 2)
    assert [each.event_id for each in plan.take(8)] == [2]


def test_what_is_put_back_stays_the_first_of_its_lane_behind_the_others():
    plan = plan_of(content(1, "A"), content(2, "A"), content(3, "B"))
    [one] = plan.take(1)
    plan.put_back(one)
    assert [each.event_id for each in plan.take(8)] == [3, 1]


@given(st.lists(st.sampled_from("ABC"), min_size=1, max_size=30), st.data())
def test_in_whatever_way_deliveries_end_each_device_is_in_order_and_nothing_is_lost(devices, data):
    plan = plan_of(*(content(number, device) for number, device in enumerate(devices, 1)))
    delivered, parked = {device: [] for device in "ABC"}, set()
    while plan.is_ready:
        for each in plan.take(data.draw(st.integers(1, 4))):
            fate = data.draw(st.sampled_from(["taken", "taken", "back", "failed"]))
            if fate == "taken":
                plan.note_delivered(each, NOW)
                delivered[each.content.event.dev_eui].append(each.event_id)
            elif fate == "back":
                plan.put_back(each)
            else:
                plan.note_failed(each, NOW, 1.0, "No.")
        progress = plan.take_progress()
        parked |= {row.event_id for row in progress.new_retries}
        plan.note_committed(progress, {row.lane for row in progress.new_retries})

    assert plan.position == len(devices)
    assert parked | {each for ids in delivered.values() for each in ids} == set(range(1, len(devices) + 1))
    for device, ids in delivered.items():
        assert ids == sorted(ids)
        assert all(later in parked for later, owner in enumerate(devices, 1) if owner == device and later not in ids)
