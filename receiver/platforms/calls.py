"""A request to a management API as a value, and its answer. What is shown of a request never has a secret in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from receiver.platforms.device_manager_xml import is_xml, read_xml
from receiver.platforms.members import Members, objects_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from receiver.http_client import HttpAnswer

WITHHELD = "…"
"""Stands for a secret in whatever is shown."""

SECRET_NAMES = frozenset(
    name.lower()
    for name in (
        *("password", "thingpark_password", "client_secret", "accessToken", "access_token", "sessionToken"),
        *("accessCode", "userAccessCode", "adminAccessCode", "privateKey"),
        *("asKey", "downlinkAsKey"),  # tunnel keys
        *("applicationKey", "appKey", "nwkKey", "nwKey", "networkSessionKey", "applicationSessionKey", "appKeys"),
        *("sNwkSIntKey", "nwkSEncKey", "ki", "Token"),
        "rsaEncryptedASKey",
    )
)
"""Members and parameters that are withheld, in lower case. Sources: the names in KPN's LoRa Device Management API 1.2,
ThingPark's Device Manager contract 7.3 and DX Core."""

_SECRET_HEADERS = {"authorization", "cookie"}
_SECRET_ENDS = ("password", "secret", "token")
_IN_QUERY = "-._~"  # RFC 3986, unreserved; everything else is escaped: ThingPark's examples write `%2C` and `%3D`


@dataclass(frozen=True, slots=True)
class PlatformCall:
    """One request. `path` begins with `/` and continues the base URL; names and values of `query` are not escaped.

    `body` is a JSON value, or text that is sent as it is in `content_type`.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: object = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    accept: str = "application/json"
    content_type: str = "application/json"

    @property
    def is_repeatable(self) -> bool:
        """Say whether doing it twice is doing it once (RFC 9110 section 9.2.2)."""
        return self.method in {"GET", "PUT", "DELETE"}

    @property
    def secrets(self) -> tuple[str, ...]:
        """Give the texts in it that are withheld wherever it is shown: an answer may repeat them."""
        of_query = (value for name, value in self.query if is_secret_name(name))
        of_headers = (value.rpartition(" ")[2] for name, value in self.headers if name.lower() in _SECRET_HEADERS)
        return (*of_query, *of_headers, *_secrets_in(self.body))

    def with_query(self, *more: tuple[str, str]) -> PlatformCall:
        """Give the call with more parameters."""
        return replace(self, query=(*self.query, *more))

    def with_headers(self, *more: tuple[str, str]) -> PlatformCall:
        """Give the call with more headers."""
        return replace(self, headers=(*self.headers, *more))

    def url(self, base_url: str) -> str:
        """Give the whole URL."""
        return base_url + self.path + _write_query(self.query)

    def content(self) -> bytes:
        """Give the body as it is sent; nothing where there is none."""
        if self.body is None:
            return b""
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()

    def shown(self, base_url: str) -> str:
        """Give the request for people: method and URL, and the body below, with `…` for each secret."""
        query = tuple((name, WITHHELD if is_secret_name(name) else value) for name, value in self.query)
        line = f"{self.method} {base_url}{self.path}{_write_query(query)}"
        if self.body is None:
            return line
        if isinstance(self.body, str):
            return f"{line}\n({len(self.body)} characters of {self.content_type})"
        return f"{line}\n{json.dumps(withhold(self.body), ensure_ascii=False, indent=2)}"


@dataclass(frozen=True, slots=True)
class PlatformAnswer:
    """An answer with a good status (2xx), and its JSON, or its XML in the shape of that; `value` is None for others."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    value: object = field(repr=False)

    @property
    def members(self) -> Members:
        """Give the object that the answer is; an empty one where it is none."""
        return Members(self.value) if isinstance(self.value, dict) else Members()

    @property
    def objects(self) -> tuple[Members, ...]:
        """Give the objects of the list that the answer is; nothing where it is none."""
        return objects_in(self.value)


def read_answer(answer: HttpAnswer) -> PlatformAnswer:
    """Give an answer with its JSON, or its XML in the shape of that."""
    if is_xml(answer.headers):
        return PlatformAnswer(answer.status, answer.headers, answer.body, read_xml(answer.body))
    try:
        value = json.loads(answer.body) if answer.body else None
    except (ValueError, RecursionError):
        value = None
    return PlatformAnswer(answer.status, answer.headers, answer.body, value)


def is_secret_name(name: str) -> bool:
    """Say whether a member or parameter of this name is withheld."""
    name = name.lower()
    return name in SECRET_NAMES or name.endswith(_SECRET_ENDS)


def withhold(value: object) -> object:
    """Give a JSON value with `…` in place of each secret."""
    if isinstance(value, dict):
        return {name: WITHHELD if is_secret_name(name) else withhold(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [withhold(one) for one in value]
    return value


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            if isinstance(one, str) and is_secret_name(name):
                yield one
            else:
                yield from _secrets_in(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _secrets_in(one)


def _write_query(query: tuple[tuple[str, str], ...]) -> str:
    if not query:
        return ""
    return "?" + "&".join(f"{quote(name, safe=_IN_QUERY)}={quote(value, safe=_IN_QUERY)}" for name, value in query)
