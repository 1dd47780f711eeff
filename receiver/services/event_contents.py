"""What is told of an event: the same JSON object to a stream's reader, a webhook and an MQTT broker.

It is written when it is sent, and so says how things stand then. An event whose subject was deleted meanwhile has
nothing to tell and is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from receiver.services.alarms import list_alarms_by_id
from receiver.services.rejections import hide_tokens_of
from receiver.storage.connections import list_connection_names
from receiver.storage.decoded_uplinks import list_decoded_uplinks
from receiver.storage.downlinks import list_downlink_events_by_id
from receiver.storage.events import Event, EventKind
from receiver.storage.rejections import list_rejections_by_id
from receiver.storage.uplink_queries import list_uplinks_by_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection


class EventContent(NamedTuple):
    """An event with what is told of it.

    `body` is a JSON object in UTF-8 with `id`, `type` (the kind), `timestamp` (when it was told) and `data`: of an
    uplink what `GET /api/v1/uplinks` gives of it, likewise of a rejection; of telemetry the uplink's place, the whole
    decoded object and each measurement; of a downlink the step it took, without its payload; of an alarm what
    `GET /api/v1/alarms` gives of it.
    """

    event: Event
    connection: str | None
    f_port: int | None
    body: bytes

    def __repr__(self) -> str:
        return f"EventContent({self.event.id}, {self.event.kind})"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted; an empty set: all. A rejection has neither device nor FPort."""

    kinds: frozenset[EventKind] = frozenset()
    dev_euis: frozenset[str] = frozenset()
    connections: frozenset[str] = frozenset()
    f_ports: frozenset[int] = frozenset()

    def wants(self, content: EventContent) -> bool:
        """Say whether an event passes."""
        event = content.event
        return (
            (not self.kinds or event.kind in self.kinds)
            and (not self.dev_euis or event.dev_eui in self.dev_euis)
            and (not self.connections or content.connection in self.connections)
            and (not self.f_ports or content.f_port in self.f_ports)
        )


def load_contents(connection: Connection, events: Sequence[Event]) -> list[EventContent]:
    """Give what is told of these events, in their order, without those that there is nothing to tell of."""
    if not events:
        return []
    ids: dict[EventKind, list[int]] = {kind: [] for kind in EventKind}
    for event in events:
        ids[event.kind].append(event.subject_id)
    uplinks = {view.id: view for view in list_uplinks_by_id(connection, ids[EventKind.UPLINK])}
    decoded = {view.uplink_id: view for view in list_decoded_uplinks(connection, ids[EventKind.TELEMETRY])}
    rejections = {row.id: hide_tokens_of(row) for row in list_rejections_by_id(connection, ids[EventKind.REJECTION])}
    data: dict[EventKind, dict[int, Any]] = {
        EventKind.UPLINK: uplinks,
        EventKind.TELEMETRY: decoded,
        EventKind.REJECTION: rejections,
        EventKind.DOWNLINK: list_downlink_events_by_id(connection, ids[EventKind.DOWNLINK]),
        EventKind.ALARM: list_alarms_by_id(connection, ids[EventKind.ALARM]),
    }
    names = list_connection_names(connection)
    return list(_contents(events, data, names))


def _contents(
    events: Sequence[Event], data: dict[EventKind, dict[int, Any]], names: dict[int, str]
) -> Iterable[EventContent]:
    for event in events:
        view = data[event.kind].get(event.subject_id)
        if view is None:
            continue
        name = None if event.connection_id is None else names.get(event.connection_id)
        yield EventContent(event, name, getattr(view, "f_port", None), _body(event.id, event.kind, event.told_at, view))


def _body(event_id: int, kind: EventKind, told_at: datetime, view: object) -> bytes:
    return msgspec.json.encode({"id": event_id, "type": kind.value, "timestamp": told_at, "data": view})
