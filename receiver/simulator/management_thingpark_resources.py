"""The resources of a simulated ThingPark subscription behind any login: requests in, answers out.

    resources = ThingParkResources(clock=lambda: now)
    resources.answer(request, "/devices/e70B3D5E75600FFFF")     # what follows /thingpark/wireless/rest/subscriptions/32

What is in there can be looked at and changed in `resources.book`, or by the methods below.
Source: Device Manager contract 7.3; the tutorial of docs.thingpark.com (8.1 or later).
"""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from receiver.simulator import management_thingpark_app_servers as app_servers
from receiver.simulator import management_thingpark_catalogue as catalogue
from receiver.simulator import management_thingpark_devices as devices
from receiver.simulator import management_thingpark_traffic as traffic
from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.management_http import json_reply, read_object
from receiver.simulator.management_thingpark_book import (
    SimulatedAlarm,
    SimulatedFrame,
    ThingParkBook,
    ThingParkRefusalError,
    to_ms,
)
from receiver.simulator.management_thingpark_import import import_csv
from receiver.simulator.management_thingpark_networks import SimulatedNetworks
from receiver.simulator.management_thingpark_paging import Query, list_page

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from receiver.lorawan.keys import AesKey
    from receiver.simulator.loopback_server import HttpRequest
    from receiver.simulator.management_thingpark_book import Json, ManagedDevice, SimulatedAppServer
    from receiver.simulator.network import SimulatedNetwork

_UNKNOWN = ThingParkRefusalError("Resource not found", 404)


