"""A simulated KPN LoRa on a port of this machine, and clients of it that never sleep in earnest."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from typer.testing import CliRunner

from receiver.errors import ReceiverError
from receiver.http_client import HttpClient, tls_context
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.lorawan.keys import AesKey
from receiver.platforms.caller import PLATFORM_BOUNDS, PlatformCaller
from receiver.platforms.kpn_lora import KpnLoraClient
from receiver.platforms.kpn_lora_calls import KpnDeviceWish, RouteWish, RoutingProfileWish
from receiver.platforms.oauth import BearerTokens, OauthAccount, TokenForm
from receiver.simulator.loopback_server import LoopbackServer
from receiver.simulator.management_http import MAX_MANAGEMENT_BODY_BYTES
from receiver.simulator.management_kpn_lora import BASE_PATH, HSM_GROUPS, TOKEN_PATH, SimulatedKpnLora
from receiver.thingpark.rsa_key import public_key_pem

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PLAN = "kpn-ope-cs/often"
DEVICE_PROFILE = "CUSTOM/Static V 1.0 Class A"
AS_ID, AS_KEY = "receiver-1", "3f9c2e7a1b8d604557e2c90fa6d1b834"
ADDRESS = "https://receiver.example.nl/push/field"
APP_KEY = "6b1d94e2f70835ac0e4d7b21c96f58a3"
JOIN_EUI = parse_dev_eui("70B3D53260000003")


class Site:
    """The simulated KPN LoRa, its server, its clock and what a client of it waited."""

    def __init__(self, server, **options):
        self.now = NOW
        self.kpn = SimulatedKpnLora(clock=lambda: self.now, seed=7, **options)
        self.server = server
        self.slept = []

    @property
    def base_url(self):
        return self.server.origin + BASE_PATH

    @property
    def token_url(self):
        return self.server.origin + TOKEN_PATH

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)

    def monotonic(self):
        return self.now.timestamp()

    def client(self, http, *, secret="secret", api_version="", pace_s=0.0):
        account = OauthAccount(self.token_url, "client", secret, TokenForm.KPN_GATEWAY)
        tokens = BearerTokens(http, account, "KPN LoRa", self.monotonic)
        caller = PlatformCaller(
            http, self.base_url, "KPN LoRa", tokens, pace_s=pace_s, sleep=self.sleep, monotonic=self.monotonic
        )
        return KpnLoraClient(caller, api_version)

    def run(self, use, **options):
        """Give what `use` makes of a client of its own."""
        with HttpClient(tls_context(None), PLATFORM_BOUNDS) as http:

            async def run():
                return await use(self.client(http, **options))

            return asyncio.run(run())

    def asked(self, *methods):
        """Give method and path of what was asked, or of these methods alone."""
        return [
            (one.method, one.path.removeprefix(BASE_PATH))
            for one in self.kpn.asked
            if not methods or one.method in methods
        ]


@contextmanager
def kpn_site(**options):
    server = LoopbackServer(max_body_bytes=MAX_MANAGEMENT_BODY_BYTES)
    site = Site(server, **options)
    server.start(site.kpn.answer)
    try:
        yield site
    finally:
        server.stop()


def profile_wish(name="field", public_key=None, **changes):
    route = {"addresses": (ADDRESS,), "as_id": AS_ID, "as_key": AS_KEY, **changes}
    return RoutingProfileWish(name, (RouteWish(**route),), HSM_GROUPS[0], public_key)


def device_wish(number=1, routing_profile_id=None, **changes):
    values = {
        "dev_eui": parse_dev_eui(f"0059AC000017{number:04X}"),
        "join_eui": JOIN_EUI,
        "app_key": AesKey(bytes.fromhex(APP_KEY)),
        "name": f"device {number}",
        "device_profile_id": DEVICE_PROFILE,
        "connectivity_plan_id": PLAN,
        "routing_profile_id": routing_profile_id,
        "processing_strategy_id": None if routing_profile_id else "NOAS",
        "hsm_group_id": HSM_GROUPS[0],
        **changes,
    }
    return KpnDeviceWish(**values)


def rsa_pair():
    private_key = generate_private_key(65537, 2048)
    return private_key, public_key_pem(private_key.public_key())


async def collect(found):
    return [one async for one in found]


class Commands:
    """Runs commands in this process, on the test's database."""

    def __init__(self, app):
        self.app = app
        self.runner = CliRunner()

    def __call__(self, *arguments, typed=None):
        result = self.runner.invoke(self.app, list(arguments), input=typed)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments, typed=None):
        return json.loads(self(*arguments, "--json", typed=typed))

    def wrong_usage(self, *arguments, typed=None):
        result = self.runner.invoke(self.app, list(arguments), input=typed)
        assert result.exit_code == 2, result.output
        return result.output

    def sentence(self, *arguments, typed=None):
        with pytest.raises(ReceiverError) as refused:
            self(*arguments, typed=typed)
        return str(refused.value)


def add_account(command, site, name="kpn", secret="secret"):
    urls = ("--set", f"api_url={site.base_url}", "--set", f"token_url={site.token_url}")
    return command("account", "add", name, "--client-id", "client", *urls, typed=f"{secret}\n")


def use_settings(monkeypatch, directory, database_url):
    """Let commands in this process work on that database, with the tests' keyring."""
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)
    monkeypatch.setenv("RECEIVER_DATA_DIR", str(directory / "data"))
    monkeypatch.setenv("RECEIVER_KEK", bytes(range(32)).hex())
    monkeypatch.chdir(directory)
