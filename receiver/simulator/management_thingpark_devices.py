"""Devices and multicast groups of a simulated ThingPark: how they are made, listed, changed, and what is refused.

Sources: Device Manager contract 7.3, `Device…`, `MulticastGroup`; the tutorial of docs.thingpark.com for the cellular
devices of 8.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from receiver.simulator.management_thingpark_book import (
    DEVICE_EXISTS,
    MOST_DEVICES,
    NO_CONNECTIVITY_PLAN,
    NO_DEVICE_PROFILE,
    ManagedDevice,
    ThingParkRefusalError,
    forbid,
    require_hex,
    to_ms,
)
from receiver.simulator.management_thingpark_paging import cursor_page, list_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.simulator.management_thingpark_book import Json, SimulatedPlan, ThingParkBook
    from receiver.simulator.management_thingpark_paging import Query

KEY_NAMES = ("appKey", "nwkKey", "nwKey", "appKeys", "sNwkSIntKey", "nwkSEncKey", "ki")
"""Members that are written and never read."""

_REFERENCE = re.compile(r"(\d+)\Z|e([0-9A-F]+)\Z")
_FIXED = frozenset({"EUI", "nwAddress", "activation", "connectivity", "imsi", "ki", "ownerToken"})
_FIXED_OF_GROUPS = frozenset({"EUI", "nwAddress", "bss"})
_FREE = ("name", "customerAdminData", "adminLat", "adminLon", "motionIndicator", "domains", "alarm004", "suspension")
_OF_GROUPS = ("name", "class", "pingSlotPeriod", "downlinkDataRate", "downlinkFrequency", "customerAdminData", "bss")
_SUSPENSIONS = {"NONE", "SUBSCRIBER_SUSPENDED"}


def find_device(devices: Mapping[str, ManagedDevice], reference: str, what: str = "Device") -> ManagedDevice:
    """Give a device by its number or `e` and its EUI in upper case; 400 where there is none."""
    found = _REFERENCE.match(reference)
    if found is None:
        raise ThingParkRefusalError(f"Invalid {what} UID")
    if found[2] is not None:
        device = devices.get(found[2])
    else:
        device = next((one for one in devices.values() if one.uid == int(found[1][:12])), None)
    if device is None:
        raise ThingParkRefusalError(f"{what} not found")
    return device


def list_devices(book: ThingParkBook, query: Query) -> Json:
    """Answer the list of devices."""
    found = [one for one in book.devices.values() if _fits(one, query)]
    page = cursor_page(query, book.rules, found, lambda one: show_brief(book, one), "EUI", lambda one: one.eui)
    return {**page, "now": to_ms(book.clock())}


def create_device(book: ThingParkBook, body: Json, query: Query) -> ManagedDevice:
    """Make a device, or refuse it; the plan's licence is taken."""
    forbid(body, frozenset({"occContext"}), "Property at creation")
    if len(book.devices) >= MOST_DEVICES:
        raise ThingParkRefusalError("Too many devices", 409)
    is_cellular = body.get("connectivity", "LORAWAN") == "CELLULAR"
    profile = _profile(book, body.get("model"), "CELLULAR" if is_cellular else "LORAWAN")
    eui = _cellular_eui(book, body) if is_cellular else require_hex(body.get("EUI"), 16, "EUI")
    if eui in book.devices:
        raise ThingParkRefusalError("A Device report already exists for the given EUI", 400, DEVICE_EXISTS)
    members: Json = {name: body[name] for name in _FREE if name in body}
    members |= {"connectivity": "CELLULAR" if is_cellular else "LORAWAN", "EUI": eui, "model": profile}
    if is_cellular:
        members |= _cellular_members(book, body)
    else:
        members |= _lorawan_members(body)
    members.setdefault("name", f"New device {book.next_uid()}")
    members |= _routing(book, body) or {"appServers": []}
    plan = _choose_plan(book, body, "CELLULAR" if is_cellular else "LORAWAN", "UNICAST", query)
    made = ManagedDevice(book.next_uid(), eui, members, book.new_occ(), book.clock(), _keys_of(body))
    take_plan(book, made, plan)
    book.devices[eui] = made
    return made


