"""MQTT against a real broker: QoS 1, in order for each device, nothing lost when the broker dies."""

from __future__ import annotations

import socket
import struct
import threading

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from receiver.errors import SettingsError
from receiver.services.forward_letters import send_test
from receiver.services.forward_targets import Verdict
from receiver.services.forwarder_settings import MqttOptions
from receiver.services.forwarders import add_forwarder, list_forwarders, rotate_secret
from receiver.storage.engine import read
from receiver.storage.events import newest_event_id
from receiver.storage.forwarder_tables import forwarder_retries
from tests.integration.forward_use import Authority, MqttBroker, Subscriber, driven, utc_now

NAME = "broker"
PASSWORD = "correct horse battery staple"


@pytest.fixture
def network(field):
    return field.connect()


@pytest.fixture
def devices(network):
    return [network.add_device(dev_eui=f"20635F000000000{number}") for number in range(1, 5)]


@pytest.fixture
def add(field, keyring):
    def add(port, *, tls=False, password=None, **options):
        url = f"{'mqtts' if tls else 'mqtt'}://127.0.0.1:{port}"
        options = MqttOptions(**options)
        assert (
            add_forwarder(field.engine, keyring, field.now, name=NAME, url=url, options=options, secret=password)
            is None
        )

    return add


@pytest.fixture
def start(field, keyring):
    return lambda: driven(field.engine, keyring, NAME, field)


@pytest.fixture
def send(field, network):
    def send(*devices):
        field.take_and_read(*(network.uplink(device, f_port=5, payload=b"hello") for device in devices))
        with read(field.engine) as connection:
            return newest_event_id(connection)

    return send


def test_each_event_is_published_to_its_topic_in_order(add, start, send, devices):
    with MqttBroker() as broker, Subscriber(broker.port) as listener:
        add(broker.port, topic="site/{connection}/{dev_eui}/{f_port}/{type}")
        last = [send(*devices) for _ in range(3)][-1]
        with start() as forwarder:
            forwarder.until_passed(last)
            forwarder.until(lambda: len(listener.messages) == 12)

    assert {topic for topic, _event in listener.messages} == {
        f"site/field/{device.dev_eui}/5/uplink" for device in devices
    }
    for device in devices:
        assert listener.ids_of(device.dev_eui) == sorted(listener.ids_of(device.dev_eui))


def test_a_broker_that_is_killed_and_comes_back_loses_nothing(add, start, send, devices, field):
    with MqttBroker() as broker:
        add(broker.port)
        with start() as forwarder:
            first = send(*devices)
            forwarder.until_passed(first)
            broker.kill()
            last = [send(*devices) for _ in range(3)][-1]
            forwarder.until(lambda: forwarder.row().away_since)
            broker.start()
            with Subscriber(broker.port) as listener:
                field.wait(hours=1)
                forwarder.until(lambda: forwarder.row().position >= last and not field.rows(forwarder_retries))
                forwarder.until(lambda: len({event["id"] for _topic, event in listener.messages}) == 12)
                for device in devices:
                    told = list(dict.fromkeys(listener.ids_of(device.dev_eui)))
                    assert told == sorted(told)


def test_a_password_is_needed_and_can_be_changed(add, start, send, devices, field, keyring, tmp_path):
    users = tmp_path / "users"
    users.write_text(f"lora:{Argon2Hasher().hash(PASSWORD)}\n")
    with MqttBroker(password_file=users) as broker:
        add(broker.port, username="lora", password="wrong")
        refused = send_test(field.engine, keyring, utc_now, NAME)
        assert refused.verdict is Verdict.AWAY
        assert "wrong" not in refused.sentence

        assert rotate_secret(field.engine, keyring, field.now, NAME, PASSWORD) is None
        last = send(devices[0])
        with Subscriber(broker.port, username="lora", password=PASSWORD) as listener, start() as forwarder:
            forwarder.until_passed(last)
            forwarder.until(lambda: listener.messages)
    assert PASSWORD not in repr(list_forwarders(field.engine, field.now))


