"""DX Core of a simulated ThingPark: connections of IoT Flow, which open some time after they were made.

Sources: the tutorial of docs.thingpark.com; documentation of TPX IoT Flow (states, hidden secrets, cap).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.management_http import json_reply, read_object
from receiver.simulator.management_thingpark_book import SimulatedAppServer, ThingParkRefusalError
from receiver.simulator.management_thingpark_paging import Query

if TYPE_CHECKING:
    from datetime import datetime

    from receiver.simulator.loopback_server import HttpRequest
    from receiver.simulator.management_thingpark_book import Json, ThingParkBook

HIDDEN = "*****"
PAGE = 100

CONNECTORS = ("actility-http-iot", "actility-mqtt-iot", "actility-aws-iot", "actility-azure-iot", "actility-kafka-iot")
"""Some of those that there are."""

_REQUIRED = {"actility-mqtt-iot": ("hostName", "protocol"), "actility-http-iot": ("destinationURL",)}
_SECRETS = frozenset(
    {"password", "certificate", "privateKey", "accessKeyId", "secretAccessKey", "downlinkAsKey", "trustedCaCertficate"}
)
_NOT_READ = 0


@dataclass(slots=True)
class SimulatedConnection:
    """A connection of IoT Flow, with the secrets that no answer shows."""

    id: str
    connector_id: str
    name: str
    active: bool
    configuration: Json = field(repr=False)
    started_at: datetime
    app_server_uid: int
    reads: int = _NOT_READ

    @property
    def state(self) -> str:
        """Give its state: CLOSED until it was read once, then OPENED if its secrets are good."""
        if not self.active:
            return "DEACTIVATED"
        if HIDDEN in self.configuration.values():
            return "AUTHENTICATION_FAILED"
        return "OPENED" if self.reads else "CLOSED"


class SimulatedDxCore:
    """Answers `/connections` and `/connectors`. Whoever asks holds the book's lock."""

    def __init__(self, book: ThingParkBook) -> None:
        self.connections: dict[str, SimulatedConnection] = {}
        self._book = book
        self._last_id = 1113

    def answer(self, request: HttpRequest, path: str) -> HttpReply:
        """Answer a request; `path` is what follows `/api`."""
        try:
            return self._answer(request, [part for part in path.split("/") if part], Query(request.query))
        except ThingParkRefusalError as exc:
            body = {"code": exc.status, "message": f"Bad request: {exc.message}", "errorId": f"OSS-{exc.code}"}
            return json_reply(exc.status, body)

    def _answer(self, request: HttpRequest, parts: list[str], query: Query) -> HttpReply:
        match request.method, parts:
            case "GET", ["connectors"]:
                connectors = [
                    {"id": one, "producerId": "actility", "moduleId": one.removeprefix("actility-"), "version": "1"}
                    for one in CONNECTORS
                ]
                return json_reply(200, connectors if query.number("pageIndex", 1, 1) == 1 else [])
            case "GET", ["connections"]:
                first = (query.number("pageIndex", 1, 1) - 1) * PAGE
                shown = [self._show(one) for one in list(self.connections.values())[first : first + PAGE]]
                return json_reply(200, shown)
            case "POST", ["connections"]:
                made = self._create(_object(request))
                return json_reply(201, self._show(made, read=False), (("Location", f"/connections/{made.id}"),))
            case method, ["connections", connection_id]:
                there = self.connections.get(connection_id)
                if there is None:
                    raise ThingParkRefusalError(f"Connection {connection_id} not found", 404)
                return self._answer_one(method, there, request)
        raise ThingParkRefusalError("No such resource", 404)

    def _answer_one(self, method: str, there: SimulatedConnection, request: HttpRequest) -> HttpReply:
        match method:
            case "GET":
                return json_reply(200, self._show(there))
            case "PUT":
                body = _object(request)
                _check(body)
                there.name, there.active = str(body["name"]), body.get("active", True) is True
                there.configuration, there.reads = _configuration(body), _NOT_READ
                self._book.app_servers[there.app_server_uid].members["name"] = there.name
                return json_reply(200, self._show(there, read=False))
            case "DELETE":
                del self.connections[there.id]
                del self._book.app_servers[there.app_server_uid]
                return HttpReply(204)
        raise ThingParkRefusalError("Method not allowed", 405)

    def _create(self, body: Json) -> SimulatedConnection:
        _check(body)
        if len(self.connections) >= self._book.rules.most_connections:
            raise ThingParkRefusalError("Max connection limit reached")
        self._last_id += 1
        id_, uid = str(self._last_id), self._book.next_uid()
        made = SimulatedConnection(
            id_,
            str(body["connectorId"]),
            str(body["name"]),
            body.get("active", True) is True,
            _configuration(body),
            self._book.clock(),
            uid,
        )
        flow: Json = {"connectionId": id_, "connectorId": made.connector_id, "flowId": id_, "state": "OPENED"}
        members: Json = {"name": made.name, "type": "KAFKA", "state": "ACTIVE", "tpxIotFlow": flow}
        members["notification"] = {"baseStationAlarms": False, "deviceAlarms": False}
        as_id = f"TWA_{self._book.subscriber_id}.{uid}.AS"
        security: Json = {"status": "NONE"}
        self._book.app_servers[uid] = SimulatedAppServer(uid, as_id, members, self._book.new_occ(), security)
        self.connections[id_] = made
        return made

    @staticmethod
    def _show(one: SimulatedConnection, *, read: bool = True) -> Json:
        shown: Json = {
            "id": one.id,
            "connectorId": one.connector_id,
            "name": one.name,
            "active": one.active,
            "startupTime": one.started_at.isoformat(timespec="milliseconds"),
            "state": one.state,
            "configuration": {name: HIDDEN if name in _SECRETS else value for name, value in one.configuration.items()},
        }
        one.reads += int(read)
        return shown


def _check(body: Json) -> None:
    connector, name = body.get("connectorId"), body.get("name")
    if connector not in CONNECTORS:
        raise ThingParkRefusalError(f"Unknown connectorId {connector}")
    if not isinstance(name, str) or not name:
        raise ThingParkRefusalError("name is mandatory")
    configuration = _configuration(body)
    for member in _REQUIRED.get(str(connector), ()):
        if not configuration.get(member):
            raise ThingParkRefusalError(f"configuration.{member} is mandatory")


def _configuration(body: Json) -> Json:
    found = body.get("configuration")
    return dict(found) if isinstance(found, dict) else {}


def _object(request: HttpRequest) -> Json:
    body = read_object(request.body)
    if body is None:
        raise ThingParkRefusalError("The body is no JSON object")
    return body
