"""A simulated ThingPark on a port of this machine, clients of it that never sleep in earnest, and answers by heart."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from receiver.http_client import HttpClient, tls_context
from receiver.platforms.caller import PLATFORM_BOUNDS, PlatformCaller
from receiver.platforms.dx_core import DxCoreClient
from receiver.platforms.oauth import BearerTokens, OauthAccount, TokenForm
from receiver.platforms.thingpark import ThingParkClient
from receiver.platforms.thingpark_app_servers import AppServerWish
from receiver.platforms.thingpark_wishes import LorawanDeviceWish
from receiver.simulator.loopback_server import HttpReply, LoopbackServer
from receiver.simulator.management_device_manager import SimulatedDeviceManager
from receiver.simulator.management_device_manager_login import LOGIN_PAGE_PATH
from receiver.simulator.management_http import MAX_MANAGEMENT_BODY_BYTES
from receiver.simulator.management_thingpark import CLIENT_SECRET, DX_TOKEN_PATH, SimulatedThingPark
from receiver.simulator.management_thingpark_book import REST_PATH

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TUNNEL_KEY = "3F9C2E7A1B8D604557E2C90FA6D1B834"
OTHER_KEY = "A07D51C3E8964BF21D3A78E5604C9BF2"
APP_KEY = "6B1D94E2F70835AC0E4D7B21C96F58A3"
URL = "https://receiver.example.org/push/field"
MODEL = "LORA/GenericA.1.0.4a_ETSI"
DEV_EUI = "70B3D57ED0001A2B"
LOGIN, PASSWORD = "ada@example.com", "Right#1password"
MINE = f"{REST_PATH}/subscriptions/mine"


class Site:
    """The simulated ThingPark, its server, its clock, and what clients of it waited."""

    def __init__(self, server, **options):
        self.now = NOW
        self.thingpark = SimulatedThingPark(lambda: self.now, seed=7, **options)
        self.resources = self.thingpark.resources
        self.book = self.thingpark.resources.book
        self.rules = self.thingpark.rules
        self.faults = self.thingpark.faults
        self.manager = SimulatedDeviceManager(self.resources, clock=lambda: self.now, login=LOGIN, password=PASSWORD)
        self.server = server
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)

    def monotonic(self):
        return self.now.timestamp()

    def answer(self, request):
        """Answer as ThingPark, and as the Device Manager with its login before the same subscription."""
        is_login = request.path.startswith((LOGIN_PAGE_PATH, f"{REST_PATH}/customers"))
        by_session = "cookie" in request.headers
        return self.manager.answer(request) if is_login or by_session else self.thingpark.answer(request)

    def login_settings(self, **changed):
        """Give the settings of an account of the Device Manager here, less the login."""
        origin = self.server.origin
        return {"api_url": f"{origin}{REST_PATH}", "login_url": f"{origin}{LOGIN_PAGE_PATH}", **changed}

    def client(self, http, *, secret=CLIENT_SECRET, dx_core=False, dx_admin=False, subscription="mine"):
        settings = self.thingpark.settings(self.server.origin)
        form, token_url = TokenForm.KEYCLOAK, settings["token_url"]
        if dx_admin:
            form, token_url = TokenForm.DX_ADMIN, self.server.origin + DX_TOKEN_PATH
        account = OauthAccount(token_url, settings["client_id"], secret, form)
        name, url = ("DX Core", settings["dx_core_url"]) if dx_core else ("ThingPark", settings["api_url"])
        tokens = BearerTokens(http, account, name, self.monotonic)
        caller = PlatformCaller(http, url, name, tokens, sleep=self.sleep, monotonic=self.monotonic)
        return DxCoreClient(caller) if dx_core else ThingParkClient(caller, subscription)

    def run(self, use, **options):
        """Give what `use` makes of a client of its own."""
        with HttpClient(tls_context(None), PLATFORM_BOUNDS) as http:

            async def run():
                return await use(self.client(http, **options))

            return asyncio.run(run())

    def sent(self):
        """Give method and path of what was to change something, whoever asked; logins left out."""
        of_manager = [one for one in self.manager.asked if one.path.startswith(REST_PATH)]
        every = [*self.thingpark.asked, *of_manager]
        return [(one.method, one.path) for one in every if one.method != "GET"]

    def asked(self, *methods):
        """Give method and path of what was asked, or of these methods alone."""
        short = [(one.method, one.path.removeprefix(MINE)) for one in self.thingpark.asked]
        return [one for one in short if not methods or one[0] in methods]

    def last(self, method):
        """Give the newest request of a method for data, by a token or else in a session."""
        data = [*(one for one in self.manager.asked if "/subscriptions/" in one.path), *self.thingpark.asked]
        return next(one for one in reversed(data) if one.method == method)

    def with_connection(self, name="field", **more):
        return self.run(lambda client: client.create_app_server(app_server_wish(name=name, **more)))

    def with_device(self, dev_eui=DEV_EUI, **more):
        return self.run(lambda client: client.create_lorawan_device(device_wish(dev_eui, **more)))


def app_server_wish(name="field", url=URL, tunnel_key=TUNNEL_KEY, **more):
    return AppServerWish(name, url, tunnel_key, **more)


def device_wish(dev_eui=DEV_EUI, model_id=MODEL, app_key=APP_KEY, **more):
    return LorawanDeviceWish(dev_eui, model_id, app_key=app_key, **more)


@contextmanager
def site_on_a_port(**options):
    """Give a site whose server stops at the end."""
    server = LoopbackServer(max_body_bytes=MAX_MANAGEMENT_BODY_BYTES)
    site = Site(server, **options)
    server.start(site.answer)
    try:
        yield site
    finally:
        server.stop()


async def collected(entries):
    return [one async for one in entries]


class ByHeart:
    """A server that gives prepared answers, one after the other, and keeps what it was asked; logins apart."""

    def __init__(self):
        self.requests = []
        self.answers = []
        self._server = LoopbackServer(max_body_bytes=MAX_MANAGEMENT_BODY_BYTES)

    def __enter__(self):
        self._server.start(self._answer)
        return self

    def __exit__(self, *_exc):
        self._server.stop()

    def prepare(self, value, status=200, **headers):
        named = tuple((name.replace("_", "-"), text) for name, text in headers.items())
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.answers.append(HttpReply(status, b"" if value is None else body, "application/json", named))

    def run(self, use, *, dx_core=False):
        origin = self._server.origin
        with HttpClient(tls_context(None), PLATFORM_BOUNDS) as http:
            tokens = BearerTokens(http, OauthAccount(f"{origin}/token", "sub-1/app", "secret"), "ThingPark")

            async def run():
                path = "/thingpark/dx/core/latest/api" if dx_core else REST_PATH
                caller = PlatformCaller(http, origin + path, "ThingPark", tokens, sleep=_no_sleep)
                return await use(DxCoreClient(caller) if dx_core else ThingParkClient(caller))

            return asyncio.run(run())

    def body(self, number=-1):
        return json.loads(self.requests[number].body)

    def _answer(self, request):
        if request.path == "/token":
            return HttpReply(200, json.dumps({"access_token": "a.b.c", "expires_in": 300}).encode(), "application/json")
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else HttpReply(500)


async def _no_sleep(_seconds):
    """Wait for nothing."""
