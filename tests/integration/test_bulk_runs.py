"""Bulk runs that are interrupted, at each of their requests, and gone on with: each device exactly once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from receiver.errors import ConflictError, NoAnswerError
from receiver.services.bulk_columns import Action
from receiver.services.bulk_file import FileRules
from receiver.services.bulk_kpn_lora import KpnLoraDevices
from receiver.services.bulk_plan import make_plan
from receiver.services.bulk_runs import begin_run, get_run, open_run, read_rows, take_run
from receiver.services.bulk_work import BulkWork
from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.management_http import CUT, LOST, answered
from receiver.storage.device_run_tables import device_run_rows, device_runs
from receiver.storage.device_runs import NewRun
from receiver.storage.engine import read, write
from tests.integration.bulk_use import (
    NETWORKS,
    add_network_account,
    bulk,
    dev_eui,
    environment,
    running,
    utc_now,
    write_csv,
)

CHECKOUT = Path(__file__).parents[2]
DEVICES = 2
REQUESTS = 8
"""That a run of two devices makes: plans, profiles, routing profiles, each device, HSM groups, and a POST for each."""
POSTS = (7, 8)


@pytest.fixture(params=NETWORKS)
def network(request):
    with running(request.param) as found:
        yield found


@pytest.fixture
def kpn():
    with running("kpn-lora") as found:
        yield found


@pytest.fixture
def settings(database_url, tmp_path, monkeypatch):
    found = environment(database_url, tmp_path)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def file(engine, network, settings, tmp_path):
    return prepare(engine, network, tmp_path)


@pytest.fixture
def kpn_file(engine, kpn, settings, tmp_path):
    return prepare(engine, kpn, tmp_path)


def prepare(engine, network, directory):
    add_network_account(engine, network)
    return write_csv(directory / "devices.csv", [network.row(number) for number in range(DEVICES)])


def everything():
    return [dev_eui(number) for number in range(DEVICES)]


def go_on(file):
    """Begin a run if none was begun, and go on until it is done; give the outcomes."""
    runs = bulk("list", "--json").json
    if not runs:
        return bulk("run", file, "--at-once", "1", "--json").json["outcomes"]
    if runs[0]["state"] == "done":
        return runs[0]["outcomes"]
    return bulk("resume", runs[0]["id"], file, "--at-once", "1", "--json").json["outcomes"]


@pytest.mark.parametrize(
    ("at", "fault"),
    [*((at, LOST) for at in range(1, REQUESTS + 1)), *((at, CUT) for at in POSTS)],
    ids=[*(f"{at} done" for at in range(1, REQUESTS + 1)), *(f"{at} not done" for at in POSTS)],
)
def test_an_answer_that_is_lost_neither_doubles_nor_drops_a_device(kpn, kpn_file, at, fault):
    kpn.faults.order(fault, at=at)

    bulk("run", kpn_file, "--at-once", "1")
    outcomes = go_on(kpn_file)

    assert outcomes == {"created": DEVICES}
    assert sorted(kpn.made) == sorted(kpn.of.devices) == everything()
    assert kpn.needless == []


class Killer:
    """Kills the process that asks when its n-th request comes, login included, before or after doing it."""

    def __init__(self, network, at, *, is_done):
        self.network = network
        self.at = at
        self.is_done = is_done
        self.process = None
        self.count = 0

    def answer(self, request):
        self.count += 1
        if self.count != self.at or self.process is None:
            return self.network.answer(request)
        if self.is_done:
            self.network.answer(request)
        self.process.kill()
        return HttpReply(0, is_lost=True)

    def kill(self, settings, *arguments):
        """Run `receiver bulk …` in a process of its own, and give whether it was killed."""
        command = [sys.executable, "-m", "receiver", "bulk", *(str(one) for one in arguments)]
        self.process = subprocess.Popen(
            command, cwd=CHECKOUT, env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, err = self.process.communicate(timeout=60)
        code, self.process = self.process.returncode, None
        assert code in {0, -9}, err.decode()
        return code == -9


@pytest.mark.parametrize(  # with a login more, which comes first
    ("at", "is_done"), [*((at, True) for at in range(1, REQUESTS + 2)), *((at + 1, False) for at in POSTS)]
)
def test_a_run_that_is_killed_at_any_request_is_gone_on_with(kpn, kpn_file, settings, at, is_done):
    killer = Killer(kpn, at, is_done=is_done)
    kpn.server.answer = killer.answer

    was_killed = killer.kill(settings, "run", kpn_file, "--at-once", "1")
    outcomes = go_on(kpn_file)

    assert was_killed
    assert outcomes == {"created": DEVICES}
    assert sorted(kpn.made) == sorted(kpn.of.devices) == everything()
    assert kpn.needless == []


@pytest.mark.parametrize(
    ("action", "outcome", "left"),
    [("delete", "deleted", 0), ("move", "moved", DEVICES), ("update", "updated", DEVICES)],
)
def test_other_actions_that_are_killed_are_gone_on_with(network, file, settings, action, outcome, left, tmp_path):
    bulk("run", file)
    rows = [network.row(number, Name=f"New {number}") for number in range(DEVICES)]
    changed = write_csv(tmp_path / "changed.csv", rows)
    options = ("--to-remote", network.of.other_routing) if action == "move" else ()
    method = "DELETE" if action == "delete" else "PUT"
    killer = Killer(network, 0, is_done=True)

    def answer(request):
        killer.at = killer.count + 1 if request.method == method and network.count(method) == 1 else 0
        return killer.answer(request)

    network.server.answer = answer
    assert killer.kill(settings, "run", changed, "--action", action, "--at-once", "1", *options)
    network.server.answer = network.answer
    done = bulk("resume", "2", changed, "--json")

    assert (done.code, done.json["outcomes"]) == (0, {outcome: DEVICES})
    assert len(network.of.devices) == left
    assert network.count(method) <= DEVICES + 1  # a PUT that was in doubt may be sent again


def test_a_device_that_came_to_be_after_it_was_looked_for_is_the_runs_own(engine, network, file):
    """The request of a killed process may be done by the network after the next process has looked."""
    bulk("run", file)
    with write(engine) as tx:
        tx.execute(update(device_runs).values(state="stopped"))
        tx.execute(update(device_run_rows).where(device_run_rows.c.line == 2).values(outcome="sending"))
    status, body, path = network.of.hidden
    network.faults.order(answered(status, body), method="GET", path=path)

    done = bulk("resume", "1", file, "--json")

    assert (done.code, done.json["outcomes"]) == (0, {"created": DEVICES})
    assert network.needless == [dev_eui(0)]


class Away(KpnLoraDevices):
    """A network that gives no answer to what would change it."""

    def __init__(self):
        super().__init__(None)

    async def create(self, row):
        raise NoAnswerError(f"It is away: {row.app_key.reveal().hex()}.", was_sent=True)


def test_a_network_that_goes_away_stops_the_run_and_leaves_it_in_doubt(engine, kpn, kpn_file, now):
    rows = read_rows(kpn_file.read_bytes(), FileRules("kpn-lora", Action.CREATE))
    plan = make_plan(rows, {}, Action.CREATE, "kpn-lora")
    lease = begin_run(engine, NewRun("test", "kpn-lora", "create", {}, "devices.csv", "0" * 64), rows, now)

    done = asyncio.run(BulkWork(engine, Away(), lease, utc_now, at_once=1).do(plan, Action.CREATE))

    run = get_run(engine, lease.run_id)
    assert (done.stop_reason, run.stop_reason) == ("It is away: ….", "It is away: ….")
    assert (run.state, run.outcomes) == ("stopped", {"sending": 1, "planned": 1})


def test_a_run_that_someone_works_on_is_left_alone(engine, kpn, kpn_file, now):
    kpn.refuse("No more licenses", method="POST", path="/devices")
    bulk("run", kpn_file)
    with write(engine) as tx:
        # Process 1 runs on any machine.
        values = {"owner": f"{os.uname().nodename}:1:00000000", "state": "running", "beat_at": now}
        tx.execute(update(device_runs).values(values))
    left = open_run(engine, 1, kpn_file.read_bytes())

    with pytest.raises(ConflictError, match=r"Process 1 on .* works on run 1"):
        take_run(engine, left.run, now)


@pytest.mark.parametrize("owner", ["elsewhere:4:00000000", f"{os.uname().nodename}:1:00000000"])
def test_a_run_whose_process_gave_no_sign_for_long_is_taken_over(engine, kpn, kpn_file, now, owner):
    kpn.refuse("No more licenses", method="POST", path="/devices")
    bulk("run", kpn_file)
    with write(engine) as tx:
        tx.execute(update(device_runs).values(owner=owner, state="running", beat_at=now))
    left = open_run(engine, 1, kpn_file.read_bytes())

    lease = take_run(engine, left.run, now + timedelta(seconds=61))

    with read(engine) as tx:
        assert tx.scalar(select(device_runs.c.owner)) == lease.owner
    with pytest.raises(ConflictError, match="just taken over"):
        take_run(engine, left.run, now + timedelta(seconds=61))


def test_a_run_that_was_taken_over_ends_without_another_request(engine, kpn, kpn_file):
    def answer(request):
        if request.method == "POST" and request.path.endswith("/devices"):
            with write(engine) as tx:
                tx.execute(update(device_runs).values(owner="elsewhere:4:00000000"))
        return kpn.answer(request)

    kpn.server.answer = answer
    done = bulk("run", kpn_file, "--at-once", "1")

    assert done.code == 1
    assert "Another process has taken over run 1; this one ends." in done.err


def test_a_run_that_is_asked_to_stop_ends_what_is_under_way_and_gives_the_rest_back(engine, kpn, settings, tmp_path):
    devices = 40  # enough that some are left, however late the process looks at the signal
    add_network_account(engine, kpn)
    kpn_file = write_csv(tmp_path / "devices.csv", [kpn.row(number) for number in range(devices)])
    killer = Killer(kpn, 0, is_done=True)

    def answer(request):
        if request.method == "POST" and request.path.endswith("/devices") and killer.process is not None:
            killer.process.send_signal(signal.SIGINT)
            kpn.server.answer = kpn.answer
        return kpn.answer(request)

    kpn.server.answer = answer
    command = [sys.executable, "-m", "receiver", "bulk", "run", str(kpn_file), "--at-once", "1"]
    killer.process = subprocess.Popen(
        command, cwd=CHECKOUT, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, err = killer.process.communicate(timeout=60)

    run = bulk("show", "1", "--json").json
    assert killer.process.returncode == 1
    assert b"Run 1 was stopped. It was interrupted." in err
    assert run["outcomes"].get("sending") is None
    assert run["state"] == "stopped"
    assert go_on(kpn_file) == {"created": devices}
    assert sorted(kpn.made) == [dev_eui(number) for number in range(devices)]
