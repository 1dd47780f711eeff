"""The only way out over HTTP, against servers that do as they like."""

from __future__ import annotations

import gc
import socket
import threading
import time

import pytest

from receiver.errors import GivenUpError, NoAnswerError, SettingsError
from receiver.http_client import USER_AGENT, HttpBounds, HttpClient, tls_context
from tests.integration.forward_use import Authority, HookServer

QUICK = HttpBounds(connect_s=2.0, whole_s=0.5, at_once=2, body_bytes=100)


class RawServer:
    """Answers each connection with what `talk(connection)` writes."""

    def __init__(self, talk):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._talk = talk
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection:
            connection.recv(65_536)
            try:
                self._talk(connection)
            except OSError:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._listener.close()


def test_an_answer_is_given_whatever_its_status():
    with HookServer() as server, HttpClient() as client:
        server.answer = lambda _received: (418, {"retry-after": "7"})
        answer = client.send("POST", server.url, {"x-one": "1"}, b"{}")

    assert (answer.status, answer.headers["retry-after"]) == (418, "7")
    assert server.came[0].headers["user-agent"] == USER_AGENT
    assert server.came[0].headers["x-one"] == "1"


def test_a_redirect_is_an_answer_like_any_other():
    with HookServer() as other, HookServer() as server, HttpClient() as client:
        server.answer = lambda _received: (302, {"location": other.url})
        assert client.send("POST", server.url, {}, b"{}").status == 302
    assert not other.came


def test_a_server_that_sends_a_byte_now_and_then_is_given_up():
    end = threading.Event()

    def drip(connection):
        while not end.wait(0.05):
            connection.sendall(b"H")

    began = time.monotonic()
    with RawServer(drip) as server, HttpClient(bounds=QUICK) as client:
        with pytest.raises(NoAnswerError, match=r"within 0.5 s") as lost:
            client.send("GET", server.url, {})
        end.set()
    assert lost.value.was_sent
    assert time.monotonic() - began < 10


def test_of_an_endless_answer_only_the_beginning_is_read():
    def pour(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"400\r\n" + bytes(1024) + b"\r\n")

    with RawServer(pour) as server, HttpClient(bounds=HttpBounds(body_bytes=100)) as client:
        assert client.send("GET", server.url, {}).body == bytes(100)


def test_what_is_no_http_is_no_answer():
    def greet(connection):
        connection.sendall(b"SSH-2.0-x\r\n")

    with RawServer(greet) as server, HttpClient() as client, pytest.raises(NoAnswerError) as lost:
        client.send("GET", server.url, {})
    assert lost.value.was_sent


def test_a_server_that_is_not_there_was_sent_nothing():
    with HookServer() as server:
        url = server.url
    with HttpClient() as client, pytest.raises(NoAnswerError, match="cannot be reached") as lost:
        client.send("GET", url, {})
    assert not lost.value.was_sent


def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path):
    ours = Authority(tmp_path, "ours")
    with HookServer(certificate=ours.certify("server")) as server:
        with HttpClient(tls_context(ours.file)) as client:
            assert client.send("POST", server.url, {}, b"{}").status == 204
        with HttpClient() as client, pytest.raises(NoAnswerError, match="its certificate is not trusted here") as lost:
            client.send("POST", server.url, {}, b"{}")
    assert not lost.value.was_sent
    assert len(server.came) == 1


def test_an_authority_that_is_none_is_said_in_a_sentence(tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(SettingsError, match=r"empty.pem cannot be used"):
        tls_context(tmp_path / "empty.pem")


def test_what_is_under_way_at_the_end_is_given_up():
    end = threading.Event()
    with RawServer(lambda _connection: end.wait(20)) as server:
        client = HttpClient()
        future = client.start("GET", server.url, {})
        client.close()
        lost = future.exception()
        end.set()

    assert isinstance(lost, GivenUpError)
    assert lost.was_sent


def test_what_waits_for_its_turn_at_the_end_was_not_sent():
    end = threading.Event()
    with RawServer(lambda _connection: end.wait(20)) as server:
        client = HttpClient(bounds=HttpBounds(at_once=1))
        futures = [client.start("GET", server.url, {}) for _ in range(2)]
        client.close()
        lost = [future.exception() for future in futures]
        end.set()

    assert [one.was_sent for one in lost] == [True, False]


def test_a_request_after_the_end_is_refused_at_once():
    client = HttpClient()
    client.close()

    with pytest.raises(GivenUpError, match="It was not sent"):
        client.send("GET", "http://127.0.0.1:9/", {})


def test_requests_that_race_the_end_all_come_to_one_and_leave_nothing_behind():
    """Some are closed before their connection took its first step: what is left of that shows as a warning."""
    with RawServer(lambda connection: connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        context = tls_context(None)
        for round_ in range(40):
            client = HttpClient(context, HttpBounds(at_once=50))
            futures = []
            begun = threading.Event()

            def begin_many(client=client, futures=futures, begun=begun):
                for _ in range(60):
                    futures.append(client.start("GET", server.url, {}))
                    begun.set()

            racing = threading.Thread(target=begin_many)
            racing.start()
            begun.wait(10)
            if round_ % 2:
                futures[0].exception(10)  # the client is warm then, so that requests are at another step
            client.close()
            racing.join(10)

            assert len(futures) == 60
            assert all(future.done() for future in futures)
            assert all(isinstance(future.exception(), (NoAnswerError, type(None))) for future in futures)
    gc.collect()
