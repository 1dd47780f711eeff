"""Devices and connectivity plans of a simulated KPN LoRa: plans run out, and what is not said is chosen as KPN does.

Source: KPN LoRa Device Management API 1.2, Device, ConnectivityPlan and the operations of devices; its documentation
page, "Create a device".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.lorawan.identifiers import parse_dev_eui
from receiver.lorawan.keys import AesKey
from receiver.simulator.management_kpn_lora_profiles import KpnRefusalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from random import Random

    from receiver.lorawan.identifiers import DevEui
    from receiver.simulator.management_kpn_lora_profiles import KpnLoraRules, ProfileBook

OPERATOR = 24
"""As KPN's example of an error names it."""

PLAN_UNKNOWN = "OSS-214"
LEGACY = "v1.1.1"

_MAY_CHANGE = frozenset(
    {"name", "routingProfileId", "processingStrategyId", "connectivityPlanId", "deviceProfileId", "applicationEUI"}
)
_STRATEGIES = frozenset({"DATAFLOW", "IOT_FLOW", "NOAS", "DEFAULTRP"})
_RESET = "reset"
_EUI = re.compile(r"[0-9A-Fa-f]{16}\Z")
_KEY = re.compile(r"[0-9A-Fa-f]{32}\Z")
_ECHOED = ("administrativeInfo", "motionIndicator", "geoLatitude", "geoLongitude", "dataflowTags", "hsmGroupId")


@dataclass(slots=True)
class SimulatedPlan:
    """A connectivity plan: as many devices as were granted, and no more."""

    id: str
    ref: str
    name: str
    granted: int
    used: int = 0
    communication_type: str = "UNICAST"

    def shown(self) -> dict[str, object]:
        """Give the plan as answers show it."""
        return {
            "id": self.id,
            "ref": self.ref,
            "name": self.name,
            "grantedConnections": self.granted,
            "usedConnections": self.used,
            "communicationType": self.communication_type,
        }


@dataclass(slots=True)
class SimulatedKpnDevice:
    """A device, with the AppKey that no answer shows."""

    ref: str
    dev_eui: DevEui
    members: dict[str, object] = field(repr=False)
    app_key: AesKey | None
    created_at: datetime
    health_state: str = "INIT"

    @property
    def routing_profile_id(self) -> str | None:
        """The id of its routing profile, such as `TWA_100001135.2647`."""
        found = self.members.get("routingProfileId")
        return found if isinstance(found, str) else None

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.members.get("name") or "")

    def shown(self) -> dict[str, object]:
        """Give the device as answers show it: without its key."""
        return {"ref": self.ref, **self.members}

    def shown_short(self) -> dict[str, object]:
        """Give the device as lists show it."""
        return {name: value for name, value in self.shown().items() if name in {"ref", "name", "EUI", "networkAddress"}}

    def statistics(self) -> dict[str, object]:
        """Give its statistics."""
        return {
            "creationTime": self.created_at.isoformat(timespec="milliseconds"),
            "healthState": self.health_state,
            "commissioningState": "ACTIVATED" if self.health_state == "ACTIVE" else "COMMISSIONED",
        }


