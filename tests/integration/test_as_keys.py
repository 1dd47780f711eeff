"""AS transport keys: pairs, imports, what stored reports say of them, escrow; on both databases."""

from __future__ import annotations

import json
import random
import secrets
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from Crypto.Cipher import PKCS1_v1_5
from Crypto.PublicKey import RSA

from receiver.errors import AsTransportKeyError, ConflictError, IdentifierError, KeyringError, NotFoundError
from receiver.keyring import Keyring
from receiver.lorawan.frm_payload import Direction, encrypt_frm_payload
from receiver.lorawan.identifiers import DevAddr, DevEui
from receiver.lorawan.keys import AesKey, key_check_value
from receiver.services.as_transport_keys import (
    import_clear,
    import_wrapped,
    load_as_transport_keys,
    new_key_pair,
    show,
)
from receiver.services.connections import add_connection
from receiver.services.devices import set_app_s_key
from receiver.services.escrow import escrow, restore_escrow
from receiver.services.reading import read_batch
from receiver.storage import tables
from receiver.storage.engine import read, write
from receiver.thingpark.as_transport_key import wrap_app_s_key
from receiver.thingpark.key_judgement import Verdict
from receiver.thingpark.rsa_key import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.services.as_transport_keys import AsTransportKeyStatus

KEY = AesKey(bytes.fromhex("dbfb0939c448ff1fbf84e84d6ac8ce98"))
OTHER_KEY = AesKey(bytes.fromhex("c26cbb4e64fa2598e083207676972385"))
PASSPHRASE = "correct horse battery"
DEV_ADDR = DevAddr("1556DC96")


@pytest.fixture
def connection_id(engine: Engine, keyring: Keyring, now: datetime) -> int:
    return add_connection(
        engine, keyring, now, name="demo", platform="kpn-lora", tunnel_key="6dd70c8511e02ac833add9a146f5bf23"
    ).id


@pytest.fixture
def connection(connection_id: int) -> str:
    return "demo"


def network_answer(public_pem: str, key: AesKey = KEY) -> str:
    """Wrap the key as the network does, by another implementation than the receiver's."""
    return PKCS1_v1_5.new(RSA.import_key(public_pem)).encrypt(key.reveal()).hex()


def keys_for_reading(engine: Engine, keyring: Keyring, connection_id: int) -> list[AesKey]:
    with read(engine) as tx:
        return [key for _, key in load_as_transport_keys(tx, keyring, connection_id)]


def states(engine: Engine, name: str = "demo") -> list[tuple[str, str | None]]:
    return [(key.state, key.key_check_value) for key in show(engine, name)]


def store_uplinks(
    engine: Engine,
    connection_id: int,
    now: datetime,
    key: AesKey,
    *,
    payloads: Sequence[bytes] | None = None,
    dev_eui: str = "0016C001F004A480",
    state: str = "waiting_for_key",
    with_app_s_key: bool = True,
    more: dict[str, object] | None = None,
) -> None:
    """Store encrypted uplinks of one session whose AppSKey is wrapped under `key`."""
    app_s_key = AesKey(secrets.token_bytes(16))
    rows = []
    for f_cnt, clear in enumerate(payloads if payloads is not None else sensor_payloads(12)):
        encrypted = encrypt_frm_payload(app_s_key, DEV_ADDR, f_cnt, clear, Direction.UP)
        members = {
            "DevEUI": dev_eui,
            "DevAddr": DEV_ADDR,
            "FPort": "2",
            "FCntUp": str(f_cnt),
            "payload_hex": encrypted.hex(),
            **({"AppSKey": wrap_app_s_key(key, app_s_key)} if with_app_s_key else {}),
            **(more or {}),
        }
        rows.append(
            {
                "connection_id": connection_id,
                "kind": "DevEUI_uplink",
                "content_type": "json",
                "dev_eui": dev_eui,
                "received_at": now,
                "sent_at": now,
                "delivery_id": secrets.token_bytes(16),
                "deliveries": 1,
                "query": "",
                "body": json.dumps({"DevEUI_uplink": members}).encode(),
                "state": state,
            }
        )
    with write(engine) as tx:
        tx.execute(sa.insert(tables.reports), rows)
        if not with_app_s_key:
            session = sa.insert(tables.sessions).values(
                dev_eui=dev_eui, dev_addr=DEV_ADDR, began_by="join", started_at=now
            )
            session_id = tx.execute(session.returning(tables.sessions.c.id)).scalar_one()
            tx.execute(
                sa.insert(tables.session_keys).values(
                    session_id=session_id,
                    source="join",
                    wrapped_field=wrap_app_s_key(key, app_s_key),
                    set_at=now,
                )
            )


