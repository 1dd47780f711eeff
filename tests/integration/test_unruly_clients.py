"""Clients that lie about lengths, send too much, send too slowly, or leave: nobody else waits for them.

A real server process with short time-outs, raw sockets, both databases. A client waits by waiting to read.
"""

from __future__ import annotations

import json
import select
import socket
from time import monotonic

import httpx
import pytest

from tests.integration.push_server import (
    read_answer,
    request,
    serving,
    signed_query,
    uplink,
)

MAX_BYTES = 262_144
TIMEOUT_S = 0.6
LATEST_S = 10


@pytest.fixture(scope="module")
def server(module_database_url, tmp_path_factory):
    options = {"head_timeout_s": TIMEOUT_S}
    directory = tmp_path_factory.mktemp("server")
    with serving(module_database_url, directory, options=options, body_timeout_s=TIMEOUT_S) as running:
        yield running


@pytest.fixture
def next_rejection(server):
    """Wait for the rejection of the push of this test, which may come after the client has left."""
    before = server.last_rejection()

    def wait():
        deadline = monotonic() + LATEST_S
        while monotonic() < deadline:
            rejection = server.last_rejection()
            if rejection is not None and (before is None or rejection.id > before.id):
                return rejection
        raise AssertionError("no rejection was left")

    return wait


def target() -> str:
    return f"/push/field?{signed_query()}"


def drip(client: socket.socket, data: bytes = b"x") -> None:
    """Send `data` again and again, slower than anybody should, until the server says something."""
    deadline = monotonic() + LATEST_S
    while not select.select([client], [], [], 0.05)[0]:
        assert monotonic() < deadline, "the server waits on"
        client.sendall(data)


def sized(size: int) -> bytes:
    """Give an uplink of exactly that many bytes."""
    return uplink(padding="x" * (size - len(uplink(padding=""))))


