"""`receiver simulate` as a person runs it: what is sent, what is printed, and with which exit code it ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from receiver.cli.simulate import app
from receiver.errors import PushRejected, ReceiverError, SettingsError
from receiver.lorawan.frm_payload import decrypt_frm_payload
from receiver.lorawan.identifiers import parse_dev_addr
from receiver.lorawan.keys import AesKey
from receiver.simulator.kinds import ReportKind
from receiver.thingpark.as_transport_key import unwrap_app_s_key
from receiver.thingpark.body import parse_body
from receiver.thingpark.reports import UplinkReport, read_report
from receiver.thingpark.signed_query import parse_signed_query
from receiver.thingpark.token import key_spellings, read_token_elements, verify_query_agrees, verify_token

KEY = "17d107fd47387b714d9e5aacce614233"
AS_TRANSPORT_KEY = "00112233445566778899aabbccddeeff"
APP_S_KEY = "ffeeddccbbaa99887766554433221100"


def simulate(*arguments: str, key: str | None = KEY, stdin: str | None = None, **env: str):
    # None: not set, whatever the tests are started with.
    variables: dict[str, str | None] = {"RECEIVER_SIMULATE_KEY": key, "RECEIVER_SIMULATE_AS_TRANSPORT_KEY": None}
    return CliRunner().invoke(app, list(arguments), env=variables | env, input=stdin)


def is_signed(query: str, body: bytes) -> bool:
    signed = parse_signed_query(query.encode())
    elements = read_token_elements(parse_body(body))
    try:
        verify_query_agrees(signed, elements)
        verify_token(signed, elements, [key_spellings(KEY)])
    except PushRejected:
        return False
    return True


def answer_by_token(request) -> int:
    return 200 if is_signed(request.query, request.body) else 401


def dry_run(*arguments: str, **env: str) -> tuple[str, bytes]:
    result = simulate("push", "--dry-run", "--json", *arguments, **env)
    assert result.exit_code == 0, result.output
    request = json.loads(result.stdout)
    return request["url"].partition("?")[2], request["body"].encode()


def read_uplink(body: bytes) -> UplinkReport:
    report, _ = read_report(parse_body(body))
    assert isinstance(report, UplinkReport)
    return report


# --- push


def test_a_push_that_is_accepted_ends_with_0(start_receiver):
    receiver = start_receiver()
    receiver.answer = answer_by_token
    result = simulate("push", "--url", receiver.url, "--payload", "00d7")
    assert result.exit_code == 0, result.output
    assert read_uplink(receiver.requests[0].body).payload == b"\x00\xd7"


def test_a_push_that_is_refused_ends_with_1_and_one_sentence(start_receiver):
    receiver = start_receiver()
    receiver.answer = lambda _request: 401
    result = simulate("push", "--url", receiver.url, "--dev-eui", "0059AC000017338B")
    assert result.exit_code == 1
    assert result.stderr == (
        "receiver: Of 1 pushes 1 should have been accepted and were not; the first: DevEUI_uplink of"
        f" 0059AC000017338B, {receiver.url} answered 401.\n"
    )


def test_a_bad_token_that_is_refused_ends_with_0(start_receiver):
    receiver = start_receiver()
    receiver.answer = answer_by_token
    result = simulate("push", "--url", receiver.url, "--bad-token")
    assert result.exit_code == 0
    assert len(receiver.requests) == 1


def test_a_bad_token_that_is_accepted_ends_with_1(start_receiver):
    receiver = start_receiver()
    result = simulate("push", "--url", receiver.url, "--bad-token")
    assert result.exit_code == 1
    assert "were accepted and should have been refused" in result.stderr


def test_a_duplicate_is_the_same_request_twice(start_receiver):
    receiver = start_receiver()
    simulate("push", "--url", receiver.url, "--duplicate")
    first, second = receiver.requests
    assert (first.target, first.body) == (second.target, second.body)


@pytest.mark.parametrize("kind", ReportKind)
def test_every_kind_can_be_pushed(start_receiver, kind):
    receiver = start_receiver()
    receiver.answer = answer_by_token
    result = simulate("push", "--url", receiver.url, "--kind", kind, "--content-type", "xml")
    assert result.exit_code == 0, result.output
    assert len(receiver.requests) == 1


def test_a_dry_run_prints_the_request_and_sends_nothing(start_receiver):
    receiver = start_receiver()
    result = simulate("push", "--url", receiver.url, "--dry-run", "--content-type", "json")
    assert receiver.requests == []
    head, _, body = result.stdout.partition("\n\n")
    lines = head.splitlines()
    target = lines[0].removeprefix("POST ").removesuffix(" HTTP/1.1")
    assert lines[1] == f"Host: {receiver.url.split('/')[2]}"
    assert f"Content-Length: {len(body.strip().encode())}" in lines
    assert is_signed(target.partition("?")[2], body.strip().encode())


def test_the_as_id_is_the_last_part_of_the_url_unless_it_is_given():
    query, _ = dry_run("--url", "https://127.0.0.1:8443/push/orchard")
    assert parse_signed_query(query.encode()).as_id == "orchard"
    query, _ = dry_run("--url", "https://127.0.0.1:8443/push/orchard", "--as-id", "TWA_1.2.AS")
    assert parse_signed_query(query.encode()).as_id == "TWA_1.2.AS"


def test_a_url_without_a_name_needs_an_as_id():
    result = simulate("push", "--dry-run", "--url", "https://127.0.0.1:8443/")
    assert "give the AS_ID with --as-id" in str(result.exception)


def test_an_as_transport_key_encrypts_and_wraps():
    _, body = dry_run("--payload", "00d7", "--f-cnt", "70000", RECEIVER_SIMULATE_AS_TRANSPORT_KEY=AS_TRANSPORT_KEY)
    report = read_uplink(body)
    app_s_key = unwrap_app_s_key(AesKey(bytes.fromhex(AS_TRANSPORT_KEY)), report.app_s_key_field or "")
    assert report.heading.dev_addr is not None
    assert decrypt_frm_payload(app_s_key, report.heading.dev_addr, 70_000, report.payload) == b"\x00\xd7"


def test_no_hsm_leaves_payloads_in_clear():
    _, body = dry_run("--payload", "00d7", "--no-hsm", RECEIVER_SIMULATE_AS_TRANSPORT_KEY=AS_TRANSPORT_KEY)
    report = read_uplink(body)
    assert (report.payload, report.app_s_key_field, report.payload_encryption) == (b"\x00\xd7", None, False)


def test_an_app_s_key_alone_encrypts_as_abp_does():
    _, body = dry_run("--payload", "00d7", "--app-s-key", APP_S_KEY, "--dev-addr", "05f67bc4")
    report = read_uplink(body)
    assert (report.app_s_key_field, report.payload_encryption) == (None, True)
    key = AesKey(bytes.fromhex(APP_S_KEY))
    assert decrypt_frm_payload(key, parse_dev_addr("05F67BC4"), 0, report.payload) == b"\x00\xd7"


def test_skew_moves_the_time_of_the_query():
    query, _ = dry_run("--skew", "-600")
    behind = datetime.now(UTC) - parse_signed_query(query.encode()).at
    assert timedelta(seconds=600) <= behind < timedelta(seconds=630)


def test_a_skewed_push_that_is_refused_ends_with_0(start_receiver):
    receiver = start_receiver()
    receiver.answer = lambda _request: 401
    assert simulate("push", "--url", receiver.url, "--skew", "61").exit_code == 0


def test_f_port_stands_in_a_downlink_report():
    _, body = dry_run("--kind", "downlink-sent", "--f-port", "77")
    assert parse_body(body).members["FPort"] == "77"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--kind", "alarm", "--payload", "00"),
        ("--kind", "location", "--f-port", "3"),
        ("--f-port", "0"),
        ("--f-cnt", str(2**32)),
        ("--kind", "poem"),
        ("--content-type", "yaml"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(arguments):
    assert simulate("push", "--dry-run", *arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--payload", "0"), "--payload has 1 characters"),
        (("--payload", "zz"), "--payload has 2 characters"),
        (("--dev-eui", "12"), "not a DevEUI"),
        (("--dev-addr", "12"), "not a DevAddr"),
        (("--app-s-key", "12"), "--app-s-key: A key must be 32 hexadecimal digits"),
        (("--as-transport-key", "12"), "--as-transport-key: A key must be 32"),
        (("--key", "12"), "--key: A key must be 32"),
        (("--url", "https://receiver.example/push/x"), "another machine"),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(arguments, message):
    result = simulate("push", *arguments)
    assert isinstance(result.exception, ReceiverError)
    assert message in str(result.exception)


# --- keys


def test_without_a_key_it_is_wrong_usage():
    assert simulate("push", "--dry-run", key=None).exit_code == 2


def test_the_key_can_come_from_standard_input():
    result = simulate("push", "--dry-run", "--json", "--key", "-", key=None, stdin=f"{KEY}\n")
    request = json.loads(result.stdout)
    assert is_signed(request["url"].partition("?")[2], request["body"].encode())


def test_standard_input_holds_one_key_only():
    result = simulate("push", "--dry-run", "--key", "-", "--as-transport-key", "-", stdin=f"{KEY}\n")
    assert "Standard input holds one key" in str(result.exception)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_key_token_or_payload_is_printed(start_receiver, form):
    receiver = start_receiver()
    result = simulate(
        *("push", "--url", receiver.url, "--payload", "5ec2e7", "--app-s-key", APP_S_KEY, *form),
        RECEIVER_SIMULATE_AS_TRANSPORT_KEY=AS_TRANSPORT_KEY,
    )
    token = parse_signed_query(receiver.requests[0].query.encode()).token
    for secret in (KEY, AS_TRANSPORT_KEY, APP_S_KEY, "5ec2e7", token):
        assert secret not in result.output


def test_help_shows_no_key_from_the_environment():
    assert KEY not in simulate("push", "--help").output


# --- network


def run_network(*arguments: str, **env: str):
    return simulate("network", "--rate", "500", "--seed", "3", *arguments, **env)


def test_a_network_pushes_what_it_was_asked_for(start_receiver):
    receiver = start_receiver()
    receiver.answer = answer_by_token
    result = run_network("--url", receiver.url, "--count", "40", "--content-type", "mixed")
    assert result.exit_code == 0, result.output
    assert len(receiver.requests) == 40
    assert "40 pushes: 40 accepted, 0 refused, 0 unanswered" in result.stdout


def test_a_network_with_faults_knows_which_pushes_should_be_refused(start_receiver):
    receiver = start_receiver()
    faults = ("--late", "0.1", "--duplicates", "0.1", "--rejoin", "0.1", "--bad-tokens", "0.2", "--abp", "1")

    def answer(request) -> int:
        is_ours = parse_signed_query(request.query.encode()).as_id == "field"
        return answer_by_token(request) if is_ours else 401

    receiver.answer = answer
    result = run_network("--url", receiver.url, "--count", "100", *faults)
    assert result.exit_code == 0, result.output


def test_a_network_prints_an_object_for_each_push_and_a_summary(start_receiver):
    receiver = start_receiver()
    result = run_network("--url", receiver.url, "--count", "12", "--json")
    *pushes, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(push["number"] for push in pushes) == list(range(1, 13))
    assert all(push["accepted"] and push["answers"][0]["status"] == 200 for push in pushes)
    summary = last["summary"]
    assert (summary["pushes"], summary["accepted"], summary["seed"]) == (12, 12, 3)


def test_a_network_that_is_refused_ends_with_1(start_receiver):
    receiver = start_receiver()
    receiver.answer = lambda _request: 503
    result = run_network("--url", receiver.url, "--count", "5")
    assert result.exit_code == 1
    assert result.stderr.startswith("receiver: Of 5 pushes 5 should have been accepted and were not; the first:")


def test_a_sequential_network_fails_over(start_receiver):
    first, second = start_receiver(), start_receiver()
    first.answer = lambda _request: 503
    result = run_network("--url", first.url, "--url", second.url, "--count", "10")
    assert result.exit_code == 0, result.output
    assert (len(first.requests), len(second.requests)) == (10, 10)


def test_a_blasting_network_pushes_to_all(start_receiver):
    first, second = start_receiver(), start_receiver()
    result = run_network("--url", first.url, "--url", second.url, "--strategy", "blast", "--count", "10")
    assert result.exit_code == 0, result.output
    assert (len(first.requests), len(second.requests)) == (10, 10)


def test_a_network_over_tls_trusts_the_certificate_it_is_given(start_receiver, self_signed):
    receiver = start_receiver(tls=self_signed)
    result = run_network("--url", receiver.url, "--ca-file", str(self_signed[0]), "--count", "5")
    assert result.exit_code == 0, result.output


def test_the_mix_can_be_chosen(start_receiver):
    receiver = start_receiver()
    result = run_network(
        "--url", receiver.url, "--count", "20", "--devices", "1", "--mix", "alarm=2,location", "--json"
    )
    summary = json.loads(result.stdout.splitlines()[-1])["summary"]
    assert set(summary["by_kind"]) == {"DevEUI_notification", "DevEUI_alarm", "DevEUI_location"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mix", "poem=1"), "--mix: 'poem=1' is not KIND=WEIGHT"),
        (("--mix", "uplink=much"), "--mix: 'uplink=much' is not KIND=WEIGHT"),
        (("--late", "2"), "The probability late is 0 to 1, not 2."),
        (("--rate", "0"), "The rate per second"),
        (("--for", "0"), "The duration in seconds"),
        (("--hsm",), "--hsm wraps AppSKeys"),
        (("--url", "https://receiver.example/push/x"), "another machine"),
    ],
)
def test_a_network_that_cannot_be_is_refused_by_name(arguments, message):
    result = simulate("network", *arguments)
    assert isinstance(result.exception, SettingsError)
    assert message in str(result.exception)


def test_hsm_encrypts_the_payloads_of_a_network(start_receiver):
    receiver = start_receiver()
    mix = ("--mix", "uplink", "--count", "20", "--url", receiver.url, "--hsm")
    run_network(*mix, RECEIVER_SIMULATE_AS_TRANSPORT_KEY=AS_TRANSPORT_KEY)
    reports = [read_report(parse_body(request.body))[0] for request in receiver.requests]
    uplinks = [report for report in reports if isinstance(report, UplinkReport)]
    assert uplinks
    assert all(report.payload_encryption and report.app_s_key_field for report in uplinks)
