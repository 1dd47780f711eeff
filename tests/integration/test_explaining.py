"""A refused push is judged again check by check, and the mistake is named that would make it right."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta

import pytest

from receiver.errors import NotFoundError, Reason
from receiver.services.connections import add_tunnel_key, retire_tunnel_key
from receiver.services.explaining import explain_rejection
from receiver.services.replay import ReplayOptions, replay_by_ids
from tests.integration.push_server import uplink
from tests.integration.refusals import AS_ID, ELEMENTS, KEY, OTHER_KEY, Refusals


@pytest.fixture
def refusals(engine, keyring, now):
    made = Refusals(engine, keyring, now)
    made.add_connection()
    return made


@pytest.fixture
def explain(engine, keyring):
    def explain(rejection_id, **options):
        return explain_rejection(engine, keyring, rejection_id, **options)

    return explain


def outcomes(explanation):
    return {check.name: check.outcome for check in explanation.checks}


def found(explanation):
    return [finding.codes for finding in explanation.findings]


# --- the checks


def test_a_push_that_came_late_is_explained_with_the_numbers(refusals, explain):
    explanation = explain(refusals.refuse(refusals.query(skew_s=412)))

    time = explanation.checks[-1]
    assert (time.name, time.outcome, time.reason) == ("time", "failed", Reason.TIME_OUT_OF_WINDOW)
    assert time.sentence == "Time is 412 s before the arrival; 60 s are allowed."
    assert set(outcomes(explanation).values()) == {"passed", "failed"}
    assert explanation.verdict == "It would be refused today as well: time-out-of-window."
    assert found(explanation) == [("clock",)]
    assert "--max-deviation 412" in explanation.findings[0].advice


def test_a_time_an_hour_off_is_a_time_zone(refusals, explain):
    explanation = explain(refusals.refuse(refusals.query(skew_s=-7195)))

    assert found(explanation) == [("time-zone",)]
    assert "which is 2 h but for 5 s" in explanation.findings[0].sentence


def test_the_time_is_judged_as_of_the_arrival(refusals, explain, now):
    long_ago = now - timedelta(days=300)
    rejection_id = refusals.refuse(refusals.query(key=OTHER_KEY, skew_s=300 * 86_400 + 3), received_at=long_ago)

    time = explain(rejection_id).checks[-1]
    assert time.sentence == "Not reached; it would pass. Time is 3 s before the arrival; 60 s are allowed."


def test_what_comes_after_the_check_that_failed_is_not_reached(refusals, explain):
    explanation = explain(refusals.refuse(refusals.query(AS_ID="other")))

    assert outcomes(explanation) == {
        "query": "passed",
        "body": "passed",
        "values": "passed",
        "connection": "passed",
        "as_id": "failed",
        "agreement": "not reached",
        "token": "not reached",
        "time": "not reached",
    }


REFUSED = {
    "unknown": {"path": "nobody"},
    "unknown and damaged": {"path": "nobody", "body": b"<"},
    "no query": {"query": ""},
    "no token": {"query": "LrnDevEui=1&LrnFPort=1&LrnInfos=1"},
    "no body": {"body": b""},
    "no report": {"body": b"[]"},
    "odd counter": {"body": uplink(FCntUp=13.0)},
    "as id": {"AS_ID": "other"},
    "as id and token": {"AS_ID": "other", "key": OTHER_KEY},
    "device": {"LrnDevEui": "20635F0000000002"},
    "device and token": {"LrnDevEui": "20635F0000000002", "key": OTHER_KEY},
    "token": {"key": OTHER_KEY},
    "token and time": {"key": OTHER_KEY, "skew_s": 100},
    "time": {"skew_s": 100},
    "time the other way": {"skew_s": -100},
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_check_that_fails_is_the_one_that_refused_the_push(refusals, explain, case):
    options = dict(REFUSED[case])
    path, body, query = options.pop("path", "meters"), options.pop("body", uplink()), options.pop("query", None)
    rejection_id = refusals.refuse(refusals.query(**options) if query is None else query, body, path)

    explanation = explain(rejection_id)

    failed = [check.reason for check in explanation.checks if check.outcome == "failed"]
    assert failed == [Reason(explanation.rejection.reason)]
    assert not explanation.is_in_order_now


@pytest.mark.parametrize("reason", ["too-large", "body-incomplete", "head-incomplete"])
def test_a_push_that_was_not_kept_whole_is_not_judged(refusals, explain, reason):
    rejection_id = refusals.keep(None, "meters", reason, "The body is larger.", refusals.query(), b"")

    explanation = explain(rejection_id)

    assert outcomes(explanation) == {"arrival": "failed"}
    assert "neither judged nor replayed" in explanation.verdict


def test_a_push_that_is_in_order_since_a_key_was_added_is_said_to_be(refusals, explain, engine, keyring, now):
    rejection_id = refusals.refuse(refusals.query(key=OTHER_KEY))
    add_tunnel_key(engine, keyring, now, "meters", OTHER_KEY)

    explanation = explain(rejection_id)

    assert explanation.is_in_order_now
    assert set(outcomes(explanation).values()) == {"passed"}
    assert explanation.verdict == f"It is in order now: `receiver rejections replay {rejection_id}` stores it."


def test_a_push_that_was_replayed_is_said_to_be(refusals, explain, engine, keyring, now):
    rejection_id = refusals.refuse(refusals.query(skew_s=100))
    list(replay_by_ids(engine, keyring, now, [rejection_id], ReplayOptions(max_deviation_s=100)))

    assert explain(rejection_id).verdict.startswith("It was replayed on 2026-11-20 12:00:00Z, and is report ")


def test_a_rejection_that_is_not_there_is_told(explain):
    with pytest.raises(NotFoundError, match="no rejection 17"):
        explain(17)


# --- the mistakes


def test_a_retired_key_is_named(refusals, explain, engine, keyring, now):
    add_tunnel_key(engine, keyring, now, "meters", OTHER_KEY)
    retire_tunnel_key(engine, now, "meters", "k1")
    rejection_id = refusals.refuse(refusals.query())

    (finding,) = explain(rejection_id).findings

    assert (finding.codes, finding.connection, finding.key_id) == (("retired-key",), "meters", "k1")
    assert "--with-retired-keys" in finding.advice


def test_the_key_of_another_connection_is_named(refusals, explain):
    refusals.add_connection("tanks", OTHER_KEY)
    rejection_id = refusals.refuse(refusals.query(key=OTHER_KEY))

    (finding,) = explain(rejection_id).findings

    assert (finding.codes, finding.connection, finding.key_id) == (("other-connection-key",), "tanks", "k1")
    assert f"receiver rejections replay {rejection_id} --as tanks" in finding.advice


@pytest.mark.parametrize("path", ["Meters", "METERS", "meter", "metres", "meeters", "nieters-x"])
def test_a_name_of_nobody_is_held_against_the_known_ones(refusals, explain, path):
    refusals.add_connection("tanks", OTHER_KEY)
    explanation = explain(refusals.refuse(refusals.query(), path=path))

    if path == "nieters-x":
        assert found(explanation) == [("other-connection-url",)]
    else:
        assert found(explanation) == [("connection-name",), ()]
        assert explanation.findings[0].connection == "meters"
    assert explanation.findings[-1].key_id == "k1"


def test_a_key_in_upper_case_is_named_and_the_advice_helps(refusals, explain, engine, keyring, now):
    rejection_id = refusals.refuse(refusals.query(signed_with=KEY.upper()))
    assert found(explain(rejection_id)) == [("key-upper-case",)]

    add_tunnel_key(engine, keyring, now, "meters", KEY.upper())

    assert explain(rejection_id).is_in_order_now


def test_a_plus_that_became_a_space_is_named(refusals, explain):
    query = refusals.query(Time="2026-11-20T13:00:00.000+01:00").replace("%2B", "%20")

    explanation = explain(refusals.refuse(query))

    assert outcomes(explanation)["query"] == "failed"
    assert found(explanation) == [("plus-became-space",)]


def test_a_body_that_was_written_again_is_named(refusals, explain):
    explanation = explain(refusals.refuse(refusals.query(), uplink(FCntUp=13.0, payload_hex="AA27")))

    assert found(explanation) == [("numbers-rewritten", "payload-rewritten")]


def test_the_networks_own_id_is_told_from_the_one_that_was_chosen(refusals, explain, now):
    refusals.add_connection("tanks", KEY, as_id="tanks")
    explanation = explain(refusals.refuse(refusals.query(), path="tanks"))

    (finding,) = explanation.findings
    assert finding.codes == ("as-id-of-the-network",)
    assert "this is all that is wrong" in finding.sentence
    assert AS_ID in finding.sentence


def test_a_query_without_signature_is_told(refusals, explain):
    explanation = explain(refusals.refuse("LrnDevEui=1&LrnFPort=1&LrnInfos=1"))

    assert found(explanation) == [("authentication-off",)]


def test_a_right_token_over_a_contradiction_is_told(refusals, explain):
    explanation = explain(refusals.refuse(refusals.query(LrnDevEui="20635F0000000002")))

    assert found(explanation) == [("signed-contradiction",)]


def test_a_token_of_nobody_is_said_to_be_unexplained(refusals, explain):
    explanation = explain(refusals.refuse(refusals.query(key="0" * 32)))

    assert explanation.findings == ()
    assert "with any of the 1 keys known here" in explanation.note


def test_a_body_that_cannot_be_read_is_said_to_be_untested(refusals, explain):
    explanation = explain(refusals.refuse(refusals.query(), b"\x1f\x8b\x08"))

    assert "cannot be tried" in explanation.note


def test_a_push_can_be_explained_as_one_to_another_connection(refusals, explain):
    refusals.add_connection("tanks", OTHER_KEY)
    rejection_id = refusals.refuse(refusals.query(key=OTHER_KEY))

    assert explain(rejection_id, as_name="tanks").is_in_order_now
    with pytest.raises(NotFoundError, match="no connection named 'silos'"):
        explain(rejection_id, as_name="silos")


@pytest.mark.parametrize("case", [*REFUSED, "upper", "plus", "token twice"])
def test_no_explanation_shows_a_key_or_a_token(refusals, explain, case):
    refusals.add_connection("tanks", OTHER_KEY)
    special = {
        "upper": refusals.query(signed_with=KEY.upper()),
        "plus": refusals.query().replace("%2B", "+").replace("+", " ").replace("00%3A00&", "00%2000&"),
        "token twice": f"{refusals.query(key='0' * 32)}&%54oken={'ab' * 32}",
    }
    options = dict(REFUSED.get(case, {}))
    path, body, query = options.pop("path", "meters"), options.pop("body", uplink()), options.pop("query", None)
    query = special.get(case, refusals.query(**options) if query is None else query)

    explanation = explain(refusals.refuse(query, body, path))

    right = refusals.query().rpartition("Token=")[2]
    shown = (json.dumps(asdict(explanation), default=str) + repr(explanation)).lower()
    for secret in (KEY, OTHER_KEY, right, query.rpartition("oken=")[2] or "-" * 16):
        assert secret[:10].lower() not in shown
        assert secret[-10:].lower() not in shown
    assert ELEMENTS.lower() not in shown