def update_device(book: ThingParkBook, there: ManagedDevice, body: Json, query: Query) -> None:
    """Change a device, or refuse it."""
    forbid(body, _FIXED, "Update of property")
    if body.get("suspension", "NONE") not in _SUSPENSIONS:
        raise ThingParkRefusalError("Invalid suspension")
    changes: Json = {name: body[name] for name in _FREE if name in body}
    if "model" in body:
        changes["model"] = _profile(book, body["model"], str(there.members["connectivity"]))
    routing = _routing(book, body)
    if "appServers" in routing and "appServersRoutingProfile" in there.members:
        raise ThingParkRefusalError("Property appServers is forbidden with an AS routing profile", 403)
    changes |= routing
    if "appEUI" in body:
        changes["appEUI"] = require_hex(body["appEUI"], 16, "appEUI")
    plan = None
    if "networkSubscription" in body:
        plan = _choose_plan(book, body, str(there.members["connectivity"]), "UNICAST", query, there)
    keys = _keys_of(body)
    book.check_occ(there.occ, body, force=query.is_forced)
    there.members.update(changes)
    if "appServersRoutingProfile" in changes:
        there.members.pop("appServers", None)
    there.keys.update(keys)
    if "networkSubscription" in body:
        take_plan(book, there, plan)


def delete_device(book: ThingParkBook, there: ManagedDevice) -> None:
    """Delete a device with its history and alarms; the plan's licence is free again."""
    take_plan(book, there, None)
    del book.devices[there.eui]
    for uid in [uid for uid, alarm in book.alarms.items() if alarm.dev_eui == there.eui]:
        del book.alarms[uid]


def list_groups(book: ThingParkBook, query: Query) -> Json:
    """Answer the list of multicast groups, by number only."""
    found = [one for one in book.groups.values() if str(one.members.get("name")).startswith(query.one("name") or "")]
    page = list_page(query, book.rules, found, lambda one: show_group(book, one), counted=True)
    return {**page, "now": to_ms(book.clock())}


def create_group(book: ThingParkBook, body: Json, query: Query) -> ManagedDevice:
    """Make a multicast group, or refuse it."""
    forbid(body, frozenset({"occContext"}), "Property at creation")
    eui = require_hex(body.get("EUI"), 16, "EUI")
    if eui in book.groups or eui in book.devices:
        raise ThingParkRefusalError("A Device report already exists for the given EUI", 400, DEVICE_EXISTS)
    require_hex(body.get("nwKey"), 32, "nwKey")
    members: Json = {name: body[name] for name in _OF_GROUPS if name in body}
    members |= {"EUI": eui, "nwAddress": require_hex(body.get("nwAddress"), 8, "nwAddress")}
    _check_class(members)
    members.setdefault("name", f"New group {book.next_uid()}")
    members["appServers"] = _app_servers(book, body.get("appServers", []))
    made = ManagedDevice(book.next_uid(), eui, members, book.new_occ(), book.clock(), _keys_of(body))
    take_plan(book, made, _choose_plan(book, body, "LORAWAN", "MULTICAST", query))
    book.groups[eui] = made
    return made


def update_group(book: ThingParkBook, there: ManagedDevice, body: Json, query: Query) -> None:
    """Change a multicast group, or refuse it."""
    forbid(body, _FIXED_OF_GROUPS, "Update of property")
    changes: Json = {name: body[name] for name in _OF_GROUPS if name in body}
    _check_class({**there.members, **changes})
    if "appServers" in body:
        changes["appServers"] = _app_servers(book, body["appServers"])
    book.check_occ(there.occ, body, force=query.is_forced)
    there.members.update(changes)
    there.keys.update(_keys_of(body))


def show_device(book: ThingParkBook, one: ManagedDevice) -> Json:
    """Give a device as an answer shows it whole."""
    return {**show_brief(book, one), "occContext": one.occ.show(), "now": to_ms(book.clock())}


def show_brief(book: ThingParkBook, one: ManagedDevice) -> Json:
    """Give a device as a list shows it."""
    alarms = [alarm for alarm in book.alarms.values() if alarm.dev_eui == one.eui and alarm.acked_at is None]
    uplinks = [frame for frame in one.frames if frame.type == 0]
    state = "SUSPENDED" if one.is_suspended else "ACTIVE" if uplinks else "INIT"
    return {
        **one.members,
        "healthState": state,
        "creationDate": to_ms(one.created_at),
        "lastUpTimestamp": to_ms(uplinks[-1].at) if uplinks else None,
        "alarmCount": len(alarms),
        "alarmLevel": max((alarm.state for alarm in alarms), default=0),
        "tags": [{"name": name} for name in one.tags.values()],
        "href": book.href("devices", one.uid),
    }


