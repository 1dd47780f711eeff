"""What tests of provisioning share: an emulated network behind real HTTP, an account of it, and ways to stop a run.

A run that is stopped is cancelled where it waits for the network, or at the end of a transaction: as SIGKILL there, it
leaves what was committed and nothing else.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

from sqlalchemy import event

from receiver.http_client import HttpClient
from receiver.platforms.caller import PLATFORM_BOUNDS, PlatformCaller
from receiver.platforms.kpn_lora import KpnLoraClient
from receiver.platforms.oauth import BearerTokens, OauthAccount, TokenForm
from receiver.platforms.thingpark import ThingParkClient
from receiver.platforms.thingpark_wishes import LorawanDeviceWish
from receiver.services.as_transport_keys import load_as_transport_keys
from receiver.services.connections import list_connections
from receiver.services.platform_accounts import add_account, open_account
from receiver.services.provisioning import ConnectOptions, connect
from receiver.services.provisioning_kpn_lora import KpnLoraNetwork
from receiver.services.provisioning_local import Local
from receiver.services.provisioning_rotation import plan_renewal, renew_as_transport_key, rotate_tunnel_key
from receiver.services.provisioning_thingpark import ThingParkNetwork
from receiver.simulator.loopback_server import HttpReply, LoopbackServer
from receiver.simulator.management_http import MAX_MANAGEMENT_BODY_BYTES
from receiver.simulator.management_kpn_lora import BASE_PATH, SimulatedKpnLora
from receiver.simulator.management_kpn_lora_gateway import TOKEN_PATH
from receiver.simulator.management_thingpark import TOKEN_PATH as THINGPARK_TOKEN_PATH
from receiver.simulator.management_thingpark import SimulatedThingPark
from receiver.storage.connections import list_tunnel_keys
from receiver.storage.engine import read, write
from receiver.storage.tables import tunnel_key_uses

PUBLIC_URL = "https://lora.example.com"
PUSH_URL = f"{PUBLIC_URL}/push/field"
BEFORE, LOST = "before it is done", "after it is done"


class Killed(BaseException):
    """Stands for SIGKILL within a transaction: nothing that catches errors catches this."""


class Door:
    """Stands before an emulator and may stop the run at a request; tokens are not counted."""

    def __init__(self, answer, is_counted):
        self._answer = answer
        self._is_counted = is_counted
        self._stop = None
        self.count = 0
        self.has_stopped = False
        self.meanwhile = None

    def stop_at(self, number, when, stop):
        """Call `stop` at the request of that number from now on, before or after it is done; its answer is lost."""
        self.count, self.has_stopped = 0, False
        self._stop = (number, when, stop)

    def answer(self, request):
        if not self._is_counted(request):
            return self._answer(request)
        self.count += 1
        if self.meanwhile is not None and self.count == self.meanwhile[0]:
            (_, use), self.meanwhile = self.meanwhile, None
            use()
        if self._stop is None or self.count != self._stop[0]:
            return self._answer(request)
        _, when, stop = self._stop
        self._stop, self.has_stopped = None, True
        if when == LOST:
            self._answer(request)
        stop()
        return HttpReply(0, is_lost=True)


class Bench:
    """An emulated network, an account of it, and the receiver's side of one connection named `field`."""

    surface = ""

    def __init__(self, engine, keyring, now, simulated, is_counted):
        self.engine, self.keyring, self.now = engine, keyring, now
        self.simulated = simulated
        self.door = Door(simulated.answer, is_counted)
        self.server = LoopbackServer(self.door.answer, max_body_bytes=MAX_MANAGEMENT_BODY_BYTES)
        self.server.start()
        self.http = HttpClient(bounds=PLATFORM_BOUNDS)
        self.slept = []
        add_account(engine, keyring, now, name="there", surface=self.surface, settings=self.settings(), secret="secret")
        self.account = open_account(engine, keyring, self.surface)
        self.local = self.local_of("field")

    def close(self):
        self.http.close()
        self.server.stop()

    def local_of(self, name):
        return Local(self.engine, self.keyring, lambda: self.now, name)

    async def no_sleep(self, seconds):
        self.slept.append(seconds)

    # --- runs

    def run(self, use):
        """Give what `await use(network)` gives, on an event loop of its own."""
        return asyncio.run(self._run(use))

    async def _run(self, use):
        return await use(self.network())

    def connect(self, name="field", **options):
        return self.run(self.connecting(name, **options))

    def connecting(self, name="field", **options):
        told = ConnectOptions(options.pop("public_url", PUBLIC_URL), **options)
        return lambda network: connect(network, self.local_of(name), self.account, told)

    def rotate(self, **options):
        return self.run(self.rotating(**options))

    def rotating(self, **options):
        return lambda network: rotate_tunnel_key(network, self.local, sleep=self.no_sleep, **options)

    def renewing(self):
        async def renew(network):
            return await renew_as_transport_key(network, self.local, await plan_renewal(network, self.local))

        return renew

    def stop_at_request(self, number, when, use):
        """Run until the request of that number, and no further; say whether there was one."""

        async def main():
            loop, task = asyncio.get_running_loop(), asyncio.ensure_future(self._run(use))
            self.door.stop_at(number, when, lambda: loop.call_soon_threadsafe(task.cancel))
            try:
                await task
            except asyncio.CancelledError:
                assert self.door.has_stopped
            return self.door.has_stopped

        return asyncio.run(main())

    def during_request(self, number, use):
        """Call `use` while the network has the request of that number from now on, before it does it."""
        self.door.count, self.door.meanwhile = 0, (number, use)

    def stop_at_commit(self, number, use):
        """Run until the end of the transaction of that number, which is not committed; say whether there was one."""
        with killing_at_commit(self.engine, number) as counter:
            try:
                self.run(use)
            except Killed:
                return True
        assert counter() < number
        return False

    # --- what is here

    def key(self, key_id=None):
        """Give a live tunnel key, or the newest one."""
        return self.local.open_key(key_id or self.local.standing().newest_key_id)

    def note_use(self, key_id, at):
        """Let a report have been signed with a key at that time."""
        connection_id = self.local.standing().connection.id
        with write(self.engine) as tx:
            row = next(key for key in list_tunnel_keys(tx, connection_id) if key.key_id == key_id)
            tx.execute(tunnel_key_uses.insert().values(tunnel_key_id=row.id, hits=1, last_used_at=at))

    def as_transport_key(self):
        """Give the active AS transport key, opened; None: there is none."""
        with read(self.engine) as tx:
            keys = load_as_transport_keys(tx, self.keyring, self.local.standing().connection.id)
        return keys[0][1] if self.local.standing().active_check_value else None

    def assert_one_connection(self):
        assert [one.name for one in list_connections(self.engine)] == ["field"]
        standing = self.local.standing()
        assert standing.state == "connected"
        assert standing.journal.wrapped_key is None
        assert standing.journal.key_id == standing.newest_key_id
        return standing


