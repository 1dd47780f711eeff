"""`receiver connection downlinks` and `resume`: where downlinks go is changed; what held them is told, and let go."""

from __future__ import annotations

import json

import pytest

from receiver.services.connections import add_connection
from receiver.storage.connections import find_connection
from receiver.storage.downlink_transports import Passage, list_passages, put_passage
from receiver.storage.engine import read, write
from tests.integration.command_line import run

URL = "https://network.example/thingpark/lrc/rest/downlink"


@pytest.fixture
def held(engine, keyring, now, database_url):
    """Give the id of a connection that is held."""
    add_connection(engine, keyring, now, name="meters", platform="thingpark", tunnel_key=None, downlink_url=URL)
    with write(engine) as tx:
        connection = find_connection(tx, "meters")
        put_passage(tx, connection.id, Passage(now, "bad-token", "The network computed another Token.", now, 3))
    return connection.id


def test_what_holds_the_downlinks_is_told(held, database_url, tmp_path):
    shown = json.loads(run(tmp_path, database_url, "connection", "downlinks", "meters", "--json").stdout)

    assert (shown["downlink_url"], shown["time_form"], shown["held_cause"]) == (URL, "offset", "bad-token")


def test_another_url_and_another_form_of_time_let_them_go(held, engine, database_url, tmp_path):
    other = "https://other.example/thingpark/lrc/rest/v2/downlink"
    done = run(tmp_path, database_url, "connection", "downlinks", "meters", "--url", other, "--time", "bare", "--json")

    shown = json.loads(done.stdout)
    assert (shown["downlink_url"], shown["time_form"], shown["held_cause"]) == (other, "bare", None)


def test_resuming_lets_them_go_and_keeps_the_form_of_time(held, engine, database_url, tmp_path):
    run(tmp_path, database_url, "connection", "downlinks", "meters", "--time", "bare")
    with write(engine) as tx:
        put_passage(tx, held, Passage(None, None, None, None, 2))

    first = run(tmp_path, database_url, "connection", "resume", "meters")
    second = run(tmp_path, database_url, "connection", "resume", "meters")

    assert "go again" in first.stdout
    assert "Nothing kept" in second.stdout
    with read(engine) as tx:
        assert list_passages(tx)[held].is_free
    shown = json.loads(run(tmp_path, database_url, "connection", "downlinks", "meters", "--json").stdout)
    assert shown["time_form"] == "bare"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nobody",), "nobody"),
        (("meters", "--url", "ftp://network.example/"), "ftp://network.example/"),
    ],
)
def test_a_wrong_connection_or_url_is_refused_in_a_sentence(held, database_url, tmp_path, arguments, sentence):
    done = run(tmp_path, database_url, "connection", "downlinks", *arguments)

    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
