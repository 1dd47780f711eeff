"""Dispatchers in processes of their own, killed at any moment: nothing is lost, nor sent under a used counter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select, update

from receiver.http_client import HttpBounds, HttpClient
from receiver.lorawan.frm_payload import Direction, decrypt_frm_payload
from receiver.services.downlink_claiming import LEASE
from receiver.services.downlink_dispatch import UNDER_WAY
from receiver.storage.downlink_tables import downlink_counter_uses
from receiver.storage.engine import read, write
from receiver.storage.tables import connections
from tests.integration.dispatch_use import Desk
from tests.integration.lrc_server import Lrc
from tests.integration.stream_use import until

SCRIPT = Path(__file__).with_name("dispatch_process.py")
KILLS = 6


@pytest.fixture
def lrc():
    lrc = Lrc().start()
    yield lrc
    lrc.stop()


@pytest.fixture
def desk(field, engine, keyring, now, lrc):
    with HttpClient(bounds=HttpBounds(connect_s=2.0, whole_s=10.0, at_once=UNDER_WAY)) as http:
        desk = Desk(engine, keyring, now, http, lrc)
        yield desk
        lrc.unblock()
        desk.close()


@pytest.fixture
def device(field, lrc):
    """A device whose payloads are encrypted end to end."""
    network = field.connect(encrypted=True)
    with write(field.engine) as connection:
        connection.execute(update(connections).values(downlink_url=lrc.url))
    field.import_as_transport_key()
    device = network.add_device()
    field.take_and_read(network.uplink(device))
    return device


@contextmanager
def dispatching(url, ahead_s=0.0):
    """Run a dispatcher in a process; it is killed at the end if it lives."""
    process = subprocess.Popen([sys.executable, "-W", "error", str(SCRIPT), url, str(ahead_s)])
    try:
        yield process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait(20)


def finish_with_another(desk, condition):
    """Let a dispatcher work whose clock is behind every lease that the dead ones left."""
    desk.now = datetime.now(UTC) + LEASE + LEASE
    desk.dispatcher()

    def is_done():
        desk.wait(seconds=30)
        return condition()

    desk.work(is_done)


def test_one_that_is_killed_between_sending_and_recording_leaves_the_same_bytes_to_be_sent(
    desk, device, lrc, database_url
):
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui, payload=b"open")
    lrc.block()
    with dispatching(database_url) as process:
        until(lambda: len(lrc.asked) == 1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
    lrc.unblock()
    assert desk.state(downlink_id) == "sending"

    finish_with_another(desk, lambda: desk.state(downlink_id) == "accepted")

    assert len(lrc.frames) == 2
    assert lrc.frames[0] == lrc.frames[1]
    assert desk.steps(downlink_id) == ["queued", "sending", "unknown", "sending", "accepted"]


def test_one_that_is_asked_to_stop_ends_within_seconds_and_says_what_it_does_not_know(desk, device, lrc, database_url):
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui)
    lrc.block()
    with dispatching(database_url) as process:
        until(lambda: len(lrc.asked) == 1)
        began = time.monotonic()
        process.terminate()

        assert process.wait(20) == 0
        assert time.monotonic() - began < 15
    assert (desk.state(downlink_id), desk.row(downlink_id).cause) == ("unknown", "stopped")


def test_two_that_are_killed_again_and_again_send_each_downlink_once_under_one_counter(desk, device, lrc, database_url):
    random = Random(20_261_121)  # noqa: S311 - repeatable on purpose
    lrc.delay_s = 0.02
    ids = [desk.put_in(1, dev_eui=device.dev_eui, payload=bytes([number] * 8)) for number in range(20)]
    ids += [desk.put_in(1, dev_eui=f"20635F00000002{number:02X}", payload=b"clear") for number in range(40)]
    for number in range(KILLS):
        # Each run's clock is past the leases of the one before.
        ahead_s = number * 2 * LEASE.total_seconds()
        asked = len(lrc.asked)
        with dispatching(database_url, ahead_s) as first, dispatching(database_url, ahead_s) as second:
            until(lambda asked=asked: len(lrc.asked) > asked or _is_over(desk))
            for process in (first, second):
                try:
                    process.wait(random.uniform(0.0, 0.4))
                except subprocess.TimeoutExpired:
                    os.kill(process.pid, signal.SIGKILL)

    desk.now = datetime.now(UTC) + 2 * LEASE * (KILLS + 1)
    desk.dispatcher()

    def is_done():
        desk.wait(seconds=30)
        return _is_over(desk)

    desk.work(is_done)

    by_id = {}
    for frame in lrc.frames:
        assert by_id.setdefault(frame["CorrelationID"], frame) == frame, "sent again with other bytes"
    assert len(by_id) == len(ids)
    under_counter = Counter(frame["FCntDn"] for frame in by_id.values() if "FCntDn" in frame)
    assert max(under_counter.values()) == 1
    with read(desk.engine) as connection:
        used = connection.execute(select(downlink_counter_uses.c.f_cnt_down)).scalars().all()
    assert sorted(used) == sorted(int(counter) for counter in under_counter)
    assert [_opened(frame, device) for frame in _in_order(lrc, device)] == [bytes([n] * 8) for n in range(20)]


def _is_over(desk):
    return set(desk.states()) == {"accepted"}


def _in_order(lrc, device):
    """Give the frames that the device was sent, each once, in the order of the first time."""
    frames = {frame["CorrelationID"]: frame for frame in lrc.frames[::-1] if frame["DevEUI"] == device.dev_eui}
    return sorted(
        frames.values(), key=lambda frame: [each["CorrelationID"] for each in lrc.frames].index(frame["CorrelationID"])
    )


def _opened(frame, device):
    payload = bytes.fromhex(frame["Payload"])
    return decrypt_frm_payload(device.app_s_key, device.dev_addr, int(frame["FCntDn"]), payload, Direction.DOWN)
