"""The simulated network's downlink interface over real sockets: statuses, lost answers, restarts, and a dispatcher."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import httpx
import pytest
from typer.testing import CliRunner

from receiver.cli.simulate import app
from receiver.errors import SettingsError
from receiver.http_client import HttpBounds, HttpClient
from receiver.lorawan.keys import AesKey
from receiver.simulator.loopback_server import HttpReply, LoopbackServer
from receiver.simulator.lrc import V1_PATH, V2_PATH, SimulatedLrc
from receiver.simulator.lrc_faults import LrcFault
from receiver.simulator.network import SimulatedNetwork
from receiver.thingpark.downlink import DownlinkRequest, downlink_time, sign_downlink
from tests.conftest import NOW
from tests.integration.dispatch_use import Desk
from tests.integration.reading_field import AS_ID, TUNNEL_KEY


class Side:
    """A network's downlink interface on a port of this machine."""

    def __init__(self, clock):
        self.clock = clock
        self.network = SimulatedNetwork(key=TUNNEL_KEY, as_id=AS_ID, clock=clock, seed=1)
        self.device = self.network.add_device(payloads="clear")
        self.lrc = SimulatedLrc(self.network)
        self.server = LoopbackServer(self.lrc.answer)
        self.server.start()

    @property
    def url(self):
        return self.server.origin + V1_PATH

    def query(self, number=1):
        request = DownlinkRequest(self.device.dev_eui, 10, bytes([number % 256]), correlation_id=number)
        key = AesKey(bytes.fromhex(TUNNEL_KEY))
        return sign_downlink(request, AS_ID, downlink_time(self.clock()), key).query


@pytest.fixture
def side():
    side = Side(lambda: NOW)
    yield side
    side.server.stop()


@pytest.fixture
def client():
    with httpx.Client(trust_env=False) as client:
        yield client


def test_status_350_goes_over_the_wire_and_is_no_redirect_to_follow(side, client):
    response = client.post(f"{side.url}?{side.query()[:-1]}0x")
    assert (response.status_code, response.headers["content-type"]) == (350, "text/html")
    assert response.text == "<html><body>Security Check. Server Decrypt Error</body></html>"


def test_both_versions_are_served(side, client):
    assert client.post(f"{side.url}?{side.query(1)}", content=b"a=1").status_code == 200
    assert client.post(f"{side.server.origin}{V2_PATH}?{side.query(2)}").status_code == 202
    assert side.lrc.queued(side.device) == 2


def test_a_lost_answer_is_a_connection_that_closes(side, client):
    side.lrc.faults.ordered.append(LrcFault.LOST)
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(f"{side.url}?{side.query()}")
    assert side.lrc.queued(side.device) == 1


def test_a_connection_is_kept_over_several_requests(side, client):
    for number in range(3):
        assert client.post(f"{side.url}?{side.query(number)}").headers.get("connection") is None


def test_many_ask_at_once(side, client):
    def ask(number):
        return client.post(f"{side.url}?{side.query(number)}").status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(100))) == {200}
    assert side.lrc.queued(side.device) == 100


def test_a_stop_breaks_off_and_refuses_and_a_start_takes_the_same_port(side, client):
    port = side.server.port
    assert client.post(f"{side.url}?{side.query(1)}").status_code == 200
    side.server.stop()
    with pytest.raises(httpx.TransportError):
        client.post(f"{side.url}?{side.query(2)}")
    side.server.start()
    assert side.server.port == port
    assert client.post(f"{side.url}?{side.query(3)}").status_code == 200


def test_a_request_that_is_too_large_is_not_read(side, client):
    response = client.post(side.url, content=b"x" * 70_000)
    assert response.status_code == 413


def test_before_there_is_anybody_to_answer_it_is_busy(client):
    server = LoopbackServer()
    server.start()
    try:
        assert client.get(server.origin).status_code == 503
        server.answer = lambda _request: HttpReply(204)
        assert client.get(server.origin).status_code == 204
    finally:
        server.stop()


def test_a_stop_while_an_answer_is_made_ends(side, client):
    side.lrc.faults.ordered.append(LrcFault.SLOW)
    asking = threading.Thread(target=lambda: _ask(client, f"{side.url}?{side.query()}"))
    asking.start()
    deadline = time.monotonic() + 10
    while not side.lrc.asked:
        assert time.monotonic() < deadline
    side.server.stop()
    asking.join(10)
    assert not asking.is_alive()


def _ask(client, url):
    with suppress(httpx.TransportError):
        client.post(url)


def test_the_dispatcher_and_this_network_understand_each_other(engine, keyring, now):
    http = HttpClient(bounds=HttpBounds(at_once=32))
    side = Side(lambda: desk.now)
    desk = Desk(engine, keyring, now, http, side)
    try:
        connection_id = desk.connect()
        first, second = (desk.put_in(connection_id, side.device.dev_eui, payload=bytes([number])) for number in (1, 2))
        side.lrc.faults.ordered.append(LrcFault.LOST)
        desk.settle()
        assert desk.states() == ["unknown", "queued"]
        desk.wait(minutes=1)
        desk.settle()
        assert desk.states() == ["accepted", "accepted"]
        for _ in range(3):
            side.lrc.after(side.network.uplink(side.device))
        assert [downlink.payload for downlink in side.device.heard] == [b"\x01", b"\x02"]
        assert desk.steps(first) == ["queued", "sending", "unknown", "sending", "accepted"]
        assert desk.steps(second) == ["queued", "sending", "accepted"]
    finally:
        desk.close()
        side.server.stop()
        http.close()


def simulate(url, port):
    arguments = ["network", "--key", TUNNEL_KEY, "--url", url, "--devices", "1", "--mix", "uplink=1", "--rate", "20"]
    return CliRunner().invoke(app, [*arguments, "--count", "30", "--for", "30", "--downlink-port", str(port)])


def test_a_simulated_network_takes_downlinks_while_it_runs(client):
    other = LoopbackServer()
    other.start()
    other.stop()
    pushed, answered = [], []

    def answer(request):
        pushed.append(request.body)
        if len(pushed) == 2:  # the device has joined and spoken
            wanted = DownlinkRequest("0200000000000001", 10, b"\x01", correlation_id=7)
            key = AesKey(bytes.fromhex(TUNNEL_KEY))
            query = sign_downlink(wanted, "field", downlink_time(datetime.now(UTC)), key).query
            answered.append(client.post(f"{other.origin}{V2_PATH}?{query}").status_code)
        return HttpReply(200)

    receiver = LoopbackServer(answer)
    receiver.start()
    try:
        result = simulate(f"{receiver.origin}/push/field", other.port)
    finally:
        receiver.stop()
    assert result.exit_code == 0, result.output
    assert f"Downlink URL: {other.origin}{V2_PATH}" in result.stderr
    assert answered == [202]
    assert any(b"DevEUI_downlink_Sent" in body and b"0000000000000007" in body for body in pushed)


def test_a_port_that_is_taken_is_said_so(side):
    result = simulate(f"{side.server.origin}/push/field", side.server.port)
    assert isinstance(result.exception, SettingsError)
    assert "Give another --downlink-port" in str(result.exception)
