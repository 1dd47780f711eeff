"""Topics of MQTT messages: a template with the values of an event in it. Pure."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from receiver.errors import SettingsError
from receiver.lorawan.identifiers import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACEHOLDERS = ("type", "dev_eui", "connection", "f_port")
"""What a template may name. What an event has none of (a rejection has no device) is written `-`."""

DEFAULT_TOPIC = "lora/{connection}/{dev_eui}/{type}"

MOST_BYTES = 65_535
"""Of a topic. Source: MQTT 3.1.1, section 1.5.3, UTF-8 encoded strings."""

MOST_TEMPLATE = 1000
"""Characters of a template: its values are short, so that a topic always fits."""

_FORBIDDEN = str.maketrans(dict.fromkeys("+#/\x00", "_"))


def check_topic(template: str) -> str:
    """Give the template if topics can be made of it.

    Raises:
        SettingsError: it names what there is not, or has characters that a topic cannot have.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as exc:
        raise SettingsError(f"{shorten(template, 80)!r} is not a topic: a brace has no partner.") from exc
    for _text, name, form, conversion in parts:
        if name is not None and (name not in PLACEHOLDERS or form or conversion):
            known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise SettingsError(f"A topic cannot have {{{shorten(name)}}} in it: there are {known}.")
    literal = "".join(text for text, *_rest in parts)
    if any(character in "+#" or not character.isprintable() for character in literal):
        raise SettingsError(
            f"{shorten(template, 80)!r} is not a topic to publish to: `+`, `#` and control characters cannot be in one."
        )
    if not 1 <= len(template) <= MOST_TEMPLATE:
        raise SettingsError(f"A topic must have 1 to {MOST_TEMPLATE} characters; this one has {len(template)}.")
    if template.startswith("$"):
        raise SettingsError("A topic that begins with $ belongs to the broker itself: begin it with another character.")
    return template


def write_topic(template: str, values: Mapping[str, object]) -> str:
    """Give the topic of an event. Of a value `+`, `#`, `/`, NUL and control characters become `_`."""
    return template.format(**{name: _clean(values.get(name)) for name in PLACEHOLDERS})


def _clean(value: object) -> str:
    if value is None:
        return "-"
    text = str(value).translate(_FORBIDDEN)
    return "".join(character if character.isprintable() else "_" for character in text) or "-"
