"""Members of a report become the bytes of a body, in each of the three content types a network can be set to.

The spelling is the network's: floats carry six decimals, untyped JSON has a string in every leaf, XML has
one namespace and carries CustomerData as JSON text.
Source: ThingPark LRC–AS tunnel interface, content types of a report (`xml`, `jsontyped`, `json`).
"""

from __future__ import annotations

import json
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from lxml import etree

Member: TypeAlias = "str | int | float | Decimal | dict[str, Member] | list[Member] | None"
"""A value of a report: a float is printed with six decimals, a Decimal exactly as it was spelled."""

NAMESPACE = "http://uri.actility.com/lora"

_XML_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>'


class ContentType(StrEnum):
    """How a connection's reports are spelled; the values are those of the portal's setting."""

    XML = "xml"
    TYPED_JSON = "jsontyped"
    UNTYPED_JSON = "json"

    @property
    def header(self) -> str:
        """The value of the Content-Type header that goes with it."""
        return "application/xml" if self is ContentType.XML else "application/json"


def write_body(kind: str, members: dict[str, Member], content_type: ContentType) -> bytes:
    """Give the body of one report: UTF-8, members in the order given, no white space between them.

    Raises:
        ValueError: XML cannot hold a control character that stands in a text.
    """
    match content_type:
        case ContentType.XML:
            return _xml(kind, members)
        case ContentType.TYPED_JSON:
            return _json({kind: members}, typed=True).encode()
        case ContentType.UNTYPED_JSON:
            return _json({kind: members}, typed=False).encode()


def write_json_text(member: Member) -> str:
    """Give the JSON text of a member, as CustomerData stands in an XML report."""
    return _json(member, typed=True)


def _json(member: Member, *, typed: bool) -> str:
    match member:
        case None:
            return "null"
        case dict():
            pairs = (f"{json.dumps(name)}:{_json(value, typed=typed)}" for name, value in member.items())
            return "{" + ",".join(pairs) + "}"
        case list():
            return "[" + ",".join(_json(item, typed=typed) for item in member) + "]"
        case str():
            return json.dumps(member, ensure_ascii=False)
        case _:
            return _text(member) if typed else f'"{_text(member)}"'


def _text(member: str | float | Decimal) -> str:
    match member:
        case float():
            return f"{member:.6f}"
        case Decimal():
            return format(member, "f")
        case _:
            return str(member)


def _xml(kind: str, members: dict[str, Member]) -> bytes:
    root = etree.Element(f"{{{NAMESPACE}}}{kind}", nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    _fill(root, members)
    return _XML_DECLARATION + etree.tostring(root, encoding="UTF-8")


def _fill(parent: etree._Element, members: dict[str, Member]) -> None:
    for name, member in members.items():
        if name == "CustomerData" and isinstance(member, dict):
            _element(parent, name).text = write_json_text(member)
            continue
        for item in member if isinstance(member, list) else [member]:
            element = _element(parent, name)
            if isinstance(item, dict):
                _fill(element, item)
            elif item is not None and not isinstance(item, list):
                element.text = _text(item)


def _element(parent: etree._Element, name: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
