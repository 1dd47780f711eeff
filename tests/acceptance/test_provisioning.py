"""From nothing to a device that is heard and spoken to, with no hand on it: `connect`, a device, a join, both ways.

The networks are emulated: their management APIs, the pushes of what was made there, and their downlink interface.
"""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from receiver.keyring import Keyring, load_kek
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.lorawan.keys import AesKey
from receiver.platforms.kpn_lora_calls import KpnDeviceWish
from receiver.platforms.thingpark_wishes import LorawanDeviceWish
from receiver.services.platform_accounts import add_account, open_account
from receiver.services.platform_clients import open_kpn_lora, open_thingpark, platform_http
from receiver.simulator.loopback_server import LoopbackServer
from receiver.simulator.lrc import V1_PATH, V2_PATH, SimulatedLrc
from receiver.simulator.management_http import MAX_MANAGEMENT_BODY_BYTES
from receiver.simulator.management_kpn_lora import BASE_PATH, SimulatedKpnLora
from receiver.simulator.management_kpn_lora_gateway import TOKEN_PATH
from receiver.simulator.management_thingpark import SimulatedThingPark
from receiver.storage.downlink_tables import downlinks
from receiver.storage.engine import read
from receiver.storage.tables import uplinks
from tests.acceptance.running_receiver import utc_now, wait_until

DEV_EUI = "0059AC0000170311"
APP_KEY = "00112233445566778899aabbccddeeff"
UPLINK, DOWNLINK = b"23.5 C", b"\x01\x02\x03"
PUBLIC_URL = "https://lora.example.com"
"""What the network is told; the emulated one is given the real address by the test, as it takes https alone."""


class KpnLora:
    """KPN LoRa: payloads are encrypted end to end."""

    surface = "kpn-lora"
    is_encrypted = True
    downlink_path = V1_PATH

    def __init__(self):
        self.simulated = SimulatedKpnLora(clock=utc_now)

    def settings(self, origin):
        return {"client_id": "client", "api_url": origin + BASE_PATH, "token_url": origin + TOKEN_PATH}

    async def create_device(self, http, account, remote_id):
        wish = KpnDeviceWish(
            dev_eui=parse_dev_eui(DEV_EUI),
            join_eui=parse_dev_eui("0000000000000001"),
            app_key=AesKey(bytes.fromhex(APP_KEY)),
            name="a device",
            device_profile_id="CUSTOM/Static V 1.0 Class A",
            connectivity_plan_id="kpn-ope-cs/often",
            routing_profile_id=remote_id,
            hsm_group_id="HSM_KPN-OPE.1",
        )
        await open_kpn_lora(http, account).create_device(wish)

    def network(self, remote_id):
        (ref,) = [profile.ref for profile in self.simulated.profiles.values() if profile.id == remote_id]
        return self.simulated.network_of(ref)


class ThingPark:
    """ThingPark Enterprise: payloads come in the clear."""

    surface = "thingpark"
    is_encrypted = False
    downlink_path = V2_PATH

    def __init__(self):
        self.simulated = SimulatedThingPark(utc_now, client_secret="secret")

    def settings(self, origin):
        return self.simulated.settings(origin)

    async def create_device(self, http, account, remote_id):
        wish = LorawanDeviceWish(
            dev_eui=DEV_EUI,
            model_id="LORA/GenericA.1.0.4a_ETSI",
            app_key=APP_KEY,
            name="a device",
            app_server_ids=(remote_id,),
        )
        await open_thingpark(http, account).create_lorawan_device(wish)

    def network(self, remote_id):
        return self.simulated.network_of(remote_id)


class Field:
    """A network with its two servers, and an installation that has an account of it."""

    def __init__(self, installation, there):
        self.installation, self.there = installation, there
        self.management = LoopbackServer(there.simulated.answer, max_body_bytes=MAX_MANAGEMENT_BODY_BYTES)
        self.downlinks = LoopbackServer()
        self.management.start()
        self.downlinks.start()

    def close(self):
        self.management.stop()
        self.downlinks.stop()

    def connect(self):
        """Run `connect`, and give the id of what it made at the network."""
        installation, surface = self.installation, self.there.surface
        keyring = Keyring(load_kek(installation.directory / "data" / "kek"))
        settings = self.there.settings(self.management.origin)
        settings["downlink_url"] = self.downlinks.origin + self.there.downlink_path
        add_account(
            installation.engine, keyring, utc_now(), name="there", surface=surface, settings=settings, secret="secret"
        )
        self.account = open_account(installation.engine, keyring, surface)
        told = installation.run(surface, "connect", "field", "--public-url", PUBLIC_URL)
        return next(word.rstrip(".") for word in told.split() if word.startswith("TWA_"))

    def create_device(self, remote_id):
        with platform_http() as http:
            asyncio.run(self.there.create_device(http, self.account, remote_id))


@pytest.fixture(params=[KpnLora, ThingPark], ids=["kpn-lora", "thingpark"])
def field(installation, request):
    field = Field(installation, request.param())
    yield field
    field.close()


def test_a_device_is_heard_and_spoken_to_after_one_command(field):
    installation = field.installation
    with installation.serve("--plain-http") as served:
        remote_id = field.connect()
        field.create_device(remote_id)
        network = field.there.network(remote_id)
        lrc = SimulatedLrc(network)
        field.downlinks.answer = lrc.answer
        (device,) = network.devices

        join, up = network.join(device), network.uplink(device, payload=UPLINK, f_port=2)
        assert served.push("field", [join, up], at_once=1) == [200, 200]
        assert (UPLINK in up.body) is False, "it goes over the wire as hex"
        assert (UPLINK.hex().encode() in up.body.lower()) is not field.there.is_encrypted
        wait_until(lambda: stored_payloads(installation.engine) == [UPLINK])

        sent = installation.run("downlink", "send", DEV_EUI, "--port", "10", "--hex", DOWNLINK.hex())
        assert sent
        wait_until(lambda: lrc.queued(device))
        again = network.uplink(device)
        assert served.push("field", [again, *lrc.after(again)], at_once=1) == [200, 200]
        assert [(heard.f_port, heard.payload) for heard in device.heard] == [(10, DOWNLINK)]
        wait_until(lambda: downlink_states(installation.engine) == ["sent"])


def stored_payloads(engine):
    with read(engine) as connection:
        return [bytes(payload or b"") for payload in connection.scalars(select(uplinks.c.frm_payload))]


def downlink_states(engine):
    with read(engine) as connection:
        return list(connection.scalars(select(downlinks.c.state)))
