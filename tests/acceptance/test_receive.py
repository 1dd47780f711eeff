"""From the network's push over real TLS to the uplink in the database, with the commands an operator types."""

from __future__ import annotations

import json
import re
import socket
import ssl
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from receiver.lorawan.keys import AesKey
from receiver.simulator.network import SimulatedNetwork
from tests.acceptance.running_receiver import AS_ID, CHILD, KEY, is_alive, utc_now, wait_until

AS_TRANSPORT_KEY = AesKey(bytes.fromhex("4bc1ba5fd6b6ac5b2c8d6a33d1a8c8b1"))
CONTENT_TYPES = ("xml", "jsontyped", "json")

only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def network(seed=1, **options):
    return SimulatedNetwork(key=KEY, as_id=AS_ID, clock=utc_now, seed=seed, **options)


def answer_of_the_portal(public_key_pem):
    """Give the AS transport key as a network's portal shows it, once: encrypted for the public key, in hex."""
    public_key = load_pem_public_key(public_key_pem.encode())
    return public_key.encrypt(AS_TRANSPORT_KEY.reveal(), padding.PKCS1v15()).hex()


def a_fleet_in_every_content_type(net):
    fleet = [net.add_device(kind=kind) for kind in ("climate", "tracker", "text")]
    pushes = [net.uplink(device, content_type=form) for _ in range(2) for device in fleet for form in CONTENT_TYPES]
    return [*pushes, *(net.empty_uplink(device) for device in fleet)]


def test_clear_and_encrypted_pushes_end_as_the_right_bytes(installation):
    installation.add_connection("open")
    installation.add_connection("sealed")
    public_key = json.loads(installation.run("as-key", "new", "sealed", "--json"))["public_key_pem"]
    installation.run("as-key", "import", "sealed", "--wrapped", answer_of_the_portal(public_key))
    in_clear = a_fleet_in_every_content_type(network(1))
    encrypted = a_fleet_in_every_content_type(network(2, as_transport_key=AS_TRANSPORT_KEY))

    with installation.serve() as served:
        assert set(served.push("open", in_clear)) == {200}
        assert set(served.push("sealed", encrypted)) == {200}
        installation.wait_for_payloads([*in_clear, *encrypted])

    assert installation.report_states() == {"read"}


def test_encrypted_pushes_are_read_by_the_running_worker_once_the_key_is_imported(installation):
    installation.add_connection("sealed")
    public_key = json.loads(installation.run("as-key", "new", "sealed", "--json"))["public_key_pem"]
    pushes = a_fleet_in_every_content_type(network(2, as_transport_key=AS_TRANSPORT_KEY))

    with installation.serve() as served:
        assert set(served.push("sealed", pushes)) == {200}
        wait_until(lambda: installation.report_states() == {"waiting_for_key", "read"})  # read: those without payload
        installation.run("as-key", "import", "sealed", "--wrapped", answer_of_the_portal(public_key))
        installation.wait_for_payloads(pushes)


def test_several_server_processes_share_the_work(installation):
    installation.add_connection("field")
    pushes = a_fleet_in_every_content_type(network())

    with installation.serve("--workers", "2") as served:
        assert len(served.children(CHILD)) == 3  # two servers and the worker
        assert set(served.push("field", pushes)) == {200}
        assert set(served.push("field", pushes)) == {200}
        installation.wait_for_payloads(pushes)

    assert installation.count_reports() == len(pushes)


def test_the_first_pushes_right_after_connection_add_are_taken(installation):
    with installation.serve() as served:
        installation.add_connection("field")
        net = network()
        pushes = [net.uplink(net.add_device()) for _ in range(20)]

        assert set(served.push("field", pushes, at_once=20)) == {200}
        installation.wait_for_payloads(pushes)


def test_a_push_that_is_forged_is_refused_beside_those_that_are_not(installation):
    installation.add_connection("field")
    net = network()
    good = net.uplink(net.add_device())

    with installation.serve() as served:
        assert served.push("field", [net.forge(good)]) == [401]
        assert served.push("field", [good]) == [200]
        installation.wait_for_payloads([good])


# --- TLS


def shown_certificate(served):
    """Give the common name of the certificate that a new handshake sees."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=10) as plain,
        context.wrap_socket(plain) as client,
    ):
        der = client.getpeercert(binary_form=True)
    [name] = x509.load_der_x509_certificate(der).subject
    return name.value


@only_sqlite
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_certificate_files_are_replaced_while_pushes_flow(installation, kind):
    installation.add_connection("field")
    net = network()
    device = net.add_device()
    sent, statuses, enough = [], [], Event()

    def keep_pushing(served):
        while not enough.is_set():
            pushes = [net.uplink(device) for _ in range(5)]
            sent.extend(pushes)
            statuses.extend(served.push("field", pushes))

    renewed = ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else rsa.generate_private_key(65537, 2048)
    with installation.serve() as served, ThreadPoolExecutor(1) as pool:
        assert shown_certificate(served) == "first"
        pushing = pool.submit(keep_pushing, served)
        try:
            wait_until(lambda: len(statuses) >= 10)
            first_key = installation.certificate.key.read_bytes()
            pem = installation.certificate.write("second", renewed)
            second_key = installation.certificate.key.read_bytes()
            installation.certificate.key.write_bytes(first_key)  # half a pair: must not come into force
            installation.trusted.write_bytes(installation.trusted.read_bytes() + pem)
            wait_until(lambda: "certificate_not_reloaded" in served.log.read_text())
            assert shown_certificate(served) == "first"
            installation.certificate.key.write_bytes(second_key)
            wait_until(lambda: shown_certificate(served) == "second")
            count = len(statuses)
            wait_until(lambda: len(statuses) >= count + 10)
        finally:
            enough.set()
        pushing.result()
        assert set(statuses) == {200}
        installation.wait_for_payloads(sent)


def handshake(served, version):
    """Give the version that a client which speaks only `version` ends up with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.1 is what is tried
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that this side would speak TLS 1.1
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=10) as plain,
        context.wrap_socket(plain) as client,
    ):
        return client.version()


