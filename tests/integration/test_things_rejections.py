"""Refused pushes of KPN Things: what was wrong with them, and how they are replayed once it is mended."""

from __future__ import annotations

import pytest

from receiver.services.explaining import explain_rejection
from receiver.services.replay import ReplayOptions, ReplayOutcome, replay_by_ids
from receiver.services.things_secrets import add_things_secret
from receiver.services.tunnel_keys import retire_tunnel_key
from receiver.storage.engine import read
from receiver.storage.rejections import RejectionFilter, list_rejections
from tests.integration.inbox_use import stored_reports
from tests.integration.things_use import NAME, PLUG, SECOND, SECRET, add_things, headers, message, refuse

BODY = message()


@pytest.fixture
def refused(engine, keyring, now):
    """Let a push be refused, and give the id of its rejection."""

    def refused(body=BODY, given=None, name=NAME, **options):
        refuse(engine, keyring, now, body, headers(body, SECOND) if given is None else given, name, **options)
        with read(engine) as connection:
            return list_rejections(connection, RejectionFilter(), limit=1)[0].id

    return refused


@pytest.fixture
def explain(engine, keyring):
    return lambda rejection_id, **options: explain_rejection(engine, keyring, rejection_id, **options)


@pytest.fixture
def replay(engine, keyring, now):
    def replay(rejection_id, **options):
        [result] = replay_by_ids(engine, keyring, now, [rejection_id], ReplayOptions(**options))
        return result

    return replay


@pytest.fixture
def _things(engine, keyring, now):
    add_things(engine, keyring, now)


pytestmark = pytest.mark.usefixtures("_things")


def outcomes(explanation):
    return [(check.name, check.outcome) for check in explanation.checks]


def test_a_secret_that_is_not_known_is_told(refused, explain):
    explanation = explain(refused())

    assert outcomes(explanation) == [("connection", "passed"), ("token", "failed"), ("body", "not reached")]
    assert "Tried: s1" in explanation.checks[1].sentence
    assert explanation.findings == ()
    assert "none of the 1 shared secrets known here" in explanation.note
    assert explanation.verdict == "It would be refused today as well: token-mismatch."


def test_a_retired_secret_is_told_and_can_be_taken(engine, keyring, now, refused, explain, replay):
    add_things_secret(engine, keyring, now, NAME, SECOND)
    retire_tunnel_key(engine, now, NAME, "s1")
    rejection_id = refused(given=headers(BODY, SECRET))
    [finding] = explain(rejection_id).findings

    assert (finding.codes, finding.connection, finding.key_id) == (("retired-key",), NAME, "s1")
    assert "was retired on" in finding.sentence
    assert replay(rejection_id).outcome is ReplayOutcome.REFUSED
    taken = replay(rejection_id, with_retired_keys=True)
    assert taken.outcome is ReplayOutcome.STORED
    assert "signed with the retired key s1" in taken.sentence


def test_the_secret_of_another_connection_is_told(engine, keyring, now, refused, explain, replay):
    add_things(engine, keyring, now, name="north", secrets=[SECOND])
    rejection_id = refused()
    [finding] = explain(rejection_id).findings

    assert (finding.codes, finding.connection) == (("other-connection-key",), "north")
    assert "/push/north" in finding.advice
    assert replay(rejection_id, as_name="north").outcome is ReplayOutcome.STORED


def test_a_push_to_a_name_that_nobody_knows_is_explained_by_its_secret(refused, explain, replay):
    rejection_id = refused(given=headers(BODY), name="thing")
    explanation = explain(rejection_id)

    assert outcomes(explanation)[0] == ("connection", "failed")
    assert {code for finding in explanation.findings for code in finding.codes} == {"connection-name"} or (
        explanation.findings[-1].connection == NAME
    )
    assert "unknown-connection" in replay(rejection_id).sentence
    assert replay(rejection_id, as_name=NAME).outcome is ReplayOutcome.STORED


