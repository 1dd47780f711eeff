"""Routing profiles of a simulated KPN LoRa: what was asked for, the AS transport key that was made, who gets pushes.

Source: KPN LoRa Device Management API 1.2, RoutingProfile and Route; its documentation page, "Create an application
routing profile". What neither says is a setting of `KpnLoraRules`, with a default.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from receiver.simulator.portal import SimulatedPortal

if TYPE_CHECKING:
    from random import Random

    from receiver.lorawan.keys import AesKey

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*\Z")
_HEX_32 = re.compile(r"[0-9a-fA-F]{32}\Z")
_LOCAL = {"127.0.0.1", "localhost"}
_PEM_LINE = 64


class KpnRefusalError(Exception):
    """What the simulated network refuses, as its answer says it. `error_id` as `OSS-214`."""

    def __init__(self, status: int, message: str, error_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error_id = error_id


@dataclass(frozen=True, slots=True)
class KpnLoraRules:
    """What no document of KPN says and a network has to decide all the same."""

    taken_status: int = 409
    """For a DevEUI or a name that is taken; 400 is as likely."""
    has_unique_names: bool = True
    """Of routing profiles."""
    keeps_used_profiles: bool = True
    """A routing profile with devices cannot be deleted."""
    least_bits_per_digit: float = 2.5
    """Shannon entropy of a tunnel key; below it is refused. KPN's and Actility's examples have 2.85 and more."""
    refused_hosts: frozenset[str] = frozenset()
    """Hosts whose certificate the network does not trust."""
    wraps_hex_text: bool = False
    """The AS transport key is wrapped as 32 hex digits and not as 16 bytes: guides say either."""
    gateway_errors: bool = False
    """All refusals come in the gateway's envelope, as the interface's description has it."""
    wrong_login_status: int = 401
    """For a wrong user name or password at `/activate`."""
    lower_case_euis: bool = False
    """EUIs are echoed in lower case; examples have either."""


@dataclass(slots=True)
class SimulatedProfile:
    """A routing profile, with what no answer shows: tunnel key and AS transport key."""

    ref: str
    id: str
    name: str
    is_default: bool
    hsm_group_id: str | None = None
    routes: list[dict[str, object]] = field(default_factory=list, repr=False)
    as_transport_key: AesKey | None = None
    keys_made: int = 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the first route pushes to."""
        found = self._route().get("addresses")
        return tuple(str(one) for one in found) if isinstance(found, list) else ()

    @property
    def as_id(self) -> str | None:
        """What the first route signs as."""
        return _text(self._route().get("asId"))

    @property
    def as_key(self) -> str | None:
        """The tunnel key of the first route, as it was sent."""
        return _text(self._route().get("asKey"))

    @property
    def content_type(self) -> str:
        """XML or JSON."""
        return str(self._route().get("contentType"))

    def shown(self) -> dict[str, object]:
        """Give the profile as answers show it: without any key."""
        shown: dict[str, object] = {"id": self.id, "ref": self.ref, "name": self.name, "default": self.is_default}
        if self.hsm_group_id is not None:
            shown["hsmGroupId"] = self.hsm_group_id
        routes = [{name: value for name, value in route.items() if name != "asKey"} for route in self.routes]
        return shown | ({"routes": routes} if routes else {})

    def _route(self) -> dict[str, object]:
        return self.routes[0] if self.routes else {}


