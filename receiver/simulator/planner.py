"""What a simulated network pushes next, by the weights and probabilities of a scenario.

All that is drawn comes from the network's own source of randomness, so a seed and the times of sending
decide every byte.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from receiver.errors import SettingsError
from receiver.simulator.body_writer import ContentType
from receiver.simulator.device import Activation, Payloads
from receiver.simulator.kinds import ReportKind, make_report
from receiver.simulator.sensors import SENSORS
from receiver.simulator.signer import FORGERIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from receiver.simulator.device import SimulatedDevice
    from receiver.simulator.network import SimulatedNetwork
    from receiver.simulator.push import Push

MAX_DEVICES = 10_000
MAX_RATE_PER_S = 1_000.0
"""More than one receiver takes; a typing error should not become a flood."""

USUAL_MIX: Mapping[ReportKind, float] = {
    ReportKind.UPLINK: 90,
    ReportKind.LOCATION: 3,
    ReportKind.DEVICE_STATUS: 2,
    ReportKind.DOWNLINK_SENT: 2,
    ReportKind.EMPTY_UPLINK: 1,
    ReportKind.DOWNLINK_REJECTED: 0.5,
    ReportKind.MULTICAST_SUMMARY: 0.5,
    ReportKind.JOIN_REQUEST: 0.25,
    ReportKind.ALARM: 0.25,
    ReportKind.CELLULAR: 0.25,
    ReportKind.NEVER_SEEN: 0.25,
}
"""Mostly uplinks, and a little of everything else, in weights."""

_RECENT_PUSHES = 20
_SAME_DELIVERY_WITHIN = timedelta(seconds=20)  # a retry carries its old Time, which soon leaves the window
_LATE_AFTER_PUSHES = (2, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a network does, bounded in count and in time.

    `late`, `duplicates`, `rejoins` and `bad_tokens` are probabilities of each push. `mix` has weights.
    Of several content types each push draws one. ABP devices have their payloads in clear.

    Raises:
        SettingsError: a value is out of range; the message names it.
    """

    devices: int = 5
    abp_devices: int = 0
    rate_per_s: float = 1.0
    duration_s: float = 60.0
    max_pushes: int = 1_000
    content_types: Sequence[str] = (ContentType.TYPED_JSON,)
    mix: Mapping[ReportKind, float] = field(default_factory=lambda: dict(USUAL_MIX))
    late: float = 0.0
    duplicates: float = 0.0
    rejoins: float = 0.0
    bad_tokens: float = 0.0

    def __post_init__(self) -> None:
        _within("the number of devices", self.devices, 1, MAX_DEVICES)
        _within("the number of ABP devices", self.abp_devices, 0, self.devices)
        _within("the rate per second", self.rate_per_s, 0.001, MAX_RATE_PER_S)
        _within("the duration in seconds", self.duration_s, 0.001, 366 * 86_400)
        _within("the number of pushes", self.max_pushes, 1, 10**9)
        for name in ("late", "duplicates", "rejoins", "bad_tokens"):
            _within(f"the probability {name.replace('_', ' ')}", getattr(self, name), 0, 1)
        if not self.content_types:
            raise SettingsError("A scenario needs at least one content type.")
        if not all(math.isfinite(weight) and weight >= 0 for weight in self.mix.values()) or not any(self.mix.values()):
            raise SettingsError("The weights of a mix are numbers from 0 on, and one of them is more than 0.")


class Planner:
    """Adds a scenario's devices to a network, and gives its pushes one by one.

    DevEUIs are the same in every run, sessions differ by seed: each OTAA device's first report is its join.
    """

    def __init__(self, network: SimulatedNetwork, scenario: Scenario) -> None:
        self._network = network
        self._scenario = scenario
        self._random = network.random
        self._content_types = [ContentType(form) for form in scenario.content_types]
        self._kinds, self._weights = list(scenario.mix), list(scenario.mix.values())
        self._recent: deque[Push] = deque(maxlen=_RECENT_PUSHES)
        self._held: deque[tuple[int, SimulatedDevice]] = deque()
        self._count = 0
        self._devices = [self._add_device(number) for number in range(1, scenario.devices + 1)]
        self._to_join = {device.dev_eui for device in self._devices if device.activation is Activation.OTAA}

    def due_times(self) -> Iterator[timedelta]:
        """Give, counted from the start, when each push is due: at the rate, a little irregularly."""
        for slot in range(self._scenario.max_pushes):
            due_s = (slot + self._random.random()) / self._scenario.rate_per_s
            if due_s >= self._scenario.duration_s:
                return
            yield timedelta(seconds=due_s)

    def next_push(self, at: datetime) -> Push:
        """Give the next push, sent at `at`."""
        self._count += 1
        scenario = self._scenario
        if self._happens(scenario.duplicates) and self._recent:
            return self._duplicate(at)
        push = self._report(at, self._random.choice(self._content_types))
        if self._happens(scenario.bad_tokens):
            return self._network.forge(push, self._random.choice(FORGERIES))
        self._recent.append(push)
        return push

    def _report(self, at: datetime, content_type: ContentType) -> Push:
        if self._held and self._held[0][0] <= self._count:
            _, device = self._held.popleft()
            return self._network.late_uplink(device, at=at, content_type=content_type)
        device = self._random.choice(self._devices)
        if device.dev_eui in self._to_join or self._happens(self._scenario.rejoins):
            self._to_join.discard(device.dev_eui)
            return self._restart(device, at, content_type)
        kind = self._random.choices(self._kinds, self._weights)[0]
        if kind in {ReportKind.JOIN, ReportKind.RESET}:
            return self._restart(device, at, content_type)
        if kind is ReportKind.UPLINK and self._happens(self._scenario.late):
            self._network.hold(device, at=at - timedelta(seconds=self._random.uniform(1, 300)))
            self._held.append((self._count + self._random.randint(*_LATE_AFTER_PUSHES), device))
        return make_report(self._network, device, kind, at=at, content_type=content_type)

    def _restart(self, device: SimulatedDevice, at: datetime, content_type: ContentType) -> Push:
        kind = ReportKind.JOIN if device.activation is Activation.OTAA else ReportKind.RESET
        return make_report(self._network, device, kind, at=at, content_type=content_type)

    def _duplicate(self, at: datetime) -> Push:
        original = self._random.choice(self._recent)
        if original.sent_at > at - _SAME_DELIVERY_WITHIN and self._random.random() < 0.5:
            return self._network.again(original)
        return self._network.again_in_a_new_delivery(original, at=at)

    def _happens(self, probability: float) -> bool:
        return self._random.random() < probability

    def _add_device(self, number: int) -> SimulatedDevice:
        kind = list(SENSORS)[(number - 1) % len(SENSORS)]
        dev_eui = f"02{number:014X}"
        if number > self._scenario.devices - self._scenario.abp_devices:
            return self._network.add_device(
                kind=kind, dev_eui=dev_eui, activation=Activation.ABP, payloads=Payloads.CLEAR
            )
        return self._network.add_device(kind=kind, dev_eui=dev_eui)


def _within(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SettingsError(f"{what[0].upper()}{what[1:]} is {low:g} to {high:g}, not {value:g}.")
