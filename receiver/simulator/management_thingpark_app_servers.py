"""Application servers of a simulated ThingPark: what ThingPark Enterprise takes of them, and what it refuses.

Source: Device Manager contract 7.3, `AppServer`, `SecurityAppServer`, with the rules of its descriptions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from receiver.simulator.management_thingpark_book import (
    SimulatedAppServer,
    ThingParkRefusalError,
    bits_per_digit,
    forbid,
    require_hex,
)
from receiver.simulator.management_thingpark_paging import list_page

if TYPE_CHECKING:
    from receiver.simulator.management_thingpark_book import Json, ThingParkBook
    from receiver.simulator.management_thingpark_paging import Query

MOST_HEADERS = 5

_LOCAL = {"127.0.0.1", "localhost"}
_CONTENT_TYPES = {"xml", "json", "jsontyped"}
_AS_ID = re.compile(r"[A-Za-z0-9._-]{1,200}\Z")
_NOT_AT_CREATION = frozenset({"state", "occContext"})
_NOT_IN_UPDATES = frozenset({"type"})
_WRITABLE = ("name", "contentType", "description", "destinations", "customHttpHeaders", "domains", "state")
_OWN_HEADERS = {"accept", "host", "user-agent", "content-length", "content-type"}


def list_app_servers(book: ThingParkBook, query: Query) -> Json:
    """Answer the list of application servers; it has no count."""
    name, id_, types = query.one("name") or "", query.one("ID") or "", query.all("type")
    flow = query.one("tpxIotFlowConnectionId")
    found = [
        one
        for one in book.app_servers.values()
        if str(one.members.get("name")).startswith(name)
        and one.id.startswith(id_)
        and (not types or one.type in types)
        and (flow is None or _flow_of(one) == flow)
    ]
    return list_page(query, book.rules, found, lambda one: show_brief(book, one))


def create_app_server(book: ThingParkBook, body: Json) -> SimulatedAppServer:
    """Make a Basic HTTPS application server, or refuse it."""
    forbid(body, _NOT_AT_CREATION, "Property at creation")
    if body.get("type", "HTTP") != "HTTP":
        raise ThingParkRefusalError("Application servers of this type are not managed here", 403)
    if not isinstance(body.get("name"), str) or not body["name"]:
        raise ThingParkRefusalError("Property name is mandatory")
    _check_name(book, str(body["name"]), None)
    members = _checked(book, body)
    uid = book.next_uid()
    id_ = f"TWA_{book.subscriber_id}.{uid}.AS"
    members = {"type": "HTTP", "contentType": "xml", "state": "ACTIVE", **members}
    made = SimulatedAppServer(uid, id_, members, book.new_occ(), {"status": "NONE"})
    _set_security(book, made, body.get("downlinkSecurity"))
    book.app_servers[uid] = made
    return made


def update_app_server(book: ThingParkBook, there: SimulatedAppServer, body: Json, query: Query) -> None:
    """Change an application server, or refuse it."""
    if there.type == "KAFKA":
        raise ThingParkRefusalError("IoT Flow connections are managed by DX Core", 403)
    forbid(body, _NOT_IN_UPDATES, "Update of property")
    members = _checked(book, body)
    if isinstance(body.get("name"), str):
        _check_name(book, str(body["name"]), there)
    book.check_occ(there.occ, body, force=query.is_forced)
    there.members.update(members)
    if "downlinkSecurity" in body:
        _set_security(book, there, body["downlinkSecurity"])


def set_security(book: ThingParkBook, there: SimulatedAppServer, body: Json, query: Query) -> None:
    """Set the tunnel key of an application server, or refuse it."""
    if "downlinkSecurity" not in body or ("occContext" not in body and not query.is_forced):
        raise ThingParkRefusalError("Properties downlinkSecurity and occContext are mandatory")
    before = there.tunnel_key, dict(there.security)
    _set_security(book, there, body["downlinkSecurity"])
    try:
        book.check_occ(there.occ, body, force=query.is_forced)
    except ThingParkRefusalError:
        there.tunnel_key, there.security = before
        raise


def delete_app_server(book: ThingParkBook, there: SimulatedAppServer) -> None:
    """Delete an application server that nothing uses, or refuse it."""
    if there.type == "KAFKA":
        raise ThingParkRefusalError("IoT Flow connections are managed by DX Core", 403)
    if count_devices(book, there):
        raise ThingParkRefusalError("The application server is associated with devices", 409)
    del book.app_servers[there.uid]


def show_security(there: SimulatedAppServer) -> Json:
    """Give what an answer shows of what signs its messages: not the key."""
    return {"downlinkSecurity": dict(there.security), "occContext": there.occ.show()}


def show_app_server(book: ThingParkBook, one: SimulatedAppServer) -> Json:
    """Give an application server as an answer shows it whole."""
    return {**_show(book, one), **one.members, **show_security(one)}


def show_brief(book: ThingParkBook, one: SimulatedAppServer) -> Json:
    """Give an application server as a list shows it."""
    names = ("name", "type", "state", "notification", "tpxIotFlow", "domains")
    return {**_show(book, one), **{name: one.members[name] for name in names if name in one.members}}


def count_devices(book: ThingParkBook, one: SimulatedAppServer) -> int:
    """Give how many devices have it."""
    return sum(one.id in device.app_server_ids for device in book.devices.values())


def _show(book: ThingParkBook, one: SimulatedAppServer) -> Json:
    return {
        "ID": one.id,
        "href": book.href("appServers", one.uid),
        "deviceCount": count_devices(book, one),
        "baseStationCount": 0,
        "multicastGroupCount": sum(one.id in group.app_server_ids for group in book.groups.values()),
        "healthState": "ACTIVE" if one.members.get("state") == "ACTIVE" else "DEACTIVATED",
        "validationState": "VALIDATED",
    }


def _flow_of(one: SimulatedAppServer) -> object:
    flow = one.members.get("tpxIotFlow")
    return flow.get("connectionId") if isinstance(flow, dict) else None


def _check_name(book: ThingParkBook, name: str, but: SimulatedAppServer | None) -> None:
    if book.rules.unique_names and any(
        one.members.get("name") == name for one in book.app_servers.values() if one is not but
    ):
        raise ThingParkRefusalError("An application server of this name already exists", book.rules.taken_status)


def _checked(book: ThingParkBook, body: Json) -> Json:
    members = {name: body[name] for name in _WRITABLE if name in body}
    if members.get("contentType", "xml") not in _CONTENT_TYPES:
        raise ThingParkRefusalError("Invalid contentType")
    if members.get("state", "ACTIVE") not in {"ACTIVE", "DEACTIVATED"}:
        raise ThingParkRefusalError("Invalid state")
    if "destinations" in members:
        _check_destinations(book, members["destinations"])
    if "customHttpHeaders" in members:
        _check_headers(members["customHttpHeaders"])
    return members


def _check_destinations(book: ThingParkBook, destinations: object) -> None:
    match destinations:
        case [{"addresses": [str(address)], "ports": "*", "strategy": "SEQUENTIAL"}]:
            try:
                parts = urlsplit(address)
            except ValueError as exc:
                raise ThingParkRefusalError("Invalid destinations: no URL") from exc
        case _:
            raise ThingParkRefusalError("Invalid destinations: exactly one, of one address for ports *, is supported")
    if book.rules.needs_https and parts.scheme != "https" and parts.hostname not in _LOCAL:
        raise ThingParkRefusalError("Invalid destinations: https is required")
    if parts.hostname in book.rules.refused_hosts:
        raise ThingParkRefusalError("The certificate of the destination cannot be verified")


def _check_headers(headers: object) -> None:
    names = []
    for one in headers if isinstance(headers, list) else [None]:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str) or not isinstance(one.get("value"), str):
            raise ThingParkRefusalError("Invalid customHttpHeaders")
        names.append(one["name"].lower())
    if len(names) > MOST_HEADERS or len(set(names)) < len(names) or set(names) & _OWN_HEADERS:
        raise ThingParkRefusalError("Invalid customHttpHeaders")


def _set_security(book: ThingParkBook, one: SimulatedAppServer, security: object) -> None:
    given = security if isinstance(security, dict) else {"status": "NONE"}
    match given.get("status"):
        case "NONE":
            if given.keys() > {"status"}:
                raise ThingParkRefusalError("downlinkSecurity: status NONE forbids the other properties")
            if book.rules.needs_security:
                raise ThingParkRefusalError("Uplink and downlink security is required")
            one.tunnel_key, one.security = None, {"status": "NONE"}
        case "DOWNLINK_AS_KEY":
            key = require_hex(given.get("downlinkAsKey"), 32, "downlinkAsKey")
            if bits_per_digit(key) < book.rules.least_bits_per_digit:
                raise ThingParkRefusalError("downlinkAsKey: the entropy of the key is too low")
            as_id = given.get("asID", one.id)
            if not isinstance(as_id, str) or not _AS_ID.match(as_id):
                raise ThingParkRefusalError("Invalid asID")
            deviation = given.get("maxTimestampDeviation", 0)
            if not isinstance(deviation, int) or deviation < 0:
                raise ThingParkRefusalError("Invalid maxTimestampDeviation")
            one.tunnel_key = key
            one.security = {"status": "DOWNLINK_AS_KEY", "asID": as_id, "maxTimestampDeviation": deviation}
        case _:
            raise ThingParkRefusalError("Invalid downlinkSecurity status")
