"""Pushes in one piece and in many, one after the other and all at once: each is answered, and in order.

A real server process and raw sockets, both databases.
"""

from __future__ import annotations

import itertools
from time import monotonic

import pytest

from tests.integration.push_server import CUSTOMER_ID, DEV_EUI, read_answer, request, serving, signed_query, uplink

KEEP_ALIVE_S = 1

_counters = itertools.count(100)


@pytest.fixture(scope="module")
def server(module_database_url, tmp_path_factory):
    directory = tmp_path_factory.mktemp("server")
    with serving(module_database_url, directory, options={"keep_alive_s": KEEP_ALIVE_S}) as running:
        yield running


def push(*, keep: bool = True) -> bytes:
    """Give a signed push of a frame of its own, as bytes."""
    counter = next(_counters)
    query = signed_query(f"{CUSTOMER_ID}{DEV_EUI}1{counter}aa27")
    whole = request(f"/push/field?{query}", uplink(FCntUp=counter))
    return whole.replace(b"Connection: close\r\n", b"") if keep else whole


def refused() -> bytes:
    return request(f"/push/field?{signed_query(key='0' * 32)}", uplink()).replace(b"Connection: close\r\n", b"")


def test_many_pushes_on_one_connection_are_each_answered(server):
    with server.connect() as client:
        for _ in range(20):
            client.sendall(push())
            answer = read_answer(client)
            assert answer is not None
            assert (answer.status, answer.body) == (200, b"stored\n")
            assert "connection" not in answer.headers
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            assert answer.headers["date"]


def test_a_push_that_asks_to_close_is_answered_and_closed(server):
    with server.connect() as client:
        client.sendall(push(keep=False))
        answer = read_answer(client)

        assert answer is not None
        assert answer.headers["connection"] == "close"
        assert client.recv(1) == b""


def test_a_push_is_answered_alike_wherever_it_is_cut(server):
    wholes = {server.send(push(keep=False)).raw}
    for cut in (1, 9, 30, -40, -1):
        whole = push(keep=False)
        with server.connect() as client:
            client.sendall(whole[:cut])
            client.setsockopt(6, 1, 1)  # TCP_NODELAY
            client.sendall(whole[cut:])
            wholes.add(read_answer(client).raw)

    assert len(wholes) == 1


def test_pushes_sent_all_at_once_are_answered_in_order(server):
    with server.connect() as client:
        client.sendall(push() + refused() + push() + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + push())

        assert [status for status, _ in answers(client, 5)] == [200, 401, 200, 200, 200]


def test_pushes_that_do_not_wait_for_answers_are_answered_in_order(server):
    with server.connect() as client:
        client.setsockopt(6, 1, 1)  # TCP_NODELAY: each is a packet of its own
        for part in (push(), push(), refused(), push(), push()):
            client.sendall(part)

        assert [status for status, _ in answers(client, 5)] == [200, 200, 401, 200, 200]


def test_a_push_in_one_piece_after_one_in_pieces_and_a_refused_one_is_taken(server):
    with server.connect() as client:
        client.setsockopt(6, 1, 1)  # TCP_NODELAY
        for parts in ([push()], [refused()], [(whole := push())[:50], whole[50:]], [push()]):
            for part in parts:
                client.sendall(part)
            answer = read_answer(client)
            assert answer is not None
            assert answer.status == (401 if answer.body == b"This push is not accepted.\n" else 200)


def test_a_refused_push_in_one_piece_leaves_its_headers_with_its_rejection(server):
    with server.connect() as client:
        client.sendall(refused().replace(b"Host:", b"X-Forwarded-For: 192.0.2.7\r\nHost:"))
        assert read_answer(client).status == 401

    rejection = server.last_rejection()
    assert "192.0.2.7" in rejection.headers
    assert rejection.reason == "token-mismatch"


def test_a_connection_that_is_silent_after_an_answer_is_closed(server):
    with server.connect() as client:
        client.sendall(push())
        assert read_answer(client).status == 200
        began = monotonic()

        assert client.recv(1) == b""
        assert KEEP_ALIVE_S * 0.9 < monotonic() - began < KEEP_ALIVE_S + 5


def test_a_connection_that_goes_on_is_not_closed(server):
    began = monotonic()
    with server.connect() as client:
        while monotonic() - began < KEEP_ALIVE_S * 2.5:
            client.sendall(push())
            assert read_answer(client).status == 200


def answers(client, count: int) -> list[tuple[int, bytes]]:
    """Read that many answers, which may come in one piece."""
    received = b""
    found: list[tuple[int, bytes]] = []
    while len(found) < count:
        head, separator, rest = received.partition(b"\r\n\r\n")
        if separator:
            lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            length = int(lines[b"content-length"])
            if len(rest) >= length:
                found.append((int(head.split(b" ")[1]), rest[:length]))
                received = rest[length:]
                continue
        chunk = client.recv(65536)
        assert chunk, f"closed after {found}"
        received += chunk
    return found
