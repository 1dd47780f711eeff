"""Devices: what is known of them, the name a person gives them, the AppSKey of one that was personalised by hand."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import IdentifierError, NotFoundError, SettingsError
from receiver.lorawan.identifiers import DevAddr, DevEui, shorten
from receiver.lorawan.keys import AesKey, key_check_value
from receiver.services.session_book import app_s_key_purpose
from receiver.storage import devices as stored
from receiver.storage.engine import read, write
from receiver.storage.reports import lock_reading, wake_reports_of_device, wake_reports_of_sessions
from receiver.storage.seen_devices import LORAWAN_1_1

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import sqlalchemy as sa

    from receiver.keyring import Keyring
    from receiver.storage.devices import Device

PAGE_DEVICES = 1000
SHOWN_SESSIONS = 20
LORAWAN_VERSIONS = ("1.0", LORAWAN_1_1)
MAX_NAME_CHARACTERS = 256
"""As long as a name from the network may be."""


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """One session as an operator sees it; the check value is None while its AppSKey is not known."""

    dev_addr: str | None
    began_by: str
    started_at: datetime
    last_at: datetime | None
    last_f_cnt_up: int | None
    app_s_key_source: str | None
    app_s_key_check_value: str | None


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A device with its newest sessions, newest first, and how many of its reports wait for a key."""

    device: Device
    sessions: list[SessionStatus]
    reports_waiting_for_key: int


def iterate_devices(engine: sa.Engine) -> Iterator[Device]:
    """Give all devices by DevEUI, read page by page so that no list is as long as the fleet."""
    after = ""
    while True:
        with read(engine) as tx:
            page = stored.list_devices(tx, after=after, limit=PAGE_DEVICES)
        yield from page
        if len(page) < PAGE_DEVICES:
            return
        after = page[-1].dev_eui


def get_device(engine: sa.Engine, keyring: Keyring, dev_eui: DevEui) -> DeviceStatus:
    """Give a device with its sessions.

    Raises:
        NotFoundError: it was neither heard nor set up.
        KeyringError: an AppSKey does not open.
    """
    with read(engine) as tx:
        device = stored.find_device(tx, dev_eui)
        if device is None:
            raise _unknown(dev_eui)
        sessions = stored.list_sessions(tx, dev_eui, SHOWN_SESSIONS)
        waiting = stored.count_waiting_reports(tx, dev_eui)
    return DeviceStatus(device, [_session_status(keyring, session) for session in sessions], waiting)


def set_device_name(engine: sa.Engine, dev_eui: DevEui, name: str) -> None:
    """Name a device by hand, which the network's name for it no longer changes. An empty name undoes that.

    Raises:
        NotFoundError: it was neither heard nor set up.
        IdentifierError: the name is longer than 256 characters, or has characters that do not print.
    """
    name = name.strip()
    if len(name) > MAX_NAME_CHARACTERS:
        raise IdentifierError(f"A device's name has at most {MAX_NAME_CHARACTERS} characters, not {len(name)}.")
    if any(unicodedata.category(character).startswith("C") for character in name):
        raise IdentifierError("A device's name cannot have control characters or others that do not print.")
    with write(engine) as tx:
        if not stored.set_name(tx, dev_eui, name or None):
            raise _unknown(dev_eui)


def set_lorawan_version(engine: sa.Engine, dev_eui: DevEui, version: str) -> None:
    """Say which version of LoRaWAN a device speaks: 1.1 has a counter of its own for applications' downlinks.

    Reports that have that counter say so by themselves.

    Raises:
        NotFoundError: it was neither heard nor set up.
        SettingsError: it is no version of LoRaWAN.
    """
    if version not in LORAWAN_VERSIONS:
        raise SettingsError(f"{shorten(version)!r} is no version of LoRaWAN here: {' or '.join(LORAWAN_VERSIONS)} is.")
    with write(engine) as tx:
        if not stored.set_lorawan_version(tx, dev_eui, version):
            raise _unknown(dev_eui)


def set_app_s_key(
    engine: sa.Engine, keyring: Keyring, now: datetime, dev_eui: DevEui, dev_addr: DevAddr, app_s_key: AesKey
) -> int:
    """Set the AppSKey of the device's newest session under that DevAddr, or of a new one.

    Older sessions under that DevAddr get it too where the network sent no key: each counter reset of an ABP
    device begins one. The device is made if it is unknown, so that it may be set up before it is heard.
    Its reports that wait for a key are made unread again, and so are those of these sessions that were taken
    for clear, or decrypted with a key that this one corrects; gives how many.
    """
    with write(engine) as tx:
        lock_reading(tx)
        stored.insert_device_unless_known(tx, dev_eui, now)
        session_ids = stored.list_sessions_to_key(tx, dev_eui, dev_addr)
        for session_id in session_ids or [stored.insert_manual_session(tx, dev_eui, dev_addr, now)]:
            sealed = keyring.seal(app_s_key.reveal(), app_s_key_purpose(session_id))
            stored.set_manual_session_key(tx, session_id, sealed, now)
        read_before = wake_reports_of_sessions(tx, session_ids, ("clear", "decrypted"))
        return read_before + wake_reports_of_device(tx, dev_eui)


def _session_status(keyring: Keyring, session: stored.StoredSession) -> SessionStatus:
    check_value = None
    if session.sealed_app_s_key is not None:
        check_value = key_check_value(AesKey(keyring.open(session.sealed_app_s_key, app_s_key_purpose(session.id))))
    return SessionStatus(
        dev_addr=session.dev_addr,
        began_by=session.began_by,
        started_at=session.started_at,
        last_at=session.last_at,
        last_f_cnt_up=session.last_f_cnt_up,
        app_s_key_source=session.key_source,
        app_s_key_check_value=check_value,
    )


def _unknown(dev_eui: DevEui) -> NotFoundError:
    return NotFoundError(
        f"There is no device {shorten(dev_eui)}: it was not heard yet. A device that is personalised by hand"
        f" is set up with `receiver device set {shorten(dev_eui)} --app-s-key HEX --dev-addr HEX`."
    )