class KpnBench(Bench):
    """`Bench` of KPN LoRa."""

    surface = "kpn-lora"

    def __init__(self, engine, keyring, now, **options):
        simulated = SimulatedKpnLora(clock=lambda: now, **options)
        super().__init__(engine, keyring, now, simulated, lambda request: request.path != TOKEN_PATH)

    def settings(self):
        origin = self.server.origin
        return {"client_id": "client", "api_url": origin + BASE_PATH, "token_url": origin + TOKEN_PATH}

    def network(self):
        settings = self.account.settings
        login = OauthAccount(settings["token_url"], settings["client_id"], self.account.secret, TokenForm.KPN_GATEWAY)
        tokens = BearerTokens(self.http, login, "KPN LoRa")
        caller = PlatformCaller(self.http, settings["api_url"], "KPN LoRa", tokens, sleep=self.no_sleep)
        return KpnLoraNetwork(KpnLoraClient(caller, settings["api_version"]), settings["api_version"])

    @property
    def profile(self):
        """The only routing profile there is."""
        (profile,) = self.simulated.profiles.values()
        return profile

    def add_device(self, dev_eui="0059AC0000170311", profile_id=None):
        """Let there be a device of the only routing profile."""
        wanted = {
            "EUI": dev_eui,
            "name": "a device",
            "activationType": "OTAA",
            "deviceProfileId": "CUSTOM/Static V 1.0 Class A",
            "connectivityPlanId": "kpn-ope-cs/often",
            "hsmGroupId": "HSM_KPN-OPE.1",
            "routingProfileId": profile_id or self.profile.id,
            "applicationEUI": "0000000000000001",
            "applicationKey": "00112233445566778899aabbccddeeff",
        }
        self.simulated._devices.create(wanted, ("HSM_KPN-OPE.1",), "v1.2", self.now)

    def assert_agrees(self):
        """Hold both sides against each other: one of each, the same keys."""
        self.assert_one_connection()
        profile = self.profile
        assert profile.name == "field"
        assert profile.addresses == (PUSH_URL,)
        assert profile.as_id == "field"
        assert profile.as_key == self.key()
        assert profile.as_transport_key is not None
        assert profile.as_transport_key == self.as_transport_key()


