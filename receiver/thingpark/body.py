"""The bytes of a push become a kind and its members, whatever of the three content types they are in.

XML, typed JSON (numbers are numbers) and untyped JSON (every leaf is a string) end as the same thing: names
and *text*, exactly as it was spelled. The token is a hash over that spelling, so nothing here turns `17`
into a number and back. The type is sniffed from the first byte; the Content-Type header is not asked.

Only `PushRejected` leaves this module, for any bytes at all.
Source: ThingPark LRC–AS tunnel interface (reports); RFC 8259 section 4 leaves duplicate names undefined,
which is why they are refused: two readers of one signed body must never see two different values.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn, TypeAlias

from lxml import etree

from receiver.errors import PushRejected, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

Value: TypeAlias = "str | bool | int | float | dict[str, Value] | list[Value] | None"
"""Numbers stand as their text here; as numbers only in what `typed_body` gives."""

ContentType = Literal["json", "xml"]

UPLINK = "DevEUI_uplink"

MAX_NUMBER_DIGITS = 64
"""No field of a report has more; a double prints in 24 characters, a 64-bit integer in 20."""

MAX_XML_ELEMENTS = 4096
"""An uplink with the documented ten gateways has about 110. Bounds the work one push can cause."""

MAX_JSON_VALUES = 16_384
"""The same for JSON, counted by what stands before a value, so that it may also stand in texts."""

KIND = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_UTF8_BOM = b"\xef\xbb\xbf"
_XML_ENCODINGS = frozenset({None, "utf-8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252"})


class Body(NamedTuple):
    """One report as it was pushed.

    `members` holds text (numbers as spelled), booleans, None, objects and arrays. XML elements that repeat
    (`Lrr`) are an array; attributes and namespaces are left out.
    """

    kind: str
    content_type: ContentType
    members: Mapping[str, Value]


def parse_body(raw: bytes) -> Body:
    """Give the report in `raw`.

    Raises:
        PushRejected: `EMPTY_BODY` or `MALFORMED_BODY`; the detail names the fault and never quotes the body.
    """
    raw = raw.removeprefix(_UTF8_BOM)
    start = raw.lstrip(b" \t\r\n")[:1]
    if start == b"{":
        return _parse_json(raw)
    if start == b"<":
        return _parse_xml(raw.lstrip(b" \t\r\n"))
    if not start:
        raise PushRejected(Reason.EMPTY_BODY, "The push has no body.")
    if start == b"[":
        _malformed("The body is a JSON array. A ThingPark report is an object (KPN Things sends arrays of SenML).")
    raise PushRejected(Reason.MALFORMED_BODY, "The body is neither JSON nor XML: it begins with neither `{` nor `<`.")


def _malformed(detail: str) -> NoReturn:
    raise PushRejected(Reason.MALFORMED_BODY, detail)


# --- JSON


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    members = dict(pairs)
    if len(members) != len(pairs):
        counts = Counter(name for name, _ in pairs)  # linear; an object may have thousands of members
        twice = next(name for name, times in counts.items() if times > 1)
        _malformed(f"The JSON member {twice[:40]!r} stands twice in one object.")
    return members


def _number(spelling: str) -> str:
    if len(spelling) > MAX_NUMBER_DIGITS:
        _malformed(f"A number has {len(spelling)} digits; no field of a report has more than {MAX_NUMBER_DIGITS}.")
    return spelling


def _constant(name: str) -> NoReturn:
    _malformed(f"{name} is not a JSON number.")


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_int=_number, parse_float=_number, parse_constant=_constant)


def _parse_json(raw: bytes) -> Body:
    # Below this length there is no room for as many, and most pushes are spared the counting.
    if len(raw) > MAX_JSON_VALUES and sum(map(raw.count, (b",", b"{", b"["))) > MAX_JSON_VALUES:
        _malformed(f"The JSON body holds more than {MAX_JSON_VALUES} values.")
    try:
        text = raw.decode("utf-8")
        top: dict[str, Value] = _JSON.decode(text)
    except UnicodeDecodeError as exc:
        _malformed(f"The body is not UTF-8: byte {exc.start} cannot be decoded.")
    except json.JSONDecodeError as exc:
        _malformed(f"The body is not JSON: {exc.msg} at character {exc.pos}.")
    except RecursionError:
        _malformed("The body nests too deep.")
    if "\\u" in text:
        _refuse_unstorable_text(top)
    if len(top) == 1:
        kind, members = next(iter(top.items()))
        if isinstance(members, dict):
            return build_body(kind, "json", members)
    if "DevEUI" in top:  # KPN's developer portal of 2016 sent the members of an uplink without the envelope
        return build_body(UPLINK, "json", top)
    reports = [(name, value) for name, value in top.items() if isinstance(value, dict) and "DevEUI" in value]
    if len(reports) != 1:
        _malformed(
            f"The JSON body holds {len(reports)} reports among {len(top)} members;"
            " it must be one object with one member, named after the report."
        )
    kind, members = reports[0]
    return build_body(kind, "json", members)


def build_body(kind: str, content_type: ContentType, members: Mapping[str, Value]) -> Body:
    """Give the body of a report of that name.

    Raises:
        PushRejected: `MALFORMED_BODY`: it is not the name of a report.
    """
    if kind != UPLINK and not KIND.match(kind):
        _malformed(f"{kind[:40]!r} is not the name of a report.")
    return Body(kind, content_type, members)


def _refuse_unstorable_text(value: Value) -> None:
    """Refuse what an escape can spell but no database text can hold: NUL and lone surrogates."""
    pending: list[Value] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item)
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str):
            if "\0" in item:
                _malformed("A JSON string holds a NUL character.")
            try:
                item.encode("utf-8")
            except UnicodeEncodeError:
                _malformed("A JSON string holds half of a surrogate pair.")


# --- XML


def _parse_xml(raw: bytes) -> Body:
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        _malformed("The XML body brings a document type or entities of its own; reports have none.")
    if b"\0" in raw:
        _malformed("The XML body holds a NUL byte.")
    # One parser per call: lxml keeps a parser's error log, and threads read bodies too.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True)
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as exc:
        position = getattr(exc, "position", None)
        where = f" at line {position[0]}, column {position[1]}" if position else ""
        _malformed(f"The body is not well-formed XML{where}.")
    document = root.getroottree().docinfo
    if document.internalDTD is not None:
        _malformed("The XML body brings a document type of its own; reports have none.")
    if (document.encoding or "utf-8").lower() not in _XML_ENCODINGS:
        _malformed("The XML body is in an encoding that reports do not come in; UTF-8 is the usual one.")
    if int(root.xpath("count(//*)")) > MAX_XML_ELEMENTS:  # type: ignore[arg-type]
        _malformed(f"The XML body has more than {MAX_XML_ELEMENTS} elements.")
    members = _members(root, repeatable=False)
    if not isinstance(members, dict):
        _malformed("The XML body's root element holds no elements.")
    return build_body(_local_name(root), "xml", members)


def _members(element: etree._Element, *, repeatable: bool) -> Value:
    if len(element) == 0:
        return (element.text or "").strip()
    members: dict[str, Value] = {}
    for child in element:
        tag = child.tag
        if not isinstance(tag, str):
            _malformed("The XML body has a comment; a report has none, and it could hide part of a value.")
        name = tag.rpartition("}")[2]
        value = _members(child, repeatable=True)
        if name not in members:
            members[name] = value
        elif not repeatable:
            _malformed(f"The XML element {name[:40]!r} stands twice.")
        else:
            known = members[name]
            if isinstance(known, list):
                known.append(value)
            else:
                members[name] = [known, value]
    return members


def _local_name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]
