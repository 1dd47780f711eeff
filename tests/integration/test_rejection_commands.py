"""`receiver rejections` and `receiver api-key` as a person starts them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver.cli.rejections import app
from receiver.keyring import KEK_BYTES, Keyring
from receiver.services.connections import add_tunnel_key
from tests.integration.refusals import KEY, OTHER_KEY, Refusals

CHECKOUT = Path(__file__).parents[2]
KEK = bytes(range(KEK_BYTES))


@pytest.fixture
def database_kind():
    """What a command prints is the same on PostgreSQL; what it does is tested on both where the services are."""
    return "sqlite"


@pytest.fixture
def refusals(engine):
    made = Refusals(engine, Keyring(KEK), datetime.now(UTC))
    made.add_connection()
    return made


@pytest.fixture
def receiver(database_url, tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "receiver", *arguments],
            cwd=tmp_path,
            env={"RECEIVER_DATABASE_URL": database_url, "RECEIVER_KEK": KEK.hex(), "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def refused(refusals):
    """Two pushes: one with another key, one late."""
    return [refusals.refuse(refusals.query(key=OTHER_KEY)), refusals.refuse(refusals.query(skew_s=412))]


def assert_refused(done, sentence):
    assert done.returncode == 1
    assert re.fullmatch(r"receiver: [^\n]+\.\n", done.stderr), done.stderr
    assert sentence in done.stderr


def test_rejections_are_listed_newest_first(receiver, refused):
    rows = json.loads(receiver("rejections", "list", "--json").stdout)

    assert [row["id"] for row in rows] == refused[::-1]
    assert rows[0]["reason"] == "time-out-of-window"
    assert rows[0]["connection"] == "meters"
    assert {"query", "body", "headers"}.isdisjoint(rows[0])


def test_rejections_are_listed_for_people(receiver, refused):
    shown = receiver("rejections", "list").stdout

    assert re.search(rf"{refused[0]} +\S+ \S+ +meters +meters +token-mismatch", shown)
    assert "412 s" in shown


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--reason", "token-mismatch"), [0]),
        (("--connection", "meters", "--limit", "1"), [1]),
        (("--connection", "tanks"), []),
        (("--since", "1h"), [1, 0]),
        (("--until", "1h"), []),
        (("--before", "2"), [0]),
    ],
)
def test_a_listing_can_be_narrowed(receiver, refused, options, expected):
    rows = json.loads(receiver("rejections", "list", "--json", *options).stdout)

    assert [row["id"] for row in rows] == [refused[index] for index in expected]


def test_an_explanation_tells_a_person_what_is_wrong_and_what_to_do(receiver, refusals):
    refusals.add_connection("tanks", OTHER_KEY)
    rejection_id = str(refusals.refuse(refusals.query(key=OTHER_KEY)))

    shown = receiver("rejections", "explain", rejection_id).stdout

    assert re.search(r"passed +query ", shown)
    assert re.search(r"failed +token +It was made with none of the 1 live keys \(k1\)\.", shown)
    assert re.search(r"not reached +time +Not reached; it would pass\. Time is 0 s before the arrival; 60 s", shown)
    assert "Found (other-connection-key): The token was made with k1 of another connection, tanks." in shown
    assert "What to do: Correct the URL at the network to end with /push/tanks, or give it a key of meters." in shown
    assert f"`receiver rejections replay {rejection_id} --as tanks`" in shown
    assert shown.endswith("It would be refused today as well: token-mismatch.\n")


def test_an_explanation_is_json_for_programs(receiver, refused):
    explanation = json.loads(receiver("rejections", "explain", str(refused[1]), "--json").stdout)

    assert explanation["findings"][0]["codes"] == ["clock"]
    assert explanation["checks"][-1] == {
        "name": "time",
        "outcome": "failed",
        "sentence": "Time is 412 s before the arrival; 60 s are allowed.",
        "reason": "time-out-of-window",
    }


def test_a_replay_of_ids_says_what_became_of_each(receiver, refused, refusals, engine):
    add_tunnel_key(engine, Keyring(KEK), refusals.now, "meters", OTHER_KEY)

    done = receiver("rejections", "replay", *map(str, refused), "--json")

    assert done.returncode == 1  # one of them is still late
    assert [row["outcome"] for row in json.loads(done.stdout)] == ["stored", "still refused"]


def test_a_replay_is_told_to_people(receiver, refused):
    dry = receiver("rejections", "replay", str(refused[1]), "--max-deviation", "500", "--dry-run")
    done = receiver("rejections", "replay", str(refused[1]), "--max-deviation", "500")
    again = receiver("rejections", "replay", str(refused[1]), "--max-deviation", "500")

    assert dry.stdout.endswith("Nothing was changed; it would be: 1 stored.\n")
    assert "Time is 412 s before the arrival, allowed 500 s by --max-deviation" in done.stdout
    assert done.stdout.endswith("\n1 stored.\n")
    assert again.stdout.endswith("\n1 already stored.\n")
    assert {dry.returncode, done.returncode, again.returncode} == {0}


def test_a_replay_by_filter_takes_what_is_in_order(receiver, refused, refusals, engine):
    add_tunnel_key(engine, Keyring(KEK), refusals.now, "meters", OTHER_KEY)

    done = receiver("rejections", "replay", "--since", "1h")

    assert done.returncode == 0
    assert done.stdout.endswith("\n1 still refused, 1 stored.\n")


def test_a_replay_of_nothing_says_so(receiver, refusals):
    assert receiver("rejections", "replay", "--reason", "token-mismatch").stdout == "Nothing to show.\n"


def test_what_is_not_there_is_refused_with_one_sentence(receiver, refused):
    assert_refused(receiver("rejections", "explain", "99"), "There is no rejection 99;")
    assert_refused(receiver("rejections", "replay", "99"), "There is no rejection 99;")
    assert_refused(receiver("rejections", "explain", "1", "--as", "silos"), "There is no connection named 'silos'")


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("replay", "1", "--since", "1h"),
        ("replay", "--dry-run"),
        ("replay", "0"),
        ("replay", "1", "--max-deviation", "0"),
        ("explain",),
        ("explain", "x"),
        ("explain", str(2**63)),
        ("list", "--since", "yesterday"),
        ("list", "--reason", "bad-luck"),
        ("list", "--limit", "0"),
    ],
)
def test_wrong_usage_exits_with_two(arguments):
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 2
    assert "Usage:" in done.stderr


def test_no_output_shows_a_key_or_a_token(receiver, refused, refusals):
    late = refusals.query(skew_s=412)
    shown = "".join(
        receiver("rejections", *arguments).stdout
        for arguments in (
            ("list",),
            ("list", "--json"),
            *(("explain", str(rejection_id), form) for rejection_id in refused for form in ("--json", "--as=meters")),
            ("replay", "--since", "1h", "--dry-run", "--json"),
        )
    )

    assert len(shown) > 2000
    for secret in (KEY, OTHER_KEY, late[-64:]):
        assert secret[:10] not in shown
        assert secret[-10:] not in shown


def test_a_key_is_made_listed_and_revoked(receiver, refusals):
    made = json.loads(receiver("api-key", "create", "grafana", "--scope", "read", "--json").stdout)
    listed = receiver("api-key", "list")
    revoked = receiver("api-key", "revoke", "grafana")

    assert re.fullmatch(r"rcv_[0-9a-f]{64}", made["key"])
    assert re.search(r"grafana +read +20", listed.stdout)
    assert made["key"][4:14] not in listed.stdout
    assert revoked.stdout == "grafana is revoked.\n"
    assert json.loads(receiver("api-key", "list", "--json").stdout)[0]["revoked_at"] is not None
    assert_refused(receiver("api-key", "revoke", "grafana"), "was revoked already")
    assert_refused(receiver("api-key", "create", "other", "--scope", "write"), "is not a scope")


def test_without_any_key_the_listing_says_how_to_make_one(receiver, refusals):
    assert "`receiver api-key create NAME --scope read`" in receiver("api-key", "list").stdout
    assert json.loads(receiver("api-key", "list", "--json").stdout) == []


def test_a_new_key_is_shown_to_a_person_once(receiver, refusals):
    shown = receiver("api-key", "create", "grafana", "--scope", "admin").stdout

    assert len(re.findall(r"\brcv_[0-9a-f]{64}\b", shown)) == 1
    assert "not shown again" in shown
