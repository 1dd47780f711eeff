"""How long `receiver bulk run` takes for many devices, with errors, lost answers and a restart; none is doubled.

    python -m benchmarks.bulk [--devices 10000] [--at-once 8] [--database sqlite]

An emulated KPN LoRa on this machine gets a file of devices from the command in a process of its own, which is killed
(SIGKILL) halfway and gone on with by `receiver bulk resume`. One device in a hundred is refused as it exists elsewhere,
and of one in a hundred the answer is lost after the device was made. The emulator answers at once: what is measured is
the command, with both databases' commits, and the emulator's own time on the other core.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.reading import on_postgresql
from receiver.keyring import KEK_BYTES, Keyring
from receiver.services.platform_accounts import add_account
from receiver.simulator.loopback_server import HttpReply, HttpRequest, LoopbackServer
from receiver.simulator.management_http import read_object
from receiver.simulator.management_kpn_lora import BASE_PATH, DEVICE_PROFILES, SimulatedKpnLora
from receiver.simulator.management_kpn_lora_gateway import TOKEN_PATH
from receiver.storage import schema
from receiver.storage.engine import open_engine

PLAN = "kpn-ope-cs/often"
ROUTING = "TWA_100001135.1"
KEK = bytes(range(KEK_BYTES))


class Network:
    """An emulated KPN LoRa that refuses one device in a hundred and loses one answer in a hundred."""

    def __init__(self, devices: int) -> None:
        self.kpn = SimulatedKpnLora(clock=lambda: datetime.now(UTC), plans=((PLAN, devices),))
        self.made: Counter[str] = Counter()
        self.posts = 0
        self.half = threading.Event()
        self._half_at = devices // 2
        self._lost: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, request: HttpRequest) -> HttpReply:
        """Answer as KPN does, with the errors."""
        if request.method != "POST" or not request.path.endswith("/devices"):
            return self.kpn.answer(request)
        eui = str((read_object(request.body) or {}).get("EUI"))
        number = int(eui, 16)
        with self._lock:
            self.posts += 1
        if number % 100 == 37:
            said = f"A Device with EUI {eui} already exists"
            return HttpReply(409, json.dumps({"code": 409, "message": said}).encode(), "application/json")
        reply = self.kpn.answer(request)
        with self._lock:
            self.made[eui] += reply.status == 201
            if len(self.made) >= self._half_at:
                self.half.set()
            if number % 100 == 73 and eui not in self._lost:
                self._lost.add(eui)
                return HttpReply(0, is_lost=True)
        return reply


def measure(url: str, devices: int, at_once: int) -> None:
    """Run, kill, go on, and print what came of it."""
    schema.upgrade(url, datetime.now(UTC))
    network = Network(devices)
    server = LoopbackServer()
    server.start(network.answer)
    with tempfile.TemporaryDirectory(prefix="bench-bulk-") as directory:
        file = Path(directory) / "devices.csv"
        _write(file, devices)
        _add_account(url, server.origin)
        environment = {
            **os.environ,
            "RECEIVER_DATABASE_URL": url,
            "RECEIVER_DATA_DIR": directory,
            "RECEIVER_KEK": KEK.hex(),
        }
        began = time.monotonic()
        first = _start(environment, "run", str(file), "--at-once", str(at_once), "--json")
        network.half.wait(600)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        half_s = time.monotonic() - began
        second = _start(environment, "resume", "1", str(file), "--at-once", str(at_once), "--json")
        out, err = second.communicate()
        whole_s = time.monotonic() - began
    server.stop()
    if not out:
        sys.exit(err.decode())
    run = json.loads(out)
    doubled = sum(number > 1 for number in network.made.values())
    missing = devices - devices // 100 - len(network.kpn.devices)
    print(
        f"{url.partition(':')[0].partition('+')[0]}: {devices:,} devices in {whole_s:.1f} s, killed after"
        f" {half_s:.1f} s; {network.posts:,} POSTs, {len(network.kpn.devices):,} devices made,"
        f" {doubled} doubled, {missing} missing; outcomes {run['outcomes']}"
    )


def _start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "receiver", "bulk", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _add_account(url: str, origin: str) -> None:
    engine = open_engine(url)
    settings = {"client_id": "client", "api_url": origin + BASE_PATH, "token_url": origin + TOKEN_PATH}
    add_account(
        *(engine, Keyring(KEK), datetime.now(UTC)),
        name="bench",
        surface="kpn-lora",
        settings=settings,
        secret="secret",  # noqa: S106 - of a simulation
    )
    engine.dispose()


def _write(file: Path, devices: int) -> None:
    with file.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(("DevEUI", "Name", "JoinEUI", "AppKey", "DeviceProfile", "ConnectivityPlan", "Routing"))
        profile = next(iter(DEVICE_PROFILES))
        for number in range(devices):
            writer.writerow((f"{number:016X}", f"Meter {number}", f"{1:016X}", f"{number:032X}", profile, PLAN, "none"))


def main() -> None:
    """Measure on the databases asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    options = parser.parse_args()
    for database in options.database or ("sqlite", "postgresql"):
        if database == "sqlite":
            with tempfile.TemporaryDirectory(prefix="bench-bulk-") as directory:
                measure(f"sqlite:///{directory}/receiver.db", options.devices, options.at_once)
        else:
            on_postgresql(None, lambda url: measure(url, options.devices, options.at_once))


if __name__ == "__main__":
    main()
