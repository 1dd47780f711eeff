"""What the network has for one device: its plan, its queue, and what a frame becomes when it goes over the air."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from receiver.lorawan.frm_payload import encrypt_frm_payload
from receiver.simulator.device import Payloads
from receiver.simulator.lrc_request import DeviceStanding

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from receiver.lorawan.identifiers import DevAddr
    from receiver.simulator.device import SimulatedDevice
    from receiver.simulator.lrc_request import LrcRequest

NO_FAILURE = ("00", "00", "00")
RX2_CHOSEN = ("C0", "00", "00")
QUEUE_FULL, EXPIRED, REJOINED = "E1", "E3", "E4"
"""Causes why a frame was dropped from the queue. Source: ThingPark Wireless Logger guide, delivery failed causes."""

MAX_CORRELATIONS = 1_000
"""CorrelationIDs of a device that are remembered, so that a repeated request is known again."""


@dataclass(slots=True)
class DevicePlan:
    """What the network lets a device have. `bucket`: downlinks at a time, refilled by `refill_per_s`; None: no limit.

    `rx2_share` of class A frames go out in RX2, `failing_share` do not go out at all, for want of duty cycle.
    A multicast group is a device of its own with `is_group`; of its gateways `failing_gateways` do not transmit, at
    the first attempt and, with `gateways_recover` False, at the others either.
    """

    may_confirm: bool = True
    is_enabled: bool = True
    has_gateway: bool = True
    data_rate: int = 5
    bucket: int | None = None
    refill_per_s: float = 0.0
    queue_size: int = 100
    rx2_share: float = 0.25
    failing_share: float = 0.0
    is_group: bool = False
    failing_gateways: int = 0
    gateways_recover: bool = True


class QueuedFrame(NamedTuple):
    """A request that was taken, and the session it was taken in."""

    request: LrcRequest
    f_port: int
    payload: bytes
    dev_addr: DevAddr

    def __repr__(self) -> str:
        return f"QueuedFrame({self.request.correlation_id}, f_port={self.f_port})"


class Sent(NamedTuple):
    """What became of a frame, and when: in which slot it went, or (0) that it did not; then causes say why."""

    frame: QueuedFrame
    at: datetime
    f_cnt_down: int
    slot: int
    causes: tuple[str, str, str]


class Rejected(NamedTuple):
    """A frame that was taken and refused later: the text says why."""

    frame: QueuedFrame
    text: str


@dataclass(slots=True)
class DeviceQueue:
    """The frames of one device, first in, first out."""

    device: SimulatedDevice
    random: Random = field(repr=False)
    plan: DevicePlan = field(default_factory=DevicePlan)
    frames: deque[QueuedFrame] = field(default_factory=deque)
    correlations: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_CORRELATIONS))
    tokens: float | None = None
    tokens_at: datetime | None = None

    @property
    def standing(self) -> DeviceStanding:
        """Give what requests are judged by."""
        plan, device = self.plan, self.device
        return DeviceStanding(
            has_key=device.payloads is Payloads.CLEAR,
            expected=device.f_cnt_down,
            may_confirm=plan.may_confirm and not plan.is_group,
            is_enabled=plan.is_enabled,
            has_gateway=plan.has_gateway,
            data_rate=plan.data_rate,
        )

    def take_token(self, now: datetime) -> bool:
        """Take one of the bucket; say whether there was one."""
        if self.plan.bucket is None:
            return True
        held = float(self.plan.bucket)
        if self.tokens is not None and self.tokens_at is not None:
            refilled = (now - self.tokens_at).total_seconds() * self.plan.refill_per_s
            held = min(held, self.tokens + refilled)
        self.tokens, self.tokens_at = held - (held >= 1), now
        return held >= 1

    def put(self, request: LrcRequest, now: datetime) -> Sent | None:
        """Queue what a request has; empty the queue first if it says so. Give what a full queue made of it.

        A counter that came with a payload is used from now on: the next one is one more.
        """
        if request.flush:
            self.frames.clear()
        if request.correlation_id is not None:
            self.correlations.append(request.correlation_id)
        if request.payload is None or request.f_port is None:
            return None
        frame = QueuedFrame(request, request.f_port, request.payload, self.device.dev_addr)
        if request.f_cnt_down is not None:
            self.device.f_cnt_down = request.f_cnt_down + 1
        if len(self.frames) >= self.plan.queue_size:
            return self._dropped(frame, now, QUEUE_FULL)
        self.frames.append(frame)
        return None

    def transmit(self, now: datetime, slots: tuple[int, ...]) -> list[Sent | Rejected]:
        """Send the oldest frame that can be sent, in one of the slots; give what became of it and those before."""
        told: list[Sent | Rejected] = []
        while self.frames:
            frame = self.frames.popleft()
            if frame.dev_addr != self.device.dev_addr:
                told.append(self._dropped(frame, now, REJOINED))
            elif frame.request.valid_until is not None and frame.request.valid_until <= now:
                told.append(self._dropped(frame, now, EXPIRED))
            elif not self.plan.is_enabled:
                told.append(Rejected(frame, "Downlink transmission disabled"))
            else:
                told.append(self._send(frame, now, slots))
                break
        return told

    def drop_old_sessions(self, now: datetime) -> list[Sent]:
        """Drop what was queued before the device joined anew; give it."""
        old = [frame for frame in self.frames if frame.dev_addr != self.device.dev_addr]
        self.frames = deque(frame for frame in self.frames if frame.dev_addr == self.device.dev_addr)
        return [self._dropped(frame, now, REJOINED) for frame in old]

    def _send(self, frame: QueuedFrame, now: datetime, slots: tuple[int, ...]) -> Sent:
        device, request = self.device, frame.request
        if request.f_cnt_down is None:
            f_cnt_down = device.take_f_cnt_down()
            on_air = encrypt_frm_payload(device.app_s_key, device.dev_addr, f_cnt_down, frame.payload)
        else:
            f_cnt_down, on_air = request.f_cnt_down, frame.payload
        if self.random.random() < self.plan.failing_share:
            return Sent(frame, now, f_cnt_down, 0, ("D0", "DA", "00") if 1 in slots else ("00", "DA", "00"))
        slot = slots[-1] if self.random.random() < self.plan.rx2_share else slots[0]
        device.hear(frame.f_port, on_air, f_cnt_down, at=now, confirmed=request.confirmed)
        return Sent(frame, now, f_cnt_down, slot, RX2_CHOSEN if slot != slots[0] else NO_FAILURE)

    def _dropped(self, frame: QueuedFrame, now: datetime, cause: str) -> Sent:
        f_cnt_down = frame.request.f_cnt_down
        return Sent(frame, now, self.device.f_cnt_down if f_cnt_down is None else f_cnt_down, 0, (cause, "00", "00"))
