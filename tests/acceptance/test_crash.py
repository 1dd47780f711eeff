"""Killed again and again under load, a receiver loses nothing that it answered 200, and doubles nothing."""

from __future__ import annotations

import pytest

from tests.soak.crash import VICTIMS, crash
from tests.soak.running import prepare

KILLS = 12
AT_MOST_S = 50.0


@pytest.fixture
def soaked(installation):
    prepare(installation)
    return installation


def test_kills_at_any_moment_lose_nothing_and_double_nothing(soaked):
    counts, kills = crash(soaked, seed=20_261_121, kills=KILLS, for_s=AT_MOST_S, settle_s=40)

    assert not counts.failures, counts.table()
    assert counts.too_few_deliveries == 0, counts.table()
    assert counts.read_once == counts.found_once + counts.found_unacknowledged
    assert counts.acknowledged > KILLS
    assert counts.unanswered > 0, "no kill hit a push"
    assert set(kills) == set(VICTIMS), f"not all were killed in time: {kills}"
