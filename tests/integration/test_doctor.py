"""`receiver doctor`: one line for each thing that keeps a receiver working, and what to do; also when much is down."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from receiver.keyring import Keyring
from receiver.services.checkup import check_database
from receiver.services.checkup_machine import (
    check_directory,
    check_key_file,
    check_public_url,
    check_room,
    check_spool,
)
from receiver.storage.engine import open_engine, write
from receiver.storage.spool import Spool
from receiver.storage.tables import rejections, reports
from receiver.web.self_signed import VALID_FOR, make_self_signed_certificate
from tests.integration.command_line import run
from tests.integration.inbox_use import report_maker
from tests.integration.reading_field import TUNNEL_KEY

NOW = datetime.now(UTC)


@pytest.fixture
def network(field):
    return field.connect()


@pytest.fixture
def look(field):
    """Give a function that looks and gives the finding of one check, and one that all findings have."""

    def at(check, *, keyring="the field's"):
        key = field.keyring if keyring == "the field's" else keyring
        findings = {finding.check: finding for finding in check_database(field.engine, key, field.now)}
        return findings[check]

    return at


def test_a_receiver_in_order_is_all_ok(field, network):
    device = network.add_device()
    for _ in range(8):
        field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))
        field.wait(minutes=5)

    findings = check_database(field.engine, field.keyring, field.now)

    assert {finding.level for finding in findings} == {"ok"}
    assert not any(finding.advice for finding in findings)


def test_every_finding_is_a_sentence_and_what_is_not_in_order_says_what_to_do(field, network):
    field.take(network.uplink(network.add_device(), f_port=5, payload=b"x"))
    field.wait(days=3)

    for finding in check_database(field.engine, Keyring(bytes(32)), field.now):
        assert re.fullmatch(r"[A-Z0-9].*\.", finding.sentence)
        assert finding.level == "ok" or finding.advice


@pytest.mark.parametrize(("waited_s", "level"), [(5, "ok"), (60, "warn"), (3600, "fail")])
def test_reports_that_nobody_reads_are_told_with_the_age_of_the_oldest(field, network, look, waited_s, level):
    device = network.add_device()
    field.take(network.uplink(device, f_port=5, payload=b"x"))
    field.wait(seconds=waited_s)
    field.take(network.uplink(device, f_port=5, payload=b"x"))

    finding = look("reading")

    assert finding.level == level
    assert finding.sentence.startswith("2 reports unread, the oldest for ")


def test_uplinks_that_wait_for_a_key_are_told(field, look):
    network = field.connect(encrypted=True)
    field.take_and_read(network.uplink(network.add_device(), f_port=5, payload=b"secret"))

    finding = look("waiting for keys")

    assert (finding.level, finding.sentence) == ("warn", "1 encrypted uplink without the key of the session.")


def test_rejections_of_the_last_day_are_told_by_reason(field, look):
    def refused(reason, number, age, **values):
        row = {"path_name": "x", "received_at": field.now - age, "reason": reason, "detail": "", "query": ""}
        with write(field.engine) as connection:
            more = {"headers": "[]", "body": b"", "size_bytes": 0}
            connection.execute(insert(rejections), [row | more | values] * number)

    assert look("rejections").level == "ok"
    refused("as-id-mismatch", 1, timedelta(hours=1))
    refused("token-mismatch", 3, timedelta(hours=23))
    refused("token-mismatch", 5, timedelta(hours=25))
    refused("token-mismatch", 5, timedelta(hours=1), replayed_at=field.now)

    finding = look("rejections")

    assert finding.level == "warn"
    assert finding.sentence == "4 pushes refused in the last day: token-mismatch 3, as-id-mismatch 1."


@pytest.mark.parametrize(
    ("skew_s", "level", "told"),
    [(2, "ok", "2.0 s after"), (45, "warn", "45 s after"), (-45, "warn", "45 s before")],
)
def test_a_clock_that_is_wrong_shows_in_the_times_of_reports(field, network, look, skew_s, level, told):
    device = network.add_device()
    field.take(*(network.uplink(device, f_port=5, payload=b"x") for _ in range(6)))
    with write(field.engine) as connection:
        connection.execute(update(reports).values(sent_at=field.now - timedelta(seconds=skew_s)))

    finding = look("clock")

    assert finding.level == level
    assert told in finding.sentence


def test_a_connection_from_which_nothing_comes_is_told(field, network, look):
    assert look("connection field").sentence == "No report ever came by it."

    device = network.add_device()
    for _ in range(6):
        field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))
        field.wait(hours=1)
    assert look("connection field").level == "ok"
    field.wait(hours=4)

    finding = look("connection field")

    assert finding.level == "warn"
    assert finding.sentence == "Its last report came 5 hours ago; at most 3 hours were usual."
    assert look("devices").sentence == "1 of 1 device silent for longer than their rhythm explains."


def test_a_receiver_without_connections_is_told_so(look):
    assert look("connections").advice == "`receiver connection add`."


def test_another_key_encryption_key_is_found_out(network, look):
    assert look("sealed keys").sentence == "The key-encryption key opens 1 sealed key."
    assert look("sealed keys", keyring=Keyring(bytes(32))).level == "fail"
    assert look("sealed keys", keyring=None).level == "fail"


def test_all_kinds_of_sealed_keys_are_tried(field, look):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    field.take_and_read(network.uplink(network.add_device(), f_port=5, payload=b"secret"))

    assert look("sealed keys").sentence == "The key-encryption key opens 3 sealed keys."
    assert look("sealed keys", keyring=Keyring(bytes(32))).sentence.startswith("3 of 3 sealed keys do not open")


def test_a_database_that_is_away_is_one_finding(field, database_is_away):
    with database_is_away():
        (finding,) = check_database(field.engine, field.keyring, field.now)

    assert (finding.check, finding.level) == ("database", "fail")
    assert "was not looked at" in finding.advice


def test_a_database_without_tables_is_told_and_nothing_is_made(empty_database_url, keyring, now):
    engine = open_engine(empty_database_url)
    findings = check_database(engine, keyring, now)
    engine.dispose()

    assert [(finding.check, finding.level) for finding in findings] == [("database", "ok"), ("schema", "fail")]
    assert "receiver db upgrade" in findings[1].sentence


# --- the machine


@pytest.mark.parametrize(("mode", "level"), [(0o700, "ok"), (0o750, "warn"), (0o755, "warn")])
def test_a_data_directory_that_others_may_look_into_is_told(tmp_path, mode, level):
    directory = tmp_path / "data"
    directory.mkdir()
    directory.chmod(mode)

    assert check_directory(directory).level == level


@pytest.mark.parametrize(("mode", "level"), [(0o600, "ok"), (0o400, "ok"), (0o640, "fail"), (0o604, "fail")])
def test_a_key_file_that_others_may_read_fails(tmp_path, mode, level):
    path = tmp_path / "kek"
    path.write_text("x")
    path.chmod(mode)

    assert check_key_file(path).level == level


def test_what_is_not_there_yet_is_no_failure(tmp_path):
    assert check_directory(tmp_path / "none").level == "warn"
    assert check_key_file(tmp_path / "none").level == "warn"
    assert str(tmp_path / "none" / "deep") in check_room(tmp_path / "none" / "deep").sentence


def test_a_file_in_place_of_the_data_directory_fails(tmp_path):
    (tmp_path / "data").touch()

    assert check_directory(tmp_path / "data").level == "fail"


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool.db", max_bytes=10_000, max_age_s=3600)
    spool.open()
    yield spool
    spool.close()


def test_an_empty_spool_is_ok_whether_it_is_there_or_not(spool, tmp_path, now):
    assert check_spool(spool.path, now).level == "ok"
    assert check_spool(tmp_path / "none.db", now).level == "ok"


def test_reports_in_the_spool_are_told_with_their_age(spool, now):
    make = report_maker(1, now)
    spool.append([make(1), make(2)])

    finding = check_spool(spool.path, now + timedelta(minutes=5))

    assert finding.level == "warn"
    assert finding.sentence.startswith("2 reports")
    assert finding.sentence.endswith("the oldest for 5 minutes.")
    assert check_spool(spool.path, now + timedelta(hours=2)).level == "fail"


def test_a_report_that_was_set_aside_fails_with_the_reason(spool, now):
    spool.append([report_maker(1, now)(1)])
    spool.set_aside(spool.first_id(), "The connection is gone.", now)

    finding = check_spool(spool.path, now)

    assert finding.level == "fail"
    assert finding.sentence == "1 report set aside, which the database refused: The connection is gone."


def test_a_spool_that_cannot_be_read_fails(tmp_path, now):
    (tmp_path / "spool.db").write_bytes(b"no database at all, but long enough to be taken for one by its size" * 20)

    assert check_spool(tmp_path / "spool.db", now).level == "fail"


# --- the public URL


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = self.server.answers
        self.send_response(status if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Give a function that serves an answer on loopback, with a certificate of its own; it gives the origin."""
    servers = []

    def start(status=200, body=b'{"status": "ready"}', *, tls=True, left=VALID_FOR, trusted=True):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.answers = (status, body)
        if tls:
            cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
            make_self_signed_certificate(cert, key, NOW - VALID_FOR + left)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            if trusted:
                monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(5)
        server.server_close()


