"""Refused pushes are verified again as of their arrival, and stored once where they are in order by now."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier

import pytest

from receiver.errors import NotFoundError
from receiver.services.connections import add_tunnel_key, retire_tunnel_key
from receiver.services.replay import ReplayOptions, ReplayOutcome, replay_by_filter, replay_by_ids
from receiver.storage.rejections import RejectionFilter
from receiver.storage.tables import deliveries, reports, uplinks
from tests.integration.inbox_use import count, in_threads, stored_deliveries, stored_reports
from tests.integration.push_server import uplink
from tests.integration.refusals import OTHER_KEY, Refusals

STORED, ALREADY = ReplayOutcome.STORED, ReplayOutcome.ALREADY_STORED
REFUSED, NOT_KEPT = ReplayOutcome.REFUSED, ReplayOutcome.NOT_KEPT


@pytest.fixture
def refusals(engine, keyring, now):
    made = Refusals(engine, keyring, now)
    made.add_connection()
    return made


@pytest.fixture
def replay(engine, keyring, now):
    def replay(*rejection_ids, **options):
        later = now + timedelta(days=3)
        results = replay_by_ids(engine, keyring, later, list(rejection_ids), ReplayOptions(**options))
        return [(result.rejection_id, result.outcome, result.sentence) for result in results]

    return replay


@pytest.fixture
def refused_for_its_key(refusals, engine, keyring, now):
    """A push that was refused because its key was added too late."""
    rejection_id = refusals.refuse(refusals.query(key=OTHER_KEY, skew_s=3))
    add_tunnel_key(engine, keyring, now, "meters", OTHER_KEY)
    return rejection_id


def number(query_number, **options):
    """Give the changes that make another delivery of another frame."""
    return {"elements": f"10000000120635F00000000011{query_number}aa27", "LrnInfos": f"x-1-{query_number}", **options}


def test_a_push_whose_key_is_there_by_now_is_stored_as_it_came(replay, refused_for_its_key, engine, now):
    ((_, outcome, sentence),) = replay(refused_for_its_key)

    (report,) = stored_reports(engine)
    assert outcome is STORED
    assert "2026-11-20 12:00:00Z" in sentence
    assert report.received_at == now
    assert report.sent_at == now - timedelta(seconds=3)
    assert report.body == uplink()
    assert (report.dev_eui, report.state, report.deliveries) == ("20635F0000000001", "unread", 1)
    assert "Token" not in report.query


def test_a_replayed_rejection_says_so(replay, refused_for_its_key, refusals, engine, now):
    replay(refused_for_its_key)

    (view,) = refusals.views()
    assert view.replayed_at == now + timedelta(days=3)
    assert view.replayed_report_id == stored_reports(engine)[0].id


def test_a_replay_twice_stores_once(replay, refused_for_its_key, engine):
    first, second = replay(refused_for_its_key), replay(refused_for_its_key)

    assert [first[0][1], second[0][1]] == [STORED, ALREADY]
    assert (count(engine, reports), count(engine, deliveries)) == (1, 0)


def test_a_replayed_push_stays_replayed_when_its_report_is_gone(replay, refused_for_its_key, engine):
    replay(refused_for_its_key)
    with engine.begin() as tx:
        tx.execute(reports.delete())

    assert replay(refused_for_its_key)[0][1] is ALREADY
    assert count(engine, reports) == 0


def test_the_same_push_refused_twice_is_one_report_with_two_deliveries(
    replay, refused_for_its_key, refusals, engine, keyring, now
):
    retire_tunnel_key(engine, now, "meters", "k2")
    again = refusals.refuse(refusals.query(key=OTHER_KEY, skew_s=3))
    add_tunnel_key(engine, keyring, now, "meters", OTHER_KEY)

    outcomes = [outcome for _, outcome, _ in replay(refused_for_its_key, again)]

    (report,) = stored_reports(engine)
    assert outcomes == [STORED, ALREADY]
    assert report.deliveries == 2
    assert len(stored_deliveries(engine)) == 1


def test_a_push_that_has_been_taken_by_another_way_is_a_further_delivery(replay, refusals, engine):
    late = refusals.refuse(refusals.query(skew_s=100))
    too_early = refusals.refuse(refusals.query(skew_s=-100))
    replay(late, max_deviation_s=100)

    ((_, outcome, sentence),) = replay(too_early, max_deviation_s=100)

    assert outcome is ALREADY
    assert "further delivery" in sentence
    assert stored_reports(engine)[0].deliveries == 2


def test_two_replays_at_once_store_once(refused_for_its_key, engine, keyring, now):
    barrier = Barrier(4)
    outcomes = []

    def replay_one():
        barrier.wait()
        results = replay_by_ids(engine, keyring, now, [refused_for_its_key], ReplayOptions())
        outcomes.extend(result.outcome for result in results)

    in_threads(*[replay_one] * 4)

    assert sorted(outcomes) == sorted([STORED, ALREADY, ALREADY, ALREADY])
    assert (count(engine, reports), count(engine, deliveries)) == (1, 0)


def test_a_dry_run_says_what_would_be_and_changes_nothing(replay, refused_for_its_key, refusals, engine):
    ((_, outcome, sentence),) = replay(refused_for_its_key, dry_run=True)

    assert (outcome, sentence) == (STORED, "It would be stored.")
    assert count(engine, reports) == 0
    assert refusals.views()[0].replayed_at is None


def test_a_dry_run_knows_a_report_that_is_there(replay, refusals, engine):
    late, too_early = (refusals.refuse(refusals.query(skew_s=skew_s)) for skew_s in (100, -100))
    replay(late, max_deviation_s=100)

    ((_, outcome, _),) = replay(too_early, max_deviation_s=100, dry_run=True)

    assert outcome is ALREADY
    assert count(engine, deliveries) == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"key": "0" * 32}, "token-mismatch"),
        ({"AS_ID": "x"}, "as-id-mismatch"),
        ({"skew_s": 100}, "time-out-of-window"),
    ],
)
def test_what_is_still_wrong_is_still_refused_and_says_why(replay, refusals, engine, options, reason):
    rejection_id = refusals.refuse(refusals.query(**options))

    ((_, outcome, sentence),) = replay(rejection_id)

    assert outcome is REFUSED
    assert sentence.startswith(f"{reason}: ")
    assert count(engine, reports) == 0
    assert refusals.views()[0].replayed_at is None


def test_the_time_is_judged_at_the_arrival_and_not_now(replay, refused_for_its_key):
    assert replay(refused_for_its_key)[0][1] is STORED  # three days later, within 60 s


def test_a_wrong_clock_is_allowed_for_by_name(replay, refusals, engine):
    rejection_id = refusals.refuse(refusals.query(skew_s=412))

    assert replay(rejection_id, max_deviation_s=411)[0][1] is REFUSED
    ((_, outcome, sentence),) = replay(rejection_id, max_deviation_s=412)

    assert outcome is STORED
    assert "Time is 412 s before the arrival, allowed 412 s by --max-deviation" in sentence


def test_a_retired_key_is_good_only_when_asked_for(replay, refusals, engine, keyring, now):
    add_tunnel_key(engine, keyring, now, "meters", OTHER_KEY)
    retire_tunnel_key(engine, now, "meters", "k1")
    rejection_id = refusals.refuse(refusals.query())

    assert replay(rejection_id)[0][1] is REFUSED
    ((_, outcome, sentence),) = replay(rejection_id, with_retired_keys=True)

    assert outcome is STORED
    assert "signed with the retired key k1" in sentence


def test_a_push_to_a_name_of_nobody_is_judged_as_another(replay, refusals, engine):
    rejection_id = refusals.refuse(refusals.query(), path="Meters")

    assert replay(rejection_id)[0][1] is REFUSED
    assert replay(rejection_id, as_name="meters")[0][1] is STORED
    assert stored_reports(engine)[0].connection_id is not None


def test_a_push_to_a_name_that_was_added_since_is_judged_as_that(replay, refusals):
    rejection_id = refusals.refuse(refusals.query(), path="tanks")
    refusals.add_connection("tanks")

    assert replay(rejection_id)[0][1] is STORED


def test_a_connection_that_is_not_there_is_told_before_anything_is_done(replay, refused_for_its_key, engine):
    with pytest.raises(NotFoundError, match="no connection named 'silos'"):
        replay(refused_for_its_key, as_name="silos")
    assert count(engine, reports) == 0


def test_a_rejection_that_is_not_there_stops_all_before_anything_is_done(replay, refused_for_its_key, engine):
    with pytest.raises(NotFoundError, match="no rejection 99"):
        replay(refused_for_its_key, 99)
    assert count(engine, reports) == 0


@pytest.mark.parametrize("reason", ["too-large", "body-incomplete", "head-incomplete"])
def test_what_was_not_kept_whole_is_not_replayed(replay, refusals, engine, reason):
    rejection_id = refusals.keep(None, "meters", reason, "Why.", refusals.query(), uplink())

    ((_, outcome, _),) = replay(rejection_id)

    assert outcome is NOT_KEPT
    assert count(engine, reports) == 0


@pytest.mark.parametrize("damage", ["plus", "twice"])
def test_a_query_that_a_proxy_damaged_is_repaired_only_when_asked_for(replay, refusals, engine, damage):
    query = refusals.query(Time="2026-11-20T13:00:00.000+01:00")
    damaged = query.replace("%2B", " ") if damage == "plus" else query.replace("%", "%25")
    rejection_id = refusals.refuse(damaged)

    assert replay(rejection_id)[0][1] is REFUSED
    ((_, outcome, sentence),) = replay(rejection_id, repair_query=True)

    assert outcome is STORED
    assert "repaired" in sentence
    assert stored_reports(engine)[0].query == query.partition("&Token=")[0]


def test_a_repair_does_not_make_a_wrong_token_right(replay, refusals):
    query = refusals.query(Time="2026-11-20T13:00:00.000+01:00", key="0" * 32).replace("%2B", " ")

    assert replay(refusals.refuse(query), repair_query=True)[0][1] is REFUSED


def test_a_repaired_query_that_is_late_is_refused_for_that(replay, refusals):
    query = refusals.query(Time="2026-11-20T12:00:00.000+01:00").replace("%2B", " ")

    ((_, outcome, sentence),) = replay(refusals.refuse(query), repair_query=True)

    assert outcome is REFUSED
    assert sentence.startswith("time-out-of-window: ")


def test_a_filter_names_what_is_replayed_in_order_of_arrival(refusals, engine, keyring, now):
    refusals.add_connection("tanks")
    times = [now + timedelta(minutes=minute) for minute in range(4)]
    for minute, at in enumerate(times):
        skewed = number(minute, key=OTHER_KEY, Time=at.isoformat())
        refusals.refuse(refusals.query(**skewed), uplink(FCntUp=minute, mic_hex=f"0000000{minute}"), received_at=at)
    refusals.refuse(refusals.query(key=OTHER_KEY), path="tanks")
    refusals.refuse(refusals.query(skew_s=1000))
    add_tunnel_key(engine, keyring, now, "meters", OTHER_KEY)
    wanted = RejectionFilter(since=times[1], until=times[3], reason="token-mismatch", connection="meters")

    results = list(replay_by_filter(engine, keyring, now, wanted, ReplayOptions()))

    assert [result.outcome for result in results] == [STORED, STORED]
    assert [report.received_at for report in stored_reports(engine)] == times[1:3]


def test_a_replayed_uplink_is_read_like_any_other(replay, refused_for_its_key, field):
    replay(refused_for_its_key)

    field.read()

    assert field.row(uplinks).frm_payload == bytes.fromhex("aa27")


def test_no_result_shows_a_token(replay, refusals, engine, keyring, now):
    query = refusals.query(skew_s=100)
    results = replay_by_ids(engine, keyring, now, [refusals.refuse(query)], ReplayOptions())

    assert query[-64:][:10] not in repr(list(results))