@only_sqlite
def test_tls_1_2_and_1_3_are_taken_and_1_1_is_refused(installation):
    with installation.serve("--without-worker") as served:
        assert handshake(served, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        assert handshake(served, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        # Refused by an alert, or by closing: which of them the client sees first is a matter of timing.
        with pytest.raises(OSError, match=r"EOF|(?i:alert protocol version)|reset by peer"):
            handshake(served, ssl.TLSVersion.TLSv1_1)


@only_sqlite
def test_a_client_without_tls_harms_nobody(installation):
    installation.add_connection("field")
    net = network()
    push = net.uplink(net.add_device())

    with installation.serve() as served:
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as plain:
            plain.sendall(b"POST /push/field HTTP/1.1\r\n\r\n")
            assert b"200" not in plain.recv(1000)
        assert served.push("field", [push]) == [200]


@only_sqlite
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "push to HTTPS only"),
        (["--tls-cert", "tls.crt"], "push to HTTPS only"),
        (["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--plain-http"], "not both"),
        (["--tls-cert", "nowhere.crt", "--tls-key", "tls.key"], "nowhere.crt cannot be read"),
        (["--tls-cert", "tls.key", "--tls-key", "tls.key"], "not a certificate chain and its private key"),
        (["--tls-cert", "tls.crt", "--tls-key", "other.key"], "not a certificate chain and its private key"),
    ],
)
def test_serve_without_what_tls_needs_is_refused_in_one_sentence(installation, options, sentence):
    first = installation.certificate.key.read_bytes()
    installation.certificate.write("other")
    (installation.directory / "other.key").write_bytes(first)

    said = installation.run("serve", "--host", "127.0.0.1", "--port", "0", *options, code=1)

    assert re.fullmatch(rf"receiver: [^\n]*{re.escape(sentence)}[^\n]*\n", said)


@only_sqlite
def test_a_port_that_is_taken_is_told_in_one_sentence(installation):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = installation.run("serve", "--plain-http", "--host", "127.0.0.1", "--port", port, code=1)

    assert re.search(rf"^receiver: 127\.0\.0\.1:{port} cannot be listened on: [^\n]+\n\Z", said, re.MULTILINE)


# --- the end


def begin_request(served, push):
    """Send all of a push but its last byte; give the open connection."""
    connection = served.context().wrap_socket(
        socket.create_connection(("127.0.0.1", served.port), timeout=20), server_hostname="127.0.0.1"
    )
    length = f"Content-Length: {len(push.body)}\r\nExpect: 100-continue"
    connection.sendall(f"POST /push/field?{push.query} HTTP/1.1\r\nHost: h\r\n{length}\r\n\r\n".encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # the receiver is at it
    connection.sendall(push.body[:-1])
    return connection


def refuses_connections(served):
    try:
        socket.create_connection(("127.0.0.1", served.port), timeout=10).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_under_way_is_finished_when_it_is_told_to_stop(installation, workers):
    installation.add_connection("field")
    net = network()
    pushes = [net.uplink(net.add_device()) for _ in range(3)]

    with installation.serve("--workers", workers) as served:
        assert served.push("field", [pushes[0]]) == [200]
        under_way = [begin_request(served, push) for push in pushes[1:]]
        served.tell_to_stop()
        wait_until(lambda: refuses_connections(served))
        for connection, push in zip(under_way, pushes[1:], strict=True):
            connection.sendall(push.body[-1:])
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            connection.close()
        served.must_have_ended()

    assert installation.count_reports() == 3


def test_what_was_answered_200_outlives_a_kill_and_is_read_after_the_restart(installation):
    installation.add_connection("field")
    net = network()
    fleet = [net.add_device() for _ in range(10)]
    pushes = [net.uplink(device) for _ in range(40) for device in fleet]
    answered = []

    def keep_pushing(served):
        for start in range(0, len(pushes), 8):
            batch = pushes[start : start + 8]
            statuses = served.push("field", batch)
            answered.extend(push for push, status in zip(batch, statuses, strict=True) if status == 200)
            if None in statuses:
                return

    with ThreadPoolExecutor(1) as pool:
        with installation.serve() as served:
            pushing = pool.submit(keep_pushing, served)
            wait_until(lambda: len(answered) >= 60)
            served.kill_its_first_process()
        pushing.result()

    assert 60 <= len(answered) < len(pushes)
    with installation.serve():
        wait_until(lambda: installation.report_states() == {"read"})
    payloads = installation.payloads()
    assert [push for push in answered if payloads.get((push.dev_eui, push.f_cnt_up)) != push.clear_payload] == []


@only_sqlite
@pytest.mark.parametrize("workers", ["1", "2"])
def test_children_that_die_are_started_again(installation, workers):
    installation.add_connection("field")
    net = network()
    device = net.add_device()
    pushes = [net.uplink(device) for _ in range(4)]

    with installation.serve("--workers", workers) as served:
        served.push("field", pushes[:2])
        installation.wait_for_payloads(pushes[:2])
        killed = served.children(CHILD)
        for child in killed:
            child.kill()
        wait_until(lambda: not any(is_alive(child) for child in killed))
        wait_until(lambda: len(served.children(CHILD)) == len(killed))
        served.wait_until_ready()
        assert served.push("field", pushes[2:]) == [200, 200]
        installation.wait_for_payloads(pushes)
