"""Publishes events to an MQTT broker at QoS 1: an event is taken when the broker's PUBACK has come.

A connection that ends is given up whole, and with it what was under way; the forwarder then sends again, in order. So
the library's own sending again, which knows nothing of devices, is never used.
"""

from __future__ import annotations

import queue
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from receiver.http_client import tls_context
from receiver.services.forward_targets import Outcome, Verdict
from receiver.services.forward_topics import write_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paho.mqtt.reasoncodes import ReasonCode

    from receiver.services.forward_plan import Delivery
    from receiver.services.tunnel_keys import SecretText

AT_ONCE = 20
"""Messages without their PUBACK, each of another device: as many as the library and most brokers hold at a time."""

ANSWER_S = 15.0
"""For a PUBACK, and for the answer to CONNECT: as for a webhook."""

KEEPALIVE_S = 15
"""So that a broker that is gone is noticed within half a minute though nothing is sent."""

FAREWELL_S = 1.0
"""For the broker to close the connection after a DISCONNECT."""

_PROTOCOLS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """Which broker, as whom, and to which topics."""

    host: str
    port: int
    is_tls: bool
    client_id: str
    topic: str
    version: str
    retain: bool
    username: str | None
    password: SecretText | None
    ca_file: str | None
    cert_file: str | None
    key_file: str | None


class MqttTarget:
    """A broker, over one connection at a time."""

    at_once = AT_ONCE

    def __init__(self, settings: MqttSettings, answer_s: float = ANSWER_S) -> None:
        """Connect to nothing yet.

        Raises:
            SettingsError: a file of certificates cannot be used.
        """
        self._settings = settings
        self._answer_s = answer_s
        self._context = (
            tls_context(settings.ca_file, settings.cert_file, settings.key_file) if settings.is_tls else None
        )
        if self._context is not None:
            self._context.sslsocket_class = _ClosedOnFailure
        self._session: _Session | None = None

    def start(self, delivery: Delivery, done: Callable[[Delivery, Outcome], None]) -> None:
        """Publish, or connect first."""
        content = delivery.content
        values = {
            "type": content.event.kind.value,
            "dev_eui": content.event.dev_eui,
            "connection": content.connection,
            "f_port": content.f_port,
        }
        self.publish(values, content.body, lambda outcome: done(delivery, outcome))

    def publish(self, values: Mapping[str, object], body: bytes, done: Callable[[Outcome], None]) -> None:
        """Publish `body` to the topic of these values."""
        if self._session is None or self._session.is_over:
            self._session = _Session(self._settings, self._context)
        self._session.publish(write_topic(self._settings.topic, values), body, done)

    def send_test(self, body: bytes) -> Outcome:
        """Send one message, and wait for what becomes of it."""
        outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self.publish({"type": "test"}, body, outcomes.put)
        try:
            return outcomes.get(timeout=self._answer_s)
        except queue.Empty:
            return Outcome(Verdict.AWAY, f"No answer came within {self._answer_s:g} s.")

    def look(self) -> None:
        """Give the connection up if an answer is overdue."""
        if self._session is not None and self._session.waits_since(time.monotonic()) > self._answer_s:
            self._session.end(f"No answer came within {self._answer_s:g} s")

    def close(self) -> None:
        """Take leave of the broker."""
        if self._session is not None:
            self._session.close()
            self._session = None


