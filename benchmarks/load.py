"""A load of signed pushes over keep-alive connections, from a process of its own.

`python -m benchmarks.load PORT CONNECTIONS SECONDS KEY [WAY]` signs its pushes first, each a frame of its own, then
sends for so long, to this machine only, and prints one line of JSON: answers by status, per second, and
latencies in milliseconds. It is bounded by the pushes that were made ready.

WAY is `plain` (keep-alive, the default), `tls` (a new TLS connection for each push) or `tls-resumed` (the same, each
with the session of the one before).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import ssl
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import uvloop

MOST_PER_SECOND = 40_000
WARM_UP_S = 1.0

_GATEWAY = (
    '{{"Lrrid":"FF01{0:04X}","Chain":0,"LrrRSSI":-1{0:02d}.000000,"LrrSNR":-{0}.250000,"LrrESP":-1{0:02d}.774582}}'
)

# An uplink as networks send it today, of 1.4 kB with seven gateways.
_BODY = (
    '{"DevEUI_uplink":{"Time":"%(time)s","DevEUI":"%(dev_eui)s","FPort":2,"FCntUp":%(f_cnt)d,"LostUplinksAS":0,'
    '"ADRbit":1,"MType":2,"FCntDn":804,"payload_hex":"%(payload)s","mic_hex":"%(mic)s","Lrcid":"0059AC01",'
    '"LrrRSSI":-101.000000,"LrrSNR":-1.250000,"LrrESP":-101.774582,"SpFact":9,"SubBand":"G1","Channel":"LC3",'
    '"Lrrid":"FF010001","Late":0,"LrrLAT":52.106907,"LrrLON":5.778477,"Lrrs":{"Lrr":['
    + ",".join(_GATEWAY.format(number) for number in range(1, 8))
    + ']},"DevLrrCnt":7,"CustomerID":"100006684","CustomerData":{"loc":null,"alr":{"pro":"Static","ver":"1"},'
    '"tags":[],"doms":[],"name":"Bench %(dev_eui)s"},"ModelCfg":"0","InstantPER":0.000000,"MeanPER":0.019608,'
    '"DevAddr":"1556DC96","TxPower":14.000000,"NbTrans":1,"Frequency":867.1,"DynamicClass":"A"}}'
)


def make_requests(count: int, key: str, run: int) -> list[bytes]:
    """Give `count` signed pushes, each of a frame that no other run sends."""
    requests = []
    now = datetime.now(UTC)
    for number in range(count):
        wire_time = (now + timedelta(seconds=number / MOST_PER_SECOND)).isoformat(timespec="milliseconds")
        dev_eui = f"0059AC{run % 65536:04X}{number % 1000:06X}"
        payload = f"{number:08x}{run:024x}"
        values = {
            "time": wire_time,
            "dev_eui": dev_eui,
            "f_cnt": number // 1000,
            "payload": payload,
            "mic": f"{number:08x}",
        }
        body = (_BODY % values).encode()
        infos = f"TWA_100006684.1.AS-1-{run}{number}"
        query = f"LrnDevEui={dev_eui}&LrnFPort=2&LrnInfos={infos}&AS_ID=bench&Time={wire_time}"
        token = hashlib.sha256(f"100006684{dev_eui}2{number // 1000}{payload}{query}{key}".encode()).hexdigest()
        sent_at = quote(wire_time, safe="")
        wire = f"AS_ID=bench&LrnDevEui={dev_eui}&LrnFPort=2&LrnInfos={infos}&Time={sent_at}&Token={token}"
        requests.append(
            f"POST /push/bench?{wire} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: ACTILITY-LRCLRN-DEVICE-AGENT/1.0\r\n"
            f"Accept: */*\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
    return requests


_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class _Client(asyncio.Protocol):
    """One connection: the next push goes out when the answer to the last one is whole."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = self._load.next_request()
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data, 0, head) if head >= 0 else None
        if length is None or len(data) < head + 4 + int(length[1]):
            self._buffer = data
            return
        self._buffer = b""  # an answer is asked for only after the last one: nothing follows it
        self._load.answered(data[9:12], time.perf_counter() - self._sent_at)
        self._send()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._load.ended()


