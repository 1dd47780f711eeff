"""What a simulated ThingPark subscription holds: application servers, devices, plans, alarms, frames; and its rules.

Numbers of errors are not published but for 111, 214 and 222: all others have 25 here, the contract's example.
Sources: Device Manager contract 7.3; the tutorial of docs.thingpark.com (8.1 or later).
"""

from __future__ import annotations

import base64
import math
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from random import Random

REST_PATH = "/thingpark/wireless/rest"
OTHER_ERROR = 25
DEVICE_EXISTS, NO_CONNECTIVITY_PLAN, NO_DEVICE_PROFILE = 111, 214, 222

MOST_FRAMES = 10_000
"""Of a device that are remembered."""
MOST_DEVICES = 200_000

Json = dict[str, object]


class ThingParkRefusalError(Exception):
    """What the simulated ThingPark refuses, as its answer says it."""

    def __init__(self, message: str, status: int = 400, code: int = OTHER_ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code


@dataclass(slots=True)
class ThingParkRules:
    """What no document says, or what differs from one ThingPark to the other. May be changed at any time."""

    page_size: int = 100
    """The least and usual entries of a page; larger ones are had up to the largest."""
    largest_page_size: int = 1_000
    largest_page_index: int = 100
    """Above, 409 is answered."""
    has_alarm_cursors: bool = True
    """As from 8.1 on; before, sorting by alarmUid was refused."""
    has_network_contexts: bool = True
    """As from 8.1 on."""
    unique_names: bool = True
    """Of application servers."""
    taken_status: int = 409
    conflict_status: int = 409
    """For an `occContext` of another version."""
    needs_occ_context: bool = False
    """An update without `occContext` is refused, as the contract has it; clients do without."""
    needs_https: bool = True
    """But for destinations on this machine."""
    needs_security: bool = False
    least_bits_per_digit: float = 2.5
    """Shannon entropy of a tunnel key; below it is refused. The contract's examples have 2.9 and more."""
    most_connections: int = 5
    """Of IoT Flow. Source: documentation of TPX IoT Flow."""
    refused_hosts: frozenset[str] = frozenset()
    """Hosts whose certificate the network does not trust."""
    shows_empty_slots: bool = False
    """In traffic histories."""
    dx_tokens_open_rest: bool = False
    """Tokens of DX Admin are good for the Device Manager API."""


@dataclass(slots=True)
class Occ:
    """The version of an object."""

    version: int
    at: datetime
    who: str

    def show(self) -> Json:
        """Give it as `occContext`."""
        return {"version": self.version, "lastUpdate": to_ms(self.at), "who": self.who}


@dataclass(slots=True)
class SimulatedAppServer:
    """An application server, with the tunnel key that no answer shows."""

    uid: int
    id: str
    members: Json
    occ: Occ
    security: Json
    tunnel_key: str | None = field(default=None, repr=False)
    """32 hex digits; None: nothing is signed."""

    @property
    def type(self) -> str:
        """Give `HTTP` or `KAFKA`."""
        return str(self.members.get("type", "HTTP"))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Give where it wants to be pushed to."""
        found = self.members.get("destinations")
        return tuple(address for one in found for address in one["addresses"]) if isinstance(found, list) else ()

    @property
    def as_id(self) -> str:
        """Give what pushes carry in AS_ID."""
        return str(self.security.get("asID", self.id))

    @property
    def max_timestamp_deviation_s(self) -> int:
        """Give how far clocks may be apart; 0: no bound."""
        found = self.security.get("maxTimestampDeviation", 0)
        return found if isinstance(found, int) else 0


@dataclass(slots=True)
class SimulatedFrame:
    """One frame of a device, as ThingPark remembers it."""

    at: datetime
    type: int
    size: int
    sf: int = 7
    rssi: float = -80.0
    snr: float = 7.5
    lost_before: int = 0
    is_late: bool = False
    is_sent: bool = True
    subtype: int | None = None
    """4: a join request; 1004: a join accept."""


@dataclass(slots=True)
class SimulatedAlarm:
    """An alarm of a device."""

    uid: str
    id: int
    dev_eui: str
    state: int
    created_at: datetime
    updated_at: datetime
    additional: tuple[str, ...] = ()
    occurrence: int = 1
    acked_by: str | None = None
    acked_at: datetime | None = None


@dataclass(slots=True)
class ManagedDevice:
    """A device, or a multicast group, with the keys that no answer shows."""

    uid: int
    eui: str
    members: Json
    occ: Occ
    created_at: datetime
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    """`appKey`, `nwkKey`, `nwKey`, `appKeys` … as they were given."""
    tags: dict[int, str] = field(default_factory=dict)
    frames: deque[SimulatedFrame] = field(default_factory=lambda: deque(maxlen=MOST_FRAMES), repr=False)

    @property
    def app_server_ids(self) -> tuple[str, ...]:
        """Give the IDs of the application servers that get its messages."""
        found = self.members.get("appServers")
        return tuple(str(one["ID"]) for one in found) if isinstance(found, list) else ()

    @property
    def app_key(self) -> str | None:
        """Give its AppKey, as it was given."""
        return self.keys.get("appKey")

    @property
    def is_suspended(self) -> bool:
        """Say whether its messages are ignored."""
        return self.members.get("suspension", "NONE") != "NONE" or not self.members.get("networkSubscription")


@dataclass(slots=True)
class SimulatedPlan:
    """A connectivity plan with its licences."""

    uid: int
    id: str
    name: str
    granted: int
    connectivity: str = "LORAWAN"
    nw_geolocalization: bool = False
    pr_allowed: bool = False
    communication_type: str = "UNICAST"
    used: int = 0


class ThingParkBook:
    """All that one subscription has. Whoever uses it holds its lock."""

    def __init__(
        self, clock: Callable[[], datetime], random: Random, *, number: int, subscriber_id: str, mode: str
    ) -> None:
        self.clock = clock
        self.random = random
        self.number = number
        self.subscriber_id = subscriber_id
        self.mode = mode
        self.who = "John Doe"
        self.rules = ThingParkRules()
        self.app_servers: dict[int, SimulatedAppServer] = {}
        self.devices: dict[str, ManagedDevice] = {}
        self.groups: dict[str, ManagedDevice] = {}
        self.routing_profiles: dict[int, tuple[Json, Occ]] = {}
        self.plans: list[SimulatedPlan] = []
        self.profiles: list[Json] = []
        self.network_contexts: list[Json] = []
        self.alarms: dict[str, SimulatedAlarm] = {}
        self.created_at = clock()
        self.cellular_devices = 0
        self._last_uid = 2000

    def next_uid(self) -> int:
        """Give the number of something new."""
        self._last_uid += 1
        return self._last_uid

    def href(self, *parts: object) -> str:
        """Give an address of the subscription as answers have it: with its number, from the host's root."""
        return "/".join([f"{REST_PATH}/subscriptions/{self.number}", *(str(part) for part in parts)])

    def new_occ(self) -> Occ:
        """Give the version of something new."""
        return Occ(0, self.clock(), self.who)

    def check_occ(self, occ: Occ, body: Mapping[str, object], *, force: bool) -> None:
        """Refuse an update of another version than is there, and count it."""
        given = body.get("occContext")
        if given is None and self.rules.needs_occ_context and not force:
            raise ThingParkRefusalError("occContext is missing")
        if isinstance(given, dict) and given.get("version") != occ.version and not force:
            raise ThingParkRefusalError("OCC conflict: the object has been updated", self.rules.conflict_status)
        occ.version += 1
        occ.at, occ.who = self.clock(), self.who

    def find_app_server(self, reference: str) -> SimulatedAppServer | None:
        """Give an application server by its ID or its number."""
        uid = reference.split(".")[1] if reference.count(".") == 2 else reference
        return self.app_servers.get(int(uid)) if uid.isascii() and uid.isdigit() else None

    def find_plan(self, plan_id: str) -> SimulatedPlan | None:
        """Give a plan by its ID."""
        return next((plan for plan in self.plans if plan.id == plan_id), None)

    def draw_hex(self, digits: int) -> str:
        """Give hex digits."""
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"


def to_ms(at: datetime) -> int:
    """Give a time in milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def bits_per_digit(text: str) -> float:
    """Give the Shannon entropy of a text, by its characters."""
    counts = Counter(text.lower())
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def require_hex(value: object, digits: int, what: str) -> str:
    """Give a value of so many hex digits in upper case, or refuse it."""
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", value):
        raise ThingParkRefusalError(f"Invalid {what}")
    return value.upper()


def forbid(body: Mapping[str, object], names: frozenset[str], what: str) -> None:
    """Refuse a body that has members which may not be sent."""
    found = sorted(names & body.keys())
    if found:
        raise ThingParkRefusalError(f"{what} is forbidden: {', '.join(found)}", 403)


def write_cursor(members: Json) -> str:
    """Give a cursor as ThingPark writes it."""
    text = "{" + ",".join(f'"{name}":"{value}"' for name, value in members.items()) + "}"
    return base64.b64encode(text.encode()).decode()
