"""Alarms are polled: all pages, what changed, what is gone; by one worker, through faults, and never against a no."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from receiver.errors import StorageUnavailableError
from receiver.services.event_contents import load_contents
from receiver.services.platform_accounts import remove_account, set_account_secret
from receiver.services.platform_clients import platform_http
from receiver.services.polling import Poller, run_polling
from receiver.simulator.management_http import CUT, LOST, answered
from receiver.storage.alarm_tables import alarms
from receiver.storage.alarms import AlarmState
from receiver.storage.engine import read
from receiver.storage.events import list_events
from tests.integration.alarm_networks import NETWORKS, network_with_devices
from tests.integration.alarm_use import (
    ALARMS_EVERY,
    AT_ONCE,
    DEVICE,
    ONLY_ALARMS,
    OTHER_DEVICE,
    STATES,
    Clock,
    alarms_of,
    poll_of,
    run_polls,
    the_alarm,
    told_alarms,
)
from tests.integration.forward_use import wait_until


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture(params=sorted(NETWORKS))
def network(request, clock, engine, keyring):
    with network_with_devices(request.param, clock, engine, keyring) as network:
        yield network


@pytest.fixture
def poll(engine, keyring, clock):
    def poll():
        run_polls(engine, keyring, clock, ONLY_ALARMS)

    return poll


@pytest.fixture
def poll_later(poll, clock):
    def poll_later():
        clock.wait(minutes=6)
        poll()

    return poll_later


# --- what is listed


def test_an_alarm_is_written_with_all_that_the_network_says(engine, network, poll, now):
    network.raise_alarm(DEVICE, 6, "MAJOR", ["SF12", "SF10", "13.000000dB", "-15.000000dB"])

    poll()

    alarm = the_alarm(engine)
    assert (alarm.account, alarm.dev_eui, alarm.type_id, alarm.state) == (network.name, DEVICE, 6, AlarmState.MAJOR)
    assert (alarm.occurrence, alarm.acked, alarm.acked_by, alarm.gone_at) == (1, False, None, None)
    assert alarm.infos == ("SF12", "SF10", "13.000000dB", "-15.000000dB")
    assert alarm.created_at == alarm.updated_at == alarm.first_seen_at == alarm.polled_at == now


@pytest.mark.parametrize("state", STATES)
def test_both_networks_have_one_scale(engine, network, poll, state):
    network.raise_alarm(DEVICE, 4, network.state_name(state))

    poll()

    assert the_alarm(engine).state.value == state


def test_several_pages_are_all_read(engine, network, poll):
    for number in range(250):
        network.raise_alarm((DEVICE, OTHER_DEVICE)[number % 2], 1 + number)

    poll()

    assert len(alarms_of(engine)) == 250
    assert len(alarms_of(engine, dev_eui=OTHER_DEVICE)) == 125
    assert poll_of(engine, "alarms").result == {"listed": 250, "new": 250, "changed": 0, "gone": 0}
    assert len(network.asked_for(network.alarms_path)) == network.pages_of(250)


def test_the_same_again_changes_nothing_and_tells_nothing(engine, network, poll, poll_later, clock):
    network.raise_alarm(DEVICE, 4)
    poll()
    before = the_alarm(engine)

    poll_later()

    after = the_alarm(engine)
    assert (after.id, after.changed_at, after.polled_at) == (before.id, before.changed_at, clock())
    assert told_alarms(engine) == [before.id]


def test_it_is_polled_again_when_it_is_due_and_not_before(network, poll, clock):
    poll()
    clock.wait(minutes=4)
    poll()
    assert len(network.asked_for(network.alarms_path)) == 1

    clock.wait(minutes=2)
    poll()

    assert len(network.asked_for(network.alarms_path)) == 2


# --- what changes


def test_a_changed_alarm_is_changed_here(engine, network, poll, poll_later, clock):
    alarm = network.raise_alarm(DEVICE, 1, "WARNING", ["20%"])
    poll()
    network.change_alarm(alarm, state="CRITICAL", occurrence=3)

    poll_later()

    found = the_alarm(engine)
    assert (found.state, found.occurrence, found.changed_at) == (AlarmState.CRITICAL, 3, clock())
    assert found.first_seen_at < found.changed_at


def test_a_graver_alarm_is_told_again_and_one_that_gets_better_is_not(engine, network, poll, poll_later):
    alarm = network.raise_alarm(DEVICE, 1, "MINOR")
    poll()
    network.change_alarm(alarm, state="MAJOR")
    poll_later()
    assert len(told_alarms(engine)) == 2

    network.change_alarm(alarm, state="WARNING")
    poll_later()

    assert the_alarm(engine).state is AlarmState.WARNING
    assert len(told_alarms(engine)) == 2


def test_a_rise_takes_the_acknowledgement_away(engine, network, poll, poll_later):
    alarm = network.raise_alarm(DEVICE, 1, "WARNING")
    network.acknowledge(alarm)
    poll()
    assert the_alarm(engine).acked

    network.change_alarm(alarm, state="CRITICAL", unacked=True)
    poll_later()

    found = the_alarm(engine)
    assert (found.acked, found.acked_by, found.acked_at) == (False, None, None)
    assert len(told_alarms(engine)) == 2


def test_a_cleared_alarm_is_cleared_here_and_one_raised_again_is_told(engine, network, poll, poll_later):
    alarm = network.raise_alarm(DEVICE, 4, "MAJOR")
    poll()
    network.change_alarm(alarm, state="CLEARED")
    poll_later()
    assert the_alarm(engine).state is AlarmState.CLEARED
    assert len(told_alarms(engine)) == 1

    network.change_alarm(alarm, state="WARNING")
    poll_later()

    assert the_alarm(engine).state is AlarmState.WARNING
    assert len(told_alarms(engine)) == 2


def test_one_that_is_listed_no_more_is_gone_and_cleared(engine, network, poll, poll_later, clock):
    alarm = network.raise_alarm(DEVICE, 4, "MAJOR")
    network.raise_alarm(OTHER_DEVICE, 4, "MAJOR")
    poll()
    network.forget_alarm(alarm)

    poll_later()

    (gone,) = alarms_of(engine, dev_eui=DEVICE)
    assert (gone.state, gone.gone_at) == (AlarmState.CLEARED, clock())
    (other,) = alarms_of(engine, dev_eui=OTHER_DEVICE)
    assert (other.state, other.gone_at) == (AlarmState.MAJOR, None)
    assert poll_of(engine, "alarms").result["gone"] == 1


def test_one_that_is_gone_is_looked_at_once_only(network, poll, poll_later):
    alarm = network.raise_alarm(DEVICE, 4)
    poll()
    network.forget_alarm(alarm)
    poll_later()
    asked = len(network.emulator.asked)

    poll_later()

    assert len(network.emulator.asked) == asked + len(network.requests_of_a_poll)


def test_what_streams_and_forwarders_are_told_names_the_type(engine, network, poll):
    network.raise_alarm(DEVICE, 4, "MAJOR")

    poll()

    with read(engine) as tx:
        (content,) = load_contents(tx, list_events(tx, 0, 10))
    assert content.event.dev_eui == DEVICE
    assert b'"type":"alarm"' in content.body
    assert b'"alarm":"no uplink activity","state":"MAJOR"' in content.body


def test_a_cleared_alarm_that_is_new_here_is_not_told(engine, network, poll):
    network.raise_alarm(DEVICE, 4, "CLEARED")

    poll()

    assert the_alarm(engine).state is AlarmState.CLEARED
    assert told_alarms(engine) == []


# --- faults


@pytest.mark.parametrize("fault", [LOST, CUT, answered(503, retry_after_s=0), answered(429, retry_after_s=0)])
def test_one_lost_or_refused_answer_is_asked_for_again(engine, network, poll, fault):
    network.raise_alarm(DEVICE, 4)
    network.emulator.faults.order(fault, path=network.alarms_path)

    poll()

    assert len(alarms_of(engine)) == 1
    assert poll_of(engine, "alarms").failures == 0


def test_what_is_refused_is_kept_as_a_sentence_and_tried_again_after_growing_pauses(engine, network, poll, clock):
    network.emulator.faults.order(answered(400, {"code": 7, "message": "odd"}), path=network.alarms_path, times=99)
    pauses = []
    for _ in range(9):
        poll()
        state = poll_of(engine, "alarms")
        pauses.append(state.due_at - clock())
        clock.now = state.due_at
    assert pauses == [min(timedelta(hours=1), timedelta(minutes=2**number)) for number in range(9)]
    assert state.failures == 9
    assert "odd" in state.failure
    assert state.done_at is None

    network.emulator.faults = type(network.emulator.faults)()
    poll()

    state = poll_of(engine, "alarms")
    assert (state.failures, state.failure, state.failed_at) == (0, None, None)
    assert state.due_at == clock() + ALARMS_EVERY


def test_a_page_that_fails_leaves_what_came_before_it_and_nothing_is_gone(engine, network, poll, poll_later):
    for number in range(250):
        network.raise_alarm(DEVICE, 1 + number)
    poll()
    network.fail_at_end_of_list()

    poll_later()

    state = poll_of(engine, "alarms")
    assert state.failures == 1
    assert all(alarm.gone_at is None for alarm in alarms_of(engine))


def test_a_rejected_login_is_not_tried_again_until_the_account_is_changed(engine, keyring, network, poll, clock):
    set_account_secret(engine, keyring, network.name, "wrong")
    poll()
    state = poll_of(engine, "alarms")
    assert state.refused_account is not None
    assert "does not take this account" in state.failure
    assert "wrong" not in state.failure
    logins = network.logins
    for _ in range(3):
        clock.wait(hours=7)
        poll()
    assert network.logins == logins

    set_account_secret(engine, keyring, network.name, network.secret)
    network.raise_alarm(DEVICE, 4)
    poll()

    assert len(alarms_of(engine)) == 1
    assert poll_of(engine, "alarms").refused_account is None


def test_the_network_away_is_a_failure_and_not_a_gone_alarm(engine, network, poll, poll_later):
    network.raise_alarm(DEVICE, 4)
    poll()
    network.emulator.faults.order(answered(503, retry_after_s=100), path=network.alarms_path)

    poll_later()

    assert the_alarm(engine).gone_at is None
    assert "503" in poll_of(engine, "alarms").failure


def test_what_was_acknowledged_here_while_the_list_was_under_way_stays(engine, network, poll, clock):
    from receiver.storage.alarms import SeenAlarm, mark_acked, upsert_alarms
    from receiver.storage.engine import write

    network.raise_alarm(DEVICE, 4)
    poll()
    alarm = the_alarm(engine)
    asked_at = clock()
    clock.wait(seconds=1)
    seen = SeenAlarm(alarm.remote_id, DEVICE, None, 4, alarm.state, 1, False, None, None, None, None, ())
    with write(engine) as tx:
        mark_acked(tx, clock(), "command", [alarm.id])
        found = upsert_alarms(tx, 1, clock(), [seen], asked_at)

    assert found.to_tell == []
    assert the_alarm(engine).acked


# --- workers and accounts


def test_of_two_workers_one_polls(engine, keyring, clock, network):
    for number in range(150):
        network.raise_alarm(DEVICE, 1 + number)

    async def run(http):
        pollers = [Poller(engine, keyring, clock, http, ONLY_ALARMS, AT_ONCE) for _ in range(2)]
        for poller in pollers:
            poller.look()
        for poller in pollers:
            await poller.settle()

    with platform_http() as http:
        asyncio.run(run(http))

    assert len(network.asked_for(network.alarms_path)) == network.pages_of(150)
    assert len(alarms_of(engine)) == 150


def test_a_worker_that_died_is_followed_by_another_when_its_lease_has_ended(engine, keyring, clock, network, poll):
    from receiver.storage.engine import write
    from receiver.storage.platform_polls import Polled, ensure_polls, take_lease

    network.raise_alarm(DEVICE, 4)
    with write(engine) as tx:
        ensure_polls(tx, clock(), 1, list(Polled))
        until = clock() + timedelta(minutes=5)
        assert take_lease(tx, 1, Polled.ALARMS, holder="dead", now=clock(), until=until)
    poll()
    assert alarms_of(engine) == []

    clock.wait(minutes=6)
    poll()

    assert len(alarms_of(engine)) == 1


def test_an_account_that_is_removed_takes_its_alarms_along(engine, network, poll):
    network.raise_alarm(DEVICE, 4)
    poll()

    remove_account(engine, network.name)

    with read(engine) as tx:
        assert tx.scalar(select(func.count()).select_from(alarms)) == 0


def test_polling_runs_in_a_thread_of_its_own_and_stops_at_once(engine, keyring, clock, network):
    network.raise_alarm(DEVICE, 4)
    stop = threading.Event()
    thread = threading.Thread(target=run_polling, args=(engine, keyring, clock, stop, ONLY_ALARMS), daemon=True)
    thread.start()
    try:
        wait_until(lambda: len(alarms_of(engine)) == 1)
    finally:
        stop.set()
        thread.join(10)

    assert not thread.is_alive()


def test_a_stop_gives_up_what_is_under_way_and_the_lease(engine, keyring, clock, network):
    network.emulator.faults.order(answered(503, retry_after_s=50), path=network.alarms_path)  # it waits for that
    stop = threading.Event()
    thread = threading.Thread(target=run_polling, args=(engine, keyring, clock, stop, ONLY_ALARMS), daemon=True)
    thread.start()
    try:
        wait_until(lambda: network.asked_for(network.alarms_path))
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()

    network.raise_alarm(DEVICE, 4)
    run_polls(engine, keyring, clock, ONLY_ALARMS)

    assert len(alarms_of(engine)) == 1


def test_without_times_nothing_is_polled(engine, keyring, clock, network):
    from receiver.services.polls import poll_times

    run_polling(engine, keyring, clock, threading.Event(), poll_times(0, 0))  # it ends by itself

    assert len(network.emulator.asked) == 0


def test_a_database_that_is_away_is_no_failure_of_the_network(engine, keyring, clock, network, database_is_away):
    async def run(http):
        poller = Poller(engine, keyring, clock, http, ONLY_ALARMS, AT_ONCE)
        with database_is_away(), pytest.raises(StorageUnavailableError):
            poller.look()
        poller.look()
        await poller.settle()

    network.raise_alarm(DEVICE, 4)
    with platform_http() as http:
        asyncio.run(run(http))

    assert len(alarms_of(engine)) == 1