def test_a_push_to_a_connection_of_thingpark_is_explained_by_its_secret(engine, keyring, now, refused, explain):
    from receiver.services.connections import add_connection

    add_connection(
        engine, keyring, now, name="field", platform="thingpark", tunnel_key="17d107c7e4ae7ad8ea64ea25ee6a6b52"
    )
    explanation = explain(refused(given=headers(BODY), name="field"))

    assert outcomes(explanation) == [("connection", "passed"), ("token", "failed")]
    assert "as KPN Things signs" in explanation.checks[1].sentence
    assert [(finding.connection, finding.key_id) for finding in explanation.findings] == [(NAME, "s1")]


@pytest.mark.parametrize("changed", [BODY + b"\n", BODY.replace(b",", b", "), b"[" + BODY[1:].replace(b"}", b"}\r\n ")])
def test_other_white_space_than_was_signed_is_told(refused, explain, changed):
    [finding] = explain(refused(body=changed, given=headers(BODY))).findings

    assert finding.codes == ("body-white-space",)
    assert "byte for byte" in finding.advice


def test_a_body_that_was_not_signed_is_told(refused, explain):
    [finding] = explain(refused(given=headers(b""))).findings

    assert finding.codes == ("body-not-signed",)


def test_numbers_that_were_written_anew_are_told_as_what_may_have_happened(refused, explain):
    explanation = explain(refused(body=BODY.replace(b"1.0", b"1"), given=headers(BODY)))

    assert explanation.findings == ()
    assert "turns 3.0 into 3" in explanation.note


@pytest.mark.parametrize("pasted", [f"{SECRET}\n", f" {SECRET}", f"{SECRET} "])
def test_a_secret_that_was_pasted_with_white_space_is_told(refused, explain, pasted):
    [finding] = explain(refused(given=headers(BODY, pasted))).findings

    assert finding.codes == ("secret-white-space",)


def test_a_push_without_a_token_is_told(refused, explain):
    explanation = explain(refused(given=headers(BODY, token="")))

    assert [finding.codes for finding in explanation.findings] == [("authentication-off",)]
    assert "no header Things-Message-Token" in explanation.checks[1].sentence


def test_a_token_that_is_none_is_told(refused, explain):
    assert "64 hexadecimal digits" in explain(refused(given=headers(BODY, token="abc"))).note


def test_a_body_that_cannot_be_read_is_no_reason_to_refuse_it(refused, explain):
    explanation = explain(refused(body=b"{}", given=headers(b"{}", SECOND)))

    assert explanation.checks[-1].outcome == "not reached"
    assert "stored and flagged unreadable" in explanation.checks[-1].sentence


def test_a_push_is_replayed_once_its_secret_is_known(engine, keyring, now, refused, explain, replay):
    rejection_id = refused(given=headers(BODY, SECOND, plug=PLUG))
    assert replay(rejection_id).outcome is ReplayOutcome.REFUSED
    add_things_secret(engine, keyring, now, NAME, SECOND, PLUG)

    assert explain(rejection_id).is_in_order_now
    assert [check.outcome for check in explain(rejection_id).checks] == ["passed", "passed", "passed"]
    assert replay(rejection_id, dry_run=True).outcome is ReplayOutcome.STORED
    assert stored_reports(engine) == []
    assert replay(rejection_id).outcome is ReplayOutcome.STORED
    assert replay(rejection_id).outcome is ReplayOutcome.ALREADY_STORED
    [report] = stored_reports(engine)
    assert (bytes(report.body), report.kind, report.received_at) == (BODY, "SenML", now)


def test_a_replay_verifies_the_token_again(refused, replay):
    assert replay(refused(), repair_query=True).sentence.startswith("token-mismatch: ")


def test_no_secret_and_no_token_stands_in_an_explanation(engine, keyring, now, refused, explain, replay):
    add_things(engine, keyring, now, name="north", secrets=[SECOND])
    token = headers(BODY, SECOND)[2][1].decode()
    rejection_id = refused()
    told = f"{explain(rejection_id)!r}{explain(rejection_id, as_name='north')!r}{replay(rejection_id)!r}"

    for hidden in (SECRET, SECOND, token):
        assert hidden not in told
