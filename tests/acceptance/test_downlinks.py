"""A thousand downlinks to a hundred devices, over networks that lose answers, refuse, go away and come back.

Each device gets its bytes once and in order, no frame counter covers two payloads, and the ledger says what was so.
"""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
import time
from collections import Counter, defaultdict
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from receiver.keyring import Keyring, load_kek
from receiver.lorawan.keys import AesKey
from receiver.services.as_transport_keys import import_clear
from receiver.services.connections import add_connection
from receiver.services.downlink_checks import DownlinkWish
from receiver.services.downlink_encoding import ObjectEncoder
from receiver.services.downlinks import enqueue
from receiver.simulator.loopback_server import LoopbackServer
from receiver.simulator.lrc import V1_PATH, V2_PATH, SimulatedLrc
from receiver.simulator.lrc_faults import LrcFault, LrcFaults
from receiver.simulator.lrc_request import LrcRequest
from receiver.simulator.network import SimulatedNetwork
from receiver.simulator.push_client import PushClient
from receiver.storage.downlink_tables import downlink_events, downlinks
from receiver.storage.engine import read
from receiver.storage.tables import uplinks
from tests.acceptance.running_receiver import KEY, ROOT, utc_now, wait_until

NETWORKS = 4
DEVICES_EACH = 25
DOWNLINKS_EACH = 10
CONFIRMED_EVERY = 10
FAULTS = LrcFaults(lost=0.02, cut=0.004, busy=0.004, bucket=0.02, slow=0.02, slow_s=0.2)
AWAY_AT = (0.2, 0.6)
"""Shares of the downlinks that are through when all networks go away for a moment."""

AWAY_S = 0.3
WAIT = timedelta(seconds=6)
"""Until the first goes: most of them are in by then, and the others come in while those go."""

SPEAKS_EVERY_S = 1.5
"""A class A device that is waited for."""

AT_ONCE = 4
"""Devices of one network that speak at the same time."""

WITHIN_S = 100.0
DONE = {"sent", "acknowledged"}


class Network:
    """One simulated network: a connection of the receiver, 25 devices, and its own downlink interface."""

    def __init__(self, number):
        self.name = f"field-{number}"
        self.key = secrets.token_bytes(16)
        self.network = SimulatedNetwork(
            key=KEY, as_id=self.name, clock=utc_now, seed=number, as_transport_key=AesKey(self.key)
        )
        self.lrc = SimulatedLrc(self.network, faults=FAULTS, seed=number)
        self.server = LoopbackServer(self.lrc.answer)
        self.server.start()
        self.url = self.server.origin + (V2_PATH if number % 2 else V1_PATH)
        self.devices = [
            self.network.add_device(
                payloads="clear" if position % 2 else "encrypted", device_class="C" if position % 4 == 3 else "A"
            )
            for position in range(DEVICES_EACH)
        ]

        self.speaks_at = {
            device.dev_eui: time.monotonic() + SPEAKS_EVERY_S * position / DEVICES_EACH
            for position, device in enumerate(self.devices)
        }

    def uplink(self, device):
        """Let a device speak now, so that what it acknowledges is older."""
        self.speaks_at[device.dev_eui] = time.monotonic() + SPEAKS_EVERY_S
        return self.network.uplink(device, received_at=utc_now())

    def speakers(self):
        """Give the devices that something waits for, and whose turn it is.

        A class A device whose last answer was lost keeps still until it is asked again: else the report of what it
        heard could be first, and no request would ever be repeated.
        """
        lost = {asked.dev_eui: asked.fault is LrcFault.LOST for asked in list(self.lrc.asked)}
        still = {device.dev_eui for device in self.devices if device.device_class == "A" and lost.get(device.dev_eui)}
        due = [one for one in self.devices if self.speaks_at[one.dev_eui] <= time.monotonic()]
        due = [device for device in due if device.dev_eui not in still]
        return [device for device in due if self.lrc.queued(device) or device.acknowledges_after]


