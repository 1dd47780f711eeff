"""YAML as plain data: what its words mean, and what is refused."""

from __future__ import annotations

import pytest

from receiver.codecs.plain_yaml import MAX_DEPTH, YamlRefusedError, parse_yaml


@pytest.mark.parametrize(
    ("spelled", "value"),
    [
        ("on", "on"),
        ("No", "No"),
        ("12:30", "12:30"),
        ("2025-03-20T10:00:00.000+02:00", "2025-03-20T10:00:00.000+02:00"),
        ("2025-03-20", "2025-03-20"),
        ("0x1F", 31),
        ("0o17", 15),
        ("010", 10),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1_000", "1_000"),
        ("true", True),
        ("~", None),
        (".nan", None),
        ("-.inf", None),
        ("1e999", None),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("", None),
        ("=", "="),
        ("1.2.3", "1.2.3"),
        ("9" * 40, 1e40),
    ],
)
def test_a_word_means_what_yaml_1_2_means(spelled, value):
    found = parse_yaml(f"value: {spelled}\n")["value"]

    assert found == value
    assert type(found) is type(value)


def test_lists_and_objects_hold_each_other():
    assert parse_yaml("a:\n  - {b: [1, 2]}\n  - c\n1: d\n") == {"a": [{"b": [1, 2]}, "c"], "1": "d"}


def test_empty_text_is_nothing():
    assert parse_yaml("# only a comment\n") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x [1]\nb: *x\n", "an alias, *x"),
        ("a: !!python/object/apply:os.system [ls]\n", "the tag tag:yaml.org,2002:python/object/apply:os.system"),
        ("a: !!python/name:os.system ''\n", "the tag"),
        ("a: 1\na: 2\n", "'a' twice"),
        ("? [a]\n: 1\n", "a list or an object as a name"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("a: [1\n", "is not YAML at line"),
        ("a: \x07\n", "is not YAML"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "nested deeper"),
    ],
    ids=["alias", "object", "name", "twice", "complex key", "documents", "broken", "control", "deep"],
)
def test_what_is_more_than_plain_data_is_refused(text, told):
    with pytest.raises(YamlRefusedError, match=r".*") as refused:
        parse_yaml(text)

    assert told in str(refused.value)
