"""Writes what a management API says in JSON as XML, for those who ask for that.

A list is its element repeated; what is null, or an empty list, is left out. How ThingPark spells it is not published.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from lxml import etree

if TYPE_CHECKING:
    from receiver.simulator.loopback_server import HttpReply

JSON_TYPE = "application/json"
XML_TYPE = "application/xml"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,60}\Z")


def as_xml(reply: HttpReply, name: str) -> HttpReply:
    """Give a reply in JSON as one in XML whose root has that name; any other reply as it is."""
    if not reply.body or not reply.content_type.startswith(JSON_TYPE):
        return reply
    root = etree.Element(name if _NAME.match(name) else "answer")
    _fill(root, json.loads(reply.body))
    body = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    return reply._replace(body=body, content_type=f"{XML_TYPE};charset=UTF-8")


def _fill(element: etree._Element, value: object) -> None:
    if isinstance(value, dict):
        for name, one in value.items():
            for each in one if isinstance(one, list) else [one]:
                if each is not None:
                    _fill(etree.SubElement(element, name), each)
    elif isinstance(value, list):
        for one in value:
            _fill(etree.SubElement(element, "item"), one)
    elif isinstance(value, bool):
        element.text = "true" if value else "false"
    else:
        element.text = str(value)