def sensor_payloads(count: int) -> list[bytes]:
    noise = random.Random(7)  # noqa: S311 - the test is the same each time
    return [
        bytes([0x93, 0x01])
        + (2150 + noise.randrange(-90, 90)).to_bytes(2, "big")
        + noise.randrange(40, 60).to_bytes(1, "big")
        + (3600).to_bytes(2, "big")
        + count_up.to_bytes(3, "big")
        for count_up in range(count)
    ]


def report_states(engine: Engine) -> set[str]:
    with read(engine) as tx:
        return set(tx.execute(sa.select(tables.reports.c.state)).scalars())


@pytest.mark.parametrize("bits", [1024, 2048])
def test_a_new_pair_awaits_the_networks_answer(
    engine: Engine, keyring: Keyring, now: datetime, connection: str, bits: int
) -> None:
    pem = new_key_pair(engine, keyring, now, connection, bits)

    (key,) = show(engine, connection)
    assert (key.state, key.rsa_bits, key.public_key_pem) == ("awaiting", bits, pem)


@pytest.mark.parametrize("bits", [512, 1023, 3072, 4096])
def test_a_pair_of_another_size_is_refused(
    engine: Engine, keyring: Keyring, now: datetime, connection: str, bits: int
) -> None:
    with pytest.raises(AsTransportKeyError, match=r"2048 .* and 1024"):
        new_key_pair(engine, keyring, now, connection, bits)