class DeviceBook:
    """The devices of one subscriber. Not for several threads at a time."""

    def __init__(self, random: Random, profiles: ProfileBook, plans: list[SimulatedPlan], kinds: Iterable[str]) -> None:
        self.by_ref: dict[str, SimulatedKpnDevice] = {}
        self.by_eui: dict[str, SimulatedKpnDevice] = {}
        self.plans = plans
        self._profiles = profiles
        self._device_profiles = frozenset(kinds)
        self._next_ref = random.randint(15_000, 40_000)

    @property
    def _rules(self) -> KpnLoraRules:
        return self._profiles.rules

    def get(self, ref: str) -> SimulatedKpnDevice:
        """Give the device of a ref. Raises KpnRefusalError."""
        found = self.by_ref.get(ref)
        if found is None:
            raise KpnRefusalError(404, f"Not found: No Device for ref: {ref}")
        return found

    def create(
        self, wanted: Mapping[str, object], hsm_groups: tuple[str, ...], version: str, now: datetime
    ) -> SimulatedKpnDevice:
        """Make a device. Raises KpnRefusalError."""
        eui = wanted.get("EUI")
        if not isinstance(eui, str) or not _EUI.match(eui):
            raise KpnRefusalError(400, "Bad request: EUI is not 8 bytes in hexadecimal")
        dev_eui = parse_dev_eui(eui)
        if wanted.get("activationType", "OTAA") != "OTAA" and version != LEGACY:
            raise KpnRefusalError(400, "Bad request: activationType must be OTAA")
        hsm_group = wanted.get("hsmGroupId")
        if hsm_group not in hsm_groups and not (hsm_group is None and version == LEGACY):
            raise KpnRefusalError(400, f"Bad request: No HSMGroup for ID: {hsm_group}")
        key = wanted.get("applicationKey")
        if not isinstance(key, str) or not _KEY.match(key):
            raise KpnRefusalError(400, "Bad request: applicationKey is not 16 bytes in hexadecimal")
        if dev_eui in self.by_eui:
            raise KpnRefusalError(self._rules.taken_status, f"A Device with EUI {eui} already exists")
        members: dict[str, object] = {
            "name": str(wanted.get("name") or eui),
            "EUI": eui.lower() if self._rules.lower_case_euis else eui,
            "activationType": "OTAA",
        }
        chosen = {name: wanted[name] for name in _MAY_CHANGE if wanted.get(name) is not None}
        if "connectivityPlanId" not in chosen:
            chosen["connectivityPlanId"] = self._first_free_plan()
        if "routingProfileId" not in chosen and "processingStrategyId" not in chosen:
            chosen["processingStrategyId"] = "DATAFLOW"
        members |= {name: wanted[name] for name in _ECHOED if wanted.get(name) is not None}
        device = SimulatedKpnDevice(str(self._next_ref), dev_eui, members, AesKey(bytes.fromhex(key)), now)
        self._apply(device, chosen)
        self._next_ref += 1
        self.by_ref[device.ref] = self.by_eui[dev_eui] = device
        return device

    def update(self, ref: str, wanted: Mapping[str, object]) -> SimulatedKpnDevice:
        """Change a device. Raises KpnRefusalError."""
        device = self.get(ref)
        forbidden = sorted(set(wanted) - _MAY_CHANGE)
        if forbidden:
            raise KpnRefusalError(400, f"Bad request: {', '.join(forbidden)} cannot be updated")
        self._apply(device, dict(wanted))
        return device

    def delete(self, ref: str) -> None:
        """Delete a device; its plan has room for another one. Raises KpnRefusalError."""
        device = self.get(ref)
        plan = self._plan_of(device)
        if plan is not None:
            plan.used -= 1
        del self.by_ref[ref], self.by_eui[device.dev_eui]

    def select(self, query: Mapping[str, str]) -> list[SimulatedKpnDevice]:
        """Give the devices that a query asks for."""
        found: Iterable[SimulatedKpnDevice] = self.by_ref.values()
        if (eui := query.get("deviceEUI")) is not None:
            one = self.by_eui.get(eui.upper())
            found = [] if one is None else [one]
        if (state := query.get("healthState")) is not None:
            found = [device for device in found if device.health_state == state]
        match query.get("connectivityPlanId"):
            case None:
                return list(found)
            case "_NOCP":
                return [device for device in found if self._plan_of(device) is None]
            case "_CP":
                return [device for device in found if self._plan_of(device) is not None]
            case plan:
                return [device for device in found if device.members.get("connectivityPlanId") == plan]

    def _apply(self, device: SimulatedKpnDevice, wanted: dict[str, object]) -> None:
        """Change `device`, all of it or nothing."""
        members = {**device.members, **{name: value for name, value in wanted.items() if value != _RESET}}
        for name, value in wanted.items():
            if value == _RESET and name in {"connectivityPlanId", "routingProfileId"}:
                members.pop(name, None)
        kind, strategy = members.get("deviceProfileId"), members.get("processingStrategyId")
        if kind not in self._device_profiles:
            raise KpnRefusalError(400, f"Bad request: No DeviceProfile for ID: {kind}")
        if strategy is not None and strategy not in _STRATEGIES:
            raise KpnRefusalError(400, f"Bad request: No ProcessingStrategy for ID: {strategy}")
        if "processingStrategyId" in wanted:  # it overrides what routing there is
            members.pop("routingProfileId", None)
        elif "routingProfileId" in members:
            members.pop("processingStrategyId", None)
        routing = members.get("routingProfileId")
        if routing is not None and self._profiles.find(routing) is None:
            raise KpnRefusalError(400, f"Bad request: No RoutingProfile for ID: {routing}")
        self._move(self._plan_of(device) if device.ref in self.by_ref else None, members.get("connectivityPlanId"))
        device.members = members

    def _move(self, old: SimulatedPlan | None, wanted: object) -> None:
        new = None
        if wanted is not None:
            new = next((plan for plan in self.plans if plan.id == wanted), None)
            if new is None:
                raise KpnRefusalError(
                    400, f"Bad request: No ConnectivityPlan for ID: {wanted} and Operator: {OPERATOR}", PLAN_UNKNOWN
                )
            if new is not old and new.used >= new.granted:
                raise KpnRefusalError(400, f"Bad request: No more connections available in ConnectivityPlan {new.id}")
        if old is not None:
            old.used -= 1
        if new is not None:
            new.used += 1

    def _plan_of(self, device: SimulatedKpnDevice) -> SimulatedPlan | None:
        wanted = device.members.get("connectivityPlanId")
        return next((plan for plan in self.plans if plan.id == wanted), None)

    def _first_free_plan(self) -> str:
        for plan in self.plans:
            if plan.used < plan.granted:
                return plan.id
        raise KpnRefusalError(400, "Bad request: No more connections available in any ConnectivityPlan")