class ThingParkBench(Bench):
    """`Bench` of ThingPark."""

    surface = "thingpark"

    def __init__(self, engine, keyring, now, **options):
        simulated = SimulatedThingPark(lambda: now, **{"client_secret": "secret", **options})
        super().__init__(engine, keyring, now, simulated, lambda request: request.path != THINGPARK_TOKEN_PATH)

    def settings(self):
        return self.simulated.settings(self.server.origin)

    def network(self):
        settings = self.account.settings
        login = OauthAccount(settings["token_url"], settings["client_id"], self.account.secret)
        tokens = BearerTokens(self.http, login, "ThingPark")
        caller = PlatformCaller(self.http, settings["api_url"], "ThingPark", tokens, sleep=self.no_sleep)
        return ThingParkNetwork(ThingParkClient(caller, settings["subscription"]))

    @property
    def app_servers(self):
        return self.simulated.resources.book.app_servers

    @property
    def app_server(self):
        """The only connection there is."""
        (app_server,) = self.app_servers.values()
        return app_server

    @property
    def tunnel_key_there(self):
        """Its tunnel key; the simulated ThingPark keeps keys in upper case, as its examples write them."""
        return self.app_server.tunnel_key.lower()

    def add_device(self, dev_eui="70B3D5E756000999"):
        """Let there be a device of the only connection."""
        wish = LorawanDeviceWish(
            dev_eui=dev_eui,
            model_id="LORA/GenericA.1.0.4a_ETSI",
            app_key="00112233445566778899aabbccddeeff",
            name="a device",
            app_server_ids=(self.app_server.id,),
        )
        self.run(lambda network: network._client.create_lorawan_device(wish))

    def assert_agrees(self):
        """Hold both sides against each other: one of each, the same key."""
        self.assert_one_connection()
        there = self.app_server
        assert there.members["name"] == "field"
        assert there.members["destinations"] == [
            {"addresses": [PUSH_URL], "ports": "*", "strategy": "SEQUENTIAL"},
        ]
        assert there.as_id == "field"
        assert self.tunnel_key_there == self.key()


@contextmanager
def benches(make):
    """Give what makes benches with `make(**options)`; all of them are closed at the end of the block."""
    made = []

    def make_one(**options):
        made.append(make(**options))
        return made[-1]

    try:
        yield make_one
    finally:
        for bench in made:
            bench.close()


@contextmanager
def killing_at_commit(engine, number):
    """Raise `Killed` at the end of the writing transaction of that number; the yielded function counts them."""
    count, lock = 0, threading.Lock()

    def on_commit(_connection):
        nonlocal count
        with lock:
            count += 1
            if count == number:
                raise Killed

    event.listen(engine, "commit", on_commit)
    try:
        yield lambda: count
    finally:
        event.remove(engine, "commit", on_commit)
