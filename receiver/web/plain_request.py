"""A quick look at the bytes of a request: is it a whole, plain push, and nothing else?

HTTP has many ways to write a request. The networks use one: a head, a Content-Length, and a body that is there.
What is exactly so is taken apart here, in a tenth of the time that a parser with a callback for each header takes.
Whatever differs in the least is left whole to that parser, so this needs to know no more of HTTP than how to
be sure. A test holds the two against each other. Pure.
Source: RFC 9112 sections 3, 5 and 6; RFC 9110 section 5.6.2 (token).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

PREFIX = "/push/"

_START = b"POST /push/"
_END = b" HTTP/1.1"

MAX_PLAIN_HEAD_BYTES = 4096
"""A push's head has about 600 bytes; a longer one goes to the parser, which has a bound of its own."""

MAX_PLAIN_BODY_BYTES = 64 * 1024
"""What a connection's buffer gives at once is never more."""

_VISIBLE = bytes(range(0x21, 0x7F))
_TARGET = _VISIBLE.replace(b"#", b"")  # a fragment is no part of a request; the parser says what becomes of it
_IN_HEAD = _VISIBLE + b" \t"

_NOT_PLAIN = frozenset(
    {
        b"transfer-encoding",
        b"expect",
        b"upgrade",
        b"trailer",
        b"te",
        b"proxy-connection",
        b"keep-alive",
        b"http2-settings",
    }
)
"""Headers that change how a request is read or answered, besides the two below."""

_CONTENT_LENGTH = b"content-length"
_CONNECTION = b"connection"
_KEEPS_ALIVE = {b"keep-alive": True, b"close": False}

_DIFFERENT_HEADS = 512
"""The heads of one sender differ in their Content-Length; this many are remembered, of at most 4 KiB each."""


class PlainPush(NamedTuple):
    """A push as it stood in the bytes. `name` is the last part of its path, `query` raw."""

    name: str
    query: bytes
    body: bytes
    keep_alive: bool


def parse_plain_push(data: bytes) -> PlainPush | None:
    """Give the push that `data` is, or None if it is anything else, more than one request or less."""
    if not data.startswith(_START):
        return None
    end_of_line = data.find(b"\r\n", 0, MAX_PLAIN_HEAD_BYTES)
    end_of_head = data.find(b"\r\n\r\n", end_of_line, MAX_PLAIN_HEAD_BYTES)
    if end_of_line < 0 or end_of_head < 0 or not data.endswith(_END, 0, end_of_line):
        return None
    headers = _read_headers(data[end_of_line : end_of_head + 2])
    if headers is None or headers[0] != len(data) - end_of_head - 4:
        return None
    target = data[len(_START) : end_of_line - len(_END)]
    if target.translate(None, _TARGET):
        return None
    name, mark, query = target.partition(b"?")
    if not mark or not name.replace(b"-", b"").replace(b"_", b"").isalnum():
        return None
    return PlainPush(name.decode("ascii"), query, data[end_of_head + 4 :], headers[1])


@lru_cache(maxsize=_DIFFERENT_HEADS)
def _read_headers(lines: bytes) -> tuple[int, bool] | None:
    """Give Content-Length and whether the connection is kept, of header lines that each begin after a CRLF."""
    parts = lines.split(b"\r\n")[1:-1]
    if lines.translate(None, _IN_HEAD) != b"\r\n" * (len(parts) + 1):  # every CR and LF is one of those split at
        return None
    length: int | None = None
    keep_alive: bool | None = None
    for part in parts:
        name, colon, value = part.partition(b":")
        name = name.lower()
        if not colon or not name.replace(b"-", b"").isalnum() or name in _NOT_PLAIN:
            return None
        if name == _CONTENT_LENGTH:
            value = value.strip(b" \t")
            if length is not None or not value.isdigit() or len(value) > 6:
                return None
            length = int(value)
        elif name == _CONNECTION:
            if keep_alive is not None:
                return None
            keep_alive = _KEEPS_ALIVE.get(value.strip(b" \t").lower())
            if keep_alive is None:
                return None
    if length is None or length > MAX_PLAIN_BODY_BYTES:
        return None
    return length, keep_alive is not False