def chunked(body: bytes, *, ended: bool = True) -> bytes:
    chunks = [body[start : start + 8000] for start in range(0, len(body), 8000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + (b"0\r\n\r\n" if ended else b"")


# --- too much


def test_a_body_declared_above_the_cap_is_answered_413_before_it_is_sent(server, next_rejection):
    answer = server.send(request(target(), headers="Content-Length: 262145\r\n"))

    assert answer is not None
    assert answer.status == 413
    assert next_rejection().reason == "too-large"
    assert "declared with 262145 bytes" in next_rejection().detail


def test_an_absurd_length_is_answered_413(server, next_rejection):
    answer = server.send(request(target(), headers=f"Content-Length: {'9' * 18}\r\n"))

    assert answer is not None
    assert (answer.status, next_rejection().reason) == (413, "too-large")


def test_a_body_above_the_cap_in_chunks_is_answered_413(server, next_rejection):
    head = request(target(), headers="Transfer-Encoding: chunked\r\n")
    answer = server.send(head, chunked(sized(MAX_BYTES + 1)))

    assert answer is not None
    assert (answer.status, next_rejection().reason) == (413, "too-large")


def test_a_rejection_of_a_too_large_body_is_kept_without_it(server, next_rejection):
    server.send(request(target(), headers="Transfer-Encoding: chunked\r\n"), chunked(sized(MAX_BYTES + 1)))

    assert next_rejection().body == b""


@pytest.mark.parametrize("size", [300_000, 2_000_000])
@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_client_that_reads_only_after_all_is_sent_sees_the_413(server, next_rejection, size, in_chunks):
    body = sized(size)
    content = iter([body[: size // 2], body[size // 2 :]]) if in_chunks else body
    response = httpx.post(f"http://127.0.0.1:{server.port}{target()}", content=content)

    assert (response.status_code, next_rejection().reason) == (413, "too-large")


def test_a_client_that_sends_without_an_end_is_cut_off(server):
    with server.connect() as client:
        client.sendall(request(target(), headers="Transfer-Encoding: chunked\r\n"))
        endless = chunked(b"x" * 64_000, ended=False) * 1000
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            client.sendall(endless)


def test_a_body_as_large_as_the_cap_is_taken(server):
    answer = server.push(sized(MAX_BYTES))

    assert answer.status == 200


@pytest.mark.parametrize("size", [33_000, 70_000, 200_000])
def test_a_large_body_in_one_piece_is_no_large_head(server, size):
    answer = server.push(sized(size))

    assert answer.status == 200


def test_a_large_body_in_chunks_is_taken(server):
    answer = server.send(request(target(), headers="Transfer-Encoding: chunked\r\n"), chunked(sized(200_000)))

    assert answer is not None
    assert answer.status == 200


# --- lengths that are not true


def test_a_client_that_leaves_before_its_length_leaves_a_rejection(server, next_rejection):
    with server.connect() as client:
        client.sendall(request(target(), uplink(), "Content-Length: 5000\r\n"))

    rejection = next_rejection()
    assert rejection.reason == "body-incomplete"
    assert f"closed the connection after {len(uplink())} bytes of 5000" in rejection.detail
    assert bytes(rejection.body) == uplink()


def test_a_client_that_closes_its_half_before_its_length_leaves_a_rejection(server, next_rejection):
    with server.connect() as client:
        client.sendall(request(target(), uplink(), "Content-Length: 5000\r\n"))
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""

    assert next_rejection().reason == "body-incomplete"


def test_a_client_that_resets_the_connection_leaves_a_rejection(server, next_rejection):
    with server.connect() as client:
        client.sendall(request(target(), uplink(), "Content-Length: 5000\r\n"))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    assert next_rejection().reason == "body-incomplete"


def test_a_length_that_is_too_long_is_answered_400_in_time(server, next_rejection):
    answer = server.send(request(target(), uplink(), "Content-Length: 5000\r\n"))

    assert answer is not None
    assert (answer.status, next_rejection().reason) == (400, "body-incomplete")
    assert f"{len(uplink())} bytes of 5000 came" in next_rejection().detail


def test_chunks_without_an_end_are_answered_400_in_time(server, next_rejection):
    head = request(target(), headers="Transfer-Encoding: chunked\r\n")
    answer = server.send(head, chunked(uplink(), ended=False))

    assert answer is not None
    assert (answer.status, next_rejection().reason) == (400, "body-incomplete")


def test_a_length_that_is_too_short_is_answered_400(server, next_rejection):
    answer = server.send(request(target(), uplink(), f"Content-Length: {len(uplink()) - 10}\r\n"))

    assert answer is not None
    assert (answer.status, next_rejection().reason) == (400, "malformed-body")
    assert bytes(next_rejection().body) == uplink()[:-10]


def test_a_length_of_zero_before_a_body_is_an_empty_body(server, next_rejection):
    answer = server.send(request(target(), uplink(), "Content-Length: 0\r\n"))

    assert answer is not None
    assert (answer.status, next_rejection().reason) == (400, "empty-body")


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: -1\r\n",
        "Content-Length: 1e3\r\n",
        f"Content-Length: {2**64}\r\n",
        "Content-Length: 10\r\nContent-Length: 11\r\n",
        "Content-Length: 10\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: nonsense\r\nContent-Length: 3\r\n",
        "Content-Length: 1\r\nX y: z\r\n",
    ],
)
def test_lengths_that_contradict_themselves_are_answered_400(server, headers):
    answer = server.send(request(target(), uplink(), headers))

    assert answer is not None
    assert answer.status == 400


@pytest.mark.parametrize("chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n{}\r\n", b"ffffffffffffffffff\r\n{}"])
def test_chunks_that_are_none_are_answered_400(server, chunks):
    answer = server.send(request(target(), headers="Transfer-Encoding: chunked\r\n"), chunks)

    assert answer is not None
    assert answer.status == 400


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 100, b"hello\r\n\r\n"])
def test_what_is_no_http_is_answered_400(server, noise):
    answer = server.send(noise)

    assert answer is not None
    assert answer.status == 400


def test_trailers_are_no_headers(server, next_rejection):
    trailers = b"0\r\n" + b"".join(b"X-Trailer-%d: v\r\n" % n for n in range(100)) + b"\r\n"
    body = chunked(b"hello", ended=False) + trailers
    answer = server.send(request(target(), headers="Transfer-Encoding: chunked\r\n"), body)

    assert answer is not None
    assert answer.status == 400
    assert "x-trailer" not in next_rejection().headers


def test_a_client_that_expects_100_is_told_to_go_on(server):
    with server.connect() as client:
        client.sendall(request(target(), headers=f"Expect: 100-continue\r\nContent-Length: {len(uplink())}\r\n"))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(uplink())
        answer = read_answer(client)

    assert answer is not None
    assert answer.status == 200


