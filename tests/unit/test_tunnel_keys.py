from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from receiver.errors import IdentifierError
from receiver.services.tunnel_keys import (
    SecretText,
    bits_per_digit,
    judge_retirement,
    new_tunnel_key,
    parse_tunnel_key,
    warn_of_low_entropy,
)
from receiver.storage.connections import StoredTunnelKey

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_new_key_is_thirty_two_lower_case_hex_digits() -> None:
    key = new_tunnel_key()

    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")


def test_new_keys_differ_and_have_even_digits() -> None:
    keys = {new_tunnel_key() for _ in range(200)}

    assert len(keys) == 200
    assert min(map(bits_per_digit, keys)) >= 3.4


@pytest.mark.parametrize(
    ("key", "bits"),
    [
        ("6dd70c8511e02ac833add9a146f5bf23", 3.8667),
        ("00112233445566778899aabbccddeeff", 4.0),
        ("bec499c69e9c939e413b663961636c61", 2.8496),
        ("0" * 32, 0.0),
    ],
)
def test_entropy_is_counted_over_hex_digits(key: str, bits: float) -> None:
    assert bits_per_digit(key) == pytest.approx(bits, abs=5e-5)


@pytest.mark.parametrize("typed", ["00112233-4455-6677-8899-AABBCCDDEEFF", "00112233445566778899AABBCCDDEEff"])
def test_a_key_is_kept_as_typed(typed: str) -> None:
    assert parse_tunnel_key(f" {typed}\n") == typed


@pytest.mark.parametrize(
    "typed", ["", "0" * 31, "0" * 33, "g" * 32, "00112233 445566778899AABBCCDDEEFF", "\N{ARABIC-INDIC DIGIT ZERO}" * 32]
)
def test_a_key_that_is_not_thirty_two_hex_digits_is_refused(typed: str) -> None:
    with pytest.raises(IdentifierError, match="32 hexadecimal digits"):
        parse_tunnel_key(typed)


def test_the_refusal_of_a_key_does_not_show_it() -> None:
    with pytest.raises(IdentifierError) as caught:
        parse_tunnel_key("00112233445566778899aabbccddee")

    assert "0011" not in str(caught.value)


def test_a_key_of_few_different_digits_is_warned_of_without_showing_it() -> None:
    warning = warn_of_low_entropy("00000000-0000-0000-0000-000000000001")

    assert warning is not None
    assert "000" not in warning


def test_a_random_key_is_not_warned_of() -> None:
    assert warn_of_low_entropy("6DD70C85-11E02AC833ADD9A146F5BF23") is None


def test_a_secret_text_does_not_show_itself() -> None:
    secret = SecretText("hush")

    assert "hush" not in f"{secret!r} {secret}"
    with pytest.raises(TypeError):
        str(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def stored_key(number: int, retired_at: datetime | None = None) -> StoredTunnelKey:
    return StoredTunnelKey(number, 1, f"k{number}", b"", NOW - 100 * DAY, retired_at)


def judge(
    *,
    last_used_at: datetime | None = None,
    newer: list[tuple[str, datetime | None]] | None = None,
    only_live: bool = False,
    recent_hits: int = 0,
    retired_at: datetime | None = None,
) -> tuple[bool, str]:
    return judge_retirement(
        stored_key(1, retired_at),
        last_used_at=last_used_at,
        newer=newer or [],
        only_live=only_live,
        recent_hits=recent_hits,
        recent_total=1000,
        now=NOW,
    )


def test_an_old_key_that_is_idle_while_a_newer_one_signs_is_safe_to_retire() -> None:
    assert judge(last_used_at=NOW - 14 * DAY, newer=[("k2", NOW)]) == (
        True,
        "safe to retire: not used for 14 d; 0 of the last 1000 reports; k2 is in use",
    )


def test_an_old_key_that_never_signed_is_safe_to_retire_once_a_newer_one_signs() -> None:
    safe, judgement = judge(newer=[("k2", NOW)])

    assert safe
    assert "never used" in judgement


def test_an_old_key_that_signed_this_week_is_kept() -> None:
    safe, judgement = judge(last_used_at=NOW - 3 * DAY, newer=[("k2", NOW)])

    assert not safe
    assert "last used 3 d ago" in judgement


def test_an_old_key_among_the_recent_reports_is_kept_however_long_it_is_idle() -> None:
    safe, judgement = judge(last_used_at=NOW - 30 * DAY, newer=[("k2", NOW - 29 * DAY)], recent_hits=990)

    assert not safe
    assert "990 of the last 1000 reports" in judgement


def test_an_old_key_is_kept_while_no_newer_one_has_signed() -> None:
    safe, judgement = judge(last_used_at=NOW - 30 * DAY, newer=[("k2", None)])

    assert not safe
    assert "does not sign with a newer key (k2) yet" in judgement


def test_the_newest_key_is_kept() -> None:
    assert judge() == (False, "keep: the newest key; not used yet; 0 of the last 1000 reports")


def test_the_only_live_key_is_needed() -> None:
    assert judge(only_live=True) == (False, "needed: the only live key")


def test_a_retired_key_says_since_when() -> None:
    assert judge(retired_at=NOW - DAY) == (
        False,
        "retired on 2026-11-19; pushes signed with it are refused",
    )