class Fleet:
    """The networks, the receiver that they push to, and two workers of it."""

    def __init__(self, installation):
        self.installation = installation
        self.engine = installation.engine
        self.networks = [Network(number) for number in range(NETWORKS)]
        self.wished = defaultdict(list)
        self.workers = []

    def connect(self):
        keyring = Keyring(load_kek(self.installation.directory / "data" / "kek"))
        for one in self.networks:
            add_connection(
                self.engine,
                keyring,
                utc_now(),
                name=one.name,
                platform="thingpark",
                tunnel_key=KEY,
                downlink_url=one.url,
            )
            import_clear(self.engine, keyring, utc_now(), one.name, one.key.hex())

    def put_in(self, one, not_before):
        """Put ten downlinks in for each device of a network, in turn, each with bytes of its own."""
        with ObjectEncoder() as encoder:
            for number in range(DOWNLINKS_EACH):
                for device in one.devices:
                    payload = f"{device.dev_eui[-4:]}-{number}".encode()
                    confirmed = number == CONFIRMED_EVERY - 1
                    wish = DownlinkWish(
                        dev_eui=device.dev_eui, f_port=10, payload=payload, confirmed=confirmed, not_before=not_before
                    )
                    put = enqueue(self.engine, encoder, utc_now(), secrets.randbits(64), wish, creator="command")
                    self.wished[device.dev_eui].append((put.downlink.id, payload))

    def start_worker(self):
        log = (self.installation.directory / f"worker-{len(self.workers)}.log").open("w")
        command = [sys.executable, "-m", "tests.acceptance.downlink_worker"]
        environment = self.installation.environment | {"PYTHONPATH": str(ROOT)}
        with log:
            self.workers.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
        return self.workers[-1]

    def stop(self):
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            try:
                worker.wait(15)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        for one in self.networks:
            one.server.stop()

    def logs(self):
        return "".join(path.read_text() for path in self.installation.directory.glob("worker-*.log"))

    def states(self):
        with read(self.engine) as connection:
            counts = select(downlinks.c.state, downlinks.c.confirmed, func.count())
            rows = connection.execute(counts.group_by(downlinks.c.state, downlinks.c.confirmed)).all()
        return Counter({(state, confirmed): count for state, confirmed, count in rows})

    def through(self):
        """Say how many are where they should come to: sent, and acknowledged if they want that."""
        states = self.states()
        return states["sent", False] + states["acknowledged", True]

    @staticmethod
    async def push_all(client, pushes):
        await asyncio.gather(*(client.deliver(push) for push in pushes))

    async def begin(self, clients):
        """Let every device join and speak once."""
        for one, client in zip(self.networks, clients, strict=True):
            await self.push_all(client, [one.network.join(device) for device in one.devices])
            await self.push_all(client, [one.uplink(device) for device in one.devices])

    async def live(self, clients):
        """Let devices speak while something waits for them, until all downlinks are through."""
        total = NETWORKS * DEVICES_EACH * DOWNLINKS_EACH
        away_at = [share * total for share in AWAY_AT]
        deadline = time.monotonic() + WITHIN_S
        while (through := await asyncio.to_thread(self.through)) < total:
            assert time.monotonic() < deadline, f"{self.states()} {self.logs()}"
            if away_at and through >= away_at[0]:
                away_at.pop(0)
                await asyncio.gather(*(asyncio.to_thread(one.server.restart, AWAY_S) for one in self.networks))
                await asyncio.to_thread(self.replace_worker)
            await asyncio.gather(*(self.round(*pair) for pair in zip(self.networks, clients, strict=True)))
            await asyncio.sleep(0.1)

    async def round(self, one, client):
        await self.push_all(client, one.lrc.collect())
        room = asyncio.Semaphore(AT_ONCE)

        async def speak(device):
            async with room:
                push = one.uplink(device)
                await client.deliver(push)
                await self.push_all(client, one.lrc.after(push))

        await asyncio.gather(*(speak(device) for device in one.speakers()))

    def replace_worker(self):
        """Stop one worker, as a deployment does, and start another."""
        worker = self.workers[-1]
        worker.terminate()
        worker.wait(15)
        self.start_worker()