def levels(findings):
    return {finding.check: finding.level for finding in findings}


def test_a_public_url_in_order_is_told_with_its_certificate(serve):
    findings = check_public_url(serve() + "/push/field", NOW)

    assert levels(findings) == {"certificate": "ok", "public url": "ok"}
    assert re.search(r"over TLSv1\.3, and valid for (29|30) days", findings[0].sentence)


@pytest.mark.parametrize(("days", "level"), [(22, "ok"), (20, "warn"), (1, "fail")])
def test_a_certificate_that_ends_soon_is_told(serve, days, level):
    (certificate, _) = check_public_url(serve(left=timedelta(days=days)), NOW)

    assert certificate.level == level


def test_a_certificate_that_is_not_trusted_is_the_reason_why_nothing_comes(serve):
    (finding,) = check_public_url(serve(trusted=False), NOW)

    assert (finding.check, finding.level) == ("certificate", "fail")
    assert "deliver nothing and tell nobody" in finding.advice


@pytest.mark.parametrize(
    ("status", "body", "level"),
    [
        (200, b'{"status": "degraded"}', "warn"),
        (503, b'{"status": "unready"}', "fail"),
        (200, b"<html>another program</html>", "fail"),
        (404, b"[1]", "fail"),
    ],
)
def test_what_readyz_answers_is_told(serve, status, body, level):
    assert levels(check_public_url(serve(status, body, tls=False), NOW)) == {"certificate": "warn", "public url": level}


