"""What is written of a decoded object is JSON that any database text can hold."""

from __future__ import annotations

import json

import pytest

from receiver.services.decoding_frames import as_json


@pytest.mark.parametrize(
    "value",
    [
        {"temperature": 21.5, "status": {"mode": "off", "moved": True}, "none": None, "list": [1, -2, 0.1]},
        {"name": "Zähler 📡", "control": "a\0b\n\x7f"},
        [1e16, 1e-7, 1.5e300, 2**53, 2**63, 2**64, -(2**80)],
        ["\ud83d", "a"],
        {},
        "",
    ],
)
def test_the_json_of_an_object_is_compact_ascii_and_means_the_same(value):
    text = as_json(value)

    assert text.isascii()
    assert "\0" not in text
    assert ": " not in text
    assert json.loads(text) == value
