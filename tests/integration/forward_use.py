"""Targets that events are forwarded to, on real sockets of this machine, and a forwarder that a test drives by hand."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from standardwebhooks import Webhook

from receiver.services.forward_loop import ForwarderDatabase, Forwarding
from receiver.services.forward_opening import open_target
from receiver.services.forwarder_settings import read_wants
from receiver.storage import forwarders as stored
from receiver.storage.engine import read, write

HOLDER = "a test"
WITHIN_S = 30.0


def utc_now() -> datetime:
    return datetime.now(UTC)


def wait_until(condition, within_s=WITHIN_S):
    """Ask again and again until `condition()` gives something true, and give that."""
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {condition}"
        time.sleep(0.02)
    return result


class Received:
    """A webhook that a server got."""

    def __init__(self, headers, body):
        self.headers = headers
        self.body = body

    @cached_property
    def event(self):
        return json.loads(self.body)

    @property
    def dev_eui(self):
        return self.event["data"].get("dev_eui")

    @property
    def message_id(self):
        return self.headers["webhook-id"]


class HookServer:
    """A receiver of webhooks. `answer(received)` gives a status, or one and headers; `secret` verifies each."""

    def __init__(self, port=0, certificate=None):
        self.secret = None
        self.answer = lambda _received: 204
        self.taken: list[Received] = []
        self.came: list[Received] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status, headers = outer.judge(Received({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, _request, _address):
                pass  # a client that refuses the certificate

        self._server = Server(("127.0.0.1", port), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def judge(self, received):
        if self.secret is not None:
            Webhook(self.secret).verify(received.body, received.headers)
        with self._lock:
            self.came.append(received)
        answer = self.answer(received)
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if 200 <= status < 300:
            with self._lock:
                self.taken.append(received)
        return status, headers

    def ids_of(self, dev_eui):
        return [one.event["id"] for one in self.taken if one.dev_eui == dev_eui]

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.stop()


class Driven:
    """A forwarder whose steps a test takes, on a clock that only the test moves."""

    def __init__(self, engine, keyring, name, field):
        self.engine = engine
        with write(engine) as connection:
            seen = stored.get_forwarder(connection, name)
            assert stored.take_lease(connection, seen, HOLDER)
            sealed = stored.list_secrets(connection, seen.id)
        self.name = name
        self.forwarding = Forwarding(
            ForwarderDatabase(engine),
            seen,
            read_wants(seen).as_filter(),
            open_target(keyring, seen, sealed, utc_now),
            holder=HOLDER,
            clock=lambda: field.now,
            chance=lambda: 1.0,
            commit_every_s=0.0,
        )

    def until(self, condition):
        """Step until `condition()` gives something true, and give that."""

        def step():
            self.forwarding.step()
            self.forwarding.wait(0.01)
            return condition()

        self.forwarding.wake()
        return wait_until(step)

    def row(self):
        with read(self.engine) as connection:
            return stored.get_forwarder(connection, self.name)

    def until_passed(self, event_id):
        """Step until the position has reached the event."""
        return self.until(lambda: self.row().position >= event_id)

    def crash(self):
        """Leave it as a killed process does: nothing more is committed."""
        self.forwarding._target.close()

    def stop(self):
        stop = threading.Event()
        stop.set()
        self.forwarding.run(stop)


@contextmanager
def driven(engine, keyring, name, field):
    one = Driven(engine, keyring, name, field)
    try:
        yield one
    finally:
        one.forwarding._target.close()
        with write(engine) as connection:
            stored.give_leases_back(connection, HOLDER)


class Authority:
    """Signs certificates for 127.0.0.1."""

    def __init__(self, directory, name):
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(*(False,) * 5, True, True, False, False)
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(
            self._sign(
                self._name, self._key, (x509.BasicConstraints(ca=True, path_length=0), True), (usage, True)
            ).public_bytes(serialization.Encoding.PEM)
        )

    def certify(self, name, address="127.0.0.1"):
        """Give the files of a certificate for an address, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        cert_file, key_file = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        cert_file.write_bytes(self._sign(subject, key, (names, False)).public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    def _sign(self, subject, key, *extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(utc_now() - timedelta(minutes=5))
            .not_valid_after(utc_now() + timedelta(days=1))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())


BROKER = """
import asyncio, json, sys
from amqtt.broker import Broker

async def main():
    broker = Broker(json.loads(sys.argv[1]))
    await broker.start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class MqttBroker:
    """A real broker in a process of its own, which can be killed and started again on its port."""

    def __init__(self, *, password_file=None, certificate=None):
        self.port = free_port()
        listener = {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}
        if certificate is not None:
            listener |= {"ssl": True, "certfile": str(certificate[0]), "keyfile": str(certificate[1])}
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        if password_file is not None:
            plugins = {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(password_file)}}
        self._config = json.dumps({"listeners": {"default": listener}, "plugins": plugins})
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", BROKER, self._config],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"
        return self

    def kill(self):
        self._process.kill()
        self._process.wait(10)
        self._process.stdout.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_exc):
        if self._process.poll() is None:
            self.kill()


class Subscriber:
    """Somebody who listens to all topics of a broker."""

    def __init__(self, port, *, username=None, password=None, ca_file=None):
        self.messages = []
        self._is_ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener")
        if username is not None:
            self._client.username_pw_set(username, password)
        if ca_file is not None:
            self._client.tls_set_context(ssl.create_default_context(cafile=ca_file))
        self._client.on_connect = lambda client, *_rest: client.subscribe("#", 1)
        self._client.on_subscribe = lambda *_rest: self._is_ready.set()
        self._client.on_message = lambda _client, _data, message: self.messages.append(
            (message.topic, json.loads(message.payload))
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._is_ready.wait(WITHIN_S)

    def ids_of(self, dev_eui):
        return [event["id"] for _topic, event in self.messages if event["data"].get("dev_eui") == dev_eui]

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._client.disconnect()
        self._client.loop_stop()
