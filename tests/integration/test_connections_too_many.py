"""More connections than there are places: the others wait for one, and are told, or over TLS closed, if there is none.

A real server process with few places and raw sockets.
"""

from __future__ import annotations

import itertools
import re
import sys
from contextlib import ExitStack, contextmanager
from time import monotonic

import psutil
import pytest

from tests.integration.push_server import CUSTOMER_ID, DEV_EUI, read_answer, request, serving, signed_query, uplink

PLACES = 3
PLACES_OF_TLS = 4
CROWD = 400
LATEST_S = 20

_counters = itertools.count(100)


def push() -> bytes:
    """Give a signed push of a frame of its own, as bytes, after which the connection is closed."""
    counter = next(_counters)
    return request(f"/push/field?{signed_query(f'{CUSTOMER_ID}{DEV_EUI}1{counter}aa27')}", uplink(FCntUp=counter))


def lasting_push() -> bytes:
    return push().replace(b"Connection: close\r\n", b"")


@pytest.fixture
def few_places(module_database_url, tmp_path):
    with serving(module_database_url, tmp_path, options={}, max_connections=PLACES) as server:
        yield server


@pytest.fixture
def few_places_of_tls(module_database_url, tmp_path):
    places = PLACES * PLACES_OF_TLS
    with serving(module_database_url, tmp_path, options={}, tls=True, max_connections=places) as server:
        yield server


@contextmanager
def all_taken(server):
    """Take all places with connections that stay; give them."""
    with ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(PLACES)]
        for client in held:
            client.sendall(lasting_push())
            assert read_answer(client).status == 200
        yield held


def test_pushes_over_connections_too_many_are_answered_503_and_never_cut_off(few_places):
    with all_taken(few_places), ExitStack() as stack:
        too_many = [stack.enter_context(few_places.connect()) for _ in range(50)]
        for client in too_many:
            client.sendall(push())
        for client in too_many:
            answer = read_answer(client)
            assert answer is not None
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert client.recv(1) == b""


def test_the_log_says_how_many_connections_were_refused(few_places):
    with all_taken(few_places), ExitStack() as stack:
        for client in [stack.enter_context(few_places.connect()) for _ in range(20)]:
            client.sendall(push())
            assert read_answer(client).status == 503

        deadline = monotonic() + LATEST_S
        while sum(refused_by_the_log(few_places)) < 20:  # it is written after the answers
            assert monotonic() < deadline, few_places.log.read_text()
        assert sum(refused_by_the_log(few_places)) == 20


def refused_by_the_log(server) -> list[int]:
    return [int(number) for number in re.findall(r"connections_refused .*number=(\d+)", server.log.read_text())]


def test_a_push_over_a_connection_too_many_is_taken_when_another_one_leaves(few_places):
    with all_taken(few_places) as held, few_places.connect() as one_more:
        whole = push()
        one_more.sendall(whole[:500])
        held[0].close()
        one_more.sendall(whole[500:])

        answer = read_answer(one_more)
        assert answer is not None
        assert (answer.status, answer.body) == (200, b"stored\n")


def test_a_burst_over_many_more_connections_than_there_are_places_is_taken_whole(few_places):
    with ExitStack() as stack:
        burst = [stack.enter_context(few_places.connect()) for _ in range(60)]
        for client in burst:
            client.sendall(push())

        assert [read_answer(client).status for client in burst] == [200] * 60


def test_who_sends_more_than_a_push_while_there_is_no_place_is_answered_503(few_places):
    with all_taken(few_places) as held, few_places.connect() as one_more:
        one_more.sendall(request("/push/field", b" " * 20_000))
        held[0].close()

        answer = read_answer(one_more)
        assert answer is not None
        assert answer.status == 503


def test_a_connection_too_many_that_says_nothing_is_answered_503_all_the_same(few_places):
    with all_taken(few_places) as held:
        with few_places.connect() as one_more:
            answer = read_answer(one_more)
            assert answer is not None
            assert answer.status == 503
            assert one_more.recv(1) == b""
        for client in held:
            client.sendall(lasting_push())
            assert read_answer(client).status == 200


def test_connections_too_many_that_leave_keep_no_place(few_places):
    with all_taken(few_places):
        for _ in range(30):
            few_places.connect().close()
    with few_places.connect() as client:
        client.sendall(push())
        assert read_answer(client).status == 200


def test_a_burst_over_tls_beyond_all_places_is_taken_whole(few_places_of_tls):
    with ExitStack() as stack:
        sockets = [stack.enter_context(few_places_of_tls.connect_without_handshake()) for _ in range(40)]
        statuses = []
        for plain in sockets:  # the first are done while the last wait
            with few_places_of_tls.trusted.wrap_socket(plain, server_hostname="127.0.0.1") as client:
                client.sendall(push())
                statuses.append(read_answer(client).status)

    assert statuses == [200] * 40


def test_a_tls_connection_too_many_is_closed_before_its_handshake(few_places_of_tls):
    with all_taken(few_places_of_tls) as held:
        with pytest.raises(OSError, match=r"EOF|reset"):
            few_places_of_tls.connect()
        for client in held:
            client.sendall(lasting_push())
            assert read_answer(client).status == 200


def test_a_tls_connection_that_waited_is_taken_when_another_one_leaves(few_places_of_tls):
    with all_taken(few_places_of_tls) as held, few_places_of_tls.connect_without_handshake() as plain:
        held[0].close()
        with few_places_of_tls.trusted.wrap_socket(plain, server_hostname="127.0.0.1") as client:
            client.sendall(push())
            assert read_answer(client).status == 200


def test_a_client_that_never_ends_its_tls_handshake_is_cut_off(module_database_url, tmp_path):
    with (
        serving(module_database_url, tmp_path, options={"handshake_timeout_s": 0.2}, tls=True) as server,
        server.connect_without_handshake() as client,
    ):
        assert client.recv(1) == b""


def test_refused_pushes_over_tls_leave_no_memory_behind(module_database_url, tmp_path):
    with serving(module_database_url, tmp_path, options={}, tls=True) as server:
        server.push(b"x" * 200_000)
        before = resident_mb(server)
        for _ in range(300):
            assert server.push(b"x" * 200_000).status == 400

        assert resident_mb(server) - before < 30  # a quarter of a megabyte for each would be 75


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc gives memory back when told to")
def test_memory_is_given_back_after_a_crowd_over_tls(module_database_url, tmp_path):
    with serving(module_database_url, tmp_path, options={}, tls=True) as server:
        before = resident_mb(server)
        with ExitStack() as stack:
            crowd = [stack.enter_context(server.connect()) for _ in range(CROWD)]
            for client in crowd:
                client.sendall(lasting_push())
            for client in crowd:
                assert read_answer(client).status == 200
            crowded = resident_mb(server)
        assert crowded - before > 20

        deadline = monotonic() + LATEST_S
        while resident_mb(server) - before > (crowded - before) / 2:
            assert monotonic() < deadline, f"{resident_mb(server)} MB after {crowded} with a crowd and {before} before"


def resident_mb(server) -> float:
    return psutil.Process(server.process.pid).memory_info().rss / 1e6
