"""The answers of the short way, as bytes."""

from __future__ import annotations

from typing import NamedTuple


class PlainAnswer(NamedTuple):
    """An answer of the short way. `status` is code and phrase; `headers` are whole lines, each with its CRLF."""

    status: bytes
    headers: bytes
    body: bytes


_responses: dict[tuple[PlainAnswer, bool], bytes] = {}
_responses_of: list[tuple[bytes, bytes]] | None = None


def build_response(default_headers: list[tuple[bytes, bytes]], answer: PlainAnswer, *, keep_alive: bool) -> bytes:
    """Give the bytes of an answer. There are few, and they stay the same until uvicorn gives out another Date."""
    global _responses_of  # noqa: PLW0603 - a cache
    if _responses_of is not default_headers:
        _responses.clear()
        _responses_of = default_headers
    response = _responses.get((answer, keep_alive))
    if response is None:
        head = b"".join([b"%b: %b\r\n" % header for header in default_headers])
        end = b"" if keep_alive else b"connection: close\r\n"
        response = _responses[answer, keep_alive] = (
            b"HTTP/1.1 %b\r\n%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n%b%b\r\n%b"
            % (answer.status, head, len(answer.body), answer.headers, end, answer.body)
        )
    return response