def test_the_public_key_on_one_line_is_read_by_another_implementation(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    pem = new_key_pair(engine, keyring, now, connection, 1024)

    line = one_line(pem)
    body = line.removeprefix("-----BEGIN PUBLIC KEY-----").removesuffix("-----END PUBLIC KEY-----")
    assert "\n" not in line
    assert RSA.import_key(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----") == RSA.import_key(pem)


def test_a_second_pair_is_refused_while_one_awaits(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    new_key_pair(engine, keyring, now, connection, 1024)

    with pytest.raises(ConflictError, match="awaits the network's answer"):
        new_key_pair(engine, keyring, now, connection, 1024)


def test_a_new_pair_is_refused_while_a_key_is_active(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())

    with pytest.raises(ConflictError, match=rf"key check value {key_check_value(KEY)}.*must join again"):
        new_key_pair(engine, keyring, now, connection, 1024)


def test_a_replacing_pair_leaves_the_active_key_active(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())

    new_key_pair(engine, keyring, now, connection, 1024, replace=True)

    assert [state for state, _ in states(engine)] == ["awaiting", "active"]


def test_the_networks_answer_becomes_the_active_key(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    pem = new_key_pair(engine, keyring, now, connection)

    result = import_wrapped(engine, keyring, now, connection, network_answer(pem))

    assert result.key_check_value == key_check_value(KEY)
    assert result.confirmation is Verdict.UNTESTED
    assert states(engine) == [("active", key_check_value(KEY))]
    assert keys_for_reading(engine, keyring, connection_id) == [KEY]


def test_an_answer_without_any_pair_is_refused_with_what_to_do(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    with pytest.raises(NotFoundError, match="receiver as-key new demo"):
        import_wrapped(engine, keyring, now, connection, "00" * 256)


def test_an_answer_is_unwrapped_with_a_private_key_made_elsewhere(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    elsewhere = RSA.generate(2048)
    public_pem = elsewhere.public_key().export_key().decode()

    import_wrapped(engine, keyring, now, connection, network_answer(public_pem), elsewhere.export_key())

    (key,) = show(engine, connection)
    assert key.public_key_pem is not None
    assert RSA.import_key(key.public_key_pem) == elsewhere.public_key()


@pytest.mark.parametrize("pem", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_private_key_that_is_none_is_refused(
    engine: Engine, keyring: Keyring, now: datetime, connection: str, pem: bytes
) -> None:
    with pytest.raises(AsTransportKeyError, match="cannot be read"):
        import_wrapped(engine, keyring, now, connection, "00" * 128, pem)


def test_a_private_key_under_a_passphrase_is_refused_with_what_to_do(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    pem = RSA.generate(2048).export_key(passphrase="x", pkcs=8, protection="PBKDF2WithHMAC-SHA1AndAES128-CBC")

    with pytest.raises(AsTransportKeyError, match="openssl pkey"):
        import_wrapped(engine, keyring, now, connection, "00" * 256, pem)


def test_an_active_key_is_not_overwritten_in_silence(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())

    with pytest.raises(AsTransportKeyError, match=r"--replace.*must join again"):
        import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex())

    assert states(engine) == [("active", key_check_value(KEY))]


def test_a_replaced_key_still_reads_and_comes_after_the_active_one(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())
    pem = new_key_pair(engine, keyring, now, connection, 1024, replace=True)

    import_wrapped(engine, keyring, now, connection, network_answer(pem, OTHER_KEY), replace=True)

    assert keys_for_reading(engine, keyring, connection_id) == [OTHER_KEY, KEY]


def test_going_back_to_an_older_key_makes_it_the_first_to_read_with(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    for key in (KEY, OTHER_KEY, KEY):
        import_clear(engine, keyring, now, connection, key.reveal().hex(), replace=True)

    assert keys_for_reading(engine, keyring, connection_id)[0] == KEY
    assert [state for state, _ in states(engine)].count("active") == 1


def test_the_same_answer_twice_changes_nothing(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    answer = network_answer(new_key_pair(engine, keyring, now, connection, 1024))
    import_wrapped(engine, keyring, now, connection, answer)

    again = import_wrapped(engine, keyring, now, connection, answer)

    assert again.was_active_already
    assert len(states(engine)) == 1


def test_a_clear_key_that_is_not_hex_is_refused_without_showing_it(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    with pytest.raises(IdentifierError) as caught:
        import_clear(engine, keyring, now, connection, "dbfb0939c448ff1fbf84e84d6ac8ce")

    assert "dbfb" not in str(caught.value)


def test_keys_do_not_stand_in_the_clear_in_the_database(
    engine: Engine, keyring: Keyring, now: datetime, connection: str
) -> None:
    pem = new_key_pair(engine, keyring, now, connection, 1024)
    import_wrapped(engine, keyring, now, connection, network_answer(pem))

    with read(engine) as tx:
        row = tx.execute(sa.select(tables.as_transport_keys)).one()
    assert KEY.reveal() not in row.sealed_key
    assert b"\x30\x82" not in row.sealed_private_key[:40]


def test_another_key_encryption_key_does_not_open_them(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())

    with pytest.raises(KeyringError, match="key-encryption key"):
        keys_for_reading(engine, Keyring(bytes(32)), connection_id)


def test_stored_uplinks_confirm_the_right_key_and_are_read_again(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    store_uplinks(engine, connection_id, now, KEY)

    result = import_clear(engine, keyring, now, connection, KEY.reveal().hex())

    assert result.confirmation is Verdict.CONFIRMED
    assert result.reports_to_read_again == 12
    assert report_states(engine) == {"unread"}


def test_uplinks_without_an_app_s_key_are_judged_by_their_sessions(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    store_uplinks(engine, connection_id, now, KEY, with_app_s_key=False)

    result = import_clear(engine, keyring, now, connection, KEY.reveal().hex())

    assert result.confirmation is Verdict.CONFIRMED


def test_stored_uplinks_refuse_a_wrong_key_and_go_on_waiting(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    store_uplinks(engine, connection_id, now, KEY)

    with pytest.raises(AsTransportKeyError, match=r"looks wrong.*not imported.*--force"):
        import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex())

    assert states(engine) == []
    assert report_states(engine) == {"waiting_for_key"}


def test_a_doubtful_key_is_imported_by_force_and_stays_marked(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    store_uplinks(engine, connection_id, now, KEY)

    result = import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex(), force=True)

    assert result.confirmation is Verdict.DOUBTFUL
    assert [key.confirmation for key in show(engine, connection)] == ["doubtful"]


def test_a_wrong_key_that_was_forced_is_replaced_by_the_right_one_and_confirmed(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    store_uplinks(engine, connection_id, now, KEY)
    import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex(), force=True)

    result = import_clear(engine, keyring, now, connection, KEY.reveal().hex(), replace=True)

    assert result.confirmation is Verdict.CONFIRMED


def test_a_new_key_is_untested_while_devices_are_still_under_the_old_one(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    store_uplinks(engine, connection_id, now, KEY, state="read")
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())

    result = import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex(), replace=True)

    assert result.confirmation is Verdict.UNTESTED


def test_a_new_key_is_confirmed_by_the_devices_that_joined_under_it(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    store_uplinks(engine, connection_id, now, KEY, state="read")
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())
    store_uplinks(engine, connection_id, now, OTHER_KEY, dev_eui="0016C001F004A481")

    result = import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex(), replace=True)

    assert result.confirmation is Verdict.CONFIRMED


def test_importing_the_active_key_again_confirms_it_once_there_are_uplinks(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())
    store_uplinks(engine, connection_id, now, KEY, state="read")

    import_clear(engine, keyring, now, connection, KEY.reveal().hex())

    assert [key.confirmation for key in show(engine, connection)] == ["confirmed"]


@pytest.mark.parametrize("more", [{"PayloadEncryption": "0"}, {"FPort": "0"}, {"AppSKey": "zz"}, {"DevAddr": ""}])
def test_uplinks_that_are_not_encrypted_under_a_known_session_do_not_count(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str, more: dict[str, object]
) -> None:
    store_uplinks(engine, connection_id, now, KEY, more=more)

    result = import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex())

    assert result.confirmation is Verdict.UNTESTED


def test_uplinks_of_another_connection_do_not_count(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    other = add_connection(engine, keyring, now, name="other", platform="kpn-lora", tunnel_key=None)
    store_uplinks(engine, connection_id, now, KEY)

    result = import_clear(engine, keyring, now, other.name, OTHER_KEY.reveal().hex())

    assert result.confirmation is Verdict.UNTESTED
    assert report_states(engine) == {"waiting_for_key"}


@pytest.mark.parametrize("options", [{"payloads": "clear"}, {"app_s_keys": "clear"}])
def test_uplinks_of_a_connection_without_wrapped_encryption_do_not_count(
    engine: Engine, keyring: Keyring, now: datetime, options: dict[str, str]
) -> None:
    clear = add_connection(engine, keyring, now, name="clear", platform="kpn-lora", tunnel_key=None, **options)
    store_uplinks(engine, clear.id, now, KEY)

    result = import_clear(engine, keyring, now, clear.name, OTHER_KEY.reveal().hex())

    assert result.confirmation is Verdict.UNTESTED


def test_a_report_that_says_it_is_encrypted_counts_whatever_the_connection_says(
    engine: Engine, keyring: Keyring, now: datetime
) -> None:
    clear = add_connection(engine, keyring, now, name="clear", platform="kpn-lora", tunnel_key=None, payloads="clear")
    store_uplinks(engine, clear.id, now, KEY, more={"PayloadEncryption": "1"})

    result = import_clear(engine, keyring, now, clear.name, KEY.reveal().hex())

    assert result.confirmation is Verdict.CONFIRMED


def test_reports_that_cannot_be_read_do_not_hinder_an_import(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    store_uplinks(engine, connection_id, now, KEY)
    with write(engine) as tx:
        some = sa.select(sa.func.min(tables.reports.c.id)).scalar_subquery()
        tx.execute(sa.update(tables.reports).where(tables.reports.c.id == some).values(body=b"{"))

    result = import_clear(engine, keyring, now, connection, KEY.reveal().hex())

    assert result.confirmation is Verdict.CONFIRMED


def read_all(engine: Engine, keyring: Keyring, now: datetime) -> None:
    while read_batch(engine, keyring, now, 200):
        pass


def payloads(engine: Engine, dev_eui: str = "0016C001F004A480") -> list[bytes]:
    query = sa.select(tables.uplinks.c.frm_payload).where(tables.uplinks.c.dev_eui == dev_eui)
    with read(engine) as tx:
        return [bytes(payload) for payload in tx.execute(query.order_by(tables.uplinks.c.f_cnt_up)).scalars()]


def test_uplinks_that_a_wrong_key_decrypted_are_read_again_with_the_right_one(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex())
    store_uplinks(engine, connection_id, now, KEY, state="unread")
    read_all(engine, keyring, now)
    assert payloads(engine) != sensor_payloads(12)

    result = import_clear(engine, keyring, now, connection, KEY.reveal().hex(), replace=True)
    read_all(engine, keyring, now)

    assert result.reports_to_read_again == 12
    assert payloads(engine) == sensor_payloads(12)


def test_sessions_that_the_old_key_reads_stay_under_it(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())
    store_uplinks(engine, connection_id, now, KEY, state="unread")
    read_all(engine, keyring, now)

    result = import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex(), replace=True, force=True)
    read_all(engine, keyring, now)

    assert result.reports_to_read_again == 0
    assert payloads(engine) == sensor_payloads(12)


def test_a_device_that_joined_under_the_new_key_before_its_import_is_read_again(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())
    store_uplinks(engine, connection_id, now, KEY, state="unread")
    store_uplinks(engine, connection_id, now, OTHER_KEY, state="unread", dev_eui="0016C001F004A481")
    read_all(engine, keyring, now)

    import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex(), replace=True)
    read_all(engine, keyring, now)

    assert payloads(engine) == sensor_payloads(12)
    assert payloads(engine, "0016C001F004A481") == sensor_payloads(12)


def test_a_key_set_by_hand_is_not_touched_by_an_import(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex())
    store_uplinks(engine, connection_id, now, KEY, state="unread")
    read_all(engine, keyring, now)
    set_app_s_key(engine, keyring, now, DevEui("0016C001F004A480"), DEV_ADDR, KEY)

    result = import_clear(engine, keyring, now, connection, KEY.reveal().hex(), replace=True)

    assert result.reports_to_read_again == 0


def restored_states(keys: Sequence[AsTransportKeyStatus]) -> list[tuple[str, str | None, str | None]]:
    return [(key.state, key.key_check_value, key.public_key_pem) for key in keys]


@pytest.fixture
def filled(engine: Engine, keyring: Keyring, now: datetime, connection: str) -> str:
    """A connection with a replaced, an active and an awaiting key."""
    pem = new_key_pair(engine, keyring, now, connection, 1024)
    import_wrapped(engine, keyring, now, connection, network_answer(pem))
    import_clear(engine, keyring, now, connection, OTHER_KEY.reveal().hex(), replace=True)
    new_key_pair(engine, keyring, now, connection, 1024, replace=True)
    return connection


@pytest.fixture
def elsewhere(engine: Engine, keyring: Keyring, now: datetime) -> str:
    """Another connection without keys, to restore into."""
    return add_connection(engine, keyring, now, name="elsewhere", platform="kpn-lora", tunnel_key=None).name


def test_an_escrow_restores_every_key_and_pair(
    engine: Engine, keyring: Keyring, now: datetime, filled: str, elsewhere: str
) -> None:
    data = escrow(engine, keyring, now, filled, PASSPHRASE)

    result = restore_escrow(engine, keyring, elsewhere, data, PASSPHRASE)

    assert result.restored == 3
    assert restored_states(show(engine, elsewhere)) == restored_states(show(engine, filled))


def test_a_restored_pair_unwraps_the_networks_answer(
    engine: Engine, keyring: Keyring, now: datetime, connection: str, elsewhere: str
) -> None:
    pem = new_key_pair(engine, keyring, now, connection, 1024)
    restore_escrow(engine, keyring, elsewhere, escrow(engine, keyring, now, connection, PASSPHRASE), PASSPHRASE)

    result = import_wrapped(engine, keyring, now, elsewhere, network_answer(pem))

    assert result.key_check_value == key_check_value(KEY)


def test_a_restore_into_the_same_connection_changes_nothing(
    engine: Engine, keyring: Keyring, now: datetime, filled: str
) -> None:
    before = show(engine, filled)

    result = restore_escrow(engine, keyring, filled, escrow(engine, keyring, now, filled, PASSPHRASE), PASSPHRASE)

    assert (result.restored, result.already_there) == (0, 3)
    assert show(engine, filled) == before


def test_a_restore_does_not_overwrite_another_active_key_in_silence(
    engine: Engine, keyring: Keyring, now: datetime, filled: str, elsewhere: str
) -> None:
    data = escrow(engine, keyring, now, filled, PASSPHRASE)
    import_clear(engine, keyring, now, elsewhere, "00112233445566778899aabbccddeeff")
    before = show(engine, elsewhere)

    with pytest.raises(AsTransportKeyError, match="--replace"):
        restore_escrow(engine, keyring, elsewhere, data, PASSPHRASE)

    assert show(engine, elsewhere) == before


def test_a_restore_replaces_another_active_key_when_told_to(
    engine: Engine, keyring: Keyring, now: datetime, filled: str, elsewhere: str
) -> None:
    data = escrow(engine, keyring, now, filled, PASSPHRASE)
    import_clear(engine, keyring, now, elsewhere, "00112233445566778899aabbccddeeff")

    result = restore_escrow(engine, keyring, elsewhere, data, PASSPHRASE, replace=True)

    assert result.key_check_value == key_check_value(OTHER_KEY)
    assert [state for state, _ in states(engine, elsewhere)].count("active") == 1


def test_a_restore_fills_a_pair_that_still_awaits_there(
    engine: Engine, keyring: Keyring, now: datetime, connection: str, elsewhere: str
) -> None:
    pem = new_key_pair(engine, keyring, now, connection, 1024)
    restore_escrow(engine, keyring, elsewhere, escrow(engine, keyring, now, connection, PASSPHRASE), PASSPHRASE)
    import_wrapped(engine, keyring, now, connection, network_answer(pem))

    restore_escrow(engine, keyring, elsewhere, escrow(engine, keyring, now, connection, PASSPHRASE), PASSPHRASE)

    assert "awaiting" not in [state for state, _ in states(engine, elsewhere)]


def test_a_restore_makes_waiting_reports_unread(
    engine: Engine, keyring: Keyring, now: datetime, connection_id: int, connection: str
) -> None:
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())
    data = escrow(engine, keyring, now, connection, PASSPHRASE)
    store_uplinks(engine, connection_id, now, KEY)

    result = restore_escrow(engine, keyring, connection, data, PASSPHRASE)

    assert result.reports_to_read_again == 12
    assert report_states(engine) == {"unread"}


def test_a_restore_of_a_key_that_stored_uplinks_speak_against_is_refused(
    engine: Engine, keyring: Keyring, now: datetime, connection: str, elsewhere: str
) -> None:
    import_clear(engine, keyring, now, connection, KEY.reveal().hex())
    data = escrow(engine, keyring, now, connection, PASSPHRASE)
    with read(engine) as tx:
        query = sa.select(tables.connections.c.id).where(tables.connections.c.name == elsewhere)
        elsewhere_id = tx.execute(query).scalar_one()
    store_uplinks(engine, elsewhere_id, now, OTHER_KEY)

    with pytest.raises(AsTransportKeyError, match="looks wrong"):
        restore_escrow(engine, keyring, elsewhere, data, PASSPHRASE)


def test_a_restore_into_no_connection_says_how_to_add_it(
    engine: Engine, keyring: Keyring, now: datetime, filled: str
) -> None:
    data = escrow(engine, keyring, now, filled, PASSPHRASE)

    with pytest.raises(NotFoundError, match="receiver connection add nowhere --platform kpn-lora --as-id demo"):
        restore_escrow(engine, keyring, "nowhere", data, PASSPHRASE)


def test_an_escrow_of_no_key_is_refused(engine: Engine, keyring: Keyring, now: datetime, connection: str) -> None:
    with pytest.raises(NotFoundError, match="no AS transport key to keep"):
        escrow(engine, keyring, now, connection, PASSPHRASE)
