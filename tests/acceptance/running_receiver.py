"""The receiver as an operator runs it: its commands, `serve` in a process of its own, and a network that pushes."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import func, select

from receiver.simulator.push_client import PushClient
from receiver.storage.engine import open_engine, read
from receiver.storage.tables import reports, uplinks

ROOT = Path(__file__).parents[2]
SHARED_REPORTS = ROOT.parent / "shared" / "examples" / "reports"
KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
AS_ID = "TWA_100000001.1.AS"
CHILD = "spawn_main"
"""What the command line of a server or worker process holds that `serve` has started."""


def wait_until(condition, within_s=30.0):
    """Ask again and again until `condition()` gives something true, and give that."""
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {condition}"
        time.sleep(0.02)
    return result


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Certificate:
    """Where a certificate and its key stand."""

    cert: Path
    key: Path

    def write(self, name, private_key=None) -> bytes:
        """Write a self-signed certificate for 127.0.0.1, ECDSA P-256 unless told otherwise; give it as PEM."""
        private_key = private_key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(utc_now() - timedelta(minutes=5))
            .not_valid_after(utc_now() + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(private_key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.cert.write_bytes(pem)
        self.key.write_bytes(
            private_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pem


class Installation:
    """A receiver's settings, data and certificate in a directory of their own."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory = directory
        self.engine = open_engine(database_url)
        self.certificate = Certificate(directory / "tls.crt", directory / "tls.key")
        self.trusted = directory / "trusted.pem"
        self.trusted.write_bytes(self.certificate.write("first"))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER_")}
        self.environment = inherited | {
            "RECEIVER_DATA_DIR": str(directory / "data"),
            "RECEIVER_DATABASE_URL": database_url,
            "RECEIVER_READING_IDLE_S": "0.05",
            "PYTHONPATH": str(ROOT),
        }
        self._logs = itertools.count(1)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command of the receiver; give its standard output, or its standard error if it is to be refused."""
        done = subprocess.run(
            [sys.executable, "-m", "receiver", *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def add_connection(self, name: str, *options: str) -> None:
        self.run("connection", "add", name, "--platform", "kpn-lora", "--as-id", AS_ID, "--tunnel-key", KEY, *options)

    @contextmanager
    def serve(self, *options: str):
        """Run `receiver serve` over TLS until the end of the block; then it must stop by itself, leaving nobody."""
        served = self.start(*options)
        try:
            served.wait_until_ready()
            yield served
            if not served.has_ended:
                served.stop()
        finally:
            served.kill()
        assert "Traceback" not in served.log.read_text()

    def start(self, *options: str) -> Served:
        """Start `receiver serve`, over TLS unless told `--plain-http`; whoever starts it ends it."""
        log = self.directory / f"serve-{next(self._logs)}.log"
        command = [sys.executable, "-m", "receiver", "serve", "--host", "127.0.0.1", "--json"]
        port = [] if "--port" in options else ["--port", "0"]
        plain = "--plain-http" in options
        tls = [] if plain else ["--tls-cert", str(self.certificate.cert), "--tls-key", str(self.certificate.key)]
        with log.open("w") as output:
            process = psutil.Popen(
                [*command, *port, *tls, *options],
                cwd=self.directory,
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        return Served(process, log, None if plain else self.trusted)

    # --- what is stored

    def count_reports(self) -> int:
        with read(self.engine) as connection:
            return connection.scalar(select(func.count()).select_from(reports))

    def report_states(self) -> set[str]:
        with read(self.engine) as connection:
            return set(connection.scalars(select(reports.c.state)))

    def payloads(self) -> dict[tuple[str, int], bytes | None]:
        """Give the clear payload of each uplink by DevEUI and counter."""
        with read(self.engine) as connection:
            rows = connection.execute(select(uplinks.c.dev_eui, uplinks.c.f_cnt_up, uplinks.c.frm_payload)).all()
        assert len({(row.dev_eui, row.f_cnt_up) for row in rows}) == len(rows), "an uplink stands twice"
        return {(row.dev_eui, row.f_cnt_up): row.frm_payload and bytes(row.frm_payload) for row in rows}

    def wait_for_payloads(self, pushes) -> None:
        """Wait until all reports are read; hold their payloads against what the devices sent."""
        expected = {(push.dev_eui, push.f_cnt_up): push.clear_payload or None for push in pushes}
        wait_until(lambda: len(self.payloads()) >= len(expected) and "unread" not in self.report_states())
        assert self.payloads() == expected


class Served:
    """A running `receiver serve`."""

    def __init__(self, process: psutil.Popen, log: Path, trusted: Path | None) -> None:
        self.process = process
        self.log = log
        self.trusted = trusted
        self.port = 0
        self.has_ended = False
        self._family: list[psutil.Process] = []

    def wait_until_ready(self) -> None:
        self.port = wait_until(self._find_port)
        try:
            wait_until(self._is_ready)
        except AssertionError as exc:
            exc.add_note(self.log.read_text())
            raise

    def _find_port(self) -> int | None:
        assert self.process.poll() is None, self.log.read_text()
        for line in self.log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}") and json.loads(line)["event"] == "listening":
                return httpx.URL(json.loads(line)["url"].partition("/push")[0]).port
        return None

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with httpx.Client(verify=self.context() or True, trust_env=False) as client:
                return client.get(f"{self.origin}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.trusted) if self.trusted else None

    @property
    def origin(self) -> str:
        return f"{'https' if self.trusted else 'http'}://127.0.0.1:{self.port}"

    def url(self, connection: str) -> str:
        return f"{self.origin}/push/{connection}"

    def children(self, name: str = "") -> list[psutil.Process]:
        """Give its living children whose command line holds `name`."""
        return [child for child in self.process.children(recursive=True) if name in command_line(child)]

    def push(self, connection: str, pushes, at_once: int = 8) -> list[int | None]:
        """Deliver pushes as the network does; give the statuses, None where there was no answer."""

        async def main():
            room = asyncio.Semaphore(at_once)
            async with PushClient([self.url(connection)], ca_file=self.trusted) as client:

                async def deliver(push):
                    async with room:
                        return (await client.deliver(push)).answers[0].status

                return await asyncio.gather(*(deliver(push) for push in pushes))

        return asyncio.run(main())

    def stop(self) -> None:
        """Stop it as a service manager does."""
        self.tell_to_stop()
        self.must_have_ended()

    def tell_to_stop(self) -> None:
        self._family = [self.process, *self.process.children(recursive=True)]
        self._workers = self.children(CHILD)
        self.process.send_signal(signal.SIGTERM)

    def must_have_ended(self) -> None:
        """Wait for its end: with code 0, after its servers and worker, and with nobody left behind."""
        assert self.process.wait(30) == 0, self.log.read_text()
        assert not any(is_alive(process) for process in self._workers)
        wait_until(lambda: not any(is_alive(process) for process in self._family), 5)  # Python's own helpers
        self.has_ended = True

    def kill_all(self) -> None:
        """Do as `kill -9` of the whole family does: a container that is killed, a machine that runs out of memory."""
        self._family = [self.process]
        with suppress(psutil.NoSuchProcess):  # it may have ended by itself
            self._family += self.process.children(recursive=True)
        self.has_ended = True
        for process in self._family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)
        wait_until(lambda: not any(is_alive(process) for process in self._family))

    def kill_its_first_process(self) -> None:
        """Do as `kill -9` does; the others of its family must end by themselves."""
        self._family = [self.process, *self.process.children(recursive=True)]
        self.has_ended = True
        self.process.kill()
        self.process.wait(10)
        wait_until(lambda: not any(is_alive(process) for process in self._family))

    def kill(self) -> None:
        """Let nothing of a failed test live on."""
        if is_alive(self.process):
            self._family = [self.process, *self.process.children(recursive=True)]
        for process in self._family:
            if is_alive(process):
                process.kill()
        self.process.wait(10)


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
