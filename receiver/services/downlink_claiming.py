"""Takes downlinks out of the queue to be sent, encrypted where that is done here; within the caller's transaction.

When that transaction has committed, the row says who sends it and until when, and has the very bytes that go: whatever
happens then, nothing else is ever sent under that counter, and nobody else sends it at the same time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import SettingsError
from receiver.http_client import WHOLE_S
from receiver.lorawan.identifiers import DevEui
from receiver.services.downlink_dispatch_payload import DeviceFacts, Waiting, prepare_payload
from receiver.services.downlink_dispatch_plan import HOLD_BASE_S, Standing
from receiver.services.downlink_transport import MOST_REQUESTS, DownlinkToSend
from receiver.storage import downlink_queue as stored
from receiver.storage.downlink_counters import list_lorawan_1_1, list_newest_uplinks
from receiver.storage.downlink_events import DownlinkState, NewStep, record_steps
from receiver.storage.downlink_transports import FREE, Passage, list_passages, put_passage
from receiver.storage.sessions import list_newest_sessions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.keyring import Keyring
    from receiver.services.downlink_transport import DownlinkTransport
    from receiver.services.downlink_transport_directory import TransportDirectory
    from receiver.storage.downlink_queue import OpenDownlink

MARGIN_S = 15.0
"""For a worker to write down what came, though the database be slow, and for two machines' clocks."""

LEASE = timedelta(seconds=MOST_REQUESTS * WHOLE_S + MARGIN_S)
"""For how long nobody else takes a downlink that is being sent."""

_NO_TRANSPORT = "no-transport"


class Claim(NamedTuple):
    """A downlink that is this process's to send. `is_probe`: it is sent to see whether its connection works again."""

    downlink: DownlinkToSend
    connection_id: int
    lease: str
    standing: Standing
    is_probe: bool
    transport: DownlinkTransport

    def __repr__(self) -> str:
        return f"Claim({self.downlink!r}, lease={self.lease})"


class Room(NamedTuple):
    """How many more may be under way: in all, and of each connection; and of which connections some are."""

    in_all: int
    of_each: int
    under_way: Mapping[int, int]

    def of(self, connection_id: int) -> int:
        """Give how many more of a connection may go."""
        return self.of_each - self.under_way.get(connection_id, 0)


def shut_connections(passages: Mapping[int, Passage], now: datetime, room: Room) -> set[int]:
    """Give the connections of which nothing can be sent now."""
    shut = {id_ for id_, count in room.under_way.items() if count >= room.of_each}
    for connection_id, passage in passages.items():
        is_waiting = passage.next_try_at is not None and passage.next_try_at > now
        if not passage.is_free and (is_waiting or room.under_way.get(connection_id)):
            shut.add(connection_id)
    return shut


def claim_downlinks(
    connection: Connection,
    keyring: Keyring,
    directory: TransportDirectory,
    now: datetime,
    *,
    lease: str,
    room: Room,
) -> list[Claim]:
    """Claim what may be sent now. The caller holds `lock_reading`, and sends only after its commit.

    `lease` names this process; each claim's own lease begins with it. A connection that is held or paused gives one at
    most. What cannot be sent at all (no transport, no key) is put back or refused here, with the reason.
    """
    passages = list_passages(connection)
    claims: list[Claim] = []
    steps: list[NewStep] = []
    under_way = dict(room.under_way)
    while (left := room.in_all - len(claims)) > 0:
        now_room = Room(left, room.of_each, under_way)
        shut = shut_connections(passages, now, now_room)
        found = stored.lock_heads(connection, now, left, shut)
        dev_euis = {downlink.dev_eui for downlink in found}
        uplinks, sessions = list_newest_uplinks(connection, dev_euis), list_newest_sessions(connection, dev_euis)
        newer = list_lorawan_1_1(connection, dev_euis)
        for downlink in found:
            connection_id = downlink.connection_id
            if connection_id is not None and connection_id in shut_connections(passages, now, now_room):
                continue
            of_device = DeviceFacts(
                uplinks.get(downlink.dev_eui, []), sessions.get(downlink.dev_eui, []), downlink.dev_eui in newer
            )
            claim = _claim_one(connection, keyring, directory, now, downlink, of_device, passages, lease, steps)
            if claim is not None:
                claims.append(claim)
                under_way[claim.connection_id] = under_way.get(claim.connection_id, 0) + 1
        record_steps(connection, now, steps)  # so that the next look finds the others
        steps.clear()
        if len(found) < left:
            break
    return claims


