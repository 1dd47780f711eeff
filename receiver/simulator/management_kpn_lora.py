"""KPN's LoRa Device Management API in a simulation: its token server and its gateway, with one project's subscription.

    kpn = SimulatedKpnLora(clock=lambda: now)
    server = LoopbackServer(max_body_bytes=MAX_MANAGEMENT_BODY_BYTES)
    server.start(kpn.answer)
    … server.origin + TOKEN_PATH, server.origin + BASE_PATH …
    network = kpn.network_of(profile_ref)              # pushes as the routing profile says
    push = network.uplink(network.devices[0], content_type="jsontyped")

Source: KPN LoRa Device Management API 1.2; its documentation page; developer.kpn.com for the token server's answer and
the quota's headers. What they leave open is in `KpnLoraRules`.
"""

from __future__ import annotations

import threading
from collections import deque
from random import Random
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from receiver.errors import ConflictError
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.simulator.body_writer import ContentType
from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.management_http import (
    MAX_ASKED,
    Asked,
    ManagementFaults,
    json_reply,
    read_object,
    read_query,
)
from receiver.simulator.management_kpn_lora_alarms import AlarmBook, SimulatedFrame
from receiver.simulator.management_kpn_lora_devices import LEGACY, DeviceBook, SimulatedKpnDevice, SimulatedPlan
from receiver.simulator.management_kpn_lora_gateway import TOKEN_PATH, SimulatedGateway, gateway_error
from receiver.simulator.management_kpn_lora_profiles import KpnLoraRules, KpnRefusalError, ProfileBook
from receiver.simulator.network import SimulatedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from receiver.simulator.loopback_server import HttpRequest
    from receiver.simulator.management_kpn_lora_alarms import SimulatedAlarm
    from receiver.simulator.management_kpn_lora_profiles import SimulatedProfile

T = TypeVar("T")

BASE_PATH = "/data/lora/thingpark"
PAGE_SIZE = 100
LATEST = "v1.2"
HSM_GROUPS = ("HSM_KPN-OPE.1",)
DEVICE_PROFILES = {
    "CUSTOM/Static V 1.0 Class A": "Static V 1.0 Class A",
    "LORA/GenericC.1_ETSI_Rx2-SF9": "LoRaWAN class C",
}
CUSTOMER_ID = "100001135"
"""As KPN's examples have it."""