def test_over_tls_the_authority_that_is_named_is_trusted_and_no_other(
    add, start, send, devices, field, keyring, tmp_path
):
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    with MqttBroker(certificate=ours.certify("broker")) as broker:
        add(broker.port, tls=True, ca_file=str(ours.file))
        last = send(devices[0])
        with start() as forwarder:
            forwarder.until_passed(last)

        add_forwarder(
            field.engine,
            keyring,
            field.now,
            name="doubting",
            url=f"mqtts://127.0.0.1:{broker.port}",
            options=MqttOptions(ca_file=str(other.file)),
        )
        outcome = send_test(field.engine, keyring, utc_now, "doubting")
        assert outcome.verdict is Verdict.AWAY
        assert "certificate" in outcome.sentence.lower()


def test_a_broker_that_is_not_there_is_away(add, field, keyring, start, send, devices):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        add(unused.getsockname()[1])
        send(devices[0])
        with start() as forwarder:
            forwarder.until(lambda: forwarder.row().away_since)
            assert "cannot be reached" in forwarder.row().last_error
            assert not field.rows(forwarder_retries)


class Version5Broker:
    """Takes every PUBLISH of MQTT 5 but those to a topic with `refused` in it, which it says it has no right for."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.versions = []
        self.taken = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with connection, connection.makefile("rb") as stream:
            while header := stream.read(1):
                size = shift = 0
                while True:
                    [byte] = stream.read(1)
                    size |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                packet = stream.read(size)
                kind = header[0] >> 4
                if kind == 1:
                    self.versions.append(packet[6])
                    connection.sendall(b"\x20\x03\x00\x00\x00")
                elif kind == 3:
                    [length] = struct.unpack_from("!H", packet)
                    topic = packet[2 : 2 + length]
                    mid = packet[2 + length : 4 + length]
                    reason = b"\x87" if b"refused" in topic else b"\x00"
                    if reason == b"\x00":
                        self.taken.append(topic)
                    connection.sendall(b"\x40\x04" + mid + reason + b"\x00")
                elif kind == 14:
                    return

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._listener.close()


@pytest.mark.parametrize("topic", ["fine/{dev_eui}", "refused/{dev_eui}"])
def test_with_version_5_a_broker_says_why_it_refuses(add, start, send, devices, field, topic):
    with Version5Broker() as broker:
        add(broker.port, version="5", topic=topic)
        last = send(devices[0])
        with start() as forwarder:
            forwarder.until_passed(last)
        assert broker.versions == [5]
        if "refused" in topic:
            [row] = field.rows(forwarder_retries)
            assert row.error == "The broker refused it: Not authorized."
        else:
            assert len(broker.taken) == 1


@pytest.mark.parametrize(
    ("url", "options", "sentence"),
    [
        ("mqtt://broker.example.org", {}, "--plain-mqtt"),
        ("mqtts://broker.example.org/topic", {}, "neither path nor query"),
        ("https://broker.example.org", {}, "mqtt:// or mqtts://"),
        ("mqtts://u:p@broker.example.org", {}, "no user name"),
        ("mqtts://broker.example.org", {"topic": "a/{device}"}, "there are {type}"),
        ("mqtts://broker.example.org", {"topic": "a/#"}, "cannot be in one"),
        ("mqtts://broker.example.org", {"version": "4"}, "3.1.1 or 5"),
        ("mqtts://broker.example.org", {"cert_file": "c.pem"}, "both --cert-file and --key-file"),
        ("mqtt://127.0.0.1", {"ca_file": "c.pem"}, "for TLS"),
        ("mqtts://broker.example.org", {"client_id": "with space"}, "client id"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(field, keyring, url, options, sentence):
    with pytest.raises(SettingsError, match=sentence):
        add_forwarder(field.engine, keyring, field.now, name=NAME, url=url, options=MqttOptions(**options))


def test_a_password_without_a_user_is_refused(field, keyring):
    with pytest.raises(SettingsError, match="--username"):
        add_forwarder(
            field.engine,
            keyring,
            field.now,
            name=NAME,
            url="mqtts://broker.example.org",
            options=MqttOptions(),
            secret=PASSWORD,
        )
