"""A Device Manager on a port of this machine, a receiver's session with it, and resources that stand behind it."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from receiver.http_client import HttpClient
from receiver.platforms.caller import PlatformCaller
from receiver.platforms.device_manager import DeviceManagerSession
from receiver.platforms.device_manager_account import read_account
from receiver.platforms.device_manager_http import PLATFORM
from receiver.platforms.thingpark import ThingParkClient
from receiver.services.platform_accounts import SETTINGS
from receiver.simulator.loopback_server import HttpRequest, LoopbackServer
from receiver.simulator.management_device_manager import SimulatedDeviceManager
from receiver.simulator.management_thingpark_resources import ThingParkResources

LOGIN, PASSWORD, SUBSCRIBER = "ada@example.com", "Right#1password&more", "100000001"
FORMS = ("html", "json", "xml", "digest")
DEV_EUI, OTHER_EUI = "0059AC0000000001", "0059AC0000000002"
APP_KEY = "7f3c1a9e5b2d8046e1c7a3f95d0b6842"


def make_resources(clock):
    """Give the resources of a subscription with two devices."""
    resources = ThingParkResources(clock, seed=1, number=32, subscriber_id=SUBSCRIBER)
    listed = resources.answer(HttpRequest("GET", "", "", {}, b""), "/deviceProfiles")
    model = next(one["ID"] for one in json.loads(listed.body)["briefs"] if one["connectivity"] == "LORAWAN")
    for number, eui in enumerate((DEV_EUI, OTHER_EUI), 1):
        wish = {"EUI": eui, "name": f"Pump {number}", "model": {"ID": model}, "activation": "OTAA", "appKey": APP_KEY}
        made = resources.answer(HttpRequest("POST", "", "", {}, json.dumps(wish).encode()), "/devices")
        assert made.status == 201, made.body
    return resources


class Site:
    """The Device Manager at work. `now` and `seconds` are its clock and that of sessions."""

    def __init__(self, http, **options):
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
        self.seconds = 1000.0
        self.pauses = []
        self.resources = make_resources(lambda: self.now)
        given = {"login": LOGIN, "password": PASSWORD, "subscriber_id": SUBSCRIBER, "seed": 1, **options}
        self.manager = SimulatedDeviceManager(self.resources, clock=lambda: self.now, **given)
        self.server = LoopbackServer()
        self.server.start(self.manager.answer)
        self.http = http

    def settings(self, form="html", **changed):
        """Give all settings of an account of this site."""
        usual = {name: value or "" for name, value in SETTINGS["device-manager"].items()}
        own = {
            "login": LOGIN,
            "api_url": f"{self.server.origin}/thingpark/wireless/rest",
            "smp_url": f"{self.server.origin}/thingpark/smp/rest",
            "login_form": form,
            "subscriber_id": SUBSCRIBER,
        }
        if form == "html":
            own["login_url"] = f"{self.server.origin}/deviceManager/login"
        return usual | own | changed

    def session(self, form="html", password=PASSWORD, *, rejection=None, on_rejected=None, **changed):
        account = read_account(self.settings(form, **changed), password)
        return DeviceManagerSession(
            self.http, account, rejection=rejection, on_rejected=on_rejected, monotonic=lambda: self.seconds
        )

    def caller(self, session):
        return PlatformCaller(self.http, session.account.api_url, PLATFORM, session, sleep=self._pause)

    def run(self, use, session=None, **options):
        """Give what `use(client, session)` comes to, on an event loop of its own, within one session."""
        session = session or self.session(**options)

        async def run():
            started = await session.start()
            return await use(ThingParkClient(self.caller(session), started.subscription), session)

        return asyncio.run(run())

    def euis(self):
        return sorted(device.eui for device in self.resources.book.devices.values())

    def paths(self):
        return [(asked.method, asked.path.rpartition("/rest")[2]) for asked in self.manager.asked]

    def later(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds

    async def _pause(self, seconds):
        self.pauses.append(seconds)


@contextmanager
def device_manager_site(**options):
    with HttpClient() as http:
        site = Site(http, **options)
        try:
            yield site
        finally:
            site.server.stop()


async def device_names(client, _session=None):
    return [device.name async for device in client.list_devices()]
