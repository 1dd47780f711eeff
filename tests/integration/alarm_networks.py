"""Two networks that raise alarms and count frames, over real HTTP, behind one set of words."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

from receiver.lorawan.identifiers import DevEui
from receiver.lorawan.keys import AesKey
from receiver.platforms.kpn_lora_calls import KpnDeviceWish
from receiver.services.platform_accounts import add_account, open_account
from receiver.services.platform_clients import open_kpn_lora, platform_http
from receiver.simulator.loopback_server import LoopbackServer
from receiver.simulator.management_http import MAX_MANAGEMENT_BODY_BYTES, answered
from receiver.simulator.management_kpn_lora import BASE_PATH, DEVICE_PROFILES, HSM_GROUPS, SimulatedKpnLora
from receiver.simulator.management_kpn_lora_alarms import SimulatedFrame as KpnFrame
from receiver.simulator.management_kpn_lora_gateway import TOKEN_PATH
from receiver.simulator.management_thingpark import CLIENT_SECRET, SimulatedThingPark
from receiver.simulator.management_thingpark_book import ManagedDevice
from receiver.simulator.management_thingpark_book import SimulatedFrame as ThingParkFrame
from tests.integration.alarm_use import DEVICE, OTHER_DEVICE, STATES

JOIN_EUI = DevEui("20635F00000000AA")


class Served:
    """What both networks have: a server, and an account for it."""

    def __init__(self, clock, answer):
        self.clock = clock
        self.server = LoopbackServer(max_body_bytes=MAX_MANAGEMENT_BODY_BYTES)
        self.server.start(answer)

    def add_account(self, engine, keyring, name=None, secret=None):
        return add_account(
            engine,
            keyring,
            self.clock(),
            name=name or self.name,
            surface=self.surface,
            settings=self.settings(),
            secret=secret or self.secret,
        )

    def asked_for(self, end):
        """Give the requests whose path ends so."""
        return [one for one in self.emulator.asked if one.path.endswith(end)]


class Kpn(Served):
    """KPN LoRa."""

    surface = name = "kpn-lora"
    alarms_path = "/deviceAlarms"
    traffic_path = "/deviceFrameStatistics"
    ack_path = "/acks"
    secret = "secret"
    requests_of_a_poll = ("alarms", "health")

    def __init__(self, clock, engine, keyring):
        self.emulator = SimulatedKpnLora(clock=clock)
        super().__init__(clock, self.emulator.answer)
        self._engine, self._keyring = engine, keyring

    @property
    def logins(self):
        return self.emulator.logins

    def settings(self):
        origin = self.server.origin
        return {"client_id": "client", "api_url": origin + BASE_PATH, "token_url": origin + TOKEN_PATH}

    def add_device(self, dev_eui):
        account = open_account(self._engine, self._keyring, self.surface, self.name)
        wish = KpnDeviceWish(
            dev_eui=DevEui(dev_eui),
            join_eui=JOIN_EUI,
            app_key=AesKey(bytes(range(16))),
            name=f"device {dev_eui[-2:]}",
            device_profile_id=next(iter(DEVICE_PROFILES)),
            connectivity_plan_id=self.emulator.plans[0].id,
            processing_strategy_id="DATAFLOW",
            hsm_group_id=HSM_GROUPS[0],
        )

        async def create(http):
            await open_kpn_lora(http, account).create_device(wish)

        with platform_http() as http:
            asyncio.run(create(http))
        self.emulator.asked.clear()

    def state_name(self, state):
        return {"INDETERMINATE": "UNCLEARED"}.get(state, state)

    def pages_of(self, _number):
        return 1

    def fail_at_end_of_list(self):
        self.emulator.faults.order(answered(400, {"code": 400, "message": "odd"}), path=self.alarms_path)

    def raise_alarm(self, dev_eui, type_id, state="WARNING", info=()):
        return self.emulator.add_alarm(dev_eui, type_id, state, info).ref

    def change_alarm(self, alarm, *, state=None, occurrence=None, unacked=False):
        found = self.emulator.alarms[alarm]
        found.state = state or found.state
        found.occurrence = occurrence or found.occurrence
        found.updated_at = self.clock()
        if unacked:
            found.acked_at = found.acked_by = None

    def acknowledge(self, alarm):
        found = self.emulator.alarms[alarm]
        found.acked_at, found.acked_by = self.clock(), "somebody"

    def is_acked(self, alarm):
        return self.emulator.alarms[alarm].acked_at is not None

    def forget_alarm(self, alarm):
        del self.emulator.alarms[alarm]

    def count_frame(self, dev_eui, at, *, up=True, size=10, good=True):
        self.emulator.add_frame(KpnFrame(DevEui(dev_eui), at, up, size, is_good=good))


class ThingPark(Served):
    """ThingPark."""

    surface = name = "thingpark"
    secret = CLIENT_SECRET
    alarms_path = "/devices/alarms"
    traffic_path = "/frames/aggregated"
    ack_path = "/alarms/ack"
    requests_of_a_poll = ("alarms",)

    def __init__(self, clock, _engine, _keyring):
        self.emulator = SimulatedThingPark(clock)
        super().__init__(clock, self.emulator.answer)

    @property
    def logins(self):
        return self.emulator.logins

    @property
    def _book(self):
        return self.emulator.resources.book

    def settings(self):
        return self.emulator.settings(self.server.origin)

    def add_device(self, dev_eui):
        book = self._book
        members = {"name": f"device {dev_eui[-2:]}"}
        book.devices[dev_eui] = ManagedDevice(book.next_uid(), dev_eui, members, book.new_occ(), book.clock())

    def state_name(self, state):
        return state

    def pages_of(self, number):
        return -(-number // 100)

    def fail_at_end_of_list(self):
        faults = self.emulator.faults
        faults.order(answered(400, {"code": 25, "message": "odd"}), at=faults.count + 3)

    def raise_alarm(self, dev_eui, type_id, state="WARNING", info=()):
        return self.emulator.resources.raise_alarm(dev_eui, type_id, STATES.index(state) + 1, tuple(info))

    def change_alarm(self, alarm, *, state=None, occurrence=None, unacked=False):
        found = self._book.alarms[alarm]
        found.state = STATES.index(state) + 1 if state else found.state
        found.occurrence = occurrence or found.occurrence
        found.updated_at = self.clock()
        if unacked:
            found.acked_at = found.acked_by = None

    def acknowledge(self, alarm):
        found = self._book.alarms[alarm]
        found.acked_at, found.acked_by = self.clock(), "somebody"

    def is_acked(self, alarm):
        return self._book.alarms[alarm].acked_at is not None

    def forget_alarm(self, alarm):
        del self._book.alarms[alarm]

    def count_frame(self, dev_eui, at, *, up=True, size=10, good=True):
        frame = ThingParkFrame(at, 0 if up else 1, size, is_late=not good, is_sent=good)
        self.emulator.resources.add_frame(dev_eui, frame)


NETWORKS = {network.name: network for network in (Kpn, ThingPark)}


@contextmanager
def network_with_devices(name, clock, engine, keyring):
    """Give one of them with two devices, and an account for it here; it ends with the block."""
    network = NETWORKS[name](clock, engine, keyring)
    try:
        network.add_account(engine, keyring)
        network.add_device(DEVICE)
        network.add_device(OTHER_DEVICE)
        yield network
    finally:
        network.server.stop()
