"""The network's (the LRC's) side of downlinks: it answers requests, keeps a queue for each device, and sends.

    lrc = SimulatedLrc(network)
    server = LoopbackServer()
    server.start(lrc.answer)
    url = server.origin + V2_PATH

A class A device listens after its own uplinks only, so frames wait for the next one: `lrc.after(push)` is called with
each push of the network, and gives the reports of what went out. What goes to others goes out at once, and
`lrc.collect()` gives its reports. A report is made by whoever collects it: only one thread may use the network.

Source: ThingPark LRC–AS tunnel interface 7.3, downlink; its reports of downlinks.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, NamedTuple, Unpack

from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.lrc_faults import FaultPlan, LrcFault, LrcFaults
from receiver.simulator.lrc_queue import DeviceQueue
from receiver.simulator.lrc_reports import write_report
from receiver.simulator.lrc_request import (
    LrcRefusal,
    LrcRequest,
    LrcSecurity,
    is_dev_eui,
    judge_request,
    judge_security,
    read_query,
)
from receiver.simulator.report_bodies import to_milliseconds
from receiver.thingpark.body import UPLINK
from receiver.thingpark.token import key_spellings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from receiver.simulator.device import SimulatedDevice
    from receiver.simulator.loopback_server import HttpRequest
    from receiver.simulator.lrc_queue import Rejected, Sent
    from receiver.simulator.network import Sending, SimulatedNetwork
    from receiver.simulator.push import Push

V1_PATH = "/thingpark/lrc/rest/downlink"
V2_PATH = "/thingpark/lrc/rest/v2/downlink"

MAX_REMEMBERED = 100_000
"""Requests that are kept to be looked at, and results that nobody has collected yet."""

_CLASS_A_SLOTS = (1, 2)
_CLASS_C_SLOTS = (2,)  # it listens with the settings of the second window all the time (LoRaWAN L2 1.0.4 section 16)


class Asked(NamedTuple):
    """A request as it was judged: what it asked for, or why it was not taken, and what went wrong besides.

    `is_repeat`: its CorrelationID was taken before, so that nothing was queued again.
    """

    dev_eui: str
    outcome: LrcRequest | LrcRefusal
    fault: LrcFault
    is_repeat: bool = False


class SimulatedLrc:
    """Takes downlinks for the devices of a network as ThingPark does, in versions 1 and 2 of its interface.

    What is asked is in `asked`, the newest last; what a device got is in `device.heard`. `plan(device, …)` changes
    what it may have. `faults.ordered` takes faults for the next requests.

    Args:
        network: whose devices these are; its key and AS_ID sign the requests, its clock judges their Time.
        security: what is asked of the application server, if it is something else.
        faults: what goes wrong, in shares of the requests.
        seed: of faults and slots.
        drops_repeats: a CorrelationID that was taken is answered as taken, and not queued again. Nothing that is
            published says so, nor the contrary; a repeat with a frame counter is refused in any case (code 101).
    """

    def __init__(
        self,
        network: SimulatedNetwork,
        *,
        security: LrcSecurity | None = None,
        faults: LrcFaults | None = None,
        seed: int = 0,
        drops_repeats: bool = True,
    ) -> None:
        self.network = network
        self.security = security or LrcSecurity(network.as_id, key_spellings(network.key)[0].decode())
        self.faults = FaultPlan(faults or LrcFaults(), seed)
        self.asked: deque[Asked] = deque(maxlen=MAX_REMEMBERED)
        self._drops_repeats = drops_repeats
        self._seed = seed
        self._lock = threading.RLock()
        self._queues: dict[str, DeviceQueue] = {}
        self._told: deque[tuple[DeviceQueue, Sent | Rejected]] = deque(maxlen=MAX_REMEMBERED)

    def __repr__(self) -> str:
        return f"SimulatedLrc({self.network!r}, {len(self.asked)} asked)"

    def plan(self, device: SimulatedDevice, **plan: Any) -> None:  # noqa: ANN401 - as the members of `DevicePlan`
        """Change what a device may have."""
        with self._lock:
            queue = self._queue_of(device)
            queue.plan = replace(queue.plan, **plan)

    def queued(self, device: SimulatedDevice) -> int:
        """Say how many frames wait for a device."""
        with self._lock:
            return len(self._queue_of(device).frames)

    def answer(self, request: HttpRequest) -> HttpReply:
        """Answer a request of either version; whatever it says."""
        if request.path not in {V1_PATH, V2_PATH} or request.method != "POST":
            return HttpReply(404, b"<html><body>Not Found</body></html>", "text/html")
        parameters = read_query(request.query)
        dev_eui = dict(parameters).get("DevEUI", "")
        with self._lock:
            queue = self._find(dev_eui)
            fault = LrcFault.NONE if queue is None else self.faults.next_fault(dev_eui)
            if fault is LrcFault.BUSY:
                return HttpReply(503)
            if fault is LrcFault.CUT:
                return HttpReply(503, is_lost=True)
            if queue is None or fault is LrcFault.BUCKET:
                asked = Asked(dev_eui[:16], LrcRefusal(100 if queue is None else 121), fault)
            else:
                asked = self._take(queue, parameters, fault)
            self.asked.append(asked)
        delay_s = self.faults.faults.slow_s if fault is LrcFault.SLOW else 0.0
        reply = _write_reply(asked.outcome, version=2 if request.path == V2_PATH else 1)
        return reply._replace(is_lost=fault is LrcFault.LOST, delay_s=delay_s)

    def after(self, push: Push, **sending: Unpack[Sending]) -> list[Push]:
        """Let the network go on after it pushed: a class A device listens after its uplink, a join empties its queue.

        Give the reports, as `collect` does.
        """
        now = to_milliseconds(self.network.clock())
        with self._lock:
            queue = self._find(push.dev_eui)
            if queue is not None:
                self._tell(queue, queue.drop_old_sessions(now))
                heard = push.kind == UPLINK and push.f_cnt_up is not None and not push.fault
                if heard and queue.device.device_class == "A" and not queue.plan.is_group:
                    self._tell(queue, queue.transmit(now, _CLASS_A_SLOTS))
        return self.collect(**sending)

    def collect(self, **sending: Unpack[Sending]) -> list[Push]:
        """Give the reports of what became of frames since the last time, signed, to be pushed."""
        with self._lock:
            told = list(self._told)
            self._told.clear()
        return [
            push for queue, one in told for push in write_report(self.network, queue.device, queue.plan, one, sending)
        ]

    def _take(self, queue: DeviceQueue, parameters: Sequence[tuple[str, str]], fault: LrcFault) -> Asked:
        now, dev_eui = to_milliseconds(self.network.clock()), queue.device.dev_eui
        refusal = judge_security(parameters, self.security, now)
        if refusal is not None:
            return Asked(dev_eui, refusal, fault)
        values = dict(parameters)
        is_known = self._drops_repeats and values.get("CorrelationID") in queue.correlations
        is_repeat = is_known and not values.keys() & {"FCntDn", "AFCntDn"}
        outcome = judge_request(parameters, queue.standing, now)
        if isinstance(outcome, LrcRequest) and not is_repeat:
            if not queue.take_token(now):
                return Asked(dev_eui, LrcRefusal(121), fault)
            dropped = queue.put(outcome, now)
            self._tell(queue, [] if dropped is None else [dropped])
            if queue.plan.is_group or queue.device.device_class == "C":
                while queue.frames:
                    self._tell(queue, queue.transmit(now, _CLASS_C_SLOTS))
        return Asked(dev_eui, outcome, fault, is_repeat)

    def _tell(self, queue: DeviceQueue, told: Sequence[Sent | Rejected]) -> None:
        self._told.extend((queue, one) for one in told)

    def _find(self, dev_eui: str) -> DeviceQueue | None:
        if not is_dev_eui(dev_eui):
            return None
        if dev_eui not in self._queues:
            for device in self.network.devices:
                if device.dev_eui not in self._queues:
                    self._queue_of(device)
        return self._queues.get(dev_eui)

    def _queue_of(self, device: SimulatedDevice) -> DeviceQueue:
        if device.dev_eui not in self._queues:
            chance = Random(f"{self._seed}/{device.dev_eui}")  # noqa: S311 - repeatable on purpose
            self._queues[device.dev_eui] = DeviceQueue(device, chance)
        return self._queues[device.dev_eui]


def _write_reply(outcome: LrcRequest | LrcRefusal, *, version: int) -> HttpReply:
    if isinstance(outcome, LrcRequest):
        if version == 2:
            return HttpReply(202)
        return HttpReply(200, b"<html><body>Request queued by LRC</body></html>", "text/html")
    if version == 1:
        status = 404 if outcome.code == 115 else 350
        return HttpReply(status, f"<html><body>{outcome.text}</body></html>".encode(), "text/html")
    members: dict[str, object] = {"code": outcome.code, "message": outcome.message}
    more = (("expected", outcome.expected), ("maxSize", outcome.max_size), ("rx2DR", outcome.data_rate))
    members |= {name: value for name, value in more if value is not None}
    return HttpReply(409, json.dumps(members).encode(), "application/json")
