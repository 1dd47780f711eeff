"""Names that were typed a little wrong are known again, and only those; tokens are taken out of what is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.services.findings import unique_near_name
from receiver.services.judging import tell_skew
from receiver.services.rejections import without_tokens

TOKEN = "0123456789abcdef" * 4
NAMES = st.text("abc-1", min_size=2, max_size=8)


@pytest.mark.parametrize(
    "name", ["METERS", "Meters", "meter", "meterss", "metres", "neters", "emters", "meers", "mexters"]
)
def test_a_name_that_differs_by_case_or_one_character_is_near(name):
    assert unique_near_name(name, ["meters", "tanks"]) == "meters"


@pytest.mark.parametrize("name", ["", "me", "metersxy", "sretem", "nexers", "x"])
def test_a_name_that_differs_by_more_is_not(name):
    assert unique_near_name(name, ["meters", "tanks"]) is None


def test_two_names_that_are_as_near_are_none():
    assert unique_near_name("meter", ["meter1", "meter2"]) is None


def test_the_same_name_in_another_case_is_nearer_than_one_with_another_character():
    assert unique_near_name("Meter1", ["meter1", "meter2"]) == "meter1"


@given(name=NAMES, character=st.sampled_from("xyz"), where=st.integers(0, 8))
def test_one_character_too_much_wrong_or_left_out_is_near(name, character, where):
    where %= len(name)
    for changed in (
        name[:where] + character + name[where:],
        name[:where] + character + name[where + 1 :],
        name[:where] + name[where + 1 :],
    ):
        assert unique_near_name(changed, [name]) == name


@given(name=NAMES)
def test_two_characters_too_much_are_not_near(name):
    assert unique_near_name(f"x{name}y", [name]) is None


@pytest.mark.parametrize(("skew_s", "told"), [(412.4, "412 s before"), (-7.0, "7 s after"), (0.0, "0 s before")])
def test_a_skew_is_told_by_its_way(skew_s, told):
    assert tell_skew(skew_s) == f"Time is {told} the arrival"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"AS_ID=x&Token={TOKEN}", "AS_ID=x&Token=…"),
        (f"Token={TOKEN}&AS_ID=x", "Token=…&AS_ID=x"),
        (f"a&%54oken={TOKEN}", "a&%54oken=…"),
        (f"T%6Fken%3D{TOKEN}", "T%6Fken%3D…"),
        ("token=short&x=1", "token=…&x=1"),
        (f"Time is {TOKEN!r}.", "Time is '…'."),
        (TOKEN.upper(), "…"),
        ("DevEUI 20635F0000000001", "DevEUI 20635F0000000001"),
        (TOKEN + "0", TOKEN + "0"),
        ("The Token has 63 characters.", "The Token has 63 characters."),
    ],
)
def test_what_may_be_a_token_is_taken_out(text, shown):
    assert without_tokens(text) == shown
