"""Which session a frame is of, and with which AppSKey: the sessions of one batch of reports, in memory.

A session is a DevAddr with its AppSKey. It begins with a join, with a new AppSKey in a report, when an ABP
device starts its counter anew, by hand, or, for lack of better knowledge, at first sight.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import KeyringError
from receiver.lorawan.frame_counter import SAME_FRAME_WINDOW, restarts
from receiver.lorawan.keys import AesKey, parse_aes_key
from receiver.storage.sessions import (
    SessionRow,
    insert_session,
    list_newest_sessions,
    put_session_keys,
    update_sessions,
)
from receiver.thingpark.as_transport_key import unwrap_app_s_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.keyring import Keyring


def app_s_key_purpose(session_id: int) -> str:
    """Name the purpose that a session's AppSKey is sealed for."""
    return f"app_s_key:{session_id}"


_CLEAR = "clear:"


def mark_of_field(field: str, *, wrapped: bool) -> str:
    """Give what is kept of an AppSKey field to know it again: itself while wrapped, a digest of a clear one."""
    return field if wrapped else _CLEAR + hashlib.sha256(bytes.fromhex(field)).hexdigest()[:32]


class FrameSession(NamedTuple):
    """The session of a frame, and whether a frame of the same session with a higher counter was read before it."""

    session: SessionRow
    is_out_of_order: bool


