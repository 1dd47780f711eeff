"""The requests of KPN's LoRa Device Management API that change something, as values: what is wished in, a call out.

They are built apart from being sent, so that a dry run shows what would be sent, without its secrets.
Source: KPN LoRa Device Management API 1.2, operations; its documentation page, "Create an application routing
profile" and "Create a device".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from receiver.errors import IdentifierError, SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.platforms.calls import PlatformCall

if TYPE_CHECKING:
    from receiver.lorawan.identifiers import DevEui
    from receiver.lorawan.keys import AesKey

RESET = "reset"
"""As connectivity plan or routing profile of a changed device: it has none any more."""

STRATEGIES = ("SEQUENTIAL", "BLAST")
CONTENT_TYPES = ("XML", "JSON")
PROCESSING_STRATEGIES = ("DATAFLOW", "IOT_FLOW", "NOAS", "DEFAULTRP")

_HEX_32 = re.compile(r"[0-9a-f]{32}\Z")
_LONGEST_REF = 100  # of KPN's the longest is 24
_ADDRESS = re.compile(
    r"(?:https://|http://(?:127\.0\.0\.1|localhost)(?=[:/]))[\x21-\x7e]+\Z"
)  # this machine: an emulator


@dataclass(frozen=True, slots=True)
class RouteWish:
    """A route to ask for. `as_id` and `as_key` sign pushes and downlinks: without both, nothing is signed.

    `as_key` is the tunnel key, 32 hex digits; it is sent in lower case without dashes, the form that KPN hashes.
    No answer has it, so whoever changes a route gives it again.
    """

    addresses: tuple[str, ...]
    as_id: str | None = None
    as_key: str | None = field(default=None, repr=False)
    content_type: str = "JSON"
    """KPN takes XML where nothing is sent; JSON costs a receiver less."""
    strategy: str = "SEQUENTIAL"
    source_ports: str = "*"
    max_deviation_s: int | None = None
    """How old a downlink may be when it reaches the network; nothing to do with pushes."""


@dataclass(frozen=True, slots=True)
class RoutingProfileWish:
    """A routing profile to create. With HSM group and RSA public key (PEM) the network makes an AS transport key.

    The PEM is sent on one line, as KPN's example has it: whether line breaks are taken is not documented.
    """

    name: str
    routes: tuple[RouteWish, ...]
    hsm_group_id: str | None = None
    rsa_public_key: str | None = field(default=None, repr=False)
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class RoutingProfileChanges:
    """What to change of a routing profile; None stays as it is. `is_default` can only become True.

    A new `rsa_public_key` asks for a new AS transport key; `hsm_group_id` goes with it.
    """

    name: str | None = None
    routes: tuple[RouteWish, ...] | None = None
    hsm_group_id: str | None = None
    rsa_public_key: str | None = field(default=None, repr=False)
    is_default: bool | None = None


@dataclass(frozen=True, slots=True)
class KpnDeviceWish:
    """A device to create, by OTAA.

    One of `routing_profile_id` and `processing_strategy_id` must be given, and so must `connectivity_plan_id`. Without
    the former KPN chooses DATAFLOW, and no uplink ever reaches an own server; without the latter it takes the first
    plan with a free connection, which may be one with other costs. Neither is said in its answer, so neither is left
    to it.
    """

    dev_eui: DevEui
    join_eui: DevEui
    app_key: AesKey
    name: str
    device_profile_id: str
    connectivity_plan_id: str
    routing_profile_id: str | None = None
    processing_strategy_id: str | None = None
    hsm_group_id: str | None = None
    """Needed since 1.2; without it only where `api-version` is v1.1.1."""
    administrative_info: str | None = None
    motion_indicator: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    device_token: str | None = field(default=None, repr=False)
    js_profile: str | None = None
    js_subscriber_ref: str | None = None


@dataclass(frozen=True, slots=True)
class KpnDeviceChanges:
    """What to change of a device: all that KPN can; None stays as it is. For the rest: delete it and create it anew.

    `RESET` as plan or routing profile takes it away.
    """

    name: str | None = None
    routing_profile_id: str | None = None
    processing_strategy_id: str | None = None
    connectivity_plan_id: str | None = None
    device_profile_id: str | None = None
    join_eui: DevEui | None = None
    js_profile: str | None = None
    js_subscriber_ref: str | None = None


def build_activate_call(username: str, password: str) -> PlatformCall:
    """Give the request that ties a project of the developer portal to a ThingPark login, once."""
    body = {"thingpark_username": username, "thingpark_password": password}
    return PlatformCall("POST", "/activate", body=body)


def build_create_routing_profile_call(wish: RoutingProfileWish) -> PlatformCall:
    """Give the request that creates a routing profile.

    Raises:
        SettingsError, IdentifierError: something wished is not of its form. A key is never shown.
    """
    body: dict[str, object] = {"name": _named(wish.name, "routing profile"), "default": wish.is_default}
    body |= _key_members(wish.hsm_group_id, wish.rsa_public_key)
    body["routes"] = _route_list(wish.routes)
    return PlatformCall("POST", "/routingProfiles", body=body)


def build_update_routing_profile_call(ref: str, changes: RoutingProfileChanges) -> PlatformCall:
    """Give the request that changes a routing profile.

    Raises:
        SettingsError, IdentifierError: something is not of its form, or nothing is to change.
    """
    body: dict[str, object] = {}
    if changes.name is not None:
        body["name"] = _named(changes.name, "routing profile")
    if changes.is_default is not None:
        if not changes.is_default:
            raise SettingsError("A routing profile stops being the default only when another one becomes it.")
        body["default"] = True
    body |= _key_members(changes.hsm_group_id, changes.rsa_public_key)
    if changes.routes is not None:
        body["routes"] = _route_list(changes.routes)
    return PlatformCall("PUT", _path("/routingProfiles", ref), body=_some(body, "routing profile"))


def build_delete_routing_profile_call(ref: str) -> PlatformCall:
    """Give the request that deletes a routing profile.

    Raises:
        IdentifierError: `ref` is none.
    """
    return PlatformCall("DELETE", _path("/routingProfiles", ref))


def build_create_device_call(wish: KpnDeviceWish) -> PlatformCall:
    """Give the request that creates a device, with plan and routing always said: see `KpnDeviceWish`.

    Raises:
        SettingsError: something needed is missing, or both or neither of routing profile and strategy are given.
    """
    if bool(wish.routing_profile_id) == bool(wish.processing_strategy_id):
        raise SettingsError(
            f"The device {wish.dev_eui} needs a routing profile or a processing strategy, and not both: without one KPN"
            " sends its data to Dataflow and never here."
        )
    if wish.processing_strategy_id and wish.processing_strategy_id not in PROCESSING_STRATEGIES:
        raise SettingsError(
            f"{shorten(wish.processing_strategy_id)!r} is no processing strategy: choose"
            f" {', '.join(PROCESSING_STRATEGIES)}."
        )
    if not wish.connectivity_plan_id or not wish.device_profile_id:
        raise SettingsError(
            f"The device {wish.dev_eui} needs a connectivity plan and a device profile: `receiver kpn-lora plans list`"
            " and `receiver kpn-lora device-profiles list` show those there are."
        )
    members: dict[str, object] = {
        "name": _named(wish.name, "device"),
        "EUI": wish.dev_eui,
        "activationType": "OTAA",
        "deviceProfileId": wish.device_profile_id,
        "hsmGroupId": wish.hsm_group_id,
        "connectivityPlanId": wish.connectivity_plan_id,
        "routingProfileId": wish.routing_profile_id,
        "processingStrategyId": wish.processing_strategy_id,
        "applicationEUI": wish.join_eui,
        "applicationKey": wish.app_key.reveal().hex(),
        "administrativeInfo": wish.administrative_info,
        "motionIndicator": wish.motion_indicator,
        "geoLatitude": wish.latitude,
        "geoLongitude": wish.longitude,
    }
    query = (
        ("deviceToken", wish.device_token),
        ("jsProfile", wish.js_profile),
        ("jsSubscriberRef", wish.js_subscriber_ref),
    )
    return PlatformCall("POST", "/devices", _given(query), {k: v for k, v in members.items() if v is not None})


def build_update_device_call(ref: str, changes: KpnDeviceChanges) -> PlatformCall:
    """Give the request that changes a device: with what may change, and nothing else.

    Raises:
        SettingsError, IdentifierError: something is not of its form, or nothing is to change.
    """
    members = {
        "name": None if changes.name is None else _named(changes.name, "device"),
        "routingProfileId": changes.routing_profile_id,
        "processingStrategyId": changes.processing_strategy_id,
        "connectivityPlanId": changes.connectivity_plan_id,
        "deviceProfileId": changes.device_profile_id,
        "applicationEUI": changes.join_eui,
    }
    body = _some({name: value for name, value in members.items() if value is not None}, "device")
    query = (("jsProfile", changes.js_profile), ("jsSubscriberRef", changes.js_subscriber_ref))
    return PlatformCall("PUT", _path("/devices", ref), _given(query), body)


def build_delete_device_call(ref: str) -> PlatformCall:
    """Give the request that deletes a device.

    Raises:
        IdentifierError: `ref` is none.
    """
    return PlatformCall("DELETE", _path("/devices", ref))


def build_acknowledge_alarm_call(ref: str) -> PlatformCall:
    """Give the request that acknowledges an alarm.

    Raises:
        IdentifierError: `ref` is none.
    """
    return PlatformCall("POST", _path("/deviceAlarms", ref) + "/acks")


def build_get_call(collection: str, ref: str) -> PlatformCall:
    """Give the request for one of `devices`, `routingProfiles` or `deviceAlarms`.

    Raises:
        IdentifierError: `ref` is none.
    """
    return PlatformCall("GET", _path(f"/{collection}", ref))


def _path(collection: str, ref: str) -> str:
    if not 0 < len(ref) <= _LONGEST_REF or ref in {".", ".."} or not ref.isprintable():
        raise IdentifierError(f"{shorten(ref)!r} is no reference of KPN's: these are like 15532, as a list shows them.")
    return f"{collection}/{quote(ref, safe='')}"


def _named(name: str, what: str) -> str:
    name = name.strip()
    if not name or not name.isprintable():
        raise SettingsError(f"A {what} needs a name that can be printed.")
    return name


def _key_members(hsm_group_id: str | None, public_key: str | None) -> dict[str, object]:
    if public_key and not hsm_group_id:
        raise SettingsError(
            "An RSA key goes with the HSM group that makes the AS transport key: `receiver kpn-lora hsm-groups list`"
            " shows those there are."
        )
    members: dict[str, object] = {"hsmGroupId": hsm_group_id} if hsm_group_id else {}
    if public_key:
        members["rsaPublicKey"] = "".join(public_key.split("\n")).replace("\r", "")
    return members


def _route_list(routes: tuple[RouteWish, ...]) -> list[dict[str, object]]:
    if not routes:
        raise SettingsError("A routing profile needs a route: the address that the network pushes to.")
    return [_route_members(route) for route in routes]


def _route_members(route: RouteWish) -> dict[str, object]:
    if not route.addresses:
        raise SettingsError("A route needs an address that the network pushes to.")
    for address in route.addresses:
        if not _ADDRESS.match(address):
            raise SettingsError(f"{shorten(address, 80)!r} cannot be pushed to: KPN pushes to https:// alone.")
    if route.strategy not in STRATEGIES or route.content_type not in CONTENT_TYPES:
        raise SettingsError(
            f"A route is {' or '.join(STRATEGIES)}, of {' or '.join(CONTENT_TYPES)};"
            f" not {shorten(route.strategy)!r}, of {shorten(route.content_type)!r}."
        )
    if (route.as_id is None) != (route.as_key is None):
        raise SettingsError("A route that is signed needs both an AS id and a tunnel key.")
    members: dict[str, object] = {
        "sourcePorts": route.source_ports,
        "strategy": route.strategy,
        "contentType": route.content_type,
    }
    if route.as_id is not None and route.as_key is not None:
        digits = route.as_key.strip().replace("-", "").lower()
        if not _HEX_32.match(digits):
            raise IdentifierError("A tunnel key of KPN's has 32 hexadecimal digits; this one has not.")
        members |= {"asId": route.as_id, "asKey": digits}
    if route.max_deviation_s is not None:
        members["maxDeviation"] = route.max_deviation_s
    return {**members, "addresses": list(route.addresses)}


def _some(body: dict[str, object], what: str) -> dict[str, object]:
    if not body:
        raise SettingsError(f"Nothing of the {what} is to change.")
    return body


def _given(query: tuple[tuple[str, str | None], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in query if value)