class _TlsClient(asyncio.Protocol):
    """Pushes over one TLS connection after the other; the standard transports cannot resume a session."""

    def __init__(self, load: _Load, port: int, context: ssl.SSLContext, *, resumes: bool) -> None:
        self._load = load
        self._port = port
        self._context = context
        self._resumes = resumes
        self._session: ssl.SSLSession | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self.resumed = 0

    def begin(self) -> None:
        request = self._load.next_request()
        if request is None:
            self._load.ended()
            return
        self._request = request
        self._answer = b""
        self._sent_at = time.perf_counter()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = self._session if self._resumes else None
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost", session=session)
        self._shaken = False
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.create_connection(lambda: self, "127.0.0.1", self._port))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._go_on()

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._go_on()

    def _go_on(self) -> None:
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
                self._tls.write(self._request)
            while True:
                chunk = self._tls.read(65536)
                if not chunk:
                    break
                self._answer += chunk
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            pass
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())  # type: ignore[attr-defined]
        head = self._answer.find(b"\r\n\r\n")
        length = _LENGTH.search(self._answer, 0, head) if head >= 0 else None
        if length is not None and len(self._answer) >= head + 4 + int(length[1]):
            self._load.answered(self._answer[9:12], time.perf_counter() - self._sent_at)
            self.resumed += bool(self._tls.session_reused)
            self._session = self._tls.session
            self._answer = b""
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._load.answered(b"err", time.perf_counter() - self._sent_at)
        self.begin()


class _Load:
    def __init__(self, requests: list[bytes], connections: int, seconds: float) -> None:
        self._requests = iter(requests)
        self._open = connections
        self._seconds = seconds
        self.statuses: Counter[bytes] = Counter()
        self.latencies: list[float] = []
        self._measuring = False
        self._stopping = False
        self.done = asyncio.Event()
        self.clients: list[_TlsClient] = []

    def next_request(self) -> bytes | None:
        return None if self._stopping else next(self._requests, None)

    def answered(self, status: bytes, latency: float) -> None:
        if self._measuring:
            self.statuses[status] += 1
            self.latencies.append(latency)

    def ended(self) -> None:
        self._open -= 1
        if not self._open:
            self.done.set()

    async def run(self, port: int, connections: int, way: str) -> float:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            if way == "plain":
                await loop.create_connection(lambda: _Client(self), "127.0.0.1", port)
            else:
                client = _TlsClient(self, port, _tls_context(), resumes=way == "tls-resumed")
                self.clients.append(client)
                client.begin()
        await asyncio.sleep(WARM_UP_S)
        self._measuring = True
        started = time.perf_counter()
        await asyncio.sleep(self._seconds)
        self._measuring = False
        elapsed = time.perf_counter() - started
        self._stopping = True
        await asyncio.wait_for(self.done.wait(), 30)
        return elapsed


def _tls_context() -> ssl.SSLContext:
    """The certificate is made for the run; to check it would be the load's work and not the server's."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main() -> None:
    """Sign, send, and print the result."""
    port, connections, seconds, key = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    way = sys.argv[5] if len(sys.argv) > 5 else "plain"
    count = int((MOST_PER_SECOND if way == "plain" else MOST_PER_SECOND // 8) * (seconds + WARM_UP_S))
    requests = make_requests(count, key, time.time_ns() % 10**12)

    async def send() -> dict[str, object]:
        load = _Load(requests, connections, seconds)
        elapsed = await load.run(port, connections, way)
        latencies = sorted(load.latencies) or [0.0]
        return {
            "statuses": {status.decode(): count for status, count in load.statuses.items()},
            "per_second": round(len(load.latencies) / elapsed, 1),
            "resumed": sum(client.resumed for client in load.clients),
            "p50_ms": round(latencies[len(latencies) // 2] * 1000, 2),
            "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 2),
        }

    print(json.dumps(uvloop.run(send())))


if __name__ == "__main__":
    main()
