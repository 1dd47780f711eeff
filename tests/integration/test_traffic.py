"""Traffic of devices: asked for device by device, hour by hour, written once, and again where it grew."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from receiver.services.alarm_sources import STEP_S
from receiver.services.platform_clients import platform_http
from receiver.services.polling import Poller
from receiver.services.retention import prune
from receiver.simulator.management_http import CUT, answered
from receiver.storage.alarm_tables import alarms, traffic
from receiver.storage.engine import read, write
from receiver.storage.traffic import TrafficFilter, list_traffic
from tests.integration.alarm_networks import NETWORKS, network_with_devices
from tests.integration.alarm_use import (
    AT_ONCE,
    DEVICE,
    ONLY_TRAFFIC,
    OTHER_DEVICE,
    TRAFFIC_EVERY,
    Clock,
    hear,
    poll_of,
    run_polls,
)
from tests.integration.test_alarms_commands import receiver, said  # noqa: F401 - a fixture

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
THIRD_DEVICE = "20635F0000000003"


@pytest.fixture
def clock(now):
    return Clock(now + timedelta(minutes=30))


@pytest.fixture(params=sorted(NETWORKS))
def network(request, clock, engine, keyring):
    with network_with_devices(request.param, clock, engine, keyring) as network:
        yield network


@pytest.fixture
def heard(engine, keyring, now, network):
    hear(engine, keyring, now, network.surface, DEVICE, OTHER_DEVICE)


@pytest.fixture
def poll(engine, keyring, clock):
    return lambda: run_polls(engine, keyring, clock, ONLY_TRAFFIC)


def spans_of(engine, dev_eui=DEVICE):
    with read(engine) as tx:
        return list_traffic(tx, TrafficFilter(dev_eui=dev_eui, oldest_first=True), limit=1000)[0]


def test_frames_become_spans_of_an_hour(engine, network, heard, poll, now):
    for minutes in (-50, -40, 5):
        network.count_frame(DEVICE, now + timedelta(minutes=minutes), size=11)
    network.count_frame(DEVICE, now - timedelta(minutes=30), size=7, good=False)
    network.count_frame(DEVICE, now - timedelta(minutes=20), up=False, size=3)
    network.count_frame(DEVICE, now - timedelta(minutes=10), up=False, size=3, good=False)

    poll()

    before, this = spans_of(engine)
    assert (before.at, this.at, before.step_s) == (now - HOUR, now, STEP_S)
    assert (before.up_count, before.up_size_bytes, before.up_late_count) == (3, 29, 1)
    assert (before.down_count, before.down_size_bytes, before.down_failed_count) == (2, 6, 1)
    assert (this.up_count, this.up_size_bytes, this.account) == (1, 11, network.name)
    assert before.rssi_dbm is not None
    assert before.snr_db is not None


def test_each_device_is_asked_for_by_itself_in_utc(network, heard, poll):
    poll()

    asked = network.asked_for(network.traffic_path)
    assert len(asked) == 2
    if network.name == "thingpark":
        assert [one.query["timezone"] for one in asked] == ["UTC", "UTC"]
        assert [(one.query["duration"], one.query["step"]) for one in asked] == [("P7D", "PT1H")] * 2
    else:
        assert [one.query["deviceEUIList"] for one in asked] == [DEVICE, OTHER_DEVICE]
        assert [(one.query["duration"], one.query["aggregationStep"]) for one in asked] == [("7", "1")] * 2


def test_the_present_hour_is_written_again_when_it_has_grown(engine, network, heard, poll, clock, now):
    network.count_frame(DEVICE, now + timedelta(minutes=1))
    poll()
    network.count_frame(DEVICE, now + timedelta(minutes=50))
    clock.wait(hours=6)

    poll()

    (span,) = spans_of(engine)
    assert span.up_count == 2


def test_the_first_hour_of_a_window_is_whole_or_not_touched(engine, network, heard, poll, clock, now):
    for minutes in (1, 59):
        network.count_frame(DEVICE, now - DAY + timedelta(minutes=minutes))
    poll()
    clock.wait(hours=6)

    poll()  # a day: its beginning lies amid what is known

    assert [span.up_count for span in spans_of(engine)] == [2]


@pytest.mark.parametrize(("away", "days"), [(6 * HOUR, 1), (23 * HOUR, 2), (3 * DAY, 4), (30 * DAY, 7)])
def test_so_many_days_are_asked_for_as_no_poll_was(network, heard, poll, clock, away, days):
    poll()
    network.emulator.asked.clear()
    clock.now += away

    poll()

    asked = network.asked_for(network.traffic_path)[0].query
    assert asked["duration"] == (f"P{days}D" if network.name == "thingpark" else str(days))


def test_only_devices_that_this_platform_was_heard_for_are_asked_for(engine, keyring, network, poll, now):
    hear(engine, keyring, now, network.surface, DEVICE)
    hear(engine, keyring, now, "thingpark" if network.surface == "kpn-lora" else "kpn-lora", OTHER_DEVICE)

    poll()

    assert len(network.asked_for(network.traffic_path)) == 1


def test_a_device_that_the_account_does_not_have_is_passed_over(engine, keyring, network, heard, poll, now):
    hear(engine, keyring, now, network.surface, "10635F0000000003")
    network.count_frame(DEVICE, now)

    poll()

    assert poll_of(engine, "traffic").result == {"devices": 3, "spans": 1, "unknown": 1, "refused": 0}
    assert len(spans_of(engine)) == 1


def test_a_refusal_of_one_device_is_counted_and_the_others_go_on(engine, network, heard, poll, now):
    network.count_frame(OTHER_DEVICE, now)
    network.emulator.faults.order(answered(400, {"code": 3, "message": "odd"}), path=network.traffic_path)

    poll()

    assert poll_of(engine, "traffic").result["refused"] == 1
    assert len(spans_of(engine, OTHER_DEVICE)) == 1


def test_a_walk_that_was_broken_off_goes_on_behind_the_last_device(engine, keyring, network, heard, poll, clock, now):
    hear(engine, keyring, now, network.surface, THIRD_DEVICE)
    network.add_device(THIRD_DEVICE)
    faults = network.emulator.faults
    faults.order(answered(503, retry_after_s=100), at=faults.count + 2)
    poll()
    state = poll_of(engine, "traffic")
    assert (state.position, state.failures) == (DEVICE, 1)
    clock.now = state.due_at

    poll()

    asked = [one for one in network.asked_for(network.traffic_path) if one.status == 200]
    assert len(asked) == 3
    state = poll_of(engine, "traffic")
    assert (state.position, state.began_at, state.failures) == (None, None, 0)
    assert state.done_from == now + timedelta(minutes=30)
    assert state.due_at == state.done_from + TRAFFIC_EVERY


def test_one_device_that_never_gets_an_answer_does_not_keep_the_others_from_theirs(
    engine, network, heard, poll, clock, now
):
    network.count_frame(OTHER_DEVICE, now)
    away = answered(503, retry_after_s=100)
    faults = network.emulator.faults
    for _ in range(4):
        faults.order(away, at=faults.count + 1)
        poll()
        clock.now = poll_of(engine, "traffic").due_at

    assert len(spans_of(engine, OTHER_DEVICE)) == 1
    assert poll_of(engine, "traffic").result == {"devices": 2, "spans": 1, "unknown": 0, "refused": 1}


def test_a_lost_answer_is_asked_for_again(engine, network, heard, poll, now):
    network.count_frame(DEVICE, now)
    network.emulator.faults.order(CUT, path=network.traffic_path)

    poll()

    assert len(spans_of(engine)) == 1


def test_a_few_devices_are_asked_for_in_a_minute(engine, keyring, clock, network, heard):
    slept = []

    async def sleep(seconds):
        slept.append((seconds, len(network.asked_for(network.traffic_path))))

    async def run(http):
        poller = Poller(engine, keyring, clock, http, ONLY_TRAFFIC, sleep=sleep)
        poller.look()
        await poller.settle()

    with platform_http() as http:
        asyncio.run(run(http))

    assert slept == [(6, 1), (6, 2)]


def test_of_two_workers_one_asks_for_traffic(engine, keyring, clock, network, heard):
    async def run(http):
        pollers = [Poller(engine, keyring, clock, http, ONLY_TRAFFIC, AT_ONCE) for _ in range(2)]
        for poller in pollers:
            poller.look()
        for poller in pollers:
            await poller.settle()

    with platform_http() as http:
        asyncio.run(run(http))

    assert len(network.asked_for(network.traffic_path)) == 2


def test_a_device_is_polled_by_hand_and_listed(receiver, network, clock):  # noqa: F811
    from receiver.cli.store import utc_now

    clock.now = utc_now()
    for hours in (1, 2, 2):
        network.count_frame(DEVICE, clock.now - hours * HOUR)

    rows = json.loads(said(receiver("traffic", "list", DEVICE, "--poll", "--json")))

    assert [row["up_count"] for row in rows] == [1, 2]
    table = said(receiver("traffic", "list", "--since", "24h"))
    assert DEVICE in table
    (bucket,) = json.loads(said(receiver("traffic", "list", DEVICE, "--bucket", "52w", "--json")))
    assert (bucket["spans"], bucket["up_count"]) == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["list", "--poll"], "--poll is for one device", 2),
        (["list", "--bucket", "1d"], "--bucket is for one device", 2),
        (["list", DEVICE, "--bucket", "15m"], "is not a size of buckets", 2),
        (["list", DEVICE, "--bucket", "1d", "--tz", "Mars/Olympus"], "There is no zone", 2),
        (["list", "77"], "77", 1),
        (["list", "30635F0000000009", "--poll"], "No account has a device 30635F0000000009", 1),
        (["list", "--account", "nobody"], "There is no account 'nobody'", 1),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(receiver, network, arguments, told, code):  # noqa: F811
    answer = receiver("traffic", *arguments)

    assert answer.returncode == code
    assert "Traceback" not in answer.stderr
    assert told in " ".join(answer.stderr.replace("│", " ").split())


# --- how long it is kept


def rows_of(engine, table):
    with read(engine) as tx:
        return len(tx.execute(select(table.c.id)).all())


def test_traffic_that_is_older_than_its_age_goes(engine, now):
    with write(engine) as tx:
        for days in (40, 20, 1):
            row = {"account_id": 1, "dev_eui": DEVICE, "at": now - days * DAY, "step_s": STEP_S, "polled_at": now}
            tx.execute(insert(traffic).values(**row))

    deleted = [step.rows for step in prune(engine, now, {"traffic": 30 * DAY})]

    assert sum(deleted) == 1
    assert rows_of(engine, traffic) == 2


@pytest.mark.parametrize(
    ("state", "age_days", "is_kept"),
    [("CLEARED", 40, False), ("CLEARED", 20, True), ("WARNING", 40, True)],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_an_alarm_goes_when_it_is_cleared_and_was_not_listed_for_its_age(
    engine, keyring, clock, now, state, age_days, is_kept, dry_run
):
    network = NETWORKS["thingpark"](clock, engine, keyring)
    network.server.stop()
    account = network.add_account(engine, keyring)
    seen_at = now - age_days * DAY
    times = dict.fromkeys(("first_seen_at", "changed_at", "polled_at"), seen_at)
    with write(engine) as tx:
        row = {"account_id": account.id, "remote_id": "a1", "state": state, "acked": False, "infos": "[]"}
        tx.execute(insert(alarms).values(**row, **times))

    deleted = sum(step.rows for step in prune(engine, now, {"alarms": 30 * DAY}, dry_run=dry_run))

    assert deleted == (not is_kept)
    assert rows_of(engine, alarms) == (is_kept or dry_run)
