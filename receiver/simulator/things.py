"""KPN Things in a simulation: its identity provider, its API, and the destination that pushes to a receiver.

    things = SimulatedThings(shared_secret="…", clock=lambda: now)
    server = LoopbackServer()
    server.start(things.answer)           # the token URLs and the API, all on one origin
    push = things.extended(things.add_device())

Source: docs.kpnthings.com, Destinations, HTTPS; Beta API with its response codes; API keys. ThingsBoard's KPN
integration for the body of a token request.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, NamedTuple, Unpack
from urllib.parse import parse_qs
from uuid import UUID

from receiver.simulator import things_bodies
from receiver.simulator.device import Payloads, make_device
from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.radio import compute_fix, make_gateways, receive
from receiver.simulator.things_bodies import Layout
from receiver.simulator.things_customers import SubCustomers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from receiver.lorawan.identifiers import DevEui
    from receiver.simulator.device import DeviceOptions, SimulatedDevice
    from receiver.simulator.loopback_server import HttpRequest
    from receiver.simulator.things_bodies import Record

DEVICES_PATH = "/api/devices"
DOWNLINKS_PATH = "/api/actuator/downlinks"
DEVICES_ACCEPT = "application/vnd.kpnthings.device.v1.response+json"
DOWNLINKS_ACCEPT = "application/vnd.kpnthings.actuator.v1.response+json"
OWN_LORA_SPECIFICATION = "1e7f596c-6eb4-44d2-bec6-0d93181d4330"
"""The device specification "own LoRa". Source: docs.kpnthings.com."""

MAX_REMEMBERED = 10_000
"""Downlinks that are kept to be looked at."""

MAX_TOKENS = 1_000
"""Access tokens that are in force at a time."""

_TOKEN_PATH = re.compile(r"/v2/([^/]+)/oidc/idp/(?:c1/)?token\Z|/api/v3/idp/oidc/token\Z")
_BASE_NAME = re.compile(r"urn:dev:DEVEUI:([0-9A-Fa-f]{16}):\Z")
_PAYLOAD = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z")
_F_PORTS = range(1, 224)


@dataclass(frozen=True, slots=True)
class ThingsPush:
    """A push of a destination. `clear_payload` is what the device sent; None: the pack has none."""

    dev_eui: DevEui
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    at: datetime
    f_cnt_up: int | None = None
    clear_payload: bytes | None = field(default=None, repr=False)


class ThingsDownlink(NamedTuple):
    """A downlink that the actuator took."""

    dev_eui: str
    f_port: int
    payload: bytes
    reference: str | None


class SimulatedThings:
    """One customer's KPN Things: devices, an API key, and a destination with its shared secret.

    The same seed, clock and calls give the same pushes. `statuses` takes statuses that the API answers next, whatever
    it is asked; `downlinks` are those that it took, the newest last.
    """

    def __init__(
        self,
        *,
        shared_secret: str,
        clock: Callable[[], datetime],
        seed: int = 0,
        tenant_id: str = "tenant",
        audience: str = "application",
        key_id: str = "key",
        key_secret: str = "secret",  # noqa: S107 - of a simulation
        token_life_s: int = 3600,
    ) -> None:
        self.random = Random(seed)  # noqa: S311 - repeatable on purpose; it simulates and protects nothing
        self.clock = clock
        self.plug_uuid = str(UUID(int=self.random.getrandbits(128), version=4))
        self.devices: list[SimulatedDevice] = []
        self.uuids: dict[str, str] = {}
        self.downlinks: deque[ThingsDownlink] = deque(maxlen=MAX_REMEMBERED)
        self.statuses: deque[int] = deque()
        self.logins = 0
        self.customers = SubCustomers()
        self._gateways = make_gateways(self.random)
        self._shared_secret = shared_secret
        self._tenant_id = tenant_id
        self._login = {"grant_type": "client_credentials", "audience": audience}
        self._login |= {"client_id": key_id, "client_secret": key_secret}
        self._token_life = timedelta(seconds=token_life_s)
        self._tokens: dict[str, datetime] = {}
        self._token_chance = Random(f"{seed}/tokens")  # noqa: S311 - threads of the server draw from this one
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"SimulatedThings({len(self.devices)} devices, {len(self.downlinks)} downlinks)"

    def add_device(self, customer: str | None = None, **options: Unpack[DeviceOptions]) -> SimulatedDevice:
        """Give a new device, of its own or of a customer of this customer; KPN Things decrypts what it sends.

        Raises:
            NotFoundError, IdentifierError: as of a network.
        """
        device = make_device(self.random, len(self.uuids) + 1, Payloads.CLEAR, options)
        (self.devices if customer is None else self.customers.devices.setdefault(customer, [])).append(device)
        self.uuids[device.dev_eui] = str(UUID(int=self.random.getrandbits(128), version=4))
        return device

    # --- what its destination pushes

    def raw(
        self,
        device: SimulatedDevice,
        payload: bytes | None = None,
        *,
        v2: bool = False,
        layout: Layout = Layout.MERGED,
        by_uuid: bool = False,
    ) -> ThingsPush:
        """Give an uplink by the decoder "raw" or "raw v2": no counter. `by_uuid`: the base name has no DevEUI."""
        f_port, clear, _ = self._frame(device, payload)
        records = things_bodies.raw(clear, f_port, time_origin=v2)
        return self._push(device, records, layout, by_uuid=by_uuid, clear_payload=clear)

    def extended(
        self,
        device: SimulatedDevice,
        payload: bytes | None = None,
        *,
        v2: bool = False,
        layout: Layout = Layout.MERGED,
        by_uuid: bool = False,
    ) -> ThingsPush:
        """Give an uplink by the decoder "LoRa extended" or its v2: with counters and how it was received."""
        f_port, clear, f_cnt_up = self._frame(device, payload)
        reception = receive(self.random, self._gateways)
        records = things_bodies.extended(clear, f_port, f_cnt_up, device.f_cnt_down, reception, time_origin=v2)
        return self._push(device, records, layout, by_uuid=by_uuid, f_cnt_up=f_cnt_up, clear_payload=clear)

    def location(self, device: SimulatedDevice, *, layout: Layout = Layout.MERGED, by_uuid: bool = False) -> ThingsPush:
        """Give a position that the network computed."""
        fix = compute_fix(self.random, self.clock(), max(0, device.f_cnt_up - 1))
        return self._push(device, things_bodies.location(fix), layout, by_uuid=by_uuid)

    def decoded(self, device: SimulatedDevice, *, layout: Layout = Layout.MERGED, by_uuid: bool = False) -> ThingsPush:
        """Give values as a decoder of the device's own names them."""
        records = things_bodies.decoded(self.random.randint(-100, 350) / 10, self.random.randint(0, 100))
        return self._push(device, records, layout, by_uuid=by_uuid)

    def _frame(self, device: SimulatedDevice, payload: bytes | None) -> tuple[int, bytes, int]:
        reading = device.read()
        frame = device.frame(self.clock(), reading.f_port, reading.payload if payload is None else payload)
        return reading.f_port, frame.clear_payload or b"", frame.f_cnt_up

    def _push(
        self,
        device: SimulatedDevice,
        records: Sequence[Record],
        layout: Layout,
        *,
        by_uuid: bool,
        f_cnt_up: int | None = None,
        clear_payload: bytes | None = None,
    ) -> ThingsPush:
        at = self.clock()
        of = f"DVNUUID:{self.uuids[device.dev_eui]}" if by_uuid else f"DEVEUI:{device.dev_eui}"
        body = things_bodies.write_pack(f"urn:dev:{of}:", at, records, layout)
        token = hashlib.sha256(body + self._shared_secret.encode()).hexdigest()
        headers = {
            "Things-Plug-UUID": self.plug_uuid,
            "Things-Message-Token": token,
            "Content-Type": "application/json",
        }
        return ThingsPush(device.dev_eui, body, headers, at, f_cnt_up, clear_payload)

    # --- what it is asked

    def answer(self, request: HttpRequest) -> HttpReply:
        """Answer a request to the identity provider or to the API."""
        found = _TOKEN_PATH.match(request.path)
        with self._lock:
            if found is not None and request.method == "POST":
                return self._log_in(request, found[1])
            return self._answer_api(request)

    def revoke_tokens(self) -> None:
        """Take back all access tokens, as when the API key is changed."""
        with self._lock:
            self._tokens.clear()

    def _log_in(self, request: HttpRequest, tenant_id: str | None) -> HttpReply:
        wanted = _read_json(request.body)
        if not isinstance(wanted, dict) or wanted.get("grant_type") != "client_credentials":
            return _json(400, {"error": "invalid_request"})
        if wanted != self._login or tenant_id not in {None, self._tenant_id}:
            return _json(401, {"error": "invalid_client"})
        self.logins += 1
        token = ".".join(self._token_chance.randbytes(24).hex() for _ in range(3))
        while len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[token] = self.clock() + self._token_life
        life_s = int(self._token_life.total_seconds())
        return _json(200, {"access_token": token, "token_type": "Bearer", "expires_in": life_s})

    def _answer_api(self, request: HttpRequest) -> HttpReply:
        if self.statuses:
            return HttpReply(self.statuses.popleft())
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        until = self._tokens.get(token)
        if until is None or until <= self.clock():
            return HttpReply(302, headers=(("Location", "/login"),))
        switched = self.customers.answer(request)
        if switched is not None:
            return switched
        match request.method, request.path:
            case "GET", path if path == DEVICES_PATH:
                return self._list_devices(request)
            case "POST", path if path == DOWNLINKS_PATH:
                return self._take_downlink(request)
            case _:
                return HttpReply(404)

    def _list_devices(self, request: HttpRequest) -> HttpReply:
        values = {name: of_it[0] for name, of_it in parse_qs(request.query).items()}
        page, size = values.get("currentPage", "0"), values.get("pageSize", "20")
        order, by = values.get("sortOrder", "ASC"), values.get("sortBy", "name")
        in_order = page.isdigit() and size.isdigit() and 0 < int(size) <= 1000 and order in {"ASC", "DESC"}
        if request.headers.get("accept") != DEVICES_ACCEPT or by != "name" or not in_order:
            return _json(400, {"error": "Bad Request"})
        theirs = self.customers.choose(request, self.devices)
        if theirs is None:
            return _json(403, {"error": "Forbidden"})
        found = [device for device in theirs if values.get("search", "") in device.name]
        found.sort(key=lambda device: device.name, reverse=order == "DESC")
        first, number = int(page) * int(size), int(page)
        of_page = found[first : first + int(size)]
        pages = -(-len(found) // int(size))
        content = [
            {
                "uuid": self.uuids[device.dev_eui],
                "name": device.name,
                "description": "",
                "metadata": None,
                "deviceSpecificationUUID": OWN_LORA_SPECIFICATION,
                "barcode": None,
            }
            for device in of_page
        ]
        sort = {"direction": order, "property": by, "ignoreCase": False, "nullHandling": "NATIVE"}
        sort |= {"ascending": order == "ASC", "descending": order == "DESC"}
        answer = {
            "content": content,
            "last": number >= pages - 1,
            "totalPages": pages,
            "totalElements": len(found),
            "sort": [sort],
            "first": number == 0,
            "numberOfElements": len(of_page),
            "size": int(size),
            "number": number,
        }
        return _json(200, answer, DEVICES_ACCEPT)

    def _take_downlink(self, request: HttpRequest) -> HttpReply:
        media = (request.headers.get("accept"), request.headers.get("content-type"))
        values = {name: of_it[0] for name, of_it in parse_qs(request.query).items()}
        port = values.get("port", "")
        found = _read_actuator(_read_json(request.body))
        in_order = media == (DOWNLINKS_ACCEPT, "application/json") and port.isascii() and port.isdigit()
        if not in_order or int(port) not in _F_PORTS or found is None:
            return _json(400, {"error": "Bad Request"})
        dev_eui, payload = found
        device = next((device for device in self.devices if device.dev_eui == dev_eui), None)
        if device is None:
            return _json(403, {"error": "Forbidden"})
        self.downlinks.append(ThingsDownlink(dev_eui, int(port), payload, values.get("externalReference")))
        return _json(201, {}, DOWNLINKS_ACCEPT)


def _read_actuator(pack: object) -> tuple[str, bytes] | None:
    """Give DevEUI, in upper case, and payload of the one record that the actuator wants; None: it is something else."""
    if not isinstance(pack, list) or len(pack) != 1 or not isinstance(pack[0], dict):
        return None
    record = pack[0]
    name, payload = _BASE_NAME.match(str(record.get("bn"))), str(record.get("vs"))
    if name is None or record.get("n") != "payloadHex" or not _PAYLOAD.match(payload):
        return None
    return name[1].upper(), bytes.fromhex(payload)


def _read_json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _json(status: int, value: object, media_type: str = "application/json") -> HttpReply:
    return HttpReply(status, json.dumps(value).encode(), media_type)
