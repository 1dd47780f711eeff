"""`/api/v1`: the routes for callers with an API key, and what each does.

`api_operations` is the one table of them: the routes are made from it, and so can a description of the API be.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.routing import Route

from receiver.web.api_alarms import Alarms, alarm_operations
from receiver.web.api_devices import Devices
from receiver.web.api_downlinks import Downlinks, downlink_operations
from receiver.web.api_rejections import Rejections
from receiver.web.api_reports import Reports
from receiver.web.api_stream import Events
from receiver.web.api_telemetry import Telemetry
from receiver.web.api_traffic import Traffic, traffic_operations
from receiver.web.api_uplinks import Uplinks
from receiver.web.auth import ApiGate, Endpoint
from receiver.web.description import description_routes
from receiver.web.event_room import EventRoom
from receiver.web.problems import problem
from receiver.web.rate_limit import CALLS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine
    from starlette.types import Receive, Scope, Send

    from receiver.keyring import Keyring
    from receiver.web.operations import Operation


def api_operations(
    engine: Engine, keyring: Keyring, clock: Callable[[], datetime], event_room: EventRoom | None = None
) -> dict[str, dict[str, Operation]]:
    """Give the operations by path and method."""
    events = Events(engine, event_room or EventRoom(engine))
    devices, uplinks, telemetry = Devices(engine), Uplinks(engine), Telemetry(engine)
    rejections = Rejections(engine, keyring, clock)
    return {
        "/api/v1/devices": {"GET": devices.list},
        "/api/v1/devices/{dev_eui}": {"GET": devices.show, "PATCH": devices.change},
        "/api/v1/uplinks": {"GET": uplinks.list},
        "/api/v1/uplinks/{id}": {"GET": uplinks.show},
        "/api/v1/telemetry": {"GET": telemetry.list},
        "/api/v1/telemetry/latest": {"GET": telemetry.latest},
        "/api/v1/stream": {"GET": events.stream},
        **downlink_operations(Downlinks(engine, clock)),
        **alarm_operations(Alarms(engine, keyring, clock)),
        **traffic_operations(Traffic(engine)),
        "/api/v1/reports": {"GET": Reports(engine).list},
        "/api/v1/rejections": {"GET": rejections.list},
        "/api/v1/rejections/{id}": {"GET": rejections.show},
        "/api/v1/rejections/{id}/replay": {"POST": rejections.replay},
    }


def api_routes(
    engine: Engine,
    keyring: Keyring,
    clock: Callable[[], datetime],
    calls_per_second: float = CALLS_PER_SECOND,
    event_room: EventRoom | None = None,
) -> list[Route]:
    """Give the routes of the API and of its description; the last one answers 404 to whatever else is under `/api`.

    Each key may make `calls_per_second` to this process (0: any number).
    """
    gate = ApiGate(engine, clock, calls_per_second)
    operations = api_operations(engine, keyring, clock, event_room)
    routes = [Route(path, Endpoint(gate, by_method)) for path, by_method in operations.items()]
    return [*routes, *description_routes(operations), Route("/api/{rest:path}", _NotFound())]


class _NotFound:
    """Answers every method; a plain function would be for GET only."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = problem(HTTPStatus.NOT_FOUND, "There is no such route; /docs lists those there are.")
        await answer(scope, receive, send)
