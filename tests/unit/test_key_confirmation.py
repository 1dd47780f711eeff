from __future__ import annotations

from dataclasses import replace

import pytest

from receiver.services.key_confirmation import KeyComparison, batched_ids, is_outdated
from receiver.storage.as_transport_keys import UnwrappedSession
from receiver.thingpark.key_judgement import Verdict, judge_decryptions

UNTESTED = judge_decryptions([])
CONFIRMED = replace(UNTESTED, verdict=Verdict.CONFIRMED)
SESSION = UnwrappedSession(id=1, as_transport_key_id=7, wrapped_field="aa")


def comparison(
    *, confirmed: bool = False, read_before: frozenset[str] = frozenset(), read_now: frozenset[str] = frozenset()
) -> KeyComparison:
    return KeyComparison(CONFIRMED if confirmed else UNTESTED, {7: read_before}, read_now)


@pytest.mark.parametrize("force", [False, True])
def test_a_session_that_the_earlier_key_reads_stays(force: bool) -> None:
    compared = comparison(confirmed=True, read_before=frozenset({"aa"}))

    assert not is_outdated(SESSION, compared, force=force)


def test_a_session_that_another_earlier_key_reads_stays() -> None:
    compared = KeyComparison(CONFIRMED, {7: frozenset(), 6: frozenset({"aa"})}, frozenset())

    assert not is_outdated(SESSION, compared, force=True)


def test_a_session_that_the_new_key_reads_is_outdated_even_if_the_earlier_key_was_right_for_others() -> None:
    compared = comparison(confirmed=True, read_before=frozenset({"bb"}), read_now=frozenset({"aa"}))

    assert is_outdated(SESSION, compared, force=False)


def test_a_session_that_no_key_surely_reads_is_outdated_if_the_earlier_key_reads_nothing() -> None:
    assert is_outdated(SESSION, comparison(confirmed=True, read_now=frozenset({"bb"})), force=False)


@pytest.mark.parametrize("force", [False, True])
def test_a_session_that_no_key_surely_reads_stays_if_the_earlier_key_reads_others(force: bool) -> None:
    assert not is_outdated(SESSION, comparison(confirmed=True, read_before=frozenset({"bb"})), force=force)


def test_a_session_stays_while_the_new_key_is_untested() -> None:
    assert not is_outdated(SESSION, comparison(), force=False)


def test_an_untested_new_key_is_trusted_by_force_over_one_that_reads_nothing() -> None:
    assert is_outdated(SESSION, comparison(), force=True)


def test_ids_come_in_pieces_without_a_loss() -> None:
    assert [list(piece) for piece in batched_ids(range(5), 2)] == [[0, 1], [2, 3], [4]]
    assert list(batched_ids([])) == []