def _claim_one(
    connection: Connection,
    keyring: Keyring,
    directory: TransportDirectory,
    now: datetime,
    downlink: OpenDownlink,
    of_device: DeviceFacts,
    passages: dict[int, Passage],
    lease: str,
    steps: list[NewStep],
) -> Claim | None:
    connection_id = downlink.connection_id
    if connection_id is None:
        is_unknown = downlink.state == DownlinkState.UNKNOWN
        state = DownlinkState.UNCONFIRMED if is_unknown else DownlinkState.REFUSED
        waiting = Waiting(state, "no-connection", "Its connection was removed.", None)
        _put_back(connection, downlink, waiting, steps)
        return None
    passage = passages.get(connection_id, FREE)
    try:
        transport = directory.get(connection_id)
    except SettingsError as exc:
        if passage.held_cause != _NO_TRANSPORT:  # it is told once
            _put_back(connection, downlink, Waiting(_again(downlink), _NO_TRANSPORT, str(exc), now), steps)
        passages[connection_id] = _hold(passage, now, str(exc))
        put_passage(connection, connection_id, passages[connection_id])
        return None
    of_connection = directory.connection(connection_id)
    payloads = "auto" if of_connection is None else of_connection.payloads
    prepared = prepare_payload(connection, keyring, now, downlink, connection_id, payloads, of_device)
    if isinstance(prepared, Waiting):
        _put_back(connection, downlink, prepared, steps)
        return None
    is_probe = not passage.is_free
    if is_probe:  # no other worker sends one to see at the same time
        passages[connection_id] = passage._replace(next_try_at=now + LEASE)
        put_passage(connection, connection_id, passages[connection_id])
    own_lease = f"{lease}/{downlink.id}/{downlink.attempts}/{now.timestamp():.6f}"
    frame = prepared.payload if prepared.f_cnt_down is not None else None
    columns = {
        "lease": own_lease,
        "lease_until": now + LEASE,
        "due_at": None,
        "frm_payload": frame,
        "f_cnt_down": prepared.f_cnt_down,
        "session_id": prepared.session_id,
    }
    steps.append(NewStep(downlink.id, downlink.dev_eui, connection_id, DownlinkState.SENDING, columns=columns))
    to_send = DownlinkToSend(
        downlink.id,
        DevEui(downlink.dev_eui),
        downlink.f_port,
        prepared.payload,
        prepared.f_cnt_down,
        downlink.confirmed,
        downlink.flush,
        downlink.expires_at,
        downlink.correlation_id,
        of_device.is_lorawan_1_1,
    )
    standing = Standing(
        downlink.attempts,
        downlink.state == DownlinkState.UNKNOWN,
        downlink.expires_at,
        of_device.uplinks[0].device_class if of_device.uplinks else None,
    )
    return Claim(to_send, connection_id, own_lease, standing, is_probe, transport)


def _again(downlink: OpenDownlink) -> DownlinkState:
    """Give the state of one that is put back: what was unknown stays so."""
    return DownlinkState(downlink.state)


def _hold(passage: Passage, now: datetime, sentence: str) -> Passage:
    return Passage(
        passage.held_since or now,
        _NO_TRANSPORT,
        sentence,
        now + timedelta(seconds=HOLD_BASE_S),
        max(passage.failures, 1),
    )


def _put_back(connection: Connection, downlink: OpenDownlink, waiting: Waiting, steps: list[NewStep]) -> None:
    if waiting.state == downlink.state and waiting.cause == downlink.cause and waiting.due_at is not None:
        stored.postpone(connection, downlink.id, waiting.due_at)
        return
    steps.append(
        NewStep(
            downlink.id,
            downlink.dev_eui,
            downlink.connection_id,
            waiting.state,
            waiting.cause,
            waiting.detail,
            columns={"due_at": waiting.due_at},
        )
    )
