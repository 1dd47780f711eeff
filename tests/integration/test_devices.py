"""Names and AppSKeys that people set on devices, on both databases."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from receiver.errors import IdentifierError, NotFoundError
from receiver.lorawan.identifiers import DevAddr, DevEui
from receiver.lorawan.keys import AesKey, key_check_value
from receiver.services import devices
from receiver.services.devices import get_device, iterate_devices, set_app_s_key, set_device_name
from receiver.storage import tables
from receiver.storage.devices import list_devices
from receiver.storage.engine import read, write

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.keyring import Keyring

DEV_EUI = DevEui("0016C001F004A480")
OTHER_DEV_EUI = DevEui("0016C001F004A481")
DEV_ADDR = DevAddr("1556DC96")
APP_S_KEY = AesKey(bytes(range(16)))
OTHER_APP_S_KEY = AesKey(bytes(range(1, 17)))


def insert_waiting_report(engine: Engine, now: datetime, dev_eui: DevEui) -> None:
    with write(engine) as tx:
        tx.execute(
            sa.insert(tables.reports).values(
                kind="DevEUI_uplink",
                content_type="json",
                dev_eui=dev_eui,
                received_at=now,
                sent_at=now,
                delivery_id=secrets.token_bytes(16),
                deliveries=1,
                query="",
                body=b"{}",
                state="waiting_for_key",
            )
        )


def insert_session(engine: Engine, now: datetime, dev_addr: DevAddr = DEV_ADDR) -> int:
    insert = sa.insert(tables.sessions).values(
        dev_eui=DEV_EUI, dev_addr=dev_addr, began_by="first_seen", started_at=now
    )
    with write(engine) as tx:
        return tx.execute(insert.returning(tables.sessions.c.id)).scalar_one()


def insert_network_key(engine: Engine, now: datetime, session_id: int) -> None:
    insert = sa.insert(tables.session_keys).values(
        session_id=session_id, source="report", wrapped_field="00" * 16, set_at=now
    )
    with write(engine) as tx:
        tx.execute(insert)


def states(engine: Engine) -> dict[str, str]:
    with read(engine) as tx:
        rows = tx.execute(sa.select(tables.reports.c.dev_eui, tables.reports.c.state))
        return {row.dev_eui: row.state for row in rows}


def sealed_key(engine: Engine, session_id: int) -> bytes:
    keys = tables.session_keys
    with read(engine) as tx:
        sealed: bytes = tx.execute(
            sa.select(keys.c.sealed_app_s_key).where(keys.c.session_id == session_id)
        ).scalar_one()
    return sealed


def test_an_app_s_key_makes_an_unknown_device_with_a_session(engine: Engine, keyring: Keyring, now: datetime) -> None:
    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)

    status = get_device(engine, keyring, DEV_EUI)
    (session,) = status.sessions
    assert status.device.name is None
    assert (session.dev_addr, session.began_by, session.app_s_key_source) == (DEV_ADDR, "manual", "manual")
    assert session.app_s_key_check_value == key_check_value(APP_S_KEY)


def test_an_app_s_key_goes_to_the_sessions_under_its_dev_addr(engine: Engine, keyring: Keyring, now: datetime) -> None:
    before_a_reset, after_it = insert_session(engine, now), insert_session(engine, now)
    insert_session(engine, now, DevAddr("1556DC97"))

    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)

    for session_id in (before_a_reset, after_it):
        assert keyring.open(sealed_key(engine, session_id), f"app_s_key:{session_id}") == APP_S_KEY.reveal()
    others = [s for s in get_device(engine, keyring, DEV_EUI).sessions if s.dev_addr != DEV_ADDR]
    assert [session.app_s_key_source for session in others] == [None]


def test_an_app_s_key_leaves_an_older_session_that_the_network_gave_one(
    engine: Engine, keyring: Keyring, now: datetime
) -> None:
    older = insert_session(engine, now)
    insert_network_key(engine, now, older)
    insert_session(engine, now)

    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)

    sources = [session.app_s_key_source for session in get_device(engine, keyring, DEV_EUI).sessions]
    assert sources == ["manual", "report"]


def test_a_second_app_s_key_takes_the_place_of_the_first(engine: Engine, keyring: Keyring, now: datetime) -> None:
    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)
    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, OTHER_APP_S_KEY)

    (session,) = get_device(engine, keyring, DEV_EUI).sessions
    assert session.app_s_key_check_value == key_check_value(OTHER_APP_S_KEY)


def test_a_hand_set_key_replaces_one_the_network_sent(engine: Engine, keyring: Keyring, now: datetime) -> None:
    session_id = insert_session(engine, now)
    insert_network_key(engine, now, session_id)

    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)

    with read(engine) as tx:
        row = tx.execute(sa.select(tables.session_keys)).one()
    assert (row.source, row.wrapped_field) == ("manual", None)


def test_an_app_s_key_makes_waiting_reports_of_its_device_unread(
    engine: Engine, keyring: Keyring, now: datetime
) -> None:
    insert_waiting_report(engine, now, DEV_EUI)
    insert_waiting_report(engine, now, OTHER_DEV_EUI)

    assert set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY) == 1

    assert states(engine) == {DEV_EUI: "unread", OTHER_DEV_EUI: "waiting_for_key"}


def test_an_app_s_key_does_not_stand_in_the_clear(engine: Engine, keyring: Keyring, now: datetime) -> None:
    session_id = insert_session(engine, now)

    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)

    assert APP_S_KEY.reveal() not in sealed_key(engine, session_id)


def test_a_known_device_keeps_its_name_and_times_when_it_gets_an_app_s_key(
    engine: Engine, keyring: Keyring, now: datetime
) -> None:
    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)
    set_device_name(engine, DEV_EUI, "Kitchen")
    before = get_device(engine, keyring, DEV_EUI).device

    set_app_s_key(engine, keyring, now.replace(year=2027), DEV_EUI, DEV_ADDR, OTHER_APP_S_KEY)

    assert get_device(engine, keyring, DEV_EUI).device == before


def test_a_name_by_hand_is_marked_as_such(engine: Engine, keyring: Keyring, now: datetime) -> None:
    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)

    set_device_name(engine, DEV_EUI, " Kitchen ")

    device = get_device(engine, keyring, DEV_EUI).device
    assert (device.name, device.name_by_hand) == ("Kitchen", True)


def test_an_empty_name_leaves_the_naming_to_the_network(engine: Engine, keyring: Keyring, now: datetime) -> None:
    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)
    set_device_name(engine, DEV_EUI, "Kitchen")

    set_device_name(engine, DEV_EUI, "")

    device = get_device(engine, keyring, DEV_EUI).device
    assert (device.name, device.name_by_hand) == (None, False)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "a\N{RIGHT-TO-LEFT OVERRIDE}b", "x" * 257])
def test_a_name_that_does_not_print_on_a_line_is_refused(
    engine: Engine, keyring: Keyring, now: datetime, name: str
) -> None:
    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)

    with pytest.raises(IdentifierError):
        set_device_name(engine, DEV_EUI, name)


def test_naming_an_unknown_device_is_refused(engine: Engine) -> None:
    with pytest.raises(NotFoundError, match="was not heard yet"):
        set_device_name(engine, DEV_EUI, "Kitchen")


def test_an_unknown_device_is_not_shown(engine: Engine, keyring: Keyring) -> None:
    with pytest.raises(NotFoundError, match=DEV_EUI):
        get_device(engine, keyring, DEV_EUI)


def test_waiting_reports_are_counted(engine: Engine, keyring: Keyring, now: datetime) -> None:
    set_app_s_key(engine, keyring, now, DEV_EUI, DEV_ADDR, APP_S_KEY)
    insert_waiting_report(engine, now, DEV_EUI)

    assert get_device(engine, keyring, DEV_EUI).reports_waiting_for_key == 1


def test_devices_are_listed_by_dev_eui(engine: Engine, keyring: Keyring, now: datetime) -> None:
    for dev_eui in (OTHER_DEV_EUI, DEV_EUI):
        set_app_s_key(engine, keyring, now, dev_eui, DEV_ADDR, APP_S_KEY)

    assert [device.dev_eui for device in iterate_devices(engine)] == [DEV_EUI, OTHER_DEV_EUI]


def test_a_page_of_devices_begins_behind_the_one_before(engine: Engine, keyring: Keyring, now: datetime) -> None:
    for number in range(5):
        set_app_s_key(engine, keyring, now, DevEui(f"{number:016X}"), DEV_ADDR, APP_S_KEY)

    with read(engine) as tx:
        page = list_devices(tx, after="0000000000000001", limit=2)

    assert [device.dev_eui for device in page] == ["0000000000000002", "0000000000000003"]


def test_more_devices_than_a_page_are_all_listed(engine: Engine, now: datetime) -> None:
    count = devices.PAGE_DEVICES + 1
    rows = [
        {"dev_eui": f"{number:016X}", "name_by_hand": False, "first_seen_at": now, "last_seen_at": now}
        for number in range(count)
    ]
    with write(engine) as tx:
        tx.execute(sa.insert(tables.devices), rows)

    assert len(list(iterate_devices(engine))) == count
