"""Encrypts downlinks end to end, each under a frame counter of its own.

The same counter of a key stream never covers two payloads: who has two texts under one key stream has their XOR. So a
counter is given out once, in the transaction that also stores the encrypted bytes; only then are they sent, and after
that only these. The lane of a key stream is made of what makes the key stream, AppSKey and DevAddr, so that it is known
again in another session: an ABP device keeps both when its counter starts anew.

Whether the network says the last counter or the next one in FCntDn is not certain: it is where counting begins, and
what is counted here goes on from there; a wrong beginning is set right by the network's own `Expected`.
Source: LoRaWAN L2 1.0.4 section 4.3.3; ThingPark LRC–AS tunnel interface, downlink (FCntDn, codes 101, 102 and 119).
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from receiver.lorawan.frm_payload import encrypt_frm_payload
from receiver.storage import downlink_counters as stored

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.lorawan.identifiers import DevAddr
    from receiver.lorawan.keys import AesKey
    from receiver.storage.downlink_counters import UplinkFact
    from receiver.storage.sessions import SessionRow

LANE_BYTES = 16

MOST_RESYNCHRONISATIONS = 3
"""Of one downlink: the network says each time which counter it takes, so a second one is rare already."""

RESYNCHRONISED = frozenset({"counter-used", "counter-too-large"})
"""The causes of the events that count for it."""

JOIN_AGAIN = (
    "The network wants a frame counter that has covered another payload, which must not be: the device has to join"
    " again, or, of ABP, be given another key."
)


class Encryption(Enum):
    """Who encrypts a device's downlinks."""

    HERE = "here"
    NETWORK = "network"


class FrameKey(NamedTuple):
    """The key of a device's present session; `reported` is FCntDn of its newest uplink, heard at `reported_at`."""

    session_id: int
    dev_addr: DevAddr
    key: AesKey
    reported: int | None
    reported_at: datetime | None


class EncryptedFrame(NamedTuple):
    """What goes over the air, and under which counter."""

    frm_payload: bytes
    f_cnt_down: int

    def __repr__(self) -> str:
        return f"EncryptedFrame(f_cnt_down={self.f_cnt_down})"


def present_session(sessions: Sequence[SessionRow]) -> SessionRow | None:
    """Give the session that a device is in: that of its newest uplink, or one that began after it."""
    return max(sessions, key=lambda session: (session.last_at or session.started_at, session.id), default=None)


def judge_encryption(session: SessionRow | None, newest: Sequence[UplinkFact], payloads: str) -> Encryption:
    """Tell who encrypts: as the newest payload of the session shows, else of the device, else the connection's setting.

    `auto` without any uplink: here, if the session came with an AppSKey, for so uplinks are read too.
    """
    told = [uplink for uplink in newest if uplink.payload_state in _SHOWS]
    of_session = [uplink for uplink in told if session is not None and uplink.session_id == session.id]
    if told:
        return _SHOWS[(of_session or told)[0].payload_state]
    if payloads == "auto":
        return Encryption.HERE if session is not None and session.key_source is not None else Encryption.NETWORK
    return Encryption.HERE if payloads == "encrypted" else Encryption.NETWORK


_SHOWS = {
    "decrypted": Encryption.HERE,
    "waiting_for_key": Encryption.HERE,
    "clear": Encryption.NETWORK,
}


def reported_counter(session: SessionRow, newest: Sequence[UplinkFact]) -> tuple[int | None, datetime | None]:
    """Give FCntDn of the session's newest uplink that has it, and when that was heard."""
    for uplink in newest:
        if uplink.session_id == session.id and uplink.f_cnt_down is not None:
            return uplink.f_cnt_down, uplink.received_at
    return None, None


def lane_of(key: AesKey, dev_addr: DevAddr) -> bytes:
    """Name a key stream, without saying anything of its key."""
    return hmac.digest(key.reveal(), b"downlink" + dev_addr.encode(), hashlib.sha256)[:LANE_BYTES]


def encrypt_downlink(
    connection: Connection, now: datetime, downlink_id: int, payload: bytes, frame_key: FrameKey
) -> EncryptedFrame | None:
    """Give out the next counter and encrypt under it; None if the key stream has no counter left.

    In the caller's transaction, which stores the result: with a rollback nothing was given out.
    """
    lane = lane_of(frame_key.key, frame_key.dev_addr)
    least = stored.lock_lane(connection, lane)
    if frame_key.reported is not None and frame_key.reported_at is not None:
        last_use = stored.newest_use_at(connection, lane)
        if last_use is None or frame_key.reported_at > last_use:  # what the network said before is outdated
            least = max(least, frame_key.reported)
    counter = stored.find_free_counter(connection, lane, least)
    if counter is None:
        return None
    stored.use_counter(connection, lane, counter, downlink_id, now)
    return EncryptedFrame(encrypt_frm_payload(frame_key.key, frame_key.dev_addr, counter, payload), counter)


def is_of_lane(connection: Connection, downlink_id: int, f_cnt_down: int, frame_key: FrameKey) -> bool:
    """Say whether a downlink was encrypted under this key already, with that counter."""
    return stored.find_counter_user(connection, lane_of(frame_key.key, frame_key.dev_addr), f_cnt_down) == downlink_id


def resynchronise(connection: Connection, downlink_id: int, f_cnt_down: int, expected: int) -> str | None:
    """Let the next counter of a downlink's key stream be the one that the network expects, or the first free one after.

    Give None if the downlink can be encrypted anew, or the sentence that says why it is not.
    """
    lane = stored.find_lane_of(connection, downlink_id, f_cnt_down)
    if lane is None:
        return "The network expects another frame counter, and the one it was sent with is not known here any more."
    stored.lock_lane(connection, lane)
    is_used = stored.find_counter_user(connection, lane, expected) is not None
    if is_used and expected <= f_cnt_down:
        return JOIN_AGAIN
    if stored.count_steps(connection, downlink_id, RESYNCHRONISED) >= MOST_RESYNCHRONISATIONS:
        if is_used:
            return JOIN_AGAIN
        return f"The network expected another frame counter {MOST_RESYNCHRONISATIONS + 1} times, {expected} at last."
    stored.set_next_counter(connection, lane, expected)
    return None
