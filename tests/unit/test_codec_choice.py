"""Which codec a frame is for."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from receiver.services.codec_choice import CodecChoice
from receiver.storage.codecs import StoredAssignment
from receiver.storage.undecoded import UndecodedUplink

NOW = datetime(2026, 11, 21, tzinfo=UTC)
UPLINK = UndecodedUplink(1, 1, "20635F0000000001", NOW, 5, b"\1", 7, "ACME/Climate", "acme:climate:1")
MATCHING = {
    "dev_eui": "20635F0000000001",
    "driver": "acme:climate:1",
    "model": "ACME/Climate",
    "connection_id": 7,
    "f_port": 5,
}
OTHER = {"dev_eui": "20635F0000000002", "driver": "b:b:1", "model": "B", "connection_id": 8, "f_port": 6}


def assignment(version_id, **conditions):
    whole = dict.fromkeys(MATCHING) | conditions
    return StoredAssignment(version_id, "c", version_id, connection=None, assigned_at=NOW, **whole)


@pytest.mark.parametrize("name", MATCHING)
def test_a_condition_that_holds_chooses(name):
    assert CodecChoice([assignment(3, **{name: MATCHING[name]})]).version_for(UPLINK) == 3


@pytest.mark.parametrize("name", MATCHING)
def test_a_condition_that_does_not_hold_does_not_choose(name):
    others = {**MATCHING, name: OTHER[name]}

    assert CodecChoice([assignment(3, **others)]).version_for(UPLINK) is None


@pytest.mark.parametrize("name", ["driver", "model", "connection_id"])
def test_what_is_not_known_of_a_device_matches_no_condition(name):
    unknown = UPLINK._replace(**{name: None})

    assert CodecChoice([assignment(3, **{name: MATCHING[name]})]).version_for(unknown) is None


def test_a_device_goes_before_its_driver_its_model_its_connection_and_its_port():
    by_weight = [assignment(number, **{name: MATCHING[name]}) for number, name in enumerate(MATCHING, 1)]

    for order in permutations(by_weight):
        assert CodecChoice(order).version_for(UPLINK) == 1


def test_of_two_for_a_device_the_one_that_names_the_port_is_taken():
    device = {"dev_eui": MATCHING["dev_eui"]}
    choice = CodecChoice([assignment(2, **device, f_port=5), assignment(1, **device)])

    assert choice.version_for(UPLINK) == 2
    assert choice.version_for(UPLINK._replace(f_port=6)) == 1