def show_group(book: ThingParkBook, one: ManagedDevice) -> Json:
    """Give a multicast group as an answer shows it."""
    return {
        **one.members,
        "occContext": one.occ.show(),
        "now": to_ms(book.clock()),
        "creationDate": to_ms(one.created_at),
        "href": book.href("multicastGroups", one.uid),
    }


def take_plan(book: ThingParkBook, device: ManagedDevice, plan: SimulatedPlan | None) -> None:
    """Give a device the licence of a plan in place of the one it has."""
    before = device.members.pop("networkSubscription", None)
    if isinstance(before, dict):
        held = book.find_plan(str(before["ID"]))
        if held is not None:
            held.used -= 1
    if plan is not None:
        plan.used += 1
        device.members["networkSubscription"] = {
            "ID": plan.id,
            "commercialName": plan.name,
            "nwGeolocalization": plan.nw_geolocalization,
            "prAllowed": plan.pr_allowed,
        }


def _choose_plan(
    book: ThingParkBook, body: Json, connectivity: str, kind: str, query: Query, held_by: ManagedDevice | None = None
) -> SimulatedPlan | None:
    mode = query.one("networkSubscriptionsHandlingMode") or book.mode
    if mode not in {"BASIC", "ADVANCED"}:
        raise ThingParkRefusalError("Invalid query parameter networkSubscriptionsHandlingMode")
    wanted = body.get("networkSubscription")
    wanted = wanted if isinstance(wanted, dict) else {}
    if wanted.get("ID") is not None:
        plan = book.find_plan(str(wanted["ID"]))
    elif mode == "ADVANCED" or connectivity == "CELLULAR":
        return None
    else:
        flags = (bool(wanted.get("nwGeolocalization")), bool(wanted.get("prAllowed")))
        plans = [one for one in book.plans if (one.connectivity, one.communication_type) == (connectivity, kind)]
        fits = [one for one in plans if kind == "MULTICAST" or (one.nw_geolocalization, one.pr_allowed) == flags]
        plan = next((one for one in fits if one.used < one.granted), fits[0] if fits else None)
    if plan is None:
        wanted_id = wanted.get("ID")
        raise ThingParkRefusalError(
            f"No ConnectivityPlan for ID: {wanted_id} and Operator: 24", 400, NO_CONNECTIVITY_PLAN
        )
    held = held_by.members.get("networkSubscription") if held_by is not None else None
    holds_it = isinstance(held, dict) and held.get("ID") == plan.id
    if plan.used >= plan.granted and not holds_it:
        raise ThingParkRefusalError(f"No more license available for the network subscription {plan.id}")
    return plan


def _profile(book: ThingParkBook, model: object, connectivity: str) -> Json:
    wanted = model.get("ID") if isinstance(model, dict) else None
    for profile in book.profiles:
        if profile["ID"] == wanted and profile["connectivity"] == connectivity:
            return {"ID": wanted, "commercialName": profile["commercialName"], "connectivity": connectivity}
    raise ThingParkRefusalError(f"No device profile for the given ID : {wanted}", 400, NO_DEVICE_PROFILE)


def _lorawan_members(body: Json) -> Json:
    members: Json = {"activation": body.get("activation")}
    if "appEUI" in body:
        members["appEUI"] = require_hex(body["appEUI"], 16, "appEUI")
    match body.get("activation"):
        case "OTAA":
            if "appKey" in body:
                require_hex(body["appKey"], 32, "appKey")
                members["joinServer"] = "LOCAL"
            elif "appEUI" in body:
                members["joinServer"] = "EXTERNAL"
            else:
                raise ThingParkRefusalError("Property appEUI is mandatory with an external join server")
        case "ABP":
            if "appKey" in body:
                raise ThingParkRefusalError("Property appKey is forbidden for ABP", 403)
            require_hex(body.get("nwKey"), 32, "nwKey")
            if not isinstance(body.get("appKeys"), str) or "<AppSKeys>" not in str(body["appKeys"]):
                raise ThingParkRefusalError("Invalid appKeys")
            members["nwAddress"] = require_hex(body.get("nwAddress"), 8, "nwAddress")
        case _:
            raise ThingParkRefusalError("Invalid activation")
    return members


