"""`receiver db` as a person starts it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
NEWEST = max(path.name[:4] for path in (CHECKOUT / "migrations" / "versions").glob("*.py"))


@pytest.fixture
def receiver(tmp_path):
    def run(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "receiver", *arguments],
            cwd=tmp_path,
            env={"RECEIVER_DATABASE_URL": url, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_check_command_refuses_an_empty_database_with_one_sentence(receiver, empty_database_url):
    done = receiver("db", "check", url=empty_database_url)

    assert done.returncode == 1
    assert re.fullmatch(r"[^\n]*no tables of the receiver yet[^\n]*\n", done.stderr)


def test_the_check_command_tells_where_a_database_stands(receiver, database_url):
    done = receiver("db", "check", "--json", url=database_url)

    assert done.returncode == 0
    assert json.loads(done.stdout) == {"current": NEWEST, "newest": NEWEST, "state": "current"}


def test_the_upgrade_command_makes_the_tables(receiver, empty_database_url):
    done = receiver("db", "upgrade", "--json", url=empty_database_url)

    assert json.loads(done.stdout) == {"before": None, "after": NEWEST, "backup": None}


def test_the_upgrade_command_speaks_to_people(receiver, database_url):
    done = receiver("db", "upgrade", url=database_url)

    assert done.stdout == f"The database has schema {NEWEST} already.\n"


def test_the_check_command_makes_no_database(receiver, tmp_path):
    done = receiver("db", "check", "--json", url=f"sqlite:///{tmp_path / 'data' / 'receiver.db'}")

    assert (done.returncode, json.loads(done.stdout)["state"]) == (1, "empty")
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_away_is_told_in_one_sentence(receiver):
    done = receiver("db", "check", url="postgresql://receiver:hush@127.0.0.1:1/receiver")

    assert done.returncode == 1
    assert re.fullmatch(r"[^\n]*The database did not take it[^\n]*\n", done.stderr)
    assert "hush" not in done.stderr
