"""A network that runs: repeatable by its seed, bounded in count and time, clean when it is called off."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from receiver.errors import SettingsError
from receiver.lorawan.keys import AesKey
from receiver.simulator.kinds import ReportKind
from receiver.simulator.network import SimulatedNetwork
from receiver.simulator.push import Fault, Push
from receiver.simulator.push_client import Answer, Delivery
from receiver.simulator.scenarios import MAX_IN_FLIGHT, MAX_LAG, Scenario, run_network
from receiver.simulator.signer import FORGERIES
from receiver.simulator.tally import Tally
from receiver.thingpark.body import parse_body
from receiver.thingpark.reports import UplinkReport, read_report
from receiver.thingpark.signed_query import parse_signed_query
from receiver.thingpark.token import key_spellings, read_token_elements, verify_query_agrees, verify_token

KEY = "0123456789abcdef" * 2
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FAULTS = {"late": 0.1, "duplicates": 0.1, "rejoins": 0.05, "bad_tokens": 0.1}


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def accept(push: Push) -> Delivery:
    return Delivery(push, (Answer("http://127.0.0.1/", 200, 0.001),))


def run(scenario: Scenario, *, seed: int = 1, send=accept, clock: Clock | None = None) -> list[Push]:
    clock = clock or Clock()
    network = SimulatedNetwork(key=KEY, clock=clock, as_transport_key=AesKey(bytes(16)), seed=seed)

    async def go() -> list[Push]:
        async with aclosing(run_network(network, scenario, send, sleep=clock.sleep)) as deliveries:
            return [delivery.push async for delivery in deliveries]

    return asyncio.run(go())


# --- repeatable


def test_the_same_seed_and_start_give_the_same_pushes():
    scenario = Scenario(max_pushes=300, duration_s=3600, content_types=("xml", "json", "jsontyped"), **FAULTS)
    assert run(scenario, seed=5) == run(scenario, seed=5)


def test_another_seed_gives_other_pushes():
    scenario = Scenario(max_pushes=50, duration_s=3600)
    assert run(scenario, seed=5) != run(scenario, seed=6)


def test_every_push_is_as_it_says_it_is():
    scenario = Scenario(
        max_pushes=600, duration_s=3600, abp_devices=1, content_types=("xml", "json", "jsontyped"), **FAULTS
    )
    for push in run(scenario):
        query = parse_signed_query(push.query.encode())
        elements = read_token_elements(parse_body(push.body))
        verify_query_agrees(query, elements)
        if push.fault not in FORGERIES:
            verify_token(query, elements, [key_spellings(KEY)])
        assert push.should_be_accepted is (push.fault not in FORGERIES)
        _, notes = read_report(parse_body(push.body))
        assert notes.fields == []


# --- bounded


def test_it_ends_after_the_pushes_asked_for():
    assert len(run(Scenario(max_pushes=17, duration_s=3600, rate_per_s=10))) == 17


def test_it_ends_after_the_time_asked_for():
    clock = Clock()
    pushes = run(Scenario(max_pushes=1_000, duration_s=20, rate_per_s=5), clock=clock)
    assert len(pushes) == 100
    assert clock.now <= START + timedelta(seconds=20)


def test_it_keeps_to_the_rate():
    pushes = run(Scenario(max_pushes=100, duration_s=3600, rate_per_s=2))
    assert all(n / 2 - 0.001 <= (push.sent_at - START).total_seconds() <= (n + 1) / 2 for n, push in enumerate(pushes))


def test_a_receiver_that_is_too_slow_does_not_make_it_longer():
    clock = Clock()

    async def answer_slowly(push: Push) -> Delivery:
        clock.now += timedelta(seconds=1)
        return await accept(push)

    pushes = run(Scenario(max_pushes=1_000, duration_s=30, rate_per_s=100), send=answer_slowly, clock=clock)
    assert 1 <= len(pushes) <= 30 + MAX_IN_FLIGHT


def test_a_push_behind_its_time_is_signed_with_a_later_one():
    clock = Clock()
    moments: list[tuple[Push, datetime]] = []

    async def answer_slowly(push: Push) -> Delivery:
        moments.append((push, clock.now))
        clock.now += timedelta(seconds=20)
        return await accept(push)

    scenario = Scenario(max_pushes=200, duration_s=600, rate_per_s=100, mix={ReportKind.UPLINK: 1})
    run(scenario, send=answer_slowly, clock=clock)
    last, _ = moments[-1]
    assert last.sent_at >= START + timedelta(seconds=20) - MAX_LAG


def test_no_more_pushes_are_out_than_allowed():
    out, most = 0, 0

    async def count(push: Push) -> Delivery:
        nonlocal out, most
        out += 1
        most = max(most, out)
        for _ in range(50):
            await asyncio.sleep(0)
        out -= 1
        return await accept(push)

    run(Scenario(max_pushes=500, duration_s=60, rate_per_s=1000), send=count)
    assert 1 < most <= MAX_IN_FLIGHT


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"devices": 0}, "The number of devices is 1 to 10000, not 0."),
        ({"abp_devices": 6}, "The number of ABP devices is 0 to 5, not 6."),
        ({"rate_per_s": 0}, "The rate per second"),
        ({"rate_per_s": 1e6}, "The rate per second"),
        ({"rate_per_s": float("nan")}, "The rate per second"),
        ({"duration_s": float("inf")}, "The duration in seconds"),
        ({"max_pushes": 0}, "The number of pushes"),
        ({"late": 1.5}, "The probability late is 0 to 1, not 1.5."),
        ({"bad_tokens": -0.1}, "The probability bad tokens"),
        ({"content_types": ()}, "at least one content type"),
        ({"mix": {}}, "weights of a mix"),
        ({"mix": {ReportKind.UPLINK: -1}}, "weights of a mix"),
        ({"mix": {ReportKind.UPLINK: 0}}, "weights of a mix"),
    ],
)
def test_a_scenario_out_of_bounds_is_refused_by_name(wrong, message):
    with pytest.raises(SettingsError, match=message):
        Scenario(**wrong)


# --- called off


def test_closing_it_calls_off_the_pushes_that_are_out():
    called_off = []

    async def hang(push: Push) -> Delivery:
        if push.number == 1:
            return await accept(push)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            called_off.append(push.number)
            raise
        raise AssertionError

    async def go() -> None:
        clock = Clock()
        network = SimulatedNetwork(key=KEY, clock=clock)
        deliveries = run_network(network, Scenario(max_pushes=4, rate_per_s=1000), hang, sleep=clock.sleep)
        async with aclosing(deliveries):
            await anext(deliveries)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(go())
    assert len(called_off) <= 3


def test_cancelling_it_calls_off_the_pushes_that_are_out():
    called_off = []
    out = asyncio.Event()

    async def hang(push: Push) -> Delivery:
        try:
            if push.number == 3:
                out.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            called_off.append(push.number)
            raise
        raise AssertionError

    async def consume() -> None:
        clock = Clock()
        network = SimulatedNetwork(key=KEY, clock=clock)
        async with aclosing(run_network(network, Scenario(max_pushes=3), hang, sleep=clock.sleep)) as deliveries:
            async for _ in deliveries:
                raise AssertionError

    async def go() -> None:
        task = asyncio.create_task(consume())
        await out.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(go())
    assert sorted(called_off) == [1, 2, 3]


def test_a_fault_of_the_sender_ends_it():
    async def fail(_push: Push) -> Delivery:
        raise RuntimeError("the sender is broken")

    with pytest.raises(RuntimeError, match="the sender is broken"):
        run(Scenario(max_pushes=5), send=fail)


# --- what happens in it


def test_each_device_joins_before_its_first_uplink():
    pushes = run(Scenario(devices=3, max_pushes=60, duration_s=3600))
    seen: set[str] = set()
    for push in pushes:
        assert push.detail == "join" or push.dev_eui in seen
        seen.add(push.dev_eui)
    assert seen == {"0200000000000001", "0200000000000002", "0200000000000003"}


def test_devices_are_the_same_in_every_run_and_sessions_are_not():
    scenario = Scenario(devices=3, max_pushes=60, duration_s=3600)
    one, other = run(scenario, seed=1), run(scenario, seed=2)
    assert {push.dev_eui for push in one} == {push.dev_eui for push in other}
    assert {push.dev_addr for push in one if push.dev_addr}.isdisjoint({push.dev_addr for push in other})


def test_every_fault_asked_for_happens():
    faults = Counter(push.fault for push in run(Scenario(max_pushes=600, duration_s=3600, **FAULTS)))
    assert set(faults) == set(Fault) - {Fault.CLOCK_SKEW}


def test_without_faults_each_push_is_plain():
    assert {push.fault for push in run(Scenario(max_pushes=200, duration_s=3600))} == {Fault.NONE}


def test_late_frames_are_lower_than_newer_ones_already_sent():
    pushes = run(Scenario(devices=1, max_pushes=200, duration_s=3600, late=0.2, mix={ReportKind.UPLINK: 1}))
    highest, late = -1, 0
    for push in pushes[1:]:
        assert push.f_cnt_up is not None
        if push.fault is Fault.LATE:
            late += 1
            assert push.f_cnt_up < highest
        highest = max(highest, push.f_cnt_up)
    assert late > 10
    frames = [(push.dev_addr, push.f_cnt_up) for push in pushes[1:]]
    assert len(frames) == len(set(frames))


def test_duplicates_repeat_frames_that_were_sent():
    pushes = run(Scenario(max_pushes=300, duration_s=3600, duplicates=0.3, bad_tokens=0.1))
    bodies = {push.body for push in pushes if push.fault is Fault.NONE}
    again = [push for push in pushes if push.fault in {Fault.SAME_DELIVERY, Fault.SAME_FRAME}]
    assert len(again) > 50
    assert all(push.body in bodies for push in again)


def test_a_rejoin_begins_the_counter_anew():
    pushes = run(Scenario(devices=1, max_pushes=100, duration_s=3600, rejoins=0.2, mix={ReportKind.UPLINK: 1}))
    after_join = [pushes[n + 1].f_cnt_up for n, push in enumerate(pushes[:-1]) if push.detail == "join"]
    assert len(after_join) > 5
    assert set(after_join) <= {0, None}  # None: it joins once more


def test_abp_devices_reset_and_send_in_clear():
    pushes = run(Scenario(devices=1, abp_devices=1, max_pushes=100, duration_s=3600, rejoins=0.2))
    assert {push.detail for push in pushes} >= {"reset"}
    assert "join" not in {push.detail for push in pushes}
    report, _ = read_report(parse_body(next(push.body for push in pushes if push.clear_payload)))
    assert isinstance(report, UplinkReport)
    assert report.payload_encryption is False


def test_the_mix_decides_what_is_reported():
    scenario = Scenario(devices=1, max_pushes=50, duration_s=3600, mix={ReportKind.ALARM: 3, ReportKind.JOIN: 1})
    assert {push.kind for push in run(scenario)} == {"DevEUI_alarm", "DevEUI_notification"}


# --- counted


def tally_of(*deliveries: Delivery) -> Tally:
    tally = Tally()
    for delivery in deliveries:
        tally.add(delivery)
    return tally


@pytest.fixture
def sample() -> tuple[Push, Push]:
    network = SimulatedNetwork(key=KEY, clock=lambda: START)
    push = network.uplink(network.add_device(dev_eui="0200000000000001"))
    return push, network.forge(push)


def answered(push: Push, status: int | None, elapsed_s: float = 0.002) -> Delivery:
    return Delivery(push, (Answer("http://127.0.0.1/push/field", status, elapsed_s, None if status else "no answer"),))


def test_a_run_that_went_as_it_should_has_no_verdict(sample):
    tally = tally_of(answered(sample[0], 200), answered(sample[1], 401))
    assert (tally.pushes, tally.accepted, tally.refused, tally.verdict) == (2, 1, 1, None)


def test_the_verdict_names_the_first_push_that_was_missed(sample):
    assert tally_of(answered(sample[0], 503)).verdict == (
        "Of 1 pushes 1 should have been accepted and were not; the first: DevEUI_uplink of 0200000000000001,"
        " http://127.0.0.1/push/field answered 503."
    )


def test_a_forged_push_that_was_accepted_is_a_fault(sample):
    assert "1 were accepted and should have been refused" in str(tally_of(answered(sample[1], 200)).verdict)


def test_a_forged_push_without_an_answer_proves_nothing(sample):
    tally = tally_of(answered(sample[1], None))
    assert tally.unanswered == 1
    assert "1 should have been refused and got no answer" in str(tally.verdict)


def test_times_are_told_as_quantiles(sample):
    tally = tally_of(*(answered(sample[0], 200, elapsed_s=n / 1000) for n in range(100)))
    assert (tally.quantile_ms(0.5), tally.quantile_ms(0.99), tally.quantile_ms(1)) == (50, 99, 99)


def test_without_answers_there_are_no_times(sample):
    assert tally_of(answered(sample[0], None)).quantile_ms(0.5) is None
