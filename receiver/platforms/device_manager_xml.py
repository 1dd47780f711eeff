"""XML answers of a management API, given in the shape that its JSON answers have.

How ThingPark spells lists in XML is not published, so three spellings are read alike:

    <briefs>…</briefs><briefs>…</briefs>        an element that is repeated is a list
    <domains><domain>…</domain></domains>       an element with nothing but elements named as its singular is a list
    <briefs>…</briefs>                          one alone is a list of one, if the contract says that it is a list

Each other element with children is an object, each other one a text; namespaces are left out. Numbers and booleans
stay texts, which `Members` reads: a DevAddr of digits alone must keep its zeros. Only `version` and `lastUpdate` of an
`occContext` become numbers, since they are sent back as they came.
Source: KPN's Device Manager API page, data types; ThingPark Device Manager contract 7.3 for what is a list.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lxml import etree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MOST_ELEMENTS = 500_000
"""Of an answer; a list without paging of some ten thousand devices is below."""

DEEPEST = 40
"""Levels of an answer; the contract's deepest object has seven."""

LISTS = frozenset(
    {
        *("addedDomains", "addresses", "alarmUids", "appServers", "briefs", "clusters", "customHttpHeaders"),
        *("defaultIsmBands", "destinations", "devEUIs", "domains", "drivers", "flowMatcherTags", "grantedPermissions"),
        *("greTunnels", "lcs", "lrrs", "LRRs", "models", "npAccessControlList", "ratioRangeDefinitions"),
        *("removedDomains", "routes", "subTypes", "successfulTransmissionValues", "supplierAppServers"),
        *("supportedApplications", "supportedNetworkSubscriptions", "tags", "vendors"),
    }
)
"""Members that are lists even where there is one. Source: the contract's arrays; `routes` of a routing profile."""

_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_NUMBERS = frozenset({"version", "lastUpdate"})


def is_xml(headers: Mapping[str, str]) -> bool:
    """Say whether an answer calls itself XML. Header names in lower case."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type in {"application/xml", "text/xml"} or media_type.endswith("+xml")


def read_xml(body: bytes) -> object:
    """Give what an XML document says as JSON would; None: it is no XML, brings entities, or is beyond all measure."""
    root = _parse(body)
    return None if root is None else _value(root, 0)


def read_any(body: bytes) -> object:
    """Give the JSON or XML value of a body by its first character, whatever it calls itself; None: it is neither."""
    if body.lstrip()[:1] == b"<":
        return read_xml(body)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def write_xml(namespace: str, name: str, values: Iterable[tuple[str, str]]) -> str:
    """Give a document of one element, `ns:NAME` of the namespace, with a plain element for each value.

    Raises:
        ValueError: a value has a character that XML has not.
    """
    root = etree.Element(f"{{{namespace}}}{name}", nsmap={"ns": namespace})
    for child, value in values:
        etree.SubElement(root, child).text = value
    declaration = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    return declaration + etree.tostring(root, encoding="unicode")


def withhold_in_xml(body: bytes, is_secret: Callable[[str], bool], withheld: str) -> str:
    """Give a document for people: indented, with `withheld` in place of what stands in an element of a secret's name.

    Empty where it is no XML.
    """
    root = _parse(body)
    if root is None:
        return ""
    for element in root.iter("*"):
        if is_secret(_name(element)):
            for child in list(element):
                element.remove(child)
            element.text = withheld
        for name in element.attrib:
            if is_secret(str(name).rpartition("}")[2]):
                element.set(name, withheld)
    etree.indent(root)
    return etree.tostring(root, encoding="unicode")


def _parse(body: bytes) -> etree._Element | None:
    # A parser for each answer: lxml keeps a parser's error log.
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_pis=True,
        remove_comments=True,
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    if root.getroottree().docinfo.internalDTD is not None:
        return None
    for count, _element in enumerate(root.iter()):
        if count >= MOST_ELEMENTS:
            return None
    return root


def _value(element: etree._Element, depth: int) -> object:
    if element.get(_NIL) in {"true", "1"} or depth > DEEPEST:
        return None
    attributes = {name: text for name, text in element.attrib.items() if "}" not in str(name)}
    children = [child for child in element if isinstance(child.tag, str)]
    if not children:
        text = (element.text or "").strip()
        if not attributes:
            return text
        return {**attributes, "value": text} if text else dict(attributes)
    members: dict[str, object] = {str(name): text for name, text in attributes.items()}
    repeated: dict[str, list[object]] = {}
    for child in children:
        repeated.setdefault(_name(child), []).append(_value(child, depth + 1))
    own = _name(element)
    if not members and len(repeated) == 1:
        [(only, values)] = repeated.items()
        if _is_singular(only, own):
            return values
    for name, values in repeated.items():
        members[name] = values[0] if len(values) == 1 and name not in LISTS else _flat(name, values)
    return _with_numbers(members) if own == "occContext" else members


def _flat(name: str, values: list[object]) -> list[object]:
    """Give a list; one that was spelled with an element around it, or that is empty, is taken out of that."""
    if len(values) == 1 and name in LISTS:
        [value] = values
        if isinstance(value, list):
            return value
        return [] if value is None or value == "" else [value]
    return values


def _is_singular(name: str, plural: str) -> bool:
    """Say whether `name` is what a list named `plural` has: brief of briefs, address of addresses."""
    name, plural = name.lower(), plural.lower()
    return plural in {f"{name}s", f"{name}es"}


def _with_numbers(members: dict[str, object]) -> dict[str, object]:
    return {
        name: int(value)
        if name in _NUMBERS and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18
        else value
        for name, value in members.items()
    }


def _name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]
