"""What the quick look takes for a plain push, the parser reads alike."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.web.plain_request import MAX_PLAIN_BODY_BYTES, parse_plain_push

BODY = b'{"DevEUI_uplink":{}}'
PUSH = (
    b"POST /push/meters?LrnDevEui=0059AC0000000001&Time=2026-11-21T08:30:00.000%2B01:00 HTTP/1.1\r\n"
    b"Host: lora.example.org\r\nUser-Agent: agent/1.0\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"
) + BODY


class Parsed:
    """What uvicorn's parser makes of the same bytes."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.whole = 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_headers_complete(self) -> None:
        self.keep_alive = bool(self.parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole += 1

    def as_tuple(self):
        url = httptools.parse_url(self.url)
        method = self.parser.get_method()
        path = url.path.decode("ascii")
        return method, path, url.query, self.body, self.keep_alive, self.whole, url.fragment


def agrees(data: bytes) -> bool:
    """Hold both against each other; say whether the quick look took it."""
    quick = parse_plain_push(data)
    if quick is None:
        return False
    expected = (b"POST", f"/push/{quick.name}", quick.query or None, quick.body, quick.keep_alive, 1, None)
    assert Parsed(data).as_tuple() == expected
    return True


def with_header(line: bytes) -> bytes:
    return PUSH.replace(b"Host:", line + b"\r\nHost:", 1)


def test_a_push_as_networks_send_it_is_taken():
    push = parse_plain_push(PUSH)

    assert push is not None
    assert push.name == "meters"
    assert push.query == b"LrnDevEui=0059AC0000000001&Time=2026-11-21T08:30:00.000%2B01:00"
    assert push.body == BODY
    assert push.keep_alive


@pytest.mark.parametrize(
    "line", [b"Connection: close", b"connection:  Close ", b"CONNECTION: keep-alive", b"X-Y:", b"A: b:c"]
)
def test_plain_headers_are_taken_and_read_alike(line):
    assert agrees(with_header(line))


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Expect: 100-continue",
        b"Upgrade: h2c",
        b"Connection: upgrade",
        b"Connection: close, x",
        b"Connection: close\r\nConnection: keep-alive",
        b"Content-Length: 20",
        b"Content-Length: 21",
        b" folded: line",
        b"Name : value",
        b"no colon",
        b": no name",
        b"X: a\rb",
        b"X: a\nY: b",
        b"X: a\x00b",
        b"X: \xe9",
        b"X\x00: a",
    ],
)
def test_whatever_is_not_plain_is_left_to_the_parser(line):
    assert parse_plain_push(with_header(line)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PUSH[:-1],
        PUSH + b"\r\n",
        PUSH + PUSH,
        PUSH.replace(b"POST", b"GET"),
        PUSH.replace(b"POST", b"post"),
        b"\r\n" + PUSH,
        PUSH.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PUSH.replace(b"HTTP/1.1", b"HTTP/1.1 "),
        PUSH.replace(b"meters", b"met%65rs"),
        PUSH.replace(b"meters", b"meters/more"),
        PUSH.replace(b"meters", b""),
        PUSH.replace(b"meters?", b"meters"),
        PUSH.replace(b"?Lrn", b"?#Lrn"),
        PUSH.replace(b"?Lrn", b"? Lrn"),
        PUSH.replace(b"?Lrn", b"?\xe9Lrn"),
        PUSH.replace(b"/push/", b"http://host/push/"),
        PUSH.replace(b"Content-Length: 20", b"Content-Length: +20"),
        PUSH.replace(b"Content-Length: 20", b"Content-Length: 2 0"),
        PUSH.replace(b"Content-Length: 20", b"Content-Length:"),
        PUSH.replace(b"Content-Length: 20\r\n", b""),
        PUSH.replace(b"agent/1.0", b"a" * 5000),
        PUSH.replace(b"Content-Length: 20", b"Content-Length: 99999") + b" " * 99979,
    ],
    ids=range(23),
)
def test_a_request_that_is_not_one_whole_push_is_left_to_the_parser(data):
    assert parse_plain_push(data) is None


def test_the_largest_body_that_comes_at_once_is_taken():
    body = b"x" * MAX_PLAIN_BODY_BYTES

    assert agrees(PUSH[: -len(BODY)].replace(b"Length: 20", b"Length: %d" % len(body)) + body)


@given(st.data())
def test_a_push_with_bytes_changed_is_read_alike_or_left_to_the_parser(data):
    raw = bytearray(PUSH)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b"\r\n:? #%+20")))

    agrees(bytes(raw))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"Host", b"Connection", b"Content-Length", b"Content-length", b"X-A", b"Via", b"x-"]),
            st.sampled_from([b":", b": ", b":\t", b" :"]),
            st.sampled_from([b"", b"20", b"020", b"close", b"keep-alive", b"Keep-Alive", b"a b", b"close,close"]),
            st.sampled_from([b"\r\n", b" \r\n", b"\n"]),
        ),
        max_size=5,
    )
)
def test_any_headers_are_read_alike_or_left_to_the_parser(headers):
    lines = b"".join(b"".join(header) for header in headers)

    agrees(b"POST /push/meters?a=b HTTP/1.1\r\n" + lines + b"Content-Length: 20\r\n\r\n" + BODY)
    agrees(b"POST /push/meters?a=b HTTP/1.1\r\n" + lines + b"\r\n" + BODY)
