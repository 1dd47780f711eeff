"""What the emulators of management APIs share: what was asked, JSON in and out, and what goes wrong on order.

kpn = SimulatedKpnLora(clock=…)
kpn.faults.order(LOST, method="POST", path="/devices")      # the next one is done, and its answer is lost
kpn.faults.order(answered(503, retry_after_s=1), at=3)      # the third request from the start on is not done
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from receiver.simulator.loopback_server import HttpReply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.simulator.loopback_server import HttpRequest

MAX_ASKED = 100_000
"""Requests that are remembered, to be looked at."""

MAX_MANAGEMENT_BODY_BYTES = 4 * 1024 * 1024
"""Of a request to a management API: an import of devices has thousands of rows."""


class Asked(NamedTuple):
    """A request as it came, and the status that it was answered with; 0: the answer was lost."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    status: int

    def __repr__(self) -> str:
        return f"Asked({self.method} {self.path} {self.status})"

    @property
    def json(self) -> object:
        """The body as JSON; None where it is none."""
        return read_json(self.body)


@dataclass(frozen=True, slots=True)
class ManagementFault:
    """What becomes of a request. `is_done`: it does what it says; `reply` None: no answer, the connection is closed."""

    is_done: bool
    reply: HttpReply | None = None


LOST = ManagementFault(is_done=True)
"""It is done, and its answer is lost."""
CUT = ManagementFault(is_done=False)
"""It is not done, and there is no answer: from outside as `LOST`."""


def answered(
    status: int, body: object = None, *, retry_after_s: int | str | None = None, is_done: bool = False
) -> ManagementFault:
    """Give the fault of being answered in another way, such as 429 or 503."""
    headers = () if retry_after_s is None else (("Retry-After", str(retry_after_s)),)
    return ManagementFault(is_done, HttpReply(status, _write(body), "application/json", headers))


@dataclass(slots=True)
class _Order:
    fault: ManagementFault
    at: int | None
    method: str | None
    path: str | None
    times: int

    def is_for(self, number: int, request: HttpRequest) -> bool:
        return (
            self.at in {None, number}
            and self.method in {None, request.method}
            and (self.path is None or request.path.endswith(self.path))
        )


@dataclass(slots=True)
class ManagementFaults:
    """What goes wrong with which request; the first order that fits is taken. For one thread at a time."""

    count: int = 0
    """Requests so far. Logins are not counted."""
    _orders: list[_Order] = field(default_factory=list)

    def order(
        self,
        fault: ManagementFault,
        *,
        at: int | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int = 1,
    ) -> None:
        """Order a fault for the next `times` requests, of this method and with this end of the path, if given.

        `at`: for the request of that number, counted from 1 over all.
        """
        self._orders.append(_Order(fault, at, method, path, times))

    def take(self, request: HttpRequest) -> ManagementFault | None:
        """Give what goes wrong with this request, and count it."""
        self.count += 1
        for order in self._orders:
            if order.is_for(self.count, request):
                order.times -= 1
                if order.times <= 0:
                    self._orders.remove(order)
                return order.fault
        return None


def json_reply(status: int, value: object = None, headers: tuple[tuple[str, str], ...] = ()) -> HttpReply:
    """Give a JSON answer; without a value, one without body."""
    return HttpReply(status, _write(value), "application/json", headers)


def read_json(body: bytes) -> object:
    """Give a body as JSON; None where it is none."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None


def read_object(body: bytes) -> dict[str, object] | None:
    """Give a body as a JSON object; None where it is none."""
    value = read_json(body)
    return value if isinstance(value, dict) else None


def read_query(query: str) -> dict[str, str]:
    """Give the parameters of a raw query, each once."""
    return dict(parse_qsl(query, keep_blank_values=True))


def _write(value: object) -> bytes:
    return b"" if value is None else json.dumps(value).encode()
