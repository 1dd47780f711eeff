"""Reads YAML that holds plain data, as YAML 1.2 means it: no aliases, no tags, no objects, bounded depth.

`on`, `no`, `12:30` and `2025-03-20T10:00:00Z` are texts, as they are for the tools that validate codec definitions;
YAML 1.1 would make booleans, a number and a date of them, and an example would never be met.
Source: YAML 1.2.2, section 10.3, core schema.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receiver.codecs.values import Json

MAX_DEPTH = 64
"""Lists and objects within each other: no codec definition comes near, and what walks the values stays shallow."""

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times as quick; a wheel may lack it
_PLAIN_TAGS = frozenset({None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_CONSTANTS: dict[str, Json] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DECIMAL = re.compile(r"[-+]?[0-9]{1,32}\Z")
_BASED = re.compile(r"0(?:o[0-7]{1,32}|x[0-9a-fA-F]{1,32})\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")


class YamlRefusedError(ValueError):
    """It is not YAML, or more than plain data. The message ends a sentence that begins with the file's name."""


def parse_yaml(text: str) -> Json:
    """Read one document of plain data; empty text is None.

    Numbers that JSON cannot hold (`.inf`, `.nan`) become None, as JavaScript writes them to JSON.

    Raises:
        YamlRefusedError: not YAML, more than one document, an alias, a tag, a name twice, or deeper than `MAX_DEPTH`.
    """
    try:
        return _build(yaml.parse(text, Loader=_PARSER))
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark is not None else ""
        raise YamlRefusedError(f"is not YAML{place}: {getattr(problem, 'problem', None) or 'unreadable'}") from problem


class _Open:
    """A list or object that is being filled."""

    __slots__ = ("key", "value")

    def __init__(self, value: list[Json] | dict[str, Json]) -> None:
        self.value = value
        self.key: str | None = None

    def take(self, item: Json, name: str | None) -> None:
        """Put `item` where it belongs; `name` is its spelling, None if it is a list or an object."""
        if isinstance(self.value, list):
            self.value.append(item)
        elif self.key is not None:
            self.value[self.key] = item
            self.key = None
        elif name is None:
            raise YamlRefusedError("has a list or an object as a name, which JSON does not have")
        elif name in self.value:
            raise YamlRefusedError(f"says {name[:40]!r} twice in one object")
        else:
            self.key = name


def _build(events: Iterator[Any]) -> Json:
    root = _Open([])
    stack = [root]
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise YamlRefusedError("holds more than one document")
        elif isinstance(event, yaml.AliasEvent):
            raise YamlRefusedError(f"uses an alias, *{event.anchor}; write the value out")
        elif isinstance(event, yaml.ScalarEvent):
            _refuse_tag(event.tag)
            plain = event.tag is None and not event.style  # "" from the parser in C, None from the other
            stack[-1].take(_resolve(event.value) if plain else event.value, event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            _refuse_tag(event.tag)
            if len(stack) > MAX_DEPTH:
                raise YamlRefusedError(f"is nested deeper than {MAX_DEPTH} levels")
            inner = _Open([] if isinstance(event, yaml.SequenceStartEvent) else {})
            stack[-1].take(inner.value, None)
            stack.append(inner)
        elif isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
    return root.value[0] if isinstance(root.value, list) and root.value else None


def _refuse_tag(tag: str | None) -> None:
    if tag not in _PLAIN_TAGS:
        raise YamlRefusedError(f"uses the tag {tag}, and only plain data is read")


def _resolve(text: str) -> Json:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _DECIMAL.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        number = float(text)
        return number if math.isfinite(number) else None
    return None if _NO_NUMBER.match(text) else text
