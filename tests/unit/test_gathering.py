"""Few that wait are kept back while the loop has other work or company comes, and never for long."""

from __future__ import annotations

import pytest

from receiver.storage import gathering
from receiver.storage.gathering import ENOUGH, GATHER_S, IDLE_S, MOST_SKIPPED, PAUSE_S, Gathering, WriterWake

BUSY_S = 10 * IDLE_S


class Loop:
    """An event loop and its clock, both moved by hand: `round` takes so long and does what was asked for by then."""

    def __init__(self):
        self.now = 100.0
        self.calls = []

    def perf_counter(self):
        return self.now

    def call_soon(self, callback):
        return self.call_later(0, callback)

    def call_later(self, delay_s, callback, *arguments):
        call = Call(self.now + delay_s, lambda: callback(*arguments))
        self.calls.append(call)
        return call

    def round(self, lasts_s):
        self.now += lasts_s
        due = [call for call in self.calls if call.at <= self.now]
        self.calls = [call for call in self.calls if call.at > self.now]
        for call in due:
            if not call.cancelled:
                call.run()


class Call:
    def __init__(self, at, run):
        self.at, self.run, self.cancelled = at, run, False

    def cancel(self):
        self.cancelled = True


class Queue:
    """What waits, and how many were taken each time."""

    def __init__(self, loop):
        self.loop = loop
        self.waiting = 0
        self.taken = []
        self.wake = Gathering(lambda: self.waiting, lambda: False, self.take)
        self.wake.start(loop)

    def put(self, count=1):
        for _ in range(count):
            self.waiting += 1
            if not self.wake.is_set():
                self.wake.set()

    def take(self):
        self.taken.append(self.waiting)
        self.waiting = 0

    def pass_idly(self, rounds):
        """Let the loop wait for what it was asked for, with no other work."""
        for _ in range(rounds):
            if not self.loop.calls:
                return
            earliest = min(call.at for call in self.loop.calls)
            self.loop.round(max(IDLE_S / 4, earliest - self.loop.now))


@pytest.fixture
def loop(monkeypatch):
    loop = Loop()
    monkeypatch.setattr(gathering, "time", loop)
    return loop


@pytest.fixture
def queue(loop):
    return Queue(loop)


def test_nothing_is_kept_back_before_there_is_a_loop():
    taken = []
    wake = Gathering(lambda: 1, lambda: False, lambda: taken.append(1))
    wake.set()

    assert taken == [1]


def test_while_the_loop_is_busy_those_that_come_are_taken_together(queue, loop):
    for _ in range(ENOUGH):
        queue.put()
        assert queue.taken == []
        loop.round(BUSY_S)

    assert queue.taken == [ENOUGH]


def test_many_are_taken_after_the_round_in_which_they_came(queue, loop):
    queue.put(ENOUGH)
    loop.round(BUSY_S)

    assert queue.taken == [ENOUGH]


def test_nobody_is_kept_back_for_long_however_busy_the_loop_is(queue, loop):
    queue.put()
    came_at = loop.now
    while not queue.taken:
        loop.round(BUSY_S)

    assert GATHER_S <= loop.now - came_at < GATHER_S + 2 * BUSY_S


def test_a_loop_without_work_keeps_them_back_for_one_pause(queue, loop):
    queue.put()
    came_at = loop.now
    queue.pass_idly(3)

    assert queue.taken == [1]
    assert loop.now - came_at == pytest.approx(PAUSE_S, abs=IDLE_S)


def test_after_a_pause_with_company_another_one_follows(queue, loop):
    queue.put()
    loop.round(IDLE_S / 4)
    queue.put()
    loop.round(PAUSE_S)
    queue.put()
    loop.round(PAUSE_S)

    assert queue.taken == []
    assert queue.waiting == 3


def test_who_sends_alone_and_waits_for_each_answer_is_soon_never_kept_back(queue, loop):
    began_at = loop.now
    for _ in range(4 * MOST_SKIPPED):
        queue.put()
        queue.pass_idly(3)

    assert queue.taken == [1] * (4 * MOST_SKIPPED)
    pauses = (loop.now - began_at) / PAUSE_S
    assert pauses < 12 + 4


def test_company_in_a_pause_makes_the_next_ones_worth_it_again(queue, loop):
    for _ in range(40):
        queue.put()
        queue.pass_idly(3)
    while not loop.calls or loop.calls[0].at - loop.now < PAUSE_S / 2:  # until one is kept back again
        queue.put()
        loop.round(IDLE_S / 4)
    queue.put()
    loop.round(PAUSE_S)
    queue.pass_idly(3)  # and one in vain

    queue.put()
    queue.pass_idly(3)  # left out
    before = loop.now
    queue.put()
    queue.pass_idly(3)
    assert loop.now - before > PAUSE_S / 2


def test_what_is_stopped_takes_nothing(queue, loop):
    queue.put()
    queue.wake.stop()
    queue.pass_idly(3)

    assert queue.taken == []


def test_the_writer_is_woken_at_once_where_that_is_asked_for(loop):
    wake = WriterWake(lambda: 1)
    wake.start(loop)
    wake.set()
    assert not wake._event.is_set()

    wake.wake()
    wake.wait()
    assert not wake._event.is_set()