class ThingParkResources:
    """Answers for one subscription: in any thread, one request at a time.

    Args:
        clock: gives the aware time.
        seed: of everything that is drawn.
        number: of the subscription, as addresses in answers have it.
        subscriber_id: nine digits; IDs of application servers have it.
        mode: `BASIC` or `ADVANCED`.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        seed: int = 0,
        number: int = 32,
        subscriber_id: str = "199983788",
        mode: str = "BASIC",
    ) -> None:
        random = Random(seed)  # noqa: S311 - repeatable on purpose; it simulates and protects nothing
        self.book = ThingParkBook(clock, random, number=number, subscriber_id=subscriber_id, mode=mode)
        self.rules = self.book.rules
        self.lock = threading.RLock()
        self._networks = SimulatedNetworks(self.book)
        self._exchange_key: bytes | None = None
        catalogue.stock(self.book)

    # --- what a simulation of the field looks at and puts in

    def app_server(self, reference: str) -> SimulatedAppServer:
        """Give an application server by its ID or number.

        Raises:
            ThingParkRefusalError: there is none.
        """
        with self.lock:
            return self._app_server(reference)

    def device(self, dev_eui: str) -> ManagedDevice:
        """Give a device by its EUI, with the keys that it was given.

        Raises:
            ThingParkRefusalError: there is none.
        """
        with self.lock:
            return devices.find_device(self.book.devices, f"e{dev_eui.upper()}")

    def network_of(self, app_server: str, as_transport_key: AesKey | None = None) -> SimulatedNetwork:
        """Give the network that pushes to an application server: signed with its key, its devices those that have it.

        Asked again, it knows the devices and the key of then; sessions and counters of devices go on.

        Raises:
            ThingParkRefusalError: there is none, or it signs nothing.
        """
        with self.lock:
            return self._networks.network_of(self._app_server(app_server), as_transport_key)

    def add_frame(self, dev_eui: str, frame: SimulatedFrame) -> None:
        """Let a device have sent or got a frame."""
        with self.lock:
            self.device(dev_eui).frames.append(frame)

    def raise_alarm(self, dev_eui: str, alarm_id: int, state: int, additional: tuple[str, ...] = ()) -> str:
        """Raise an alarm of a device, or raise it again, and give its uid."""
        with self.lock:
            now = self.book.clock()
            for alarm in self.book.alarms.values():
                if (alarm.dev_eui, alarm.id) == (dev_eui, alarm_id):
                    if state > alarm.state:
                        alarm.acked_at = alarm.acked_by = None
                    alarm.occurrence = 1 if alarm.state == traffic.CLEARED else alarm.occurrence + 1
                    alarm.state, alarm.updated_at, alarm.additional = state, now, additional
                    return alarm.uid
            uid = self.book.draw_hex(24)
            self.book.alarms[uid] = SimulatedAlarm(uid, alarm_id, dev_eui, state, now, now, additional)
            return uid

    def clear_alarm(self, uid: str) -> None:
        """Let what an alarm told of be over."""
        with self.lock:
            alarm = self.book.alarms[uid]
            alarm.state, alarm.updated_at = traffic.CLEARED, self.book.clock()

    # --- what it is asked

    def answer(self, request: HttpRequest, subscription_path: str) -> HttpReply:
        """Answer a request; `subscription_path` is what follows the subscription, from its slash on."""
        parts = [part for part in subscription_path.split("/") if part]
        try:
            query = Query(request.query)
            with self.lock:
                return self._answer(request, parts, query)
        except ThingParkRefusalError as exc:
            return json_reply(exc.status, {"code": exc.code, "message": exc.message})

    def _answer(self, request: HttpRequest, parts: list[str], query: Query) -> HttpReply:
        match request.method, parts:
            case "GET", []:
                return json_reply(200, catalogue.show_subscription(self.book))
            case "GET", ["publicExchangeKey"]:
                return HttpReply(200, self._public_exchange_key(), "application/x-pem-file")
            case _, ["appServers", *rest]:
                return self._answer_app_servers(request, rest, query)
            case _, ["devices", *rest]:
                return self._answer_devices(request, rest, query)
            case _, ["multicastGroups", *rest]:
                return self._answer_groups(request, rest, query)
            case _, ["appServersRoutingProfiles", *rest]:
                return self._answer_routing_profiles(request, rest, query)
            case "GET", [resource]:
                return json_reply(200, catalogue.list_resource(self.book, resource, query))
            case "GET", ["networkSubscriptions", uid]:
                return json_reply(200, catalogue.show_plan(self.book, catalogue.find_plan(self.book, uid)))
        raise _UNKNOWN

    def _answer_app_servers(self, request: HttpRequest, rest: list[str], query: Query) -> HttpReply:
        book = self.book
        match request.method, rest:
            case "GET", []:
                return json_reply(200, app_servers.list_app_servers(book, query))
            case "POST", []:
                made = app_servers.create_app_server(book, _object(request))
                return self._created(("appServers", made.uid), app_servers.show_app_server(book, made))
        there = self._app_server(rest[0])
        match request.method, rest[1:]:
            case "GET", []:
                return json_reply(200, app_servers.show_app_server(book, there))
            case "PUT", []:
                app_servers.update_app_server(book, there, _object(request), query)
                return json_reply(200, app_servers.show_app_server(book, there))
            case "DELETE", []:
                app_servers.delete_app_server(book, there)
                return HttpReply(204)
            case "GET", ["security"]:
                return json_reply(200, app_servers.show_security(there))
            case "PUT", ["security"]:
                app_servers.set_security(book, there, _object(request), query)
                return json_reply(200, app_servers.show_security(there))
            case "GET", ["iotFlowConnector", "metrics"] if there.type == "KAFKA":
                names = [
                    f"{way}Last{span}{end}"
                    for way in ("uplinks", "downlinks")
                    for span in ("1h", "24h")
                    for end in ("", "Failed")
                ]
                return json_reply(200, dict.fromkeys([*names, "activeThingsLast1h", "activeThingsLast24h"], 0))
        raise _UNKNOWN

    def _answer_devices(self, request: HttpRequest, rest: list[str], query: Query) -> HttpReply:
        book = self.book
        match request.method, rest:
            case "GET", []:
                return json_reply(200, devices.list_devices(book, query))
            case "POST", []:
                made = devices.create_device(book, _object(request), query)
                return self._created(("devices", made.uid), devices.show_device(book, made), query)
            case "POST", ["import"]:
                said = import_csv(book, request.body, request.headers.get("content-type", ""), query)
                return HttpReply(200) if said is None else json_reply(200, said)
            case "GET", ["counters"]:
                states = [str(devices.show_brief(book, one)["healthState"]) for one in book.devices.values()]
                briefs = [{"healthState": state, "count": states.count(state)} for state in sorted(set(states))]
                return json_reply(200, {"briefs": briefs, "totalCount": len(states)})
            case "GET", ["alarms"]:
                return json_reply(200, traffic.list_alarms(book, query))
            case "GET", ["alarms", "histories"]:
                return json_reply(200, {"briefs": [], "more": False})
            case "GET", ["alarms", "stateDistributions"]:
                found = [alarm.state for alarm in book.alarms.values()]
                briefs = [{"state": state, "count": found.count(state)} for state in sorted(set(found))]
                return json_reply(200, {"briefs": briefs, "totalCount": len(found)})
            case "POST", ["alarms", "ack"]:
                traffic.acknowledge(book, traffic.find_alarms(book, _object(request).get("alarmUids")))
                return HttpReply(204)
        device = devices.find_device(book.devices, rest[0])
        return self._answer_device(request, device, rest[1:], query)

    def _answer_device(self, request: HttpRequest, device: ManagedDevice, rest: list[str], query: Query) -> HttpReply:
        book = self.book
        match request.method, rest:
            case "GET", []:
                return json_reply(200, devices.show_device(book, device))
            case "PUT", []:
                devices.update_device(book, device, _object(request), query)
                return json_reply(200, devices.show_device(book, device))
            case "DELETE", []:
                devices.delete_device(book, device)
                return HttpReply(204)
            case "POST", ["admins", "reset"]:
                return HttpReply(204)
            case "POST", ["admins", "downlink"]:
                return _take_downlink(query)
            case "PUT", ["restricted"]:
                book.check_occ(device.occ, _object(request), force=query.is_forced)
                return json_reply(200, {"occContext": device.occ.show()})
            case _, ["tags", *_]:
                return self._answer_tags(request, device, rest)
            case _, ["alarms", *alarm]:
                return self._answer_alarms(request, device, alarm, query)
            case "GET", _:
                return json_reply(200, self._traffic_of(device, rest, query))
        raise _UNKNOWN

    def _traffic_of(self, device: ManagedDevice, rest: list[str], query: Query) -> Json:
        match rest:
            case ["frames"]:
                return traffic.list_frames(self.book, device, query)
            case ["frames", "aggregated"]:
                return traffic.list_aggregated_frames(self.book, device, query)
            case ["spreadingFactors", "sfDistributions"]:
                return traffic.count_spreading_factors(device)
            case ["locations" | "batLevels"]:
                return {"briefs": [], "more": False}
        raise _UNKNOWN

    def _answer_alarms(self, request: HttpRequest, device: ManagedDevice, rest: list[str], query: Query) -> HttpReply:
        match request.method, rest:
            case "GET", []:
                return json_reply(200, traffic.list_alarms(self.book, query, device))
            case "POST", ["ack"]:
                traffic.acknowledge(self.book, [one for one in self.book.alarms.values() if one.dev_eui == device.eui])
                return HttpReply(201)
            case "POST", [uid, "ack"]:
                traffic.acknowledge(self.book, traffic.find_alarms(self.book, [uid]))
                return HttpReply(201)
        raise _UNKNOWN

    def _answer_tags(self, request: HttpRequest, device: ManagedDevice, rest: list[str]) -> HttpReply:
        match request.method, rest:
            case "GET", ["tags"]:
                href = self.book.href("devices", device.uid, "tags")
                briefs = [{"name": name, "href": f"{href}/{uid}"} for uid, name in device.tags.items()]
                return json_reply(200, {"briefs": briefs, "more": False})
            case "POST", ["tags"]:
                device.tags[self.book.next_uid()] = str(_object(request).get("name"))
                return HttpReply(201)
            case "DELETE", ["tags", uid] if uid.isdigit() and int(uid) in device.tags:
                del device.tags[int(uid)]
                return HttpReply(204)
        raise _UNKNOWN

    def _answer_groups(self, request: HttpRequest, rest: list[str], query: Query) -> HttpReply:
        book = self.book
        match request.method, rest:
            case "GET", []:
                return json_reply(200, devices.list_groups(book, query))
            case "POST", []:
                made = devices.create_group(book, _object(request), query)
                return self._created(("multicastGroups", made.uid), devices.show_group(book, made), query)
        group = devices.find_device(book.groups, rest[0], "Multicast group")
        match request.method, rest[1:]:
            case "GET", []:
                return json_reply(200, devices.show_group(book, group))
            case "PUT", []:
                devices.update_group(book, group, _object(request), query)
                return json_reply(200, devices.show_group(book, group))
            case "DELETE", []:
                devices.take_plan(book, group, None)
                del book.groups[group.eui]
                return HttpReply(204)
            case "GET", ["frames", "aggregated"]:
                return json_reply(200, {"briefs": [], "ratioRangeDefinitions": [], "now": to_ms(book.clock())})
        raise _UNKNOWN

    def _answer_routing_profiles(self, request: HttpRequest, rest: list[str], query: Query) -> HttpReply:
        book, profiles = self.book, self.book.routing_profiles

        def show(uid: int) -> Json:
            members, occ = profiles[uid]
            href = book.href("appServersRoutingProfiles", uid)
            return {**members, "ID": f"TWA_{book.subscriber_id}.{uid}", "href": href, "occContext": occ.show()}

        match request.method, rest:
            case "GET", []:
                return json_reply(200, list_page(query, book.rules, list(profiles), show))
            case "POST", []:
                uid = book.next_uid()
                profiles[uid] = (_object(request), book.new_occ())
                return self._created(("appServersRoutingProfiles", uid), show(uid))
        uid = int(rest[0]) if rest[0].isdigit() else 0
        if uid not in profiles or len(rest) > 1:
            raise ThingParkRefusalError("Routing profile not found")
        match request.method:
            case "PUT":
                body = _object(request)
                book.check_occ(profiles[uid][1], body, force=query.is_forced)
                body.pop("occContext", None)
                profiles[uid][0].update(body)
            case "DELETE":
                del profiles[uid]
                return HttpReply(204)
        return json_reply(200, show(uid))

    def _app_server(self, reference: str) -> SimulatedAppServer:
        found = self.book.find_app_server(reference)
        if found is None:
            raise ThingParkRefusalError("Application server not found")
        return found

    def _created(self, parts: tuple[object, ...], body: Json, query: Query | None = None) -> HttpReply:
        if query is not None and query.one("async") == "true":
            return json_reply(202, headers=(("Location", self.book.href("tasks", self.book.next_uid())),))
        return json_reply(201, body, (("Location", self.book.href(*parts)),))

    def _public_exchange_key(self) -> bytes:
        if self._exchange_key is None:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
            self._exchange_key = key.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        return self._exchange_key


def _object(request: HttpRequest) -> Json:
    body = read_object(request.body)
    if body is None:
        raise ThingParkRefusalError("The body is no JSON object")
    return body


def _take_downlink(query: Query) -> HttpReply:
    payload = query.one("payload") or ""
    if not 1 <= query.number("fPort", 1, 0) <= 225 or len(payload) % 2 or not _is_hex(payload):
        raise ThingParkRefusalError("Invalid query parameter payload or fPort")
    return HttpReply(201)


def _is_hex(text: str) -> bool:
    return set(text) <= set("0123456789abcdefABCDEF")