class _ClosedOnFailure(ssl.SSLSocket):
    """A TLS socket that is closed when its handshake fails, which the library leaves to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _why_not() -> str:
    """Say why no connection came about: the library calls back where it handles what was raised."""
    error = sys.exc_info()[1]
    return (getattr(error, "strerror", None) or str(error or "no reason was given")).rstrip(".")


class _Session:
    """One connection to the broker, from CONNECT to its end."""

    def __init__(self, settings: MqttSettings, context: ssl.SSLContext | None) -> None:
        self._retain = settings.retain
        self._lock = threading.Lock()  # never held while the library is called, which has locks of its own
        self._waiting: list[tuple[str, bytes, Callable[[Outcome], None]]] | None = []  # None: connected
        self._under_way: dict[int, tuple[float, Callable[[Outcome], None]]] = {}
        self._early: dict[int, Outcome] = {}  # a PUBACK may be here before its message's number is
        self._began = time.monotonic()
        self._ended = threading.Event()
        self.is_over = False
        self._reason: str | None = None
        self._client = self._make_client(settings, context)
        self._client.connect_async(settings.host, settings.port, keepalive=KEEPALIVE_S)
        self._client.loop_start()

    def _make_client(self, settings: MqttSettings, context: ssl.SSLContext | None) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=_PROTOCOLS[settings.version],
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(AT_ONCE)
        if context is not None:
            client.tls_set_context(context)
        if settings.username is not None:
            password = settings.password.reveal() if settings.password is not None else None
            client.username_pw_set(settings.username, password)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def publish(self, topic: str, body: bytes, done: Callable[[Outcome], None]) -> None:
        """Send a message as soon as there is a connection."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.append((topic, body, done))
                return
            reason = self._reason
        if reason is None:
            self._send(topic, body, done)
        else:
            done(Outcome(Verdict.AWAY, f"{reason}."))

    def waits_since(self, now: float) -> float:
        """Give for how many seconds the oldest answer has been due; 0 if none is."""
        with self._lock:
            if self.is_over:
                return 0.0
            if self._waiting is not None:
                return now - self._began
            return now - min((at for at, _done in self._under_way.values()), default=now)

    def end(self, reason: str) -> None:
        """Give the connection up: what was sent may have been taken, what was not has not."""
        with self._lock:
            if self.is_over:
                return
            self.is_over, self._reason = True, reason
            waiting, self._waiting = self._waiting or [], None
            under_way, self._under_way = self._under_way, {}
        for _at, done in under_way.values():
            done(Outcome(Verdict.NOT_TAKEN, f"{reason}."))
        for _topic, _body, done in waiting:
            done(Outcome(Verdict.AWAY, f"{reason}."))
        self._cut()

    def close(self) -> None:
        """Take leave, and end."""
        if not self.is_over and self._client.is_connected():
            self._client.disconnect()
            self._ended.wait(FAREWELL_S)
        self.end("The receiver was stopped before an answer came")

    def _cut(self) -> None:
        self._client.drop_out_messages()  # else the library's thread waits for their answers
        used = self._client.socket()
        if isinstance(used, socket.socket):  # one of TLS is one too
            with suppress(OSError, ValueError):
                used.shutdown(socket.SHUT_RDWR)

    def _send(self, topic: str, body: bytes, done: Callable[[Outcome], None]) -> None:
        try:
            sent = self._client.publish(topic, body, qos=1, retain=self._retain)
        except ValueError as exc:
            done(Outcome(Verdict.NOT_TAKEN, f"It cannot be published: {exc}."))
            return
        with self._lock:
            outcome = self._early.pop(sent.mid, None)
            if outcome is None and self.is_over:
                outcome = Outcome(Verdict.NOT_TAKEN, "The connection to the broker ended.")
            if outcome is None:
                self._under_way[sent.mid] = (time.monotonic(), done)
        if outcome is not None:
            done(outcome)

    # The library calls these from its thread.

    def _on_connect(self, _client: object, _data: object, _flags: object, reason: ReasonCode, _more: object) -> None:
        if reason.is_failure:
            self.end(f"The broker refused the connection: {reason}")
            return
        while True:
            with self._lock:
                if not self._waiting:
                    self._waiting = None
                    return
                waiting, self._waiting = self._waiting, []
            for topic, body, done in waiting:
                self._send(topic, body, done)

    def _on_connect_fail(self, _client: object, _data: object) -> None:
        self._ended.set()
        self.end(f"The broker cannot be reached: {_why_not()}")

    def _on_disconnect(self, _client: object, _data: object, _flags: object, reason: ReasonCode, _more: object) -> None:
        self._ended.set()
        self.end(f"The connection to the broker ended: {reason}")

    def _on_publish(self, _client: object, _data: object, mid: int, reason: ReasonCode, _more: object) -> None:
        outcome = Outcome(Verdict.TAKEN, "The broker has taken it.")
        if reason.is_failure:
            outcome = Outcome(Verdict.NOT_TAKEN, f"The broker refused it: {reason}.")
        with self._lock:
            entry = self._under_way.pop(mid, None)
            if entry is None and not self.is_over:
                self._early[mid] = outcome
        if entry is not None:
            entry[1](outcome)
