"""Makes what goes over the air of a downlink: its payload as it is, or encrypted under a counter of its own.

Within the transaction that claims it, which stores the result before anything is sent.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from receiver.lorawan.identifiers import DevAddr
from receiver.services import downlink_counters as counters
from receiver.services.as_transport_keys import load_as_transport_keys
from receiver.services.downlink_counters import Encryption, FrameKey
from receiver.services.session_book import SessionBook
from receiver.storage.downlink_events import DownlinkState
from receiver.storage.downlink_queue import WAITS_FOR_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.keyring import Keyring
    from receiver.lorawan.keys import AesKey
    from receiver.storage.downlink_counters import UplinkFact
    from receiver.storage.downlink_queue import OpenDownlink
    from receiver.storage.sessions import SessionRow

LOOK_FOR_KEY_AFTER = timedelta(seconds=30)
"""Until one that waits for its session's key is looked at again: a device's next uplink may bring it."""

NO_KEY = "The device's payloads are encrypted end to end, and the key of its session is not known here"
REJOINED = (
    "The device has another session since, so it is not sent again; whether the network had it before is not known."
)


class DeviceFacts(NamedTuple):
    """What the newest uplinks and sessions of a device are, the newest first."""

    uplinks: Sequence[UplinkFact]
    sessions: Sequence[SessionRow]
    is_lorawan_1_1: bool = False


class Waiting(NamedTuple):
    """Why a downlink does not go now."""

    state: DownlinkState
    cause: str
    detail: str
    due_at: datetime | None


class Prepared(NamedTuple):
    """What goes over the air: encrypted here where `f_cnt_down` is given."""

    payload: bytes | None
    f_cnt_down: int | None
    session_id: int | None


def prepare_payload(
    connection: Connection,
    keyring: Keyring,
    now: datetime,
    downlink: OpenDownlink,
    connection_id: int,
    payloads: str,
    of_device: DeviceFacts,
) -> Prepared | Waiting:
    """Give what goes over the air of a downlink that is claimed, or why it does not go now.

    What may have been sent before is given as it was, or not at all. `payloads` is the connection's setting. In the
    caller's transaction, which holds `lock_reading`.
    """
    is_unknown = downlink.state == DownlinkState.UNKNOWN
    if downlink.payload is None:
        return Prepared(None, None, None)
    if is_unknown and downlink.frm_payload is None:  # the same bytes again, whatever was learnt since
        return Prepared(downlink.payload, None, None)
    newest = of_device.uplinks
    session = counters.present_session(of_device.sessions)
    if not is_unknown and counters.judge_encryption(session, newest, payloads) is Encryption.NETWORK:
        return Prepared(downlink.payload, None, None)
    book = _open_book(connection, keyring, now)
    frame_key = _frame_key(book, session, newest, connection_id)
    book.close()
    if is_unknown:
        return _prepare_again(connection, downlink, session, frame_key)
    if frame_key is None:
        return Waiting(DownlinkState.QUEUED, WAITS_FOR_KEY, _why_no_key(book, session), now + LOOK_FOR_KEY_AFTER)
    if _is_encrypted_so(connection, downlink, frame_key):
        return _as_stored(downlink)
    encrypted = counters.encrypt_downlink(connection, now, downlink.id, downlink.payload, frame_key)
    if encrypted is None:
        return Waiting(DownlinkState.REFUSED, "no-counter", counters.JOIN_AGAIN, None)
    return Prepared(encrypted.frm_payload, encrypted.f_cnt_down, frame_key.session_id)


def _prepare_again(
    connection: Connection, downlink: OpenDownlink, session: SessionRow | None, frame_key: FrameKey | None
) -> Prepared | Waiting:
    """Give the bytes that may have been sent before, if the device could still make sense of them."""
    if frame_key is None:
        is_same = session is not None and session.id == downlink.session_id
    else:
        is_same = _is_encrypted_so(connection, downlink, frame_key)
    if is_same:
        return _as_stored(downlink)
    return Waiting(DownlinkState.UNCONFIRMED, "rejoined", REJOINED, None)


def _is_encrypted_so(connection: Connection, downlink: OpenDownlink, frame_key: FrameKey) -> bool:
    return (
        downlink.frm_payload is not None
        and downlink.f_cnt_down is not None
        and counters.is_of_lane(connection, downlink.id, downlink.f_cnt_down, frame_key)
    )


def _as_stored(downlink: OpenDownlink) -> Prepared:
    return Prepared(downlink.frm_payload, downlink.f_cnt_down, downlink.session_id)


def _frame_key(
    book: SessionBook, session: SessionRow | None, newest: Sequence[UplinkFact], connection_id: int
) -> FrameKey | None:
    if session is None or session.dev_addr is None:
        return None
    key = book.try_unwrap(session, connection_id)
    if key is None:
        return None
    reported, reported_at = counters.reported_counter(session, newest)
    return FrameKey(session.id, DevAddr(session.dev_addr), key, reported, reported_at)


def _open_book(connection: Connection, keyring: Keyring, now: datetime) -> SessionBook:
    def transport_keys(connection_id: int) -> list[tuple[int, AesKey]]:
        return load_as_transport_keys(connection, keyring, connection_id)

    return SessionBook(connection, keyring, now, transport_keys, ())


def _why_no_key(book: SessionBook, session: SessionRow | None) -> str:
    if session is None:
        return f"{NO_KEY}: it was not heard yet. `receiver device set EUI --app-s-key HEX --dev-addr HEX` gives it."
    fault = book.faults.get(session.id)
    if fault is not None:
        return f"{NO_KEY}: it does not open. {fault}"
    return f"{NO_KEY}: it comes with a report, or `receiver device set EUI --app-s-key HEX --dev-addr HEX` gives it."