def test_plain_http_on_a_tls_port_is_told(serve):
    origin = serve(tls=False).replace("http://", "https://")

    assert levels(check_public_url(origin, NOW)) == {"public url": "fail"}


@pytest.mark.parametrize(
    "url", ["ftp://x", "https://", "https://127.0.0.1:99999", "https://nowhere.invalid", "https://a..b"]
)
def test_a_url_that_leads_nowhere_is_told(url):
    assert levels(check_public_url(url, NOW)) == {"public url": "fail"}


def test_a_port_where_nobody_listens_is_told():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        (finding,) = check_public_url(f"https://127.0.0.1:{unused.getsockname()[1]}", NOW)

    assert "cannot be reached: Connection refused" in finding.sentence


# --- the command


def test_the_command_says_one_line_each_and_exits_0_where_nothing_failed(database_url, tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)

    done = run(tmp_path, database_url, "doctor")

    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert all(re.match(r"(ok|warn|fail) +\w", line) for line in lines)
    assert "The database has schema" in done.stdout
    assert list((tmp_path / "data").iterdir()) == []


def test_the_command_exits_1_with_the_database_down_and_looks_at_the_rest(tmp_path):
    done = run(tmp_path, "postgresql://receiver:hush@127.0.0.1:1/receiver", "doctor", "--json")

    told = json.loads(done.stdout)
    found = {finding["check"]: finding["level"] for finding in told["findings"]}
    assert (done.returncode, told["ok"]) == (1, False)
    assert found["database"] == "fail"
    assert found["disk"] in {"ok", "warn"}
    assert "hush" not in done.stdout + done.stderr


def test_the_command_looks_at_the_url_even_if_a_setting_is_wrong(tmp_path, serve):
    origin = serve(tls=False)

    done = run(tmp_path, "oracle://x", "doctor", "--url", origin)

    assert done.returncode == 1
    assert re.search(r"^fail  settings +A setting is wrong", done.stdout, re.MULTILINE)
    assert "pushes can be stored" in done.stdout


def test_the_command_makes_no_key_and_no_database(tmp_path):
    environment = {"RECEIVER_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "receiver", "doctor"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert "receiver db upgrade" in done.stdout
    assert not list(tmp_path.iterdir())


def test_no_secret_stands_in_what_is_told(field, network, database_url, tmp_path):
    field.take_and_read(network.uplink(network.add_device(), f_port=5, payload=b"clear text"))

    done = run(tmp_path, database_url, "doctor", "--json")

    kek = bytes(range(32)).hex()
    assert not [secret for secret in (kek, TUNNEL_KEY, "clear text", b"clear text".hex()) if secret in done.stdout]