@pytest.fixture
def fleet(installation):
    fleet = Fleet(installation)
    yield fleet
    fleet.stop()


async def drive(fleet, origin):
    clients = [PushClient([f"{origin}/push/{one.name}"]) for one in fleet.networks]
    try:
        for client in clients:
            await client.__aenter__()
        await fleet.begin(clients)
        await asyncio.to_thread(wait_until, lambda: count_uplinks(fleet.engine) == NETWORKS * DEVICES_EACH)
        not_before = utc_now() + WAIT
        putting = (asyncio.to_thread(fleet.put_in, one, not_before) for one in fleet.networks)
        await asyncio.gather(*putting, fleet.live(clients))
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)


def count_uplinks(engine):
    with read(engine) as connection:
        return connection.scalar(select(func.count()).select_from(uplinks))


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_each_device_gets_each_downlink_once_and_in_order_though_networks_fail(fleet):
    with fleet.installation.serve("--plain-http", "--without-worker") as served:
        fleet.connect()
        fleet.start_worker()
        fleet.start_worker()
        asyncio.run(drive(fleet, served.origin))
    assert_faults_happened(fleet)
    assert_devices_have_all(fleet)
    assert_no_counter_covers_two_payloads(fleet)
    assert_ledger_tells_the_truth(fleet)
    assert "Traceback" not in fleet.logs()


def assert_faults_happened(fleet):
    happened = sum((one.lrc.faults.happened for one in fleet.networks), Counter())
    for fault in (LrcFault.LOST, LrcFault.CUT, LrcFault.BUSY, LrcFault.BUCKET):
        assert happened[fault], happened
    asked = [asked for one in fleet.networks for asked in one.lrc.asked]
    assert any(one.is_repeat for one in asked), "no request was repeated that the network knew by its CorrelationID"
    refused = [one.outcome.code for one in asked if not isinstance(one.outcome, LrcRequest)]
    assert 101 in refused, "no request was repeated that the network knew by its frame counter"


def assert_devices_have_all(fleet):
    for device in (device for one in fleet.networks for device in one.devices):
        heard = [downlink.payload for downlink in device.heard]
        assert heard == [payload for _, payload in fleet.wished[device.dev_eui]], device.dev_eui


def assert_no_counter_covers_two_payloads(fleet):
    for one in fleet.networks:
        covered = defaultdict(set)
        for asked in one.lrc.asked:
            if isinstance(asked.outcome, LrcRequest) and asked.outcome.f_cnt_down is not None:
                covered[asked.dev_eui, asked.outcome.f_cnt_down].add(asked.outcome.payload)
        assert covered
        assert all(len(payloads) == 1 for payloads in covered.values())


def assert_ledger_tells_the_truth(fleet):
    with read(fleet.engine) as connection:
        rows = {row.id: row for row in connection.execute(select(downlinks))}
        events = connection.execute(select(downlink_events).order_by(downlink_events.c.id)).all()
    steps = defaultdict(list)
    for event in events:
        steps[event.downlink_id].append(event.state)
    for device in (device for one in fleet.networks for device in one.devices):
        for (downlink_id, _), heard in zip(fleet.wished[device.dev_eui], device.heard, strict=True):
            row = rows[downlink_id]
            assert row.f_cnt_down == heard.f_cnt_down
            assert row.state == ("acknowledged" if heard.confirmed else "sent")
            assert row.sent_at is not None
            assert steps[downlink_id][0] == "queued"
            assert steps[downlink_id][-1] == row.state
            assert "sending" in steps[downlink_id]  # its report may be read before its answer is
    requests = [event.request for event in events if event.request is not None]
    assert requests
    assert all(request.endswith("&Token=…") for request in requests)
