"""What the tests of bulk runs share: emulated networks, an account of them, files of devices, `receiver bulk`."""

from __future__ import annotations

import csv
import io
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from typer.testing import CliRunner

from receiver.cli.bulk import app
from receiver.errors import ReceiverError
from receiver.keyring import KEK_BYTES, Keyring
from receiver.services.platform_accounts import add_account
from receiver.simulator.loopback_server import LoopbackServer
from receiver.simulator.management_http import MAX_MANAGEMENT_BODY_BYTES, answered
from receiver.simulator.management_kpn_lora import BASE_PATH, SimulatedKpnLora
from receiver.simulator.management_kpn_lora_gateway import TOKEN_PATH
from receiver.simulator.management_thingpark import CLIENT_SECRET, SimulatedThingPark
from receiver.simulator.management_thingpark_app_servers import create_app_server
from receiver.simulator.management_thingpark_book import SimulatedPlan

JOIN_EUI = "70B3D57ED0000000"
PLAN = "supplier/plan"
GRANTED = 1000
KEK = bytes(range(KEK_BYTES))


def utc_now():
    return datetime.now(UTC)


def dev_eui(number):
    return f"0059AC{number:010X}"


def app_key(number):
    return f"{0xA5A5_0000_0000_0000_0000_0000_0000_0000 + number:032x}"


class Kpn:
    """An emulated KPN LoRa with two routing profiles."""

    surface = "kpn-lora"
    platform = "KPN LoRa"
    secret = "secret"
    profile = "CUSTOM/Static V 1.0 Class A"
    other_profile = "LORA/GenericC.1_ETSI_Rx2-SF9"
    exists = "A Device with EUI already exists"
    hidden = (200, [], "/devices")
    """Status, body and path of an answer that there is no such device."""

    def __init__(self):
        self.simulated = SimulatedKpnLora(clock=utc_now, plans=((PLAN, GRANTED),))
        self.routing, self.other_routing = (self._make_routing(name) for name in ("here", "there"))

    def _make_routing(self, name):
        routes = [{"addresses": ["https://as.example/push"], "contentType": "JSON"}]
        return self.simulated._profiles.create({"name": name, "routes": routes})["id"]

    def settings(self, origin):
        return {"client_id": "client", "api_url": origin + BASE_PATH, "token_url": origin + TOKEN_PATH}

    def set_granted(self, number):
        self.simulated.plans[0].granted = number

    @property
    def devices(self):
        """Give what there is of each device, by DevEUI."""
        return {
            one.dev_eui: (one.name, one.routing_profile_id, one.members.get("deviceProfileId"))
            for one in self.simulated.devices.values()
        }

    def key_of(self, dev_eui):
        return self.simulated.device_of(dev_eui).app_key.reveal().hex()


class ThingPark:
    """An emulated ThingPark with two connections."""

    surface = "thingpark"
    platform = "ThingPark"
    secret = CLIENT_SECRET
    profile = "LORA/GenericA.1.0.4a_ETSI"
    other_profile = "LORA/GenericC.1.0.4a_ETSI"
    exists = "A Device report already exists for the given EUI"
    hidden = (400, {"code": 99, "message": "Device not found"}, None)

    def __init__(self):
        self.simulated = SimulatedThingPark(utc_now)
        self.book = self.simulated.resources.book
        self.book.plans.append(SimulatedPlan(self.book.next_uid(), PLAN, "Plan", GRANTED))
        self.routing, self.other_routing = (self._make_routing(name) for name in ("here", "there"))

    def _make_routing(self, name):
        destination = {"addresses": ["https://as.example/push"], "ports": "*", "strategy": "SEQUENTIAL"}
        security = {"status": "NONE"}
        body = {"name": name, "destinations": [destination], "downlinkSecurity": security}
        return create_app_server(self.book, body).id

    def settings(self, origin):
        return self.simulated.settings(origin)

    def set_granted(self, number):
        self.book.find_plan(PLAN).granted = number

    @property
    def devices(self):
        return {
            one.eui: (one.members["name"], next(iter(one.app_server_ids), None), one.members["model"]["ID"])
            for one in self.book.devices.values()
        }

    def key_of(self, dev_eui):
        return self.book.devices[dev_eui].keys["appKey"].lower()


NETWORKS = {"kpn-lora": Kpn, "thingpark": ThingPark}


@dataclass
class Network:
    """An emulated network on a port of this machine.

    `made` are the DevEUIs that a POST has made, `needless` those that were there when it came.
    """

    of: Kpn | ThingPark
    server: LoopbackServer
    made: list[str] = field(default_factory=list)
    needless: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def asked(self):
        return self.of.simulated.asked

    @property
    def faults(self):
        return self.of.simulated.faults

    def settings(self):
        return self.of.settings(self.server.origin)

    def row(self, number, **changes):
        return {
            "DevEUI": dev_eui(number),
            "Name": f"Meter {number}",
            "JoinEUI": JOIN_EUI,
            "AppKey": app_key(number),
            "DeviceProfile": self.of.profile,
            "ConnectivityPlan": PLAN,
            "Routing": self.of.routing,
            **changes,
        }

    def answer(self, request):
        if request.method != "POST" or not request.path.endswith("/devices"):
            return self.of.simulated.answer(request)
        dev_eui = json.loads(request.body)["EUI"]
        with self.lock:
            before = set(self.of.devices)
            reply = self.of.simulated.answer(request)
            self.made += set(self.of.devices) - before
            if dev_eui in before:
                self.needless.append(dev_eui)
        return reply

    def count(self, method, path="/devices"):
        return sum(one.method == method and path in one.path for one in self.asked)

    def refuse(self, said, *, status=400, **order):
        self.faults.order(answered(status, {"code": status, "message": said}), **order)


@contextmanager
def running(kind):
    network = NETWORKS[kind]()
    server = LoopbackServer(max_body_bytes=MAX_MANAGEMENT_BODY_BYTES)
    found = Network(network, server)
    server.start(found.answer)
    try:
        yield found
    finally:
        server.stop()


def add_network_account(engine, network, name="test", secret=None):
    return add_account(
        engine,
        Keyring(KEK),
        utc_now(),
        name=name,
        surface=network.of.surface,
        settings=network.settings(),
        secret=secret or network.of.secret,
    )


def environment(database_url, directory):
    return {
        "RECEIVER_DATABASE_URL": database_url,
        "RECEIVER_DATA_DIR": str(directory / "data"),
        "RECEIVER_KEK": KEK.hex(),
    }


def write_csv(path, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


@dataclass
class Done:
    """How a command ended: as `receiver` itself ends, a refusal being one sentence on standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def bulk(*arguments):
    """Run `receiver bulk …` in this process, on the settings in its environment."""
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    err = result.stderr
    if isinstance(result.exception, ReceiverError):
        err += f"receiver: {result.exception}\n"
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, err)
