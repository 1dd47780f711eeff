"""A bulk run of hundreds of devices with errors, lost answers, and its process killed: each device exactly once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from receiver.simulator.management_http import LOST, answered
from tests.integration.bulk_use import NETWORKS, add_network_account, dev_eui, environment, running, write_csv

CHECKOUT = Path(__file__).parents[2]
DEVICES = 300
REFUSED = (41, 141, 241)  # one in a hundred exists elsewhere
LOST_ANSWERS = (73, 173, 273)  # and of one in a hundred the answer is lost


class Unruly:
    """A network with these errors, which says when half of the devices are there."""

    def __init__(self, network):
        self.network = network
        self.is_half_done = threading.Event()
        self._refused = {dev_eui(number) for number in REFUSED}
        self._lost = {dev_eui(number) for number in LOST_ANSWERS}

    def answer(self, request):
        if request.method == "POST" and request.path.endswith("/devices"):
            eui = json.loads(request.body)["EUI"]
            if eui in self._refused:
                return answered(409, {"code": 111, "message": self.network.of.exists}).reply
            reply = self.network.answer(request)
            if len(self.network.made) >= DEVICES // 2:
                self.is_half_done.set()
            if eui in self._lost:
                self._lost.discard(eui)
                return reply._replace(is_lost=LOST.is_done)
            return reply
        return self.network.answer(request)


@pytest.fixture(params=NETWORKS)
def network(request):
    with running(request.param) as found:
        yield found


def start(settings, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "receiver", "bulk", *(str(one) for one in arguments), "--at-once", "8", "--json"],
        cwd=CHECKOUT,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_hundreds_of_devices_are_each_made_once_though_the_process_is_killed(engine, database_url, network, tmp_path):
    unruly = Unruly(network)
    network.server.answer = unruly.answer
    settings = environment(database_url, tmp_path)
    add_network_account(engine, network)
    file = write_csv(tmp_path / "devices.csv", [network.row(number) for number in range(DEVICES)])
    result = tmp_path / "result.ndjson"

    first = start(settings, "run", file)
    assert unruly.is_half_done.wait(60)
    first.kill()
    first.communicate(timeout=60)
    second = start(settings, "resume", "1", file, "--result", result)
    out, err = second.communicate(timeout=100)

    assert second.returncode == 1, err
    assert json.loads(out)["outcomes"] == {"created": DEVICES - len(REFUSED), "failed": len(REFUSED)}
    wanted = sorted({dev_eui(number) for number in range(DEVICES)} - {dev_eui(number) for number in REFUSED})
    assert sorted(network.made) == sorted(network.of.devices) == wanted
    assert network.needless == []
    rows = [json.loads(line) for line in result.read_text().splitlines()]
    assert [row["line"] for row in rows] == list(range(2, DEVICES + 2))
    assert sorted(row["dev_eui"] for row in rows if row["outcome"] == "failed") == [dev_eui(one) for one in REFUSED]
    assert all(row["ref"] for row in rows if row["outcome"] == "created")
