"""Keys of API callers: shown once, known by a hash, good for a scope, and revoked for good."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from receiver.errors import ConflictError, IdentifierError, NotFoundError, SettingsError, StorageUnavailableError
from receiver.services.api_keys import (
    SCOPES,
    create_api_key,
    find_live_api_key,
    list_api_keys,
    revoke_api_key,
)
from receiver.storage.engine import read
from receiver.storage.tables import api_keys


@pytest.fixture
def key_text(engine, now):
    return create_api_key(engine, now, "grafana", "read")[1].reveal()


def rows(engine):
    with read(engine) as tx:
        return tx.execute(select(api_keys)).all()


def test_a_key_has_256_random_bits_and_is_known_by_its_look(engine, now):
    texts = {create_api_key(engine, now, f"k{number}", "read")[1].reveal() for number in range(3)}

    assert len(texts) == 3
    assert all(re.fullmatch(r"rcv_[0-9a-f]{64}", text) for text in texts)


def test_the_database_has_only_the_hash_of_a_key(engine, key_text):
    (row,) = rows(engine)

    assert row.key_hash == hashlib.sha256(key_text.encode()).digest()
    assert key_text[4:20] not in repr(tuple(row))


def test_a_key_is_found_by_its_text_alone(engine, now, key_text):
    assert find_live_api_key(engine, now, key_text).name == "grafana"


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: f"{t[:-1]}g", str.upper, lambda _: "", lambda _: "rcv_" + "0" * 64]
)
def test_another_text_is_no_key(engine, now, key_text, change):
    assert find_live_api_key(engine, now, change(key_text)) is None


def test_the_hash_is_no_key(engine, now, key_text):
    assert find_live_api_key(engine, now, f"rcv_{hashlib.sha256(key_text.encode()).hexdigest()}") is None


def test_a_revoked_key_opens_nothing_and_stays_listed(engine, now, key_text):
    revoke_api_key(engine, now, "grafana")

    assert find_live_api_key(engine, now, key_text) is None
    assert [key.revoked_at for key in list_api_keys(engine)] == [now]


def test_what_cannot_be_done_with_a_key_is_refused(engine, now, key_text):
    with pytest.raises(ConflictError, match="already"):
        create_api_key(engine, now, "grafana", "admin")
    with pytest.raises(IdentifierError, match="cannot be a key's name"):
        create_api_key(engine, now, "a b", "admin")
    with pytest.raises(SettingsError, match="read, downlink or admin"):
        create_api_key(engine, now, "other", "write")
    with pytest.raises(NotFoundError, match="no API key named 'other'"):
        revoke_api_key(engine, now, "other")
    revoke_api_key(engine, now, "grafana")
    with pytest.raises(ConflictError, match="revoked already"):
        revoke_api_key(engine, now, "grafana")
    with pytest.raises(ConflictError, match="perhaps a revoked one"):
        create_api_key(engine, now, "grafana", "read")


def test_a_use_is_noted_once_a_minute(engine, now, key_text):
    noted = []
    for seconds in (0, 59, 60, 100, 121):
        find_live_api_key(engine, now + timedelta(seconds=seconds), key_text)
        noted.append((rows(engine)[0].last_used_at - now).total_seconds())

    assert noted == [0, 0, 60, 60, 121]


def test_each_scope_is_good_for_those_below_it(engine, now):
    keys = [create_api_key(engine, now, scope, scope)[0] for scope in SCOPES]

    assert [[key.allows(scope) for scope in SCOPES] for key in keys] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_without_a_database_nobody_is_let_in(engine, now, key_text, database_is_away):
    with database_is_away(), pytest.raises(StorageUnavailableError):
        find_live_api_key(engine, now, key_text)


def test_no_repr_shows_a_key(engine, now):
    made = create_api_key(engine, now, "grafana", "read")

    assert made[1].reveal()[4:12] not in repr((made, list_api_keys(engine)))
