"""Customers of a customer of KPN Things, in a simulation: who has devices of their own there, and who may ask for them.

An API key asks for access to each once, and then names it in every request, in a header of the older kind; the header
that has taken its place needs no asking. Source: docs.kpnthings.com, its page on sub-customers. That GET is the method
is what the page says; `method` lets it be the POST that another client uses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from receiver.simulator.loopback_server import HttpReply

if TYPE_CHECKING:
    from receiver.simulator.device import SimulatedDevice
    from receiver.simulator.loopback_server import HttpRequest

OLDER_HEADER = "x-client-id"
NEWER_HEADER = "kpn-things-security-context"

_SWITCH_PATH = re.compile(r"/api/v1/lifecycle/clients/([^/]{1,200})/context-switch\Z")


class SubCustomers:
    """The customers by their ids, each with its devices; `with_access` are those that access was asked for."""

    def __init__(self) -> None:
        self.devices: dict[str, list[SimulatedDevice]] = {}
        self.with_access: set[str] = set()
        self.method = "GET"

    def answer(self, request: HttpRequest) -> HttpReply | None:
        """Answer a request for access; None: it is for something else."""
        found = _SWITCH_PATH.match(request.path)
        if found is None:
            return None
        if request.method != self.method:
            return HttpReply(405, headers=(("Allow", self.method),))
        if found[1] not in self.devices:
            return HttpReply(403, b'{"error": "Forbidden"}', "application/json")
        self.with_access.add(found[1])
        return HttpReply(200, b"{}", "application/json")

    def choose(self, request: HttpRequest, own: list[SimulatedDevice]) -> list[SimulatedDevice] | None:
        """Give the devices that a request is about: `own` where it names no customer; None: it may not have them."""
        older, newer = (request.headers.get(name) for name in (OLDER_HEADER, NEWER_HEADER))
        if newer is not None:
            return self.devices.get(newer)
        if older is not None:
            return self.devices.get(older) if older in self.with_access else None
        return own