# --- too slow


def test_a_body_of_one_byte_at_a_time_is_answered_400_in_time(server, next_rejection):
    with server.connect() as client:
        client.sendall(request(target(), headers="Content-Length: 5000\r\n"))
        drip(client)
        answer = read_answer(client)

    rejection = next_rejection()
    assert answer is not None
    assert (answer.status, rejection.reason) == (400, "body-incomplete")
    assert "did not arrive within 0.6 s" in rejection.detail
    assert bytes(rejection.body) == b"x" * len(rejection.body)


def test_chunks_of_one_byte_at_a_time_are_answered_400_in_time(server, next_rejection):
    with server.connect() as client:
        client.sendall(request(target(), headers="Transfer-Encoding: chunked\r\n"))
        drip(client, b"1\r\nx\r\n")
        answer = read_answer(client)

    assert answer is not None
    assert (answer.status, next_rejection().reason) == (400, "body-incomplete")


def test_a_head_of_one_byte_at_a_time_is_answered_408(server):
    with server.connect() as client:
        client.sendall(b"POST /push/field HTTP/1.1\r\nX-Slow: ")
        drip(client)
        answer = read_answer(client)

    assert answer is not None
    assert answer.status == 408


def test_a_head_of_one_byte_at_a_time_leaves_a_rejection_of_its_connection(server, next_rejection):
    with server.connect() as client:
        client.sendall(b"POST /push/field?LrnDevEui=00 HTTP/1.1\r\nX-Slow: ")
        drip(client)
        read_answer(client)

    rejection = next_rejection()
    assert (rejection.path_name, rejection.reason) == ("field", "head-incomplete")


def test_a_request_line_of_one_byte_at_a_time_leaves_a_rejection(server, next_rejection):
    with server.connect() as client:
        client.sendall(b"POST /push/f")
        drip(client)
        read_answer(client)

    assert next_rejection().reason == "head-incomplete"


def test_a_connection_on_which_nothing_comes_is_closed(server):
    with server.connect() as client:
        answer = read_answer(client)
        assert client.recv(1) == b""

    assert answer is not None
    assert answer.status == 408


def test_a_second_head_that_does_not_end_is_answered_408(server):
    with server.connect() as client:
        client.sendall(request("/push/field", b"x").replace(b"Connection: close\r\n", b""))
        first = read_answer(client)
        client.sendall(b"POST /push/field HT")
        second = read_answer(client)

    assert first is not None
    assert second is not None
    assert (first.status, second.status) == (400, 408)


def test_a_body_that_nobody_reads_does_not_hold_the_connection(server):
    head = request("/push/field", method="GET", headers="Content-Length: 5000\r\n").replace(
        b"Connection: close\r\n", b""
    )
    with server.connect() as client:
        client.sendall(head)
        answer = read_answer(client)
        assert client.recv(1) == b""

    assert answer is not None
    assert answer.status == 405


def test_a_head_without_an_end_is_answered_431(server):
    with server.connect() as client:
        client.sendall(b"POST /push/field HTTP/1.1\r\n" + b"X: y\r\n" * 6000)
        answer = read_answer(client)

    assert answer is not None
    assert answer.status == 431


def test_two_hundred_slow_clients_keep_nobody_waiting(server):
    clients = [server.connect() for _ in range(200)]
    for number, client in enumerate(clients):
        client.sendall(request(target(), headers="Content-Length: 5000\r\n")[: None if number % 2 else 40])
    status = server.push(uplink()).status
    still_open = [client for client in clients if not select.select([client], [], [], 0)[0]]
    for client in clients:
        client.close()

    assert status == 200
    assert still_open


def test_several_pushes_on_one_connection_are_answered_each(server):
    whole = request(target(), uplink()).replace(b"Connection: close\r\n", b"")
    with server.connect() as client:
        client.sendall(whole + whole + request("/push/nobody", b"x") + b"GET /")
        stream = client.makefile("rb").read()

    assert [line.split()[1] for line in stream.splitlines() if line.startswith(b"HTTP/1.1")] == [b"200", b"200", b"400"]


def test_the_receiver_is_well_after_all_this(server):
    response = httpx.get(f"http://127.0.0.1:{server.port}/readyz")

    assert (response.status_code, json.loads(response.content)["status"]) == (200, "ready")