class SimulatedKpnLora:
    """One project at KPN's gateway, and the ThingPark subscription behind it.

    `asked` are the requests as they came, `logins` how many tokens were asked for, `faults` what goes wrong next;
    `plans`, `profiles`, `devices` and `alarms` are what there is, by ref where they have one.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime],
        seed: int = 0,
        client_id: str = "client",
        client_secret: str = "secret",  # noqa: S107 - of a simulation
        username: str = "someone@example.nl",
        password: str = "password",  # noqa: S107 - of a simulation
        token_life_s: int = 3599,
        is_activated: bool = True,
        plans: Sequence[tuple[str, int]] = (("kpn-ope-cs/often", 1000),),
        quota_per_minute: int | None = None,
        quota_retry_after_s: int | None = None,
        rules: KpnLoraRules | None = None,
    ) -> None:
        self.random = Random(seed)  # noqa: S311 - repeatable on purpose; it simulates and protects nothing
        self.clock = clock
        self.rules = rules or KpnLoraRules()
        self.asked: deque[Asked] = deque(maxlen=MAX_ASKED)
        self.faults = ManagementFaults()
        self.is_activated = is_activated
        self.plans = [SimulatedPlan(id_, str(600 + at), id_, granted) for at, (id_, granted) in enumerate(plans)]
        self._profiles = ProfileBook(self.random, CUSTOMER_ID, HSM_GROUPS, self.rules)
        self._devices = DeviceBook(self.random, self._profiles, self.plans, DEVICE_PROFILES)
        self._alarms = AlarmBook(self.random)
        self._login = {"thingpark_username": username, "thingpark_password": password}
        client = (client_id, client_secret)
        self._gateway = SimulatedGateway(
            self.random, clock, client, token_life_s, quota_per_minute, quota_retry_after_s
        )
        self._networks = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"SimulatedKpnLora({len(self.profiles)} routing profiles, {len(self.devices)} devices)"

    # --- what there is

    @property
    def logins(self) -> int:
        """How many tokens were asked for."""
        return self._gateway.logins

    @property
    def profiles(self) -> Mapping[str, SimulatedProfile]:
        """The routing profiles by ref, with their tunnel keys and AS transport keys."""
        return self._profiles.by_ref

    @property
    def devices(self) -> Mapping[str, SimulatedKpnDevice]:
        """The devices by ref, with their AppKeys."""
        return self._devices.by_ref

    @property
    def alarms(self) -> Mapping[str, SimulatedAlarm]:
        """The alarms by ref."""
        return self._alarms.by_ref

    def device_of(self, dev_eui: str) -> SimulatedKpnDevice:
        """Give the device of a DevEUI. Raises KeyError."""
        return self._devices.by_eui[parse_dev_eui(dev_eui)]

    def network_of(self, profile_ref: str) -> SimulatedNetwork:
        """Give a network that pushes as a routing profile says, with its devices, which have just joined.

        Signed with the profile's tunnel key and AS id; encrypted end to end where it has an AS transport key. Each
        call gives other sessions.

        Raises:
            KeyError: there is no such profile.
            ConflictError: its route has no tunnel key, so nothing would be signed.
        """
        with self._lock:
            profile = self.profiles[profile_ref]
            if profile.as_key is None or profile.as_id is None:
                raise ConflictError(f"The routing profile {profile.name} has no tunnel key to sign with.")
            self._networks += 1
            network = SimulatedNetwork(
                key=profile.as_key,
                as_id=profile.as_id,
                clock=self.clock,
                as_transport_key=profile.as_transport_key,
                seed=self._networks,
                content_type=ContentType.TYPED_JSON if profile.content_type == "JSON" else ContentType.XML,
                customer_id=CUSTOMER_ID,
            )
            for device in self._devices.by_ref.values():
                if device.routing_profile_id == profile.id:
                    network.add_device(dev_eui=device.dev_eui, name=device.name)
                    device.health_state = "ACTIVE"
            return network

    def add_alarm(self, dev_eui: str, type_id: int, state: str = "WARNING", info: Sequence[str] = ()) -> SimulatedAlarm:
        """Raise an alarm of a device."""
        with self._lock:
            device = self.device_of(dev_eui)
            return self._alarms.add(device.ref, device.dev_eui, type_id, state, self.clock(), info)

    def add_frame(self, frame: SimulatedFrame) -> None:
        """Count a frame in the statistics."""
        with self._lock:
            self._alarms.frames.append(frame)

    def revoke_tokens(self) -> None:
        """Take back all access tokens."""
        with self._lock:
            self._gateway.tokens.clear()

    # --- what it is asked

    def answer(self, request: HttpRequest) -> HttpReply:
        """Answer a request to the token server or to the API."""
        with self._lock:
            if request.path == TOKEN_PATH and request.method == "POST":
                return self._gateway.give_token(request)
            fault = self.faults.take(request)
            if fault is not None and not fault.is_done:
                reply = fault.reply
            else:
                reply = self._answer_safely(request)
                if fault is not None:
                    reply = fault.reply
            status = 0 if reply is None else reply.status
            query = read_query(request.query)
            self.asked.append(Asked(request.method, request.path, query, request.headers, request.body, status))
            return HttpReply(0, is_lost=True) if reply is None else reply

    def _answer_safely(self, request: HttpRequest) -> HttpReply:
        stopped = self._gateway.stop_at(request)
        if stopped is not None:
            return stopped
        try:
            reply = self._answer(request)
        except KpnRefusalError as exc:
            reply = self._refuse(exc)
        return reply._replace(headers=reply.headers + self._gateway.quota_headers())

    def _refuse(self, refusal: KpnRefusalError) -> HttpReply:
        if self.rules.gateway_errors:
            return gateway_error(refusal.status, "Error", refusal.message)
        members: dict[str, object] = {"code": refusal.status, "message": refusal.message}
        return json_reply(refusal.status, members | ({"errorId": refusal.error_id} if refusal.error_id else {}))

    def _answer(self, request: HttpRequest) -> HttpReply:
        if not request.path.startswith(BASE_PATH + "/"):
            return gateway_error(404, "Not found", "No such API")
        version = request.headers.get("api-version", LATEST)
        if version not in {LATEST, LEGACY}:
            return gateway_error(400, "Bad request", f"No such version: {version}")
        parts = [unquote(part) for part in request.path.removeprefix(BASE_PATH + "/").split("/")]
        query = read_query(request.query)
        if parts == ["activate"] and request.method == "POST":
            return self._activate(request.body)
        if not self.is_activated:
            return gateway_error(403, "Forbidden", "The API is not activated for this project")
        match parts:
            case ["routingProfiles", *rest]:
                return self._answer_profiles(request, rest, query)
            case ["devices", *rest]:
                return self._answer_devices(request, rest, query, version)
            case ["deviceAlarms", *rest]:
                return self._answer_alarms(request.method, rest, query)
            case [what] if request.method == "GET":
                return self._answer_subscription(what, query)
        return gateway_error(404, "Not found", "No such resource")

    def _answer_subscription(self, what: str, query: Mapping[str, str]) -> HttpReply:
        match what:
            case "connectivityPlans":
                return json_reply(200, [plan.shown() for plan in self.plans])
            case "deviceProfiles":
                profiles = [{"id": id_, "name": name, "typeMAC": "LoRaMAC"} for id_, name in DEVICE_PROFILES.items()]
                return json_reply(200, profiles)
            case "hsmGroups":
                return json_reply(200, _page([{"id": one, "name": one} for one in HSM_GROUPS], query))
            case "deviceFrameStatistics":
                return json_reply(200, self._alarms.statistics(query, frozenset(self._devices.by_eui)))
            case "deviceHealthStatistics":
                return json_reply(200, self._health())
        return gateway_error(404, "Not found", "No such resource")

    def _activate(self, body: bytes) -> HttpReply:
        if read_object(body) != self._login:
            return gateway_error(self.rules.wrong_login_status, "Unauthorized", "User name or password is not valid")
        self.is_activated = True
        return json_reply(200, {"status": "activated"})

    def _answer_profiles(self, request: HttpRequest, rest: list[str], query: Mapping[str, str]) -> HttpReply:
        match request.method, rest:
            case "GET", []:
                wanted = query.get("routingProfileId")
                found = [one for one in self.profiles.values() if wanted is None or one.id == wanted]
                return json_reply(200, [one.shown() for one in found])
            case "POST", []:
                return json_reply(201, self._profiles.create(_body(request)))
            case "GET", [ref]:
                return json_reply(200, self._profiles.get(ref).shown())
            case "PUT", [ref]:
                return json_reply(200, self._profiles.update(ref, _body(request)))
            case "DELETE", [ref]:
                profile = self._profiles.get(ref)
                used = any(one.routing_profile_id == profile.id for one in self.devices.values())
                self._profiles.delete(ref, is_used=used)
                return json_reply(204)
        return gateway_error(404, "Not found", "No such resource")

    def _answer_devices(
        self, request: HttpRequest, rest: list[str], query: Mapping[str, str], version: str
    ) -> HttpReply:
        match request.method, rest:
            case "GET", []:
                found = _page(self._devices.select(query), query)
                return json_reply(200, [_shown_in_list(one, query) for one in found])
            case "POST", []:
                device = self._devices.create(_body(request), HSM_GROUPS, version, self.clock())
                return json_reply(201, device.shown())
            case "GET", [ref]:
                device = self._devices.get(ref)
                return json_reply(200, device.shown() | {"statistics": device.statistics()})
            case "PUT", [ref]:
                return json_reply(200, self._devices.update(ref, _body(request)).shown())
            case "DELETE", [ref]:
                self._devices.delete(ref)
                return json_reply(204)
        return gateway_error(404, "Not found", "No such resource")

    def _answer_alarms(self, method: str, rest: list[str], query: Mapping[str, str]) -> HttpReply:
        match method, rest:
            case "GET", []:
                return json_reply(200, [one.shown() for one in _page(self._alarms.select(query), query)])
            case "GET", [ref]:
                return json_reply(200, self._alarms.get(ref).shown())
            case "POST", [ref, "acks"]:
                alarm = self._alarms.get(ref)
                alarm.acked_at, alarm.acked_by = self.clock(), self._login["thingpark_username"]
                return json_reply(201)
        return gateway_error(404, "Not found", "No such resource")

    def _health(self) -> dict[str, object]:
        states = [device.health_state for device in self.devices.values()]
        return {
            "initCount": states.count("INIT"),
            "activeCount": states.count("ACTIVE"),
            "rfConnectionErrorCount": states.count("RF_CNX_ERROR"),
            "totalCount": len(states),
        }


def _body(request: HttpRequest) -> dict[str, object]:
    found = read_object(request.body)
    if found is None:
        raise KpnRefusalError(400, "Bad request: the body is not a JSON object")
    return found


def _page(everything: list[T], query: Mapping[str, str]) -> list[T]:
    text = query.get("pageIndex")
    if text is None:
        return everything
    if not (text.isascii() and text.isdigit() and int(text[:9]) >= 1):
        raise KpnRefusalError(400, "Bad request: pageIndex is 1 or more")
    first = (int(text[:9]) - 1) * PAGE_SIZE
    return everything[first : first + PAGE_SIZE]


def _shown_in_list(device: SimulatedKpnDevice, query: Mapping[str, str]) -> dict[str, object]:
    everything = query.get("extendedInfo") == "true"
    shown = device.shown() if everything else device.shown_short()
    if everything or query.get("statistics") == "true":
        shown["statistics"] = device.statistics()
    if everything or query.get("commercialDetails") == "true":
        shown["commercialDetails"] = {"manufacturerName": "Generic"}
    return shown