def _cellular_eui(book: ThingParkBook, body: Json) -> str:
    """Give an EUI of the network for a SIM; of 7.3 the first 14 digits of the IMEI."""
    sim = body.get("sim")
    if isinstance(sim, dict) and str(sim.get("ID", "")).isdigit():
        taken = [one for one in book.devices.values() if one.members.get("sim", {}) == _sim(body)]
        if taken:
            raise ThingParkRefusalError("The SIM is associated with another device", 409)
        book.cellular_devices += 1
        return f"F03D29{book.cellular_devices:010X}"
    imei = body.get("EUI")
    if not isinstance(imei, str) or not re.fullmatch(r"\d{14,15}", imei) or not body.get("imsi"):
        raise ThingParkRefusalError("Property sim is mandatory")
    return imei[:14]


def _cellular_members(book: ThingParkBook, body: Json) -> Json:
    members: Json = {name: body[name] for name in ("enforcedIMEI", "imsi") if name in body}
    if "sim" in body:
        members["sim"] = _sim(body)
    context = body.get("networkContext")
    if isinstance(context, dict):
        if not any(one["ID"] == context.get("ID") for one in book.network_contexts):
            raise ThingParkRefusalError(f"No cellular network context for the given ID : {context.get('ID')}")
        members["networkContext"] = {"ID": context["ID"]}
    return members


def _sim(body: Json) -> Json:
    sim = body["sim"]
    return {"ID": sim.get("ID") if isinstance(sim, dict) else None, "type": "SINGLE_IMSI"}


def _app_servers(book: ThingParkBook, wanted: object) -> list[Json]:
    found: list[Json] = []
    for one in wanted if isinstance(wanted, list) else [None]:
        id_ = one.get("ID") if isinstance(one, dict) else None
        server = book.find_app_server(str(id_))
        if server is None:
            raise ThingParkRefusalError(f"No application server for the given ID : {id_}")
        shown = {"ID": server.id, "name": server.members["name"], "href": book.href("appServers", server.uid)}
        found.append(shown)
    return found


def _routing(book: ThingParkBook, body: Json) -> Json:
    """Give where a device's messages are to go: application servers, or an AS routing profile; never both."""
    if "appServersRoutingProfile" not in body:
        return {"appServers": _app_servers(book, body["appServers"])} if "appServers" in body else {}
    if "appServers" in body:
        raise ThingParkRefusalError("Property appServers is forbidden with an AS routing profile", 403)
    wanted = body["appServersRoutingProfile"]
    id_ = str(wanted.get("ID")) if isinstance(wanted, dict) else ""
    uid = id_.rpartition(".")[2]
    if not uid.isdigit() or int(uid) not in book.routing_profiles:
        raise ThingParkRefusalError(f"No AS routing profile for the given ID : {id_}")
    return {"appServersRoutingProfile": {"ID": id_, "href": book.href("appServersRoutingProfiles", uid)}}


def _keys_of(body: Json) -> dict[str, str]:
    return {name: str(body[name]) for name in KEY_NAMES if name in body}


def _check_class(members: Mapping[str, object]) -> None:
    has_slots = "pingSlotPeriod" in members
    if members.get("class") not in {"B", "C"} or has_slots != (members.get("class") == "B"):
        raise ThingParkRefusalError("Invalid class or pingSlotPeriod")


def _fits(device: ManagedDevice, query: Query) -> bool:
    members, starts = device.members, query.one("query")
    euis, wanted = query.all("devEUI"), query.all("appServerID")
    plan, held = query.one("networkSubscriptionID"), members.get("networkSubscription")
    held_id = held.get("ID") if isinstance(held, dict) else "_unset"
    connectivity, tags = query.one("connectivity"), query.all("tag")
    return (
        str(members.get("name")).startswith(query.one("name") or "")
        and (starts is None or device.eui.startswith(starts.upper()) or str(members.get("name")).startswith(starts))
        and (not euis or any(device.eui.startswith(eui.upper()) for eui in euis))
        and set(wanted) <= set(device.app_server_ids)
        and connectivity in {None, members["connectivity"]}
        and plan in {None, held_id}
        and (not tags or bool(set(tags) & set(device.tags.values())))
    )