class ProfileBook:
    """The routing profiles of one subscriber. Not for several threads at a time."""

    def __init__(self, random: Random, customer_id: str, hsm_groups: tuple[str, ...], rules: KpnLoraRules) -> None:
        self.rules = rules
        self.by_ref: dict[str, SimulatedProfile] = {}
        self._random = random
        self._customer_id = customer_id
        self._hsm_groups = hsm_groups
        self._next_ref = random.randint(800, 3000)

    def get(self, ref: str) -> SimulatedProfile:
        """Give the profile of a ref. Raises KpnRefusalError."""
        found = self.by_ref.get(ref)
        if found is None:
            raise KpnRefusalError(404, f"Not found: No RoutingProfile for ref: {ref}")
        return found

    def find(self, profile_id: object) -> SimulatedProfile | None:
        """Give the profile of an id as devices name it, or None."""
        return next((one for one in self.by_ref.values() if one.id == profile_id), None)

    def create(self, wanted: dict[str, object]) -> dict[str, object]:
        """Make a profile and give it as shown, once with its wrapped AS transport key. Raises KpnRefusalError."""
        name = _text(wanted.get("name"))
        if not name:
            raise KpnRefusalError(400, "Bad request: name is mandatory")
        ref = str(self._next_ref)
        profile = SimulatedProfile(ref, f"TWA_{self._customer_id}.{ref}", name, is_default=False)
        wrapped = self._apply(profile, wanted)
        self._next_ref += 1
        self.by_ref[ref] = profile
        return profile.shown() | wrapped

    def update(self, ref: str, wanted: dict[str, object]) -> dict[str, object]:
        """Change a profile and give it as shown. Raises KpnRefusalError."""
        profile = self.get(ref)
        wrapped = self._apply(profile, wanted)
        return profile.shown() | wrapped

    def delete(self, ref: str, *, is_used: bool) -> None:
        """Delete a profile. Raises KpnRefusalError."""
        self.get(ref)
        if is_used and self.rules.keeps_used_profiles:
            raise KpnRefusalError(self.rules.taken_status, f"RoutingProfile {ref} is in use by devices")
        del self.by_ref[ref]

    def _apply(self, profile: SimulatedProfile, wanted: dict[str, object]) -> dict[str, object]:
        """Change `profile`, all of it or nothing."""
        name = _text(wanted.get("name")) or profile.name
        others = {one.name for one in self.by_ref.values() if one is not profile}
        if self.rules.has_unique_names and name in others:
            raise KpnRefusalError(self.rules.taken_status, f"A RoutingProfile with name {name} already exists")
        becomes_default = wanted.get("default", profile.is_default)
        if profile.is_default and becomes_default is not True:
            raise KpnRefusalError(400, "Bad request: default can only be changed from false to true")
        hsm_group = wanted.get("hsmGroupId", profile.hsm_group_id)
        if hsm_group is not None and hsm_group not in self._hsm_groups:
            raise KpnRefusalError(400, f"Bad request: No HSMGroup for ID: {hsm_group}")
        routes = self._read_routes(wanted["routes"]) if "routes" in wanted else profile.routes
        wrapped = self._new_key(wanted.get("rsaPublicKey"), hsm_group)
        if becomes_default is True:
            for one in self.by_ref.values():
                one.is_default = False
        profile.name, profile.is_default, profile.routes = name, becomes_default is True, routes
        profile.hsm_group_id = _text(hsm_group)
        if wrapped is None:
            return {}
        profile.as_transport_key, text = wrapped
        profile.keys_made += 1
        return {"rsaEncryptedASKey": text}

    def _new_key(self, public_key: object, hsm_group: object) -> tuple[AesKey, str] | None:
        if public_key is None:
            return None
        if hsm_group is None:
            raise KpnRefusalError(400, "Bad request: hsmGroupId is mandatory with rsaPublicKey")
        found = _PEM.match(public_key.strip()) if isinstance(public_key, str) else None
        if found is None:
            raise KpnRefusalError(400, "Bad request: rsaPublicKey is not in PEM format")
        digits = "".join(found[1].split())
        lines = [digits[at : at + _PEM_LINE] for at in range(0, len(digits), _PEM_LINE)]
        pem = "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])
        portal = SimulatedPortal(self._random.randbytes(16))
        try:
            return portal.as_transport_key, portal.wrap_for(pem, as_hex_text=self.rules.wraps_hex_text)
        except (ValueError, AttributeError) as exc:  # no key at all, or one of another kind than RSA
            raise KpnRefusalError(400, "Bad request: rsaPublicKey is not an RSA public key") from exc

    def _read_routes(self, wanted: object) -> list[dict[str, object]]:
        if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
            raise KpnRefusalError(400, "Bad request: routes is not a list of routes")
        return [self._read_route(one) for one in wanted]

    def _read_route(self, wanted: dict[str, object]) -> dict[str, object]:
        route: dict[str, object] = {
            "sourcePorts": wanted.get("sourcePorts", "*"),
            "strategy": wanted.get("strategy", "SEQUENTIAL"),
            "contentType": wanted.get("contentType", "XML"),
        }
        if route["strategy"] not in {"SEQUENTIAL", "BLAST"} or route["contentType"] not in {"XML", "JSON"}:
            raise KpnRefusalError(400, "Bad request: strategy or contentType of the route is not valid")
        as_id, as_key = wanted.get("asId"), wanted.get("asKey")
        if as_id is not None and as_key is not None:
            if not isinstance(as_key, str) or not _HEX_32.match(as_key):
                raise KpnRefusalError(400, "Bad request: asKey is not 16 bytes in hexadecimal")
            if _bits_per_digit(as_key.lower()) < self.rules.least_bits_per_digit:
                raise KpnRefusalError(400, "Bad request: the entropy of asKey is too low")
            route |= {"asId": as_id, "asKey": as_key}
        elif as_id is not None or as_key is not None:
            raise KpnRefusalError(400, "Bad request: asId and asKey must be set together")
        if "maxDeviation" in wanted:
            route["maxDeviation"] = wanted["maxDeviation"]
        addresses = wanted.get("addresses")
        if not isinstance(addresses, list) or not addresses:
            raise KpnRefusalError(400, "Bad request: a route must have addresses")
        for address in addresses:
            self._check_address(address)
        return {**route, "addresses": list(addresses)}

    def _check_address(self, address: object) -> None:
        try:
            parts = urlsplit(address if isinstance(address, str) else "")
            host = parts.hostname
        except ValueError:
            host = None
        if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOCAL)):
            raise KpnRefusalError(400, "Bad request: the address of the route must be an HTTPS URL")
        if host in self.rules.refused_hosts:
            raise KpnRefusalError(400, f"Bad request: the certificate of {host} is not trusted")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _bits_per_digit(digits: str) -> float:
    shares = [count / len(digits) for count in Counter(digits).values()]
    return -sum(share * math.log2(share) for share in shares)
