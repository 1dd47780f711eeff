"""Downlinks leave one after another for each device, and whatever a network answers, or does not, is dealt with."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import event, text, update

from receiver.http_client import HttpBounds, HttpClient
from receiver.services.downlink_claiming import LEASE
from receiver.services.downlink_dispatch import (
    FINISH_WITHIN_S,
    UNDER_WAY,
    UNDER_WAY_OF_EACH,
    Dispatcher,
    resume_connection,
    run_dispatcher,
)
from receiver.services.downlink_dispatch_plan import MOST_UNKNOWN
from receiver.services.tunnel_keys import add_tunnel_key
from receiver.storage.downlink_queue import has_head
from receiver.storage.engine import read, write
from receiver.storage.seen_devices import record_key_uses
from receiver.storage.tables import connections
from tests.integration.dispatch_use import DEV_EUI, Desk
from tests.integration.lrc_server import ACCEPTED, ACCEPTED_V2, LOST, Lrc, Reply, conflict, refusal
from tests.integration.reading_field import AS_ID, TUNNEL_KEY

OTHER_KEY = "c6f5e3b263092120b8766b9aed9c41b4"
OTHER_DEVICE = "20635F0000000002"
BAD_TOKEN = refusal("Security Check. bad token")


@pytest.fixture
def lrc():
    lrc = Lrc().start()
    yield lrc
    lrc.stop()


@pytest.fixture
def http():
    with HttpClient(bounds=HttpBounds(connect_s=2.0, whole_s=3.0, at_once=UNDER_WAY)) as client:
        yield client


@pytest.fixture
def desk(engine, keyring, now, http, lrc):
    desk = Desk(engine, keyring, now, http, lrc)
    yield desk
    lrc.unblock()
    desk.close()


@pytest.fixture
def field(desk):
    return desk.connect()


# --- one that goes well


def test_a_downlink_is_asked_for_and_accepted(desk, field, lrc):
    downlink_id = desk.put_in(field, payload=b"\x0a\xff", confirmed=True)

    desk.settle()

    assert desk.steps(downlink_id) == ["queued", "sending", "accepted"]
    assert lrc.frames == [
        {
            "DevEUI": DEV_EUI,
            "FPort": "10",
            "Payload": "0AFF",
            "Confirmed": "1",
            "AS_ID": AS_ID,
            "CorrelationID": desk.row(downlink_id).correlation_id,
        }
    ]
    assert lrc.asked[0].is_signed_with(TUNNEL_KEY)
    assert lrc.asked[0].headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_the_event_keeps_the_request_without_its_token_and_the_answer(desk, field, lrc):
    downlink_id = desk.put_in(field)

    desk.settle()

    last = desk.events(downlink_id)[-1]
    token = lrc.asked[0].parameters["Token"]
    assert last.request == f"POST {lrc.url}?{lrc.asked[0].query.replace(token, '…')}"
    assert last.answer == "200 <html><body>Request queued by LRC</body></html>"


def test_a_server_that_echoes_the_request_does_not_get_its_token_kept(desk, field, lrc):
    lrc.answer = lambda asked: Reply(403, f"Forbidden: {asked.query}".encode())
    downlink_id = desk.put_in(field)

    desk.settle()

    token = lrc.asked[0].parameters["Token"]
    kept = f"{desk.row(downlink_id)} {desk.events(downlink_id)} {desk.passage(field)}"
    assert "Forbidden: DevEUI=" in kept
    assert token not in kept


def test_version_2_is_spoken_where_the_url_says_so(desk, lrc):
    lrc.answer = lambda _asked: ACCEPTED_V2
    downlink_id = desk.put_in(desk.connect(url=lrc.v2_url))

    desk.settle()

    assert desk.state(downlink_id) == "accepted"
    assert lrc.asked[0].path == "/thingpark/lrc/rest/v2/downlink"
    assert desk.events(downlink_id)[-1].answer == "202"


@pytest.mark.parametrize(("platform", "body"), [("thingpark", b""), ("kpn-lora", b"a=1")])
def test_each_platform_gets_the_body_that_it_is_known_to_take(desk, lrc, platform, body):
    desk.put_in(desk.connect(platform=platform))

    desk.settle()

    assert lrc.asked[0].body == body


def test_a_flush_has_no_payload(desk, field, lrc):
    desk.put_in(field, payload=None, flush=True)

    desk.settle()

    assert lrc.frames[0].keys() == {"DevEUI", "FlushDownlinkQueue", "AS_ID", "CorrelationID"}


def test_the_network_is_told_until_when_it_may_transmit(desk, field, lrc, now):
    desk.put_in(field, expires_at=now + timedelta(minutes=5))

    desk.settle()

    assert lrc.frames[0]["ValidityTime"] == "2026-11-20T12:05:00.000+00:00"


# --- windows


@pytest.mark.parametrize(
    ("expires_after", "window"),
    [(None, timedelta(hours=24)), (timedelta(hours=1), timedelta(hours=1, minutes=10))],
)
def test_an_accepted_one_of_class_a_waits_a_day_or_until_it_expires(desk, field, now, expires_after, window):
    expires_at = None if expires_after is None else now + expires_after
    downlink_id = desk.put_in(field, expires_at=expires_at)

    desk.settle()

    assert desk.row(downlink_id).due_at == now + window


def test_one_that_is_not_reported_in_time_is_unconfirmed(desk, field):
    downlink_id = desk.put_in(field)
    desk.settle()

    desk.wait(hours=25)
    desk.work(lambda: desk.state(downlink_id) == "unconfirmed")

    assert desk.row(downlink_id).due_at is None
    assert desk.row(downlink_id).cause == "no-report"


# --- order


def test_those_of_a_device_go_by_priority_and_then_by_age(desk, field, lrc):
    for payload, priority in ((b"\x01", 0), (b"\x02", 0), (b"\x03", 5)):
        desk.put_in(field, payload=payload, priority=priority)

    desk.settle()

    assert [frame["Payload"] for frame in lrc.frames] == ["03", "01", "02"]


def test_the_next_one_of_a_device_waits_for_the_answer_to_the_one_before(desk, field, lrc):
    first, second = desk.put_in(field), desk.put_in(field)
    lrc.block()
    dispatcher = desk.dispatcher()
    desk.work(lambda: len(lrc.asked) == 1)

    for _ in range(5):
        dispatcher.step()
    assert [desk.state(each) for each in (first, second)] == ["sending", "queued"]

    lrc.unblock()
    desk.settle()
    assert desk.states() == ["accepted", "accepted"]
    assert lrc.most_at_once == 1


def test_one_that_is_not_due_lets_the_next_go(desk, field, lrc, now):
    later = now + timedelta(hours=1)
    desk.put_in(field, payload=b"\x01", not_before=later, due_at=later)
    desk.put_in(field, payload=b"\x02")

    desk.settle()

    assert [frame["Payload"] for frame in lrc.frames] == ["02"]


def test_one_that_was_put_off_keeps_its_place(desk, field, lrc):
    lrc.replies = [refusal("Token bucket limit reached")]
    desk.put_in(field, payload=b"\x01")
    desk.put_in(field, payload=b"\x02", priority=9, due_at=desk.now + timedelta(seconds=1))

    desk.settle()
    desk.wait(seconds=1)
    desk.settle()
    assert [frame["Payload"] for frame in lrc.frames] == ["01"]

    desk.wait(seconds=1)
    desk.settle()
    assert [frame["Payload"] for frame in lrc.frames] == ["01", "01", "02"]


def test_devices_go_side_by_side_but_a_connection_does_not_take_all_the_room(desk, field, lrc):
    lrc.block()
    for number in range(UNDER_WAY):
        desk.put_in(field, dev_eui=f"20635F00000001{number:02X}")

    desk.work(lambda: len(lrc.asked) == UNDER_WAY_OF_EACH)
    for _ in range(3):
        desk.dispatchers[-1].step()
    assert lrc.most_at_once == UNDER_WAY_OF_EACH

    lrc.unblock()
    desk.settle()
    assert desk.states() == ["accepted"] * UNDER_WAY


def test_a_connection_that_hangs_leaves_room_for_another(desk, field, lrc):
    other_lrc = Lrc().start()
    try:
        other = desk.connect("other", url=other_lrc.url)
        lrc.block()
        for number in range(UNDER_WAY + 8):
            desk.put_in(field, dev_eui=f"20635F00000001{number:02X}")
        last = desk.put_in(other, dev_eui=OTHER_DEVICE)

        desk.work(lambda: desk.state(last) == "accepted")
    finally:
        other_lrc.stop()


# --- answers


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (refusal("Invalid LoRa port"), "invalid-f-port"),
        (conflict(113, "Payload too big or invalid size", maxSize=51), "too-long"),
        (refusal("Something new"), "status-350"),
    ],
)
def test_a_refused_one_is_over_and_says_why(desk, field, lrc, reply, cause):
    lrc.replies = [reply]
    downlink_id = desk.put_in(field)
    following = desk.put_in(field)

    desk.settle()

    row = desk.row(downlink_id)
    assert (row.state, row.cause, row.due_at, row.attempts) == ("refused", cause, None, 1)
    assert row.detail
    assert desk.state(following) == "accepted"


def test_one_without_a_gateway_is_tried_again_with_growing_pauses(desk, field, lrc, now):
    lrc.replies = [Reply(404, b""), Reply(404, b"No Base Station Available"), ACCEPTED]
    downlink_id = desk.put_in(field)

    desk.settle()
    assert (desk.state(downlink_id), desk.row(downlink_id).due_at - now) == ("queued", timedelta(seconds=2))

    desk.wait(seconds=2)
    desk.settle()
    assert desk.row(downlink_id).due_at - desk.now == timedelta(seconds=4)

    desk.wait(seconds=4)
    desk.settle()
    assert desk.state(downlink_id) == "accepted"
    assert desk.row(downlink_id).attempts == 3


def test_one_device_that_is_put_off_does_not_stop_another(desk, field, lrc):
    lrc.replies = [Reply(404, b"")]
    first = desk.put_in(field)
    desk.settle()

    second = desk.put_in(field, dev_eui=OTHER_DEVICE)
    desk.settle()

    assert (desk.state(first), desk.state(second)) == ("queued", "accepted")


def test_a_busy_network_is_left_alone_for_as_long_as_it_asks(desk, field, lrc):
    lrc.replies = [Reply(503, b"", (("Retry-After", "120"),))]
    first = desk.put_in(field)
    desk.settle()
    second = desk.put_in(field, dev_eui=OTHER_DEVICE)

    desk.wait(seconds=119)
    desk.settle()
    assert len(lrc.asked) == 1

    desk.wait(seconds=2)
    desk.settle()
    assert (desk.state(first), desk.state(second)) == ("accepted", "accepted")


def test_after_a_pause_one_goes_to_see_and_then_all(desk, field, lrc):
    lrc.replies = [Reply(503, b"")]
    desk.put_in(field)
    desk.settle()
    for number in range(4):
        desk.put_in(field, dev_eui=f"20635F00000001{number:02X}")
    lrc.block()
    desk.wait(seconds=60)

    desk.work(lambda: len(lrc.asked) == 2)
    for _ in range(5):
        desk.dispatchers[-1].step()
    assert len(lrc.asked) == 2

    lrc.unblock()
    desk.settle()
    assert desk.states() == ["accepted"] * 5


# --- answers that are lost


@pytest.mark.parametrize(("reply", "cause"), [(LOST, "no-answer"), (Reply(500, b"<h1>Oops</h1>"), "fault")])
def test_a_lost_answer_leaves_it_unknown_and_the_same_is_sent_again(desk, field, lrc, reply, cause):
    lrc.replies = [reply]
    downlink_id = desk.put_in(field)

    desk.settle()
    assert (desk.state(downlink_id), desk.row(downlink_id).cause) == ("unknown", cause)

    desk.wait(seconds=5)
    desk.settle()
    assert desk.state(downlink_id) == "accepted"
    assert len(lrc.asked) == 2
    assert lrc.frames[0] == lrc.frames[1]


def test_an_answer_that_takes_too_long_is_lost(desk, field, lrc):
    lrc.block()
    downlink_id = desk.put_in(field)

    desk.work(lambda: desk.state(downlink_id) == "unknown")

    assert "No answer came within" in desk.row(downlink_id).detail


def test_nothing_else_of_a_device_goes_while_one_is_unknown(desk, field, lrc):
    lrc.replies = [LOST]
    desk.put_in(field, payload=b"\x01")
    desk.put_in(field, payload=b"\x02", priority=9, due_at=desk.now + timedelta(seconds=1))
    desk.settle()

    desk.wait(seconds=30)
    desk.settle()

    assert [frame["Payload"] for frame in lrc.frames] == ["01", "01", "02"]


def test_one_that_was_unknown_stays_so_until_it_is_certain(desk, field, lrc):
    lrc.replies = [LOST, refusal("Token bucket limit reached"), BAD_TOKEN]
    downlink_id = desk.put_in(field)

    desk.settle()
    for _ in range(2):
        desk.wait(minutes=2)
        desk.settle()

    assert desk.steps(downlink_id)[1:] == ["sending", "unknown"] * 3


def test_one_whose_answers_are_all_lost_is_given_up(desk, field, lrc):
    lrc.answer = lambda _asked: LOST
    downlink_id = desk.put_in(field)

    for _ in range(MOST_UNKNOWN):
        desk.settle()
        desk.wait(minutes=11)

    assert desk.state(downlink_id) == "unconfirmed"
    assert len(lrc.asked) == MOST_UNKNOWN


def test_one_that_expires_while_it_is_unknown_is_not_sent_again(desk, field, lrc, now):
    lrc.replies = [LOST]
    downlink_id = desk.put_in(field, expires_at=now + timedelta(minutes=1))
    desk.settle()

    desk.wait(minutes=1)
    desk.work(lambda: desk.state(downlink_id) == "unconfirmed")

    assert len(lrc.asked) == 1


def test_one_that_has_expired_is_never_sent(desk, field, lrc, now):
    downlink_id = desk.put_in(field, expires_at=now)

    desk.work(lambda: desk.state(downlink_id) == "expired")

    assert lrc.asked == []


# --- the network is away


def test_while_the_network_is_away_nothing_is_burnt_and_the_order_stays(desk, field, lrc):
    lrc.stop()
    first = desk.put_in(field, payload=b"\x01")
    desk.settle()
    desk.put_in(field, payload=b"\x02", priority=9, due_at=desk.now + timedelta(seconds=1))

    row = desk.row(first)
    assert (row.state, row.cause, row.attempts) == ("queued", "away", 0)

    lrc.start()
    desk.wait(seconds=30)
    desk.settle()
    assert [frame["Payload"] for frame in lrc.frames] == ["02", "01"]
    assert desk.passage(field).failures == 0


def test_the_pauses_of_a_network_that_is_away_grow(desk, field, lrc):
    lrc.stop()
    for number in range(8):
        desk.put_in(field, dev_eui=f"20635F00000001{number:02X}")

    pauses = []
    for _ in range(3):
        desk.settle()
        pauses.append((desk.passage(field).next_try_at - desk.now).total_seconds())
        desk.wait(seconds=pauses[-1])

    assert pauses == [2, 4, 8]


def test_a_tls_server_that_does_not_prove_itself_is_not_asked(desk, lrc):
    connection_id = desk.connect(url=lrc.url.replace("http:", "https:"))
    downlink_id = desk.put_in(connection_id)

    desk.settle()

    assert (desk.state(downlink_id), desk.row(downlink_id).cause) == ("queued", "away")
    assert lrc.asked == []


def test_a_redirect_is_not_followed(desk, field, lrc):
    lrc.replies = [Reply(302, b"", (("Location", lrc.v2_url),))]
    downlink_id = desk.put_in(field)

    desk.settle()

    assert len(lrc.asked) == 1
    assert (desk.state(downlink_id), desk.passage(field).held_cause) == ("queued", "redirected")


# --- held


def test_a_hold_stops_the_connection_and_burns_nothing(desk, field, lrc):
    lrc.answer = lambda _asked: refusal("Security Check. bad AS_ID")
    first = desk.put_in(field)
    desk.settle()
    asked = len(lrc.asked)
    desk.put_in(field, dev_eui=OTHER_DEVICE)

    desk.wait(seconds=59)
    desk.settle()

    row, passage = desk.row(first), desk.passage(field)
    assert (row.state, row.cause, row.attempts) == ("queued", "bad-as-id", 0)
    assert (passage.held_cause, passage.held_since is None) == ("bad-as-id", False)
    assert "AS_ID" in passage.held_detail
    assert len(lrc.asked) == asked


def test_a_held_connection_is_looked_at_now_and_then_and_goes_again_when_it_is_mended(desk, field, lrc):
    lrc.answer = lambda _asked: refusal("Security Check. bad AS_ID")
    for number in range(3):
        desk.put_in(field, dev_eui=f"20635F00000001{number:02X}")
    desk.settle()
    before = len(lrc.asked)
    pauses = []
    for _ in range(8):
        pauses.append((desk.passage(field).next_try_at - desk.now).total_seconds())
        desk.wait(seconds=pauses[-1])
        desk.settle()
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert len(lrc.asked) == before + 8

    lrc.answer = lambda _asked: ACCEPTED
    desk.wait(hours=1)
    desk.settle()

    assert desk.states() == ["accepted"] * 3
    assert desk.passage(field).held_since is None


def test_a_person_lets_a_held_connection_go_again(desk, field, lrc):
    lrc.replies = [refusal("Security Check. bad AS_ID")]
    downlink_id = desk.put_in(field)
    desk.settle()

    assert resume_connection(desk.engine, desk.now, field)
    assert not resume_connection(desk.engine, desk.now, field)
    desk.settle()

    assert desk.state(downlink_id) == "accepted"


def test_another_connection_is_not_held_with_it(desk, field, lrc):
    lrc.replies = [refusal("Security Check. bad AS_ID")]
    desk.put_in(field)
    desk.settle()

    other = desk.put_in(desk.connect("other"), dev_eui=OTHER_DEVICE)
    desk.settle()

    assert desk.state(other) == "accepted"


@pytest.mark.parametrize("lacks", ["url", "key"])
def test_a_connection_that_cannot_send_is_held_with_a_sentence(desk, engine, lacks):
    connection_id = desk.connect(tunnel_key=None if lacks == "key" else TUNNEL_KEY)
    if lacks == "url":
        with write(engine) as connection:
            connection.execute(update(connections).values(downlink_url=None))
    downlink_id = desk.put_in(connection_id)

    desk.settle()

    assert desk.state(downlink_id) == "queued"
    assert desk.passage(connection_id).held_cause == "no-transport"
    assert ("URL" if lacks == "url" else "tunnel key") in desk.row(downlink_id).detail
    assert len(desk.events(downlink_id)) == 2


def test_one_whose_connection_was_removed_is_refused(desk):
    downlink_id = desk.put_in(None)

    desk.settle()

    assert (desk.state(downlink_id), desk.row(downlink_id).cause) == ("refused", "no-connection")


# --- keys


def expects_key(key):
    return lambda asked: ACCEPTED if asked.is_signed_with(key) else BAD_TOKEN


@pytest.mark.parametrize("network_key", [TUNNEL_KEY, OTHER_KEY])
def test_with_two_live_keys_the_one_that_the_network_has_is_found(desk, field, lrc, network_key):
    add_tunnel_key(desk.engine, desk.keyring, desk.now, "field", OTHER_KEY)
    lrc.answer = expects_key(network_key)
    first, second = desk.put_in(field), desk.put_in(field)

    desk.settle()

    assert (desk.state(first), desk.state(second)) == ("accepted", "accepted")
    assert len(lrc.asked) == (3 if network_key == TUNNEL_KEY else 2)  # and it is kept to
    assert desk.passage(field) is None


def test_the_key_that_the_network_was_seen_to_use_last_goes_first(desk, field, lrc):
    add_tunnel_key(desk.engine, desk.keyring, desk.now, "field", OTHER_KEY)
    with write(desk.engine) as connection:
        record_key_uses(connection, [(1, 5, desk.now)])
    desk.put_in(field)

    desk.settle()

    assert lrc.asked[0].is_signed_with(TUNNEL_KEY)


def test_a_key_that_signs_as_it_was_typed_is_found(desk, lrc):
    typed = "17D107C7-E4AE-7AD8-EA64-EA25EE6A6B52"
    lrc.answer = expects_key(typed)
    downlink_id = desk.put_in(desk.connect(tunnel_key=typed))

    desk.settle()

    assert desk.state(downlink_id) == "accepted"


def test_when_no_key_is_the_right_one_the_connection_is_held(desk, field, lrc):
    add_tunnel_key(desk.engine, desk.keyring, desk.now, "field", OTHER_KEY)
    lrc.answer = lambda _asked: BAD_TOKEN
    desk.put_in(field)

    desk.settle()

    assert len(lrc.asked) == 2
    assert desk.passage(field).held_cause == "bad-token"


def test_a_new_key_is_taken_up_while_it_runs(desk, field, lrc):
    lrc.answer = expects_key(OTHER_KEY)
    downlink_id = desk.put_in(field)
    desk.settle()

    add_tunnel_key(desk.engine, desk.keyring, desk.now, "field", OTHER_KEY)

    def is_accepted():
        desk.wait(seconds=120)
        return desk.state(downlink_id) == "accepted"

    desk.work(is_accepted)


# --- leases


def test_a_sender_that_does_not_tell_in_time_leaves_it_unknown_and_another_sends_the_same(desk, field, lrc):
    lrc.block()
    downlink_id = desk.put_in(field)
    dead = desk.dispatcher()
    desk.work(lambda: len(lrc.asked) == 1, dead)
    lrc.unblock()

    desk.now += LEASE
    desk.work(lambda: desk.state(downlink_id) == "accepted", desk.dispatcher())

    assert desk.steps(downlink_id) == ["queued", "sending", "unknown", "sending", "accepted"]
    assert desk.events(downlink_id)[2].cause == "sender-lost"
    assert lrc.frames[0] == lrc.frames[1]


def test_an_answer_that_comes_when_another_has_taken_over_is_only_noted(desk, field, lrc):
    lrc.block()
    downlink_id = desk.put_in(field)
    slow = desk.dispatcher()
    desk.work(lambda: len(lrc.asked) == 1, slow)
    desk.now += LEASE
    quick = desk.dispatcher()
    desk.work(lambda: len(lrc.asked) == 2, quick)
    lrc.replies = [refusal("Invalid LoRa port")]
    lrc.unblock()
    desk.work(lambda: desk.state(downlink_id) == "accepted", quick)

    desk.settle(slow)

    assert desk.state(downlink_id) == "accepted"
    assert desk.events(downlink_id)[-1].cause == "late-answer"


def test_two_dispatchers_never_send_the_same(desk, field, lrc):
    lrc.delay_s = 0.01
    for number in range(60):
        desk.put_in(field, dev_eui=f"20635F00000001{number % 20:02X}")
    ends = []

    def run():
        dispatcher = Dispatcher(desk.engine, desk.keyring, lambda: desk.now, desk.http)
        desk.settle(dispatcher)
        dispatcher.finish()
        ends.append(True)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    desk.settle()

    assert len(ends) == 2
    assert len({frame["CorrelationID"] for frame in lrc.frames}) == len(lrc.frames) == 60
    assert desk.states() == ["accepted"] * 60


# --- the loop


def test_the_loop_sends_what_is_put_in_and_ends_cleanly(desk, field, lrc):
    stop, wake = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=run_dispatcher,
        args=(desk.engine, desk.keyring, lambda: desk.now, stop, desk.http),
        kwargs={"wake": wake},
    )
    thread.start()
    try:
        downlink_id = desk.put_in(field)
        wake.set()
        deadline = time.monotonic() + 20
        while desk.state(downlink_id) != "accepted" and time.monotonic() < deadline:
            wake.wait(0.02)
    finally:
        stop.set()
        thread.join(20)

    assert not thread.is_alive()
    assert desk.state(downlink_id) == "accepted"


def test_at_a_stop_what_is_under_way_is_written_down_as_unknown(desk, field, lrc):
    lrc.block()
    downlink_id = desk.put_in(field)
    dispatcher = desk.dispatcher()
    desk.work(lambda: len(lrc.asked) == 1, dispatcher)

    desk.dispatchers.remove(dispatcher)
    began = time.monotonic()
    dispatcher.finish()

    assert time.monotonic() - began < FINISH_WITHIN_S + 5
    assert desk.state(downlink_id) == "unknown"


def test_a_database_that_is_away_stops_nothing_for_good(desk, field, lrc, database_is_away):
    stop = threading.Event()
    thread = threading.Thread(
        target=run_dispatcher, args=(desk.engine, desk.keyring, lambda: desk.now, stop, desk.http)
    )
    with database_is_away():
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    downlink_id = desk.put_in(field)
    try:
        deadline = time.monotonic() + 30
        while desk.state(downlink_id) != "accepted" and time.monotonic() < deadline:
            thread.join(0.05)
    finally:
        stop.set()
        thread.join(20)

    assert desk.state(downlink_id) == "accepted"


def test_a_thousand_downlinks_to_a_thousand_devices_go_side_by_side(desk, field, lrc):
    lrc.delay_s = 0.05
    for number in range(1000):
        desk.put_in(field, dev_eui=f"20635F000001{number:04X}")

    desk.settle()

    assert lrc.most_at_once > UNDER_WAY_OF_EACH // 2
    assert len({frame["CorrelationID"] for frame in lrc.frames}) == len(lrc.frames) == 1000
    assert set(desk.states()) == {"accepted"}


def test_the_next_of_each_device_is_found_without_its_history(engine, now):
    seen = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        seen.append((statement, parameters))

    with read(engine) as connection:
        event.listen(engine, "before_cursor_execute", note)
        has_head(connection, now, [7])
        event.remove(engine, "before_cursor_execute", note)
        statement, parameters = seen[-1]
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # a small table is read whole otherwise
            cursor = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        else:
            cursor = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plan = "\n".join(" ".join(map(str, row)) for row in cursor)

    assert "ix_downlinks_state_due_at" in plan
    assert "ix_downlinks_open" in plan
