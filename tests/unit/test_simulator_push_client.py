"""How pushes go out: over real HTTP and TLS on loopback, one connection each, by either strategy."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime

import pytest

from receiver.errors import SettingsError
from receiver.simulator.network import SimulatedNetwork
from receiver.simulator.push import Push, TimeEncoding
from receiver.simulator.push_client import Delivery, PushClient, Strategy, is_loopback

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REMOTE = "https://receiver.example/push/field"


@pytest.fixture
def push() -> Push:
    network = SimulatedNetwork(key="0123456789abcdef" * 2, clock=lambda: NOW, time_encoding=TimeEncoding.PERCENT)
    return network.uplink(network.add_device())


def deliver(push: Push, urls: list[str], *, times: int = 1, **options) -> Delivery:
    async def go() -> Delivery:
        async with PushClient(urls, **options) as client:
            for _ in range(times):
                delivery = await client.deliver(push)
            return delivery

    return asyncio.run(go())


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


# --- one push


@pytest.mark.parametrize("encoding", TimeEncoding)
def test_query_and_body_go_over_the_wire_as_they_are(start_receiver, encoding):
    receiver = start_receiver()
    network = SimulatedNetwork(key="0123456789abcdef" * 2, clock=lambda: NOW, time_encoding=encoding)
    push = network.uplink(network.add_device())
    delivery = deliver(push, [receiver.url])
    (request,) = receiver.requests
    assert request.target == f"/push/field?{push.query}"
    assert request.body == push.body
    assert delivery.was_accepted


def test_the_headers_are_those_of_the_network_and_no_others(start_receiver, push):
    receiver = start_receiver()
    deliver(push, [receiver.url])
    headers = {name.lower(): value for name, value in receiver.requests[0].headers}
    assert headers == {
        "host": receiver.url.split("/")[2],
        "user-agent": "ACTILITY-LRCLRN-DEVICE-AGENT/1.0",
        "accept": "*/*",
        "connection": "close",
        "content-type": "application/json",
        "content-length": str(len(push.body)),
    }


def test_each_push_has_a_connection_of_its_own(start_receiver, push):
    receiver = start_receiver()
    deliver(push, [receiver.url], times=3)
    assert len({request.client_port for request in receiver.requests}) == 3


@pytest.mark.parametrize(
    ("status", "is_accepted"), [(200, True), (204, True), (302, False), (401, False), (503, False)]
)
def test_only_a_2xx_is_success(start_receiver, push, status, is_accepted):
    receiver = start_receiver()
    receiver.answer = lambda _request: status
    delivery = deliver(push, [receiver.url])
    assert delivery.answers[0].status == status
    assert delivery.was_accepted is delivery.is_as_expected is is_accepted


def test_a_refused_push_is_not_tried_again(start_receiver, push):
    receiver = start_receiver()
    receiver.answer = lambda _request: 503
    deliver(push, [receiver.url])
    assert len(receiver.requests) == 1


def test_an_answer_shows_the_url_without_its_query(start_receiver, push):
    receiver = start_receiver()
    delivery = deliver(push, [f"{receiver.url}?site=3"])
    assert delivery.answers[0].url == receiver.url
    assert receiver.requests[0].query == f"site=3&{push.query}"


# --- no answer


def test_a_closed_port_is_told_in_words(push):
    delivery = deliver(push, [f"http://127.0.0.1:{closed_port()}/push/field"])
    assert delivery.answers[0].error == "connection refused or host not found"
    assert not delivery.was_accepted


def test_a_server_that_hangs_up_is_told_in_words(start_receiver, push):
    receiver = start_receiver()
    receiver.answer = lambda _request: None
    delivery = deliver(push, [receiver.url])
    assert delivery.answers[0].error == "the server broke the connection off before it answered"


def test_a_server_that_says_nothing_runs_into_the_time_out(push):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        delivery = deliver(push, [f"http://127.0.0.1:{silent.getsockname()[1]}/push/field"], timeout_s=0.05)
    assert delivery.answers[0].error == "no answer within the time-out"


def test_no_answer_is_no_refusal_of_a_forged_push(push):
    network = SimulatedNetwork(key="0123456789abcdef" * 2, clock=lambda: NOW)
    forged = network.forge(push)
    assert not deliver(forged, [f"http://127.0.0.1:{closed_port()}/push/field"]).is_as_expected


# --- routes of several URLs


def test_sequential_stops_at_the_first_success(start_receiver, push):
    first, second = start_receiver(), start_receiver()
    delivery = deliver(push, [first.url, second.url])
    assert (len(first.requests), len(second.requests), len(delivery.answers)) == (1, 0, 1)


def test_sequential_fails_over_when_the_first_is_overloaded(start_receiver, push):
    first, second = start_receiver(), start_receiver()
    first.answer = lambda _request: 503
    delivery = deliver(push, [first.url, second.url])
    assert [answer.status for answer in delivery.answers] == [503, 200]
    assert delivery.was_accepted


def test_sequential_fails_over_when_the_first_is_down(start_receiver, push):
    second = start_receiver()
    delivery = deliver(push, [f"http://127.0.0.1:{closed_port()}/push/field", second.url])
    assert [answer.status for answer in delivery.answers] == [None, 200]


def test_blast_pushes_the_same_delivery_to_all(start_receiver, push):
    receivers = [start_receiver() for _ in range(3)]
    receivers[0].answer = lambda _request: 503
    delivery = deliver(push, [receiver.url for receiver in receivers], strategy=Strategy.BLAST)
    assert [answer.status for answer in delivery.answers] == [503, 200, 200]
    assert {receiver.requests[0].query for receiver in receivers} == {push.query}


# --- TLS


def test_a_self_signed_server_is_trusted_by_its_own_certificate(start_receiver, push, self_signed):
    receiver = start_receiver(tls=self_signed)
    assert deliver(push, [receiver.url], ca_file=self_signed[0]).was_accepted


def test_a_server_that_nobody_vouches_for_gets_nothing(start_receiver, push, self_signed):
    receiver = start_receiver(tls=self_signed)
    delivery = deliver(push, [receiver.url])
    assert delivery.answers[0].error == "the server's certificate is not trusted (name its file with --ca-file)"
    assert receiver.requests == []


def test_a_certificate_for_another_name_is_not_trusted(start_receiver, push, self_signed):
    receiver = start_receiver(tls=self_signed)
    delivery = deliver(push, [receiver.url.replace("127.0.0.1", "localhost")], ca_file=self_signed[0])
    assert not delivery.was_accepted
    assert receiver.requests == []


def test_insecure_takes_any_certificate_on_this_machine(start_receiver, push, self_signed):
    receiver = start_receiver(tls=self_signed)
    assert deliver(push, [receiver.url], insecure=True).was_accepted


def test_tls_to_a_plain_server_is_told_in_words(start_receiver, push):
    receiver = start_receiver()
    delivery = deliver(push, [receiver.url.replace("http:", "https:")])
    assert delivery.answers[0].error == "the TLS handshake failed; is it an https server?"


def test_a_ca_file_without_a_certificate_is_refused(tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(SettingsError, match=r"empty\.pem holds no certificate"):
        PushClient(["https://127.0.0.1/push/field"], ca_file=tmp_path / "empty.pem")


def test_a_missing_ca_file_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="holds no certificate"):
        PushClient(["https://127.0.0.1/push/field"], ca_file=tmp_path / "none.pem")


# --- where it may send


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "a.localhost"])
def test_this_machine_is_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "10.0.0.1", "localhost.example", "127.0.0.1.example", "receiver.example"]
)
def test_other_machines_are_not_loopback(host):
    assert not is_loopback(host)


def test_other_machines_are_refused():
    with pytest.raises(SettingsError, match="--allow-remote"):
        PushClient([REMOTE])


def test_one_other_machine_among_the_urls_is_refused():
    with pytest.raises(SettingsError, match=r"receiver\.example is another machine"):
        PushClient(["http://127.0.0.1/push/field", REMOTE])


def test_a_host_before_an_at_sign_does_not_make_it_loopback():
    with pytest.raises(SettingsError, match=r"receiver\.example is another machine"):
        PushClient(["https://127.0.0.1@receiver.example/push/field"])


def test_other_machines_are_pushed_to_when_that_is_allowed():
    PushClient([REMOTE], allow_remote=True)


def test_tls_to_other_machines_is_always_verified():
    with pytest.raises(SettingsError, match="--insecure is for this machine only"):
        PushClient([REMOTE], allow_remote=True, insecure=True)


@pytest.mark.parametrize("url", ["", "field", "ftp://127.0.0.1/", "https://", "http://127.0.0.1:99999/", "http://[::1"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(SettingsError, match="is not a"):
        PushClient([url])


def test_no_url_at_all_is_refused():
    with pytest.raises(SettingsError, match="at least one URL"):
        PushClient([])
