"""What the reply to KPN's login page says: an error code, or an address with the access code in it.

Nothing else of the page is looked at. Source: KPN's Device Manager API page, login.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from lxml import etree

MOST_PAGE_BYTES = 256 * 1024
"""Of the page that is read; the documented one has half a kilobyte."""

_IDS = frozenset({"errorCode", "redirectURI", "info1", "info2"})
_CODES = ("userAccessCode", "adminAccessCode")
_MOST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class LoginPage:
    """The spans of the page by their ids. `error_code` is empty on success; `access_code` is None without one.

    What the two infos mean is not documented.
    """

    error_code: str
    access_code: str | None = field(repr=False)
    infos: tuple[str, ...]


def read_login_page(body: bytes) -> LoginPage | None:
    """Give what the page says; None: it has neither the span of the error code nor that of the address."""
    parser = etree.HTMLParser(no_network=True, recover=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(body[:MOST_PAGE_BYTES], parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    if root is None:
        return None
    spans: dict[str, str] = {}
    for span in root.iter("span"):
        name = span.get("id")
        if name in _IDS and name not in spans:
            spans[name] = "".join(str(part) for part in span.itertext()).strip()[:_MOST_TEXT]
    if not spans.keys() & {"errorCode", "redirectURI"}:
        return None
    infos = tuple(text for name in ("info1", "info2") if (text := spans.get(name, "")))
    return LoginPage(spans.get("errorCode", ""), read_access_code(spans.get("redirectURI", "")), infos)


def read_access_code(address: str) -> str | None:
    """Give the access code in the query of an address; None: there is none in it."""
    try:
        named = parse_qs(urlsplit(address).query, max_num_fields=100)
    except ValueError:
        return None
    for name in _CODES:
        for code in named.get(name, ()):
            if code.isascii() and code.isprintable() and len(code) <= _MOST_TEXT:
                return code
    return None
