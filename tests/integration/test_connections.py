"""Connections and tunnel keys on both databases."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from receiver.errors import ConflictError, IdentifierError, KeyringError, NotFoundError, SettingsError
from receiver.services.connections import (
    add_connection,
    get_connection,
    list_connections,
    load_live_connections,
    remove_connection,
)
from receiver.services.tunnel_keys import add_tunnel_key, list_tunnel_keys, retire_tunnel_key
from receiver.storage import tables
from receiver.storage.engine import get_revision, read, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.storage.connections import Connection

KEY = "6DD70C85-11e0-2ac8-33ad-d9a146f5bf23"
OTHER_KEY = "c6f5e3b263092120b8766b9aed9c41b4"


@pytest.fixture
def add(engine: Engine, keyring: Keyring, now: datetime) -> Callable[..., Connection]:
    def add(name: str = "demo", **options: object) -> Connection:
        given = {"platform": "thingpark", "tunnel_key": KEY} | options
        return add_connection(engine, keyring, now, name=name, **given)  # type: ignore[arg-type]

    return add


def insert_report(
    engine: Engine, connection_id: int, *, key: int, received_at: datetime, state: str = "unread"
) -> None:
    with write(engine) as tx:
        tx.execute(
            sa.insert(tables.reports).values(
                connection_id=connection_id,
                tunnel_key_id=key,
                kind="DevEUI_uplink",
                content_type="json",
                received_at=received_at,
                sent_at=received_at,
                delivery_id=secrets.token_bytes(16),
                deliveries=1,
                query="",
                body=b"{}",
                state=state,
            )
        )


def count(engine: Engine, table: sa.Table) -> int:
    with read(engine) as tx:
        return tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def key_row_ids(engine: Engine) -> list[int]:
    with read(engine) as tx:
        return list(tx.execute(sa.select(tables.tunnel_keys.c.id).order_by(tables.tunnel_keys.c.id)).scalars())


def revision(engine: Engine) -> int:
    with read(engine) as tx:
        return get_revision(tx, "connections")


def test_a_connection_is_found_under_its_name_as_it_was_added(engine: Engine, add: Callable[..., Connection]) -> None:
    added = add(platform="kpn-lora", as_id="TWA_1.2.AS", max_deviation_s=90, payloads="encrypted", app_s_keys="clear")

    assert get_connection(engine, "demo") == added
    assert (added.platform, added.as_id, added.max_deviation_s) == ("kpn-lora", "TWA_1.2.AS", 90)
    assert (added.payloads, added.app_s_keys) == ("encrypted", "clear")


def test_the_as_id_is_the_name_unless_given(add: Callable[..., Connection]) -> None:
    assert add("site-a").as_id == "site-a"


def test_connections_are_listed_by_name(engine: Engine, add: Callable[..., Connection]) -> None:
    for name in ("b", "a", "c"):
        add(name)

    assert [connection.name for connection in list_connections(engine)] == ["a", "b", "c"]


def test_a_name_that_is_taken_is_refused(add: Callable[..., Connection]) -> None:
    add()

    with pytest.raises(ConflictError, match="named demo already"):
        add()


@pytest.mark.parametrize("name", ["", "A", "-a", ".a", "a/b", "a b", "a" * 64, "ä", "a\n"])
def test_a_name_that_does_not_fit_a_url_is_refused(add: Callable[..., Connection], name: str) -> None:
    with pytest.raises(IdentifierError, match="cannot be a connection's name"):
        add(name)


@pytest.mark.parametrize("name", ["a", "0", "a.b_c-d", "a" * 63])
def test_a_name_that_fits_a_url_is_taken(add: Callable[..., Connection], name: str) -> None:
    assert add(name).name == name


@pytest.mark.parametrize("as_id", ["", "a b", "a&b", "a=b", "ä", "a" * 129])
def test_an_as_id_of_another_form_is_refused(add: Callable[..., Connection], as_id: str) -> None:
    with pytest.raises(IdentifierError, match="cannot be an AS_ID"):
        add(as_id=as_id)


def test_a_connection_of_kpn_things_has_no_tunnel_key(add: Callable[..., Connection]) -> None:
    with pytest.raises(SettingsError, match="has shared secrets"):
        add(platform="kpn-things", tunnel_key="0" * 32)


@pytest.mark.parametrize(
    "options",
    [
        {"platform": "ttn"},
        {"payloads": "yes"},
        {"app_s_keys": "no"},
        {"max_deviation_s": 0},
        {"max_deviation_s": 86_401},
        {"downlink_url": "ftp://host/x"},
        {"downlink_url": "https://"},
        {"downlink_url": "https://[::1"},
        {"downlink_url": "https://host/downlink?DevEUI=1"},
        {"downlink_url": "https://me:secret@host/downlink"},
    ],
)
def test_another_option_that_cannot_be_is_refused(add: Callable[..., Connection], options: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as caught:
        add(**options)

    assert str(caught.value).endswith(".")
    assert "secret" not in str(caught.value)


def test_a_refused_connection_leaves_nothing(engine: Engine, add: Callable[..., Connection]) -> None:
    with pytest.raises(IdentifierError):
        add(tunnel_key="00")

    assert list_connections(engine) == []


def test_an_unknown_connection_is_told_with_the_known_ones(engine: Engine, add: Callable[..., Connection]) -> None:
    add("a")
    add("b")

    with pytest.raises(NotFoundError, match="there are: a, b"):
        get_connection(engine, "c")


def test_live_connections_have_their_keys_as_typed_newest_first(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()
    add("bare", tunnel_key=None)
    add_tunnel_key(engine, keyring, now, "demo", OTHER_KEY)

    _, live = load_live_connections(engine, keyring)

    assert [(key.key_id, key.text.reveal()) for key in live["demo"].tunnel_keys] == [("k2", OTHER_KEY), ("k1", KEY)]
    assert live["bare"].tunnel_keys == ()


def test_a_live_connection_does_not_show_its_keys(
    engine: Engine, keyring: Keyring, add: Callable[..., Connection]
) -> None:
    add()

    assert KEY not in repr(load_live_connections(engine, keyring))


def test_a_retired_key_is_not_live(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()
    add_tunnel_key(engine, keyring, now, "demo", OTHER_KEY)
    retire_tunnel_key(engine, now, "demo", "k1")

    _, live = load_live_connections(engine, keyring)

    assert [key.key_id for key in live["demo"].tunnel_keys] == ["k2"]


def test_every_change_of_connections_bumps_their_revision(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    revisions = [revision(engine)]
    for change in (
        add,
        lambda: add_tunnel_key(engine, keyring, now, "demo", OTHER_KEY),
        lambda: retire_tunnel_key(engine, now, "demo", "k1"),
        lambda: remove_connection(engine, "demo"),
    ):
        change()
        revisions.append(revision(engine))

    assert sorted(set(revisions)) == revisions
    assert load_live_connections(engine, keyring)[0] == revisions[-1]


def test_keys_do_not_stand_in_the_clear_in_the_database(engine: Engine, add: Callable[..., Connection]) -> None:
    add()

    with read(engine) as tx:
        sealed = tx.execute(sa.select(tables.tunnel_keys.c.sealed_key)).scalar_one()
    assert KEY.encode() not in sealed
    assert bytes.fromhex(KEY.replace("-", "")) not in sealed


def test_a_sealed_key_moved_to_another_row_does_not_open(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()
    add_tunnel_key(engine, keyring, now, "demo", OTHER_KEY)
    keys = tables.tunnel_keys
    with write(engine) as tx:
        moved = tx.execute(sa.select(keys.c.sealed_key).where(keys.c.key_id == "k1")).scalar_one()
        tx.execute(sa.update(keys).where(keys.c.key_id == "k2").values(sealed_key=moved))

    with pytest.raises(KeyringError):
        load_live_connections(engine, keyring)


def test_key_ids_count_up_and_are_never_used_twice(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()
    assert add_tunnel_key(engine, keyring, now, "demo", OTHER_KEY) == "k2"
    retire_tunnel_key(engine, now, "demo", "k2")

    assert add_tunnel_key(engine, keyring, now, "demo", OTHER_KEY) == "k3"


def test_a_key_that_is_live_already_is_refused_and_named(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()

    with pytest.raises(ConflictError, match="has this key already, as k1"):
        add_tunnel_key(engine, keyring, now, "demo", KEY)


def test_the_same_key_spelled_otherwise_is_another_key(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()

    assert add_tunnel_key(engine, keyring, now, "demo", KEY.replace("-", "").lower()) == "k2"


def test_the_last_live_key_is_not_retired(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()
    add_tunnel_key(engine, keyring, now, "demo", OTHER_KEY)
    retire_tunnel_key(engine, now, "demo", "k1")

    with pytest.raises(ConflictError, match="last live key of demo"):
        retire_tunnel_key(engine, now, "demo", "k2")


def test_the_last_live_key_is_retired_by_force(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()

    retire_tunnel_key(engine, now, "demo", "k1", force=True)

    assert load_live_connections(engine, keyring)[1]["demo"].tunnel_keys == ()


def test_a_key_is_retired_once(engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]) -> None:
    add()
    add_tunnel_key(engine, keyring, now, "demo", OTHER_KEY)
    retire_tunnel_key(engine, now, "demo", "k1")

    with pytest.raises(ConflictError, match="retired already, on 2026-11-20"):
        retire_tunnel_key(engine, now, "demo", "k1")


def test_an_unknown_key_is_told_with_the_known_ones(
    engine: Engine, now: datetime, add: Callable[..., Connection]
) -> None:
    add()

    with pytest.raises(NotFoundError, match="it has k1"):
        retire_tunnel_key(engine, now, "demo", "k7")


def test_keys_are_listed_with_a_check_value_that_dashes_and_case_do_not_change(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()
    add_tunnel_key(engine, keyring, now, "demo", KEY.replace("-", "").lower())

    first, second = list_tunnel_keys(engine, keyring, now, "demo")

    assert first.key_check_value == second.key_check_value
    assert len(first.key_check_value) == 6


def test_hits_count_reports_that_were_read_and_reports_that_were_not(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    connection = add()
    (key,) = key_row_ids(engine)
    insert_report(engine, connection.id, key=key, received_at=now)
    insert_report(engine, connection.id, key=key, received_at=now - timedelta(hours=1))
    insert_report(engine, connection.id, key=key, received_at=now, state="read")
    with write(engine) as tx:
        earlier = now - timedelta(days=1)
        tx.execute(sa.insert(tables.tunnel_key_uses).values(tunnel_key_id=key, hits=40, last_used_at=earlier))

    (listed,) = list_tunnel_keys(engine, keyring, now, "demo")

    assert listed.hits == 42
    assert listed.last_used_at == now
    assert listed.recent_hits == 3


def test_last_use_is_that_of_the_reports_read_when_nothing_is_unread(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()
    (key,) = key_row_ids(engine)
    with write(engine) as tx:
        tx.execute(sa.insert(tables.tunnel_key_uses).values(tunnel_key_id=key, hits=40, last_used_at=now))

    (listed,) = list_tunnel_keys(engine, keyring, now, "demo")

    assert (listed.hits, listed.last_used_at) == (40, now)


def test_a_key_that_was_never_used_has_no_hits(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()

    (listed,) = list_tunnel_keys(engine, keyring, now, "demo")

    assert (listed.hits, listed.last_used_at) == (0, None)


def test_after_a_change_of_keys_the_old_one_is_safe_to_retire_and_the_new_one_is_not(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    connection = add()
    add_tunnel_key(engine, keyring, now, "demo", OTHER_KEY)
    _, new = key_row_ids(engine)
    insert_report(engine, connection.id, key=new, received_at=now)

    listed = list_tunnel_keys(engine, keyring, now, "demo")

    assert [key.safe_to_retire for key in listed] == [True, False]


def test_reports_of_another_connection_do_not_count(
    engine: Engine, keyring: Keyring, now: datetime, add: Callable[..., Connection]
) -> None:
    add()
    other = add("other")
    insert_report(engine, other.id, key=key_row_ids(engine)[1], received_at=now)

    (listed,) = list_tunnel_keys(engine, keyring, now, "demo")

    assert (listed.hits, listed.recent_hits) == (0, 0)


def test_removing_a_connection_keeps_its_reports_and_takes_its_keys(
    engine: Engine, now: datetime, add: Callable[..., Connection]
) -> None:
    connection = add()
    insert_report(engine, connection.id, key=key_row_ids(engine)[0], received_at=now)

    removed = remove_connection(engine, "demo")

    assert (removed.tunnel_keys, removed.reports_that_stay) == (1, 1)
    assert count(engine, tables.reports) == 1
    assert count(engine, tables.tunnel_keys) == 0


def test_a_removed_connection_cannot_be_removed_again(engine: Engine, add: Callable[..., Connection]) -> None:
    add()
    remove_connection(engine, "demo")

    with pytest.raises(NotFoundError, match="nor any other"):
        remove_connection(engine, "demo")