class SessionBook:
    """Finds or begins sessions within one transaction; `close` writes what changed."""

    def __init__(
        self,
        connection: Connection,
        keyring: Keyring,
        now: datetime,
        transport_keys: Callable[[int], list[tuple[int, AesKey]]],
        dev_euis: Iterable[str],
    ) -> None:
        self._connection = connection
        self._keyring = keyring
        self._now = now
        self._transport_keys = transport_keys
        self._sessions = list_newest_sessions(connection, dev_euis)
        self._changed: dict[int, SessionRow] = {}
        self._with_changed_keys: dict[int, SessionRow] = {}
        self._opened: dict[int, AesKey] = {}
        self.faults: dict[int, KeyringError] = {}  # by session id: why its key, or what unwraps it, does not open
        self.sessions_with_new_keys: set[int] = set()
        self.devices_with_new_keys: set[str] = set()

    # --- finding and beginning sessions

    def session_of_frame(
        self, dev_eui: str, dev_addr: str | None, mark: str | None, at: datetime, f_cnt: int, *, late: bool
    ) -> FrameSession:
        """Give the session of an uplink frame; begin one where none fits or the counter shows a restart."""
        matching = self._matching(dev_eui, dev_addr)
        session = self._with_mark(matching, mark, at) if mark else _at(matching, at)
        if session is None:
            session = self._begin(dev_eui, dev_addr, "app_s_key" if matching else "first_seen", at)
        elif (
            session.last_f_cnt_up is not None
            and session.last_at is not None
            and restarts(last_f_cnt=session.last_f_cnt_up, last_at=session.last_at, f_cnt=f_cnt, at=at, late=late)
        ):
            session = self._begin(dev_eui, session.dev_addr, "counter_reset", at, key_of=session)
        is_out_of_order = session.last_f_cnt_up is not None and f_cnt < session.last_f_cnt_up
        if session.last_at is None or at >= session.last_at:
            session.last_at, session.last_f_cnt_up = at, f_cnt
            self._changed[session.id] = session
        return FrameSession(session, is_out_of_order)

    def join(self, dev_eui: str, dev_addr: str | None, mark: str | None, at: datetime) -> SessionRow:
        """Give the session that a join notification announces; one that its first uplink began is taken over."""
        for session in self._matching(dev_eui, dev_addr):
            same_key = session.wrapped_field == mark
            same_join = session.began_by == "join" and session.started_at == at
            began_by_its_uplinks = session.began_by in {"first_seen", "app_s_key"} and session.started_at >= at
            if (mark and same_key) or same_join or (began_by_its_uplinks and session.wrapped_field is None):
                session.began_by, session.started_at = "join", min(at, session.started_at)
                self._changed[session.id] = session
                return session
        return self._begin(dev_eui, dev_addr, "join", at)

    def reset(self, dev_eui: str, dev_addr: str | None, at: datetime) -> SessionRow:
        """Give the session that an ABP counter reset begins, with the key of the one before.

        The network tells a reset when it has seen its first frame, so that frame is a little older.
        """
        matching = self._matching(dev_eui, dev_addr)
        if matching:
            newest = matching[0]  # begun by that frame, or by another delivery of this report, if they came before
            room = SAME_FRAME_WINDOW if newest.began_by == "counter_reset" else timedelta(0)
            if newest.started_at >= at - room:
                return newest
        return self._begin(dev_eui, dev_addr, "counter_reset", at, key_of=matching[0] if matching else None)

    def _matching(self, dev_eui: str, dev_addr: str | None) -> list[SessionRow]:
        """Give the device's sessions of this DevAddr, newest first. Without a DevAddr, any of them."""
        known = self._sessions.get(dev_eui, [])
        if (
            len(known) == 1 and known[0].dev_addr == dev_addr
        ):  # most devices have one session, and most frames are of it
            return known.copy()
        if dev_addr is not None:
            return [session for session in known if session.dev_addr == dev_addr]
        # Reports of before 2016 do not name the DevAddr; where a person did, with the key, that decides.
        by_hand = [session for session in known if session.key_source == "manual" and session.dev_addr is not None]
        return by_hand or known

    @staticmethod
    def _with_mark(matching: list[SessionRow], mark: str, at: datetime) -> SessionRow | None:
        same = [session for session in matching if session.wrapped_field == mark]
        if same:
            return _at(same, at)
        by_hand = [session for session in matching if session.key_source == "manual"]
        return _at(by_hand or [session for session in matching if session.key_source is None], at)

    def _begin(
        self,
        dev_eui: str,
        dev_addr: str | None,
        began_by: str,
        at: datetime,
        key_of: SessionRow | None = None,
    ) -> SessionRow:
        session = insert_session(self._connection, dev_eui, dev_addr, began_by, at)
        self._sessions.setdefault(dev_eui, []).insert(0, session)
        if key_of is not None and key_of.key_source is not None:
            session.key_source = key_of.key_source
            session.wrapped_field = key_of.wrapped_field
            session.as_transport_key_id = key_of.as_transport_key_id
            key = self.key(key_of)
            if key is not None:
                self._seal(session, key)
            self._with_changed_keys[session.id] = session
        return session

    def is_newest_of_device(self, dev_eui: str, at: datetime) -> bool:
        """Say whether no uplink of the device, in any session, is newer than `at`."""
        return all(session.last_at is None or session.last_at <= at for session in self._sessions.get(dev_eui, []))

    # --- keys

    def learn_key(
        self, session: SessionRow, field: str, source: str, connection_id: int | None, *, wrapped: bool
    ) -> None:
        """Keep the AppSKey field that the network sent for a session, unwrapped if that is possible already.

        A key set by hand stays. `wrapped` False: the network sends the AppSKey in clear (an external join
        server without a wrapping key), and of the field only a digest is kept.
        """
        mark = mark_of_field(field, wrapped=wrapped)
        same = session.wrapped_field == mark
        if session.key_source == "manual" or (same and session.sealed_app_s_key is not None):
            return
        self.faults.pop(session.id, None)
        transport_keys = self._transport_keys_for(session, connection_id) if wrapped else []
        if same and wrapped and not transport_keys:
            return
        session.wrapped_field = mark
        session.sealed_app_s_key = None
        self._opened.pop(session.id, None)
        if not wrapped:
            self._seal(session, parse_aes_key(field))
        elif transport_keys:
            session.as_transport_key_id, transport_key = transport_keys[0]
            self._seal(session, unwrap_app_s_key(transport_key, field))
        session.key_source = source
        self._with_changed_keys[session.id] = session

    def _transport_keys_for(self, session: SessionRow, connection_id: int | None) -> list[tuple[int, AesKey]]:
        if connection_id is None:
            return []
        try:
            return self._transport_keys(connection_id)
        except KeyringError as exc:
            self.faults[session.id] = exc
            return []

    def key(self, session: SessionRow) -> AesKey | None:
        """Give the session's clear AppSKey, or None while it is not known or does not open (`opens` tells)."""
        key = self._opened.get(session.id)
        if key is not None or session.sealed_app_s_key is None or not self.opens(session):
            return key
        try:
            key = AesKey(self._keyring.open(session.sealed_app_s_key, app_s_key_purpose(session.id)))
        except KeyringError as exc:
            self.faults[session.id] = exc
            return None
        self._opened[session.id] = key
        return key

    def opens(self, session: SessionRow) -> bool:
        """Say whether every stored key that was tried for the session, its own or what unwraps it, did open."""
        return session.id not in self.faults

    def try_unwrap(self, session: SessionRow, connection_id: int | None) -> AesKey | None:
        """Give the session's key, unwrapping the field that was kept from before the AS transport key was known."""
        key = self.key(session)
        field = session.wrapped_field
        if (
            key is None
            and self.opens(session)
            and field is not None
            and not field.startswith(_CLEAR)
            and session.key_source is not None
        ):
            self.learn_key(session, field, session.key_source, connection_id, wrapped=True)
            key = self.key(session)
        return key

    def _seal(self, session: SessionRow, key: AesKey) -> None:
        session.sealed_app_s_key = self._keyring.seal(key.reveal(), app_s_key_purpose(session.id))
        self._opened[session.id] = key
        self.sessions_with_new_keys.add(session.id)
        self.devices_with_new_keys.add(session.dev_eui)

    def close(self) -> None:
        """Write the sessions that changed."""
        update_sessions(self._connection, list(self._changed.values()))
        put_session_keys(self._connection, list(self._with_changed_keys.values()), self._now)
        self._changed.clear()
        self._with_changed_keys.clear()


def _at(sessions: list[SessionRow], at: datetime) -> SessionRow | None:
    """Give the session of a frame of that time: the newest that had begun, else the oldest there is."""
    for session in sessions:
        if session.started_at <= at + SAME_FRAME_WINDOW:
            return session
    return sessions[-1] if sessions else None
