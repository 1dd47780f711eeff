"""The cookies of one session: kept as they come, sent back to the origin they came from, forgotten with the session.

It is narrower than a browser's: a cookie goes back to scheme, host and port that set it and nowhere else, whatever
domain it names; how long it is good is left to the server, except that it can take a cookie back.
Source: RFC 6265 sections 4.1, 5.1.4, 5.2 and 5.4; KPN's Device Manager API page: without cookies no session sticks.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

MOST_COOKIES = 50
"""Of a session. Source: RFC 6265 section 6.1, what browsers keep of a domain at the least."""

MOST_BYTES = 4096
"""Of a cookie's name and value. Source: the same."""

_NEXT_COOKIE = re.compile(r",\s*(?=[!#$%&'*+\-.^_`|~0-9A-Za-z]+=)")
"""Between cookies that an HTTP client has joined to one header. A date has a comma too, but no `=` after it."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_VALUE = re.compile(r'[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e"]*\Z')


class CookieJar:
    """The cookies of one session."""

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], str] = {}  # (origin, path, name): value

    def __repr__(self) -> str:
        return f"CookieJar({', '.join(sorted(name for _, _, name in self._cookies))})"

    def take(self, url: str, set_cookie: str) -> None:
        """Keep the cookies of an answer. `set_cookie` is its header, several joined by commas; `url` was asked."""
        for one in _NEXT_COOKIE.split(set_cookie):
            pair, *attributes = one.split(";")
            name, is_pair, value = pair.partition("=")
            name, value = name.strip(), value.strip()
            usable = is_pair and _NAME.match(name) and _VALUE.match(value) and len(name) + len(value) <= MOST_BYTES
            if not usable:
                continue
            named = _attributes(attributes)
            path = named.get("path", "")
            key = (_origin(url), path if path.startswith("/") else "/", name)
            if _is_taken_back(named):
                self._cookies.pop(key, None)
            elif key in self._cookies or len(self._cookies) < MOST_COOKIES:
                self._cookies[key] = value

    def header(self, url: str) -> str:
        """Give the header `Cookie` for a request, those of the longest path first; empty where there is none."""
        origin, path = _origin(url), urlsplit(url).path or "/"
        found = [
            (of_path, name, value)
            for (of, of_path, name), value in self._cookies.items()
            if of == origin and _is_within(path, of_path)
        ]
        found.sort(key=lambda one: -len(one[0]))
        return "; ".join(f"{name}={value}" for _, name, value in found)


def _attributes(parts: list[str]) -> dict[str, str]:
    named = {}
    for part in parts:
        name, _, value = part.partition("=")
        named[name.strip().lower()] = value.strip()
    return named


def _is_taken_back(named: dict[str, str]) -> bool:
    age = named.get("max-age", "")
    if re.fullmatch(r"-?[0-9]{1,12}", age):
        return int(age) <= 0
    try:
        until = parsedate_to_datetime(named.get("expires", "").replace("-", " "))
    except (ValueError, IndexError, TypeError):
        return False
    return (until if until.tzinfo else until.replace(tzinfo=UTC)) <= datetime.now(UTC)


def _is_within(path: str, of_path: str) -> bool:
    return path == of_path or path.startswith(of_path if of_path.endswith("/") else f"{of_path}/")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()
